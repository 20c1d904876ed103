#include "vm/loader/linux_params.h"

#include <algorithm>

#include "base/check.h"

namespace dejavm::loader {
namespace {

constexpr uint64_t kZeroPageSize = 4096;
constexpr uint64_t kAcpiRsdp = 0x70, kE820Count = 0x1e8, kE820Table = 0x2d0, kE820Entry = 20, kE820Most = 128;
constexpr uint64_t kTypeOfLoader = 0x210, kLoadFlags = 0x211, kRamdiskImage = 0x218, kRamdiskSize = 0x21c,
                   kCommandLinePointer = 0x228;
constexpr uint8_t kUnknownLoader = 0xff;
constexpr uint8_t kLoadedHigh = 0x01;

Result<uint64_t> put_initrd(BootPlan& plan, BootMemory& memory, const NamedFile& initrd, uint64_t reach) {
  uint64_t end = std::min(reach + 1, kBelow4g);
  TRY_ASSIGN(uint64_t at, memory.take_highest(initrd.bytes.size(), vm::kPageSize, kHighLeast, end,
                                              fmt::format("the initial RAM disk {}", initrd.name)));
  plan.add(at, initrd.bytes);
  return at;
}

}  // namespace

Result<uint64_t> put_linux_params(BootPlan& plan, BootMemory& memory, const BootRequest& request, ByteSpan setup_header,
                                  uint64_t reach) {
  if (request.initrd.size() > 1) return fail_usage("-initrd: Linux takes one file", "Several are for multiboot kernels.");
  CHECK(kSetupHeader + setup_header.size() <= kE820Table);
  CHECK(memory.areas().size() <= kE820Most);
  Bytes page(kZeroPageSize);
  std::copy(setup_header.begin(), setup_header.end(), page.begin() + kSetupHeader);
  page[kTypeOfLoader] = kUnknownLoader;
  page[kLoadFlags] |= kLoadedHigh;
  // Not what the file holds there: both are the loader's to fill.
  store_le<uint32_t>(&page[kRamdiskImage], 0);
  store_le<uint32_t>(&page[kRamdiskSize], 0);
  if (!request.initrd.empty() && !request.initrd[0].bytes.empty()) {
    TRY_ASSIGN(uint64_t at, put_initrd(plan, memory, request.initrd[0], reach));
    store_le(&page[kRamdiskImage], static_cast<uint32_t>(at));
    store_le(&page[kRamdiskSize], static_cast<uint32_t>(request.initrd[0].bytes.size()));
  }
  TRY_ASSIGN(uint64_t command_line, put_command_line(plan, memory, request.command_line));
  store_le(&page[kCommandLinePointer], static_cast<uint32_t>(command_line));
  store_le(&page[kAcpiRsdp], request.acpi_rsdp);
  page[kE820Count] = static_cast<uint8_t>(memory.areas().size());
  uint8_t* entry = &page[kE820Table];
  for (const MemoryArea& area : memory.areas()) {
    store_le(entry, area.base);
    store_le(entry + 8, area.size);
    store_le<uint32_t>(entry + 16, area.usable ? 1 : 2);
    entry += kE820Entry;
  }
  return put_low(plan, memory, std::move(page), "the zero page");
}

}  // namespace dejavm::loader
