#include "engine/soft/decode.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "engine/soft/core.h"
#include "engine/soft/fault.h"
#include "engine/soft/native_arena.h"
#include "soft_fixture.h"

namespace dejavm::soft {
namespace {

using Bytes = std::vector<uint8_t>;

class DecodeTest : public testing::Test {
 protected:
  Instruction decode_all(unsigned bits, const Bytes& bytes) {
    Instruction insn;
    EXPECT_EQ(decode(bytes.data(), bytes.size(), bits, features_, **arena_, insn), DecodeStatus::ok);
    return insn;
  }
  /// The memory operand as text: "seg base index<<scale displacement", registers by number.
  std::string memory(unsigned bits, const Bytes& bytes) {
    Instruction insn = decode_all(bits, bytes);
    if (!insn.has_memory) return "none";
    return fmt::format("{} {} {}<<{} {:#x} a{}", insn.segment, insn.base, insn.index, insn.scale, insn.displacement,
                       insn.address_size);
  }
  /// The exception that running the instruction raises, or -1.
  int vector_of(const Instruction& insn) {
    try {
      insn.run(guest_.core(), insn);
    } catch (const GuestFault& fault) {
      return fault.vector;
    }
    return -1;
  }

  Features features_ = Features::of(vm::dejavm64_v1());
  Result<std::unique_ptr<NativeArena>> arena_ = NativeArena::create(1 << 16);
  SoftGuest guest_;
};

// ---- Memory operands. Segments: es 0, cs 1, ss 2, ds 3, fs 4, gs 5; 255 is no register, 254 RIP.

TEST_F(DecodeTest, AddressesOf64BitCode) {
  EXPECT_EQ(memory(64, {0x8b, 0x07}), "3 7 255<<0 0x0 a8");                                    // [rdi]
  EXPECT_EQ(memory(64, {0x8b, 0x45, 0xf0}), "2 5 255<<0 -0x10 a8");                            // [rbp - 16]
  EXPECT_EQ(memory(64, {0x8b, 0x44, 0x8c, 0x08}), "2 4 1<<2 0x8 a8");                          // [rsp + rcx * 4 + 8]
  EXPECT_EQ(memory(64, {0x43, 0x8b, 0x04, 0xec}), "3 12 13<<3 0x0 a8");                        // [r12 + r13 * 8]
  EXPECT_EQ(memory(64, {0x8b, 0x05, 4, 0, 0, 0}), "3 254 255<<0 0x4 a8");                      // [rip + 4]
  EXPECT_EQ(memory(64, {0x67, 0x8b, 0x05, 4, 0, 0, 0}), "3 254 255<<0 0x4 a4");                // [eip + 4]
  EXPECT_EQ(memory(64, {0x8b, 0x04, 0x25, 0, 0, 0, 0x80}), "3 255 255<<0 -0x80000000 a8");     // [-2 GiB]
  EXPECT_EQ(memory(64, {0x65, 0x8b, 0x07}), "5 7 255<<0 0x0 a8");                              // gs:[rdi]
  EXPECT_EQ(memory(64, {0x2e, 0x8b, 0x07}), "3 7 255<<0 0x0 a8");                              // cs: does nothing
  EXPECT_EQ(memory(64, {0xa1, 8, 7, 6, 5, 4, 3, 2, 1}), "3 255 255<<0 0x102030405060708 a8");  // moffs
  EXPECT_EQ(memory(64, {0x8b, 0xc7}), "none");
}

TEST_F(DecodeTest, AddressesOf32BitCode) {
  EXPECT_EQ(memory(32, {0x8b, 0x45, 0x10}), "2 5 255<<0 0x10 a4");
  EXPECT_EQ(memory(32, {0x3e, 0x8b, 0x45, 0x10}), "3 5 255<<0 0x10 a4");
  EXPECT_EQ(memory(32, {0x26, 0x8b, 0x04, 0x33}), "0 3 6<<0 0x0 a4");
  EXPECT_EQ(memory(32, {0x8b, 0x05, 4, 0, 0, 0}), "3 255 255<<0 0x4 a4");
  EXPECT_EQ(memory(32, {0x67, 0x8b, 0x42, 0xff}), "2 5 6<<0 -0x1 a2");  // [bp + si - 1]
}

TEST_F(DecodeTest, AddressesOf16BitCode) {
  EXPECT_EQ(memory(16, {0x8b, 0x00}), "3 3 6<<0 0x0 a2");
  EXPECT_EQ(memory(16, {0x8b, 0x03}), "2 5 7<<0 0x0 a2");
  EXPECT_EQ(memory(16, {0x2e, 0x8b, 0x07}), "1 3 255<<0 0x0 a2");
  EXPECT_EQ(memory(16, {0x8b, 0x06, 0x34, 0x12}), "3 255 255<<0 0x1234 a2");
  EXPECT_EQ(memory(16, {0x67, 0x8b, 0x04, 0x24}), "2 4 255<<0 0x0 a4");
}

TEST_F(DecodeTest, TellsWhichOperandIsMemory) {
  EXPECT_TRUE(decode_all(64, {0x01, 0x07}).memory_is_destination);   // add [rdi], eax
  EXPECT_TRUE(decode_all(64, {0x39, 0x07}).memory_is_destination);   // cmp [rdi], eax
  EXPECT_FALSE(decode_all(64, {0x03, 0x07}).memory_is_destination);  // add eax, [rdi]
  EXPECT_FALSE(decode_all(64, {0xf7, 0x27}).memory_is_destination);  // mul dword [rdi]
  EXPECT_TRUE(decode_all(64, {0xf7, 0x1f}).memory_is_destination);   // neg dword [rdi]
  EXPECT_EQ(decode_all(64, {0x0f, 0xb6, 0x07}).memory_size, 1);      // movzx eax, byte [rdi]
  EXPECT_EQ(decode_all(64, {0xdb, 0x2f}).memory_size, 10);           // fld tbyte [rdi]
}

TEST_F(DecodeTest, StringInstructionsHaveTheSourcesSegment) {
  EXPECT_EQ(decode_all(32, {0xa4}).segment, vm::ds);
  EXPECT_EQ(decode_all(32, {0x64, 0xa4}).segment, vm::fs);
  EXPECT_EQ(decode_all(32, {0x2e, 0xd7}).segment, vm::cs);  // xlat
  EXPECT_FALSE(decode_all(32, {0xa4}).has_memory);
}

// ---- Registers and immediates

TEST_F(DecodeTest, RegistersInTheirOrder) {
  Instruction add = decode_all(64, {0x44, 0x01, 0xe8});  // add eax, r13d
  EXPECT_EQ(add.reg, vm::rax);
  EXPECT_EQ(add.other, vm::r13);
  EXPECT_TRUE(add.rex);
  EXPECT_EQ(decode_all(64, {0x88, 0xe1}).other, kHighByte);       // mov cl, ah
  EXPECT_EQ(decode_all(64, {0x40, 0x88, 0xe1}).other, vm::rsp);   // mov cl, spl
  EXPECT_EQ(decode_all(64, {0xd3, 0x27}).reg, vm::rcx);           // shl dword [rdi], cl
  EXPECT_EQ(decode_all(64, {0x66, 0x01, 0xd8}).operand_size, 2);  // add ax, bx
  EXPECT_EQ(decode_all(64, {0x48, 0x01, 0xd8}).operand_size, 8);  // add rax, rbx
  EXPECT_EQ(decode_all(64, {0x00, 0xd8}).operand_size, 1);        // add al, bl
  EXPECT_EQ(decode_all(64, {0x0f, 0x9c, 0xc0}).condition, 12);    // setl al
}

TEST_F(DecodeTest, ImmediatesAreExtendedAsTheInstructionDoes) {
  EXPECT_EQ(decode_all(64, {0x48, 0x83, 0xc0, 0x80}).immediate, ~uint64_t{127});
  EXPECT_EQ(decode_all(64, {0x48, 0xb8, 1, 0, 0, 0, 0, 0, 0, 0x80}).immediate, 0x8000000000000001);
  EXPECT_EQ(decode_all(64, {0xeb, 0xfe}).immediate, ~uint64_t{1});
  EXPECT_TRUE(decode_all(64, {0x6a, 0x01}).has_immediate);
  EXPECT_FALSE(decode_all(64, {0x01, 0xd8}).has_immediate);
}

TEST_F(DecodeTest, TwoImmediatesAndFarPointers) {
  Instruction enter = decode_all(32, {0xc8, 0x34, 0x12, 0x05});
  EXPECT_EQ(enter.immediate, 0x1234u);
  EXPECT_EQ(enter.selector, 5);
  Instruction jump = decode_all(32, {0xea, 0x78, 0x56, 0x34, 0x12, 0x08, 0x00});
  EXPECT_EQ(jump.immediate, 0x12345678u);
  EXPECT_EQ(jump.selector, 8);
  EXPECT_TRUE(jump.ends_block);
}

TEST_F(DecodeTest, AmdBranchesObeyTheOperandSizePrefix) {
  Instruction call = decode_all(64, {0x66, 0xe8, 0x00, 0x01});
  EXPECT_EQ(call.length, 4);
  EXPECT_EQ(call.operand_size, 2);
  EXPECT_EQ(decode_all(64, {0xe8, 0, 1, 0, 0}).operand_size, 8);
}

// ---- Prefixes

TEST_F(DecodeTest, RepeatIsForStringInstructions) {
  EXPECT_EQ(decode_all(64, {0xf3, 0xa4}).repeat, Repeat::rep);
  EXPECT_EQ(decode_all(64, {0xf2, 0xa4}).repeat, Repeat::repne);  // repeats, too
  EXPECT_EQ(decode_all(64, {0xf2, 0xf3, 0xa6}).repeat, Repeat::rep);
  EXPECT_EQ(decode_all(64, {0xf3, 0xc3}).repeat, Repeat::none);
}

TEST_F(DecodeTest, TheLastRepeatPrefixIsTheConditionOfALoop) {
  EXPECT_EQ(decode_all(64, {0xf3, 0xe0, 0x00}).mnemonic, ZYDIS_MNEMONIC_LOOPE);
  EXPECT_EQ(decode_all(64, {0xf2, 0xe1, 0x00}).mnemonic, ZYDIS_MNEMONIC_LOOPNE);
  EXPECT_EQ(decode_all(32, {0xf3, 0xf2, 0xe0, 0x00}).mnemonic, ZYDIS_MNEMONIC_LOOPNE);
  EXPECT_EQ(decode_all(16, {0xf2, 0xf3, 0xe0, 0x00}).mnemonic, ZYDIS_MNEMONIC_LOOPE);
  EXPECT_EQ(decode_all(64, {0xf3, 0xe2, 0x00}).mnemonic, ZYDIS_MNEMONIC_LOOP);
}

TEST_F(DecodeTest, PauseWithRexBExchangesR8) {
  EXPECT_EQ(decode_all(64, {0xf3, 0x90}).mnemonic, ZYDIS_MNEMONIC_PAUSE);
  EXPECT_EQ(decode_all(64, {0xf3, 0x48, 0x90}).mnemonic, ZYDIS_MNEMONIC_PAUSE);
  EXPECT_EQ(decode_all(64, {0xf3, 0x41, 0x90}).mnemonic, ZYDIS_MNEMONIC_XCHG);
  EXPECT_EQ(decode_all(64, {0xf3, 0x41, 0x90}).length, 3);
}

TEST_F(DecodeTest, ASibByteWithoutBaseHasNoneWithRexBEither) {
  Instruction insn = decode_all(64, {0x67, 0x41, 0x8b, 0x04, 0x55, 0x10, 0x00, 0x00, 0x00});  // mov eax, [edx * 2 + 0x10]
  EXPECT_EQ(insn.base, kNoRegister);
  EXPECT_EQ(insn.index, vm::rdx);
  EXPECT_EQ(insn.displacement, 0x10);
}

TEST_F(DecodeTest, EveryEncodingOfPrefetchIsThere) {
  for (uint8_t modrm = 0; modrm < 0x40; modrm = static_cast<uint8_t>(modrm + 8)) {
    EXPECT_EQ(vector_of(decode_all(64, {0x0f, 0x0d, modrm})), -1) << int{modrm};
  }
}

TEST_F(DecodeTest, LockIsForWritesToMemory) {
  EXPECT_TRUE(decode_all(64, {0xf0, 0x01, 0x07}).lock);
  EXPECT_EQ(vector_of(decode_all(64, {0xf0, 0x01, 0xc7})), kInvalidOpcode);
  EXPECT_EQ(vector_of(decode_all(64, {0xf0, 0x39, 0x07})), kInvalidOpcode);
}

TEST_F(DecodeTest, FifteenBytesAreTheLimit) {
  Bytes longest(15, 0x66);
  longest.back() = 0x90;
  EXPECT_EQ(decode_all(64, longest).length, 15);
  EXPECT_EQ(vector_of(decode_all(64, Bytes(15, 0x66))), kGeneralProtection);
}

TEST_F(DecodeTest, AsksForMoreBytes) {
  Instruction insn;
  const uint8_t part[] = {0xb8, 1, 2};
  EXPECT_EQ(decode(part, sizeof part, 64, features_, **arena_, insn), DecodeStatus::needs_more);
}

// ---- What the CPU has

TEST_F(DecodeTest, WhatTheModelHidesIsInvalid) {
  EXPECT_EQ(vector_of(decode_all(64, {0xf3, 0x0f, 0xb8, 0xc0})), kInvalidOpcode);        // popcnt
  EXPECT_EQ(vector_of(decode_all(64, {0x0f, 0xc7, 0xf0})), kInvalidOpcode);              // rdrand
  EXPECT_EQ(vector_of(decode_all(64, {0x0f, 0xae, 0x27})), kInvalidOpcode);              // xsave
  EXPECT_EQ(vector_of(decode_all(64, {0xc5, 0xf8, 0x58, 0xc1})), kInvalidOpcode);        // vaddps
  EXPECT_EQ(vector_of(decode_all(64, {0x66, 0x0f, 0x38, 0x00, 0xc1})), kInvalidOpcode);  // pshufb
  EXPECT_EQ(vector_of(decode_all(64, {0x0f, 0x0f, 0xc1, 0x9e})), kInvalidOpcode);        // 3DNow!
  EXPECT_EQ(vector_of(decode_all(64, {0x0f, 0x0b})), kInvalidOpcode);                    // ud2
  EXPECT_EQ(vector_of(decode_all(64, {0x06})), kInvalidOpcode);                          // push es
  EXPECT_EQ(decode_all(64, {0xf3, 0x0f, 0xbd, 0xc1}).mnemonic, ZYDIS_MNEMONIC_BSR);      // not lzcnt
  EXPECT_EQ(decode_all(64, {0xf3, 0x0f, 0x1e, 0xfa}).mnemonic, ZYDIS_MNEMONIC_NOP);      // not endbr64
}

TEST_F(DecodeTest, WhatIsPromisedAndMissingIsNamedWhenItRuns) {
  features_.avx = true;
  Instruction insn = decode_all(64, {0xc5, 0xf8, 0x58, 0xc1});

  try {
    insn.run(guest_.core(), insn);
    FAIL() << "it ran";
  } catch (const EngineFailure& failure) {
    EXPECT_NE(failure.what.find("vaddps"), std::string::npos) << failure.what;
    EXPECT_NE(failure.next.find("-accel kvm"), std::string::npos) << failure.next;
  }
}

TEST(Features, AreThoseOfTheTable) {
  vm::CpuModel model = vm::dejavm64_v1();
  Features features = Features::of(model);
  EXPECT_TRUE(features.nx && features.syscall && features.sysenter && features.lahf64);
  EXPECT_FALSE(features.tsc || features.avx || features.xsave || features.sse3 || features.rdrand);
  EXPECT_EQ(features.physical_bits, 40u);

  for (vm::CpuidLeaf& leaf : model.cpuid) {
    if (leaf.function == 0x80000008) leaf.eax = 0xff;  // a damaged table
    if (leaf.function == 1) leaf.edx |= 1u << 4;
  }
  EXPECT_TRUE(Features::of(model).tsc);
  EXPECT_EQ(Features::of(model).physical_bits, 40u);
}

// Whatever the bytes are, decoding ends with an instruction of 1 to 15 bytes.
TEST_F(DecodeTest, AnyBytesDecodeToSomething) {
  uint32_t state = 12345;
  for (int i = 0; i < 60000; ++i) {
    Bytes bytes(15);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>((state = state * 1664525 + 1013904223) >> 24);
    if (!(*arena_)->has_room(512)) (*arena_)->clear();
    Instruction insn = decode_all(i % 3 == 0 ? 16 : i % 3 == 1 ? 32 : 64, bytes);
    ASSERT_TRUE(insn.length >= 1 && insn.length <= 15 && insn.run != nullptr);
  }
}

}  // namespace
}  // namespace dejavm::soft
