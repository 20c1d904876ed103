// What only the KVM engine has: opening the device, what it says when KVM cannot go on.
#include <pthread.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <random>
#include <thread>

#include "contract_fixture.h"
#include "engine/kvm/kvm_kick.h"
#include "engine/kvm/kvm_system.h"
#include "engine/kvm/kvm_vcpu.h"

namespace dejavm::contract {
namespace {

GUEST(kvm_x87_from_device, 64, "nop; fld dword ptr [rbx]; hlt")
GUEST(kvm_fetch_from_device, 64, "jmp rbx")
GUEST(kvm_frame_to_device, 64, "lea rsp, [rbx + 0x1000]; mov al, [rbx - 1]")

/// Interrupts the thread that makes it with a signal at random moments, while it lives.
class Interruptions {
 public:
  Interruptions() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &action, &before_);
    thread_ = std::thread([this, victim = ::pthread_self()] {
      std::mt19937 random(1);
      while (!quit_.load()) {
        std::this_thread::sleep_for(std::chrono::microseconds(random() % 100));
        ::pthread_kill(victim, SIGUSR1);
      }
    });
  }
  ~Interruptions() {
    quit_.store(true);
    thread_.join();
    ::sigaction(SIGUSR1, &before_, nullptr);
  }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;

 private:
  struct sigaction before_ {};
  std::atomic<bool> quit_{false};
  std::thread thread_;
};

class KvmEngine : public testing::Test {
 protected:
  void SetUp() override {
    auto engine = make_engine("kvm");
    if (!engine) GTEST_SKIP() << "kvm is not here: " << engine.error().what;
    engine_ = *engine;
    machine_ = TestMachine::create(engine_);
    ASSERT_NE(machine_, nullptr);
  }
  Engine engine_;
  std::unique_ptr<TestMachine> machine_;
};

TEST(KvmHost, AMissingDeviceIsNamedWithAWayOut) {
  auto host = kvm::KvmHost::open("/nonexistent/kvm");
  ASSERT_FALSE(host.has_value());
  EXPECT_EQ(host.error().what, "cannot open /nonexistent/kvm: No such file or directory");
  EXPECT_NE(host.error().next.find("-accel soft"), std::string::npos);
}

TEST(KvmHost, AForeignDeviceIsRefused) {
  auto host = kvm::KvmHost::open("/dev/null");
  ASSERT_FALSE(host.has_value());
  EXPECT_NE(host.error().what.find("/dev/null does not speak KVM"), std::string::npos);
}

TEST_F(KvmEngine, TheProbeFindsTheSameEveryTime) {
  auto again = kvm::KvmHost::open();
  ASSERT_TRUE(again.has_value());
  EXPECT_EQ((*again)->capabilities().description, machine_->vcpu->capabilities().description);
  RecordProperty("found", (*again)->capabilities().description);
}

TEST_F(KvmEngine, SignalsDoNotKeepAVmFromBeingMade) {
  auto system = kvm::KvmSystem::open("/dev/kvm");
  ASSERT_TRUE(system.has_value());
  Interruptions interruptions;
  for (int i = 0; i < 100; ++i) {
    auto vm = system->create_vm();
    ASSERT_TRUE(vm.has_value()) << vm.error().what;
  }
}

/// Of an access to a device every KVM emulates the instruction; none has this one.
TEST_F(KvmEngine, AnInstructionThatKvmLacksIsDisassembled) {
  machine_->start(kvm_x87_from_device(), long_mode());
  auto exit = machine_->vcpu->run(vm::RunMode::free);
  ASSERT_FALSE(exit.has_value());
  EXPECT_NE(exit.error().what.find("at 0x8001: d903  fld"), std::string::npos) << exit.error().what;
  EXPECT_NE(exit.error().what.find("rip 0000000000008001"), std::string::npos);
}

/// Where a CPU delivers exceptions, KVM tries this one for ever.
TEST_F(KvmEngine, AKickEndsTheDeliveryOfAnExceptionWhoseFrameIsNotInRam) {
  machine_->start(kvm_frame_to_device(), long_mode());
  std::atomic<bool> stop = false;
  std::thread kicker([&] {
    while (!stop.load()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      machine_->vcpu->kick();
    }
  });
  auto exit = machine_->vcpu->run(vm::RunMode::free);
  for (int i = 0; i < 100 && exit && is<vm::Interrupted>(*exit); ++i) exit = machine_->vcpu->run(vm::RunMode::free);
  stop.store(true);
  kicker.join();
  if (exit && !is<vm::Interrupted>(*exit)) GTEST_SKIP() << "this KVM emulates the delivery, which has an end";
  ASSERT_FALSE(exit.has_value());
  EXPECT_NE(exit.error().what.find("does not get to its handler"), std::string::npos) << exit.error().what;
}

TEST(KvmKick, WaitsInVainWhenTheWhilesOfItsPatienceHaveGoneByAndIsPatientAgainWhenTaken) {
  ASSERT_TRUE(kvm::KickSwitch::install_handler().has_value());
  uint8_t immediate_exit = 0;
  kvm::KickSwitch kick(immediate_exit, 3);
  kick.before_step();
  kick.kick();
  EXPECT_FALSE(kick.waits_in_vain());
  while (!kick.waits_in_vain()) ASSERT_TRUE(kick.postpone().has_value());
  EXPECT_TRUE(kick.take());
  EXPECT_FALSE(kick.waits_in_vain());
}

TEST_F(KvmEngine, RunningIntoADeviceIsAnError) {
  machine_->start(kvm_fetch_from_device(), long_mode());
  auto exit = machine_->vcpu->run(vm::RunMode::free);
  ASSERT_FALSE(exit.has_value());
  EXPECT_NE(exit.error().what.find("at 0xc0000000: no bytes can be read there"), std::string::npos) << exit.error().what;
}

}  // namespace
}  // namespace dejavm::contract
