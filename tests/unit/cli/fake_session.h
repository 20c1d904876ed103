// A session that stops as the test says.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "fake_machine.h"
#include "fake_vcpu.h"
#include "vm/session.h"

namespace dejavm::cli {

class FakeSession final : public vm::Session {
 public:
  FakeSession() { static_cast<void>(memory_.set_map({{{0}, vm::kRamSize, 0, true}})); }

  Result<vm::SessionStop> resume(vm::ResumeFor what) override {
    resumed.push_back(what);
    if (on_resume) on_resume();
    CHECK(!stops.empty());
    vm::SessionStop stop = stops.front();
    stops.pop_front();
    return stop;
  }
  void interrupt() override { ++interrupts; }
  Status set_breakpoints(const std::vector<vm::GuestVirt>& addresses) override {
    TRY(vcpu_.set_breakpoints(addresses));
    breakpoints = addresses;
    return {};
  }
  vm::FakeVcpu& vcpu() override { return vcpu_; }
  vm::GuestMemory& memory() override { return memory_; }
  const std::vector<vm::DeviceRegion>& devices() const override { return table; }
  vm::AccessBreaks& breaks() override { return breaks_; }
  const vm::AccessHistory& history() const override { return seen; }
  int64_t last_event() const override { return event; }
  std::string why_read_only() const override { return read_only; }

  std::deque<vm::SessionStop> stops;
  std::function<void()> on_resume;
  std::vector<vm::ResumeFor> resumed;
  std::vector<vm::GuestVirt> breakpoints;
  std::vector<vm::DeviceRegion> table = {{"edu", 0, vm::Space::mmio, 0xfebc0000, 0x100000, 0},
                                         {"serial0", 0, vm::Space::pio, 0x3f8, 8, 0},
                                         {"rtc", 0, vm::Space::pio, 0x72, 2, 2}};
  vm::AccessHistory seen;
  int64_t event = -1;
  int interrupts = 0;
  std::string read_only;

 private:
  vm::GuestMemory memory_ = vm::GuestMemory::create(vm::kRamSize, 0).value();
  vm::FakeVcpu vcpu_{memory_, {}};
  vm::AccessBreaks breaks_;
};

}  // namespace dejavm::cli
