#!/bin/bash
# What gdb gets out of the stub, beside QEMU's in the same run: conditions on device accesses, single steps, reads of memory.
# Each figure is the median of the rounds, in which everything is measured in turn.
#
#   gdb_rates.sh BUILD_DIR [ROUNDS]
#
# Exit status: 0 within the targets; 1 above them, or a failure; 77 no gdb.
set -uo pipefail
export LC_ALL=C

build=$1 rounds=${2:-3}
condition_target=60 step_target=4000 dump_target=0.90
reads=600000 hits=10000 steps=20000 megabytes=14
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
guest=$build/guests/mmio_bench
vm=(-m 64M -bios "$guest.bin" -device edu -device isa-debug-exit,iobase=0x501 -serial null)

command -v gdb > /dev/null || { echo "skipped: gdb is not installed"; exit 77; }

# with SERVER NAME CLAUSE... -- COMMAND...: starts the COMMAND, which listens on the socket, and has gdb execute the CLAUSEs, of which one
# prints "seconds S"; adds S to the list NAME.
with() {
  local name=$1 clauses=() pid tries
  shift
  while [ "$1" != -- ]; do clauses+=(-ex "$1"); shift; done
  shift
  rm -f "$work/gdb.sock"
  "$@" < /dev/null > "$work/server" 2>&1 &
  pid=$!
  for ((tries = 0; tries < 200; tries++)); do [ -S "$work/gdb.sock" ] && break; sleep 0.05; done
  timeout 300 gdb -nx -q -batch -ex 'set confirm off' -ex 'set pagination off' -ex "file $guest.elf" \
    -ex "source $work/timed.py" -ex "target remote $work/gdb.sock" "${clauses[@]}" -ex kill > "$work/gdb.out" 2>&1
  kill "$pid" 2> /dev/null
  wait "$pid" 2> /dev/null
  if ! grep -o '^seconds [0-9.]*' "$work/gdb.out" | cut -d ' ' -f 2 >> "$work/list-$name" || ! [ -s "$work/list-$name" ]; then
    echo "gdb_rates: $name failed:"
    tail -n 8 "$work/gdb.out" "$work/server"
    exit 1
  fi
}

# gdb's `timed COMMAND`; what the command shows is dropped.
cat > "$work/timed.py" << 'END'
import gdb, time
class Timed(gdb.Command):
    def __init__(self):
        super().__init__("timed", gdb.COMMAND_USER)
    def invoke(self, argument, from_tty):
        start = time.monotonic()
        gdb.execute(argument, to_string=True)
        print("seconds %.4f" % (time.monotonic() - start), flush=True)
Timed()
END

median() { sort -g "$work/list-$1" | awk '{ v[NR] = $1 } END { print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
# rate COUNT LIST: of the median, per second.
rate() { awk "BEGIN { printf \"%.0f\", $1 / $(median "$2") }"; }
by() { awk "BEGIN { printf \"%.2f\", $1 / $2 }"; }

dejavm() { with "$1" "${@:2}" -- "$build/dejavm" replay "$work/guest.dvt" -accel soft -S -gdb "unix:$work/gdb.sock"; }
qemu() {
  with "$1" "${@:2}" -- qemu-system-x86_64 -accel tcg "${vm[@]}" -display none -monitor none -S \
    -gdb "unix:$work/gdb.sock,server=on,wait=off"
}

"$build/dejavm" record -accel soft -o "$work/guest.dvt" "${vm[@]}" > "$work/log" 2>&1 || { cat "$work/log"; exit 1; }
with_qemu=''
command -v qemu-system-x86_64 > /dev/null && with_qemu=1 || echo "qemu-system-x86_64 is absent: no figures of QEMU's"
echo "load at the start: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) CPUs"

# The loop reads the register into a register of the CPU; none of the values is 1, and the counter ends QEMU's run.
in_loop=('hbreak bench_loop' 'continue' 'delete' 'set $n = 0')
after_read='break *(bench_loop_start + 2) if'
dump="timed dump binary memory /dev/null 0x100000 $(printf '%#x' $((0x100000 + megabytes * 1048576)))"
for ((round = 1; round <= rounds; round++)); do
  dejavm mmio "${in_loop[@]}" 'monitor mmio break edu+0 r value 1' 'timed continue'
  dejavm agent "${in_loop[@]}" "$after_read \$rax == 1" 'timed continue'
  dejavm step "${in_loop[@]}" "timed stepi $steps"
  dejavm dump "${in_loop[@]}" "$dump" "$dump" "$dump"
  with mock "$dump" "$dump" "$dump" -- "$build/tests/bench/mock_stub" "$work/gdb.sock"
  [ -n "$with_qemu" ] || continue
  qemu qemu_condition "${in_loop[@]}" "$after_read \$rax == 1 || ++\$n == $hits" 'timed continue'
  qemu qemu_step "${in_loop[@]}" "timed stepi $steps"
  qemu qemu_dump "${in_loop[@]}" "$dump" "$dump" "$dump"
done

mmio=$(rate $reads mmio) agent=$(rate $reads agent) step=$(rate $steps step) dump=$(rate $megabytes dump) mock=$(rate $megabytes mock)
printf '%-66s %10s /s\n' "mmio break with a value that never comes, accesses" "$mmio" \
  "a breakpoint with a condition on a register, hits" "$agent" "stepi" "$step"
printf '%-66s %10s MB/s\n' "dump memory" "$(by $megabytes "$(median dump)")" "dump memory, of a mock stub" "$(by $megabytes "$(median mock)")"
good=1
judge() { printf '  %-64s %10s   target: at least %s\n' "$1" "$2" "$3"; awk "BEGIN { exit !($2 >= $3) }" || good=0; }
if [ -n "$with_qemu" ]; then
  condition=$(rate $hits qemu_condition)
  printf '%-66s %10s /s\n' "QEMU: a breakpoint with a condition, which gdb evaluates, hits" "$condition" "QEMU: stepi" "$(rate $steps qemu_step)"
  printf '%-66s %10s MB/s\n' "QEMU: dump memory" "$(by $megabytes "$(median qemu_dump)")"
  judge "conditions on accesses : QEMU's" "$(by "$mmio" "$condition")" $condition_target
  judge "conditions on registers : QEMU's" "$(by "$agent" "$condition")" $condition_target
fi
judge "stepi, per second" "$step" $step_target
judge "dump memory : of a mock stub" "$(by "$(median mock)" "$(median dump)")" $dump_target
[ $good = 1 ] || { echo "gdb_rates: below a target; on a busy machine, measure again"; exit 1; }
