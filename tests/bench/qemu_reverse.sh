#!/bin/bash
# QEMU's own reverse debugging on Debian's kernel: records its boot once with -icount rr=record and a snapshot at the start, and has
# gdb go back in a few replays of it, a session each. Judges nothing: a session that hangs is a result. How many do varies from run to
# run: of three sessions of QEMU 7.2 on 2 CPUs between none and all survived, few where the machine was busy.
#
#   qemu_reverse.sh LAB_DIR
#
# LAB_DIR is filled by tests/lab/debian_kernel.sh. At most four minutes. Exit status: 0 done; 1 QEMU did not even record; 77 QEMU,
# qemu-img, gdb or the kernel is absent.
set -uo pipefail
export LC_ALL=C

lab=$1
places=(20000000 100000000 250000000)  # where sessions go back from: counts of instructions
operation_limit=20 session_limit=60 record_limit=40 # seconds
. "$(dirname "$0")/rounds.sh"

for program in qemu-system-x86_64 qemu-img gdb; do
  command -v $program > /dev/null || { echo "  QEMU: no figures, $program is absent"; exit 77; }
done
open_bench debian_kernel.sh "$lab"
qemu-img create -q -f qcow2 "$work/snapshots.qcow2" 256M || exit 1

# qemu MODE ARGUMENT...: MODE is record or replay.
qemu() {
  exec qemu-system-x86_64 -accel tcg -machine pc -nodefaults -display none -monitor none -net none -m 256M -no-reboot -kernel "$kernel" \
    -initrd "$initrd" -append "$(cat "$lab/cmdline")" -serial "file:$work/console" \
    -drive "file=$work/snapshots.qcow2,if=none,id=snapshots" \
    -icount "shift=auto,rr=$1,rrfile=$work/rr,rrsnapshot=start" "${@:2}" > "$work/qemu" 2>&1 < /dev/null
}

# end PID: of a QEMU that was started here.
end() {
  kill "$1" 2> /dev/null
  for ((tries = 0; tries < 40; tries++)); do kill -0 "$1" 2> /dev/null || break; sleep 0.05; done
  kill -9 "$1" 2> /dev/null
  wait "$1" 2> /dev/null
}

# One session. An operation that takes longer than its limit ends gdb by SIGALRM.
cat > "$work/session.py" << 'END'
import gdb, signal, time
signal.signal(signal.SIGALRM, signal.SIG_DFL)

def timed(name, command=None):
    print("begin", name, flush=True)
    signal.alarm(int(gdb.parse_and_eval("$limit")))
    start = time.monotonic()
    gdb.execute(command or name, to_string=True)
    signal.alarm(0)
    print("took %s %.3f" % (name, time.monotonic() - start), flush=True)

def forward(instructions):
    gdb.execute("monitor replay_break %d" % instructions, to_string=True)
    timed("forward", "continue")
    return int(gdb.parse_and_eval("(unsigned long)$pc"))

place = int(gdb.parse_and_eval("$place"))
earlier = forward(place // 2)
forward(place)
for _ in range(3):
    timed("reverse-stepi")
gdb.execute("hbreak *%d" % earlier, to_string=True)
timed("reverse-continue")
print("survived", flush=True)
END

echo "  QEMU, load at the start: $(cut -d " " -f 1-3 /proc/loadavg)"
qemu record & pid=$!
for ((tries = 0; tries < record_limit * 10; tries++)); do kill -0 $pid 2> /dev/null || break; sleep 0.1; done
if kill -0 $pid 2> /dev/null || ! grep -q '^lab-init: done' "$work/console"; then
  end $pid
  echo "  QEMU: recording did not get to the end of /init:"
  tail -n 3 "$work/console" "$work/qemu"
  exit 1
fi

survived=0
: > "$work/times"
for place in "${places[@]}"; do
  rm -f "$work/gdb.sock"
  qemu replay -S -gdb "unix:$work/gdb.sock,server=on,wait=off" & pid=$!
  for ((tries = 0; tries < 200; tries++)); do [ -S "$work/gdb.sock" ] && break; sleep 0.05; done
  timeout -k 5 $session_limit gdb -nx -q -batch -ex 'set confirm off' -ex 'set pagination off' -ex 'set architecture i386:x86-64' \
    -ex "set remotetimeout $session_limit" -ex "set \$limit = $operation_limit" -ex "set \$place = $place" \
    -ex "target remote $work/gdb.sock" -ex "source $work/session.py" > "$work/session" 2> "$work/session-errors"
  grep '^took reverse' "$work/session" >> "$work/times"
  if grep -q '^survived' "$work/session"; then
    survived=$((survived + 1)) how=survived
  elif kill -0 $pid 2> /dev/null; then
    how="hung in $(sed -n 's/^begin //p' "$work/session" | tail -n 1) ($operation_limit s)"
  else
    how="QEMU ended in $(sed -n 's/^begin //p' "$work/session" | tail -n 1): $(tail -n 1 "$work/qemu")"
  fi
  echo "  QEMU, back from instruction $place: $how"
  end $pid
done 2> /dev/null  # where the shell tells of processes that were ended

# seconds OPERATION: the median.
seconds() {
  awk -v name="$1" '$2 == name { print $3 }' "$work/times" | sort -g |
    awk '{ v[NR] = $1 } END { if (NR) printf "%.2f s (median of %d)", v[int((NR + 1) / 2)], NR; else printf "never came back" }'
}
echo "  QEMU: $survived of ${#places[@]} sessions survived; reverse-stepi $(seconds reverse-stepi), reverse-continue $(seconds reverse-continue)"
