// The framing of GDB's remote serial protocol (GDB manual, appendix "GDB Remote Serial Protocol", "Overview"):
// $payload#checksum, escapes, acknowledgements, the interrupt byte.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace dejavm::gdb {

/// The largest packet either side sends, frame included; told to the debugger as PacketSize.
inline constexpr size_t kPacketSize = 0x10000;
/// What of it is payload: without '$', '#' and two digits.
inline constexpr size_t kMaxPayload = kPacketSize - 4;

/// "$payload#checksum". The payload holds no '$', '#', '*' or '}' except as escape() writes them.
std::string frame(std::string_view payload);
void append_frame(std::string& to, std::string_view payload);

/// Binary data with '}' escapes, at most `limit` bytes long; `taken` says how many bytes of the data fit.
std::string escape(std::string_view data, size_t limit, size_t& taken);

/// Console output as the payloads of O packets, none longer than kMaxPayload; empty for an empty text.
std::vector<std::string> console_payloads(std::string_view text);

/// A state machine that is fed with the debugger's bytes, one at a time. Holds at most kMaxPayload bytes.
class Framer {
 public:
  enum class Event : uint8_t {
    none,
    packet,        ///< payload() is a whole packet, unescaped
    bad_checksum,  ///< a packet that was damaged on its way
    too_long,      ///< a packet of more than kMaxPayload bytes; its payload was dropped
    ack,           ///< '+'
    nack,          ///< '-'
    interrupt,     ///< 0x03 outside a packet
  };

  Event feed(uint8_t byte);

  /// The packet that feed() announced; valid until the next call of feed().
  const std::string& payload() const { return payload_; }

 private:
  enum class State : uint8_t { idle, body, escape, checksum_high, checksum_low };

  void start();
  void append(uint8_t byte);
  Event feed_idle(uint8_t byte);
  void feed_body(uint8_t byte);
  Event finish(uint8_t low_digit);

  State state_ = State::idle;
  std::string payload_;
  bool overflow_ = false;
  uint8_t sum_ = 0;
  uint8_t high_digit_ = 0;
};

}  // namespace dejavm::gdb
