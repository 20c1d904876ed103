// Cap'n Proto messages as flat arrays of words, with the exceptions of kj kept inside. For src/trace only.
#pragma once

#include <capnp/message.h>
#include <capnp/serialize.h>
#include <kj/exception.h>

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"

namespace dejavm::trace {

/// Bytes in units of eight, aligned as Cap'n Proto wants them.
using Words = std::vector<uint64_t>;

inline ByteSpan bytes_of(const Words& words) {
  return {reinterpret_cast<const uint8_t*>(words.data()), words.size() * sizeof(uint64_t)};
}

/// The flat form of a message. Deterministic: unset bytes are zero.
Words flat_words(capnp::MessageBuilder& message);

/// What a reader may touch of a message: enough for every honest one, a small multiple of its size for a crafted one.
capnp::ReaderOptions reader_options(size_t words);

inline kj::ArrayPtr<const capnp::word> as_message(std::span<const uint64_t> words) {
  return {reinterpret_cast<const capnp::word*>(words.data()), words.size()};
}

/// The error that a kj exception becomes; `what` names the structure.
tl::unexpected<Error> malformed(std::string_view what, const kj::Exception& exception);

/// Parses untrusted words as a `Schema` and returns parse(reader), a Result or Status. A malformed message is an error of
/// kind `damaged` that names `what`.
template <typename Schema, typename Parse>
auto parse_message(std::span<const uint64_t> words, std::string_view what, Parse parse)
    -> decltype(parse(std::declval<typename Schema::Reader>())) {
  try {
    capnp::FlatArrayMessageReader message(as_message(words), reader_options(words.size()));
    return parse(message.getRoot<Schema>());
  } catch (const kj::Exception& exception) {
    return malformed(what, exception);
  }
}

/// Builds a message: fill(builder of a `Schema`), which builds no other. kj throws here only when memory is exhausted.
template <typename Schema, typename Fill>
Words build_message(Fill fill) {
  // A segment of its own would be allocated and cleared for every event. The builder clears what it used of this one.
  thread_local std::array<uint64_t, capnp::SUGGESTED_FIRST_SEGMENT_WORDS> segment{};
  capnp::MallocMessageBuilder message(kj::arrayPtr(reinterpret_cast<capnp::word*>(segment.data()), segment.size()));
  fill(message.initRoot<Schema>());
  return flat_words(message);
}

inline std::string text_of(capnp::Text::Reader text) { return {text.begin(), text.size()}; }
inline kj::ArrayPtr<const kj::byte> data_of(ByteSpan bytes) { return {bytes.data(), bytes.size()}; }
inline ByteSpan span_of(capnp::Data::Reader data) { return {data.begin(), data.size()}; }

}  // namespace dejavm::trace
