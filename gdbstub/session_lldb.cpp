// What LLDB asks beyond GDB's packets (LLDB's document "lldb-gdb-remote").
#include <algorithm>

#include "gdbstub/hex.h"
#include "gdbstub/packet.h"
#include "gdbstub/register_table.h"
#include "gdbstub/registers.h"
#include "gdbstub/replies.h"
#include "gdbstub/session.h"

namespace dejavm::gdb {

namespace {

constexpr const char* kTriple = "x86_64-unknown-unknown";
constexpr unsigned kWatchpoints = 1024;  // any number; LLDB wants one
constexpr uint64_t kMostPages = 512;     // looked at for one answer
constexpr uint64_t kLowHalfEnd = uint64_t{1} << 47, kHighHalf = ~(kLowHalfEnd - 1);

/// What LLDB calls a register that has a part in every calling convention; empty: none.
std::string_view generic_name(unsigned number) {
  switch (number) {
    case kRip:
      return "pc";
    case kRsp:
      return "sp";
    case kRbp:
      return "fp";
    case kEflags:
      return "flags";
    default:
      return "";
  }
}

/// The numbers of the System V psABI ("DWARF Register Number Mapping") for rax to r15 and rip.
unsigned dwarf_number(unsigned number) {
  constexpr std::array<uint8_t, 8> kFirst = {0, 3, 2, 1, 4, 5, 6, 7};  // rax rbx rcx rdx rsi rdi rbp rsp
  return number < kFirst.size() ? kFirst[number] : number;
}

bool is_float(unsigned number) { return number >= kFirstSt && number < kFctrl; }

std::string_view set_name(Feature feature) {
  switch (feature) {
    case Feature::core:
      return "General Purpose Registers";
    case Feature::segments:
    case Feature::system:
      return "System Registers";
    case Feature::sse:
    case Feature::mmx:
      return "Floating Point Registers";
  }
  return "Other Registers";
}

/// The bytes of linear pages from `addr` on that all lead to the same region, or all to none.
struct Extent {
  uint64_t first = 0, last = 0;
  const PhysicalRegion* region = nullptr;  // of the Regions that were asked; none: nothing is there
};

class Regions {
 public:
  explicit Regions(Target& target) : target_(target), all_(target.physical_regions()) {}

  Extent around(uint64_t addr) const& {
    if (addr >= kLowHalfEnd && addr < kHighHalf) return {kLowHalfEnd, kHighHalf - 1, nullptr};
    const uint64_t first = addr & ~(vm::kPageSize - 1);
    Extent extent{first, first + (vm::kPageSize - 1), at(first)};
    for (uint64_t pages = 1; pages < kMostPages && extent.last != UINT64_MAX && at(extent.last + 1) == extent.region;
         ++pages) {
      extent.last += vm::kPageSize;
    }
    return extent;
  }

 private:
  const PhysicalRegion* at(uint64_t linear) const {
    const auto gpa = target_.translate({linear});
    if (!gpa) return nullptr;
    const auto found = std::find_if(all_.begin(), all_.end(), [&](const PhysicalRegion& region) {
      return region.first <= gpa->value && gpa->value <= region.last;
    });
    return found == all_.end() ? nullptr : &*found;
  }

  Target& target_;
  const std::vector<PhysicalRegion> all_;
};

}  // namespace

Outcome Session::on(const QueryHost&) {
  return Outcome::reply(fmt::format("triple:{};ptrsize:8;endian:little;", to_hex(kTriple)));
}

Outcome Session::on(const QueryProcess&) {
  return Outcome::reply(
      fmt::format("pid:1;triple:{};ostype:unknown;vendor:unknown;endian:little;ptrsize:8;", to_hex(kTriple)));
}

Outcome Session::on(const DescribeRegister& request) {
  if (request.index >= kRegisters.size()) return Outcome::reply("E45");
  const auto number = static_cast<unsigned>(request.index);
  const RegisterInfo& info = kRegisters[number];
  unsigned offset = 0;
  for (unsigned i = 0; i < number; ++i) offset += kRegisters[i].size;
  const bool vector = info.size == 16;
  std::string text = fmt::format("name:{};bitsize:{};offset:{};encoding:{};format:{};set:{};", info.name, info.size * 8,
                                 offset, vector ? "vector" : (is_float(number) ? "ieee754" : "uint"),
                                 vector ? "vector-uint8" : (is_float(number) ? "float" : "hex"), set_name(info.feature));
  if (number <= kRip) text += fmt::format("ehframe:{0};dwarf:{0};", dwarf_number(number));
  if (!generic_name(number).empty()) text += fmt::format("generic:{};", generic_name(number));
  return Outcome::reply(text);
}

Outcome Session::on(const DescribeMemory& request) {
  const Regions regions(target_);
  const Extent extent = regions.around(request.addr);
  std::string text = fmt::format("start:{:x};size:{:x};", extent.first, extent.last - extent.first + 1);
  if (extent.region != nullptr) {
    const bool rom = extent.region->kind == PhysicalRegion::Kind::rom;
    text += fmt::format("permissions:{};", rom ? "rx" : "rwx");
    if (!extent.region->name.empty()) text += fmt::format("name:{};", to_hex(extent.region->name));
  }
  return Outcome::reply(text);
}

Outcome Session::on(const QueryWatchpoints&) { return Outcome::reply(fmt::format("num:{};", kWatchpoints)); }
Outcome Session::on(const UseThreadSuffix&) { return Outcome::reply("OK"); }

Outcome Session::on(const ListThreadsInStops&) {
  lists_threads_ = true;
  return Outcome::reply("OK");
}

Outcome Session::on(const UseErrorTexts&) {
  error_texts_ = true;
  return Outcome::reply("OK");
}

Outcome Session::on(const DescribeThreads&) {
  const auto state = target_.registers();
  if (!state) return Outcome::reply(refusal(state.error()));
  std::string registers;
  for (const unsigned number : {kRbp, kRsp, kRip}) {
    registers += fmt::format("{}\"{}\":\"{}\"", registers.empty() ? "" : ",", number, to_hex(read_register(*state, number)));
  }
  const std::string json = fmt::format(R"([{{"tid":1,"name":"CPU#0","reason":"{}","registers":{{{}}}}}])",
                                       last_stop_ && last_stop_->kind == Stop::Kind::step ? "trace" : "none", registers);
  size_t taken = 0;
  return Outcome::reply(escape(json, kMaxPayload, taken));
}

}  // namespace dejavm::gdb
