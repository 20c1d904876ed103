// Where a 64-bit Linux kernel executes RDTSC.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::record {

/// The part of the kernel's linear map around RIP that is mapped without a gap to guest memory without a gap.
struct KernelImage {
  uint64_t start = 0;   ///< linear
  uint64_t offset = 0;  ///< in the backing
  uint64_t size = 0;
};
inline constexpr uint64_t kMaxKernelImage = uint64_t{64} << 20;

/// Linux links its kernel to the last two GiB of the address space. Size 0: RIP is not there, or not in 64-bit code.
KernelImage find_kernel_image(const vm::CpuState& cpu, const vm::GuestMemory& memory);

/// Offsets in the image of the two-byte instructions RDTSC, ascending. Bytes that only look like one are told apart by
/// decoding the pages around them: they must be instructions throughout whose calls go to the image. Embedded ELF images
/// (the vDSO, which is the users') are left out; the text that Linux's alternatives put over others (LFENCE, RDTSC) is
/// taken.
std::vector<uint64_t> find_rdtsc_sites(ByteSpan image);

}  // namespace dejavm::record
