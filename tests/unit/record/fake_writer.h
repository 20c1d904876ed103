// A trace in memory, for tests of the recorder.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "trace/event_text.h"
#include "trace/writer.h"

namespace dejavm::record {

class FakeWriter final : public trace::Writer {
 public:
  Status append_access(const trace::AccessEvent& event, uint64_t time_us) override { return append({event, time_us}); }
  Status append(const trace::Event& event) override {
    if (all.size() == fail_after) return fail("the disk is full");
    all.push_back(event);
    return {};
  }
  Status append_keyframe(const vm::CpuState& cpu, const vm::GuestMemory&, const std::vector<vm::DeviceRegion>&,
                         const std::vector<uint64_t>& pages, std::optional<trace::StepCounts> steps,
                         uint64_t time_us) override {
    keyframes.push_back({cpu, pages, steps});
    return append({trace::KeyframeEvent{keyframes.size() - 1}, time_us});
  }
  uint64_t events() const override { return texts().size(); }
  Status finish(const trace::End& sealed) override {
    end = sealed;
    return {};
  }

  /// The numbered events as text.
  std::vector<std::string> texts(const std::vector<vm::DeviceRegion>& devices = {}) const {
    std::vector<std::string> lines;
    for (const trace::Event& event : all) {
      if (trace::is_numbered(event.body)) lines.push_back(trace::describe(event.body, devices));
    }
    return lines;
  }

  struct Keyframe {
    vm::CpuState cpu;
    std::vector<uint64_t> pages;
    std::optional<trace::StepCounts> steps;
  };
  std::vector<trace::Event> all;
  std::vector<Keyframe> keyframes;
  std::optional<trace::End> end;
  size_t fail_after = SIZE_MAX;
};

}  // namespace dejavm::record
