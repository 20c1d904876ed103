// High precision event timer. Source: Intel, IA-PC HPET specification 1.0a; QEMU's hw/timer/hpet.c for what the
// specification leaves open.
#pragma once

#include <array>
#include <cstdint>

#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"
#include "vm/timer_queue.h"

namespace dejavm::devices {

/// A counter of 64 bits at 100 MHz and three timers, each one-shot or periodic, of 32 or 64 bits, edge or level, at I/O APIC
/// pin 2 (their routing capability names no other). With legacy replacement timer 0 has the PIT's line and timer 1 the
/// RTC's, and what those two say goes nowhere meanwhile.
///
/// Everything follows from the guest's time: the counter when it is read, a periodic comparator when somebody looks. A
/// comparator that is set behind the counter fires at once, as in QEMU, if it is one-shot; a periodic one goes on to its
/// next period. Periods shorter than kMinPeriodNs interrupt only that often, and what falls due while the guest cannot run
/// makes one interrupt together: no value of a register makes the host busy. Messages (FSB) are not supported. Accesses of 4
/// and 8 bytes; smaller writes have no effect.
class Hpet final : public vm::Device {
 public:
  static constexpr uint64_t kBase = 0xfed00000;
  static constexpr uint64_t kTickNs = 10;
  static constexpr uint64_t kMinPeriodNs = 10'000;

  /// `irq0`, `irq8`: the ISA lines of PIT and RTC, which both drive through pit_line() and rtc_line(). `pin2`: of the I/O
  /// APIC.
  Hpet(vm::TimerQueue& timers, vm::IrqLine irq0, vm::IrqLine irq8, vm::IrqLine pin2);
  ~Hpet() override;
  Hpet(const Hpet&) = delete;
  Hpet& operator=(const Hpet&) = delete;

  vm::IrqLine pit_line() { return {inputs_, 0}; }
  vm::IrqLine rtc_line() { return {inputs_, 1}; }

  Status attach(vm::Bus& bus) { return bus.map(*this, 0, vm::Space::mmio, kBase, 0x400, 8); }

  std::string_view name() const override { return "hpet"; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;
  void reset() override;

 private:
  static constexpr unsigned kTimers = 3;
  enum Output : uint8_t { kIrq0, kIrq8, kPin2, kNowhere };

  struct Timer {
    uint64_t config = 0;
    uint64_t comparator = 0;
    uint64_t period = 0;
    bool at_wrap = false;   // what fires next is the wrap of the counter's low half
    bool asserted = false;  // drives its output high
    vm::TimerQueue::Id due = 0;
  };
  struct Inputs final : vm::IrqSink {
    explicit Inputs(Hpet& owner) : hpet(owner) {}
    void set_line(unsigned line, bool level) override {
      high[line] = level;
      hpet.drive();
    }
    Hpet& hpet;
    std::array<bool, 2> high{};  // PIT, RTC
  };

  bool enabled() const { return (config_ & 1) != 0; }
  bool legacy() const { return (config_ & 2) != 0; }
  uint64_t counter() const;
  uint64_t read_register(uint64_t offset);
  void write_register(uint64_t offset, unsigned shift, unsigned size, uint64_t value);
  void write_config(uint64_t value);
  void write_timer_config(Timer& timer, uint64_t value);
  void write_comparator(Timer& timer, unsigned shift, uint64_t mask, uint64_t value);

  int64_t ahead(const Timer& timer) const;
  void advance(Timer& timer) const;
  void start(Timer& timer);
  void arm(Timer& timer, uint64_t delay_ns);
  void stop(Timer& timer);
  void fire(Timer& timer);
  Output output_of(const Timer& timer) const;
  void drive();

  vm::TimerQueue& timers_;
  std::array<vm::IrqLine, 3> outputs_;
  std::array<bool, 3> driven_{};
  Inputs inputs_{*this};
  uint64_t config_ = 0;
  uint64_t status_ = 0;
  // The counter had counter_ at counted_ns_; it stands there while disabled.
  uint64_t counter_ = 0;
  uint64_t counted_ns_ = 0;
  std::array<Timer, kTimers> timer_;
};

}  // namespace dejavm::devices
