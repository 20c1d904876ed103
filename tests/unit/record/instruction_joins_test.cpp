// Which accesses belong to one instruction, over real instruction bytes.
#include "record/instruction_joins.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "fake_vcpu.h"

namespace dejavm::record {
namespace {

using vm::Direction;
using vm::Space;

constexpr uint64_t kMmio = 0xf0000000;

/// A CPU whose RIP the test moves by hand, in front of code.
class Joins {
 public:
  explicit Joins(const Bytes& code) {
    CHECK(memory_.set_map({{{0}, 0x10000, 0, true}}).has_value());
    CHECK(memory_.write({vm::kCode}, code, vm::Writer::loader).has_value());
  }

  /// An access that exits with RIP this far from the start of the code.
  bool at(uint64_t rip, Direction direction, uint64_t addr, uint8_t size, Space space = Space::mmio) {
    vm::CpuState cpu = vm::FakeVcpu::start_state();
    cpu.rip = vm::kCode + rip;
    CHECK(vcpu_.set_state(cpu).has_value());
    return joins_.next({space, direction, size, addr, 0}, false);
  }
  InstructionJoins& joins() { return joins_; }

 private:
  vm::GuestMemory memory_ = vm::GuestMemory::create(0x10000, 0).value();
  vm::FakeVcpu vcpu_{memory_, {}};
  InstructionJoins joins_{vcpu_, memory_};
};

constexpr auto kRead = Direction::read;
constexpr auto kWrite = Direction::write;

TEST(InstructionJoins, TheWriteOfAReadModifyWriteJoinsItsRead) {
  Joins j({0x83, 0x07, 0x01});  // add dword [edi], 1

  EXPECT_FALSE(j.at(0, kRead, kMmio, 4));
  EXPECT_TRUE(j.at(3, kWrite, kMmio, 4));
}

TEST(InstructionJoins, TheWriteOfAMovsFromADeviceToADeviceJoinsItsRead) {
  Joins j({0xa5});  // movsd

  EXPECT_FALSE(j.at(0, kRead, kMmio, 4));
  EXPECT_TRUE(j.at(1, kWrite, kMmio + 0x100, 4));
}

TEST(InstructionJoins, AStoreBehindALoadDoesNotJoin) {
  Joins j({0x8b, 0x07, 0x89, 0x07});  // mov eax, [edi]; mov [edi], eax

  EXPECT_FALSE(j.at(0, kRead, kMmio, 4));
  EXPECT_FALSE(j.at(4, kWrite, kMmio, 4));
}

TEST(InstructionJoins, APollingLoopIsManyInstructions) {
  Joins j({0x8b, 0x07});  // mov eax, [edi], again and again

  EXPECT_FALSE(j.at(0, kRead, kMmio, 4));
  EXPECT_FALSE(j.at(0, kRead, kMmio, 4));
  EXPECT_FALSE(j.at(0, kRead, kMmio, 4));
}

TEST(InstructionJoins, APollingLoopOfTheLastRegisterOfAPageIsManyInstructions) {
  Joins j({0x8b, 0x07});

  EXPECT_FALSE(j.at(0, kRead, kMmio + 0xffc, 4));
  EXPECT_FALSE(j.at(0, kRead, kMmio + 0xffc, 4));
}

TEST(InstructionJoins, TheFragmentsOfAPageCrossingReadAreOneInstruction) {
  Joins j({0x8b, 0x07});  // mov eax, [edi]

  EXPECT_FALSE(j.at(0, kRead, kMmio + 0xffd, 3));
  EXPECT_TRUE(j.at(0, kRead, kMmio + 0x1000, 1));
}

TEST(InstructionJoins, TheHalvesOfASixteenByteReadAreOneInstruction) {
  Joins j({0x0f, 0x10, 0x07, 0x0f, 0x10, 0x07});  // movups xmm0, [edi]

  EXPECT_FALSE(j.at(0, kRead, kMmio, 8));
  EXPECT_TRUE(j.at(0, kRead, kMmio + 8, 8));
  EXPECT_FALSE(j.at(3, kRead, kMmio, 8));
  EXPECT_TRUE(j.at(3, kRead, kMmio + 8, 8));
}

TEST(InstructionJoins, ALoopOfSixteenByteReadsStartsAnewAfterItsHalves) {
  Joins j({0x0f, 0x10, 0x07});

  EXPECT_FALSE(j.at(0, kRead, kMmio, 8));
  EXPECT_TRUE(j.at(0, kRead, kMmio + 8, 8));
  EXPECT_FALSE(j.at(0, kRead, kMmio, 8));
  EXPECT_TRUE(j.at(0, kRead, kMmio + 8, 8));
}

TEST(InstructionJoins, BothOperandsOfACompareOfDevicesAreOneInstruction) {
  Joins j({0xa7});  // cmpsd

  EXPECT_FALSE(j.at(0, kRead, kMmio, 4));
  EXPECT_TRUE(j.at(0, kRead, kMmio + 0x40, 4));
}

TEST(InstructionJoins, AnInsIntoADeviceIsOneInstruction) {
  Joins j({0x6c});  // insb

  EXPECT_FALSE(j.at(0, kRead, 0x60, 1, Space::pio));
  EXPECT_TRUE(j.at(1, kWrite, kMmio, 1));
}

TEST(InstructionJoins, AnOutsFromADeviceIsOneInstruction) {
  Joins j({0x6e});  // outsb

  EXPECT_FALSE(j.at(0, kRead, kMmio, 1));
  EXPECT_TRUE(j.at(1, kWrite, 0x60, 1, Space::pio));
}

TEST(InstructionJoins, AnOutBehindALoadDoesNotJoin) {
  Joins j({0x8a, 0x07, 0xee});  // mov al, [edi]; out dx, al

  EXPECT_FALSE(j.at(0, kRead, kMmio, 1));
  EXPECT_FALSE(j.at(3, kWrite, 0x60, 1, Space::pio));
}

TEST(InstructionJoins, ABoundarySeparates) {
  Joins j({0x83, 0x07, 0x01});

  EXPECT_FALSE(j.at(0, kRead, kMmio, 4));
  j.joins().boundary();
  EXPECT_FALSE(j.at(3, kWrite, kMmio, 4));
}

TEST(InstructionJoins, OnlyAWriteOfEightBytesOrUpToThePagesEndMayContinue) {
  Joins j({0x89, 0x07});

  j.at(2, kWrite, kMmio, 4);
  bool plain = j.joins().write_may_continue();
  j.at(2, kWrite, kMmio, 8);
  bool eight = j.joins().write_may_continue();
  j.at(2, kWrite, kMmio + 0xffd, 3);
  bool page_end = j.joins().write_may_continue();
  j.at(2, kRead, kMmio, 8);
  bool read = j.joins().write_may_continue();

  EXPECT_FALSE(plain);
  EXPECT_TRUE(eight);
  EXPECT_TRUE(page_end);
  EXPECT_FALSE(read);
}

}  // namespace
}  // namespace dejavm::record
