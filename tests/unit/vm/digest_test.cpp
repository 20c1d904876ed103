// The RAM digest and the tracker that keeps it up to date.
#include <gmock/gmock.h>
#include <sys/mman.h>

#include <algorithm>

#include "fake_vcpu.h"
#include "vm/ram_digest.h"
#include "vm/state_tracker.h"

namespace dejavm::vm {
namespace {

using testing::ElementsAre;
using testing::Pair;

GuestMemory mapped(uint64_t pages) {
  GuestMemory memory = GuestMemory::create(pages * kPageSize, kPageSize).value();
  EXPECT_TRUE(memory.set_map({{{0}, pages * kPageSize, 0, true}}));
  return memory;
}

TEST(RamDigest, PagesOfZerosDoNotCount) {
  EXPECT_EQ(RamDigest(mapped(4)).value(), 0u);
  EXPECT_EQ(RamDigest(mapped(400)).value(), 0u);
}

TEST(RamDigest, UpdatesGiveWhatAFullHashGivesInAnyOrder) {
  GuestMemory memory = mapped(8);
  RamDigest forward(memory), backward(memory);
  for (uint64_t page : {1, 3, 6}) ASSERT_TRUE(memory.write({page * kPageSize + page}, Bytes{5, 5}, Writer::device));

  forward.update(memory, {1, 3, 6});
  backward.update(memory, {6, 3});
  backward.update(memory, {1, 0, 7});

  EXPECT_EQ(forward.value(), RamDigest(memory).value());
  EXPECT_EQ(backward.value(), forward.value());
  EXPECT_NE(forward.value(), 0u);
}

TEST(RamDigest, TheSameContentsOnAnotherPageIsAnotherDigest) {
  GuestMemory one = mapped(4), two = mapped(4);
  ASSERT_TRUE(one.write({0}, Bytes{1}, Writer::device));
  ASSERT_TRUE(two.write({kPageSize}, Bytes{1}, Writer::device));

  EXPECT_NE(RamDigest(one).value(), RamDigest(two).value());
}

TEST(RamDigest, UpdateNamesOnlyThePagesThatChanged) {
  GuestMemory memory = mapped(4);
  RamDigest digest(memory);
  ASSERT_TRUE(memory.write({2 * kPageSize}, Bytes{1}, Writer::device));

  auto changed = digest.update(memory, {0, 1, 2});
  auto again = digest.update(memory, {0, 1, 2});

  EXPECT_THAT(changed, ElementsAre(Pair(2u, page_hash(2, memory.page(2)))));
  EXPECT_TRUE(again.empty());
}

TEST(RamDigest, APageThatIsZeroedAgainLeavesNoTrace) {
  GuestMemory memory = mapped(4);
  RamDigest digest(memory);
  ASSERT_TRUE(memory.write({0}, Bytes{1}, Writer::device));
  digest.update(memory, {0});
  ASSERT_TRUE(memory.write({0}, Bytes{0}, Writer::device));

  digest.update(memory, {0});

  EXPECT_EQ(digest.value(), 0u);
}

TEST(RamDigest, RomIsNotRam) {
  GuestMemory memory = mapped(4);
  RamDigest digest(memory);
  ASSERT_TRUE(memory.write_backing(4 * kPageSize, Bytes{1}, Writer::loader));

  EXPECT_TRUE(digest.update(memory, {4, 1000}).empty());
  EXPECT_EQ(digest.value(), 0u);
}

TEST(StateTracker, SeesWhatTheCpuAndTheDevicesWrote) {
  GuestMemory memory = mapped(16);
  FakeVcpu vcpu(memory, {store(0x2000), halt()});
  CpuState cpu = FakeVcpu::start_state();
  cpu.gpr[rax] = 0x1234;
  ASSERT_TRUE(vcpu.set_state(cpu));
  StateTracker tracker(vcpu, memory);
  ASSERT_TRUE(vcpu.run(RunMode::free));
  ASSERT_TRUE(memory.write({0x5000}, Bytes{1}, Writer::device));

  uint64_t digest = tracker.refresh().value();

  EXPECT_EQ(digest, RamDigest(memory).value());
  EXPECT_THAT(tracker.take_changed(), ElementsAre(Pair(2u, testing::_), Pair(5u, testing::_)));
  EXPECT_TRUE(tracker.take_changed().empty());
}

TEST(StateTracker, TouchedPagesAreKeptUntilTaken) {
  GuestMemory memory = mapped(16);
  FakeVcpu vcpu(memory, {});
  StateTracker tracker(vcpu, memory);
  ASSERT_TRUE(memory.write({0x5000}, Bytes{0}, Writer::device));  // touched, not changed
  ASSERT_TRUE(tracker.refresh());
  ASSERT_TRUE(memory.write_backing(16 * kPageSize, Bytes{1}, Writer::loader));
  ASSERT_TRUE(tracker.refresh());

  EXPECT_TRUE(tracker.take_changed().empty());
  EXPECT_THAT(tracker.take_touched(), ElementsAre(5u, 16u));
  EXPECT_TRUE(tracker.take_touched().empty());
}

TEST(StateTracker, KnowsWhatWasLoadedBeforeIt) {
  GuestMemory memory = mapped(16);
  FakeVcpu vcpu(memory, {});
  ASSERT_TRUE(memory.write({0x5000}, Bytes{1}, Writer::loader));
  StateTracker tracker(vcpu, memory);

  EXPECT_EQ(tracker.refresh().value(), RamDigest(memory).value());
  EXPECT_TRUE(tracker.take_changed().empty());  // since the start
  EXPECT_TRUE(tracker.take_touched().empty());
}

TEST(StateTracker, DoesNotTouchRamThatNobodyWrote) {
  constexpr uint64_t kPages = 1024;
  GuestMemory memory = mapped(kPages);
  FakeVcpu vcpu(memory, {});
  ASSERT_TRUE(memory.write({0x5000}, Bytes{1}, Writer::loader));

  StateTracker tracker(vcpu, memory);

  std::vector<unsigned char> resident(kPages);
  ASSERT_EQ(::mincore(memory.host(0), kPages * kPageSize, resident.data()), 0);
  EXPECT_EQ(std::count_if(resident.begin(), resident.end(), [](unsigned char page) { return (page & 1) != 0; }), 1);
}

}  // namespace
}  // namespace dejavm::vm
