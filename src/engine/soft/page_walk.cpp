#include "engine/soft/page_walk.h"

#include <optional>

#include "base/bytes.h"
#include "vm/mappings.h"

namespace dejavm::soft {
namespace {

constexpr uint32_t kFaultPresent = 1u << 0, kFaultWrite = 1u << 1, kFaultUser = 1u << 2, kFaultReserved = 1u << 3,
                   kFaultFetch = 1u << 4;
constexpr uint64_t kCr0Wp = 1u << 16, kCr0Pg = 1u << 31;
constexpr uint64_t kCr4Pse = 1u << 4, kCr4Pae = 1u << 5, kCr4Smep = 1u << 20, kCr4Smap = 1u << 21;
constexpr uint64_t kEferLma = 1u << 10, kEferNxe = 1u << 11;
constexpr uint64_t kRflagsAc = 1u << 18;
constexpr uint64_t kAddressMask = 0x000ffffffffff000;

/// Bits first to last, both included; none when last < first.
constexpr uint64_t bits(unsigned first, unsigned last) {
  return last < first ? 0 : (~uint64_t{0} >> (63 - last)) & (~uint64_t{0} << first);
}

struct Walker {
  const vm::CpuState& cpu;
  const vm::GuestMemory& memory;
  const Features& features;
  const WalkRequest& request;
  Walk result{};
  uint64_t granted = vm::kPteWritable | vm::kPteUser;  // what all levels so far allow
  bool no_execute = false;
  const vm::MemoryRange* range = nullptr;  // of the last entry: tables lie close together

  bool nx_enabled() const { return (cpu.efer & kEferNxe) != 0 && (cpu.cr4 & kCr4Pae) != 0; }

  void fail(uint32_t why) {
    result.fault = true;
    result.error_code = why;
    if (request.reach == Reach::write) result.error_code |= kFaultWrite;
    if (request.user) result.error_code |= kFaultUser;
    if (request.reach == Reach::execute && (nx_enabled() || (cpu.cr4 & kCr4Smep) != 0)) result.error_code |= kFaultFetch;
  }

  /// Reads the next entry and checks that it is present without any of the reserved bits; else the walk has failed.
  template <typename Entry>
  std::optional<uint64_t> step(uint64_t gpa, bool has_accessed) {
    uint8_t bytes[sizeof(Entry)];
    bool same_range = range != nullptr && range->contains({gpa});
    if (!same_range) range = memory.find({gpa});  // entries are aligned: one range holds all of it
    if (range == nullptr) {
      fail(0);
      return std::nullopt;
    }
    uint64_t offset = range->offset_of({gpa});
    std::memcpy(bytes, memory.host(offset), sizeof bytes);
    uint64_t value{load_le<Entry>(bytes)};
    if ((value & vm::kPtePresent) == 0) {
      fail(0);
      return std::nullopt;
    }
    result.steps[result.count++] = {gpa, offset / vm::kPageSize, value, sizeof(Entry), has_accessed};
    return value;
  }

  bool reserved_clear(uint64_t entry, uint64_t reserved) {
    if ((entry & reserved) == 0) return true;
    fail(kFaultPresent | kFaultReserved);
    return false;
  }

  void restrict(uint64_t entry) {
    granted &= entry;
    no_execute |= (entry & vm::kPteNoExecute) != 0;
  }

  void leaf(uint64_t entry, uint64_t base, uint64_t page_size) {
    result.gpa = base | (request.linear & (page_size - 1));
    result.page_size = page_size;
    result.user_page = (granted & vm::kPteUser) != 0;
    result.dirty = (entry & vm::kPteDirty) != 0;
    result.global = (entry & vm::kPteGlobal) != 0;
    result.writable = (granted & vm::kPteWritable) != 0 || (!request.user && (cpu.cr0 & kCr0Wp) == 0);
    bool guarded = request.reach != Reach::execute && !request.user && result.user_page && (cpu.cr4 & kCr4Smap) != 0;
    result.opened_by_ac = guarded && !request.implicit && (cpu.rflags & kRflagsAc) != 0;
    if (!allowed() || (guarded && !result.opened_by_ac)) fail(kFaultPresent);
  }

  bool allowed() const {
    if (request.user && !result.user_page) return false;
    if (request.reach == Reach::write && !result.writable) return false;
    if (request.reach != Reach::execute) return true;
    return !no_execute && (request.user || !result.user_page || (cpu.cr4 & kCr4Smep) == 0);
  }

  /// Two levels of 4-byte entries. Without PSE the PS bit of a PDE means nothing.
  void legacy() {
    uint64_t linear = request.linear;
    auto pde = step<uint32_t>((cpu.cr3 & 0xfffff000) + (linear >> 22 & 0x3ff) * 4, true);
    if (!pde) return;
    restrict(*pde);
    if ((cpu.cr4 & kCr4Pse) != 0 && (*pde & vm::kPteLarge) != 0) {
      // PSE-36: bits 13 to 20 are bits 32 to 39 of the address; those above the physical width are reserved, as is bit 21.
      if (!reserved_clear(*pde, bits(21, 21) | bits(features.physical_bits - 32 + 13, 20))) return;
      return leaf(*pde, (*pde >> 13 & 0xff) << 32 | (*pde & 0xffc00000), uint64_t{4} << 20);
    }
    auto pte = step<uint32_t>((*pde & 0xfffff000) + (linear >> 12 & 0x3ff) * 4, true);
    if (!pte) return;
    restrict(*pte);
    leaf(*pte, *pte & 0xfffff000, 4096);
  }

  /// The reserved bits of an entry of 8 bytes, where the table covers 1 << (shift + 9) bytes.
  uint64_t reserved_bits(unsigned shift, bool long_mode, bool large) const {
    uint64_t reserved = bits(features.physical_bits, long_mode ? 51 : 62);
    if (!long_mode && shift == 30) return reserved | bits(63, 63) | bits(5, 8) | bits(1, 2);
    if (!nx_enabled()) reserved |= vm::kPteNoExecute;
    if (shift == 39) reserved |= bits(7, 8);
    if (shift == 30 && !features.page1gb) reserved |= vm::kPteLarge;
    if (large) reserved |= bits(13, shift - 1);  // bit 12 is PAT
    return reserved;
  }

  /// Three levels (PAE) or four (long mode) of 8-byte entries.
  void wide(bool long_mode) {
    uint64_t linear = request.linear;
    uint64_t table = cpu.cr3 & (long_mode ? kAddressMask : 0xffffffe0);
    for (unsigned shift = long_mode ? 39 : 30;; shift -= 9) {
      bool pae_root = !long_mode && shift == 30;
      uint64_t index = linear >> shift & (pae_root ? 3 : 0x1ff);
      auto entry = step<uint64_t>(table + index * 8, !pae_root);
      if (!entry) return;
      bool large = (*entry & vm::kPteLarge) != 0 && (shift == 21 || (shift == 30 && long_mode));
      if (!reserved_clear(*entry, reserved_bits(shift, long_mode, large))) return;
      if (!pae_root) restrict(*entry);
      if (large || shift == 12) {
        uint64_t page_size = uint64_t{1} << shift;
        return leaf(*entry, *entry & kAddressMask & ~(page_size - 1), page_size);
      }
      table = *entry & kAddressMask;
    }
  }
};

}  // namespace

Walk walk(const vm::CpuState& cpu, const vm::GuestMemory& memory, const Features& features, const WalkRequest& request) {
  Walker walker{cpu, memory, features, request};
  if ((cpu.cr0 & kCr0Pg) == 0) {
    walker.result.gpa = request.linear;
    walker.result.user_page = walker.result.writable = walker.result.dirty = true;
  } else if ((cpu.efer & kEferLma) != 0) {
    walker.wide(true);
  } else if ((cpu.cr4 & kCr4Pae) != 0) {
    walker.wide(false);
  } else {
    walker.legacy();
  }
  return walker.result;
}

void set_accessed_of_tcg(vm::GuestMemory& memory, Walk walked) {
  bool last_refused = (walked.error_code & kFaultPresent) != 0;
  if (last_refused) --walked.count;
  set_accessed(memory, walked, Reach::read);
}

void set_accessed(vm::GuestMemory& memory, Walk& walked, Reach reach) {
  for (unsigned i = 0; i < walked.count; ++i) {
    WalkStep& step = walked.steps[i];
    uint64_t value = step.value;
    if (step.has_accessed) value |= vm::kPteAccessed;
    if (reach == Reach::write && i + 1 == walked.count) value |= vm::kPteDirty;
    if (value == step.value) continue;
    // Both bits stand in the entry's first byte, and the entry lies in memory: it was read from there.
    auto first_byte = static_cast<uint8_t>(value);
    static_cast<void>(memory.write({step.gpa}, {&first_byte, 1}, vm::Writer::cpu));
    step.value = value;
  }
  if (reach == Reach::write) walked.dirty = true;
}

}  // namespace dejavm::soft
