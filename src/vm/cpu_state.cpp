#include "vm/cpu_state.h"

#include <fmt/format.h>
#include <xxhash.h>

#include "vm/cpu_fields.h"

namespace dejavm::vm {

uint64_t CpuState::linear_rip() const {
  if (code_bits() == 64) return rip;
  return static_cast<uint32_t>(segment[cs].base + rip);
}

unsigned CpuState::code_bits() const {
  if ((cr0 & 1) == 0) return 16;
  if ((efer & (1u << 10)) != 0 && segment[cs].l != 0) return 64;
  return segment[cs].db != 0 ? 32 : 16;
}

CpuState reset_state() {
  CpuState state;
  Segment data{.base = 0, .limit = 0xffff, .selector = 0, .type = 3, .s = 1, .present = 1};
  state.segment.fill(data);
  state.segment[cs] = {.base = 0xffff0000, .limit = 0xffff, .selector = 0xf000, .type = 11, .s = 1, .present = 1};
  state.tr = {.base = 0, .limit = 0xffff, .selector = 0, .type = 11, .s = 0, .present = 1};
  state.ldt = {.base = 0, .limit = 0xffff, .selector = 0, .type = 2, .s = 0, .present = 1};
  state.gdt = {0, 0xffff};
  state.idt = {0, 0xffff};
  state.rip = 0xfff0;
  state.cr0 = 0x60000010;
  state.gpr[rdx] = 0x600;  // family 6, as CPUID of dejavm64-v1 says
  return state;
}

uint64_t hash(const CpuState& state) {
  std::string bytes;
  for_each_field(state, [&](const auto&, const auto& value, unsigned size) {
    bytes.append(reinterpret_cast<const char*>(&value), size);
  });
  return XXH3_64bits(bytes.data(), bytes.size());
}

std::string difference(const CpuState& expected, const CpuState& actual) {
  std::string text;
  for_each_field_pair(expected, actual, [&](const auto& name, const auto& left, const auto& right, unsigned size) {
    if (std::memcmp(&left, &right, size) == 0) return;
    text += fmt::format("{}{} expected {} found {}", text.empty() ? "" : ", ", name, field_text(left), field_text(right));
  });
  return text;
}

std::string describe(const CpuState& state) {
  static constexpr const char* kNames[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                           "r8 ", "r9 ", "r10", "r11", "r12", "r13", "r14", "r15"};
  std::string text;
  for (unsigned i = 0; i < 16; ++i) {
    text += fmt::format("{} {:016x}{}", kNames[i], state.gpr[i], i % 4 == 3 ? "\n" : "  ");
  }
  text += fmt::format("rip {:016x}  rflags {:08x}  cr0 {:08x}  cr2 {:x}  cr3 {:x}  cr4 {:x}  efer {:x}\n", state.rip,
                      state.rflags, state.cr0, state.cr2, state.cr3, state.cr4, state.efer);
  static constexpr const char* kSegments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  for (unsigned i = 0; i < 6; ++i) {
    text += fmt::format("{} {:04x} base {:x} limit {:x}{}", kSegments[i], state.segment[i].selector, state.segment[i].base,
                        state.segment[i].limit, i % 3 == 2 ? "\n" : "  ");
  }
  return text;
}

}  // namespace dejavm::vm
