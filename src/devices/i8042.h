// 8042 keyboard controller (ports 0x60, 0x64) with a keyboard on its first port and nothing on the second, and the system
// control port A (0x92). Sources: IBM PS/2 Hardware Interface Technical Reference, keyboard and auxiliary device controller;
// PIIX3 datasheet (290550) for port 0x92.
#pragma once

#include <array>
#include <cstdint>
#include <deque>

#include "devices/power.h"
#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"

namespace dejavm::devices {

/// Answers at once, so that firmware finds a keyboard that passes its tests; no key is ever pressed. The A20 bits of the
/// output port and of port 0x92 are remembered, but address line 20 is never masked. Registers are numbered by port.
class I8042 final : public vm::Device {
 public:
  I8042(vm::IrqLine keyboard_irq, PowerSink power);

  Status attach(vm::Bus& bus);

  std::string_view name() const override { return "i8042"; }
  uint64_t read(unsigned region, uint64_t port, unsigned size) override;
  void write(unsigned region, uint64_t port, unsigned size, uint64_t value) override;
  void reset() override;

 private:
  enum class Expects : uint8_t { keyboard, memory, output_port, keyboard_echo, auxiliary };

  uint8_t read_data();
  void command(uint8_t value);
  void data(uint8_t value);
  void keyboard(uint8_t value);
  void write_output_port(uint8_t value);
  void answer(uint8_t value);
  void update_irq();

  vm::IrqLine irq_;
  PowerSink power_;
  std::array<uint8_t, 32> memory_{};  // byte 0: the command byte
  std::deque<uint8_t> output_;
  uint8_t last_ = 0;
  Expects expects_ = Expects::keyboard;
  uint8_t memory_index_ = 0;
  bool command_written_ = false;    // status bit 3: the last write went to port 0x64
  bool keyboard_argument_ = false;  // the keyboard's last command takes a byte
  bool a20_ = true;
};

}  // namespace dejavm::devices
