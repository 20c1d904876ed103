// What only the KVM engine has: opening the device, what it says when KVM cannot go on.
#include <unistd.h>

#include "contract_fixture.h"
#include "engine/kvm/kvm_vcpu.h"

namespace dejavm::contract {
namespace {

GUEST(kvm_unsupported, 64, "nop; xsave [rbx]; hlt")
GUEST(kvm_fetch_from_device, 64, "jmp rbx")

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

TEST_F(KvmEngine, AnInstructionThatKvmLacksIsDisassembled) {
  machine_->start(kvm_unsupported(), long_mode());
  auto exit = machine_->vcpu->run(vm::RunMode::free);
  ASSERT_FALSE(exit.has_value());
  EXPECT_NE(exit.error().what.find("at 0x8001: 0fae23  xsave [rbx]"), std::string::npos) << exit.error().what;
  EXPECT_NE(exit.error().what.find("rip 0000000000008001"), std::string::npos);
}

TEST_F(KvmEngine, RunningIntoADeviceIsAnError) {
  machine_->start(kvm_fetch_from_device(), long_mode());
  auto exit = machine_->vcpu->run(vm::RunMode::free);
  ASSERT_FALSE(exit.has_value());
  EXPECT_NE(exit.error().what.find("at 0xc0000000: no bytes can be read there"), std::string::npos) << exit.error().what;
}

}  // namespace
}  // namespace dejavm::contract
