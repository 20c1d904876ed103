// <linux/kvm.h> with the layout that the kernel has (Documentation/virt/kvm/api.rst).
#pragma once

#include <linux/stddef.h>

// In C++ the kernel headers' flexible arrays become a struct with an empty member of size 1, which moves what follows and
// changes the size that is part of an ioctl number. A zero-length array has the layout of C.
#undef __DECLARE_FLEX_ARRAY
#define __DECLARE_FLEX_ARRAY(type, name) type name[0]

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#include <linux/kvm.h>
#pragma GCC diagnostic pop

#include <cstddef>
#include <cstdint>

namespace dejavm::kvm {

static_assert(sizeof(kvm_cpuid2) == 8 && sizeof(kvm_cpuid_entry2) == 40);
static_assert(sizeof(kvm_msrs) == 8 && sizeof(kvm_msr_entry) == 16);
static_assert(sizeof(kvm_msr_list) == 4);
static_assert(sizeof(kvm_signal_mask) == 4);
static_assert(sizeof(kvm_xsave) == 4096);
static_assert(sizeof(kvm_dirty_log) == 16);
static_assert(offsetof(kvm_run, mmio) == 32 && offsetof(kvm_run, s) == 304);

/// kvm_msrs with its entries, for KVM_GET_MSRS and KVM_SET_MSRS.
template <size_t kCount>
struct MsrTable {
  uint32_t nmsrs = kCount;
  uint32_t pad = 0;
  kvm_msr_entry entries[kCount]{};
};
static_assert(offsetof(MsrTable<2>, entries) == sizeof(kvm_msrs));

/// kvm_cpuid2 with its entries, for KVM_SET_CPUID2; KVM takes at most 256.
struct CpuidTable {
  static constexpr size_t kMax = 256;
  uint32_t nent = 0;
  uint32_t padding = 0;
  kvm_cpuid_entry2 entries[kMax]{};
};
static_assert(offsetof(CpuidTable, entries) == sizeof(kvm_cpuid2));

}  // namespace dejavm::kvm
