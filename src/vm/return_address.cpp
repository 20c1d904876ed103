#include "vm/return_address.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "vm/translate.h"

namespace dejavm::vm {
namespace {

constexpr size_t kLongestCall = 7;  // FF /2 with SIB and a displacement of 32 bits

/// Whether the bytes, which end at the address in question, end with a near CALL.
bool ends_with_call(ByteSpan bytes) {
  constexpr uint8_t kRelative = 0xe8, kIndirect = 0xff;
  auto from_end = [&](size_t n) { return bytes[bytes.size() - n]; };
  if (bytes.size() >= 5 && from_end(5) == kRelative) return true;
  for (size_t length : {2u, 3u, 4u, 6u, 7u}) {
    if (bytes.size() >= length && from_end(length) == kIndirect && (from_end(length - 1) >> 3 & 7) == 2) return true;
  }
  return false;
}

}  // namespace

std::vector<GuestVirt> find_return_addresses(const CpuState& cpu, const GuestMemory& memory, size_t count) {
  std::vector<GuestVirt> found;
  if (cpu.code_bits() != 64) return found;
  std::array<uint8_t, 64 * 8> stack;
  size_t got = read_virtual(cpu, memory, {cpu.gpr[rsp]}, stack);
  for (size_t at = 0; at + 8 <= got && found.size() < count; at += 8) {
    GuestVirt address{load_le<uint64_t>(stack.data() + at)};
    std::array<uint8_t, kLongestCall> before;
    if (address.value < before.size() || std::find(found.begin(), found.end(), address) != found.end()) continue;
    bool readable = read_virtual(cpu, memory, {address.value - before.size()}, before) == before.size();
    if (readable && ends_with_call(before)) found.push_back(address);
  }
  return found;
}

}  // namespace dejavm::vm
