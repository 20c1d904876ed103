#include "system_fixture.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kInterruptGate = uint64_t{0x8e} << 40;
constexpr uint64_t handler(uint64_t vector) { return kHandlers + 16 * vector; }

}  // namespace

void SystemTest::real_mode() {
  guest.real_mode();
  for (uint64_t vector = 0; vector < 64; ++vector) guest.poke(4 * vector, handler(vector), 4);
}

void SystemTest::protected_mode() {
  guest.protected_mode();
  for (uint64_t vector = 0; vector < 64; ++vector) {
    guest.poke(kIdt + 8 * vector, handler(vector) | uint64_t{kCode32} << 16 | kInterruptGate);
  }
  guest.poke(kTssBase + 4, kInnerStack, 4);
  guest.poke(kTssBase + 8, kFlatData, 4);
  guest.cpu().tr = {.base = kTssBase, .limit = 0x67, .selector = kTss, .type = 11, .present = 1};
  guest.cpu().gdt.limit = 0xfff;
}

void SystemTest::long_mode() {
  guest.long_mode();
  for (uint64_t vector = 0; vector < 64; ++vector) {
    guest.poke(kIdt + 16 * vector, handler(vector) | uint64_t{kCode64} << 16 | kInterruptGate);
  }
  guest.poke(kTssBase + 4, kInnerStack);
  guest.cpu().tr = {.base = kTssBase, .limit = 0x67, .selector = kTss, .type = 11, .present = 1};
  guest.cpu().gdt.limit = 0xfff;
}

void SystemTest::user_mode() {
  bool long_mode = guest.core().code_bits() == 64;
  segment(vm::cs).selector = long_mode ? kUserCode64 : kUserCode32;
  segment(vm::cs).dpl = 3;
  segment(vm::ss).selector = kUserData;
  segment(vm::ss).dpl = 3;
  for (vm::SegmentName name : {vm::ds, vm::es, vm::fs, vm::gs}) segment(name) = segment(vm::ss);
  guest.core().state_changed();
}

void SystemTest::virtual_8086_mode(unsigned iopl) {
  vm::Segment shifted{.limit = 0xffff, .type = 3, .s = 1, .dpl = 3, .present = 1};
  guest.cpu().segment.fill(shifted);
  segment(vm::cs).selector = kCode >> 4;
  segment(vm::cs).base = kCode;
  guest.cpu().rip = 0;
  guest.cpu().rflags |= uint64_t{1} << 17 | uint64_t{iopl} << 12;
  guest.core().state_changed();
}

void SystemTest::gate(uint8_t vector, uint64_t low, uint64_t high) {
  bool long_mode = guest.core().long_mode_active();
  guest.poke(kIdt + (long_mode ? 16u : 8u) * vector, low);
  if (long_mode) guest.poke(kIdt + 16u * vector + 8, high);
}

void SystemTest::execute(std::initializer_list<int> bytes) {
  guest.code(bytes, guest.cpu().linear_rip());
  EXPECT_TRUE(std::holds_alternative<vm::Stepped>(guest.step()));
}

int SystemTest::vector() {
  uint64_t rip = guest.cpu().linear_rip();
  bool in_handlers = rip >= kHandlers && rip < handler(64) && rip % 16 == 0;
  return in_handlers ? static_cast<int>((rip - kHandlers) / 16) : -1;
}

vm::CpuModel rich_model() {
  vm::CpuModel model = vm::dejavm64_v1();
  for (vm::CpuidLeaf& leaf : model.cpuid) {
    if (leaf.function == 1) {
      leaf.ecx |= 1u << 30;
      leaf.edx |= 1u << 4;
    }
    if (leaf.function == 0x80000001) leaf.edx |= 1u << 27;
  }
  model.cpuid.push_back({.function = 7, .ebx = 1u << 0 | 1u << 18 | 1u << 20, .ecx = 1u << 2});
  return model;
}

}  // namespace dejavm::soft
