#include "record/rdtsc_sites.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "vm/translate.h"

namespace dejavm::record {
namespace {

constexpr uint64_t kKernelStart = 0xffffffff80000000;
constexpr uint64_t kPage = vm::kPageSize;
constexpr std::array<uint8_t, 2> kRdtsc = {0x0f, 0x31};
/// LFENCE; RDTSC; RDTSCP: the two replacements of an alternative stand side by side.
constexpr std::array<uint8_t, 8> kAlternative = {0x0f, 0xae, 0xe8, 0x0f, 0x31, 0x0f, 0x01, 0xf9};
constexpr size_t kAlternativeRdtsc = 3;

struct Range {
  uint64_t first = 0, end = 0;
};

/// Shared objects of less than 128 KiB that start at a page, up to the end of their section headers (ELF-64, ELF-32).
std::vector<Range> embedded_objects(ByteSpan image) {
  constexpr std::array<uint8_t, 4> kMagic = {0x7f, 'E', 'L', 'F'};
  constexpr uint8_t kClass32 = 1, kClass64 = 2, kShared = 3;
  constexpr uint64_t kLargest = 0x20000;
  std::vector<Range> objects;
  for (uint64_t at = 0; at + kPage <= image.size(); at += kPage) {
    const uint8_t* elf = image.data() + at;
    if (!std::equal(kMagic.begin(), kMagic.end(), elf) || elf[16] != kShared) continue;
    if (elf[4] != kClass32 && elf[4] != kClass64) continue;
    bool wide = elf[4] == kClass64;
    uint64_t table = wide ? load_le<uint64_t>(elf + 40) : load_le<uint32_t>(elf + 32);
    uint64_t entries = uint64_t{load_le<uint16_t>(elf + (wide ? 58 : 46))} * load_le<uint16_t>(elf + (wide ? 60 : 48));
    if (table >= kLargest || table + entries >= kLargest) continue;
    objects.push_back({at, at + ((table + entries + kPage - 1) & ~(kPage - 1))});
  }
  return objects;
}

/// What decoding three pages around one shows.
struct Sweep {
  std::vector<uint64_t> sites;  // where RDTSC is an instruction
  bool is_code = false;
};

Sweep sweep(ByteSpan image, uint64_t page) {
  constexpr unsigned kEnoughCalls = 6, kPercentInside = 97, kMostErrors = 4;
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  ZydisDecoderEnableMode(&decoder, ZYDIS_DECODER_MODE_MINIMAL, ZYAN_TRUE);
  Sweep found;
  unsigned calls = 0, inside = 0, errors = 0;
  uint64_t at = page == 0 ? 0 : (page - 1) * kPage, end = std::min<uint64_t>((page + 2) * kPage, image.size());
  while (at < end) {
    ZydisDecodedInstruction insn;
    ZydisDecoderContext context;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, &context, image.data() + at, image.size() - at, &insn))) {
      ++errors;
      ++at;
      continue;
    }
    constexpr uint8_t kCall = 0xe8;
    if (insn.length == 2 && std::equal(kRdtsc.begin(), kRdtsc.end(), image.begin() + static_cast<ptrdiff_t>(at))) {
      found.sites.push_back(at);
    } else if (insn.length == 5 && image[at] == kCall) {
      ++calls;
      uint64_t target = at + 5 + static_cast<uint64_t>(int64_t{load_le<int32_t>(image.data() + at + 1)});
      if (target < image.size()) ++inside;
    }
    at += insn.length;
  }
  found.is_code = calls >= kEnoughCalls && inside * 100 >= calls * kPercentInside && errors <= kMostErrors;
  return found;
}

bool is_alternative(ByteSpan image, uint64_t at) {
  if (at < kAlternativeRdtsc || at - kAlternativeRdtsc + kAlternative.size() > image.size()) return false;
  return std::equal(kAlternative.begin(), kAlternative.end(),
                    image.begin() + static_cast<ptrdiff_t>(at - kAlternativeRdtsc));
}

}  // namespace

KernelImage find_kernel_image(const vm::CpuState& cpu, const vm::GuestMemory& memory) {
  if (cpu.code_bits() != 64 || cpu.rip < kKernelStart) return {};
  uint64_t page = cpu.rip & ~(kPage - 1);
  auto here = vm::backing_offset(cpu, memory, {page});
  if (!here) return {};
  KernelImage image{page, *here, kPage};
  while (image.size < kMaxKernelImage && image.start > kKernelStart &&
         vm::backing_offset(cpu, memory, {image.start - kPage}) == image.offset - kPage) {
    image.start -= kPage;
    image.offset -= kPage;
    image.size += kPage;
  }
  while (image.size < kMaxKernelImage && image.start + image.size != 0 &&
         vm::backing_offset(cpu, memory, {image.start + image.size}) == image.offset + image.size) {
    image.size += kPage;
  }
  return image;
}

std::vector<uint64_t> find_rdtsc_sites(ByteSpan image) {
  std::vector<Range> objects = embedded_objects(image);
  std::map<uint64_t, Sweep> sweeps;
  std::vector<uint64_t> sites;
  for (auto next = image.begin();; ++next) {
    next = std::search(next, image.end(), kRdtsc.begin(), kRdtsc.end());
    if (next == image.end()) return sites;
    auto at = static_cast<uint64_t>(next - image.begin());
    if (std::any_of(objects.begin(), objects.end(), [&](const Range& r) { return at >= r.first && at < r.end; })) continue;
    if (is_alternative(image, at)) {
      sites.push_back(at);
      continue;
    }
    auto [entry, is_new] = sweeps.try_emplace(at / kPage);
    if (is_new) entry->second = sweep(image, at / kPage);
    const Sweep& found = entry->second;
    if (found.is_code && std::binary_search(found.sites.begin(), found.sites.end(), at)) sites.push_back(at);
  }
}

}  // namespace dejavm::record
