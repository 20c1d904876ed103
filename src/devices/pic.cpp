#include "devices/pic.h"

#include "base/check.h"

namespace dejavm::devices {

Status Pic::attach(vm::Bus& bus) {
  for (uint64_t port : {0x20, 0xa0, 0x4d0}) TRY(bus.map(*this, 0, vm::Space::pio, port, 2, 1, port));
  return {};
}

uint64_t Pic::read(unsigned, uint64_t port, unsigned) {
  uint64_t value = 0xff;
  switch (port) {
    case 0x20:
      value = master_.read_command();
      break;
    case 0x21:
      value = master_.read_data();
      break;
    case 0xa0:
      value = slave_.read_command();
      break;
    case 0xa1:
      value = slave_.read_data();
      break;
    case 0x4d0:
      return master_.elcr();
    case 0x4d1:
      return slave_.elcr();
    default:
      break;
  }
  settle();  // a poll serves a request
  return value;
}

void Pic::write(unsigned, uint64_t port, unsigned, uint64_t value) {
  auto byte = static_cast<uint8_t>(value);
  switch (port) {
    case 0x20:
      master_.write_command(byte);
      break;
    case 0x21:
      master_.write_data(byte);
      break;
    case 0xa0:
      slave_.write_command(byte);
      break;
    case 0xa1:
      slave_.write_data(byte);
      break;
    case 0x4d0:
      master_.set_elcr(byte);
      break;
    case 0x4d1:
      slave_.set_elcr(byte);
      break;
    default:
      break;
  }
  settle();
}

void Pic::reset() {
  master_.reset();
  slave_.reset();
  settle();
}

void Pic::set_line(unsigned line, bool level) {
  CHECK(line < 16 && line != 2);
  if (line < 8) {
    master_.set_line(line, level);
  } else {
    slave_.set_line(line - 8, level);
  }
  settle();
}

uint8_t Pic::acknowledge() {
  unsigned line = master_.acknowledge();
  unsigned slave_line = 0;
  if (line == 2) {
    slave_line = slave_.acknowledge();
    // The slave's INT falls during INTA, so that a further request of its makes a new edge.
    master_.set_line(2, false);
  }
  settle();
  return line == 2 ? slave_.vector(slave_line) : master_.vector(line);
}

/// The slave's INT is the master's line 2; the master's is INTR.
void Pic::settle() {
  master_.set_line(2, slave_.pending().has_value());
  intr_.set(pending());
}

}  // namespace dejavm::devices
