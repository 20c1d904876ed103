// Which keyframes of a trace a timeline may go on from.
#include "replay/keyframes.h"

#include "replaying.h"

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
  EXPECT_EQ(keyframes.state(*place)->next_event, 2u);
  EXPECT_EQ(keyframes.last([](const auto&) { return false; }), nullptr);
}

}  // namespace
}  // namespace dejavm::replay
