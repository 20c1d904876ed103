#include "vm/translate.h"

#include <algorithm>

#include "vm/mappings.h"

namespace dejavm::vm {
namespace {

constexpr uint64_t kAddressMask = 0x000ffffffffff000;

tl::unexpected<Error> not_mapped(GuestVirt addr) {
  return fail(fmt::format("linear address {:#x} is not mapped by the guest's page tables", addr.value));
}

template <typename Entry>
Result<uint64_t> read_entry(const GuestMemory& memory, uint64_t table, uint64_t index, GuestVirt addr) {
  uint8_t bytes[sizeof(Entry)];
  TRY(memory.read({table + index * sizeof(Entry)}, bytes));
  auto entry = uint64_t{load_le<Entry>(bytes)};
  if ((entry & kPtePresent) == 0) return not_mapped(addr);
  return entry;
}

/// Two levels of 4-byte entries (32-bit paging without PAE).
Result<GuestPhys> translate_legacy(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr, bool& user) {
  TRY_ASSIGN(uint64_t pde, read_entry<uint32_t>(memory, cpu.cr3 & 0xfffff000, addr.value >> 22 & 0x3ff, addr));
  user = (pde & kPteUser) != 0;
  bool pse = (cpu.cr4 & (1u << 4)) != 0;
  if (pse && (pde & kPteLarge) != 0) {
    uint64_t high = (pde >> 13 & 0xff) << 32;  // PSE-36
    return GuestPhys{high | (pde & 0xffc00000) | (addr.value & 0x3fffff)};
  }
  TRY_ASSIGN(uint64_t pte, read_entry<uint32_t>(memory, pde & 0xfffff000, addr.value >> 12 & 0x3ff, addr));
  user = user && (pte & kPteUser) != 0;
  return GuestPhys{(pte & 0xfffff000) | (addr.value & 0xfff)};
}

/// Three or four levels of 8-byte entries (PAE, long mode).
Result<GuestPhys> translate_wide(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr, bool long_mode,
                                 bool& user) {
  uint64_t table = cpu.cr3 & (long_mode ? kAddressMask : 0xffffffe0);
  for (unsigned shift = long_mode ? 39 : 30;; shift -= 9) {
    uint64_t index = addr.value >> shift & (!long_mode && shift == 30 ? 3 : 0x1ff);
    TRY_ASSIGN(uint64_t entry, read_entry<uint64_t>(memory, table, index, addr));
    bool has_rights = long_mode || shift != 30;  // PAE's first level has none
    user = user && (!has_rights || (entry & kPteUser) != 0);
    bool leaf = shift == 12 || (shift < 39 && (entry & kPteLarge) != 0 && (long_mode || shift == 21));
    uint64_t offset_mask = (uint64_t{1} << shift) - 1;
    if (leaf) return GuestPhys{(entry & kAddressMask & ~offset_mask) | (addr.value & offset_mask)};
    table = entry & kAddressMask;
  }
}

/// `user`: whether the tables let user code use the page; as it was where nothing is mapped.
Result<GuestPhys> translate(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr, bool& user) {
  bool long_mode = (cpu.efer & (1u << 10)) != 0;
  if (!long_mode && addr.value > UINT32_MAX) return not_mapped(addr);  // out of reach of this mode
  if ((cpu.cr0 >> 31 & 1) == 0) {
    user = false;
    return GuestPhys{addr.value};
  }
  user = true;
  if (long_mode) {
    auto sign = static_cast<int64_t>(addr.value) >> 47;
    if (sign != 0 && sign != -1) return fail(fmt::format("linear address {:#x} is not canonical", addr.value));
    return translate_wide(cpu, memory, addr, true, user);
  }
  if ((cpu.cr4 & (1u << 5)) != 0) return translate_wide(cpu, memory, addr, false, user);
  return translate_legacy(cpu, memory, addr, user);
}

}  // namespace

Result<GuestPhys> translate(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr) {
  bool user = false;
  return translate(cpu, memory, addr, user);
}

std::optional<uint64_t> backing_offset(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr) {
  auto gpa = translate(cpu, memory, addr);
  const MemoryRange* range = gpa ? memory.find(*gpa) : nullptr;
  if (range == nullptr) return std::nullopt;
  return range->offset_of(*gpa);
}

bool is_user_page(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr) {
  bool user = false;
  return translate(cpu, memory, addr, user).has_value() && user;
}

size_t read_virtual(const CpuState& cpu, const GuestMemory& memory, GuestVirt addr, MutableByteSpan to) {
  size_t done = 0;
  while (done < to.size()) {
    GuestVirt at = addr + done;
    size_t length = std::min<size_t>(to.size() - done, kPageSize - at.value % kPageSize);
    auto gpa = translate(cpu, memory, at);
    if (!gpa || !memory.read(*gpa, to.subspan(done, length))) return done;
    done += length;
  }
  return done;
}

Status write_virtual(const CpuState& cpu, GuestMemory& memory, GuestVirt addr, ByteSpan from, Writer writer) {
  for (bool writing : {false, true}) {
    for (size_t done = 0; done < from.size();) {
      GuestVirt at = addr + done;
      size_t length = std::min<size_t>(from.size() - done, kPageSize - at.value % kPageSize);
      TRY_ASSIGN(GuestPhys gpa, translate(cpu, memory, at));
      Bytes probe(length);
      TRY(memory.read(gpa, probe));
      if (writing) TRY(memory.write(gpa, from.subspan(done, length), writer));
      done += length;
    }
  }
  return {};
}

}  // namespace dejavm::vm
