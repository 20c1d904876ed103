// PIIX4 power management, 8086:7113 at 00:01.3, with the APM ports 0xb2 and 0xb3 and QEMU's general purpose event block at
// 0xafe0. Sources: Intel PIIX4 datasheet (290562), chapter 7; ACPI specification 6.3, section 4.8.3; QEMU docs/specs
// acpi_pci_hotplug.txt for the event block.
#pragma once

#include "devices/pci_device.h"
#include "devices/power.h"
#include "devices/tick_rate.h"
#include "vm/timer_queue.h"

namespace dejavm::devices {

/// ACPI fixed hardware: PM1a event and control blocks and the 24-bit PM timer, at the base in configuration register 0x40
/// while register 0x80 enables it. Sleep types 0 (S5) and 2 (S4) switch off; others are ignored. There is no system
/// management mode: APM writes only switch SCI_EN (0xf1 on, 0xf0 off), and register 0x5b says that SMIs were set up
/// before, which keeps firmware from doing so. No SMBus; no general purpose event ever happens.
class Piix4Pm final : public PciDevice {
 public:
  static constexpr uint64_t kTimerHz = 3579545;

  Piix4Pm(vm::Bus& bus, vm::TimerQueue& timers, vm::IrqLine sci, PowerSink power);
  ~Piix4Pm() override;

  /// Where the ports stand as configuration says, also while they are disabled.
  uint16_t port_base() const;

  /// Maps the ports that stand at fixed addresses.
  Status attach(vm::Bus& bus);

  std::string_view name() const override { return "acpi-pm"; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;

 private:
  void device_reset() override;
  std::optional<uint32_t> window_base(unsigned number) const override;
  uint64_t ticks() const { return rate_.ticks(timers_.now_ns()); }
  uint16_t status();
  void write_register(unsigned offset, uint8_t value);
  void write_control(uint16_t value);
  void update();

  TickRate rate_{kTimerHz};
  vm::TimerQueue& timers_;
  vm::IrqLine sci_;
  PowerSink power_;
  vm::TimerQueue::Id timer_ = 0;
  uint16_t status_ = 0;
  uint16_t enable_ = 0;
  uint16_t control_ = 0;
  uint64_t carry_tick_ = 0;  // the next tick at which bit 23 of the timer changes and no status was set for
  uint8_t apm_command_ = 0;
  uint8_t apm_status_ = 0;
};

}  // namespace dejavm::devices
