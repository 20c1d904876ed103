// Spans of bytes, little-endian loads and stores, hexadecimal text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

namespace dejavm {

using Bytes = std::vector<uint8_t>;
using ByteSpan = std::span<const uint8_t>;
using MutableByteSpan = std::span<uint8_t>;

/// Loads a T of little-endian bytes. dejavm runs on little-endian hosts only (x86-64).
template <typename T>
T load_le(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
void store_le(uint8_t* to, T value) {
  std::memcpy(to, &value, sizeof value);
}

/// The low `size` bytes of a value; size 0..8.
constexpr uint64_t low_bytes(uint64_t value, unsigned size) {
  return size >= 8 ? value : value & ((uint64_t{1} << (8 * size)) - 1);
}

/// Lower-case hexadecimal, two digits a byte.
std::string to_hex(ByteSpan bytes);

}  // namespace dejavm
