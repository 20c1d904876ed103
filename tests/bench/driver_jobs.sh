#!/bin/bash
# What recording costs where drivers work: Linux's virtio_blk reads 64 MiB of random data, and its e1000 gets an address by DHCP and
# pings, under `dejavm run`, `record` and `replay` with -accel soft. All run once a round, so that a machine that gets slower or
# faster meanwhile does so for all. Prints medians and ratios, and what 64 MiB of random data and of zeros add to a trace.
#
#   driver_jobs.sh DEJAVM LAB_DIR [ROUNDS]
#
# LAB_DIR is filled by tests/lab/driver_lab.sh. Exit status: 0 within the targets; 1 above them, or a run failed; 77 the kernel is
# absent.
set -uo pipefail
export LC_ALL=C

dejavm=$1 lab=$2 rounds=${3:-5}
record_target=1.10 replay_target=1.0 random_target_mib=66 zero_target_mib=1
. "$(dirname "$0")/rounds.sh"

open_bench driver_lab.sh "$lab"

head -c 64M /dev/urandom > "$work/random.img"
truncate -s 64M "$work/zero.img"
linux="console=ttyS0 acpi=off noapic nolapic nokaslr mitigations=off panic=-1 reboot=k no_timer_check rdinit=/init"
vm=(-accel soft -m 256M -no-reboot -rtc base=2026-01-01 -debugcon null -kernel "$kernel" -initrd "$initrd")
disk() { printf '%s\n' -device virtio-blk-pci,drive=d -drive "file=${work//,/,,}/$1.img,format=raw,if=none,id=d"; }

# options JOB: the job's part of the VM's options, a word each.
options() {
  case $1 in
    blk) disk random; printf '%s\n' -append "$linux job=dd" ;;
    net) printf '%s\n' -netdev user,id=lan -device e1000,netdev=lan,romfile= -append "$linux job=net" ;;
    none | zero | random) disk "${1/none/zero}"; printf '%s\n' -append "$linux job=hwclock$([ "$1" = none ] || echo ,dd)" ;;
  esac
}

# go COMMAND JOB: one run of the job, or the replay of its trace.
go() {
  local words
  mapfile -t words < <(options "$2")
  case $1 in
    run) "$dejavm" run "${vm[@]}" -serial "file:$work/console" "${words[@]}" ;;
    record) "$dejavm" record -o "$work/$2.dvt" "${vm[@]}" -serial "file:$work/console" "${words[@]}" ;;
    replay) "$dejavm" replay "$work/$2.dvt" ;;
  esac
}

# measure COMMAND JOB
measure() {
  if [ "$1" = replay ]; then timed "$1-$2" go "$@"; else timed_guest "$1-$2" go "$@"; fi
}

above=0
# within RATIO TARGET: notes it where it is not.
within() { awk "BEGIN { exit !($1 <= $2) }" || above=1; }

echo "load at the start: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) CPUs"
for ((round = 1; round <= rounds; round++)); do
  # The order turns: what comes second finds another cache than what came first.
  if ((round % 2)); then order=(run record replay); else order=(record run replay); fi
  for job in blk net; do
    for command in "${order[@]}"; do measure "$command" "$job"; done
  done
  echo "  round $round: $(for name in {run,record,replay}-{blk,net}; do printf '%s %s   ' "$name" "$(tail -n 1 "$work/times-$name" | cut -d ' ' -f 1)"; done)"
done

printf '\n%-36s %10s %10s\n' "medians of $rounds" "wall s" "CPU s"
for name in {run,record,replay}-{blk,net}; do printf '%-36s %10s %10s\n' "$name" "$(median "$name" 1)" "$(median "$name" 2)"; done
printf '\n%-36s %10s %10s\n' "ratios" "wall" "CPU"
# compare A B TARGET: the wall is judged.
compare() {
  printf '%-36s %10s %10s   target: at most %s\n' "$1 : $2" "$(ratio "$1" "$2" 1)" "$(ratio "$1" "$2" 2)" "$3"
  within "$(ratio "$1" "$2" 1)" "$3"
}
for job in blk net; do
  compare "record-$job" "run-$job" $record_target
  compare "replay-$job" "record-$job" $replay_target
done

for job in none zero random; do measure record "$job"; done
size() { stat -c %s "$work/$1.dvt"; }
# added JOB TARGET
added() {
  local mib
  mib=$(awk "BEGIN { printf \"%.2f\", ($(size "$1") - $(size none)) / 1048576 }")
  printf '%-36s %10s MiB   target: at most %s\n' "64 MiB of $1 data add to the trace" "$mib" "$2"
  within "$mib" "$2"
}
echo
added random $random_target_mib
added zero $zero_target_mib

[ $above = 0 ] || { echo "driver_jobs: above a target; on a busy machine, measure again"; exit 1; }
