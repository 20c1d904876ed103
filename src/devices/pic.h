// The PC's pair of 8259A interrupt controllers (ports 0x20, 0x21, 0xa0, 0xa1) with the edge/level control registers of the
// PIIX3 (ports 0x4d0, 0x4d1; Intel datasheet 290550). Chip: i8259.h.
#pragma once

#include "devices/i8259.h"
#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"

namespace dejavm::devices {

/// Sixteen interrupt lines; line 2 is the cascade and takes no device. Registers are numbered by port.
class Pic final : public vm::Device, public vm::IrqSink {
 public:
  /// `intr` follows the INTR pin.
  explicit Pic(vm::IrqLine intr = {}) : intr_(intr) {}

  Status attach(vm::Bus& bus);

  std::string_view name() const override { return "pic"; }
  uint64_t read(unsigned region, uint64_t port, unsigned size) override;
  void write(unsigned region, uint64_t port, unsigned size, uint64_t value) override;
  void reset() override;

  void set_line(unsigned line, bool level) override;

  /// The INTR pin.
  bool pending() const { return master_.pending().has_value(); }
  /// The INTA cycle. A request that went away gives the spurious vector of line 7 or 15.
  uint8_t acknowledge();

 private:
  void settle();

  vm::IrqLine intr_;
  I8259 master_{0xf8};
  I8259 slave_{0xde};
};

}  // namespace dejavm::devices
