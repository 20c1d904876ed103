// What a replay from a keyframe knows about the steps before it.
#include "replaying.h"

namespace dejavm::replay {
namespace {

class KeyframeStart : public testing::Test {
 protected:
  void SetUp() override {
    vm::GuestMemory memory = vm::GuestMemory::create(vm::kRamSize, 0).value();
    auto writer = trace::Writer::create(path(), fake_description(), memory).value();
    ASSERT_TRUE(writer->append({trace::HaltEvent{}}));
    for (std::optional<trace::StepCounts> steps : {std::optional(trace::StepCounts{700, 650}), {}}) {
      ASSERT_TRUE(writer->append_keyframe(vm::FakeVcpu::start_state(), memory, {}, {}, steps, 0));
    }
    ASSERT_TRUE(writer->finish(dead_end()));
  }
  std::string path() const { return folder_.file("t.dvt"); }
  std::optional<uint64_t> steps_of(std::optional<size_t> keyframe) const {
    return steps_at_start(*trace::Reader::open(path()).value(), keyframe).value();
  }

 private:
  TempFolder folder_;
};

TEST_F(KeyframeStart, TheStartHasNoStepsBeforeIt) { EXPECT_EQ(steps_of(std::nullopt), 0u); }

TEST_F(KeyframeStart, AKeyframeSaysHowManyItHas) { EXPECT_EQ(steps_of(0), 700u); }

TEST_F(KeyframeStart, OneThatDoesNotSaySoIsNotTakenForTheStart) { EXPECT_EQ(steps_of(1), std::nullopt); }

TEST_F(KeyframeStart, AKeyframeThatIsNotThereIsAnError) {
  auto reader = trace::Reader::open(path()).value();

  EXPECT_FALSE(steps_at_start(*reader, 2));
}

TEST_F(KeyframeStart, ACountOfInstructionsIsRefusedWhereTheStartIsUnknown) {
  auto reader = trace::Reader::open(path()).value();
  vm::GuestMemory memory = load_memory(*reader, 1).value();
  vm::FakeVcpu vcpu(memory, {});
  vcpu.can.exact_steps = true;
  ManualClock clock;

  auto replayer = Replayer::create(*reader, vcpu, memory, clock,
                                   {.until = Position{.steps = 5, .from_start = true}, .from_keyframe = 1});

  ASSERT_FALSE(replayer);
  EXPECT_EQ(replayer.error().kind, ErrorKind::usage);
  EXPECT_NE(replayer.error().what.find("a start of which the count is known"), std::string::npos);
}

}  // namespace
}  // namespace dejavm::replay
