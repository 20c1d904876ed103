#include "vm/startup_state.h"

namespace dejavm::vm {
namespace {

// AMD64 APM volume 2, sections 3.1 and 14.6.
constexpr uint64_t kCr0Paged = 0x80000011;  // PG, ET, PE
constexpr uint64_t kCr4 = 0x620;            // PAE, OSFXSR, OSXMMEXCPT
constexpr uint64_t kEferLongMode = 0x500;   // LMA, LME
constexpr uint32_t kFlat = 0xffffffff;
constexpr uint8_t kReadWrite = 3, kExecuteRead = 11, kBusyTss = 11;

}  // namespace

CpuState real_mode_state(uint64_t rip) {
  CpuState state = reset_state();
  state.segment[cs].selector = 0;
  state.segment[cs].base = 0;
  state.rip = rip;
  return state;
}

CpuState long_mode_state(uint64_t rip, uint64_t cr3) {
  CpuState state = real_mode_state(rip);
  state.segment.fill({.limit = kFlat, .selector = 16, .type = kReadWrite, .s = 1, .present = 1, .db = 1, .g = 1});
  state.segment[cs] = {.limit = kFlat, .selector = 8, .type = kExecuteRead, .s = 1, .present = 1, .l = 1, .g = 1};
  state.tr = {.limit = 0x67, .selector = 24, .type = kBusyTss, .present = 1};
  state.cr0 = kCr0Paged;
  state.cr3 = cr3;
  state.cr4 = kCr4;
  state.efer = kEferLongMode;
  return state;
}

}  // namespace dejavm::vm
