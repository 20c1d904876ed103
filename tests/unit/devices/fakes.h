// What device tests put in the place of the board.
#pragma once

#include <vector>

#include "base/clock.h"
#include "devices/power.h"
#include "vm/bus.h"
#include "vm/irq_line.h"
#include "vm/timer_queue.h"

namespace dejavm::devices {

/// Remembers one line's level and counts its rises.
class FakeIrq final : public vm::IrqSink {
 public:
  void set_line(unsigned, bool new_level) override {
    if (new_level && !level) ++rises;
    level = new_level;
  }
  vm::IrqLine line() { return {*this, 0}; }

  bool level = false;
  int rises = 0;
};

/// Remembers what the guest asked for.
struct FakePower {
  PowerSink sink() {
    return [this](vm::PowerEvent event) { events.push_back(std::move(event)); };
  }
  std::vector<vm::PowerEvent> events;
};

/// A bus and a clock that stands still until told.
class DeviceFixture {
 public:
  uint64_t in(uint64_t port, unsigned size = 1) {
    return bus.access({vm::Space::pio, vm::Direction::read, static_cast<uint8_t>(size), port, 0});
  }
  void out(uint64_t port, uint64_t value, unsigned size = 1) {
    bus.access({vm::Space::pio, vm::Direction::write, static_cast<uint8_t>(size), port, value});
  }
  uint64_t load(uint64_t gpa, unsigned size) {
    return bus.access({vm::Space::mmio, vm::Direction::read, static_cast<uint8_t>(size), gpa, 0});
  }
  void store(uint64_t gpa, uint64_t value, unsigned size) {
    bus.access({vm::Space::mmio, vm::Direction::write, static_cast<uint8_t>(size), gpa, value});
  }
  void advance(uint64_t ns) {
    clock.advance(ns);
    timers.run_due(timers.now_ns());
  }

  ManualClock clock;
  vm::TimerQueue timers{clock};
  vm::Bus bus;
};

}  // namespace dejavm::devices
