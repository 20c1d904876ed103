// One instruction on a guest of each kind of CPU.
#pragma once

#include <utility>

#include "soft_fixture.h"

namespace dejavm::soft {

inline constexpr uint64_t kCf = 1, kPf = 4, kAf = 0x10, kZf = 0x40, kSf = 0x80, kOf = 0x800;
inline constexpr uint64_t kStatus = kCf | kPf | kAf | kZf | kSf | kOf;

inline vm::CpuModel of_kind(vm::CpuKind kind) {
  vm::CpuModel model = vm::dejavm64_v1();
  model.kind = kind;
  return model;
}

/// amd first.
class Kinds : public testing::Test {
 protected:
  /// RSI points to a page that is not there; the error codes of the page faults, with the instruction at ring 0.
  std::pair<uint64_t, uint64_t> page_fault_errors(std::initializer_list<int> instruction) {
    for (SoftGuest* guest : {&amd_, &tcg_}) {
      guest->long_mode();
      guest->gpr(vm::rsi) = kRamSize;
      guest->code(instruction);
      guest->step();
      EXPECT_EQ(guest->cpu().rip, kHandler);
      EXPECT_EQ(guest->cpu().cr2, kRamSize);
    }
    return {amd_.peek(amd_.gpr(vm::rsp)), tcg_.peek(tcg_.gpr(vm::rsp))};
  }
  /// The status flags after an instruction of 32-bit code that begins with these.
  std::pair<uint64_t, uint64_t> flags_after(std::initializer_list<int> instruction, uint64_t rax, uint64_t flags) {
    for (SoftGuest* guest : {&amd_, &tcg_}) {
      guest->protected_mode();
      guest->gpr(vm::rax) = rax;
      guest->cpu().rflags = 2 | flags;
      guest->code(instruction);
      EXPECT_TRUE(guest->step_quietly());
    }
    EXPECT_EQ(amd_.gpr(vm::rax), tcg_.gpr(vm::rax));
    return {amd_.cpu().rflags & kStatus, tcg_.cpu().rflags & kStatus};
  }
  SoftGuest amd_{of_kind(vm::CpuKind::amd)}, tcg_{of_kind(vm::CpuKind::tcg)};
};

}  // namespace dejavm::soft
