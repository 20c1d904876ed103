# For benchmarks that run Linux guests in rounds, to be sourced. The caller sets `work`, a directory of its own, where a guest's console
# is the file `console`.

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
