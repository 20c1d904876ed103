// Which accesses belong to one instruction, over real instruction bytes.
#include "record/instruction_joins.h"

#include <gtest/gtest.h>

#include "base/check.h"
#include "fake_vcpu.h"
#include "vm/startup_state.h"

namespace dejavm::record {
namespace {

using vm::Direction;
using vm::Space;

constexpr uint64_t kMmio = 0xf0000000;
constexpr uint64_t kPml4 = 0x8000, kPdpt = 0x9000;

/// A CPU whose RIP the test moves by hand, in front of code.
class Joins {
 public:
  explicit Joins(const Bytes& code) {
    CHECK(memory_.set_map({{{0}, 0x10000, 0, true}}).has_value());
    CHECK(memory_.write({vm::kCode}, code, vm::Writer::loader).has_value());
    store_le<uint64_t>(memory_.host(kPml4), kPdpt | 3);
    for (uint64_t gib = 0; gib < 4; ++gib) store_le<uint64_t>(memory_.host(kPdpt + 8 * gib), gib << 30 | 0x83);
  }

  /// An access that exits with RIP this far from the start of the code.
  bool at(uint64_t rip, Direction direction, uint64_t addr, uint8_t size, Space space = Space::mmio, bool certain = false) {
    cpu.rip = vm::kCode + rip;
    CHECK(vcpu_.set_state(cpu).has_value());
    return joins_.next({space, direction, size, addr, 0}, certain);
  }
  /// The same, where the engine was asked to complete the instruction and made this access.
  bool going_on_at(uint64_t rip, Direction direction, uint64_t addr, uint8_t size, Space space = Space::mmio) {
    return at(rip, direction, addr, size, space, true);
  }
  InstructionJoins& joins() { return joins_; }

  vm::CpuState cpu = vm::FakeVcpu::start_state();  ///< registers at the next access

 private:
  vm::GuestMemory memory_ = vm::GuestMemory::create(0x10000, 0).value();
  vm::FakeVcpu vcpu_{memory_, {}};
  InstructionJoins joins_{vcpu_, memory_};
};

/// 64-bit code; the low 4 GiB are mapped as they are.
vm::CpuState long_mode() { return vm::long_mode_state(vm::kCode, kPml4); }

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
  j.cpu.gpr[vm::rsi] = kMmio;
  j.cpu.gpr[vm::rdi] = kMmio + 0x40;

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

TEST(InstructionJoins, ALoopOfComparesOfOneDeviceIsManyInstructions) {
  Joins j({0xa7});  // cmpsd, again and again, against RAM
  j.cpu.gpr[vm::rdi] = 0x2000;
  for (uint64_t element = 0; element < 3; ++element) {
    j.cpu.gpr[vm::rsi] = kMmio + 4 * element;
    EXPECT_FALSE(j.at(0, kRead, kMmio + 4 * element, 4)) << element;
  }
}

// ---- rep: every element is an instruction

TEST(InstructionJoins, EachElementOfARepCompareOfDevicesIsAnInstruction) {
  Joins j({0xf3, 0xa7});  // repe cmpsd
  for (uint64_t element = 0; element < 3; ++element) {
    j.cpu.gpr[vm::rsi] = kMmio + 4 * element;
    j.cpu.gpr[vm::rdi] = kMmio + 0x40 + 4 * element;
    EXPECT_FALSE(j.at(0, kRead, kMmio + 4 * element, 4)) << element;
    EXPECT_TRUE(j.at(0, kRead, kMmio + 0x40 + 4 * element, 4)) << element;
  }
}

TEST(InstructionJoins, TheElementsOfABatchedRepInsAreInstructions) {
  Joins j({0xf3, 0x6c});  // rep insb

  EXPECT_FALSE(j.at(0, kRead, 0x60, 1, Space::pio));
  EXPECT_FALSE(j.going_on_at(0, kRead, 0x60, 1, Space::pio));
  EXPECT_FALSE(j.going_on_at(0, kRead, 0x60, 1, Space::pio));
}

TEST(InstructionJoins, ABatchOfInsToADeviceIsWrittenInInstructionsOfItsOwn) {
  Joins j({0xf3, 0x6c});  // rep insb
  for (int element = 0; element < 16; ++element) j.at(0, kRead, 0x60, 1, Space::pio);

  EXPECT_FALSE(j.at(2, kWrite, kMmio, 8));  // eight elements that were read long before
  EXPECT_FALSE(j.going_on_at(2, kWrite, kMmio + 8, 8));
}

TEST(InstructionJoins, AnElementOfABatchOfInsThatIsCutAtAPageIsOne) {
  Joins j({0xf3, 0x6d});  // rep insd
  for (int element = 0; element < 2; ++element) j.at(0, kRead, 0x60, 4, Space::pio);

  EXPECT_FALSE(j.at(2, kWrite, kMmio + 0xffa, 6));
  EXPECT_TRUE(j.going_on_at(2, kWrite, kMmio + 0x1000, 2));
}

TEST(InstructionJoins, ABatchOfOneInsToADeviceIsOneInstruction) {
  Joins j({0xf3, 0x6d});  // rep insd, one element from the end of a page on

  EXPECT_FALSE(j.at(0, kRead, 0x60, 4, Space::pio));
  EXPECT_TRUE(j.at(2, kWrite, kMmio + 0xffe, 2));
  EXPECT_TRUE(j.going_on_at(2, kWrite, kMmio + 0x1000, 2));
}

TEST(InstructionJoins, ADownwardBatchOfInsIsReadBeforeItIsWritten) {
  Joins j({0xf3, 0x6c});  // rep insb
  j.cpu.rflags |= 1u << 10;
  for (int element = 0; element < 2; ++element) j.at(0, kRead, 0x60, 1, Space::pio);

  EXPECT_FALSE(j.at(0, kWrite, kMmio + 1, 1));
  EXPECT_FALSE(j.at(2, kWrite, kMmio, 1));
}

TEST(InstructionJoins, TheElementsOfARepMovsqFromADeviceAreInstructions) {
  Joins j({0xf3, 0x48, 0xa5});  // rep movsq
  j.cpu = long_mode();

  EXPECT_FALSE(j.at(0, kRead, kMmio, 8));
  EXPECT_FALSE(j.at(0, kRead, kMmio + 8, 8));
  EXPECT_FALSE(j.going_on_at(0, kRead, kMmio + 16, 8));
  EXPECT_FALSE(j.going_on_at(0, kRead, kMmio + 24, 8));
}

TEST(InstructionJoins, TheElementsOfARepMovsqToADeviceAreInstructions) {
  Joins j({0xf3, 0x48, 0xa5});  // rep movsq; at a write RDI and RIP have moved on
  j.cpu = long_mode();
  j.cpu.gpr[vm::rsi] = 0x2008;
  j.cpu.gpr[vm::rdi] = kMmio + 8;
  EXPECT_FALSE(j.at(0, kWrite, kMmio, 8));

  j.cpu.gpr[vm::rdi] = kMmio + 16;
  EXPECT_FALSE(j.going_on_at(0, kWrite, kMmio + 8, 8));
  j.cpu.gpr[vm::rdi] = kMmio + 24;
  EXPECT_FALSE(j.going_on_at(3, kWrite, kMmio + 16, 8));
}

TEST(InstructionJoins, TheFragmentsOfAnUnalignedElementAreOneInstructionAndTheNextElementAnother) {
  Joins j({0xf3, 0x48, 0xa5});  // rep movsq
  j.cpu = long_mode();

  EXPECT_FALSE(j.at(0, kRead, kMmio + 0xffd, 3));
  EXPECT_TRUE(j.going_on_at(0, kRead, kMmio + 0x1000, 5));
  EXPECT_FALSE(j.going_on_at(0, kRead, kMmio + 0x1005, 8));
}

TEST(InstructionJoins, FragmentsWrittenByAnElementOfARepMovsqAreOneInstruction) {
  Joins j({0xf3, 0x48, 0xa5});  // rep movsq
  j.cpu = long_mode();
  j.cpu.gpr[vm::rsi] = 0x2008;
  j.cpu.gpr[vm::rdi] = kMmio + 0x1005;

  EXPECT_FALSE(j.at(0, kWrite, kMmio + 0xffd, 3));
  EXPECT_TRUE(j.going_on_at(0, kWrite, kMmio + 0x1000, 5));
  j.cpu.gpr[vm::rdi] = kMmio + 0x100d;
  EXPECT_FALSE(j.going_on_at(0, kWrite, kMmio + 0x1005, 8));
}

TEST(InstructionJoins, EveryElementOfARepMovsqFromDeviceToDeviceIsAReadAndAWrite) {
  Joins j({0xf3, 0x48, 0xa5});  // rep movsq
  j.cpu = long_mode();

  EXPECT_FALSE(j.at(0, kRead, kMmio, 8));
  EXPECT_TRUE(j.going_on_at(0, kWrite, kMmio + 0x100, 8));
  EXPECT_FALSE(j.going_on_at(0, kRead, kMmio + 8, 8));
  EXPECT_TRUE(j.going_on_at(3, kWrite, kMmio + 0x108, 8));
}

TEST(InstructionJoins, TheHalvesOfASixteenByteWriteInFrontOfARepAreOneInstruction) {
  Joins j({0x0f, 0x11, 0x07, 0xf3, 0x48, 0xa5});  // movups [rdi], xmm0; rep movsq
  j.cpu = long_mode();
  j.cpu.gpr[vm::rdi] = kMmio;

  EXPECT_FALSE(j.at(3, kWrite, kMmio, 8));
  EXPECT_TRUE(j.going_on_at(3, kWrite, kMmio + 8, 8));
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
