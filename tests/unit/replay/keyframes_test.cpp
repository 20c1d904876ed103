// Which keyframes of a trace a timeline may go on from.
#include "replay/keyframes.h"

#include "replaying.h"
#include "vm/ram_digest.h"

namespace dejavm::replay {
namespace {

class KeyframesOfATrace : public testing::Test {
 protected:
  /// A trace of halts with a keyframe behind each, that claims so many steps.
  void write(const std::vector<std::optional<trace::StepCounts>>& claims) {
    vm::GuestMemory memory = vm::GuestMemory::create(vm::kRamSize, 0).value();
    auto writer = trace::Writer::create(folder_.file("t.dvt"), fake_description(), memory).value();
    for (const auto& steps : claims) {
      ASSERT_TRUE(writer->append({trace::HaltEvent{}}));
      ASSERT_TRUE(writer->append_keyframe(vm::FakeVcpu::start_state(), memory, {}, {}, steps, 0));
    }
    ASSERT_TRUE(writer->finish(dead_end()));
    reader_ = trace::Reader::open(folder_.file("t.dvt")).value();
  }
  std::vector<size_t> usable(const Moment& beginning = {}) const {
    Keyframes keyframes(*reader_, beginning);
    std::vector<size_t> indices;
    while (const Keyframes::Place* last = keyframes.last([](const auto&) { return true; })) {
      indices.insert(indices.begin(), last->index);
      keyframes.forget(*last);
    }
    return indices;
  }

  TempFolder folder_;
  std::unique_ptr<trace::Reader> reader_;
};

TEST_F(KeyframesOfATrace, ThoseWithoutACountOfStepsHaveNoPlace) {
  write({trace::StepCounts{100, 90}, {}, trace::StepCounts{300, 290}});

  EXPECT_EQ(usable(), (std::vector<size_t>{0, 2}));
}

TEST_F(KeyframesOfATrace, ThoseOutOfOrderCountAsAbsent) {
  write({trace::StepCounts{100, 90}, trace::StepCounts{50, 40}, trace::StepCounts{300, 290}});

  EXPECT_EQ(usable(), (std::vector<size_t>{0, 2}));
}

TEST_F(KeyframesOfATrace, ThoseBeforeTheBeginningAreOfNoUse) {
  write({trace::StepCounts{100, 90}, trace::StepCounts{200, 190}});

  EXPECT_EQ(usable({100, 0}), (std::vector<size_t>{1}));
}

TEST_F(KeyframesOfATrace, TheLastEarlyOneIsFoundWithItsPosition) {
  write({trace::StepCounts{100, 90}, trace::StepCounts{200, 190}, trace::StepCounts{300, 260}});
  Keyframes keyframes(*reader_, {});

  const Keyframes::Place* place = keyframes.last([](const auto& one) { return one.moment.total_steps <= 200; });

  ASSERT_NE(place, nullptr);
  EXPECT_EQ(place->position(), (Position{1, 10}));
  EXPECT_EQ(keyframes.load(*place)->state.next_event, 2u);
  EXPECT_EQ(keyframes.last([](const auto&) { return false; }), nullptr);
}

// ---- What the digest before one says

class KeyframeBehindADigest : public KeyframesOfATrace {
 protected:
  /// A keyframe right behind a digest, with a page of RAM that is not zero.
  void write_with(uint64_t cpu_hash_off, uint64_t ram_digest_off, trace::StepCounts steps = {100, 100}) {
    vm::GuestMemory memory = vm::GuestMemory::create(vm::kRamSize, 0).value();
    const Bytes bytes{1, 2, 3};
    auto writer = trace::Writer::create(folder_.file("t.dvt"), fake_description(), memory).value();
    ASSERT_TRUE(writer->append({trace::HaltEvent{}}));
    ASSERT_TRUE(memory.write_backing(vm::kPageSize, bytes, vm::Writer::replay));
    const vm::CpuState cpu = vm::FakeVcpu::start_state();
    ASSERT_TRUE(writer->append(
        {trace::DigestEvent{vm::hash(cpu) + cpu_hash_off, vm::RamDigest(memory).value() + ram_digest_off, {}, false}}));
    ASSERT_TRUE(writer->append_keyframe(cpu, memory, {}, {1}, steps, 0));
    ASSERT_TRUE(writer->finish(dead_end()));
    reader_ = trace::Reader::open(folder_.file("t.dvt")).value();
  }
  Status load() const {
    Keyframes keyframes(*reader_, {});
    auto loaded = keyframes.load(*keyframes.last([](const auto&) { return true; }));
    return loaded ? Status{} : tl::make_unexpected(loaded.error());
  }
  /// What a replay that starts there says.
  Status start() const {
    vm::GuestMemory memory = load_memory(*reader_, 0).value();
    vm::FakeVcpu vcpu(memory, {});
    ManualClock clock;
    auto replayer = Replayer::create(*reader_, vcpu, memory, clock, {.from_keyframe = 0});
    return replayer ? Status{} : tl::make_unexpected(replayer.error());
  }
};

TEST_F(KeyframeBehindADigest, IsTakenWhereTheyAgree) {
  write_with(0, 0);

  EXPECT_TRUE(load());
  EXPECT_TRUE(start());
}

TEST_F(KeyframeBehindADigest, IsDamageWhereTheCpuDiffers) {
  write_with(1, 0);

  for (const Status& status : {load(), start()}) {
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().kind, ErrorKind::damaged);
    EXPECT_NE(status.error().what.find("keyframe 1, after event 0, is damaged"), std::string::npos) << status.error().what;
  }
}

TEST_F(KeyframeBehindADigest, IsDamageWhereRamDiffers) {
  write_with(0, 1);

  EXPECT_FALSE(load());
  EXPECT_FALSE(start());
}

TEST_F(KeyframeBehindADigest, IsNotComparedWhereTheGuestRanOnInBetween) {
  write_with(1, 1, {100, 90});

  EXPECT_TRUE(load());
}

}  // namespace
}  // namespace dejavm::replay
