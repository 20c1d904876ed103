#!/bin/bash
# Records Debian's kernel from its start to its reboot on soft, and measures how long it takes to go back in its replay
# (travel_bench.cpp); beside it what QEMU's reverse debugging does with the same kernel (qemu_reverse.sh).
#
#   travel.sh BUILD_DIR LAB_DIR
#
# LAB_DIR is filled by tests/lab/debian_kernel.sh. Exit status: 0 within the targets; 1 above them, or a failure; 77 the kernel
# is absent.
set -uo pipefail
export LC_ALL=C

build=$1 lab=$2
. "$(dirname "$0")/rounds.sh"

open_bench debian_kernel.sh "$lab"
"$build/dejavm" record -accel soft --keyframes 1 -o "$work/boot.dvt" -m 256M -no-reboot -rtc base=2026-01-01 -kernel "$kernel" \
  -initrd "$initrd" -append "$(cat "$lab/cmdline")" -serial "file:$work/console" -debugcon null > "$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
echo "load at the start: $(cut -d ' ' -f 1-3 /proc/loadavg), $(nproc) CPUs"
"$build/tests/bench/travel_bench" "$work/boot.dvt"
status=$?
"$(dirname "$0")/qemu_reverse.sh" "$lab" || [ $? = 77 ] || status=1
exit $status
