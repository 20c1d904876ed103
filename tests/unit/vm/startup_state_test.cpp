#include "vm/startup_state.h"

#include <gtest/gtest.h>

#include "vm/guest_memory.h"
#include "vm/translate.h"

namespace dejavm::vm {
namespace {

TEST(StartupState, RealModeRunsSixteenBitCodeAtTheAddress) {
  CpuState state = real_mode_state(0x8000);

  EXPECT_EQ(state.code_bits(), 16u);
  EXPECT_EQ(state.linear_rip(), 0x8000u);
  EXPECT_EQ(state.rflags & kRflagsIf, 0u);
}

TEST(StartupState, LongModeRunsSixtyFourBitCodeThroughTheTables) {
  GuestMemory memory = GuestMemory::create(0x8000, 0).value();
  ASSERT_TRUE(memory.set_map({{{0}, 0x8000, 0, true}}));
  store_le<uint64_t>(memory.host(0x3000), 0x4003);
  store_le<uint64_t>(memory.host(0x4000 + 8), 0x83);  // the second GiB shows the first

  CpuState state = long_mode_state(0x40001234, 0x3000);

  EXPECT_EQ(state.code_bits(), 64u);
  EXPECT_EQ(state.linear_rip(), 0x40001234u);
  EXPECT_EQ(state.rflags & kRflagsIf, 0u);
  auto at = translate(state, memory, {state.linear_rip()});
  ASSERT_TRUE(at) << at.error().what;
  EXPECT_EQ(at->value, 0x1234u);
}

}  // namespace
}  // namespace dejavm::vm
