// What is in the guest's RAM and registers before each run, by mode.
#pragma once

#include <cstdint>
#include <vector>

#include "vm/cpu_state.h"

namespace dejavm::differential {

inline constexpr uint64_t kRamSize = 0x40000;
inline constexpr uint64_t kTables = 0x1000;  ///< PML4, PDPT, PD, page table, PD of the devices
inline constexpr uint64_t kGdt = 0x6000;
inline constexpr uint64_t kTss = 0x6800;
inline constexpr uint64_t kIdt = 0x7000;
inline constexpr uint64_t kKernelStack = 0x9000;  ///< grows down; of the handlers after CPL 3
inline constexpr uint64_t kHandlers = 0xa000;     ///< 16 bytes a vector, HLT each
inline constexpr uint64_t kCode = 0x10000;
inline constexpr uint64_t kData = 0x20000;  ///< 64 KiB that instructions like to touch; the stack is in it
inline constexpr uint64_t kDataSize = 0x10000;
inline constexpr uint64_t kStack = 0x28000;
inline constexpr uint64_t kHandlerSize = 16;
inline constexpr uint64_t kVectors = 32;
inline constexpr uint8_t kHalt = 0xf4;

// With paging (long64, user64) these pages are special, so that page faults are compared, too.
inline constexpr uint64_t kReadOnlyPage = 0x2a, kAbsentPage = 0x2c, kSupervisorPage = 0x2e;

enum class Mode : uint8_t {
  real16,
  flat32,  ///< ring 0, no paging
  long64,  ///< ring 0
  user64,  ///< ring 3: on every host KVM runs it natively
};
inline constexpr Mode kModes[] = {Mode::real16, Mode::flat32, Mode::long64, Mode::user64};
const char* name(Mode mode);
unsigned code_bits(Mode mode);
inline bool has_paging(Mode mode) { return code_bits(mode) == 64; }
/// What the first byte of kData has as an offset of the data segments.
inline uint64_t data_offset(Mode mode) { return mode == Mode::real16 ? 0 : kData; }

struct GuestImage {
  Mode mode = Mode::real16;
  bool on_tcg = false;  ///< KVM's CPU is QEMU's TCG
  std::vector<uint8_t> ram;
  vm::CpuState start;  ///< RIP at kCode
};

/// Data is random, the same in every run; code is HLT.
GuestImage make_image(Mode mode, bool on_tcg);

}  // namespace dejavm::differential
