#include "vm/timer_queue.h"

#include <gmock/gmock.h>

#include "vm/deferred_work.h"

namespace dejavm::vm {
namespace {

using testing::ElementsAre;

class TimerQueueTest : public testing::Test {
 protected:
  std::function<void()> note(int number) {
    return [this, number] { ran_.push_back(number); };
  }

  ManualClock clock_;
  TimerQueue timers_{clock_};
  std::vector<int> ran_;
};

TEST_F(TimerQueueTest, RunsWhatIsDueInTheOrderOfDeadlines) {
  timers_.arm(30, note(3));
  timers_.arm(10, note(1));
  timers_.arm(20, note(2));
  timers_.arm(20, note(22));
  timers_.arm(31, note(4));

  timers_.run_due(30);

  EXPECT_THAT(ran_, ElementsAre(1, 2, 22, 3));
  EXPECT_EQ(timers_.next_deadline_ns(), 31u);
}

TEST_F(TimerQueueTest, CancelledTimersDoNotRun) {
  auto id = timers_.arm(10, note(1));

  timers_.cancel(id);
  timers_.cancel(id);
  timers_.cancel(12345);
  timers_.run_due(100);

  EXPECT_TRUE(ran_.empty());
  EXPECT_EQ(timers_.next_deadline_ns(), std::nullopt);
}

TEST_F(TimerQueueTest, CallbacksMayArmAndCancel) {
  TimerQueue::Id third = 0;
  timers_.arm(10, [&] {
    timers_.arm(15, note(2));
    timers_.arm(99, note(9));
    timers_.cancel(third);
  });
  third = timers_.arm(20, note(3));

  timers_.run_due(50);

  EXPECT_THAT(ran_, ElementsAre(2));
}

TEST_F(TimerQueueTest, IdsAreNeverUsedAgain) {
  auto first = timers_.arm(1, note(1));
  timers_.run_due(1);

  EXPECT_NE(first, 0u);
  EXPECT_NE(timers_.arm(1, note(1)), first);
}

TEST_F(TimerQueueTest, TheGuestsTimeStandsStillWhileItIsStopped) {
  clock_.advance(5);
  timers_.stop();
  clock_.advance(100);
  timers_.stop();  // once is enough
  uint64_t stopped = timers_.now_ns();
  timers_.start();
  timers_.start();
  clock_.advance(2);

  EXPECT_EQ(stopped, 5u);
  EXPECT_EQ(timers_.now_ns(), 7u);
}

TEST_F(TimerQueueTest, TimeStandsStillForAMoment) {
  {
    TimerQueue::Moment moment(timers_);
    clock_.advance(5);
    EXPECT_EQ(timers_.now_ns(), 5u);  // it begins when somebody asks
    clock_.advance(5);
    {
      TimerQueue::Moment inner(timers_);
      EXPECT_EQ(timers_.now_ns(), 5u);
    }
    EXPECT_EQ(timers_.now_ns(), 5u);
  }
  EXPECT_EQ(timers_.now_ns(), 10u);
}

TEST_F(TimerQueueTest, ToACallbackItIsWhatTheCallerSaid) {
  std::vector<uint64_t> times;
  timers_.arm(10, [&] { times.push_back(timers_.now_ns()); });
  clock_.advance(30);

  timers_.run_due(20);

  EXPECT_THAT(times, ElementsAre(20u));
  EXPECT_EQ(timers_.now_ns(), 30u);
}

TEST(DeferredWork, RunsWhatTheWorkPostsToo) {
  DeferredWork work;
  std::vector<int> ran;
  work.post([&] {
    ran.push_back(1);
    work.post([&] { ran.push_back(3); });
  });
  work.post([&] { ran.push_back(2); });

  work.run();

  EXPECT_THAT(ran, ElementsAre(1, 2, 3));
  EXPECT_TRUE(work.empty());
}

}  // namespace
}  // namespace dejavm::vm
