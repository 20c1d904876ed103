// The I/O APIC at 0xfec00000. Source: Intel 82093AA datasheet (290566); version 0x20 with its EOI register as in QEMU
// (hw/intc/ioapic.c), Intel's I/O APIC of the ICH (section on the EOI register).
#pragma once

#include <array>
#include <cstdint>

#include "devices/apic_message.h"
#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"

namespace dejavm::devices {

/// Twenty-four pins, each with an entry that says what message it sends. Edges count only while the pin is not masked. A
/// level is sent once, and again if it is still there at the end of its interrupt. As in QEMU the polarity bit is remembered
/// only: a high line is an active one.
class IoApic final : public vm::Device, public vm::IrqSink {
 public:
  static constexpr uint64_t kBase = 0xfec00000;
  static constexpr unsigned kPins = 24;

  explicit IoApic(ApicMessageSink sink) : sink_(std::move(sink)) { reset(); }

  Status attach(vm::Bus& bus) { return bus.map(*this, 0, vm::Space::mmio, kBase, 0x1000, 4); }

  std::string_view name() const override { return "ioapic"; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;
  void reset() override;

  /// pin: below kPins.
  void set_line(unsigned pin, bool level) override;
  /// The end of a level-triggered interrupt.
  void end_of_interrupt(uint8_t vector);

 private:
  uint32_t read_window() const;
  void write_window(uint32_t value);
  void write_entry(unsigned pin, bool high, uint32_t value);
  bool wants(unsigned pin) const;
  void send(unsigned pin);

  ApicMessageSink sink_;
  std::array<uint64_t, kPins> entries_{};
  uint32_t lines_ = 0;
  uint8_t id_ = 0;
  uint8_t selected_ = 0;
};

}  // namespace dejavm::devices
