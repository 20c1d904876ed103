#!/bin/bash
# What recording costs a boot of Linux on KVM, and what it costs the guest's clock: dejavm run and record in turn, all in one run of
# the machine of tests/lab/kvm_lab.sh.
#
#   kvm_boot.sh LAB BUILD KERNEL_LAB [ROUNDS]
#
# LAB: the directory of kvm_lab.sh. BUILD: build/release. KERNEL_LAB: the directory of debian_kernel.sh. The guest counts time by its
# timer of 250 Hz alone, so that what its clock lacks, from the kernel's first line after its switch to that clock to its last, is
# ticks that it lost.
# Exit status: 0 within the target; 1 above it, or a run failed; 77 QEMU or the kernel is absent.
set -uo pipefail
export LC_ALL=C
here=$(cd "$(dirname "$0")" && pwd)
lab=$1 build=$2 kernel_lab=$3 rounds=${4:-3}
target=1.10

if [ "${5:-}" != inside ]; then
  "$here/../lab/debian_kernel.sh" "$kernel_lab" > /dev/null || exit
  exec "$here/../lab/kvm_lab.sh" "$lab" "$here/kvm_boot.sh" "$lab" "$build" "$kernel_lab" "$rounds" inside
fi

work=$(mktemp -d)
. "$here/rounds.sh"
line="console=ttyS0 acpi=off noapic nolapic pci=off nokaslr mitigations=off panic=-1 no_timer_check reboot=k rdinit=/init"
vm=(-accel kvm -m 256M -no-reboot -rtc base=2026-01-01 -kernel "$kernel_lab"/boot/vmlinuz-* -initrd "$kernel_lab/initrd.gz"
  -append "$line")
# stamped: each line of the console with the time at which it came.
stamped() { while IFS= read -r text; do printf '%s %s\n' "$EPOCHREALTIME" "$text"; done > "$work/console"; }
go() {
  case $1 in
    run) "$build/dejavm" run "${vm[@]}" | stamped ;;
    record) "$build/dejavm" record -o "$work/boot.dvt" "${vm[@]}" | stamped ;;
  esac
}
for ((round = 1; round <= rounds; round++)); do
  if ((round % 2)); then order=(run record); else order=(record run); fi
  for command in "${order[@]}"; do
    timed "$command" go "$command"
    grep -q 'lab-init: done' "$work/console" || { echo "kvm_boot: $command did not get to the end of /init"; exit 1; }
    lost=$(awk '{ sub(/\r$/, "") }
      match($0, /\[ *[0-9]+\.[0-9]+\]/) { clock = substr($0, RSTART + 1, RLENGTH - 2) + 0; wall = $1
        if (/clocksource: Switched/ || (from && !first)) { from = 1; if (!/Switched/) { first = 1; c = clock; w = wall } } }
      END { printf "%.0f", 100 * (1 - (clock - c) / (wall - w)) }' "$work/console")
    echo "  round $round: $command $(tail -n 1 "$work/times-$command" | cut -d ' ' -f 1) s, the guest lost $lost % of its ticks"
  done
done
ratio=$(ratio record run 1)
echo "medians of $rounds: run $(median run 1) s, record $(median record 1) s, ratio $ratio (target: at most $target)"
awk "BEGIN { exit !($ratio <= $target) }"
