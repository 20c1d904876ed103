#include "vm/loader/start_state.h"

#include "base/check.h"

namespace dejavm::loader {
namespace {

constexpr uint64_t kCr0ProtectedMode = 0x11;  // PE, ET
constexpr uint64_t kCr0Paging = uint64_t{1} << 31;
constexpr uint64_t kCr4Pae = 1 << 5;
constexpr uint64_t kEferLongMode = 1 << 8 | 1 << 10;  // LME, LMA
constexpr unsigned kGdtEntries = 4;
// Accessed bits are set, so that only the guest's own instructions change the tables.
constexpr uint64_t kCode64 = 0x00af9b000000ffff, kCode32 = 0x00cf9b000000ffff, kData = 0x00cf93000000ffff;

vm::CpuState flat_state(uint64_t entry, uint64_t gdt, bool long_mode) {
  vm::CpuState state = vm::reset_state();
  state.gpr = {};
  state.rip = entry;
  vm::Segment data{.base = 0, .limit = 0xffffffff, .selector = kBootData, .type = 3, .s = 1, .present = 1, .db = 1, .g = 1};
  vm::Segment code = data;
  code.selector = kBootCode;
  code.type = 11;
  code.l = long_mode ? 1 : 0;
  code.db = long_mode ? 0 : 1;
  state.segment.fill(data);
  state.segment[vm::cs] = code;
  state.tr.limit = 0x67;
  state.gdt = {gdt, kGdtEntries * 8 - 1};
  state.idt = {0, 0};
  state.cr0 = kCr0ProtectedMode;
  return state;
}

}  // namespace

Bytes boot_gdt(unsigned code_bits) {
  Bytes gdt(kGdtEntries * 8);
  store_le<uint64_t>(&gdt[kBootCode], code_bits == 64 ? kCode64 : kCode32);
  store_le<uint64_t>(&gdt[kBootData], kData);
  return gdt;
}

Bytes identity_tables(uint64_t base) {
  constexpr uint64_t kTable = 0x23;      // present, writable, accessed
  constexpr uint64_t kLargePage = 0xe3;  // the same, dirty, 2 MiB
  CHECK(base % 4096 == 0);
  Bytes tables(kIdentityTablesSize);
  store_le<uint64_t>(&tables[0], (base + 4096) | kTable);
  for (uint64_t i = 0; i < 4; ++i) store_le<uint64_t>(&tables[4096 + 8 * i], (base + (2 + i) * 4096) | kTable);
  for (uint64_t i = 0; i < 4 * 512; ++i) store_le<uint64_t>(&tables[2 * 4096 + 8 * i], i << 21 | kLargePage);
  return tables;
}

vm::CpuState real_mode_state(uint32_t start) {
  CHECK(start < 1u << 20);
  vm::CpuState state = vm::reset_state();
  uint32_t base = start & 0xf0000;
  state.segment[vm::cs].base = base;
  state.segment[vm::cs].selector = static_cast<uint16_t>(base >> 4);
  state.rip = start & 0xffff;
  state.gpr = {};
  state.gpr[vm::rsp] = base == 0 ? start : 0x7c00;
  state.cr0 = 0x10;  // ET: caches are on
  return state;
}

vm::CpuState flat32_state(uint32_t entry, uint64_t gdt) { return flat_state(entry, gdt, false); }

vm::CpuState long_mode_state(uint64_t entry, uint64_t gdt, uint64_t page_tables) {
  vm::CpuState state = flat_state(entry, gdt, true);
  state.cr0 |= kCr0Paging;
  state.cr3 = page_tables;
  state.cr4 = kCr4Pae;
  state.efer = kEferLongMode;
  return state;
}

}  // namespace dejavm::loader
