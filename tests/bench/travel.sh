#!/bin/bash
# Records Debian's kernel from its start to its reboot on soft, and measures how long it takes to go back in its replay
# (travel_bench.cpp).
#
#   travel.sh BUILD_DIR LAB_DIR
#
# LAB_DIR is filled by tests/lab/debian_kernel.sh. Exit status: 0 within the targets; 1 above them, or a failure; 77 the kernel
# is absent.
set -uo pipefail
export LC_ALL=C

build=$1 lab=$2
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

"$here/../lab/debian_kernel.sh" "$lab" > "$work/lab" 2>&1
case $? in
  0) ;;
  77) echo "skipped: the kernel is absent, and $(grep -o 'apt cannot fetch.*' "$work/lab")"; exit 77 ;;
  *) cat "$work/lab"; exit 1 ;;
esac
{ read -r kernel; read -r initrd; } < "$work/lab"
"$build/dejavm" record -accel soft --keyframes 1 -o "$work/boot.dvt" -m 256M -no-reboot -rtc base=2026-01-01 -kernel "$kernel" \
  -initrd "$initrd" -append "$(cat "$lab/cmdline")" -serial "file:$work/console" -debugcon null > "$work/log" 2>&1 ||
  { cat "$work/log"; exit 1; }
"$build/tests/bench/travel_bench" "$work/boot.dvt"
