# For benchmarks that run Linux guests, to be sourced. `work` is a directory of the benchmark's own, where a guest's console is the file
# `console`: the caller sets it, or calls open_bench.

# open_bench LAB_SCRIPT LAB_DIR: sets `work`, gone at the end, and `kernel` and `initrd` to what LAB_SCRIPT of tests/lab leaves in LAB_DIR.
# Ends the benchmark with 77 where the kernel is absent.
open_bench() {
  work=$(mktemp -d) || exit 1
  trap 'rm -rf "$work"' EXIT
  "${BASH_SOURCE[0]%/*}/../lab/$1" "$2" > "$work/lab" 2>&1
  case $? in
    0) ;;
    77) echo "skipped: the kernel is absent, and $(grep -o 'apt cannot fetch.*' "$work/lab")"; exit 77 ;;
    *) cat "$work/lab"; exit 1 ;;
  esac
  { read -r kernel; read -r initrd; } < "$work/lab"
}

# timed LIST COMMAND...: runs it and adds "wall CPU" (user and system, all threads) to LIST; a failure ends the benchmark.
timed() {
  local list=$1 wall user system TIMEFORMAT='%3R %3U %3S'
  shift
  if ! { time "$@" < /dev/null > "$work/out" 2> "$work/err"; } 2> "$work/time"; then
    echo "${0##*/}: $list failed:"
    tail -n 5 "$work/err"
    exit 1
  fi
  read -r wall user system < "$work/time"
  awk "BEGIN { print $wall, $user + $system }" >> "$work/times-$list"
}

# timed_guest LIST COMMAND...: the same; the guest must get to the end of the lab's /init.
timed_guest() {
  : > "$work/console"
  timed "$@"
  grep -q '^lab-init: done' "$work/console" && return
  echo "${0##*/}: the guest of $1 did not get to the end of /init:"
  tail -n 5 "$work/console"
  exit 1
}

# median LIST COLUMN: 1 is wall, 2 CPU seconds.
median() {
  cut -d ' ' -f "$2" "$work/times-$1" | sort -g |
    awk '{ v[NR] = $1 } END { printf "%.2f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}

# ratio LIST LIST COLUMN: of the medians.
ratio() { awk "BEGIN { printf \"%.3f\", $(median "$1" "$3") / $(median "$2" "$3") }"; }
