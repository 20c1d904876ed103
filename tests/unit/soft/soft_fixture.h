// A Core of the soft engine over 2 MiB of RAM, in any mode, with code at kCode: for tests of single instructions.
#pragma once

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "engine/soft/core.h"
#include "vm/cpu_model.h"
#include "vm/guest_memory.h"

namespace dejavm::soft {

inline constexpr uint64_t kRamSize = 0x200000;
inline constexpr uint64_t kTables = 0x1000;  ///< PML4 here, PDPT and PD behind it
inline constexpr uint64_t kGdt = 0x5000;
inline constexpr uint64_t kIdt = 0x6000;
inline constexpr uint64_t kCode = 0x8000;
inline constexpr uint64_t kHandler = 0x9000;  ///< of every vector; a HLT stands there
inline constexpr uint64_t kStack = 0x7000;
inline constexpr uint64_t kData = 0x20000;
inline constexpr uint64_t kDevice = 0xc0000000;  ///< 2 MiB that are no memory, mapped in every mode

inline constexpr uint16_t kCode64 = 0x08, kFlatData = 0x10, kCode32 = 0x18, kCode16 = 0x20, kUserCode64 = 0x2b,
                          kUserData = 0x33, kUserCode32 = 0x3b, kTss = 0x40;

/// The test's guest. Registers are zero but RSP. GDT: the selectors above; IDT: interrupt gates (32 or 64 bits by mode) for
/// 64 vectors to kHandler; real mode: IVT entries to kHandler.
class SoftGuest {
 public:
  explicit SoftGuest(const vm::CpuModel& model = vm::dejavm64_v1());

  void real_mode();
  void protected_mode();  ///< flat, 32 bits, no paging
  void long_mode();       ///< 64 bits, ring 0, first 2 MiB and kDevice identity-mapped by large pages (A and D set)

  /// Makes a second set of tables, beside the identity map of long_mode(), which stays: 4 KiB pages from linear kSmallPages
  /// on are these physical ones. It takes 16 KiB from `tables` on; CR3 stays as it is.
  static constexpr uint64_t kSmallPages = 0x40000000;
  void map_small_pages(uint64_t tables, std::initializer_list<uint64_t> pages);

  void code(std::initializer_list<int> bytes, uint64_t at = kCode);
  void code(const std::vector<uint8_t>& bytes, uint64_t at = kCode);
  void poke(uint64_t gpa, uint64_t value, size_t size = 8);
  uint64_t peek(uint64_t gpa, size_t size = 8) const;

  /// One step. Returns the exit.
  vm::Exit step() { return core().run(vm::RunMode::step); }
  /// Runs until something exits.
  vm::Exit run() { return core().run(vm::RunMode::free); }
  /// Steps; true when it was a step and RIP is not in kHandler (no exception).
  bool step_quietly();

  Core& core() { return core_; }
  vm::CpuState& cpu() { return core_.cpu; }
  uint64_t& gpr(vm::Gpr which) { return core_.cpu.gpr[which]; }

  vm::GuestMemory& memory() { return memory_; }

 private:
  void start(vm::CpuState state);

  vm::CpuModel model_;
  vm::GuestMemory memory_;
  Core core_;
};

}  // namespace dejavm::soft
