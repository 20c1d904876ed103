#include "engine/kvm/kvm_delivery.h"

#include <array>

#include "base/bytes.h"
#include "vm/translate.h"

namespace dejavm::kvm {
namespace {

template <typename T>
std::optional<T> read_linear(const vm::CpuState& state, const vm::GuestMemory& memory, uint64_t address) {
  std::array<uint8_t, sizeof(T)> bytes;
  if (vm::read_virtual(state, memory, {address}, bytes) != bytes.size()) return std::nullopt;
  return load_le<T>(bytes.data());
}

std::optional<vm::GuestVirt> real_mode_handler(const vm::CpuState& state, const vm::GuestMemory& memory, uint8_t vector) {
  auto entry = read_linear<uint32_t>(state, memory, state.idt.base + vector * 4u);
  if (!entry) return std::nullopt;
  return vm::GuestVirt{(uint64_t{*entry >> 16} << 4) + (*entry & 0xffff)};
}

/// The base of a code segment of the GDT.
std::optional<uint32_t> code_base(const vm::CpuState& state, const vm::GuestMemory& memory, uint16_t selector) {
  constexpr uint16_t kLocal = 4;
  if ((selector & kLocal) != 0) return std::nullopt;
  auto descriptor = read_linear<uint64_t>(state, memory, state.gdt.base + (selector & ~7u));
  if (!descriptor) return std::nullopt;
  return static_cast<uint32_t>((*descriptor >> 16 & 0xffffff) | (*descriptor >> 56) << 24);
}

}  // namespace

std::optional<vm::GuestVirt> handler_address(const vm::CpuState& state, const vm::GuestMemory& memory, uint8_t vector) {
  constexpr uint64_t kProtection = 1, kLongModeActive = 1u << 10, kInterruptGate = 0xe, kTrapGate = 0xf;
  if ((state.cr0 & kProtection) == 0) return real_mode_handler(state, memory, vector);
  bool long_mode = (state.efer & kLongModeActive) != 0;
  uint64_t at = state.idt.base + uint64_t{vector} * (long_mode ? 16 : 8);
  auto gate = read_linear<uint64_t>(state, memory, at);
  if (!gate) return std::nullopt;
  uint64_t type = *gate >> 40 & 0x1f;
  if (type != kInterruptGate && type != kTrapGate) return std::nullopt;
  uint64_t offset = (*gate & 0xffff) | (*gate >> 48) << 16;
  if (long_mode) {
    auto high = read_linear<uint32_t>(state, memory, at + 8);
    if (!high) return std::nullopt;
    return vm::GuestVirt{offset | uint64_t{*high} << 32};
  }
  auto base = code_base(state, memory, static_cast<uint16_t>(*gate >> 16));
  if (!base) return std::nullopt;
  return vm::GuestVirt{static_cast<uint32_t>(*base + offset)};
}

}  // namespace dejavm::kvm
