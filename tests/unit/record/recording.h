// A guest on a fake board under a LiveSession that records into memory.
#pragma once

#include <gtest/gtest.h>

#include "fake_machine.h"
#include "fake_vcpu.h"
#include "fake_writer.h"
#include "record/descriptor_input.h"
#include "record/live_session.h"

namespace dejavm::record {

/// kPowerPort of "dev": writing 0 powers off, any other value asks for a reset.
inline constexpr uint16_t kPowerPort = vm::kPort + 1;

class Recording {
 public:
  explicit Recording(vm::Program program, LiveOptions options = {}, bool recorded = true, int input_fd = -1)
      : vcpu(machine.memory(), std::move(program)), input(input_fd, machine.input) {
    if (input_fd >= 0) options.inputs.push_back(&input);
    machine.device.on_write = [this](unsigned region, uint64_t offset, uint64_t value) { written(region, offset, value); };
    session = LiveSession::create(machine, vcpu, model, clock, recorded ? &log : nullptr, options).value();
  }

  /// Runs to the next stop.
  vm::SessionStop go(vm::ResumeFor what = vm::ResumeFor::go) {
    auto stop = session->resume(what);
    EXPECT_TRUE(stop.has_value()) << stop.error().what;
    return stop.value_or(vm::SessionStop{});
  }
  std::vector<std::string> events() const { return log.texts(); }
  /// The placement of the numbered event `number`.
  const trace::Where& where(size_t number) const {
    std::vector<const trace::Event*> numbered;
    for (const trace::Event& event : log.all) {
      if (trace::is_numbered(event.body)) numbered.push_back(&event);
    }
    const trace::Where* found = trace::where_of(numbered.at(number)->body);
    CHECK(found != nullptr);
    return *found;
  }
  /// Advances the clock with every instruction.
  void tick(uint64_t ns) {
    vcpu.on_instruction = [this, ns] { clock.advance(ns); };
  }

  ManualClock clock;
  vm::FakeMachine machine{clock};
  vm::FakeVcpu vcpu;
  vm::CpuModel model{"fake", {}, {{0x1b, 0xfee00900}}};
  DescriptorInput input;
  FakeWriter log;
  std::function<void(uint64_t offset, uint64_t value)> on_write;  ///< a device register was written
  std::unique_ptr<LiveSession> session;

 private:
  void written(unsigned region, uint64_t offset, uint64_t value) {
    if (region == 1 && offset == kPowerPort - vm::kPort) {
      auto kind = value == 0 ? vm::PowerEvent::Kind::power_off : vm::PowerEvent::Kind::reset;
      machine.power = vm::PowerEvent{kind, "the test", 0};
    }
    if (on_write) on_write(offset, value);
  }
};

}  // namespace dejavm::record
