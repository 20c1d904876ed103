#include "devices/i8042.h"

namespace dejavm::devices {
namespace {

constexpr size_t kBufferLimit = 16;
constexpr uint8_t kIrqEnabled = 0x01, kSystemFlag = 0x04, kKeyboardDisabled = 0x10, kAuxiliaryDisabled = 0x20;
constexpr uint8_t kAck = 0xfa;

}  // namespace

I8042::I8042(vm::IrqLine keyboard_irq, PowerSink power) : irq_(keyboard_irq), power_(std::move(power)) { reset(); }

Status I8042::attach(vm::Bus& bus) {
  for (uint64_t port : {0x60, 0x64, 0x92}) TRY(bus.map(*this, 0, vm::Space::pio, port, 1, 1, port));
  return {};
}

void I8042::reset() {
  memory_.fill(0);
  memory_[0] = kIrqEnabled | 0x02;
  output_.clear();
  last_ = 0;
  expects_ = Expects::keyboard;
  command_written_ = true;
  keyboard_argument_ = false;
  a20_ = true;
  update_irq();
}

uint64_t I8042::read(unsigned, uint64_t port, unsigned) {
  if (port == 0x60) return read_data();
  if (port == 0x92) return a20_ ? 0x02 : 0x00;
  // Bit 4: the keyboard is not locked. Bit 1 (input buffer full) is never seen set.
  return static_cast<uint8_t>((output_.empty() ? 0 : 0x01) | (memory_[0] & kSystemFlag) | (command_written_ ? 0x08 : 0) |
                              0x10);
}

void I8042::write(unsigned, uint64_t port, unsigned, uint64_t value) {
  auto byte = static_cast<uint8_t>(value);
  if (port == 0x60) {
    command_written_ = false;
    data(byte);
  } else if (port == 0x64) {
    command_written_ = true;
    command(byte);
  } else {
    a20_ = (byte & 0x02) != 0;
    if ((byte & 0x01) != 0) power_({vm::PowerEvent::Kind::reset, "port 0x92", 0});
  }
}

uint8_t I8042::read_data() {
  if (!output_.empty()) {
    last_ = output_.front();
    output_.pop_front();
    // Each byte makes its own edge.
    irq_.set(false);
    update_irq();
  }
  return last_;
}

void I8042::command(uint8_t value) {
  expects_ = Expects::keyboard;
  if (value >= 0x20 && value <= 0x3f) {
    answer(memory_[value & 0x1f]);
  } else if (value >= 0x60 && value <= 0x7f) {
    memory_index_ = value & 0x1f;
    expects_ = Expects::memory;
  } else if (value >= 0xf0) {
    // Pulses the output lines whose bit is 0; bit 0 is the CPU's reset.
    if ((value & 0x01) == 0) power_({vm::PowerEvent::Kind::reset, "keyboard controller", 0});
  } else {
    switch (value) {
      case 0xa7:
        memory_[0] |= kAuxiliaryDisabled;
        break;
      case 0xa8:
        memory_[0] &= static_cast<uint8_t>(~kAuxiliaryDisabled);
        break;
      case 0xa9:
        answer(0x02);  // the second port's clock line is stuck high: nothing is connected
        break;
      case 0xaa:
        memory_[0] |= kSystemFlag;
        answer(0x55);
        break;
      case 0xab:
        answer(0x00);
        break;
      case 0xad:
        memory_[0] |= kKeyboardDisabled;
        break;
      case 0xae:
        memory_[0] &= static_cast<uint8_t>(~kKeyboardDisabled);
        break;
      case 0xc0:
        answer(0x80);  // the input port: not locked
        break;
      case 0xd0:
        answer(static_cast<uint8_t>(0x01 | (a20_ ? 0x02 : 0) | (output_.empty() ? 0 : 0x10)));
        break;
      case 0xd1:
        expects_ = Expects::output_port;
        break;
      case 0xd2:
        expects_ = Expects::keyboard_echo;
        break;
      case 0xd3:
      case 0xd4:
        expects_ = Expects::auxiliary;
        break;
      case 0xdd:
      case 0xdf:
        a20_ = value == 0xdf;
        break;
      default:
        break;
    }
  }
  update_irq();
}

void I8042::data(uint8_t value) {
  Expects expected = expects_;
  expects_ = Expects::keyboard;
  switch (expected) {
    case Expects::keyboard:
      memory_[0] &= static_cast<uint8_t>(~kKeyboardDisabled);  // a byte for the keyboard enables its port
      keyboard(value);
      break;
    case Expects::memory:
      memory_[memory_index_] = value;
      break;
    case Expects::output_port:
      write_output_port(value);
      break;
    case Expects::keyboard_echo:
      answer(value);
      break;
    case Expects::auxiliary:  // nothing is connected: no answer
      break;
  }
  update_irq();
}

void I8042::keyboard(uint8_t value) {
  if (keyboard_argument_) {
    keyboard_argument_ = false;
    answer(kAck);
    return;
  }
  switch (value) {
    case 0xee:  // echo
      answer(0xee);
      return;
    case 0xed:  // lights
    case 0xf0:  // scan code set
    case 0xf3:  // repeat rate
      keyboard_argument_ = true;
      answer(kAck);
      return;
    case 0xf2:  // identify: MF2 keyboard
      answer(kAck);
      answer(0xab);
      answer(0x83);
      return;
    case 0xff:  // reset and self-test
      answer(kAck);
      answer(0xaa);
      return;
    default:
      answer(kAck);
      return;
  }
}

void I8042::write_output_port(uint8_t value) {
  a20_ = (value & 0x02) != 0;
  if ((value & 0x01) == 0) power_({vm::PowerEvent::Kind::reset, "keyboard controller", 0});
}

void I8042::answer(uint8_t value) {
  if (output_.size() < kBufferLimit) output_.push_back(value);
}

void I8042::update_irq() { irq_.set(!output_.empty() && (memory_[0] & kIrqEnabled) != 0); }

}  // namespace dejavm::devices
