// Integer instructions on devices, with LOCK, and those that 64-bit code does not have.
#include "soft_fixture.h"
#include "vector_probe.h"

namespace dejavm::soft {
namespace {

TEST(IntegerMemory, ReadModifyWriteOfADeviceReadsThenWrites) {
  SoftGuest guest;
  guest.long_mode();
  guest.code({0x01, 0x06});  // add [rsi], eax
  guest.gpr(vm::rsi) = kDevice + 0x10;
  guest.gpr(vm::rax) = 5;
  auto read = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(read));
  EXPECT_EQ(std::get<vm::DeviceAccess>(read).access,
            (vm::Access{vm::Space::mmio, vm::Direction::read, 4, kDevice + 0x10, 0}));
  guest.core().answer(0xfffffffb);
  auto write = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(write));
  EXPECT_EQ(std::get<vm::DeviceAccess>(write).access,
            (vm::Access{vm::Space::mmio, vm::Direction::write, 4, kDevice + 0x10, 0}));
  EXPECT_EQ(guest.cpu().rip, kCode);
  EXPECT_EQ(guest.cpu().rflags & 0x41, 0u);
  EXPECT_TRUE(std::holds_alternative<vm::Completed>(guest.core().run(vm::RunMode::complete)));
  EXPECT_EQ(guest.cpu().rip, kCode + 2);
  EXPECT_EQ(guest.cpu().rflags & 0x41, 0x41u);
}

TEST(IntegerMemory, FailingCompareExchangeWritesTheOldValueBack) {
  SoftGuest guest;
  guest.long_mode();
  guest.code({0xf0, 0x0f, 0xb1, 0x1e});  // lock cmpxchg [rsi], ebx
  guest.gpr(vm::rsi) = kDevice;
  guest.gpr(vm::rax) = 1;
  guest.step();
  guest.core().answer(2);
  auto write = guest.step();
  ASSERT_TRUE(std::holds_alternative<vm::DeviceAccess>(write));
  EXPECT_EQ(std::get<vm::DeviceAccess>(write).access.value, 2u);
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(guest.gpr(vm::rax), 2u);
}

TEST(IntegerMemory, ConditionalMoveReadsADeviceWhateverTheCondition) {
  SoftGuest guest;
  guest.long_mode();
  guest.code({0x0f, 0x44, 0x06});  // cmovz eax, [rsi], ZF clear
  guest.gpr(vm::rsi) = kDevice;
  guest.gpr(vm::rax) = 0x1122334455667788;
  EXPECT_TRUE(std::holds_alternative<vm::DeviceAccess>(guest.step()));
  guest.core().answer(9);
  guest.core().run(vm::RunMode::complete);
  EXPECT_EQ(guest.gpr(vm::rax), 0x55667788u);
}

TEST(IntegerMemory, LockIsInvalidWhereNothingInMemoryIsModified) {
  VectorProbe probe;
  EXPECT_EQ(probe.vector_of({0xf0, 0x01, 0xc0}), kInvalidOpcode);              // add eax, eax
  EXPECT_EQ(probe.vector_of({0xf0, 0x03, 0x06}), kInvalidOpcode);              // add eax, [rsi]
  EXPECT_EQ(probe.vector_of({0xf0, 0x39, 0x06}), kInvalidOpcode);              // cmp [rsi], eax
  EXPECT_EQ(probe.vector_of({0xf0, 0x89, 0x06}), kInvalidOpcode);              // mov [rsi], eax
  EXPECT_EQ(probe.vector_of({0xf0, 0x0f, 0xba, 0x26, 0x03}), kInvalidOpcode);  // bt [rsi], 3
  EXPECT_EQ(probe.vector_of({0xf0, 0x90}), kInvalidOpcode);                    // nop
  EXPECT_EQ(probe.vector_of({0xf0, 0x01, 0x06}), std::nullopt);                // add [rsi], eax
  EXPECT_EQ(probe.vector_of({0xf0, 0x0f, 0xba, 0x2e, 0x03}), std::nullopt);    // bts [rsi], 3
  EXPECT_EQ(probe.vector_of({0xf0, 0x87, 0x06}), std::nullopt);                // xchg [rsi], eax
  EXPECT_EQ(probe.vector_of({0xf0, 0x0f, 0xc7, 0x0e}), std::nullopt);          // cmpxchg8b [rsi]
}

TEST(IntegerMemory, FeaturesThatTheModelLacks) {
  VectorProbe probe;
  EXPECT_EQ(probe.vector_of({0x48, 0x0f, 0xc7, 0x0e}), kInvalidOpcode);        // cmpxchg16b
  EXPECT_EQ(probe.vector_of({0x0f, 0x38, 0xf0, 0x06}), kInvalidOpcode);        // movbe
  EXPECT_EQ(probe.vector_of({0xf3, 0x0f, 0xb8, 0xc0}), kInvalidOpcode);        // popcnt
  EXPECT_EQ(probe.vector_of({0xf2, 0x0f, 0x38, 0xf1, 0xc0}), kInvalidOpcode);  // crc32
  EXPECT_EQ(probe.vector_of({0x0f, 0xae, 0x3e}), kInvalidOpcode);              // clflush
  EXPECT_EQ(probe.vector_of({0x0f, 0x0b}), kInvalidOpcode);                    // ud2
}

TEST(IntegerMemory, CountInstructionsScanWithoutTheirFeatures) {
  SoftGuest guest;
  guest.long_mode();
  guest.code({0xf3, 0x0f, 0xbd, 0xc3, 0xf3, 0x0f, 0xbc, 0xcb});  // lzcnt eax, ebx: bsr; tzcnt ecx, ebx: bsf
  guest.gpr(vm::rbx) = 0x0ff0;
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.gpr(vm::rax), 11u);
  EXPECT_EQ(guest.gpr(vm::rcx), 4u);
}

TEST(IntegerMemory, NopsAndPrefetchesAccessNothing) {
  VectorProbe probe;
  probe.guest().gpr(vm::rsi) = 0x8000000000000000;  // canonical it is not
  EXPECT_EQ(probe.vector_of({0x0f, 0x1f, 0x44, 0x06, 0x00}), std::nullopt);
  EXPECT_EQ(probe.vector_of({0x0f, 0x18, 0x0e}), std::nullopt);        // prefetcht0
  EXPECT_EQ(probe.vector_of({0x0f, 0x0d, 0x0e}), std::nullopt);        // prefetchw
  EXPECT_EQ(probe.vector_of({0xf3, 0x0f, 0x1e, 0xfa}), std::nullopt);  // endbr64
  EXPECT_EQ(probe.vector_of({0xf3, 0x90}), std::nullopt);
  EXPECT_EQ(probe.vector_of({0x0f, 0xae, 0xf0}), std::nullopt);  // mfence
  EXPECT_EQ(probe.vector_of({0x8b, 0x06}), kGeneralProtection);
}

TEST(IntegerMemory, BoundRaisesOutsideOfItsLimits) {
  SoftGuest guest;
  guest.protected_mode();
  guest.code({0x62, 0x06});                // bound eax, [esi]
  guest.poke(kData, 0x00000009'fffffffe);  // -2 to 9
  guest.gpr(vm::rsi) = kData;
  for (uint64_t inside : {uint64_t{0xfffffffe}, uint64_t{0}, uint64_t{9}}) {
    guest.cpu().rip = kCode;
    guest.gpr(vm::rax) = inside;
    EXPECT_TRUE(guest.step_quietly()) << inside;
  }
  guest.cpu().rip = kCode;
  guest.gpr(vm::rax) = 10;
  EXPECT_FALSE(guest.step_quietly());
}

TEST(IntegerMemory, TranslateAddsAlUnsigned) {
  SoftGuest guest;
  guest.real_mode();
  guest.code({0xd7});  // xlat
  guest.gpr(vm::rbx) = 0x12345ff0;
  guest.gpr(vm::rax) = 0x20;
  guest.poke(0x6010, 0xab, 1);
  EXPECT_TRUE(guest.step_quietly());
  EXPECT_EQ(guest.gpr(vm::rax), 0xabu);
}

}  // namespace
}  // namespace dejavm::soft
