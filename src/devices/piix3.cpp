#include "devices/piix3.h"

#include "base/check.h"

namespace dejavm::devices {
namespace {

constexpr unsigned kPirqRoute = 0x60;
constexpr uint16_t kRoutable = 0xdef8;  // not lines 0, 1, 2, 8 and 13

}  // namespace

Piix3::Piix3(vm::Bus& bus, vm::IrqSink& isa_irqs, PowerSink power)
    : PciDevice(bus, devfn(1, 0), {.vendor = 0x8086, .device = 0x7000, .class_code = 0x060100, .multifunction = true}),
      isa_irqs_(isa_irqs),
      power_(std::move(power)) {
  const uint8_t command_status[] = {0x07, 0x00, 0x00, 0x02};  // always enabled; medium DEVSEL timing
  set_config(0x04, command_status);
  set_writable(0x40, 0xc0, 0xff);
  const uint8_t off[] = {0x80, 0x80, 0x80, 0x80};
  set_config(kPirqRoute, off);
  const uint8_t recovery[] = {0x4d, 0x00, 0x03};  // I/O recovery times, X-bus chip selects
  set_config(0x4c, recovery);
  const uint8_t top_of_memory[] = {0x02};
  set_config(0x69, top_of_memory);
}

void Piix3::write_byte(uint8_t value) {
  reset_control_ = value & 0x02;
  if ((value & 0x04) != 0) power_({vm::PowerEvent::Kind::reset, "port 0xcf9", 0});
}

void Piix3::device_reset() {
  reset_control_ = 0;
  drive_isa();
}

void Piix3::config_written(unsigned offset, unsigned size) {
  if (offset < kPirqRoute + kPirqs && offset + size > kPirqRoute) drive_isa();
}

void Piix3::Pins::set_line(unsigned line, bool level) {
  CHECK(line < high.size());
  if (high[line] == level) return;
  high[line] = level;
  unsigned slot = line >> 5, pin = line & 3;
  unsigned pirq = (slot - 1 + pin) & 3;
  asserted[pirq] += level ? 1 : -1;
  bridge.drive_isa();
}

void Piix3::drive_isa() {
  uint16_t wanted = 0;
  for (unsigned pirq = 0; pirq < kPirqs; ++pirq) {
    uint8_t route = config(kPirqRoute + pirq);
    if (pins_.asserted[pirq] == 0 || (route & 0x80) != 0) continue;
    wanted |= static_cast<uint16_t>(1u << (route & 15) & kRoutable);
  }
  uint16_t changed = wanted ^ driven_;
  driven_ = wanted;
  for (unsigned line = 0; line < 16; ++line) {
    if ((changed >> line & 1) != 0) isa_irqs_.set_line(line, (wanted >> line & 1) != 0);
  }
}

}  // namespace dejavm::devices
