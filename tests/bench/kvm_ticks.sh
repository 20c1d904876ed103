#!/bin/bash
# How many ticks of a timer of 250 Hz a guest loses that computes without exits, and how late they come: run, and recorded, on KVM.
#
#   kvm_ticks.sh BUILD
#
# BUILD: build/release. In the lab: ./dev lab tests/bench/kvm_ticks.sh build/release.
# Exit status: 0 when it ran; 1 a run failed; 77 there is no KVM.
set -uo pipefail
export LC_ALL=C
build=$1
[ -r /dev/kvm ] && [ -w /dev/kvm ] || { echo "skipped: /dev/kvm is absent"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
vm=(-accel kvm -m 16M -bios "$build/guests/ticks.bin" -no-reboot -device "isa-debug-exit,iobase=0x501" --quiet)
for command in run "record -o $work/ticks.dvt"; do
  # shellcheck disable=SC2086
  "$build/dejavm" $command "${vm[@]}" > "$work/out" 2> "$work/err"
  grep -q '^ticks: ' "$work/out" || { echo "kvm_ticks: $command failed: $(tail -n 3 "$work/err")"; exit 1; }
  echo "${command%% *}: $(tr -d '\r' < "$work/out")"
done
