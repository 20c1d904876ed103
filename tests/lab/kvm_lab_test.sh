#!/bin/bash
# What holds on genuine hardware virtualization: runs in the machine of kvm_lab.sh and replays outside what was recorded there.
#
#   kvm_lab_test.sh LAB BUILD KERNEL_LAB [contract|record]
#
# LAB: the directory of kvm_lab.sh. BUILD: build/release. KERNEL_LAB: the directory of debian_kernel.sh.
#   contract  the contract suite on that KVM
#   record    guests that compute under a timer, and a boot of Linux with RDTSC patched; the guests are replayed on soft outside,
#             the first events of Linux on KVM inside; with DEJAVM_REPEAT=full only.
# Exit status: 0 all well; 77 QEMU is absent or apt cannot reach a mirror; anything else: a failure.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lab=$1 build=$2 kernel_lab=$3 what=$4
dejavm=$build/dejavm
computing=(table sse)

fail() { echo "FAILED: $*"; exit 1; }

if [ "$what" = inside ]; then
  for kind in "${computing[@]}"; do
    "$dejavm" record -o "/tmp/$kind.dvt" -accel kvm -m 16M -bios "$build/guests/compute_$kind.bin" -no-reboot \
      -device isa-debug-exit,iobase=0x501 -serial null || fail "recording compute_$kind"
    cp "/tmp/$kind.dvt" "$LAB_OUT/"
  done
  boots=5
  line="console=ttyS0 acpi=off noapic nolapic pci=off nokaslr mitigations=off panic=-1 no_timer_check reboot=k rdinit=/init"
  for boot in $(seq $boots); do
    "$dejavm" record -o /tmp/linux.dvt -accel kvm -m 256M -no-reboot -rtc base=2026-01-01 -kernel "$kernel_lab"/boot/vmlinuz-* \
      -initrd "$kernel_lab/initrd.gz" -append "$line" > /tmp/linux.out 2> /tmp/linux.err || fail "recording Linux: $(cat /tmp/linux.err)"
    while read -r expected; do
      grep -qF "$expected" /tmp/linux.out || fail "Linux on KVM did not say '$expected': $(tail -n 12 /tmp/linux.out /tmp/linux.err)"
    done < "$kernel_lab/expected"
    grep -q "rdtsc: [0-9]* sites in the kernel's text" /tmp/linux.err || fail "RDTSC was not patched"
    echo "boot $boot: $(tail -n 1 /tmp/linux.err)"
    "$dejavm" replay /tmp/linux.dvt -accel kvm --until 5000 2> /tmp/replay.err || fail "replaying on KVM: $(cat /tmp/replay.err)"
    tail -n 1 /tmp/replay.err
  done
  exit 0
fi

if [ "$what" = record ] && [ "${DEJAVM_REPEAT:-}" != full ]; then
  echo "skipped: it takes many minutes: with DEJAVM_REPEAT=full only"
  exit 77
fi
if [ "$what" = contract ]; then
  exec "$here/kvm_lab.sh" "$lab" "$build/tests/contract/contract_tests" --gtest_brief=1 --gtest_filter='-*/soft'
fi
status=0
"$here/debian_kernel.sh" "$kernel_lab" > /dev/null || status=$?
[ $status != 77 ] || exit 77
[ $status = 0 ] || fail "no kernel for the guest"
"$here/kvm_lab.sh" "$lab" "$here/kvm_lab_test.sh" "$lab" "$build" "$kernel_lab" inside || exit
for kind in "${computing[@]}"; do
  "$dejavm" replay "$lab/out/$kind.dvt" -accel soft 2> "$lab/replay.err" || fail "replaying compute_$kind: $(cat "$lab/replay.err")"
  echo "compute_$kind on soft: $(tail -n 1 "$lab/replay.err")"
done
