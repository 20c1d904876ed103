#include "guest_image.h"

#include <cstring>
#include <iterator>
#include <random>

#include "random_value.h"

namespace dejavm::differential {
namespace {

constexpr uint16_t kCode64 = 0x08, kFlatData = 0x10, kCode32 = 0x18, kUserData = 0x23, kUserCode64 = 0x2b,
                   kTssSelector = 0x30;
constexpr uint64_t kDescriptors[] = {0,
                                     0x00af9b000000ffff,
                                     0x00cf93000000ffff,
                                     0x00cf9b000000ffff,
                                     0x00cff3000000ffff,
                                     0x00affb000000ffff,
                                     uint64_t{0x67} | kTss << 16 | uint64_t{0x8b} << 40,
                                     0};
constexpr uint64_t kPage = 0x1000;
constexpr uint64_t kWritable = 2, kUser = 4, kNoExecute = uint64_t{1} << 63;
constexpr uint64_t kPresent = 0x61;  // accessed and dirty already: KVM's emulator and hardware set them at other times
constexpr uint64_t kLargePage = 0xe3;
constexpr uint64_t kDevices = 0xc0000000;

void put(GuestImage& image, uint64_t gpa, uint64_t value, size_t size = 8) {
  std::memcpy(image.ram.data() + gpa, &value, size);
}

/// Tables and handlers are the supervisor's, code is the user's; nothing in kData can be executed.
uint64_t page_entry(Mode mode, uint64_t page) {
  bool user = mode == Mode::user64;
  if (page >= kRamSize / kPage) return user ? 0 : page * kPage | kPresent | kWritable;  // a device
  bool data = page >= kData / kPage && page < (kData + kDataSize) / kPage;
  if (page == kAbsentPage) return 0;
  uint64_t entry = page * kPage | kPresent;
  if (page != kReadOnlyPage) entry |= kWritable;
  if (page >= kCode / kPage && page != kSupervisorPage) entry |= kUser;
  return data ? entry | kNoExecute : entry;
}

void put_page_tables(GuestImage& image) {
  constexpr uint64_t kTable = kPresent | kWritable | kUser;
  std::memset(image.ram.data() + kTables, 0, 5 * kPage);
  put(image, kTables, (kTables + kPage) | kTable);
  put(image, kTables + kPage, (kTables + 2 * kPage) | kTable);
  put(image, kTables + kPage + 3 * 8, (kTables + 4 * kPage) | kTable);
  put(image, kTables + 2 * kPage, (kTables + 3 * kPage) | kTable);
  for (uint64_t page = 0; page < 512; ++page) put(image, kTables + 3 * kPage + 8 * page, page_entry(image.mode, page));
  if (image.mode != Mode::user64) put(image, kTables + 4 * kPage, kDevices | kLargePage);
}

void put_handlers(GuestImage& image) {
  for (uint64_t vector = 0; vector < kVectors; ++vector) {
    uint64_t handler = kHandlers + kHandlerSize * vector;
    if (image.mode == Mode::real16) {
      put(image, 4 * vector, handler, 4);
    } else if (image.mode == Mode::flat32) {
      put(image, kIdt + 8 * vector, handler | uint64_t{kCode32} << 16 | uint64_t{0x8e} << 40);
    } else {
      put(image, kIdt + 16 * vector, handler | uint64_t{kCode64} << 16 | uint64_t{0x8e} << 40);
      put(image, kIdt + 16 * vector + 8, 0);
    }
  }
}

vm::CpuState real_start() {
  vm::CpuState state = vm::reset_state();
  for (unsigned i = 0; i < 6; ++i) {
    state.segment[i].base = i == vm::cs ? kCode : kData;
    state.segment[i].selector = static_cast<uint16_t>(state.segment[i].base >> 4);
  }
  state.rip = 0;
  state.gpr[vm::rsp] = kStack - kData;
  return state;
}

vm::CpuState protected_start(Mode mode) {
  vm::CpuState state = vm::reset_state();
  state.rip = kCode;
  state.gpr[vm::rsp] = kStack;
  bool long_mode = mode != Mode::flat32, user = mode == Mode::user64;
  auto dpl = static_cast<uint8_t>(user ? 3 : 0);
  vm::Segment data{.limit = 0xffffffff,
                   .selector = user ? kUserData : kFlatData,
                   .type = 3,
                   .s = 1,
                   .dpl = dpl,
                   .present = 1,
                   .db = 1,
                   .g = 1};
  state.segment.fill(data);
  vm::Segment& code = state.segment[vm::cs];
  code.type = 11;
  code.selector = user ? kUserCode64 : long_mode ? kCode64 : kCode32;
  code.l = long_mode ? 1 : 0;
  code.db = long_mode ? 0 : 1;
  state.gdt = {kGdt, sizeof kDescriptors - 1};
  state.idt = {kIdt, static_cast<uint16_t>((long_mode ? 16 : 8) * kVectors - 1)};
  state.tr = {.base = kTss, .limit = 0x67, .selector = kTssSelector, .type = 11, .s = 0, .present = 1};
  state.cr0 = long_mode ? 0x80010031 : 0x31;
  state.cr4 = long_mode ? 0x620 : 0x600;
  if (user) state.rflags |= vm::kRflagsIf;  // what user code sees where KVM runs it natively
  if (long_mode) {
    state.cr3 = kTables;
    state.efer = 0xd01;
  }
  return state;
}

}  // namespace

const char* name(Mode mode) {
  switch (mode) {
    case Mode::real16:
      return "real16";
    case Mode::flat32:
      return "flat32";
    case Mode::long64:
      return "long64";
    case Mode::user64:
      return "user64";
  }
  return "";
}

unsigned code_bits(Mode mode) { return mode == Mode::real16 ? 16 : mode == Mode::flat32 ? 32 : 64; }

GuestImage make_image(Mode mode, bool on_tcg) {
  GuestImage image{.mode = mode, .on_tcg = on_tcg, .ram = std::vector<uint8_t>(kRamSize, kHalt), .start = {}};
  std::mt19937_64 random(0);
  for (uint64_t at = kData; at < kData + kDataSize; at += 8) put(image, at, random_value(random, mode));
  if (has_paging(mode)) put_page_tables(image);
  for (size_t i = 0; i < std::size(kDescriptors); ++i) put(image, kGdt + 8 * i, kDescriptors[i]);
  std::memset(image.ram.data() + kTss, 0, 0x68);
  put(image, kTss + 4, kKernelStack);
  put_handlers(image);
  image.start = mode == Mode::real16 ? real_start() : protected_start(mode);
  return image;
}

}  // namespace dejavm::differential
