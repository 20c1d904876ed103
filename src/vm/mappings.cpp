#include "vm/mappings.h"

#include <array>

#include "base/bytes.h"

namespace dejavm::vm {
namespace {

constexpr uint64_t kWideAddress = 0x000ffffffffff000;
constexpr uint64_t kCr4Pse = 1u << 4, kCr4Pae = 1u << 5, kEferLma = 1u << 10;

/// Says false everywhere once the visitor did, or the entries are used up.
class Walk {
 public:
  Walk(const CpuState& cpu, const GuestMemory& memory, const std::function<bool(const PageMapping&)>& visit, uint64_t most)
      : cpu_(cpu), memory_(memory), visit_(visit), left_(most) {}

  bool all() {
    constexpr uint64_t kAllRights = kPteWritable | kPteUser;
    if ((cpu_.efer & kEferLma) != 0) return wide(cpu_.cr3 & kWideAddress, 512, 39, 0, kAllRights);
    if ((cpu_.cr4 & kCr4Pae) != 0) return wide(cpu_.cr3 & 0xffffffe0, 4, 30, 0, kAllRights);
    return legacy(cpu_.cr3 & 0xfffff000, 22, 0, kAllRights);
  }
  bool exhausted() const { return left_ == 0; }

 private:
  /// 8-byte entries: PAE from shift 30 on, long mode from 39 on.
  bool wide(uint64_t table, unsigned count, unsigned shift, uint64_t base, uint64_t rights) {
    bool pae_root = count == 4;
    bool long_mode = (cpu_.efer & kEferLma) != 0;
    for (unsigned i = 0; i < count; ++i) {
      if (!spend()) return false;
      uint64_t entry = entry_at<uint64_t>(table, i);
      if ((entry & kPtePresent) == 0) continue;
      uint64_t linear = base + (uint64_t{i} << shift);
      if (shift == 39 && i >= 256) linear |= uint64_t{0xffff} << 48;
      uint64_t allowed = pae_root ? rights : rights & entry;
      bool leaf =
          shift == 12 || (shift == 21 && (entry & kPteLarge) != 0) || (shift == 30 && long_mode && (entry & kPteLarge) != 0);
      uint64_t size = uint64_t{1} << shift;
      bool go_on = leaf ? visit_({{linear}, {entry & kWideAddress & ~(size - 1)}, size, entry, allowed})
                        : wide(entry & kWideAddress, 512, shift - 9, linear, allowed);
      if (!go_on) return false;
    }
    return true;
  }

  /// 4-byte entries in two levels.
  bool legacy(uint64_t table, unsigned shift, uint64_t base, uint64_t rights) {
    for (unsigned i = 0; i < 1024; ++i) {
      if (!spend()) return false;
      uint64_t entry = entry_at<uint32_t>(table, i);
      if ((entry & kPtePresent) == 0) continue;
      uint64_t linear = base + (uint64_t{i} << shift);
      bool large = shift == 22 && (entry & kPteLarge) != 0 && (cpu_.cr4 & kCr4Pse) != 0;
      uint64_t physical = large ? (entry >> 13 & 0xff) << 32 | (entry & 0xffc00000) : entry & 0xfffff000;
      bool leaf = large || shift == 12;
      bool go_on = leaf ? visit_({{linear}, {physical}, uint64_t{1} << shift, entry, rights & entry})
                        : legacy(entry & 0xfffff000, 12, linear, rights & entry);
      if (!go_on) return false;
    }
    return true;
  }

  /// What lies outside memory is not present.
  template <typename Entry>
  uint64_t entry_at(uint64_t table, unsigned index) const {
    std::array<uint8_t, sizeof(Entry)> bytes;
    if (!memory_.read({table + index * sizeof(Entry)}, bytes)) return 0;
    return load_le<Entry>(bytes.data());
  }
  bool spend() { return left_ != 0 && --left_ != 0; }

  const CpuState& cpu_;
  const GuestMemory& memory_;
  const std::function<bool(const PageMapping&)>& visit_;
  uint64_t left_;
};

}  // namespace

bool for_each_mapping(const CpuState& cpu, const GuestMemory& memory, const std::function<bool(const PageMapping&)>& visit,
                      uint64_t most_entries) {
  if (!has_paging(cpu)) return true;
  Walk walk(cpu, memory, visit, most_entries);
  walk.all();
  return !walk.exhausted();
}

}  // namespace dejavm::vm
