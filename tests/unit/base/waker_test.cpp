// No test here says how long anything takes: each waits until what must happen has happened.
#include "base/waker.h"

#include <gtest/gtest.h>
#include <unistd.h>

namespace dejavm {
namespace {

/// Counts kicks, and lets a test wait for them.
class Kicks {
 public:
  std::function<void()> kick() {
    return [this] {
      std::lock_guard lock(mutex_);
      ++count_;
      changed_.notify_all();
    };
  }
  void wait_for(unsigned count) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return count_ >= count; });
  }
  unsigned count() {
    std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  unsigned count_ = 0;
};

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(::pipe(fds), 0);
    reading = Fd(fds[0]);
    writing = Fd(fds[1]);
  }
  void put() { EXPECT_TRUE(write_all(writing.get(), Bytes{1}, "pipe")); }
  Fd reading, writing;
};

TEST(Waker, ADemandRaisesAttentionAndKicksAtOnce) {
  Kicks kicks;
  ManualClock clock;
  auto waker = Waker::create(clock, kicks.kick()).value();

  waker->demand();
  waker->wait();

  EXPECT_TRUE(waker->attention());
  EXPECT_EQ(kicks.count(), 1u);
  waker->rearm();
  EXPECT_FALSE(waker->attention());
}

TEST(Waker, ADemandFromAnotherThreadEndsAWait) {
  Kicks kicks;
  ManualClock clock;
  auto waker = Waker::create(clock, kicks.kick()).value();
  std::thread other([&] { waker->demand(); });

  waker->wait();

  EXPECT_TRUE(waker->attention());
  other.join();
}

TEST(Waker, ADeadlineThatNobodyHeedsKicksAfterTheGraceAndAgain) {
  Kicks kicks;
  MonotonicClock clock;
  auto waker = Waker::create(clock, kicks.kick()).value();
  uint64_t deadline = clock.now_ns();

  waker->set_deadline(deadline);
  kicks.wait_for(1);
  uint64_t first = clock.now_ns();
  kicks.wait_for(2);

  EXPECT_GE(first, deadline + Waker::kGraceNs);
  EXPECT_FALSE(waker->attention());  // the vCPU's thread looks at its deadline itself
}

TEST(Waker, AGraceOfItsOwnDecidesWhenADeadlineKicks) {
  Kicks kicks;
  ManualClock clock;
  auto waker = Waker::create(clock, kicks.kick()).value();
  waker->set_deadline(1'000, 5'000);

  clock.advance(6'000);
  kicks.wait_for(1);

  EXPECT_FALSE(waker->attention());
}

TEST(Waker, AWaitEndsAtTheDeadline) {
  Kicks kicks;
  MonotonicClock clock;
  auto waker = Waker::create(clock, kicks.kick()).value();
  uint64_t deadline = clock.now_ns() + 2'000'000;

  waker->set_deadline(deadline);
  waker->wait();

  EXPECT_GE(clock.now_ns(), deadline);
}

TEST(Waker, AReadableDescriptorRaisesAttentionAndKicksAfterTheGrace) {
  Kicks kicks;
  MonotonicClock clock;
  Pipe pipe;
  auto waker = Waker::create(clock, kicks.kick()).value();
  waker->watch(pipe.reading.get());

  pipe.put();
  waker->wait();

  EXPECT_TRUE(waker->attention());
  kicks.wait_for(1);
}

TEST(Waker, ADescriptorThatStaysReadableRaisesAttentionAgainAfterRearm) {
  Kicks kicks;
  ManualClock clock;
  Pipe pipe;
  auto waker = Waker::create(clock, kicks.kick()).value();
  waker->watch(pipe.reading.get());
  pipe.put();
  waker->wait();

  waker->rearm();
  waker->wait();

  EXPECT_TRUE(waker->attention());
}

TEST(Waker, ADescriptorThatIsNotWatchedAnyMoreIsSilent) {
  Kicks kicks;
  ManualClock clock;
  Pipe ignored, heard;
  auto waker = Waker::create(clock, kicks.kick()).value();
  waker->watch(ignored.reading.get());
  waker->unwatch(ignored.reading.get());
  waker->watch(heard.reading.get());
  ignored.put();
  heard.put();
  waker->wait();
  waker->unwatch(heard.reading.get());
  waker->rearm();

  waker->set_deadline(0);  // passed already: the wait returns at once, with no attention but that of a descriptor
  waker->wait();

  EXPECT_FALSE(waker->attention());
}

TEST(Waker, EndsWhileEverythingIsPending) {
  Kicks kicks;
  MonotonicClock clock;
  Pipe pipe;
  auto waker = Waker::create(clock, kicks.kick()).value();
  waker->watch(pipe.reading.get());
  waker->set_deadline(clock.now_ns() + 3'600'000'000'000);
  pipe.put();

  waker.reset();  // joins its thread

  SUCCEED();
}

}  // namespace
}  // namespace dejavm
