#include "devices/local_apic.h"

#include <utility>

#include "base/check.h"

namespace dejavm::devices {
namespace {

// Registers, by their number: offset / 16.
enum Register : unsigned {
  kId = 0x02,
  kVersion = 0x03,
  kTaskPriority = 0x08,
  kArbitrationPriority = 0x09,
  kProcessorPriority = 0x0a,
  kEndOfInterrupt = 0x0b,
  kLogicalDestination = 0x0d,
  kDestinationFormat = 0x0e,
  kSpurious = 0x0f,
  kInService = 0x10,
  kTriggerMode = 0x18,
  kRequest = 0x20,
  kErrorStatus = 0x28,
  kCommandLow = 0x30,
  kCommandHigh = 0x31,
  kLvtTimer = 0x32,
  kInitialCount = 0x38,
  kCurrentCount = 0x39,
  kDivide = 0x3e,
};

constexpr uint32_t kVersionValue = 0x14 | 5 << 16;  // the highest LVT entry is number 5
constexpr uint32_t kLvtMasked = 1u << 16;
constexpr uint32_t kPeriodic = 1u << 17;
constexpr uint32_t kSendIllegalVector = 1u << 5, kReceiveIllegalVector = 1u << 6, kIllegalAddress = 1u << 7;
constexpr uint8_t kFirstVector = 16;  // lower ones are illegal
constexpr uint8_t kEverybody = 0xff;
// Writable bits of each LVT entry: vector, delivery mode, pin polarity and trigger mode, mask, timer mode.
constexpr uint32_t kLvtWritable[] = {0x300ff, 0x107ff, 0x107ff, 0x1a7ff, 0x1a7ff, 0x100ff};

constexpr uint8_t priority_class(uint8_t vector) { return vector & 0xf0; }

}  // namespace

LocalApic::LocalApic(vm::TimerQueue& timers, EoiSink end_of_interrupt)
    : eoi_(std::move(end_of_interrupt)), timer_(timers, [this] { deliver_local(kTimer); }) {
  reset();
}

void LocalApic::reset() {
  timer_.reset();
  requested_.clear();
  in_service_.clear();
  level_triggered_.clear();
  lvt_.fill(kLvtMasked);
  lvt_[kLint0] = static_cast<uint32_t>(DeliveryMode::external) << 8;
  spurious_ = 0xff;
  command_ = command_destination_ = 0;
  errors_ = seen_errors_ = 0;
  id_ = task_priority_ = logical_id_ = 0;
  logical_model_ = 15;
  update();
}

uint64_t LocalApic::read(unsigned, uint64_t offset, unsigned size) {
  return size == 4 ? read_register(static_cast<unsigned>(offset >> 4)) : 0;
}

void LocalApic::write(unsigned, uint64_t offset, unsigned size, uint64_t value) {
  if (size == 4) write_register(static_cast<unsigned>(offset >> 4), static_cast<uint32_t>(value));
}

uint32_t LocalApic::read_register(unsigned number) {
  if (number >= kLvtTimer && number < kLvtTimer + kLvts) return lvt_[number - kLvtTimer];
  if (number >= kInService && number < kTriggerMode) return in_service_.word(number - kInService);
  if (number >= kTriggerMode && number < kRequest) return level_triggered_.word(number - kTriggerMode);
  if (number >= kRequest && number < kErrorStatus) return requested_.word(number - kRequest);
  switch (number) {
    case kId:
      return uint32_t{id_} << 24;
    case kVersion:
      return kVersionValue;
    case kTaskPriority:
      return task_priority_;
    case kProcessorPriority:
      return processor_priority();
    case kArbitrationPriority:
    case kEndOfInterrupt:
      return 0;
    case kLogicalDestination:
      return uint32_t{logical_id_} << 24;
    case kDestinationFormat:
      return uint32_t{logical_model_} << 28 | 0x0fffffff;
    case kSpurious:
      return spurious_;
    case kErrorStatus:
      return seen_errors_;
    case kCommandLow:
      return command_;
    case kCommandHigh:
      return command_destination_;
    case kInitialCount:
      return timer_.initial_count();
    case kCurrentCount:
      return timer_.count();
    case kDivide:
      return timer_.divide();
    default:
      note_error(kIllegalAddress);
      return 0;
  }
}

void LocalApic::write_register(unsigned number, uint32_t value) {
  if (number >= kLvtTimer && number < kLvtTimer + kLvts) return write_lvt(number - kLvtTimer, value);
  if (number >= kInService && number < kErrorStatus) return;  // read only
  switch (number) {
    case kId:
      id_ = static_cast<uint8_t>(value >> 24);
      return;
    case kTaskPriority:
      task_priority_ = static_cast<uint8_t>(value);
      return update();
    case kEndOfInterrupt:
      return end_of_interrupt();
    case kLogicalDestination:
      logical_id_ = static_cast<uint8_t>(value >> 24);
      return;
    case kDestinationFormat:
      logical_model_ = static_cast<uint8_t>(value >> 28);
      return;
    case kSpurious:
      return write_spurious(value);
    case kErrorStatus:
      seen_errors_ = std::exchange(errors_, 0);
      return;
    case kCommandLow:
      command_ = value & 0xccfff;
      return send(command_);
    case kCommandHigh:
      command_destination_ = value & 0xff000000;
      return;
    case kInitialCount:
      return timer_.set_initial_count(value);
    case kDivide:
      return timer_.set_divide(value);
    case kVersion:
    case kArbitrationPriority:
    case kProcessorPriority:
    case kCurrentCount:
      return;  // read only
    default:
      return note_error(kIllegalAddress);
  }
}

/// A disabled APIC has its LVT entries masked, and they stay so until the guest unmasks them.
void LocalApic::write_spurious(uint32_t value) {
  bool was_enabled = enabled();
  spurious_ = value & 0x1ff;
  if (was_enabled && !enabled()) {
    for (unsigned i = 0; i < kLvts; ++i) write_lvt(i, lvt_[i] | kLvtMasked);
  }
  update();
}

void LocalApic::write_lvt(unsigned number, uint32_t value) {
  // LINT0 can be opened while the APIC is disabled: firmware that leaves the APIC alone has the 8259's interrupts so.
  if (!enabled() && number != kLint0) value |= kLvtMasked;
  lvt_[number] = value & kLvtWritable[number];
  if (number == kTimer) timer_.set_mode((value & kPeriodic) != 0, masked(kTimer));
}

void LocalApic::end_of_interrupt() {
  uint8_t vector = in_service_.highest();
  if (vector == 0) return;
  in_service_.set(vector, false);
  update();
  if (level_triggered_.test(vector)) eoi_(vector);
}

/// The command register was written: an IPI. Somebody else would be needed for "all but myself".
void LocalApic::send(uint32_t command) {
  enum Shorthand : unsigned { kNone, kSelf, kAll, kOthers };
  auto mode = static_cast<DeliveryMode>(command >> 8 & 7);
  auto vector = static_cast<uint8_t>(command);
  bool takes_vector = mode == DeliveryMode::fixed || mode == DeliveryMode::lowest_priority;
  if (takes_vector && vector < kFirstVector) return note_error(kSendIllegalVector);
  bool for_us = false;
  switch (command >> 18 & 3) {
    case kNone:
      for_us = is_for_us(static_cast<uint8_t>(command_destination_ >> 24), (command >> 11 & 1) != 0);
      break;
    case kSelf:
    case kAll:
      for_us = true;
      break;
    default:
      break;
  }
  if (for_us) deliver(mode, vector, false);  // IPIs are edges: the level bit is for INIT
}

bool LocalApic::is_for_us(uint8_t destination, bool logical) const {
  if (destination == kEverybody) return true;
  if (!logical) return destination == id_;
  if (logical_model_ == 15) return (destination & logical_id_) != 0;
  // A cluster and a set of its members; cluster 15 is all.
  bool cluster = destination >> 4 == logical_id_ >> 4 || destination >> 4 == 15;
  return cluster && (destination & logical_id_ & 15) != 0;
}

void LocalApic::receive(const ApicMessage& message) {
  if (is_for_us(message.destination, message.logical)) deliver(message.mode, message.vector, message.level);
}

void LocalApic::deliver(DeliveryMode mode, uint8_t vector, bool level) {
  if (mode != DeliveryMode::fixed && mode != DeliveryMode::lowest_priority) return;
  if (!enabled()) return;
  if (vector < kFirstVector) return note_error(kReceiveIllegalVector);
  requested_.set(vector, true);
  level_triggered_.set(vector, level);
  update();
}

void LocalApic::deliver_local(Lvt lvt) {
  if (!masked(lvt)) deliver(mode(lvt), static_cast<uint8_t>(lvt_[lvt]), false);
}

void LocalApic::set_line(unsigned pin, bool level) {
  CHECK(pin == 0);
  bool rises = level && !lint0_level_;
  lint0_level_ = level;
  if (rises) deliver_local(kLint0);  // in fixed mode; ExtINT is asked for by passes_external()
}

void LocalApic::note_error(uint32_t bit) {
  bool raise = (errors_ & bit) == 0;
  errors_ |= bit;
  // A bad vector of the error interrupt's own must not make errors for ever.
  if (raise && static_cast<uint8_t>(lvt_[kError]) >= kFirstVector) deliver_local(kError);
}

bool LocalApic::passes_external() const { return !masked(kLint0) && mode(kLint0) == DeliveryMode::external; }

uint8_t LocalApic::processor_priority() const {
  uint8_t serving = priority_class(in_service_.highest());
  return priority_class(task_priority_) >= serving ? task_priority_ : serving;
}

void LocalApic::update() {
  uint8_t highest = requested_.highest();
  next_ = enabled() && priority_class(highest) > priority_class(processor_priority()) ? highest : 0;
}

uint8_t LocalApic::acknowledge() {
  uint8_t vector = next_;
  requested_.set(vector, false);
  in_service_.set(vector, true);
  update();
  return vector;
}

}  // namespace dejavm::devices
