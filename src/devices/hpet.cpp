#include "devices/hpet.h"

#include <algorithm>

#include "base/bytes.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kCapabilities = 0x00, kConfig = 0x10, kStatus = 0x20, kCounter = 0xf0;
constexpr uint64_t kFirstTimer = 0x100, kTimerStep = 0x20;
constexpr uint64_t kTimerConfig = 0x00, kComparator = 0x08;

// 10 ns a tick in femtoseconds; Intel; legacy replacement; 64 bits; three timers; revision 1.
constexpr uint64_t kCapabilitiesValue = uint64_t{10'000'000} << 32 | 0x8086a201;

constexpr uint64_t kLevel = 1u << 1, kInterrupts = 1u << 2, kPeriodic = 1u << 3, kCanPeriodic = 1u << 4, kCan64 = 1u << 5,
                   kSetValue = 1u << 6, k32Bit = 1u << 8;
constexpr unsigned kRouteShift = 9;
constexpr uint64_t kRoute = uint64_t{31} << kRouteShift;
constexpr uint64_t kRoutes = 1u << 2;  // the pins that a timer can be routed to
constexpr uint64_t kTimerWritable = kLevel | kInterrupts | kPeriodic | kSetValue | k32Bit;
constexpr uint64_t kTimerReset = kCanPeriodic | kCan64 | kRoutes << 32;
constexpr uint64_t kNeverSet = UINT64_MAX;         // a comparator after reset
constexpr uint64_t kFarTicks = uint64_t{1} << 58;  // 90 years

uint64_t route_of(uint64_t config) { return (config & kRoute) >> kRouteShift; }

}  // namespace

Hpet::Hpet(vm::TimerQueue& timers, vm::IrqLine irq0, vm::IrqLine irq8, vm::IrqLine pin2)
    : timers_(timers), outputs_{irq0, irq8, pin2} {
  reset();
}

Hpet::~Hpet() {
  for (Timer& timer : timer_) timers_.cancel(timer.due);
}

void Hpet::reset() {
  config_ = status_ = counter_ = 0;
  for (Timer& timer : timer_) {
    timers_.cancel(timer.due);
    timer = {.config = kTimerReset, .comparator = kNeverSet};
  }
  inputs_.high = {};
  drive();
}

uint64_t Hpet::counter() const {
  if (!enabled()) return counter_;
  return counter_ + (timers_.now_ns() - counted_ns_) / kTickNs;
}

uint64_t Hpet::read(unsigned, uint64_t offset, unsigned size) {
  return low_bytes(read_register(offset & ~uint64_t{7}) >> (8 * (offset & 7)), size);
}

uint64_t Hpet::read_register(uint64_t offset) {
  switch (offset) {
    case kCapabilities:
      return kCapabilitiesValue;
    case kConfig:
      return config_;
    case kStatus:
      return status_;
    case kCounter:
      return counter();
    default:
      break;
  }
  uint64_t number = (offset - kFirstTimer) / kTimerStep;
  if (offset < kFirstTimer || number >= kTimers) return 0;
  Timer& timer = timer_[number];
  advance(timer);
  uint64_t field = offset % kTimerStep;
  return field == kTimerConfig ? timer.config : field == kComparator ? timer.comparator : 0;
}

void Hpet::write(unsigned, uint64_t offset, unsigned size, uint64_t value) {
  if (size >= 4) write_register(offset & ~uint64_t{7}, 8 * (offset & 7), size, value);
}

/// `value` is for the `size` bytes from bit `shift` on of the register at `offset`.
void Hpet::write_register(uint64_t offset, unsigned shift, unsigned size, uint64_t value) {
  const uint64_t mask = low_bytes(UINT64_MAX, size) << shift;
  value <<= shift;
  auto merged = [mask, value](uint64_t old) { return (old & ~mask) | (value & mask); };
  if (offset == kConfig) {
    write_config(merged(config_));
  } else if (offset == kStatus) {
    for (unsigned i = 0; i < kTimers; ++i) {
      if ((value & status_ & uint64_t{1} << i) != 0) timer_[i].asserted = false;
    }
    status_ &= ~value;
    drive();
  } else if (offset == kCounter) {
    if (!enabled()) counter_ = merged(counter_);
  } else if (offset >= kFirstTimer && (offset - kFirstTimer) / kTimerStep < kTimers) {
    Timer& timer = timer_[(offset - kFirstTimer) / kTimerStep];
    if (offset % kTimerStep == kTimerConfig) write_timer_config(timer, merged(timer.config));
    if (offset % kTimerStep == kComparator) write_comparator(timer, shift, mask, value);
  }
}

void Hpet::write_config(uint64_t value) {
  bool was_enabled = enabled();
  for (Timer& timer : timer_) advance(timer);
  uint64_t now = counter();
  config_ = value & 3;
  if (enabled() && !was_enabled) {
    counted_ns_ = timers_.now_ns();
    for (Timer& timer : timer_) {
      if (timer.comparator != kNeverSet) start(timer);
    }
  } else if (!enabled() && was_enabled) {
    counter_ = now;
    for (Timer& timer : timer_) stop(timer);
  }
  drive();
}

void Hpet::write_timer_config(Timer& timer, uint64_t value) {
  advance(timer);
  bool had_interrupts = (timer.config & kInterrupts) != 0;
  // A level belongs to the output and the trigger mode that made it.
  if (((timer.config ^ value) & (kLevel | kRoute)) != 0) timer.asserted = false;
  uint64_t route = (kRoutes >> route_of(value) & 1) != 0 ? value & kRoute : timer.config & kRoute;
  timer.config = (timer.config & ~(kTimerWritable | kRoute)) | (value & kTimerWritable) | route;
  if ((timer.config & k32Bit) != 0) {
    timer.comparator = low_bytes(timer.comparator, 4);
    timer.period &= UINT32_MAX >> 1;
  }
  bool has_interrupts = (timer.config & kInterrupts) != 0;
  if (has_interrupts && !had_interrupts) start(timer);
  if (!has_interrupts && had_interrupts) stop(timer);
  drive();
}

/// A periodic timer takes what is written as its period and, where kSetValue precedes, as its comparator too. The bit is
/// used up by one write, so that of two 32-bit writes the second one is for the period alone.
void Hpet::write_comparator(Timer& timer, unsigned shift, uint64_t mask, uint64_t value) {
  advance(timer);
  bool periodic = (timer.config & kPeriodic) != 0, narrow = (timer.config & k32Bit) != 0;
  bool sets = (timer.config & kSetValue) != 0;
  if (!periodic || sets) timer.comparator = (timer.comparator & ~mask) | (value & mask);
  if (periodic && (shift == 0 || !sets)) timer.period = (timer.period & ~mask) | (value & mask);
  if (narrow) timer.comparator = low_bytes(timer.comparator, 4);
  timer.period &= (narrow ? UINT32_MAX : UINT64_MAX) >> 1;
  timer.config &= ~kSetValue;
  start(timer);
}

/// Ticks from now to the comparator's value, in the timer's width; not positive: it is behind.
int64_t Hpet::ahead(const Timer& timer) const {
  uint64_t difference = timer.comparator - counter();
  if ((timer.config & k32Bit) != 0) return static_cast<int32_t>(difference);
  return static_cast<int64_t>(difference);
}

/// Moves a periodic comparator on past the counter.
void Hpet::advance(Timer& timer) const {
  if (!enabled() || (timer.config & kPeriodic) == 0 || timer.period == 0 || timer.comparator == kNeverSet) return;
  int64_t distance = ahead(timer);
  if (distance > 0) return;
  uint64_t behind = 0 - static_cast<uint64_t>(distance);
  timer.comparator += (behind / timer.period + 1) * timer.period;
  if ((timer.config & k32Bit) != 0) timer.comparator = low_bytes(timer.comparator, 4);
}

/// Lets the timer run to its comparator's value from now on.
void Hpet::start(Timer& timer) {
  timers_.cancel(timer.due);
  timer.due = 0;
  timer.at_wrap = false;
  if (!enabled() || (timer.config & kInterrupts) == 0 || timer.comparator == kNeverSet) return;
  advance(timer);
  uint64_t ticks = static_cast<uint64_t>(std::max<int64_t>(ahead(timer), 1));
  if ((timer.config & (k32Bit | kPeriodic)) == k32Bit) {
    // A one-shot timer of 32 bits interrupts also when the counter's low half wraps.
    uint64_t wrap = (uint64_t{1} << 32) - low_bytes(counter(), 4);
    timer.at_wrap = wrap < ticks;
    ticks = std::min(ticks, wrap);
  }
  if (ticks < kFarTicks) arm(timer, ticks * kTickNs - (timers_.now_ns() - counted_ns_) % kTickNs);
}

void Hpet::arm(Timer& timer, uint64_t delay_ns) {
  uint64_t now = timers_.now_ns();
  timer.due = timers_.arm(now + std::min(delay_ns, UINT64_MAX - now), [this, &timer] { fire(timer); });
}

void Hpet::stop(Timer& timer) {
  timers_.cancel(timer.due);
  timer.due = 0;
  timer.asserted = false;
  status_ &= ~(uint64_t{1} << (&timer - timer_.data()));
}

void Hpet::fire(Timer& timer) {
  bool periodic = (timer.config & kPeriodic) != 0 && timer.period != 0;
  bool again = timer.at_wrap || periodic;
  timer.due = 0;
  if (periodic) {
    advance(timer);
    uint64_t ticks = static_cast<uint64_t>(std::max<int64_t>(ahead(timer), 1));
    uint64_t delay = ticks * kTickNs - (timers_.now_ns() - counted_ns_) % kTickNs;
    if (ticks < kFarTicks) arm(timer, std::max(delay, kMinPeriodNs));
  } else if (again) {
    start(timer);
  }
  if ((timer.config & kLevel) != 0) {
    status_ |= uint64_t{1} << (&timer - timer_.data());
  } else if (Output output = output_of(timer); output != kNowhere) {
    // The edge; the line stays high, because an 8259 forgets an interrupt whose line falls before it is acknowledged.
    outputs_[output].set(false);
    driven_[output] = false;
  }
  timer.asserted = true;
  drive();
}

Hpet::Output Hpet::output_of(const Timer& timer) const {
  if (legacy() && &timer == &timer_[0]) return kIrq0;
  if (legacy() && &timer == &timer_[1]) return kIrq8;
  return route_of(timer.config) == 2 ? kPin2 : kNowhere;
}

void Hpet::drive() {
  std::array<bool, 4> wanted{};
  if (!legacy()) wanted = {inputs_.high[0], inputs_.high[1]};
  for (const Timer& timer : timer_) wanted[output_of(timer)] |= timer.asserted;
  for (unsigned i = 0; i < outputs_.size(); ++i) {
    if (wanted[i] == driven_[i]) continue;
    driven_[i] = wanted[i];
    outputs_[i].set(wanted[i]);
  }
}

}  // namespace dejavm::devices
