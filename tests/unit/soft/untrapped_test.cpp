// What the engine knows of RDTSC and its like that the guest executed.
#include <gmock/gmock.h>

#include "system_fixture.h"

namespace dejavm::soft {
namespace {

using testing::ElementsAre;
using vm::UntrappedKind;

class UntrappedTest : public SystemTest {
 protected:
  using SystemTest::SystemTest;
  const vm::UntrappedReads& reads() { return guest.core().untrapped_reads; }
};

TEST_F(UntrappedTest, CountsInTranslatedCodeAsInAnyOther) {
  for (bool translated : {false, true}) {
    SoftGuest looping;
    if (translated) {
      ASSERT_TRUE(looping.core().translate({.visits = 1}).has_value());
    }
    looping.long_mode();
    looping.code(
        {0xb9, 50, 0, 0, 0, 0x0f, 0x31, 0xff, 0xc9, 0x75, 0xfa, 0xf4});  // mov ecx, 50; again: rdtsc; dec ecx; jnz again

    EXPECT_TRUE(std::holds_alternative<vm::Halted>(looping.run()));

    const vm::UntrappedReads& found = looping.core().untrapped_reads;
    EXPECT_THAT(found.counts, ElementsAre(50u, 0u, 0u, 0u)) << translated;
    ASSERT_EQ(found.site_count, 1u);
    EXPECT_EQ(found.sites[0], (vm::UntrappedSite{.at = {kCode + 5}, .kind = UntrappedKind::rdtsc, .steps = 1}))
        << translated;
  }
}

TEST_F(UntrappedTest, KeepsTheFirstPlacesAndCountsAll) {
  long_mode();
  guest.code({0x0f, 0x31, 0x0f, 0x31, 0x0f, 0x31, 0x0f, 0x31, 0x0f, 0x31, 0x0f, 0x31, 0xf4});
  guest.run();
  EXPECT_EQ(reads().counts[0], 6u);
  ASSERT_EQ(reads().site_count, vm::UntrappedReads::kMaxSites);
  EXPECT_EQ(reads().sites[3].at.value, kCode + 6);
}

TEST_F(UntrappedTest, TellsTheRing) {
  long_mode();
  user_mode();
  execute({0x0f, 0x31});
  ASSERT_EQ(reads().site_count, 1u);
  EXPECT_EQ(reads().sites[0].ring, 3);
}

TEST_F(UntrappedTest, ATimeThatIsDeniedIsNone) {
  long_mode();
  guest.cpu().cr4 |= 4;  // TSD
  user_mode();
  execute({0x0f, 0x31});
  EXPECT_EQ(vector(), kGeneralProtection);
  EXPECT_FALSE(reads().any());
}

TEST_F(UntrappedTest, WhatCpuidHidesIsRefusedAndNoted) {
  long_mode();
  execute({0x0f, 0x01, 0xf9});  // rdtscp
  EXPECT_EQ(vector(), kInvalidOpcode);
  long_mode();
  execute({0x48, 0x0f, 0xc7, 0xf0});  // rdrand rax
  EXPECT_EQ(vector(), kInvalidOpcode);
  long_mode();
  execute({0x48, 0x0f, 0xc7, 0xf8});  // rdseed rax
  EXPECT_EQ(vector(), kInvalidOpcode);
  EXPECT_THAT(reads().counts, ElementsAre(0u, 1u, 1u, 1u));
  EXPECT_EQ(reads().sites[0].kind, UntrappedKind::rdtscp);
  EXPECT_TRUE(reads().sites[0].refused);
}

class RichUntrappedTest : public UntrappedTest {
 protected:
  RichUntrappedTest() : UntrappedTest(rich_model()) {}
};

TEST_F(RichUntrappedTest, CountsEachKind) {
  long_mode();
  execute({0x0f, 0x01, 0xf9});
  execute({0x48, 0x0f, 0xc7, 0xf0});
  execute({0x48, 0x0f, 0xc7, 0xf8});
  execute({0x48, 0x0f, 0xc7, 0xf8});
  EXPECT_EQ(vector(), -1);
  EXPECT_THAT(reads().counts, ElementsAre(0u, 1u, 1u, 2u));
  EXPECT_FALSE(reads().sites[0].refused);
}

}  // namespace
}  // namespace dejavm::soft
