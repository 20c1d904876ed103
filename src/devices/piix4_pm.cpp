#include "devices/piix4_pm.h"

namespace dejavm::devices {
namespace {

constexpr unsigned kPmWindow = 6, kApmRegion = 7, kGpeRegion = 8;
constexpr unsigned kPmBase = 0x40, kDeviceActivityB = 0x5b, kPmEnable = 0x80;
constexpr unsigned kStatus = 0, kEnable = 2, kControl = 4, kTimer = 8;
constexpr uint16_t kTimerStatus = 0x0001;
constexpr uint16_t kEvents = 0x0521;  // timer, global, power button, RTC: the bits of PM1a that exist in status and enable
constexpr uint16_t kWake = 0x8000;
constexpr uint16_t kSciEnable = 0x0001, kSleep = 0x2000;
constexpr uint64_t kCarry = 0x800000;

}  // namespace

Piix4Pm::Piix4Pm(vm::Bus& bus, vm::TimerQueue& timers, vm::IrqLine sci, PowerSink power)
    : PciDevice(bus, devfn(1, 3),
                {.vendor = 0x8086, .device = 0x7113, .revision = 3, .class_code = 0x068000, .interrupt_pin = 1}),
      timers_(timers),
      sci_(sci),
      power_(std::move(power)) {
  const uint8_t device_status[] = {0x80, 0x02};
  set_config(0x06, device_status);
  set_writable(0x40, 0xc0, 0xff);
  const uint8_t base[] = {0x01, 0x00, 0x00, 0x00};  // bit 0: ports
  set_config(kPmBase, base);
  set_writable(kPmBase, 1, 0xc0);
  set_writable(kPmBase + 2, 2, 0x00);
  const uint8_t smi_is_set_up[] = {0x02};
  set_config(kDeviceActivityB, smi_is_set_up);
  add_window(kPmWindow, vm::Space::pio, 64, 4);
}

Piix4Pm::~Piix4Pm() { timers_.cancel(timer_); }

Status Piix4Pm::attach(vm::Bus& bus) {
  TRY(bus.map(*this, kApmRegion, vm::Space::pio, 0xb2, 2, 1, 0xb2));
  return bus.map(*this, kGpeRegion, vm::Space::pio, 0xafe0, 4, 1, 0xafe0);
}

void Piix4Pm::device_reset() {
  status_ = enable_ = control_ = 0;
  apm_command_ = apm_status_ = 0;
  carry_tick_ = (ticks() / kCarry + 1) * kCarry;
  update();
}

uint16_t Piix4Pm::port_base() const { return static_cast<uint16_t>(config(kPmBase + 1) << 8 | (config(kPmBase) & 0xc0)); }

std::optional<uint32_t> Piix4Pm::window_base(unsigned number) const {
  if (number != kPmWindow || (config(kPmEnable) & 1) == 0 || port_base() == 0) return std::nullopt;
  return port_base();
}

uint16_t Piix4Pm::status() {
  if (ticks() >= carry_tick_) status_ |= kTimerStatus;
  return status_;
}

uint64_t Piix4Pm::read(unsigned region, uint64_t offset, unsigned size) {
  if (region == kApmRegion) return offset == 0xb2 ? apm_command_ : apm_status_;
  if (region == kGpeRegion) return 0;
  uint64_t word = 0;  // the aligned 32 bits around the access
  if ((offset & ~uint64_t{3}) == kStatus) word = status() | uint64_t{enable_} << 16;
  if ((offset & ~uint64_t{3}) == kControl) word = control_;
  if ((offset & ~uint64_t{3}) == kTimer) word = ticks() & 0xffffff;
  return low_bytes(word >> (8 * (offset & 3)), size);
}

void Piix4Pm::write(unsigned region, uint64_t offset, unsigned size, uint64_t value) {
  if (region == kGpeRegion) return;
  if (region == kApmRegion) {
    auto byte = static_cast<uint8_t>(value);
    if (offset == 0xb3) {
      apm_status_ = byte;
      return;
    }
    apm_command_ = byte;
    if (byte == 0xf1) control_ |= kSciEnable;
    if (byte == 0xf0) control_ &= static_cast<uint16_t>(~kSciEnable);
    update();
    return;
  }
  if (offset == kControl && size >= 2) {
    write_control(static_cast<uint16_t>(value));
  } else {
    for (unsigned i = 0; i < size; ++i)
      write_register(static_cast<unsigned>(offset) + i, static_cast<uint8_t>(value >> (8 * i)));
  }
  update();
}

void Piix4Pm::write_register(unsigned offset, uint8_t value) {
  unsigned shift = 8 * (offset & 1);
  uint16_t others = shift == 0 ? 0xff00 : 0x00ff;
  auto placed = static_cast<uint16_t>(value << shift);
  switch (offset & ~1u) {
    case kStatus:
      if ((status() & placed & kTimerStatus) != 0) carry_tick_ = (ticks() / kCarry + 1) * kCarry;
      status_ &= static_cast<uint16_t>(~(placed & (kEvents | kWake)));
      break;
    case kEnable:
      enable_ = static_cast<uint16_t>(((enable_ & others) | placed) & kEvents);
      break;
    case kControl:
      write_control(static_cast<uint16_t>((control_ & others) | placed));
      break;
    default:
      break;
  }
}

void Piix4Pm::write_control(uint16_t value) {
  control_ = value & static_cast<uint16_t>(~kSleep);
  unsigned type = value >> 10 & 7;
  if ((value & kSleep) != 0 && (type == 0 || type == 2)) power_({vm::PowerEvent::Kind::power_off, "ACPI", 0});
}

void Piix4Pm::update() {
  timers_.cancel(timer_);
  timer_ = 0;
  bool raised = (status() & enable_) != 0 && (control_ & kSciEnable) != 0;
  sci_.set(raised);
  if ((enable_ & kTimerStatus) != 0 && (status_ & kTimerStatus) == 0) {
    timer_ = timers_.arm(rate_.ns(carry_tick_), [this] { update(); });
  }
}

}  // namespace dejavm::devices
