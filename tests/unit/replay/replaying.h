// A trace in a file and its replay on FakeVcpu.
#pragma once

#include <gtest/gtest.h>

#include "base/check.h"
#include "fake_machine.h"
#include "fake_vcpu.h"
#include "replay/replayer.h"
#include "temp_folder.h"
#include "trace/writer.h"

namespace dejavm::replay {

inline trace::Description fake_description() {
  trace::Description d;
  d.tool = "dejavm test";
  d.engine = "fake";
  d.machine = "fake";
  d.cpu_model.name = "fake";
  d.ram_size = vm::kRamSize;
  d.memory = {{{0}, vm::kRamSize, 0, true}};
  d.devices = {{"dev", 0, vm::Space::mmio, vm::kDevice, 0x1000, 0}, {"dev", 1, vm::Space::pio, vm::kPort, 16, 0}};
  d.cpu = vm::FakeVcpu::start_state();
  d.replayable_on = {"fake"};
  return d;
}

inline trace::Event mmio_read(uint64_t addr, uint64_t value, uint8_t size = 4) {
  return {trace::AccessEvent{{vm::Space::mmio, vm::Direction::read, size, addr, value}, false, {}}};
}
inline trace::Event mmio_write(uint64_t addr, uint64_t value, uint8_t size = 4) {
  return {trace::AccessEvent{{vm::Space::mmio, vm::Direction::write, size, addr, value}, false, {}}};
}
inline trace::Event irq(uint8_t vector, trace::Where where = {}) {
  return {trace::InterruptEvent{vector, std::move(where)}};
}
inline trace::Event dma(uint64_t offset, Bytes bytes, trace::Where where = {}) {
  return {trace::MemoryWriteEvent{offset, std::move(bytes), std::move(where)}};
}

/// Writes a trace of these events; without an end it stays unsealed.
inline void write_trace(const std::string& path, const std::vector<trace::Event>& events, std::optional<trace::End> end,
                        const trace::Description& description = fake_description()) {
  vm::GuestMemory memory = vm::GuestMemory::create(description.ram_size, 0).value();
  auto writer = trace::Writer::create(path, description, memory).value();
  for (const trace::Event& event : events) CHECK(writer->append(event).has_value());
  if (!end) return;
  end->events = writer->events();
  CHECK(writer->finish(*end).has_value());
}

/// The end of a guest that is in this state and has this RAM.
inline trace::End end_of(const vm::CpuState& cpu, uint64_t ram_digest) {
  return {.ram_digest = ram_digest, .cpu_hash = vm::hash(cpu), .reason = "the test is over"};
}

/// An end whose CPU nobody looks at, and RAM all zero.
inline trace::End dead_end() { return {.reason = "the test is over", .cpu_is_dead = true}; }

/// Opens a trace and replays it; `sealed` with `end`, or unsealed.
class Replaying {
 public:
  Replaying(const std::vector<trace::Event>& events, vm::Program program, std::optional<trace::End> end = std::nullopt,
            ReplayOptions options = {}) {
    write_trace(folder.file("t.dvt"), events, std::move(end));
    open(folder.file("t.dvt"), std::move(program), options);
  }
  Replaying(const std::string& path, vm::Program program, ReplayOptions options = {}) {
    open(path, std::move(program), options);
  }

  vm::SessionStop go(vm::ResumeFor what = vm::ResumeFor::go) {
    auto stop = replayer->resume(what);
    EXPECT_TRUE(stop.has_value()) << stop.error().what;
    return stop.value_or(vm::SessionStop{});
  }
  const Divergence& divergence() const {
    CHECK(replayer->divergences().size() == 1);
    return replayer->divergences()[0];
  }

  TempFolder folder;
  ManualClock clock;
  std::unique_ptr<trace::Reader> reader;
  std::optional<vm::GuestMemory> memory;
  std::unique_ptr<vm::FakeVcpu> vcpu;
  std::unique_ptr<Replayer> replayer;

 private:
  void open(const std::string& path, vm::Program program, const ReplayOptions& options) {
    reader = trace::Reader::open(path).value();
    memory.emplace(load_memory(*reader, options.from_keyframe).value());
    vcpu = std::make_unique<vm::FakeVcpu>(*memory, std::move(program));
    replayer = Replayer::create(*reader, *vcpu, *memory, clock, options).value();
  }
};

}  // namespace dejavm::replay
