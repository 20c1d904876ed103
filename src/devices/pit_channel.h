// One counter of the 8254. Source: Intel 8254 datasheet (231164), modes 0 to 5.
#pragma once

#include <cstdint>
#include <optional>

namespace dejavm::devices {

/// A counter whose state is a function of the tick at which one looks: nothing counts by itself. The clock that moves a
/// written count into the counter is not modelled: counting starts with the write. A new count in modes 2 and 3 waits for
/// the end of the period; in modes 1 and 5 for the next trigger.
class PitChannel {
 public:
  explicit PitChannel(bool gate) : gate_(gate) {}

  /// A control word for this counter (not a latch or read-back command).
  void control(uint8_t word, uint64_t now);
  void write(uint8_t value, uint64_t now);
  uint8_t read(uint64_t now);
  void latch_count(uint64_t now);
  void latch_status(uint64_t now);

  void set_gate(bool gate, uint64_t now);
  bool gate() const { return gate_; }
  bool out(uint64_t now);
  unsigned mode() const { return mode_; }
  /// The first tick after `now` at which OUT rises.
  std::optional<uint64_t> next_rise(uint64_t now);

 private:
  enum class Bytes : uint8_t { low = 1, high = 2, both = 3 };

  bool periodic() const { return mode_ == 2 || mode_ == 3; }
  bool triggered() const { return mode_ == 1 || mode_ == 5; }
  void load(uint64_t now);
  void settle(uint64_t now);
  uint64_t elapsed(uint64_t now) const { return gate_ || triggered() ? now - start_ : paused_; }
  uint16_t count_at(uint64_t now);

  bool gate_;
  uint8_t mode_ = 3;
  bool bcd_ = false;
  Bytes access_ = Bytes::both;
  bool running_ = false;     // a count was loaded since the control word (modes 1 and 5: and a trigger came)
  bool null_count_ = false;  // written, or the control word written, and not yet loaded
  uint32_t written_ = 0x10000;
  uint32_t count_ = 0x10000;  // what the current period counts
  uint64_t start_ = 0;
  uint64_t paused_ = 0;                  // elapsed ticks at the time when the gate fell
  std::optional<uint64_t> next_period_;  // modes 2 and 3: when written_ takes effect
  uint8_t low_byte_ = 0;
  bool write_high_next_ = false;
  bool read_high_next_ = false;
  std::optional<uint16_t> latched_count_;
  std::optional<uint8_t> latched_status_;
};

}  // namespace dejavm::devices
