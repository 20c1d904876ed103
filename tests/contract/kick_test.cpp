// kick() from other threads, and signals that are nobody's.
#include <pthread.h>
#include <signal.h>

#include <atomic>
#include <chrono>
#include <thread>

#include "contract_fixture.h"

namespace dejavm::contract {
namespace {

GUEST(kick_busy, 64, "1: inc rax; jmp 1b")
GUEST(kick_mmio, 64, "1: mov ecx, [rbx]; inc dword ptr [0x20000]; jmp 1b")
GUEST(kick_counted_mmio, 64, "xor edx, edx; mov ecx, 2000; 1: mov eax, [rbx]; add edx, eax; dec ecx; jnz 1b; hlt")
GUEST(kick_exceptions, 64, "xor ecx, ecx; 1: div ecx; jmp 1b")
GUEST(kick_exception_handler, 64, "add qword ptr [rsp], 2; inc edx; iretq")

/// Keeps this thread on the n-th of the CPUs that it may use: a busy guest would hold up a kicker on the same CPU.
class OnCpu {
 public:
  explicit OnCpu(int wanted) {
    pthread_getaffinity_np(pthread_self(), sizeof before_, &before_);
    wanted %= CPU_COUNT(&before_);
    int cpu = 0;
    while (!CPU_ISSET(cpu, &before_) || wanted > 0) {
      if (CPU_ISSET(cpu, &before_)) --wanted;
      ++cpu;
    }
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof one, &one);
  }
  ~OnCpu() { pthread_setaffinity_np(pthread_self(), sizeof before_, &before_); }

 private:
  cpu_set_t before_;
};

/// A guest that is kicked without a pause never gets to run.
constexpr auto kPause = std::chrono::microseconds(100);

CONTRACT_SUITE(Kick);

void ignore_signal(int) {}

/// Sends SIGUSR1 to a thread as fast as it can while it lives.
class SignalStorm {
 public:
  SignalStorm() : target_(pthread_self()) {
    struct sigaction action {};
    action.sa_handler = ignore_signal;
    sigaction(SIGUSR1, &action, &before_);
    thread_ = std::thread([this] {
      while (!stop_) {
        pthread_kill(target_, SIGUSR1);
        std::this_thread::yield();
      }
    });
  }
  ~SignalStorm() {
    stop_ = true;
    thread_.join();
    sigaction(SIGUSR1, &before_, nullptr);
  }

 private:
  pthread_t target_;
  struct sigaction before_ {};
  std::atomic<bool> stop_ = false;
  std::thread thread_;
};

TEST_P(Kick, EndsABusyLoop) {
  machine().start(kick_busy(), long_mode());
  std::thread other([&] { vcpu().kick(); });
  EXPECT_TRUE(is<vm::Interrupted>(machine().run()));
  other.join();
}

TEST_P(Kick, BeforeTheRunEndsIt) {
  machine().start(kick_busy(), long_mode());
  vcpu().kick();
  EXPECT_TRUE(is<vm::Interrupted>(machine().run()));
}

TEST_P(Kick, IsTakenOnce) {
  machine().start(kick_mmio(), long_mode());
  vcpu().kick();
  EXPECT_TRUE(is<vm::Interrupted>(machine().run()));
  EXPECT_TRUE(is<vm::DeviceAccess>(machine().run()));
}

TEST_P(Kick, DuringAnAccessFinishesItFirst) {
  machine().start(kick_mmio(), long_mode());
  machine().run();
  vcpu().reply(77);
  vcpu().kick();
  EXPECT_TRUE(is<vm::Interrupted>(machine().run()));
  EXPECT_EQ(machine().state().gpr[vm::rcx], 77u);
}

TEST_P(Kick, IsNotTakenForCompletion) {
  machine().start(kick_mmio(), long_mode());
  machine().run();
  vcpu().kick();
  EXPECT_TRUE(is<vm::Completed>(machine().run(vm::RunMode::complete)));
  EXPECT_TRUE(is<vm::Interrupted>(machine().run()));
}

TEST_P(Kick, WaitsForTheEndOfAStep) {
  machine().start(kick_busy(), long_mode());
  vcpu().kick();
  EXPECT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_TRUE(is<vm::Interrupted>(machine().run()));
}

TEST_P(Kick, NoneOfTenThousandIsLost) {
  constexpr int kKicks = 10'000;
  machine().start(kick_busy(), long_mode());
  std::atomic<int> wanted = 0;
  std::thread kicker([&] {
    OnCpu second(1);
    for (int kick = 1; kick <= kKicks; ++kick) {
      wanted.wait(kick - 1);
      vcpu().kick();
    }
  });
  OnCpu first(0);
  for (int kick = 1; kick <= kKicks; ++kick) {
    wanted = kick;
    wanted.notify_one();
    // The guest never exits by itself: a lost kick hangs here.
    ASSERT_TRUE(is<vm::Interrupted>(machine().run()));
  }
  kicker.join();
}

TEST_P(Kick, LeavesAConsistentStateBetweenExceptions) {
  machine().start(kick_exceptions(), long_mode());
  machine().handler(kick_exception_handler());
  std::atomic<bool> stop = false;
  std::thread kicker([&] {
    while (!stop) {
      vcpu().kick();
      std::this_thread::sleep_for(kPause);
    }
  });
  for (int kick = 0; kick < 300; ++kick) {
    EXPECT_TRUE(is<vm::Interrupted>(machine().run()));
    EXPECT_FALSE(vcpu().injection_pending().value_or(true));
  }
  stop = true;
  kicker.join();
}

TEST_P(Kick, StraySignalsEndNothing) {
  machine().start(kick_counted_mmio(), long_mode());
  SignalStorm storm;
  int accesses = 0;
  for (vm::Exit exit = machine().run(); is<vm::DeviceAccess>(exit); exit = machine().run()) {
    vcpu().reply(1);
    ++accesses;
  }
  EXPECT_EQ(accesses, 2000);
  EXPECT_EQ(machine().state().gpr[vm::rdx], 2000u);
}

TEST_P(Kick, StraySignalsDoNotDisturbSteps) {
  machine().start(kick_busy(), long_mode());
  SignalStorm storm;
  for (int step = 0; step < 2000; ++step) ASSERT_TRUE(is<vm::Stepped>(machine().run(vm::RunMode::step)));
  EXPECT_EQ(machine().state().gpr[vm::rax], 1000u);
}

TEST_P(Kick, AStormOfThemChangesNothingInTheGuest) {
  machine().start(kick_counted_mmio(), long_mode());
  std::atomic<bool> stop = false;
  std::thread kicker([&] {
    while (!stop) {
      vcpu().kick();
      std::this_thread::sleep_for(kPause);
    }
  });
  vm::Exit exit = machine().run();
  while (!is<vm::Halted>(exit)) {
    if (is<vm::DeviceAccess>(exit)) vcpu().reply(3);
    exit = machine().run();
  }
  stop = true;
  kicker.join();
  EXPECT_EQ(machine().state().gpr[vm::rdx], 6000u);
}

}  // namespace
}  // namespace dejavm::contract
