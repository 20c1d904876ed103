// A LinearMemory over a small RAM, alone: for tests of translation, devices and what is cached.
#pragma once

#include <gtest/gtest.h>

#include <optional>

#include "engine/soft/linear_memory.h"

namespace dejavm::soft {

/// Physical: 32 pages of RAM at 0, the first four again at kAlias, ROM behind, nothing else. The linear space of long mode
/// maps the same addresses, by 4 KiB pages below 2 MiB.
class MemoryTest : public testing::Test {
 protected:
  static constexpr uint64_t kP = 1, kW = 2, kU = 4, kA = 0x20, kD = 0x40, kPs = 0x80;
  static constexpr uint64_t kAll = kP | kW | kU;
  static constexpr uint64_t kAc = 1u << 18, kAm = 1u << 18, kSmap = 1u << 21;

  static constexpr uint64_t kRamPages = 32;
  static constexpr uint64_t kAlias = 0x30000, kRom = 0x40000, kDevice = 0x50000;
  static constexpr uint64_t kPml4 = 0x18000, kPdpt = 0x19000, kPd = 0x1a000, kPt = 0x1b000;
  static constexpr uint64_t kData = 0x2000;
  static constexpr uint64_t kPageSize = vm::kPageSize;

  MemoryTest() : ram(vm::GuestMemory::create(kRamPages * kPageSize, kPageSize).value()), memory(cpu, ram, log, features) {
    EXPECT_TRUE(ram.set_map({{{0}, kRamPages * kPageSize, 0, true},
                             {{kAlias}, 4 * kPageSize, 0, true},
                             {{kRom}, kPageSize, kRamPages * kPageSize, false}}));
    cpu.cr0 = 1;
  }

  void put(uint64_t offset, uint64_t value) { store_le<uint64_t>(ram.host(offset), value); }
  uint64_t get(uint64_t offset) const { return load_le<uint64_t>(ram.host(offset)); }
  static uint64_t pte(uint64_t linear) { return kPt + (linear >> 12) * 8; }

  void long_mode() {
    put(kPml4, kPdpt | kAll);
    put(kPdpt, kPd | kAll);
    put(kPd, kPt | kAll);
    for (uint64_t page = 0; page < 512; ++page) put(pte(page * kPageSize), page * kPageSize | kAll);
    cpu.cr0 = 0x80000001;
    cpu.cr3 = kPml4;
    cpu.cr4 = 0x20;
    cpu.efer = 0xd00;
    cpu.segment[vm::cs].l = 1;
    memory.flush();
    memory.mode_changed();
  }
  void enter_ring(uint8_t cpl) {
    cpu.segment[vm::ss].dpl = cpl;
    memory.mode_changed();
  }

  /// The fault that an access raises.
  template <typename Do>
  std::optional<GuestFault> fault_of(Do access) {
    try {
      access();
    } catch (const GuestFault& fault) {
      return fault;
    }
    return std::nullopt;
  }
  /// The access that an instruction leaves for, answered.
  template <typename Do>
  std::optional<vm::Access> exit_of(Do instruction, uint64_t answer = 0) {
    log.rewind();
    try {
      instruction();
    } catch (const LeaveForAnswer&) {
      vm::Access access = *log.waiting_for();
      log.answer(answer);
      return access;
    }
    log.clear();
    return std::nullopt;
  }

  vm::CpuState cpu = vm::reset_state();
  Features features;
  vm::GuestMemory ram;
  AccessLog log;
  LinearMemory memory;
};

}  // namespace dejavm::soft
