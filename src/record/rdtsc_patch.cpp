#include "record/rdtsc_patch.h"

#include <fmt/format.h>

#include <array>

#include "record/rdtsc_sites.h"

namespace dejavm::record {

bool RdtscPatch::attempt(const vm::CpuState& cpu, vm::GuestMemory& memory) {
  constexpr size_t kFewest = 10, kMost = 400;  // a kernel of Debian's has about 110
  constexpr std::array<uint8_t, 2> kRdmsr = {0x0f, 0x32};
  if (done_) return false;
  KernelImage image = find_kernel_image(cpu, memory);
  if (image.size == 0) return false;
  done_ = true;
  std::vector<uint64_t> sites = find_rdtsc_sites({memory.host(image.offset), image.size});
  if (sites.size() < kFewest || sites.size() > kMost) {
    report_ = fmt::format("rdtsc: not patched: {} sites in the code around {:#x} are not what a Linux kernel has",
                          sites.size(), cpu.rip);
    return true;
  }
  report_ = fmt::format("rdtsc: {} sites in the kernel's text at {:#x} made rdmsr:", sites.size(), image.start);
  for (uint64_t site : sites) {
    if (!memory.write_backing(image.offset + site, kRdmsr, vm::Writer::device)) continue;
    sites_.insert(image.start + site);
    report_ += fmt::format(" {:#x}", image.start + site);
  }
  return true;
}

}  // namespace dejavm::record
