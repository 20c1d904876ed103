#include "soft_fixture.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kPresentWritableUser = 0x27, kLargePage = 0xe7;

vm::GuestMemory make_memory() {
  auto memory = vm::GuestMemory::create(kRamSize, 0);
  EXPECT_TRUE(memory.has_value());
  EXPECT_TRUE(memory->set_map({{.base = {0}, .size = kRamSize, .offset = 0, .writable = true}}).has_value());
  return std::move(*memory);
}

}  // namespace

SoftGuest::SoftGuest(const vm::CpuModel& model) : model_(model), memory_(make_memory()), core_(memory_, model_) {
  static constexpr uint64_t kDescriptors[] = {0,
                                              0x00af9b000000ffff,
                                              0x00cf93000000ffff,
                                              0x00cf9b000000ffff,
                                              0x000f9b000000ffff,
                                              0x00affb000000ffff,
                                              0x00cff3000000ffff,
                                              0x00cffb000000ffff,
                                              0x0000890a00000067,
                                              0};
  for (size_t i = 0; i < std::size(kDescriptors); ++i) poke(kGdt + 8 * i, kDescriptors[i]);
  poke(kTables, (kTables + 0x1000) | kPresentWritableUser);
  poke(kTables + 0x1000, (kTables + 0x2000) | kPresentWritableUser);
  poke(kTables + 0x1000 + 3 * 8, (kTables + 0x3000) | kPresentWritableUser);
  poke(kTables + 0x2000, kLargePage);
  poke(kTables + 0x3000, kDevice | kLargePage);
  poke(kHandler, 0xf4, 1);
}

void SoftGuest::start(vm::CpuState state) {
  state.gpr.fill(0);
  state.gpr[vm::rsp] = kStack;
  state.rip = kCode;
  core_.set_state(state);
}

void SoftGuest::real_mode() {
  for (uint64_t vector = 0; vector < 256; ++vector) poke(4 * vector, kHandler, 4);
  vm::CpuState state = vm::reset_state();
  state.segment[vm::cs].selector = 0;
  state.segment[vm::cs].base = 0;
  start(state);
}

void SoftGuest::protected_mode() {
  for (uint64_t vector = 0; vector < 64; ++vector)
    poke(kIdt + 8 * vector, kHandler | uint64_t{kCode32} << 16 | uint64_t{0x8e} << 40);
  vm::CpuState state = vm::reset_state();
  vm::Segment data{.limit = 0xffffffff, .selector = kFlatData, .type = 3, .s = 1, .present = 1, .db = 1, .g = 1};
  state.segment.fill(data);
  state.segment[vm::cs] = {.limit = 0xffffffff, .selector = kCode32, .type = 11, .s = 1, .present = 1, .db = 1, .g = 1};
  state.gdt = {kGdt, 10 * 8 - 1};
  state.idt = {kIdt, 64 * 8 - 1};
  state.cr0 = 0x11;
  state.cr4 = 0x600;
  start(state);
}

void SoftGuest::long_mode() {
  for (uint64_t vector = 0; vector < 64; ++vector) {
    poke(kIdt + 16 * vector, kHandler | uint64_t{kCode64} << 16 | uint64_t{0x8e} << 40);
    poke(kIdt + 16 * vector + 8, 0);
  }
  vm::CpuState state = vm::reset_state();
  vm::Segment data{.limit = 0xffffffff, .selector = kFlatData, .type = 3, .s = 1, .present = 1, .db = 1, .g = 1};
  state.segment.fill(data);
  state.segment[vm::cs] = {.limit = 0xffffffff, .selector = kCode64, .type = 11, .s = 1, .present = 1, .l = 1, .g = 1};
  state.gdt = {kGdt, 10 * 8 - 1};
  state.idt = {kIdt, 64 * 16 - 1};
  state.cr0 = 0x80000031;
  state.cr3 = kTables;
  state.cr4 = 0x620;
  state.efer = 0x501;
  start(state);
}

void SoftGuest::map_small_pages(uint64_t tables, std::initializer_list<uint64_t> pages) {
  constexpr uint64_t kUntouched = 7;  // present, writable, user; not accessed yet
  poke(tables, (tables + 0x1000) | kUntouched);
  poke(tables + 0x1000, (kTables + 0x2000) | kUntouched);
  poke(tables + 0x1000 + 8, (tables + 0x2000) | kUntouched);
  poke(tables + 0x2000, (tables + 0x3000) | kUntouched);
  uint64_t entry = tables + 0x3000;
  for (uint64_t page : pages) {
    poke(entry, page | kUntouched);
    entry += 8;
  }
}

void SoftGuest::code(std::initializer_list<int> bytes, uint64_t at) {
  std::vector<uint8_t> copy;
  for (int byte : bytes) copy.push_back(static_cast<uint8_t>(byte));
  code(copy, at);
}

void SoftGuest::code(const std::vector<uint8_t>& bytes, uint64_t at) {
  EXPECT_TRUE(memory_.write({at}, bytes, vm::Writer::loader).has_value());
}

void SoftGuest::poke(uint64_t gpa, uint64_t value, size_t size) {
  EXPECT_TRUE(memory_.write({gpa}, {reinterpret_cast<const uint8_t*>(&value), size}, vm::Writer::loader).has_value());
}

uint64_t SoftGuest::peek(uint64_t gpa, size_t size) const {
  uint64_t value = 0;
  EXPECT_TRUE(memory_.read({gpa}, {reinterpret_cast<uint8_t*>(&value), size}).has_value());
  return value;
}

bool SoftGuest::step_quietly() {
  vm::Exit exit = step();
  return std::holds_alternative<vm::Stepped>(exit) && core_.cpu.linear_rip() != kHandler;
}

}  // namespace dejavm::soft
