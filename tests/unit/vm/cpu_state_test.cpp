#include "vm/cpu_state.h"

#include <gmock/gmock.h>

#include "vm/cpu_fields.h"
#include "vm/cpu_model.h"

namespace dejavm::vm {
namespace {

using testing::HasSubstr;

TEST(CpuState, EveryFieldCountsInTheHashAndIsNamedInTheDifference) {
  const CpuState original = reset_state();
  CpuState changed = original;
  size_t fields = 0, bytes = 0;
  for_each_field(changed, [&](const std::string& name, auto& field, unsigned size) {
    auto* raw = reinterpret_cast<uint8_t*>(&field);
    for (unsigned i = 0; i < size; ++i) {  // every byte of it
      raw[i] ^= 0x80;
      EXPECT_NE(hash(changed), hash(original)) << name << " byte " << i;
      EXPECT_THAT(difference(original, changed), testing::StartsWith(name + " expected 0x")) << name;
      EXPECT_NE(changed, original) << name;
      raw[i] ^= 0x80;
      ++bytes;
    }
    ++fields;
  });
  EXPECT_EQ(changed, original);
  EXPECT_EQ(fields, 18u + 8 * 12 + 4 + 5 + 6 + 10 + 8 + 16 + 7 + 2);
  EXPECT_GT(bytes, 1000u - 200);
}

TEST(CpuState, TheFieldsAreAllOfTheState) {
  CpuState state = reset_state(), other{};
  other.fpu.st[7][9] = other.fpu.xmm[15][15] = other.nmi_masked = 1;
  other.ldt.unusable = other.tr.g = 1;
  for_each_field_pair(other, state, [](const auto&, auto& to, auto& from, unsigned) { to = from; });

  EXPECT_EQ(other, state);
}

TEST(CpuState, EqualStatesHaveNoDifference) {
  EXPECT_EQ(difference(reset_state(), reset_state()), "");
  EXPECT_EQ(hash(reset_state()), hash(reset_state()));
}

TEST(CpuState, SeveralDifferencesAreListed) {
  CpuState a, b;
  b.gpr[rax] = 0x1f;
  b.fpu.xmm[2][15] = 0x12;

  EXPECT_EQ(difference(a, b),
            "rax expected 0x0 found 0x1f, xmm2 expected 0x00000000000000000000000000000000 found "
            "0x12000000000000000000000000000000");
}

TEST(CpuState, StartsWhereAnX86Starts) {
  CpuState state = reset_state();

  EXPECT_EQ(state.linear_rip(), 0xfffffff0u);
  EXPECT_EQ(state.code_bits(), 16u);
}

TEST(CpuState, CodeSizeAndLinearRipFollowTheMode) {
  CpuState state;
  state.segment[cs].base = 0xffff0000;
  state.rip = 0x20000;
  unsigned real = state.code_bits();
  state.cr0 = 1;
  unsigned protected16 = state.code_bits();
  state.segment[cs].db = 1;
  unsigned protected32 = state.code_bits();
  uint64_t wrapped = state.linear_rip();
  state.efer = 1u << 10;
  unsigned compatibility = state.code_bits();
  state.segment[cs].l = 1;

  EXPECT_EQ(real, 16u);
  EXPECT_EQ(protected16, 16u);
  EXPECT_EQ(protected32, 32u);
  EXPECT_EQ(wrapped, 0x10000u);
  EXPECT_EQ(compatibility, 32u);
  EXPECT_EQ(state.code_bits(), 64u);
  EXPECT_EQ(state.linear_rip(), 0x20000u);
}

TEST(CpuModel, HidesWhatARecordingCannotRepeat) {
  CpuModel model = dejavm64_v1();
  auto leaf = [&](uint32_t function) {
    for (const CpuidLeaf& one : model.cpuid) {
      if (one.function == function) return one;
    }
    return CpuidLeaf{};
  };

  EXPECT_EQ(leaf(1).edx & (1u << 4), 0u);            // TSC
  EXPECT_NE(leaf(1).edx & (1u << 9), 0u);            // APIC
  EXPECT_EQ(leaf(1).ecx, 0u);                        // SSE3.., XSAVE, AVX, RDRAND, hypervisor
  EXPECT_NE(leaf(1).edx & (1u << 26), 0u);           // SSE2
  EXPECT_NE(leaf(0x80000001).edx & (1u << 29), 0u);  // long mode
  EXPECT_NE(leaf(0x80000001).edx & (1u << 20), 0u);  // NX
  EXPECT_EQ(leaf(0x80000001).edx & (1u << 27), 0u);  // RDTSCP
  EXPECT_EQ(leaf(0x40000000).eax, 0u);               // paravirtual leaves
  EXPECT_EQ(leaf(0).eax, 1u);
  EXPECT_EQ(model, dejavm64_v1());
}

TEST(CpuModel, KnowsItsFixedMsrsAndNoOthers) {
  CpuModel model = dejavm64_v1();

  EXPECT_EQ(model.read_msr(0x1b), 0xfee00900u);
  EXPECT_EQ(model.read_msr(0x10), std::nullopt);  // TSC
  for (const FixedMsr& fixed : model.msrs) {
    EXPECT_EQ(std::count(std::begin(kStateMsrs), std::end(kStateMsrs), fixed.index), 0) << fixed.index;
  }
}

}  // namespace
}  // namespace dejavm::vm
