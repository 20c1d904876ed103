#include "engine/soft/executable_pool.h"

#include <gtest/gtest.h>

#include "engine/soft/soft_vcpu.h"

namespace dejavm::soft {
namespace {

constexpr size_t kPage = 4096;

TEST(ExecutablePool, LendsAgainWhatCameBack) {
  ExecutablePool pool;
  const uint8_t* first = nullptr;
  {
    auto memory = pool.lend(kPage);
    ASSERT_TRUE(memory);
    first = memory->executable();
    memory->writable()[0] = 0xc3;
    EXPECT_EQ(pool.idle(), 0u);
  }
  EXPECT_EQ(pool.idle(), 1u);

  auto again = pool.lend(kPage);

  ASSERT_TRUE(again);
  EXPECT_EQ(again->executable(), first);
  EXPECT_EQ(again->executable()[0], 0) << "nothing is left of the code that was there";
  EXPECT_EQ(pool.idle(), 0u);
}

TEST(ExecutablePool, KeepsSizesApart) {
  ExecutablePool pool;
  { auto small = pool.lend(kPage); }

  auto large = pool.lend(2 * kPage);

  ASSERT_TRUE(large);
  EXPECT_EQ(large->size(), 2 * kPage);
  EXPECT_EQ(pool.idle(), 1u);
}

TEST(ExecutablePool, MemoryComesBackOnceHoweverOftenItWasMoved) {
  ExecutablePool pool;
  {
    auto lent = pool.lend(kPage);
    ASSERT_TRUE(lent);
    ExecutableMemory moved = std::move(*lent);
    ExecutableMemory other = std::move(moved);
    EXPECT_NE(other.writable(), nullptr);
  }

  EXPECT_EQ(pool.idle(), 1u);
}

TEST(ExecutablePool, OneVcpuAfterTheOtherUsesTheSameMemory) {
  auto ram = vm::GuestMemory::create(1 << 20, 0);
  ASSERT_TRUE(ram);
  ExecutablePool pool;
  { auto first = create_vcpu(*ram, vm::dejavm64_v1(), Execution::translate, &pool); }
  size_t kept = pool.idle();
  EXPECT_GT(kept, 0u);

  { auto second = create_vcpu(*ram, vm::dejavm64_v1(), Execution::translate, &pool); }

  EXPECT_EQ(pool.idle(), kept);
}

}  // namespace
}  // namespace dejavm::soft
