// 16550A UART. Source: Texas Instruments PC16550D datasheet (SNLS378), section 8.
#pragma once

#include <cstdint>
#include <deque>

#include "devices/power.h"
#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"
#include "vm/machine.h"

namespace dejavm::devices {

/// Transmission takes no time: a byte written to THR is sent within the access, and THRE is never seen clear. The character
/// timeout of the receive FIFO is not waited for: bytes below the trigger level interrupt at once. As in QEMU the interrupt
/// line does not depend on OUT2. The modem lines CTS, DSR and DCD are always on.
class Serial final : public vm::Device, public vm::ByteInput {
 public:
  Serial(std::string name, vm::IrqLine irq, ByteSink output);

  Status attach(vm::Bus& bus, uint16_t base) { return bus.map(*this, 0, vm::Space::pio, base, 8, 1); }

  std::string_view name() const override { return name_; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;
  void reset() override;

  /// Nothing fits while the guest tests in loopback mode.
  size_t room() const override;
  /// Bytes beyond room() are lost with an overrun error.
  void receive(ByteSpan bytes) override;

 private:
  bool divisor_access() const { return (lcr_ & 0x80) != 0; }
  bool fifos() const { return (fcr_ & 0x01) != 0; }
  bool loopback() const { return (mcr_ & 0x10) != 0; }
  size_t depth() const { return fifos() ? 16 : 1; }
  void push(uint8_t byte);
  uint8_t read_receiver();
  uint8_t read_iir();
  uint8_t read_lsr();
  uint8_t read_msr();
  void transmit(uint8_t byte);
  void write_ier(uint8_t value);
  void write_fcr(uint8_t value);
  void write_mcr(uint8_t value);
  void set_modem_lines(uint8_t lines);
  uint8_t interrupt_id() const;
  void update_irq();

  const std::string name_;
  vm::IrqLine irq_;
  ByteSink output_;
  std::deque<uint8_t> received_;
  uint8_t last_received_ = 0;
  uint16_t divisor_ = 12;
  uint8_t ier_ = 0;
  uint8_t fcr_ = 0;
  uint8_t lcr_ = 0;
  uint8_t mcr_ = 0;
  uint8_t line_errors_ = 0;  // the LSR bits that a read clears
  uint8_t msr_ = 0;
  uint8_t scratch_ = 0;
  bool thr_empty_pending_ = false;  // the THRE interrupt waits to be seen
};

}  // namespace dejavm::devices
