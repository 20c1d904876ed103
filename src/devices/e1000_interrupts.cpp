#include "devices/e1000_interrupts.h"

#include <algorithm>

namespace dejavm::devices::e1000 {
namespace {

constexpr uint64_t kThrottleUnitNs = 256;
constexpr uint32_t kLeastUnits = 500;       // 7813 interrupts a second
constexpr uint32_t kUnitsPerDelayUnit = 4;  // TADV and RADV count in 1.024 us

}  // namespace

void Interrupts::set_causes(uint32_t causes) {
  registers_[kIcr] = registers_[kIcs] = causes;
  update();
}

uint32_t Interrupts::take_causes() {
  uint32_t causes = registers_[kIcr];
  set_causes(0);
  return causes;
}

void Interrupts::set_mask(uint32_t mask) {
  registers_[kIms] = mask;
  update();
}

void Interrupts::reset() {
  timers_.cancel(hold_off_);
  hold_off_ = 0;
  delayed_transmit_ = false;
  update();
}

void Interrupts::update() {
  uint32_t pending = registers_[kIcr] & registers_[kIms];
  if (pending != 0 && !asserted_) {
    if (hold_off_ != 0) return;
    hold_off_ = timers_.arm(timers_.now_ns() + hold_off_ns(pending), [this] {
      hold_off_ = 0;
      update();
    });
    delayed_transmit_ = false;
  }
  asserted_ = pending != 0;
  set_line_(asserted_);
}

uint64_t Interrupts::hold_off_ns(uint32_t pending) const {
  uint32_t units = 0;
  auto shorten = [&units](uint32_t other) {
    if (other != 0 && (units == 0 || other < units)) units = other;
  };
  bool transmit = (pending & (kCauseTxQueueEmpty | kCauseTxDescriptorWritten)) != 0;
  if (delayed_transmit_ && transmit) shorten(registers_[kTadv] * kUnitsPerDelayUnit);
  if (registers_[kRdtr] != 0 && (pending & kCauseRxTimer) != 0) shorten(registers_[kRadv] * kUnitsPerDelayUnit);
  shorten(registers_[kItr]);
  return std::max(units, kLeastUnits) * kThrottleUnitNs;
}

}  // namespace dejavm::devices::e1000
