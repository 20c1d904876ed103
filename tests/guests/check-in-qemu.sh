#!/bin/bash
# Runs every guest under the real QEMU and checks its output and exit status: the guests are measured against QEMU before
# dejavm is measured against the guests.
#
#   check-in-qemu.sh GUEST_DIR tcg|kvm
#
# Exit status: 0 all as expected; 1 some guest was not; 77 QEMU or /dev/kvm is absent (CTest reports the test as skipped).
set -u

guest_dir=$1
accelerator=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

qemu=$(command -v qemu-system-x86_64) || { echo "skipped: no qemu-system-x86_64"; exit 77; }
kvm_device=a:e8  # major and minor number
if [ "$accelerator" = kvm ] && { [ ! -r /dev/kvm ] || [ ! -w /dev/kvm ] || [ "$(stat -c %t:%T /dev/kvm)" != $kvm_device ]; }; then
  echo "skipped: /dev/kvm is absent or not permitted"
  exit 77
fi

# run_guest SECONDS NAME [QEMU ARGS...]: input from stdin; leaves $work/out, $work/err, $status and $seconds.
run_guest() {
  local limit=$1 name=$2 start=$EPOCHREALTIME
  shift 2
  timeout "$limit" "$qemu" -M pc -accel "$accelerator" -m 64M -nodefaults -display none -bios "$guest_dir/$name.bin" \
    -device isa-debug-exit,iobase=0x501 -serial stdio "$@" > "$work/out" 2> "$work/err"
  status=$?
  seconds=$(awk "BEGIN { printf \"%.2f\", $EPOCHREALTIME - $start }")
}

# expect NAME STATUS TEXT...: compares the last run; every TEXT is a line or a part of one in the output.
expect() {
  local name=$1 expected_status=$2 text problem=
  shift 2
  [ "$status" = "$expected_status" ] || problem="exit status $status, expected $expected_status"
  for text in "$@"; do
    grep -qF -- "$text" "$work/out" || problem="${problem:+$problem; }no \"$text\" in the output"
  done
  if [ -z "$problem" ]; then
    echo "ok      $name ($seconds s)"
    return
  fi
  failures=$((failures + 1))
  echo "FAILED  $name ($seconds s): $problem"
  sed 's/^/        | /' "$work/out" | tail -n 20
  sed 's/^/        ! /' "$work/err" | tail -n 5
}

run_guest 30 uart_echo -no-reboot < <(printf 'Hello, world\nsecond line\nquit\n')
expect uart_echo 1 "uart_echo: ready" "> HELLO, WORLD" "> SECOND LINE" "> QUIT" "receive interrupts"

run_guest 30 uart_echo -no-reboot < <(printf 'off\n')
expect "uart_echo, power-off" 0 "> OFF" "receive interrupts"

run_guest 60 edu_irq_dma -device edu -no-reboot < /dev/null
expect edu_irq_dma 1 "edu 1.0, 20 rounds" "44 edu interrupts" "data 0x3aed82c4097e538a"

run_guest 60 edu_irq_dma_short -device edu -no-reboot < /dev/null
expect edu_irq_dma_short 1 "edu 1.0, 6 rounds" "edu interrupts" "edu_irq_dma: data 0x"

run_guest 30 edu_irq_dma_short -no-reboot < /dev/null
expect "edu_irq_dma_short without edu" 3 "edu_irq_dma: FAILED: edu device"

run_guest 30 mmio_exerciser -device edu -no-reboot < /dev/null
expect mmio_exerciser 1 "mmio_exerciser: rep outsb" "RAM 0xc37d4ae9581a3397" "0 differences"

run_guest 30 mmio_exerciser -no-reboot < /dev/null
expect "mmio_exerciser without edu" 1 "on an unclaimed address" "0 differences"

if [ "$accelerator" != kvm ]; then  # its 600,000 exits take too long on a loaded host; the small one does the same
  run_guest 120 mmio_bench -device edu -no-reboot < /dev/null
  expect mmio_bench 1 "reads of edu" "mmio_bench: done, sum 0x"
fi

run_guest 60 mmio_bench_small -device edu -no-reboot < /dev/null
expect mmio_bench_small 1 "50000 reads of edu" "sum 0x000000c350b4d110"

run_guest 30 mmio_bench_small -no-reboot < /dev/null
expect "mmio_bench_small without edu" 1 "50000 reads of an unclaimed address" "mmio_bench: done"

run_guest 30 buggy_dma -device edu -no-reboot < /dev/null
expect buggy_dma 3 "mailbox: message 105, 34 bytes" "self test: alive, 8! = 40320" \
  "PANIC: completion queue corrupted (magic 0x75736b6365686320 expected 0x554555514c504d43)"

run_guest 2 spin -no-reboot < /dev/null
expect spin 124 "spin: no exits from here on"

run_guest 2 serial_flood -no-reboot < /dev/null
expect serial_flood 124 "serial_flood: line 0" "serial_flood: line 99"

# A KVM that interprets this guest has no addps and stops the machine; a real CPU goes on.
run_guest 4 fail_emulation -no-reboot < /dev/null
if grep -q "KVM internal error" "$work/err"; then
  expect "fail_emulation, which KVM cannot emulate" 124 "about to execute addps"
else
  expect fail_emulation 1 "addps worked, sum 0x40700000"
fi

run_guest 30 triple_fault -no-reboot < /dev/null
expect triple_fault 0 "triple_fault: now"

run_guest 30 tsc_reader -no-reboot < /dev/null
expect tsc_reader 1 "tsc_reader: 100 ticks"

run_guest 30 tsc_keeper -no-reboot < /dev/null
expect tsc_keeper 1 "tsc_keeper: 8 times"

run_guest 30 flags_keeper -no-reboot < /dev/null
expect flags_keeper 1 "flags_keeper: done"

run_guest 30 apic -device edu -no-reboot < /dev/null
expect apic 1 "apic: priorities 0x55 0x45 0x35" "apic: timer 1 once, 5 again and again" "apic: PIT 10 by the IOAPIC" \
  "apic: edu 4 by its pin, 3 by message" "apic: done"

run_guest 30 reboot < /dev/null
expect reboot 1 "reboot: boot 1, ends by port 0xcf9" "reboot: boot 40, ends by a triple fault" "reboot: boot 41, the last"

[ "$failures" = 0 ]
