#include "devices/rtc.h"

#include <algorithm>

namespace dejavm::devices {
namespace {

constexpr uint64_t kUipNs = 244'141;  // UIP rises this long before the update
constexpr unsigned kAlarmSecond = 1, kAlarmMinute = 3, kAlarmHour = 5;
constexpr unsigned kRegA = 10, kRegB = 11, kRegC = 12, kRegD = 13;
constexpr unsigned kCentury = 0x32, kCenturyPs2 = 0x37;
constexpr uint8_t kSet = 0x80, kPie = 0x40, kAie = 0x20, kUie = 0x10, kSquareWave = 0x08, kBinary = 0x04, k24Hours = 0x02;
constexpr uint8_t kIrqf = 0x80, kPf = 0x40, kAf = 0x20, kUf = 0x10;

bool is_time_register(unsigned index) {
  bool field = index <= 9 && index != kAlarmSecond && index != kAlarmMinute && index != kAlarmHour;
  return field || index == kCentury || index == kCenturyPs2;
}

}  // namespace

Rtc::Rtc(vm::TimerQueue& timers, vm::IrqLine irq, int64_t start_unix_s, const CmosConfig& config)
    : timers_(timers), irq_(irq), base_s_(start_unix_s - static_cast<int64_t>(timers.now_ns() / kSecond)) {
  settled_ns_ = clock_ns();
  memory_[kRegA] = 0x26;  // 32768 Hz crystal, 1024 Hz periodic rate
  memory_[kRegB] = k24Hours;
  memory_[kRegD] = 0x80;  // the battery is good
  fill_memory(config);
}

Rtc::~Rtc() { timers_.cancel(timer_); }

void Rtc::fill_memory(const CmosConfig& config) {
  auto store16 = [&](unsigned low, uint64_t value) {
    memory_[low] = static_cast<uint8_t>(value);
    memory_[low + 1] = static_cast<uint8_t>(value >> 8);
  };
  constexpr uint64_t kKib = 1024, kMib = kKib * 1024;
  uint64_t below = config.ram_below_4g;
  store16(0x15, 640);
  uint64_t above_1m = below > kMib ? std::min<uint64_t>((below - kMib) / kKib, 65535) : 0;
  store16(0x17, above_1m);
  store16(0x30, above_1m);
  store16(0x34, below > 16 * kMib ? std::min<uint64_t>((below - 16 * kMib) / (64 * kKib), 65535) : 0);
  uint64_t high = config.ram_above_4g / (64 * kKib);
  store16(0x5b, high);
  memory_[0x5d] = static_cast<uint8_t>(high >> 16);
  memory_[0x5f] = static_cast<uint8_t>(config.cpus - 1);
  memory_[0x10] = 0;     // no floppy drives
  memory_[0x14] = 0x06;  // equipment: mathematics coprocessor, PS/2 mouse port
  memory_[0x38] = 0x30;  // boot order: hard disk, floppy, CD; check the floppy signature
  memory_[0x3d] = 0x12;
}

void Rtc::reset() {
  settle();
  memory_[kRegB] &= static_cast<uint8_t>(~(kPie | kAie | kUie | kSquareWave));
  memory_[kRegC] = 0;
  index_ = 0;
  update_irq();
  schedule();
}

uint64_t Rtc::read(unsigned, uint64_t port, unsigned) { return port == 0x71 ? read_register(index_) : 0xff; }

void Rtc::write(unsigned, uint64_t port, unsigned, uint64_t value) {
  if (port == 0x70) {
    index_ = value & 0x7f;
  } else {
    write_register(index_, static_cast<uint8_t>(value));
  }
}

bool Rtc::halted() const { return (memory_[kRegB] & kSet) != 0 || (memory_[kRegA] & 0x60) == 0x60; }

bool Rtc::update_in_progress() const { return !halted() && clock_ns() % kSecond >= kSecond - kUipNs; }

CalendarTime Rtc::calendar() const { return halted() ? held_ : to_calendar(unix_s()); }

uint8_t Rtc::read_register(unsigned index) {
  if (is_time_register(index)) return time_register(index);
  if (index == kRegA) return static_cast<uint8_t>(memory_[kRegA] | (update_in_progress() ? 0x80 : 0));
  if (index == kRegC) {
    settle();
    uint8_t flags = memory_[kRegC];
    memory_[kRegC] = 0;
    update_irq();
    schedule();
    return flags;
  }
  return memory_[index];
}

void Rtc::write_register(unsigned index, uint8_t value) {
  if (is_time_register(index)) {
    set_time_register(index, value);
  } else if (index == kRegA) {
    write_a(value & 0x7f);
  } else if (index == kRegB) {
    write_b(value);
  } else if (index != kRegC && index != kRegD) {
    settle();  // an alarm that was due before its registers change
    memory_[index] = value;
  }
}

uint8_t Rtc::time_register(unsigned index) const {
  CalendarTime time = calendar();
  switch (index) {
    case 0:
      return encode(time.second);
    case 2:
      return encode(time.minute);
    case 4:
      return encode_hour(time.hour);
    case 6:
      return encode(time.weekday);
    case 7:
      return encode(time.day);
    case 8:
      return encode(time.month);
    case 9:
      return encode(time.year % 100);
    default:
      return encode(time.year / 100);
  }
}

void Rtc::set_time_register(unsigned index, uint8_t value) {
  settle();
  CalendarTime time = calendar();
  unsigned number = decode(value);
  switch (index) {
    case 0:
      time.second = number;
      break;
    case 2:
      time.minute = number;
      break;
    case 4:
      time.hour = decode_hour(value);
      break;
    case 6:
      return;
    case 7:
      time.day = number;
      break;
    case 8:
      time.month = number;
      break;
    case 9:
      time.year = time.year / 100 * 100 + number % 100;
      break;
    default:
      time.year = number % 100 * 100 + time.year % 100;
      break;
  }
  if (halted()) {
    held_ = time;
    return;
  }
  set_clock(time);
  schedule();
}

void Rtc::write_a(uint8_t value) {
  settle();
  bool before = halted();
  CalendarTime time = calendar();
  memory_[kRegA] = value;
  if (!before && halted()) held_ = time;
  if (before && !halted()) {
    // The first update comes half a second after the divider starts again.
    phase_ns_ = (kSecond + kSecond / 2 - timers_.now_ns() % kSecond) % kSecond;
    set_clock(held_);
  }
  settled_ns_ = clock_ns();
  schedule();
}

void Rtc::write_b(uint8_t value) {
  settle();
  bool before = halted();
  CalendarTime time = calendar();
  memory_[kRegB] = value;
  if (!before && halted()) {
    held_ = time;
    memory_[kRegB] &= static_cast<uint8_t>(~kUie);  // SET clears UIE
  }
  if (before && !halted()) {
    set_clock(held_);  // SET does not disturb the divider
  }
  update_irq();
  schedule();
}

uint8_t Rtc::encode(unsigned value) const {
  if ((memory_[kRegB] & kBinary) != 0) return static_cast<uint8_t>(value);
  return static_cast<uint8_t>(value / 10 % 10 << 4 | value % 10);
}

unsigned Rtc::decode(uint8_t value) const {
  if ((memory_[kRegB] & kBinary) != 0) return value;
  return (value >> 4) * 10u + (value & 15u);
}

uint8_t Rtc::encode_hour(unsigned hour) const {
  if ((memory_[kRegB] & k24Hours) != 0) return encode(hour);
  return static_cast<uint8_t>(encode(hour % 12 == 0 ? 12 : hour % 12) | (hour >= 12 ? 0x80 : 0));
}

unsigned Rtc::decode_hour(uint8_t value) const {
  if ((memory_[kRegB] & k24Hours) != 0) return decode(value);
  return decode(value & 0x7f) % 12 + ((value & 0x80) != 0 ? 12 : 0);
}

bool Rtc::alarm_matches(const CalendarTime& time) const {
  // 0xc0 to 0xff match every value.
  auto matches = [&](unsigned index, uint8_t encoded) { return memory_[index] >= 0xc0 || memory_[index] == encoded; };
  return matches(kAlarmSecond, encode(time.second)) && matches(kAlarmMinute, encode(time.minute)) &&
         matches(kAlarmHour, encode_hour(time.hour));
}

void Rtc::settle_alarm(uint64_t from_s, uint64_t to_s) {
  // The alarm compares the time of day only: one day decides.
  uint64_t seconds = std::min<uint64_t>(to_s - from_s, 86400);
  for (uint64_t s = to_s - seconds + 1; s <= to_s; ++s) {
    if (!alarm_matches(to_calendar(base_s_ + static_cast<int64_t>(s)))) continue;
    memory_[kRegC] |= kAf;
    return;
  }
}

uint64_t Rtc::period_ns() const {
  unsigned rate = memory_[kRegA] & 15;
  if (rate == 0) return 0;
  if (rate <= 2) rate += 7;  // with a 32768 Hz crystal 1 and 2 mean the rates of 8 and 9
  return (uint64_t{1} << (rate - 1)) * kSecond / 32768;
}

void Rtc::settle() {
  uint64_t now = clock_ns();
  if (now <= settled_ns_) return;
  if (!halted()) {
    uint64_t from_s = settled_ns_ / kSecond, to_s = now / kSecond;
    if (to_s > from_s) {
      memory_[kRegC] |= kUf;
      settle_alarm(from_s, to_s);
    }
  }
  uint64_t period = period_ns();
  if (period != 0 && now / period > settled_ns_ / period) memory_[kRegC] |= kPf;
  settled_ns_ = now;
  update_irq();
}

void Rtc::update_irq() {
  bool raised = (memory_[kRegC] & memory_[kRegB] & (kPf | kAf | kUf)) != 0;
  memory_[kRegC] = static_cast<uint8_t>((memory_[kRegC] & 0x7f) | (raised ? kIrqf : 0));
  irq_.set(raised);
}

void Rtc::schedule() {
  timers_.cancel(timer_);
  timer_ = 0;
  if ((memory_[kRegC] & kIrqf) != 0) return;  // the line is high already; reading register C schedules again
  uint64_t now = clock_ns();
  uint64_t wait = UINT64_MAX;
  if ((memory_[kRegB] & (kAie | kUie)) != 0 && !halted()) wait = kSecond - now % kSecond;
  uint64_t period = period_ns();
  if ((memory_[kRegB] & kPie) != 0 && period != 0) wait = std::min(wait, period - now % period);
  if (wait == UINT64_MAX) return;
  timer_ = timers_.arm(timers_.now_ns() + wait, [this] {
    settle();
    schedule();
  });
}

}  // namespace dejavm::devices
