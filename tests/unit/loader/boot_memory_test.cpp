#include "vm/loader/boot_memory.h"

#include <gmock/gmock.h>

#include "images.h"

namespace dejavm::loader {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t k4g = uint64_t{1} << 32;

TEST(BootMemory, TakesOnlyUsableMemory) {
  BootMemory memory(small_memory());

  EXPECT_TRUE(memory.take(0, 0x9fc00, "low").has_value());
  EXPECT_TRUE(memory.take(0x100000, 63u << 20, "high").has_value());
  EXPECT_FALSE(memory.take(0x9fc00, 16, "reserved").has_value());
  EXPECT_FALSE(memory.take(0xa0000, 16, "hole").has_value());
  EXPECT_FALSE(memory.take(64u << 20, 1, "behind").has_value());
}

TEST(BootMemory, WrappingRangesAreRefused) {
  BootMemory memory(small_memory());

  EXPECT_FALSE(memory.take(UINT64_MAX - 10, 100, "x").has_value());
  EXPECT_FALSE(memory.take(0x100000, UINT64_MAX, "x").has_value());
  EXPECT_FALSE(memory.take_lowest(UINT64_MAX, 4096, 0, UINT64_MAX, "x").has_value());
  EXPECT_FALSE(memory.take_lowest(1, uint64_t{1} << 63, 1, UINT64_MAX, "x").has_value());
}

TEST(BootMemory, OverlapNamesBoth) {
  BootMemory memory(small_memory());
  ASSERT_TRUE(memory.take(0x200000, 0x1000, "the first").has_value());

  for (uint64_t base : {0x1ff001, 0x200000, 0x200fff}) {
    Status taken = memory.take(base, 0x1000, "the second");
    ASSERT_FALSE(taken.has_value()) << base;
    EXPECT_THAT(taken.error().what, AllOf(HasSubstr("the first"), HasSubstr("the second")));
  }
  EXPECT_TRUE(memory.take(0x1ff000, 0x1000, "before").has_value());
  EXPECT_TRUE(memory.take(0x201000, 0x1000, "behind").has_value());
}

TEST(BootMemory, LowestPassesWhatIsTaken) {
  BootMemory memory(small_memory());
  ASSERT_TRUE(memory.take(0x1000, 0x1800, "x").has_value());

  EXPECT_EQ(memory.take_lowest(0x1000, 0x1000, 0x1000, 0xa0000, "a"), 0x3000u);
  EXPECT_EQ(memory.take_lowest(0x100, 16, 0x1000, 0xa0000, "b"), 0x2800u);
  EXPECT_EQ(memory.take_lowest(0x9d000, 0x1000, 0x1000, k4g, "too large for the low area"), 0x100000u);
}

TEST(BootMemory, HighestPassesWhatIsTaken) {
  BootMemory memory(small_memory());
  ASSERT_TRUE(memory.take((64u << 20) - 0x1000, 0x1000, "x").has_value());

  EXPECT_EQ(memory.take_highest(0x1800, 0x1000, 0x100000, k4g, "a"), (64u << 20) - 0x3000);
  EXPECT_EQ(memory.take_highest(0x1000, 0x1000, 0x100000, 0x300800, "limit"), 0x2ff000u);
}

TEST(BootMemory, NoRoomSaysHowMuchWasWanted) {
  BootMemory memory(small_memory());

  auto at = memory.take_highest(65u << 20, 4096, 0x100000, k4g, "the disk");

  ASSERT_FALSE(at.has_value());
  EXPECT_THAT(at.error().what, AllOf(HasSubstr("the disk"), HasSubstr("0x4100000")));
  EXPECT_THAT(at.error().next, HasSubstr("-m"));
}

}  // namespace
}  // namespace dejavm::loader
