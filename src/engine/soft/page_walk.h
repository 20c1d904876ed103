// A walk of the guest's page tables as the CPU makes it: permissions, reserved bits, accessed and dirty bits
// (AMD64 APM volume 2, chapter 5; the error code: section 8.4.2). vm/translate.h is the debugger's walk, without any of it.
#pragma once

#include <cstdint>

#include "engine/soft/features.h"
#include "engine/soft/tlb.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::soft {

struct WalkRequest {
  uint64_t linear = 0;  ///< canonical; below 4 GiB outside long mode
  Reach reach = Reach::read;
  bool user = false;      ///< with the rights of CPL 3
  bool implicit = false;  ///< the CPU's own access (descriptor tables, TSS, frames): no EFLAGS.AC opens user pages to it
};

/// One table entry that the walk read.
struct WalkStep {
  uint64_t gpa = 0;
  uint64_t page = 0;  ///< of the backing, where it stands
  uint64_t value = 0;
  uint8_t size = 0;           ///< bytes: 4 or 8
  bool has_accessed = false;  ///< false: a PDPTE of PAE paging
};

struct Walk {
  bool fault = false;
  uint32_t error_code = 0;  ///< of the #PF

  // Without a fault:
  uint64_t gpa = 0;           ///< of the byte at `linear`
  uint64_t page_size = 4096;  ///< of the leaf; with 4 KiB for no paging at all
  bool user_page = false;     ///< CPL 3 may use it
  bool writable = false;      ///< writes with the rights of the request are allowed
  bool dirty = false;         ///< the leaf's dirty bit is set (without paging: there is none to set)
  bool global = false;
  bool opened_by_ac = false;  ///< a user page that SMAP would guard against this access, were EFLAGS.AC not set

  unsigned count = 0;  ///< steps made, the leaf last; 0 without paging
  WalkStep steps[4];
};

/// Changes nothing. Entries that do not lie in memory count as not present, which is what KVM makes of them; a bus that
/// answers with ones would give reserved bits or, in 32-bit paging, a page at the end of the space. The PDPTEs of PAE paging
/// are read at each walk like any entry, not once when CR3 is loaded.
Walk walk(const vm::CpuState& cpu, const vm::GuestMemory& memory, const Features& features, const WalkRequest& request);

/// The second half of a walk that did not fault: sets the accessed bits of its entries and, for a write, the dirty bit of
/// the leaf. Measured against kvm.ko's software walker (long mode, ring 0): it, too, writes them only when the whole walk
/// succeeded and the access is allowed, and page by page of an access that crosses pages. It differs where a
/// read-modify-write instruction meets a read-only page: kvm.ko has read the page before the write faults, so the accessed
/// bits are set. Bits that are set already cost nothing; entries in ROM stay as they are.
void set_accessed(vm::GuestMemory& memory, Walk& walked, Reach reach);
/// After a walk that faulted: QEMU's TCG sets the accessed bit of each entry before it goes on to the next level.
void set_accessed_of_tcg(vm::GuestMemory& memory, Walk walked);

}  // namespace dejavm::soft
