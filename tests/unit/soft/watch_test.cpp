// Watchpoints of a debugger on guest memory.
#include "watch_fixture.h"

namespace dejavm::soft {
namespace {

using Watchpoints = WatchedGuest;
INSTANTIATE_TEST_SUITE_P(Soft, Watchpoints, testing::Bool(),
                         [](const auto& translated) { return translated.param ? "Translated" : "Interpreted"; });

constexpr std::initializer_list<int> kStore = {0x89, 0x04, 0x25, 0, 0, 2, 0, 0xf4};      // mov [kData], eax; hlt
constexpr std::initializer_list<int> kLoad = {0x8b, 0x04, 0x25, 0, 0, 2, 0, 0xf4};       // mov eax, [kData]; hlt
constexpr std::initializer_list<int> kIncrement = {0xff, 0x04, 0x25, 0, 0, 2, 0, 0xf4};  // inc dword [kData]; hlt
constexpr std::initializer_list<int> kStoreSmall = {0x89, 0x06, 0x90, 0xf4};             // mov [rsi], eax; nop; hlt

TEST_P(Watchpoints, AWriteStopsBehindItsInstruction) {
  guest.code(kStore);
  guest.gpr(vm::rax) = 0x12345678;
  watch({on_write(kData, 4)});

  auto hit = run_to_hit();

  ASSERT_TRUE(hit.has_value());
  EXPECT_EQ(hit->watchpoint, 0u);
  EXPECT_EQ(hit->address, kData);
  EXPECT_EQ(hit->direction, vm::Direction::write);
  EXPECT_EQ(hit->instruction.value().value, kCode);
  EXPECT_EQ(guest.cpu().rip, kCode + 7);
  EXPECT_EQ(guest.peek(kData, 4), 0x12345678u);
  EXPECT_EQ(guest.core().steps, 1u);
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, OnReadsDoNotStopWrites) {
  guest.code(kStore);
  watch({on_read(kData, 4)});
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, OnWritesDoNotStopReads) {
  guest.code(kLoad);
  watch({on_write(kData, 4)});
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, AReadStops) {
  guest.code(kLoad);
  guest.poke(kData, 77, 4);
  watch({on_read(kData + 3, 1)});

  auto hit = run_to_hit();

  ASSERT_TRUE(hit.has_value());
  EXPECT_EQ(hit->direction, vm::Direction::read);
  EXPECT_EQ(hit->address, kData + 3);
  EXPECT_EQ(guest.gpr(vm::rax), 77u);
}

TEST_P(Watchpoints, AReadModifyWriteIsBoth) {
  guest.code(kIncrement);
  watch({on_access(kData, 4)});
  EXPECT_EQ(run_to_hit()->direction, vm::Direction::write);

  change_state([](vm::CpuState& state) { state.rip = kCode; });
  watch({on_read(kData, 4)});
  EXPECT_EQ(run_to_hit()->direction, vm::Direction::read);
  EXPECT_EQ(guest.peek(kData, 4), 2u);
}

TEST_P(Watchpoints, NeighboursInThePageDoNotStop) {
  guest.code(kStore);
  watch({on_access(kData - 4, 4), on_access(kData + 4, 4)});
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, AnOverlapNamesItsFirstByteAndItsWatchpoint) {
  guest.code(kStore);
  watch({on_write(kData + 4, 8), on_write(kData + 2, 100)});

  auto hit = run_to_hit();

  ASSERT_TRUE(hit.has_value());
  EXPECT_EQ(hit->watchpoint, 1u);
  EXPECT_EQ(hit->address, kData + 2);
}

TEST_P(Watchpoints, TheFirstOfSeveralIsTold) {
  guest.code(kStore);
  watch({on_write(kData + 2, 1), on_write(kData, 8)});
  EXPECT_EQ(run_to_hit()->watchpoint, 0u);
}

TEST_P(Watchpoints, AnAccessOverTwoPagesIsSeenInEither) {
  guest.code(kStoreSmall);
  guest.gpr(vm::rsi) = kData + 0xffe;
  watch({on_write(kData + 0x1000, 1)});
  EXPECT_EQ(run_to_hit()->address, kData + 0x1000);

  change_state([](vm::CpuState& state) { state.rip = kCode; });
  watch({on_write(kData + 0xfff, 1)});
  EXPECT_EQ(run_to_hit()->address, kData + 0xfff);
}

TEST_P(Watchpoints, AHalfInAnotherPageIsNoAccessOfPhysicalPageZero) {
  guest.code(kStoreSmall);
  guest.gpr(vm::rsi) = kData + 0xffe;
  watch({physical(on_write(0, 0x1000)), on_write(kData + 0x1800, 1)});
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, AnInstructionThatFaultsHasNotAccessed) {
  guest.code({0xa4});  // movsb
  guest.gpr(vm::rsi) = kData;
  guest.gpr(vm::rdi) = kSmall;  // not mapped
  guest.code({0xf4}, kHandlers + 16 * kPageFault);
  watch({on_access(kData, 1), on_access(kSmall, 1)});

  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(guest.cpu().rip, kHandlers + 16 * kPageFault + 1);
}

TEST_P(Watchpoints, ARepeatedInstructionStopsBehindTheIteration) {
  guest.code({0xf3, 0xaa, 0xf4});  // rep stosb; hlt
  guest.gpr(vm::rcx) = 5;
  guest.gpr(vm::rdi) = kData;
  guest.gpr(vm::rax) = 0x55;
  watch({on_write(kData + 2, 1)});

  ASSERT_TRUE(run_to_hit().has_value());
  EXPECT_EQ(guest.cpu().rip, kCode);
  EXPECT_EQ(guest.gpr(vm::rcx), 2u);
  EXPECT_EQ(guest.core().steps, 3u);
  EXPECT_EQ(guest.peek(kData + 3, 1), 0u);
  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(guest.peek(kData + 4, 1), 0x55u);
  EXPECT_EQ(guest.core().steps, 6u);
}

TEST_P(Watchpoints, ACopyInBulkStopsWhereItReads) {
  guest.code({0xf3, 0x48, 0xa5, 0xf4});  // rep movsq; hlt
  guest.gpr(vm::rcx) = 1024;
  guest.gpr(vm::rsi) = kData;
  guest.gpr(vm::rdi) = kData + 0x4000;
  watch({on_read(kData + 0x1238, 1)});

  ASSERT_TRUE(run_to_hit().has_value());
  EXPECT_EQ(guest.gpr(vm::rsi), kData + 0x1240);
  EXPECT_TRUE(runs_to_halt());
  EXPECT_EQ(guest.gpr(vm::rcx), 0u);
}

TEST_P(Watchpoints, PhysicalOnesAreFoundThroughEveryLinearAddress) {
  guest.map_small_pages(kOtherTables, {kData, kData});
  guest.code(kStoreSmall);
  for (uint64_t alias : {kData, kSmall, kSmall + 0x1000}) {
    change_state([&](vm::CpuState& state) {
      state.cr3 = kOtherTables;
      state.rip = kCode;
      state.gpr[vm::rsi] = alias + 0x10;
    });
    watch({physical(on_write(kData + 0x12, 1))});
    auto hit = run_to_hit();
    ASSERT_TRUE(hit.has_value()) << alias;
    EXPECT_EQ(hit->address, kData + 0x12);
  }
}

TEST_P(Watchpoints, LinearOnesAreNotFoundThroughAnotherLinearAddress) {
  guest.map_small_pages(kOtherTables, {kData});
  guest.code(kStoreSmall);
  change_state([&](vm::CpuState& state) {
    state.cr3 = kOtherTables;
    state.gpr[vm::rsi] = kSmall;
  });
  watch({on_write(kData, 4)});
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, LinearOnesFollowCr3) {
  guest.map_small_pages(kOtherTables, {kData});
  guest.map_small_pages(kMoreTables, {kData + 0x1000});
  // mov [rsi], eax; mov cr3, rbx; mov [rsi], eax; hlt
  guest.code({0x89, 0x06, 0x0f, 0x22, 0xdb, 0x89, 0x06, 0xf4});
  change_state([&](vm::CpuState& state) {
    state.cr3 = kOtherTables;
    state.gpr[vm::rsi] = kSmall + 8;
    state.gpr[vm::rbx] = kMoreTables;
    state.gpr[vm::rax] = 9;
  });
  watch({on_write(kSmall + 8, 4)});

  EXPECT_TRUE(run_to_hit().has_value());
  EXPECT_EQ(guest.peek(kData + 8, 4), 9u);
  EXPECT_TRUE(run_to_hit().has_value());
  EXPECT_EQ(guest.peek(kData + 0x1008, 4), 9u);
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, ADeviceAccessStopsWhenItIsComplete) {
  guest.code({0x8b, 0x06, 0xf4});  // mov eax, [rsi]; hlt
  guest.gpr(vm::rsi) = kDevice + 4;
  watch({on_read(kDevice + 4, 4)});

  EXPECT_TRUE(std::holds_alternative<vm::DeviceAccess>(guest.run()));
  guest.core().answer(0x4711);
  EXPECT_TRUE(run_to_hit(vm::RunMode::complete).has_value());
  EXPECT_EQ(guest.gpr(vm::rax), 0x4711u);
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, WhatAnAttemptReadsCountsOnce) {
  guest.code({0xa4, 0xf4});  // movsb; hlt
  guest.gpr(vm::rsi) = kData;
  guest.gpr(vm::rdi) = kDevice;
  watch({on_read(kData, 1)});

  EXPECT_TRUE(std::holds_alternative<vm::DeviceAccess>(guest.run()));
  EXPECT_TRUE(run_to_hit().has_value());
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, RemovedWhileADeviceIsAskedTheyAreNotHit) {
  guest.code({0xa4, 0xf4});  // movsb; hlt
  guest.gpr(vm::rsi) = kDevice;
  guest.gpr(vm::rdi) = kData;
  watch({on_read(kDevice, 1)});

  EXPECT_TRUE(std::holds_alternative<vm::DeviceAccess>(guest.run()));
  watch({});
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, AReadModifyWriteStopsEachTime) {
  guest.code({0xff, 0x04, 0x25, 0, 0, 2, 0, 0xeb, 0xf7});  // again: inc dword [kData]; jmp again
  watch({on_read(kData, 4)});
  guest.core().step_limit = 1000;
  for (uint64_t turn = 1; turn <= 5; ++turn) {
    ASSERT_TRUE(run_to_hit().has_value());
    EXPECT_EQ(guest.peek(kData, 4), turn);
  }
}

TEST_P(Watchpoints, TheFrameOfAnExceptionStopsAtTheHandler) {
  guest.code({0xcc});  // int3
  watch({on_write(kStack - 40, 8)});

  auto hit = run_to_hit();

  ASSERT_TRUE(hit.has_value());
  EXPECT_EQ(vector(), kBreakpoint);
  EXPECT_FALSE(guest.core().injection_pending());
}

TEST_P(Watchpoints, TheFrameOfAnInterruptStopsAtTheHandler) {
  guest.code({0x90});
  guest.core().inject(EventKind::external, 0x20);
  watch({on_write(kStack - 8, 8)});

  EXPECT_TRUE(run_to_hit(vm::RunMode::complete).has_value());
  EXPECT_EQ(vector(), 0x20);
  EXPECT_EQ(guest.core().steps, 0u);
}

TEST_P(Watchpoints, TakeThePlaceOfAStep) {
  guest.code(kStore);
  watch({on_write(kData, 1)});
  EXPECT_TRUE(run_to_hit(vm::RunMode::step).has_value());
  EXPECT_TRUE(std::holds_alternative<vm::Halted>(guest.step()));
}

TEST_P(Watchpoints, FetchesAndWalksAreNoAccesses) {
  guest.map_small_pages(kOtherTables, {kData});
  guest.code({0x90, 0x90, 0x8b, 0x06, 0xf4});  // nop; nop; mov eax, [rsi]; hlt
  change_state([&](vm::CpuState& state) {
    state.cr3 = kOtherTables;
    state.gpr[vm::rsi] = kSmall;
  });
  watch({on_access(kCode, 0x1000), physical(on_access(kOtherTables, 0x4000))});

  EXPECT_TRUE(runs_to_halt());
  EXPECT_NE(guest.peek(kOtherTables + 0x3000) & 0x20, 0u) << "the walk sets the accessed bit";
}

TEST_P(Watchpoints, WhatOthersWriteIsNoAccess) {
  guest.code({0x90, 0xf4});
  watch({on_write(kData, 8)});
  guest.poke(kData, 1);
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, AnyNumberOfThem) {
  std::vector<vm::Watchpoint> many;
  for (uint64_t i = 0; i < 5000; ++i) many.push_back(on_write(kData + 0x1000 + 16 * i, 1));
  guest.code(kStoreSmall);
  guest.gpr(vm::rsi) = kData + 0x1000 + 16 * 4321 - 3;
  watch(many);

  auto hit = run_to_hit();

  ASSERT_TRUE(hit.has_value());
  EXPECT_EQ(hit->watchpoint, 4321u);
}

TEST_P(Watchpoints, HoweverLong) {
  guest.code(kStore);
  watch({on_write(0, uint64_t{1} << 63)});
  EXPECT_TRUE(run_to_hit().has_value());
}

TEST_P(Watchpoints, RemovedOnesDoNotStop) {
  guest.code(kStore);
  watch({on_write(kData, 4)});
  watch({});
  EXPECT_TRUE(runs_to_halt());
}

TEST_P(Watchpoints, ASetStateForgetsWhatWasHit) {
  guest.code(kStore);
  watch({on_write(kData, 4)});
  ASSERT_TRUE(run_to_hit().has_value());
  change_state([](vm::CpuState& state) { state.rip = kCode + 7; });
  EXPECT_TRUE(runs_to_halt());
}

/// A long loop that writes one page all the time and the watched one seldom.
TEST_P(Watchpoints, OfALongLoopOnlyTheWatchedPagesCost) {
  // again: inc eax; mov [rdi], eax; test eax, 0xffff; jnz next; mov [rsi], eax; next: jmp again
  guest.code({0xff, 0xc0, 0x89, 0x07, 0xa9, 0xff, 0xff, 0, 0, 0x75, 0x02, 0x89, 0x06, 0xeb, 0xf1});
  guest.gpr(vm::rdi) = kData;
  guest.gpr(vm::rsi) = kData + 0x1000;
  watch({on_write(kData + 0x1000, 4)});

  for (uint64_t stop = 1; stop <= 16; ++stop) {
    ASSERT_TRUE(run_to_hit().has_value());
    EXPECT_EQ(guest.gpr(vm::rax), stop * 0x10000);
    EXPECT_EQ(guest.core().steps, stop * (5 * uint64_t{0x10000} + 1) - 1);
  }
}

}  // namespace
}  // namespace dejavm::soft
