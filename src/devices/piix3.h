// PIIX3 PCI-to-ISA bridge, 8086:7000 at 00:01.0: PCI interrupt routing and the reset control register. Source: Intel PIIX3
// datasheet (290550).
#pragma once

#include <array>
#include <bitset>

#include "devices/pci_bus.h"
#include "devices/power.h"
#include "vm/irq_line.h"

namespace dejavm::devices {

/// PIRQRC registers 0x60 to 0x63 route the four PIRQs to lines of the interrupt controller (bit 7 off; only lines that the
/// datasheet allows). A function's INTx pin p (0 = INTA) at slot s drives PIRQ (s - 1 + p) mod 4, as QEMU wires it.
class Piix3 final : public PciDevice, public ByteRegister {
 public:
  Piix3(vm::Bus& bus, vm::IrqSink& isa_irqs, PowerSink power);

  /// The line for pin `pin` (0 = INTA) of a function.
  vm::IrqLine intx(unsigned devfn, unsigned pin) { return {pins_, devfn * 4 + pin}; }

  std::string_view name() const override { return "piix3"; }
  uint64_t read(unsigned, uint64_t, unsigned) override { return UINT64_MAX; }
  void write(unsigned, uint64_t, unsigned, uint64_t) override {}

  /// The reset control register, port 0xcf9: bit 2 resets, bit 1 (kind of reset) is remembered.
  uint8_t read_byte() override { return reset_control_; }
  void write_byte(uint8_t value) override;

 private:
  static constexpr unsigned kPirqs = 4;

  struct Pins final : vm::IrqSink {
    explicit Pins(Piix3& owner) : bridge(owner) {}
    void set_line(unsigned line, bool level) override;
    Piix3& bridge;
    std::bitset<1024> high;
    std::array<unsigned, kPirqs> asserted{};  // how many pins hold each PIRQ
  };

  void device_reset() override;
  void config_written(unsigned offset, unsigned size) override;
  void drive_isa();

  vm::IrqSink& isa_irqs_;
  PowerSink power_;
  Pins pins_{*this};
  uint16_t driven_ = 0;  // the lines of isa_irqs_ that this bridge holds high
  uint8_t reset_control_ = 0;
};

}  // namespace dejavm::devices
