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
  cascade();  // a poll serves a request
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
  cascade();
}

void Pic::reset() {
  master_.reset();
  slave_.reset();
  cascade();
}

void Pic::set_line(unsigned line, bool level) {
  CHECK(line < 16 && line != 2);
  if (line < 8) {
    master_.set_line(line, level);
  } else {
    slave_.set_line(line - 8, level);
    cascade();
  }
}

uint8_t Pic::acknowledge() {
  unsigned line = master_.acknowledge();
  if (line != 2) return master_.vector(line);
  unsigned slave_line = slave_.acknowledge();
  // The slave's INT falls during INTA, so that a further request of its makes a new edge.
  master_.set_line(2, false);
  cascade();
  return slave_.vector(slave_line);
}

void Pic::cascade() { master_.set_line(2, slave_.pending().has_value()); }

}  // namespace dejavm::devices
