#!/bin/bash
# What holds on genuine hardware virtualization: runs in the machine of kvm_lab.sh and replays outside what was recorded there.
#
#   kvm_lab_test.sh LAB BUILD KERNELS [contract|record|drivers|differential]
#
# LAB: the directory of kvm_lab.sh. BUILD: build/release. KERNELS: where lab and lab-drivers are, the directories of debian_kernel.sh
# and driver_lab.sh.
#   contract  the contract suite on that KVM
#   record    guests that compute under a timer, recorded inside and replayed on soft outside; with DEJAVM_REPEAT=full also Linux
#             with RDTSC patched, five boots, each replayed on KVM inside and on soft outside
#   drivers   Debian's kernel with e1000 and virtio-blk does the jobs of driver_lab.sh, recorded on KVM inside, replayed there and on
#             soft outside; five times with DEJAVM_REPEAT=full, which is the only time that it runs (DEJAVM_LAB_RUNS="1 2": two times)
#   differential  random instructions in all modes on that KVM, whose answers are compared with soft outside; with DEJAVM_REPEAT=full
#             only, DEJAVM_LAB_SEEDS (default 30) times 5000 a mode from DEJAVM_LAB_FIRST_SEED on. A part that takes minutes is left
#             out, by name; where the machine itself ends, as QEMU does for some guests, another goes on behind the part
# The traces stay in LAB/out until the next run.
# Exit status: 0 all well; 77 QEMU is absent or apt cannot reach a mirror; anything else: a failure.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
lab=$1 build=$2 kernels=$3 what=$4
dejavm=$build/dejavm
computing=(table sse)
clock=(-rtc base=2026-01-01)

fail() { echo "FAILED: $*"; exit 1; }
seconds_of() { local from=$EPOCHREALTIME; "$@" && took=$(awk "BEGIN { printf \"%.1f\", $EPOCHREALTIME - $from }"); }

# replay_inside TRACE: to its end, on the KVM that recorded it.
replay_inside() {
  seconds_of "$dejavm" replay "$1" -accel kvm 2> /tmp/replay.err || { failed=1; echo "FAILED: replaying on KVM:"; cat /tmp/replay.err; return; }
  echo "  replayed on KVM in $took s: $(tail -n 1 /tmp/replay.err)"
}

# record_linux TRACE OPTION...: the guest's console is in /tmp/linux.out.
record_linux() {
  local trace=$1
  shift
  seconds_of "$dejavm" record -o "$trace" -accel kvm -m 256M -no-reboot "${clock[@]}" "$@" > /tmp/linux.out 2> /tmp/linux.err ||
    fail "recording Linux: $(tail -n 5 /tmp/linux.out; cat /tmp/linux.err)"
  grep -q "rdtsc: [0-9]* sites in the kernel's text" /tmp/linux.err || fail "RDTSC was not patched"
  grep -q '^lab-init: done' /tmp/linux.out || fail "Linux did not get to the end: $(tail -n 12 /tmp/linux.out)"
  echo "$(basename "$trace") in $took s: $(tail -n 1 /tmp/linux.err)"
  cp "$trace" "$LAB_OUT/"  # the share takes no mapping of a trace that grows
}

if [ "$what" = inside-record ]; then
  for kind in "${computing[@]}"; do
    "$dejavm" record -o "/tmp/$kind.dvt" -accel kvm -m 16M -bios "$build/guests/compute_$kind.bin" -no-reboot \
      -device isa-debug-exit,iobase=0x501 -serial null || fail "recording compute_$kind"
    cp "/tmp/$kind.dvt" "$LAB_OUT/"
  done
  [ "${DEJAVM_REPEAT:-}" = full ] || exit 0
  line="console=ttyS0 acpi=off noapic nolapic pci=off nokaslr mitigations=off panic=-1 no_timer_check reboot=k rdinit=/init"
  failed=0
  for boot in 1 2 3 4 5; do
    record_linux "/tmp/linux-$boot.dvt" -kernel "$kernels"/lab/boot/vmlinuz-* -initrd "$kernels/lab/initrd.gz" -append "$line"
    while read -r expected; do
      grep -qF "$expected" /tmp/linux.out || fail "Linux on KVM did not say '$expected': $(tail -n 12 /tmp/linux.out)"
    done < "$kernels/lab/expected"
    replay_inside "/tmp/linux-$boot.dvt"
  done
  exit $failed
fi

if [ "$what" = inside-drivers ]; then
  failed=0
  sum=$(sha256sum < "$lab/random.img" | cut -d ' ' -f 1)
  for run in ${DEJAVM_LAB_RUNS:-1 2 3 4 5}; do
    record_linux "/tmp/drivers-$run.dvt" -kernel "$kernels"/lab-drivers/boot/vmlinuz-* -initrd "$kernels/lab-drivers/initrd.gz" \
      -append "console=ttyS0 panic=-1 rdinit=/init job=blk,dd,net,hwclock end=poweroff pings=20" \
      -drive "file=$lab/random.img,format=raw,if=none,id=d0" -device virtio-blk-pci,drive=d0,serial=lab-disk \
      -netdev user,id=lan -device e1000,netdev=lan,romfile=
    for expected in "vda: 64 MiB $sum" "20 packets transmitted, 20 packets received" "Thu Jan  1 00:0"; do
      grep -qF "$expected" /tmp/linux.out || fail "the jobs did not say '$expected': $(tail -n 30 /tmp/linux.out)"
    done
    replay_inside "/tmp/drivers-$run.dvt"
  done
  exit $failed
fi

if [ "$what" = inside-differential ]; then
  cp "$build/tests/differential/differential" /tmp/
  while read -r mode seed; do
    echo "part $mode $seed"
    if timeout 120 /tmp/differential --mode "$mode" --count 5000 --seed "$seed" --save /tmp/answers > /dev/null; then
      cp /tmp/answers "$LAB_OUT/$mode-$seed.answers"
    else
      echo "left out: $mode, seed $seed (exit status $?)"
    fi
  done < "$lab/parts"
  exit 0
fi

# prepare SCRIPT DIRECTORY: a guest's kernel and RAM disk.
prepare() {
  local status=0
  "$here/$1" "$kernels/$2" > /dev/null || status=$?
  [ $status != 77 ] || exit 77
  [ $status = 0 ] || fail "no kernel for the guest"
}
# replay_outside: every trace that came out, on soft.
replay_outside() {
  [ $failed != 77 ] || exit 77
  shopt -s nullglob
  local traces=("$lab"/out/*.dvt)
  [ ${#traces[@]} -gt 0 ] || fail "no trace came out"
  for trace in "${traces[@]}"; do
    seconds_of "$dejavm" replay "$trace" -accel soft 2> "$lab/replay.err" ||
      { failed=1; echo "FAILED: replaying $(basename "$trace") on soft:"; cat "$lab/replay.err"; continue; }
    echo "$(basename "$trace") on soft in $took s: $(tail -n 1 "$lab/replay.err")"
  done
}
# compare_outside: adds all answers that came out to total, parts and known.
compare_outside() {
  shopt -s nullglob
  for answers in "$lab"/out/*.answers; do
    "$build/tests/differential/differential" --answers "$answers" > "$lab/differential.txt" ||
      { failed=1; echo "FAILED: $answers"; cat "$lab/differential.txt"; }
    sed -n -e 's/^  known, \([0-9]*\) times:/\1/p' -e 's/^  \(without end\): \([0-9]*\)$/\2 \1/p' \
      -e 's/^  \(different after a jump into data\): \([0-9]*\)$/\2 \1/p' "$lab/differential.txt" >> "$lab/known"
    total=$((total + $(tail -n 1 "$lab/differential.txt" | cut -d ' ' -f 1))) parts=$((parts + 1))
  done
}
inside() { "$here/kvm_lab.sh" "$lab" "$here/kvm_lab_test.sh" "$lab" "$build" "$kernels" "inside-$what"; }

failed=0
case $what in
  contract)
    exec "$here/kvm_lab.sh" "$lab" "$build/tests/contract/contract_tests" --gtest_brief=1 --gtest_filter='-*/soft'
    ;;
  record)
    [ "${DEJAVM_REPEAT:-}" != full ] || prepare debian_kernel.sh lab
    inside || failed=$?
    replay_outside
    ;;
  drivers)
    if [ "${DEJAVM_REPEAT:-}" != full ]; then
      echo "skipped: it takes many minutes: with DEJAVM_REPEAT=full only"
      exit 77
    fi
    prepare driver_lab.sh lab-drivers
    mkdir -p "$lab"
    head -c 64M /dev/urandom > "$lab/random.img"
    inside || failed=$?
    replay_outside
    ;;
  differential)
    if [ "${DEJAVM_REPEAT:-}" != full ]; then
      echo "skipped: it takes a quarter of an hour: with DEJAVM_REPEAT=full only"
      exit 77
    fi
    mkdir -p "$lab"
    first=${DEJAVM_LAB_FIRST_SEED:-1001}
    for seed in $(seq "$first" $((first + ${DEJAVM_LAB_SEEDS:-30} - 1))); do
      printf '%s\n' "real16 $seed" "flat32 $seed" "long64 $seed" "user64 $seed"
    done > "$lab/parts"
    total=0 parts=0 lost=0
    : > "$lab/known"
    while [ -s "$lab/parts" ]; do
      status=0
      inside || status=$?
      compare_outside
      [ $status != 0 ] || break
      part=$(sed -n 's/^part //p' "$lab/out/.output" | tail -n 1)
      [ $status = 125 ] && [ -n "$part" ] && [ $((lost += 1)) -lt 10 ] || exit $status
      echo "lost: $part: $(head -n 1 "$lab/qemu.log")"
      awk -v part="$part" 'found; $0 == part { found = 1 }' "$lab/parts" > "$lab/parts.rest"
      mv "$lab/parts.rest" "$lab/parts"
    done
    echo "differences with a reason:"
    awk '{ n = $1; $1 = ""; sum[$0] += n } END { for (reason in sum) print " ", sum[reason], reason }' "$lab/known" | sort -rn -k 1
    echo "$total instructions compared, in $parts parts; $lost lost"
    [ $total -gt 0 ] || fail "nothing was compared"
    exit $failed
    ;;
  *) fail "there is no part '$what'" ;;
esac
exit $failed
