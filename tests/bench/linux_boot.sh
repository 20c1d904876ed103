#!/bin/bash
# Debian's kernel from its start to its reboot: `dejavm run`, `record` and `replay` with -accel soft, beside QEMU's TCG plain,
# recording (-icount rr=record) and replaying (rr=replay), with the same kernel, RAM disk and command line. All six run once a
# round, so that a machine that gets slower or faster meanwhile does so for all. Prints medians, ratios and where the time
# goes.
#
#   linux_boot.sh DEJAVM LAB_DIR [ROUNDS]
#
# LAB_DIR is filled by tests/lab/debian_kernel.sh. Exit status: 0 within the targets; 1 above them, or a run failed; 77 QEMU or
# the kernel is absent.
set -uo pipefail
export LC_ALL=C

dejavm=$1 lab=$2 rounds=${3:-3}
record_target=1.0 replay_target=0.3
. "$(dirname "$0")/rounds.sh"

command -v qemu-system-x86_64 > /dev/null ||
  { echo "skipped: qemu-system-x86_64 is absent (apt-get install qemu-system-x86)"; exit 77; }
open_bench debian_kernel.sh "$lab"

vm=(-m 128M -no-reboot -kernel "$kernel" -initrd "$initrd" -append "$(cat "$lab/cmdline")")
qemu=(qemu-system-x86_64 -accel tcg -machine pc -nodefaults -display none -monitor none -net none "${vm[@]}")
names=(plain rr_record rr_replay run record replay)

plain() { "${qemu[@]}" -serial "file:$work/console"; }
rr_record() { "${qemu[@]}" -serial "file:$work/console" -icount "shift=auto,rr=record,rrfile=$work/rr"; }
rr_replay() { "${qemu[@]}" -serial "file:$work/console" -icount "shift=auto,rr=replay,rrfile=$work/rr"; }
run() { "$dejavm" run -accel soft "${vm[@]}" -serial "file:$work/console" -debugcon null; }
record() { "$dejavm" record -accel soft -o "$work/boot.dvt" "${vm[@]}" -serial "file:$work/console" -debugcon null; }
replay() { "$dejavm" replay -accel soft "$work/boot.dvt"; }

# hot NAME: the parts of the process that its time goes to, if perf can tell.
hot() {
  command -v perf > /dev/null || { echo "  (perf is absent)"; return; }
  perf record -q -F 997 -o "$work/perf" -- "${@:2}" > "$work/out" 2> "$work/err" < /dev/null ||
    { echo "  (perf does not work here)"; return; }
  echo "  $1, by object:"
  perf report -i "$work/perf" --stdio --sort dso --percent-limit 2 2> /dev/null | awk '/^ +[0-9]/ { print "    " $1, $2 }' |
    sed 's/memfd:dejavm-code/translated guest code/'
  echo "  $1, by function of dejavm and the kernel:"
  perf report -i "$work/perf" --stdio --sort sym --percent-limit 0.8 2> /dev/null | grep -E '^ +[0-9]' |
    grep -v '0x0000' | sed -E 's/<.*//; s/^ +/    /' | head -n 12
}

echo "load at the start: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) CPUs; $("${qemu[0]}" --version | head -n 1)"
for ((round = 1; round <= rounds; round++)); do
  for name in "${names[@]}"; do
    if [ "$name" = replay ]; then timed "$name" "$name"; else timed_guest "$name" "$name"; fi
  done
  echo "  round $round: $(for name in "${names[@]}"; do printf '%s %s   ' "$name" "$(tail -n 1 "$work/times-$name" | cut -d ' ' -f 1)"; done)"
done

printf '\n%-36s %10s %10s\n' "medians of $rounds" "wall s" "CPU s"
row() { printf '%-36s %10s %10s\n' "$1" "$(median "$2" 1)" "$(median "$2" 2)"; }
row "qemu, tcg" plain
row "qemu, tcg, rr=record" rr_record
row "qemu, tcg, rr=replay" rr_replay
row "dejavm run -accel soft" run
row "dejavm record -accel soft" record
row "dejavm replay -accel soft" replay
printf '\n%-36s %10s %10s\n' "ratios" "wall" "CPU"
compare() { printf '%-36s %10s %10s   %s\n' "$1" "$(ratio "$2" "$3" 1)" "$(ratio "$2" "$3" 2)" "$4"; }
compare "dejavm record : qemu rr=record" record rr_record "target: at most $record_target"
compare "dejavm replay : qemu rr=replay" replay rr_replay "target: at most $replay_target"
compare "dejavm record : qemu" record plain ""
compare "dejavm run : qemu" run plain ""
compare "dejavm record : dejavm run" record run ""
printf '%-36s %10d %10d bytes\n\n' "trace : rrfile" "$(stat -c %s "$work/boot.dvt")" "$(stat -c %s "$work/rr")"

echo "where the time goes"
hot record "$dejavm" record -accel soft -o "$work/boot.dvt" "${vm[@]}" -serial null -debugcon null
hot replay "$dejavm" replay -accel soft "$work/boot.dvt"

# The wall time is judged, which is what users wait for; QEMU sleeps in a part of its own. So the machine must do nothing else
# meanwhile: the load at the start is shown.
if ! awk "BEGIN { exit !($(ratio record rr_record 1) <= $record_target && $(ratio replay rr_replay 1) <= $replay_target) }"; then
  echo "linux_boot: above the target"
  exit 1
fi
