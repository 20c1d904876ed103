// The memory map under a running guest, and which pages it changed.
#include <gmock/gmock.h>

#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(map_write_read, 64, "mov edi, 0x40000; mov dword ptr [rdi], 0x1234; mov eax, [rdi]; out 0x80, al; mov ecx, [rdi]; hlt")
GUEST(map_rom_string, 64, "mov edi, 0x40000; mov eax, 0x55; mov ecx, 16; rep stosb; inc dword ptr [0x40000]; hlt")
GUEST(map_dirty, 64,
      "mov eax, 1; mov [0x40000], eax; mov [0x41fff], eax; mov ecx, [0x50000]; out 0x80, al; mov [0x60000], eax; hlt")
GUEST(map_loop, 64, "1: out 0x80, al; mov [0x40000], eax; jmp 1b")

constexpr uint64_t kPlace = 0x40000;
constexpr uint64_t kShadow = 0x80000;  // RAM that nothing else uses

/// RAM with a window of two pages at kPlace that shows other bytes.
std::vector<vm::MemoryRange> with_window(uint64_t backing, bool writable) {
  return {{.base = {0}, .size = kPlace, .offset = 0, .writable = true},
          {.base = {kPlace}, .size = 0x2000, .offset = backing, .writable = writable},
          {.base = {kPlace + 0x2000}, .size = kRamSize - kPlace - 0x2000, .offset = kPlace + 0x2000, .writable = true}};
}

class MemoryMap : public Contract {
 protected:
  void map(std::vector<vm::MemoryRange> ranges) { ASSERT_TRUE(machine().memory.set_map(std::move(ranges)).has_value()); }
  std::vector<uint64_t> dirty() {
    EXPECT_TRUE(vcpu().collect_dirty().has_value());
    return machine().memory.take_dirty();
  }
  /// The pages that the guest wrote since the last call. Hardware's KVM adds pages that the guest only used (page tables,
  /// code, what it read); none of those that it had nothing to do with.
  void expect_dirty(const std::vector<uint64_t>& written) {
    std::vector<uint64_t> found = dirty();
    if (GetParam() != "kvm") {
      EXPECT_EQ(found, written);
      return;
    }
    EXPECT_THAT(found, testing::IsSupersetOf(written));
    for (uint64_t unused : {0x10, 0x70, 0x90}) EXPECT_THAT(found, testing::Not(testing::Contains(unused)));
  }
};
INSTANTIATE_TEST_SUITE_P(Engines, MemoryMap, testing::Values("kvm", "soft"),
                         [](const auto& engine) { return engine.param; });

TEST_P(MemoryMap, WritesToRomAreDropped) {
  machine().start(map_write_read(), long_mode());
  map(with_window(kShadow, false));
  EXPECT_EQ(accesses_until_halt(machine(), false), std::vector{out_of(0x80, 1, 0)});
  EXPECT_EQ(machine().u64(kShadow), 0u);
}

TEST_P(MemoryMap, StringsAndReadModifyWritesToRomAreDropped) {
  machine().start(map_rom_string(), long_mode());
  map(with_window(kShadow, false));
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rcx], 0u);
  EXPECT_EQ(machine().u64(kShadow), 0u);
}

TEST_P(MemoryMap, AWriteToRomIsOneStep) {
  machine().start(map_write_read(), long_mode());
  map(with_window(kShadow, false));
  machine().run(vm::RunMode::step);
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().rip, kCode + 11);
}

TEST_P(MemoryMap, ChangesWhileTheGuestRuns) {
  machine().start(map_write_read(), long_mode());
  map(with_window(kShadow, false));
  ASSERT_TRUE(is<vm::DeviceAccess>(machine().run()));
  machine().run(vm::RunMode::complete);
  machine().load(kShadow + 0x4000, Bytes{0x78, 0x56, 0, 0});
  map(with_window(kShadow + 0x4000, true));
  EXPECT_TRUE(is<vm::Halted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rax], 0u);
  EXPECT_EQ(machine().state().gpr[vm::rcx], 0x5678u);
}

TEST_P(MemoryMap, RemovedMemoryBecomesADevice) {
  machine().start(map_loop(), long_mode());
  machine().run();
  map({{.base = {0}, .size = kPlace, .offset = 0, .writable = true}});
  vm::Exit exit = machine().run();
  ASSERT_TRUE(is<vm::DeviceAccess>(exit));
  EXPECT_EQ(std::get<vm::DeviceAccess>(exit).access, write_of(kPlace, 4, 0));
}

TEST_P(MemoryMap, WrittenPagesAreDirtyOnce) {
  machine().start(map_dirty(), long_mode());
  dirty();
  machine().run();
  machine().run(vm::RunMode::complete);
  expect_dirty({0x40, 0x41, 0x42});
  machine().run();
  expect_dirty({0x60});
}

TEST_P(MemoryMap, DirtyPagesAreThoseOfTheBacking) {
  machine().start(map_dirty(), long_mode());
  map(with_window(kShadow, true));
  dirty();
  machine().run();
  expect_dirty({0x42, 0x80, 0x81});
}

TEST_P(MemoryMap, DirtyPagesOutliveTheirRange) {
  machine().start(map_dirty(), long_mode());
  map(with_window(kShadow, true));
  dirty();
  machine().run();
  machine().run(vm::RunMode::complete);
  map(with_window(kShadow + 0x4000, true));
  machine().run();
  expect_dirty({0x42, 0x60, 0x80, 0x81});
}

TEST_P(MemoryMap, TheEndOfAnExecutedStringIsDirty) {
  machine().start(map_rom_string(), long_mode());
  dirty();
  machine().run();
  expect_dirty({0x40});
}

}  // namespace
}  // namespace dejavm::contract
