#include "engine/kvm/kvm_model.h"

#include <algorithm>
#include <array>
#include <memory>

namespace dejavm::kvm {
namespace {

/// KVM describes allowed MSRs by up to 16 ranges with a bitmap each.
struct MsrGroup {
  uint32_t base;
  uint32_t count;
};
constexpr MsrGroup kGroups[] = {{0x174, 3}, {0x277, 1}, {0xc0000080, 5}, {0xc0000100, 3}};
static_assert(std::size(kGroups) <= KVM_MSR_FILTER_MAX_RANGES);

constexpr uint8_t group_bitmap(const MsrGroup& group) {
  uint8_t bits = 0;
  for (uint32_t msr : vm::kStateMsrs) {
    if (msr >= group.base && msr - group.base < group.count) bits |= static_cast<uint8_t>(1u << (msr - group.base));
  }
  return bits;
}

constexpr bool groups_cover_state_msrs() {
  for (uint32_t msr : vm::kStateMsrs) {
    bool covered = false;
    for (const MsrGroup& group : kGroups) covered |= msr >= group.base && msr - group.base < group.count;
    if (!covered) return false;
  }
  return true;
}
static_assert(groups_cover_state_msrs());

constexpr uint32_t kCpuidApic = 1u << 9;
constexpr uint64_t kApicBase = 0xfee00900;  // enabled, the boot processor's

/// The guest's APIC is a device; KVM knows of it only whether CPUID shows one, which it takes from here.
Status set_apic_base(int vcpu_fd, const vm::CpuModel& model) {
  bool shown = std::any_of(model.cpuid.begin(), model.cpuid.end(),
                           [](const vm::CpuidLeaf& leaf) { return leaf.function == 1 && (leaf.edx & kCpuidApic) != 0; });
  kvm_sregs sregs{};
  TRY(kvm_ioctl(vcpu_fd, KVM_GET_SREGS, "KVM_GET_SREGS", &sregs));
  sregs.apic_base = shown ? kApicBase : 0;
  TRY(kvm_ioctl(vcpu_fd, KVM_SET_SREGS, "KVM_SET_SREGS (APIC base)", &sregs));
  return {};
}

}  // namespace

Status set_cpuid(int vcpu_fd, const vm::CpuModel& model) {
  if (model.cpuid.size() > CpuidTable::kMax) {
    return fail(fmt::format("CPU model {} has {} CPUID leaves; KVM takes at most {}", model.name, model.cpuid.size(),
                            CpuidTable::kMax));
  }
  auto table = std::make_unique<CpuidTable>();
  for (const vm::CpuidLeaf& leaf : model.cpuid) {
    kvm_cpuid_entry2& entry = table->entries[table->nent++];
    entry.function = leaf.function;
    entry.index = leaf.index;
    entry.flags = leaf.indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    entry.eax = leaf.eax;
    entry.ebx = leaf.ebx;
    entry.ecx = leaf.ecx;
    entry.edx = leaf.edx;
  }
  TRY(kvm_ioctl(vcpu_fd, KVM_SET_CPUID2, "KVM_SET_CPUID2", table.get()));
  return set_apic_base(vcpu_fd, model);
}

Result<std::vector<vm::CpuidLeaf>> read_cpuid(int vcpu_fd) {
  auto table = std::make_unique<CpuidTable>();
  table->nent = CpuidTable::kMax;
  TRY(kvm_ioctl(vcpu_fd, KVM_GET_CPUID2, "KVM_GET_CPUID2", table.get()));
  std::vector<vm::CpuidLeaf> leaves;
  for (uint32_t i = 0; i < table->nent; ++i) {
    const kvm_cpuid_entry2& entry = table->entries[i];
    bool indexed = (entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0;
    leaves.push_back({.function = entry.function,
                      .index = indexed ? entry.index : 0,
                      .indexed = indexed,
                      .eax = entry.eax,
                      .ebx = entry.ebx,
                      .ecx = entry.ecx,
                      .edx = entry.edx});
  }
  return leaves;
}

bool takes_no_write(uint32_t msr) {
  constexpr uint32_t kX2Apic = 0x800, kX2ApicEnd = 0x900;
  bool of_state = std::find(std::begin(vm::kStateMsrs), std::end(vm::kStateMsrs), msr) != std::end(vm::kStateMsrs);
  return of_state || (msr >= kX2Apic && msr < kX2ApicEnd);
}

Status filter_msrs(int vm_fd) {
  kvm_enable_cap exits{};
  exits.cap = KVM_CAP_X86_USER_SPACE_MSR;
  // Invalid: reads of the x2APIC range, which no filter reaches; also what else KVM refuses (KvmVcpu answers that).
  exits.args[0] = KVM_MSR_EXIT_REASON_FILTER | KVM_MSR_EXIT_REASON_UNKNOWN | KVM_MSR_EXIT_REASON_INVAL;
  TRY(kvm_ioctl(vm_fd, KVM_ENABLE_CAP, "KVM_ENABLE_CAP of KVM_CAP_X86_USER_SPACE_MSR", &exits));

  std::array<uint8_t, std::size(kGroups)> bitmaps{};
  kvm_msr_filter filter{};
  filter.flags = KVM_MSR_FILTER_DEFAULT_DENY;
  for (size_t i = 0; i < std::size(kGroups); ++i) {
    bitmaps[i] = group_bitmap(kGroups[i]);
    filter.ranges[i].flags = KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE;
    filter.ranges[i].base = kGroups[i].base;
    filter.ranges[i].nmsrs = kGroups[i].count;
    filter.ranges[i].bitmap = &bitmaps[i];
  }
  TRY(kvm_ioctl(vm_fd, KVM_X86_SET_MSR_FILTER, "KVM_X86_SET_MSR_FILTER", &filter));
  return {};
}

}  // namespace dejavm::kvm
