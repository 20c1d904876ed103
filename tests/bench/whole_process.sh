#!/bin/bash
# What recording costs, measured on whole processes: `dejavm record` against `dejavm run` on the same guest, in alternating
# rounds so that a machine that gets slower or faster meanwhile does so for both. Prints each round and the median ratio.
#
#   whole_process.sh DEJAVM GUEST_DIR [ROUNDS]
#
# Exit status: 0 within the target; 1 above it, or a run failed; 77 no /dev/kvm.
set -uo pipefail
export LC_ALL=C

dejavm=$1 guest_dir=$2 rounds=${3:-5}
target=1.05
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ]; then
  echo "skipped: /dev/kvm is absent or not permitted"
  exit 77
fi

# timed NAME COMMAND...: runs it and sets `seconds` and `cpu` (user and system, all threads); any failure ends the benchmark.
timed() {
  local name=$1 user system TIMEFORMAT='%3R %3U %3S'
  shift
  if ! { time timeout 120 "$@" < /dev/null > "$work/out" 2> "$work/err"; } 2> "$work/time"; then
    echo "whole_process: $name failed:"
    tail -n 5 "$work/err"
    exit 1
  fi
  read -r seconds user system < "$work/time"
  cpu=$(awk "BEGIN { printf \"%.3f\", $user + $system }")
}

median() { sort -g | awk '{ v[NR] = $1 } END { printf "%.3f", NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }

run() { timed "$1 run" "$dejavm" run "${vm[@]}"; plain=$seconds plain_cpu=$cpu; }
record() { timed "$1 record" "$dejavm" record -o "$work/$1.dvt" "${vm[@]}"; recorded=$seconds recorded_cpu=$cpu; }

# compare NAME ROUNDS: the guest in `vm`, run and recorded in alternating order; sets `ratio` to the median of the rounds' ratios.
compare() {
  local name=$1 round
  : > "$work/ratios"
  for ((round = 1; round <= $2; round++)); do
    if ((round % 2)); then run "$name"; record "$name"; else record "$name"; run "$name"; fi
    awk "BEGIN { printf \"%.4f\n\", $recorded / $plain }" >> "$work/ratios"
    printf '  round %d   run %8.3f s (CPU %.3f)   record %8.3f s (CPU %.3f)   ratio %s\n' "$round" "$plain" "$plain_cpu" \
      "$recorded" "$recorded_cpu" "$(tail -n 1 "$work/ratios")"
  done
  ratio=$(median < "$work/ratios")
}

# replayed NAME: how long the trace's replay takes, and its summary line.
replayed() {
  timed "$1 replay" "$dejavm" replay "$work/$1.dvt"
  printf '  replay %12.3f s   %s\n' "$seconds" "$(tail -n 1 "$work/err")"
  printf '  trace  %12d bytes\n' "$(stat -c %s "$work/$1.dvt")"
}

echo "load at the start: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) CPUs"

echo "mmio_bench: 600000 reads of a device register"
vm=(-m 64M -bios "$guest_dir/mmio_bench.bin" -device edu -device isa-debug-exit,iobase=0x501 -serial null)
compare mmio_bench "$rounds"
bench_ratio=$ratio
replayed mmio_bench
echo

echo "SeaBIOS: its first 3000 events (much of the time it waits for a key)"
vm=(-m 64M -debugcon null -serial null --max-events 3000)
compare seabios 3
seabios_ratio=$ratio
replayed seabios
echo

echo "record : run, median      mmio_bench $bench_ratio   SeaBIOS $seabios_ratio   (target for mmio_bench: at most $target)"
if ! awk "BEGIN { exit !($bench_ratio <= $target) }"; then
  echo "whole_process: recording mmio_bench costs more than the target; on a busy machine, measure again"
  exit 1
fi
