// The machine of the contract tests: one vCPU of the engine under test, 640 KiB of RAM, devices everywhere else.
#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "guest_code.h"
#include "vm/cpu_model.h"
#include "vm/guest_memory.h"
#include "vm/ram_digest.h"
#include "vm/vcpu.h"

namespace dejavm::contract {

/// An engine: whatever its vCPUs borrow, and how they are made.
struct Engine {
  std::shared_ptr<void> host;
  std::function<Result<std::unique_ptr<vm::Vcpu>>(vm::GuestMemory&, const vm::CpuModel&)> create;
  vm::CpuModel model;  ///< dejavm64-v1 as its guests see it on this host
  bool steps_rep_by_element = false;
  bool runs_kernels = false;  ///< ring 0 has all instructions
};
/// By its name; an error where this host cannot have it.
Result<Engine> make_engine(const std::string& name);

inline constexpr uint64_t kRamSize = 0xa0000;
inline constexpr uint64_t kCode = 0x8000;
inline constexpr uint64_t kStack = 0x7000;
inline constexpr uint64_t kHandler = 0x9000;  ///< of every vector in long_mode()
inline constexpr uint64_t kData = 0x20000;
inline constexpr uint64_t kMmio = 0xc0000000;  ///< two MiB of devices, mapped in long_mode()

/// Real mode with zero segment bases, at kCode.
vm::CpuState real_mode();
/// 64-bit ring 0 at kCode: linear = physical below 2 MiB and at kMmio; every vector goes to kHandler; rbx = kMmio.
vm::CpuState long_mode();

vm::Access read_of(uint64_t addr, unsigned size);
vm::Access write_of(uint64_t addr, unsigned size, uint64_t value);
vm::Access in_of(uint64_t port, unsigned size);
vm::Access out_of(uint64_t port, unsigned size, uint64_t value);

/// RAM and a vCPU over it.
struct TestMachine {
  static std::unique_ptr<TestMachine> create(const Engine& engine);

  void load(uint64_t gpa, ByteSpan bytes);
  /// Code at kCode, the tables of long_mode(), and the state.
  void start(ByteSpan code, const vm::CpuState& state);
  void handler(ByteSpan code) { load(kHandler, code); }
  uint64_t u64(uint64_t gpa) const;
  vm::CpuState state() const;
  uint64_t ram_digest() const { return vm::RamDigest(memory).value(); }

  /// Fails the test on an error of the engine.
  vm::Exit run(vm::RunMode mode = vm::RunMode::free);

  vm::GuestMemory memory;
  std::unique_ptr<vm::Vcpu> vcpu;
};

/// What the device answers to the n-th access.
uint64_t answer(size_t n);

/// Runs until HLT, answering every access; `complete` finishes each instruction before the next run.
std::vector<vm::Access> accesses_until_halt(TestMachine& machine, bool complete);

template <typename Wanted>
bool is(const vm::Exit& exit) {
  return std::holds_alternative<Wanted>(exit);
}

class Contract : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override;
  TestMachine& machine() { return *machine_; }
  std::unique_ptr<TestMachine> another_machine() { return TestMachine::create(engine_); }
  vm::Vcpu& vcpu() { return *machine_->vcpu; }
  const Engine& engine() const { return engine_; }

 private:
  Engine engine_;
  std::unique_ptr<TestMachine> machine_;
};

/// The engines that a suite runs over.
#define CONTRACT_SUITE(SUITE)                           \
  class SUITE : public ::dejavm::contract::Contract {}; \
  INSTANTIATE_TEST_SUITE_P(Engines, SUITE, ::testing::Values("kvm", "soft"), [](const auto& engine) { return engine.param; })

}  // namespace dejavm::contract

namespace dejavm::vm {
void PrintTo(const Access& access, std::ostream* out);
}
