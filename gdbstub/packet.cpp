#include "gdbstub/packet.h"

#include <emmintrin.h>
#include <fmt/format.h>

#include <algorithm>

#include "gdbstub/hex.h"

namespace dejavm::gdb {

namespace {

constexpr uint8_t kInterrupt = 3;
constexpr uint8_t kEscapeBit = 0x20;

bool needs_escape(char c) { return c == '$' || c == '#' || c == '}' || c == '*'; }

/// Modulo 256. Sixteen bytes at once: a packet may have 64 KiB.
uint8_t sum_of(std::string_view bytes) {
  __m128i sums = _mm_setzero_si128();
  size_t i = 0;
  for (; i + sizeof sums <= bytes.size(); i += sizeof sums) {
    const __m128i piece = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes.data() + i));
    sums = _mm_add_epi64(sums, _mm_sad_epu8(piece, _mm_setzero_si128()));
  }
  auto sum = static_cast<uint64_t>(_mm_cvtsi128_si64(_mm_add_epi64(sums, _mm_unpackhi_epi64(sums, sums))));
  for (; i < bytes.size(); ++i) sum += static_cast<uint8_t>(bytes[i]);
  return static_cast<uint8_t>(sum);
}

}  // namespace

void append_frame(std::string& to, std::string_view payload) {
  const uint8_t sum = sum_of(payload);
  to += '$';
  to += payload;
  to += '#';
  to += to_hex(ByteSpan(&sum, 1));
}

std::string frame(std::string_view payload) {
  std::string packet;
  packet.reserve(payload.size() + 4);
  append_frame(packet, payload);
  return packet;
}

std::string escape(std::string_view data, size_t limit, size_t& taken) {
  std::string text;
  taken = 0;
  for (char c : data) {
    if (text.size() + (needs_escape(c) ? 2 : 1) > limit) break;
    if (needs_escape(c)) {
      text.push_back('}');
      text.push_back(static_cast<char>(c ^ kEscapeBit));
    } else {
      text.push_back(c);
    }
    ++taken;
  }
  return text;
}

std::vector<std::string> console_payloads(std::string_view text) {
  constexpr size_t kChunk = (kMaxPayload - 1) / 2;
  std::vector<std::string> payloads;
  for (; !text.empty(); text.remove_prefix(std::min(kChunk, text.size()))) {
    payloads.push_back("O" + to_hex(text.substr(0, kChunk)));
  }
  return payloads;
}

Framer::Event Framer::feed(uint8_t byte) {
  switch (state_) {
    case State::idle:
      return feed_idle(byte);
    case State::body:
      feed_body(byte);
      return Event::none;
    case State::escape:
      sum_ = static_cast<uint8_t>(sum_ + byte);
      append(byte ^ kEscapeBit);
      state_ = State::body;
      return Event::none;
    case State::checksum_high:
      high_digit_ = byte;
      state_ = State::checksum_low;
      return Event::none;
    case State::checksum_low:
      state_ = State::idle;
      return finish(byte);
  }
  return Event::none;
}

Framer::Event Framer::feed_idle(uint8_t byte) {
  switch (byte) {
    case '$':
      start();
      return Event::none;
    case '+':
      return Event::ack;
    case '-':
      return Event::nack;
    case kInterrupt:
      return Event::interrupt;
    default:
      return Event::none;
  }
}

void Framer::feed_body(uint8_t byte) {
  if (byte == '#') {
    state_ = State::checksum_high;
    return;
  }
  if (byte == '$') {  // the end of the packet before was lost
    start();
    return;
  }
  sum_ = static_cast<uint8_t>(sum_ + byte);
  if (byte == '}') {
    state_ = State::escape;
  } else {
    append(byte);
  }
}

void Framer::start() {
  state_ = State::body;
  payload_.clear();
  overflow_ = false;
  sum_ = 0;
}

void Framer::append(uint8_t byte) {
  if (payload_.size() == kMaxPayload) {
    overflow_ = true;
    return;
  }
  payload_.push_back(static_cast<char>(byte));
}

Framer::Event Framer::finish(uint8_t low_digit) {
  const auto high = hex_digit(static_cast<char>(high_digit_));
  const auto low = hex_digit(static_cast<char>(low_digit));
  if (!high || !low || ((*high << 4) | *low) != sum_) return Event::bad_checksum;
  return overflow_ ? Event::too_long : Event::packet;
}

}  // namespace dejavm::gdb
