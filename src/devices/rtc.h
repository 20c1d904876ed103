// MC146818A real-time clock with 128 bytes of CMOS memory (ports 0x70, 0x71). Sources: Motorola MC146818A datasheet; the
// memory-size bytes as QEMU's pc machine fills them for its firmware (CmosConfig).
#pragma once

#include <array>
#include <cstdint>

#include "devices/calendar.h"
#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"
#include "vm/timer_queue.h"

namespace dejavm::devices {

/// What the firmware finds in the CMOS memory.
struct CmosConfig {
  uint64_t ram_below_4g = 0;
  uint64_t ram_above_4g = 0;
  unsigned cpus = 1;
};

/// A clock that is the guest's time plus an offset. Interrupt flags are found when somebody looks or when an enabled
/// interrupt falls due; nothing ticks otherwise. The weekday follows from the date: writing it has no effect. Registers are
/// numbered by port. Bit 7 of port 0x70 (NMI mask) is taken and has no effect: the board has no source of NMIs.
class Rtc final : public vm::Device {
 public:
  Rtc(vm::TimerQueue& timers, vm::IrqLine irq, int64_t start_unix_s, const CmosConfig& config);
  ~Rtc() override;
  Rtc(const Rtc&) = delete;
  Rtc& operator=(const Rtc&) = delete;

  Status attach(vm::Bus& bus) { return bus.map(*this, 0, vm::Space::pio, 0x70, 2, 1, 0x70); }

  std::string_view name() const override { return "rtc"; }
  uint64_t read(unsigned region, uint64_t port, unsigned size) override;
  void write(unsigned region, uint64_t port, unsigned size, uint64_t value) override;
  /// The battery keeps time and memory; interrupt enables are cleared.
  void reset() override;

 private:
  static constexpr uint64_t kSecond = 1'000'000'000;

  void fill_memory(const CmosConfig& config);
  bool halted() const;
  uint64_t clock_ns() const { return timers_.now_ns() + phase_ns_; }
  int64_t unix_s() const { return base_s_ + static_cast<int64_t>(clock_ns() / kSecond); }
  void set_clock(const CalendarTime& time) { base_s_ += to_unix(time) - unix_s(); }
  bool update_in_progress() const;
  CalendarTime calendar() const;
  uint8_t read_register(unsigned index);
  void write_register(unsigned index, uint8_t value);
  uint8_t time_register(unsigned index) const;
  void set_time_register(unsigned index, uint8_t value);
  void write_a(uint8_t value);
  void write_b(uint8_t value);
  uint8_t encode(unsigned value) const;
  unsigned decode(uint8_t value) const;
  uint8_t encode_hour(unsigned hour) const;
  unsigned decode_hour(uint8_t value) const;
  bool alarm_matches(const CalendarTime& time) const;
  void settle();
  void settle_alarm(uint64_t from_s, uint64_t to_s);
  uint64_t period_ns() const;
  void update_irq();
  void schedule();

  vm::TimerQueue& timers_;
  vm::IrqLine irq_;
  vm::TimerQueue::Id timer_ = 0;
  std::array<uint8_t, 128> memory_{};
  uint8_t index_ = 0;
  // The clock shows base_s_ plus the whole seconds of clock_ns().
  int64_t base_s_;
  uint64_t phase_ns_ = 0;    // below one second
  CalendarTime held_;        // what the registers show while SET or the divider's reset stops the clock
  uint64_t settled_ns_ = 0;  // clock_ns() up to which flags were found
};

}  // namespace dejavm::devices
