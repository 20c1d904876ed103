#include "vm/loader/bzimage.h"

#include <algorithm>

#include "vm/loader/image.h"
#include "vm/loader/linux_params.h"

namespace dejavm::loader {
namespace {

constexpr uint64_t kSetupSects = 0x1f1, kBootFlag = 0x1fe, kHeaderEnd = 0x201, kMagic = 0x202, kVersion = 0x206,
                   kKernelVersion = 0x20e, kLoadFlags = 0x211, kCode32Start = 0x214, kInitrdAddrMax = 0x22c,
                   kKernelAlignment = 0x230, kRelocatable = 0x234, kXloadFlags = 0x236, kCmdlineSize = 0x238,
                   kPrefAddress = 0x258, kInitSize = 0x260;
constexpr uint32_t kHdrS = 0x53726448;
constexpr uint16_t kBootFlagValue = 0xaa55;
constexpr uint64_t kSector = 512;
constexpr uint16_t kOldest = 0x20a;  // pref_address and init_size: Linux 2.6.31
constexpr uint16_t kXloadFlagsSince = 0x20c;
constexpr uint8_t kLoadedHigh = 1;
constexpr uint16_t kXlfKernel64 = 1;
constexpr uint64_t kEntry64 = 0x200;     // behind the start of the protected-mode kernel
constexpr uint64_t kHeaderMost = 0x290;  // the zero page's E820 table and its neighbours begin behind
constexpr uint64_t kVersionTextMost = 60;

struct Header {
  ByteSpan setup;   // from kSetupHeader to the header's end
  ByteSpan kernel;  // the protected-mode part
  uint16_t version = 0;
  bool has_entry64 = false;
  bool relocatable = false;
  uint32_t alignment = 0;
  uint32_t cmdline_size = 0;
  uint32_t initrd_addr_max = 0;
  uint64_t pref_address = 0;
  uint32_t init_size = 0;
  std::string kernel_version;
};

std::string version_text(const Image& image) {
  uint16_t pointer = image.field_or_zero<uint16_t>(kKernelVersion);
  std::string text;
  for (uint64_t at = uint64_t{pointer} + kSector; pointer != 0 && text.size() < kVersionTextMost; ++at) {
    auto letter = image.field_or_zero<char>(at);
    if (letter <= ' ' || letter > '~') break;
    text += letter;
  }
  return text.empty() ? "of unknown version" : text;
}

Result<Header> parse(const Image& image) {
  Header h;
  TRY_ASSIGN(h.version, image.field<uint16_t>(kVersion, "the setup header"));
  TRY_ASSIGN(uint8_t load_flags, image.field<uint8_t>(kLoadFlags, "the setup header"));
  if (h.version < kOldest || (load_flags & kLoadedHigh) == 0) {
    return image.bad(fmt::format("a Linux kernel of boot protocol {}.{:02}{} cannot be started", h.version >> 8,
                                 h.version & 0xff, (load_flags & kLoadedHigh) == 0 ? " that is not a bzImage" : ""),
                     "dejavm starts bzImages of protocol 2.10 and later (Linux 2.6.31).");
  }
  TRY_ASSIGN(uint8_t length, image.field<uint8_t>(kHeaderEnd, "the setup header"));
  uint64_t end = std::min<uint64_t>(kMagic + length, kHeaderMost);
  if (end < kInitSize + 4) {
    return image.bad(fmt::format("the setup header ends at {:#x}, before its field init_size", end),
                     "The file is damaged: build or fetch it again.");
  }
  TRY_ASSIGN(h.setup, image.range(kSetupHeader, end - kSetupHeader, "the setup header"));
  auto sectors = image.field_or_zero<uint8_t>(kSetupSects);
  uint64_t kernel_at = (uint64_t{sectors == 0 ? uint8_t{4} : sectors} + 1) * kSector;
  if (kernel_at >= image.size()) {
    return image.bad(fmt::format("setup_sects is {}, so the kernel would begin at {:#x}, but the file has {:#x} bytes",
                                 sectors, kernel_at, image.size()),
                     "The file is cut off or damaged: build or fetch it again.");
  }
  h.kernel = image.bytes().subspan(kernel_at);
  uint16_t xload_flags = h.version >= kXloadFlagsSince ? image.field_or_zero<uint16_t>(kXloadFlags) : uint16_t{0};
  h.has_entry64 = (xload_flags & kXlfKernel64) != 0;
  h.relocatable = image.field_or_zero<uint8_t>(kRelocatable) != 0;
  h.alignment = image.field_or_zero<uint32_t>(kKernelAlignment);
  h.cmdline_size = image.field_or_zero<uint32_t>(kCmdlineSize);
  h.initrd_addr_max = image.field_or_zero<uint32_t>(kInitrdAddrMax);
  h.pref_address = image.field_or_zero<uint64_t>(kPrefAddress);
  h.init_size = image.field_or_zero<uint32_t>(kInitSize);
  h.kernel_version = version_text(image);
  return h;
}

/// Where the kernel goes; the memory that it needs before it reads its memory map (init_size) is its own.
Result<uint64_t> place_kernel(const Image& image, const Header& h, BootMemory& memory) {
  uint64_t size = std::max<uint64_t>(h.init_size, h.kernel.size());
  std::string what = fmt::format("the kernel {}", image.name());
  if (h.pref_address >= kHighLeast && h.pref_address < kBelow4g && size <= kBelow4g - h.pref_address) {
    Status taken = memory.take(h.pref_address, size, what);
    if (taken) return h.pref_address;
    if (!h.relocatable) return tl::make_unexpected(taken.error());
  } else if (!h.relocatable) {
    return image.bad(fmt::format("pref_address {:#x} with init_size {:#x} does not lie between 1 MiB and 4 GiB",
                                 h.pref_address, h.init_size),
                     "The file is damaged: build or fetch it again.");
  }
  uint64_t alignment = h.alignment;
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    return image.bad(fmt::format("kernel_alignment {:#x} is not a power of two", alignment),
                     "The file is damaged: build or fetch it again.");
  }
  return memory.take_lowest(size, alignment, kHighLeast, kBelow4g, what);
}

}  // namespace

bool is_bzimage(ByteSpan file) {
  return file.size() >= kMagic + 4 && load_le<uint16_t>(&file[kBootFlag]) == kBootFlagValue &&
         load_le<uint32_t>(&file[kMagic]) == kHdrS;
}

Result<BootPlan> plan_bzimage(const BootRequest& request) {
  Image image(request.kernel->name, request.kernel->bytes);
  TRY_ASSIGN(Header h, parse(image));
  if (request.command_line.size() > h.cmdline_size) {
    return fail_usage(fmt::format("-append: {} bytes are too long for {}", request.command_line.size(), image.name()),
                      fmt::format("This kernel takes {} bytes.", h.cmdline_size));
  }
  BootPlan plan;
  TRY_ASSIGN(BootMemory memory, put_raw_images(plan, request));
  TRY_ASSIGN(uint64_t at, place_kernel(image, h, memory));
  plan.add(at, h.kernel);
  Bytes setup(h.setup.begin(), h.setup.end());
  store_le(&setup[kCode32Start - kSetupHeader], static_cast<uint32_t>(at));
  TRY_ASSIGN(uint64_t zero_page, put_linux_params(plan, memory, request, setup, h.initrd_addr_max));
  if (h.has_entry64) {
    TRY(start_long_mode(plan, memory, at + kEntry64));
  } else {
    TRY(start_flat32(plan, memory, at));
  }
  plan.cpu.gpr[vm::rsi] = zero_page;
  plan.description = fmt::format("Linux {} at {:#x} by the {}-bit boot protocol{}", h.kernel_version, at,
                                 h.has_entry64 ? 64 : 32, initrd_text(plan, request));
  return plan;
}

}  // namespace dejavm::loader
