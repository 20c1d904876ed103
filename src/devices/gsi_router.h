// Where an interrupt line goes: a PC has each of its lines on both kinds of interrupt controller.
#pragma once

#include "base/check.h"
#include "devices/ioapic.h"
#include "devices/pic.h"
#include "vm/irq_line.h"

namespace dejavm::devices {

/// Global system interrupts 0 to 23. The first sixteen are the ISA lines and drive the 8259s, too. Pin 2 of the IOAPIC,
/// where the 8259s have their cascade, has the timer (line 0) and line 2. Source: the wiring of QEMU's pc machine
/// (hw/i386/x86.c).
class GsiRouter final : public vm::IrqSink {
 public:
  static constexpr unsigned kLines = IoApic::kPins;

  GsiRouter(Pic& pic, IoApic& ioapic) : pic_(pic), ioapic_(ioapic) {}

  void set_line(unsigned line, bool level) override {
    CHECK(line < kLines);
    if (line < 16 && line != kCascade) pic_.set_line(line, level);
    if (line != 0 && line != kCascade) return ioapic_.set_line(line, level);
    (line == 0 ? timer_ : line2_) = level;
    ioapic_.set_line(kCascade, timer_ || line2_);
  }

 private:
  static constexpr unsigned kCascade = 2;

  Pic& pic_;
  IoApic& ioapic_;
  bool timer_ = false, line2_ = false;
};

}  // namespace dejavm::devices
