#include "engine/soft/linear_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "memory_fixture.h"

namespace dejavm::soft {
namespace {

using ::testing::ElementsAre;

using LinearMemoryTest = MemoryTest;

// ---- Translation and faults

TEST_F(LinearMemoryTest, ReadsAndWritesThroughTheTables) {
  long_mode();
  put(pte(0x5000), 0x7000 | kAll);

  memory.write<uint32_t>(0x5ffc, 0x12345678);

  EXPECT_EQ(memory.read<uint16_t>(0x5ffe), 0x1234);
  EXPECT_EQ(get(0x7ff8) >> 32, 0x12345678u);
}

TEST_F(LinearMemoryTest, APageFaultTellsAddressAndReason) {
  long_mode();
  put(pte(kData), kData | kP | kU);
  enter_ring(3);

  auto fault = fault_of([&] { memory.write<uint8_t>(kData + 0x123, 1); });

  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->vector, kPageFault);
  EXPECT_EQ(fault->error_code, 7u);
  EXPECT_EQ(cpu.cr2, kData + 0x123);
  EXPECT_EQ(get(pte(kData)), kData | kP | kU);
}

TEST_F(LinearMemoryTest, AWriteAcrossPagesFaultsOnTheSecondBeforeItWritesTheFirst) {
  long_mode();
  put(pte(kData + kPageSize), 0);

  auto fault = fault_of([&] { memory.write<uint64_t>(kData + 0xffd, ~uint64_t{0}); });

  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->error_code, 2u);
  EXPECT_EQ(cpu.cr2, kData + kPageSize);
  EXPECT_EQ(get(kData + 0xff8), 0u);
}

TEST_F(LinearMemoryTest, AccessedAndDirtyBitsFollowTheAccesses) {
  long_mode();

  memory.read<uint8_t>(kData);
  EXPECT_EQ(get(pte(kData)), kData | kAll | kA);

  memory.probe_write(kData, 4);
  EXPECT_EQ(get(pte(kData)), kData | kAll | kA | kD);
  EXPECT_EQ(get(kPd), kPt | kAll | kA);
}

TEST_F(LinearMemoryTest, TheSystemReachesWhatTheProgramMayNot) {
  long_mode();
  put(pte(kData), kData | kP | kW);
  memory.write<uint8_t>(kData, 0x77);
  enter_ring(3);

  EXPECT_EQ(memory.read<uint8_t>(kData, Rights::system), 0x77);
  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(kData); }));
}

TEST_F(LinearMemoryTest, Virtual8086CodeIsTheUser) {
  cpu.rflags |= 1u << 17;
  cpu.cr0 = 0x80000001;
  cpu.cr3 = kPml4;
  put(kPml4, kPt | kP | kW);
  put(kPt, kData | kP | kW);
  memory.mode_changed();

  EXPECT_EQ(fault_of([&] { memory.read<uint8_t>(0); })->error_code, 5u);
}

TEST_F(LinearMemoryTest, TheSpaceOf32BitCodeWrapsAt4GiB) {
  ASSERT_TRUE(ram.set_map({{{0}, kPageSize, 0, true}, {{0xfffff000}, kPageSize, kPageSize, true}}));
  memory.flush();

  memory.write<uint32_t>(0xfffffffe, 0x44332211);

  EXPECT_EQ(get(2 * kPageSize - 8) >> 48, 0x2211u);
  EXPECT_EQ(get(0), 0x4433u);
}

TEST_F(LinearMemoryTest, AlignmentIsCheckedForTheProgramInRingThree) {
  long_mode();
  cpu.cr0 |= kAm;
  cpu.rflags |= kAc;
  memory.read<uint32_t>(kData + 2);
  enter_ring(3);

  auto fault = fault_of([&] { memory.read<uint32_t>(kData + 2); });
  ASSERT_TRUE(fault);
  EXPECT_EQ(fault->vector, kAlignmentCheck);
  EXPECT_EQ(fault->error_code, 0u);
  EXPECT_FALSE(fault_of([&] { memory.read<uint32_t>(kData + 2, Rights::system); }));
  EXPECT_FALSE(fault_of([&] { memory.write<uint32_t>(kData + 4, 1); }));
  EXPECT_EQ(fault_of([&] { memory.write<uint16_t>(kData + 0xfff, 1); })->vector, kAlignmentCheck);
}

TEST_F(LinearMemoryTest, SmapOpensAndClosesWithAc) {
  long_mode();
  cpu.cr4 |= kSmap;
  memory.flush();
  cpu.rflags |= kAc;
  memory.mode_changed();
  memory.write<uint8_t>(kData, 5);
  EXPECT_EQ(memory.read<uint8_t>(kData), 5);
  EXPECT_EQ(*memory.direct_read(kData, 1), 5);
  EXPECT_NE(memory.direct_write(kData, 1), nullptr);
  EXPECT_TRUE(fault_of([&] { memory.read<uint8_t>(kData, Rights::system); }));

  cpu.rflags &= ~kAc;
  memory.mode_changed();

  EXPECT_EQ(memory.direct_read(kData, 1), nullptr);
  EXPECT_EQ(fault_of([&] { memory.read<uint8_t>(kData); })->error_code, 1u);
  EXPECT_EQ(fault_of([&] { memory.write<uint8_t>(kData, 1); })->error_code, 3u);
}

// ---- Devices and ROM

TEST_F(LinearMemoryTest, ADeviceReadLeavesAndFindsItsAnswer) {
  uint32_t value = 0;
  auto read = [&] { value = memory.read<uint32_t>(kDevice + 0x10); };

  EXPECT_EQ(exit_of(read, 0xfeedface), (vm::Access{vm::Space::mmio, vm::Direction::read, 4, kDevice + 0x10, 0}));
  EXPECT_EQ(exit_of(read), std::nullopt);
  EXPECT_EQ(value, 0xfeedfaceu);
}

TEST_F(LinearMemoryTest, FragmentsEndAtPagesAndAtEightBytes) {
  uint8_t bytes[16];
  auto read = [&] { memory.read_bytes(kDevice + 0xffd, bytes, 16); };

  EXPECT_EQ(exit_of(read, 0x030201), (vm::Access{vm::Space::mmio, vm::Direction::read, 3, kDevice + 0xffd, 0}));
  EXPECT_EQ(exit_of(read, 0x0b0a090807060504), (vm::Access{vm::Space::mmio, vm::Direction::read, 8, kDevice + 0x1000, 0}));
  EXPECT_EQ(exit_of(read, 0x100f0e0d0c), (vm::Access{vm::Space::mmio, vm::Direction::read, 5, kDevice + 0x1008, 0}));
  EXPECT_EQ(exit_of(read), std::nullopt);
  EXPECT_THAT(bytes, ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16));
}

TEST_F(LinearMemoryTest, AReadAcrossRamAndDeviceLeavesForTheDevicePart) {
  long_mode();
  put(pte(kData + kPageSize), kDevice | kAll);
  put(kData + 0xff8, 0x1122334455667788);
  uint32_t value = 0;
  auto read = [&] { value = memory.read<uint32_t>(kData + 0xffd); };

  EXPECT_EQ(exit_of(read, 0xaa), (vm::Access{vm::Space::mmio, vm::Direction::read, 1, kDevice, 0}));
  EXPECT_EQ(exit_of(read), std::nullopt);
  EXPECT_EQ(value, 0xaa112233u);
}

TEST_F(LinearMemoryTest, AWriteAcrossRamAndDeviceReachesRamWhenTheDeviceHasAnswered) {
  long_mode();
  put(pte(kData + kPageSize), kDevice | kAll);
  auto write = [&] { memory.write<uint32_t>(kData + 0xffd, 0x44332211); };

  EXPECT_EQ(exit_of(write), (vm::Access{vm::Space::mmio, vm::Direction::write, 1, kDevice, 0x44}));
  EXPECT_EQ(get(kData + 0xff8), 0u);
  EXPECT_EQ(exit_of(write), std::nullopt);
  EXPECT_EQ(get(kData + 0xff8) >> 40, 0x332211u);
}

TEST_F(LinearMemoryTest, WritesToRomAreDroppedWithoutAnExit) {
  *ram.host(kRamPages * kPageSize) = 0x55;

  EXPECT_EQ(exit_of([&] { memory.write<uint8_t>(kRom, 1); }), std::nullopt);
  EXPECT_EQ(exit_of([&] { memory.write<uint8_t>(kRom, 1); }), std::nullopt);

  EXPECT_EQ(memory.read<uint8_t>(kRom), 0x55);
  EXPECT_EQ(memory.direct_write(kRom, 1), nullptr);
  EXPECT_EQ(*memory.direct_read(kRom, 1), 0x55);
}

TEST_F(LinearMemoryTest, ProbingADeviceAsksItNothing) {
  EXPECT_EQ(exit_of([&] { memory.probe_write(kDevice, 8); }), std::nullopt);
}

TEST_F(LinearMemoryTest, AChangedMapIsSeenAfterAFlush) {
  memory.write<uint8_t>(kData, 1);
  ASSERT_TRUE(ram.set_map({{{kData}, kPageSize, 0x9000, true}}));

  memory.flush();
  memory.write<uint8_t>(kData, 2);

  EXPECT_EQ(get(kData), 1u);
  EXPECT_EQ(get(0x9000), 2u);
}

TEST_F(LinearMemoryTest, DirectAccessIsForOnePageOfPlainMemory) {
  memory.read<uint8_t>(kData);
  memory.write<uint8_t>(kAlias, 1);
  memory.probe_read(kDevice, 1);
  memory.probe_write(kDevice, 1);

  EXPECT_EQ(memory.direct_read(kData + 0xff0, 16), ram.host(kData + 0xff0));
  EXPECT_EQ(memory.direct_read(kData + 0xff1, 16), nullptr);
  EXPECT_EQ(memory.direct_write(kAlias + 8, 8), ram.host(8));
  EXPECT_EQ(memory.direct_read(kDevice, 1), nullptr);
  EXPECT_EQ(memory.direct_write(kDevice, 1), nullptr);
}

TEST_F(LinearMemoryTest, DirectAccessBringsNothingIntoUse) {
  long_mode();

  EXPECT_EQ(memory.direct_read(kData, 1), nullptr);
  EXPECT_EQ(memory.direct_write(kData, 1), nullptr);

  EXPECT_EQ(get(pte(kData)), kData | kAll);
}

}  // namespace
}  // namespace dejavm::soft
