// What the guest's page tables map, all of it (AMD64 APM volume 2, chapter 5).
#pragma once

#include <cstdint>
#include <functional>

#include "vm/address.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::vm {

/// Bits of a page table entry.
inline constexpr uint64_t kPtePresent = 1, kPteWritable = 1u << 1, kPteUser = 1u << 2, kPteWriteThrough = 1u << 3,
                          kPteCacheDisabled = 1u << 4, kPteAccessed = 1u << 5, kPteDirty = 1u << 6, kPteLarge = 1u << 7,
                          kPteGlobal = 1u << 8, kPteNoExecute = uint64_t{1} << 63;

/// One page: a linear range and the physical one behind it.
struct PageMapping {
  GuestVirt linear;
  GuestPhys physical;
  uint64_t size = 0;    ///< 4 KiB, 2 MiB, 4 MiB or 1 GiB
  uint64_t entry = 0;   ///< the last entry of the walk, as it stands in memory
  uint64_t rights = 0;  ///< kPteWritable and kPteUser as all levels allow them
};

inline bool has_paging(const CpuState& cpu) { return (cpu.cr0 >> 31 & 1) != 0; }

/// Visits the pages in the order of their linear addresses as a 64-bit number, until `visit` says false. Tables that a guest
/// made endless end at `most_entries` entries: false then.
bool for_each_mapping(const CpuState& cpu, const GuestMemory& memory, const std::function<bool(const PageMapping&)>& visit,
                      uint64_t most_entries = uint64_t{1} << 24);

}  // namespace dejavm::vm
