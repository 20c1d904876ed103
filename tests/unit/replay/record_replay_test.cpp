// The key property: what a session records on a board with interrupts, timers, DMA and kicks at random moments, a replay
// without the board repeats exactly.
#include <gmock/gmock.h>

#include <random>

#include "record/live_session.h"
#include "replaying.h"

namespace dejavm::replay {
namespace {

using vm::kCode;
using vm::kDevice;
using Kind = vm::SessionStop::Kind;

// Registers of the board's device.
constexpr uint64_t kRandom = kDevice, kDoorbell = kDevice + 0x10, kTimer = kDevice + 0x20, kAcknowledge = kDevice + 0x30;
constexpr uint8_t kTimerVector = 0x21, kDmaVector = 0x22;

/// A driver that polls, rings doorbells, arms timers, works with interrupts on and off, sleeps now and then and loops.
vm::Program driver() {
  vm::Program program = {vm::sti(),
                         vm::read(kRandom),
                         vm::store(0x2000),
                         vm::write(kDoorbell, std::nullopt),
                         vm::nop(),
                         vm::nop(),
                         vm::increment(kDevice + 0x40),
                         vm::write(kTimer, std::nullopt),
                         vm::cli(),
                         vm::read(kRandom),
                         vm::store(0x6000),
                         vm::nop(),
                         vm::nop(),
                         vm::write(kDoorbell, 3),
                         vm::nop(),
                         vm::sti(),
                         vm::nop(),
                         vm::nop(),
                         vm::nop(),
                         vm::store(0x7000),
                         vm::write(kTimer, 9),
                         vm::halt(),
                         vm::nop(),
                         vm::loop(kCode + 4),
                         vm::out(vm::kPort, 0)};
  program.handler(kTimerVector, {vm::read(kRandom), vm::store(0x8000), vm::write(kAcknowledge, 1), vm::iret()});
  program.handler(kDmaVector, {vm::read(kAcknowledge), vm::iret()});
  return program;
}

/// The guest's CPU as it starts: 40 rounds of the driver.
vm::CpuState start_of_driver() {
  vm::CpuState cpu = vm::FakeVcpu::start_state();
  cpu.gpr[vm::rcx] = 40;
  return cpu;
}

/// A clock that goes on a little whenever it is read, so that a halted guest's timers come due.
class RunningClock final : public Clock {
 public:
  explicit RunningClock(uint64_t step_ns) : step_ns_(step_ns) {}
  uint64_t now_ns() const override { return ns_ += step_ns_; }

 private:
  uint64_t step_ns_;
  mutable std::atomic<uint64_t> ns_{0};
};

struct RecordingOptions {
  unsigned seed = 1;
  bool exact_window = true;
  unsigned kick_one_in = 20;
  std::optional<uint64_t> keyframe_ns{};
  uint64_t clock_step_ns = 20;
  uint64_t tick_ns = 20'000;
};

/// Records the driver on a board that answers at random.
trace::End record_driver(const std::string& path, const RecordingOptions& options) {
  std::mt19937 random(options.seed);
  RunningClock clock(options.clock_step_ns);
  vm::FakeMachine machine(clock);
  vm::FakeVcpu vcpu(machine.memory(), driver());
  vcpu.can.exact_window = options.exact_window;
  vcpu.window_lag = options.exact_window ? 0 : 1;
  CHECK(vcpu.set_state(start_of_driver()).has_value());
  machine.device.on_read = [&](unsigned, uint64_t) { return random(); };
  machine.device.on_write = [&](unsigned region, uint64_t offset, uint64_t value) {
    if (region == 1) machine.power = vm::PowerEvent{vm::PowerEvent::Kind::power_off, "done", 0};
    if (region == 0 && offset == 0x10) {
      machine.post_dma(0x9000 + value % 64, Bytes(1 + value % 32, static_cast<uint8_t>(random())));
      if (random() % 2 == 0) machine.vectors.push_back(kDmaVector);
    }
    if (region == 0 && offset == 0x20) {
      machine.timers().arm(machine.timers().now_ns() + value % 5000, [&] {
        machine.vectors.push_back(kTimerVector);
        machine.post_dma(0xa000, {static_cast<uint8_t>(random())});
      });
    }
  };
  // A tick, so that a guest that halts after its timer's interrupt came is woken.
  std::function<void()> tick = [&] {
    machine.vectors.push_back(kTimerVector);
    machine.timers().arm(machine.timers().now_ns() + options.tick_ns, tick);
  };
  machine.timers().arm(options.tick_ns, tick);
  trace::Description description = fake_description();
  description.cpu = start_of_driver();
  auto writer = trace::Writer::create(path, description, machine.memory()).value();
  vm::CpuModel model;
  record::LiveOptions live;
  live.keyframe_ns = options.keyframe_ns;
  auto session = record::LiveSession::create(machine, vcpu, model, clock, writer.get(), live).value();
  vcpu.kick_now = [&] {
    if (random() % options.kick_one_in != 0) return false;
    session->kick_for_test();
    return true;
  };
  auto stop = session->resume(vm::ResumeFor::go);
  CHECK(stop.has_value());
  return session->finish(stop->reason).value();
}

struct Host {
  unsigned seed;
  bool exact_window_then, exact_window_now, hardware_breakpoints;
};

class RecordReplay : public testing::TestWithParam<Host> {
 protected:
  RecordReplay() {
    end_ = record_driver(folder_.file("t.dvt"), {.seed = GetParam().seed, .exact_window = GetParam().exact_window_then});
  }
  std::unique_ptr<Replaying> replaying(ReplayOptions options = {}) {
    auto r = std::make_unique<Replaying>(folder_.file("t.dvt"), driver(), options);
    r->vcpu->can.exact_window = GetParam().exact_window_now;
    r->vcpu->can.hardware_breakpoints = GetParam().hardware_breakpoints;
    return r;
  }

  TempFolder folder_;
  trace::End end_;
};

TEST_P(RecordReplay, GivesTheSameEventsRegistersAndRam) {
  auto r = replaying();

  vm::SessionStop stop = r->go();

  EXPECT_EQ(stop.kind, Kind::ended) << stop.reason;
  EXPECT_EQ(r->replayer->divergence_count(), 0u);
  EXPECT_EQ(static_cast<uint64_t>(r->replayer->last_event() + 1), end_.events);
  EXPECT_EQ(r->replayer->ram_digest().value(), end_.ram_digest);
  EXPECT_EQ(vm::hash(r->vcpu->state().value()), end_.cpu_hash);
}

TEST_P(RecordReplay, SurvivesKicksAtRandomMoments) {
  auto r = replaying();
  std::mt19937 random(GetParam().seed);
  r->vcpu->kick_now = [&] { return random() % 10 == 0; };

  vm::SessionStop stop = r->go();

  EXPECT_EQ(stop.kind, Kind::ended) << stop.reason;
  EXPECT_EQ(r->replayer->ram_digest().value(), end_.ram_digest);
}

TEST_P(RecordReplay, OneStepAtATimeEndsTheSame) {
  auto r = replaying();

  vm::SessionStop stop = r->go(vm::ResumeFor::step);
  while (stop.kind == Kind::step) stop = r->go(vm::ResumeFor::step);

  EXPECT_EQ(stop.kind, Kind::ended) << stop.reason;
  EXPECT_EQ(r->replayer->ram_digest().value(), end_.ram_digest);
}

TEST_P(RecordReplay, StoppingOnTheWayChangesNothing) {
  auto through = replaying();
  ASSERT_EQ(through->go().kind, Kind::ended);
  std::mt19937 random(GetParam().seed);
  auto stops = replaying();
  for (int64_t event = 0; event < static_cast<int64_t>(end_.events); event += 1 + random() % 30) {
    stops->replayer->set_until(Position{event, random() % 3});
    ASSERT_NE(stops->go().kind, Kind::diverged);
    auto again = replaying({.until = Position{stops->replayer->last_event(), stops->replayer->steps()}});
    ASSERT_EQ(again->go().kind, Kind::position);
    EXPECT_EQ(again->vcpu->state().value(), stops->vcpu->state().value()) << "at event " << event;
    EXPECT_EQ(again->replayer->ram_digest().value(), stops->replayer->ram_digest().value()) << "at event " << event;
  }
}

std::vector<Host> hosts() {
  std::vector<Host> all;
  for (unsigned seed = 1; seed <= 6; ++seed) {
    all.push_back({seed, true, true, true});
    all.push_back({seed, true, false, false});
    all.push_back({seed, false, false, true});
  }
  return all;
}

INSTANTIATE_TEST_SUITE_P(Hosts, RecordReplay, testing::ValuesIn(hosts()), [](const auto& host) {
  const Host& h = host.param;
  return fmt::format("Seed{}{}{}{}", h.seed, h.exact_window_then ? "RecordedExact" : "RecordedLate",
                     h.exact_window_now ? "Exact" : "Stepping", h.hardware_breakpoints ? "Breakpoints" : "");
});

TEST(RecordReplayOnce, TheRecordingsHaveEveryPlacement) {
  std::set<trace::Placement> irqs, dmas;
  for (unsigned seed = 1; seed <= 6; ++seed) {
    TempFolder folder;
    record_driver(folder.file("t.dvt"), {.seed = seed, .kick_one_in = 5});
    auto reader = trace::Reader::open(folder.file("t.dvt")).value();
    trace::EventCursor cursor(*reader);
    while (const trace::Event* event = cursor.next().value()) {
      if (const auto* e = std::get_if<trace::InterruptEvent>(&event->body)) irqs.insert(e->where.placement);
      if (const auto* e = std::get_if<trace::MemoryWriteEvent>(&event->body)) dmas.insert(e->where.placement);
    }
  }

  using trace::Placement;
  EXPECT_THAT(irqs, testing::UnorderedElementsAre(Placement::boundary, Placement::window, Placement::state));
  EXPECT_THAT(dmas, testing::IsSupersetOf({Placement::boundary, Placement::state}));
}

TEST(RecordReplayOnce, TheFileIsSealedAndWhole) {
  TempFolder folder;
  record_driver(folder.file("t.dvt"), {.seed = 1});

  auto reader = trace::Reader::open(folder.file("t.dvt")).value();

  EXPECT_TRUE(reader->sealed());
  EXPECT_TRUE(reader->verify());
  EXPECT_GT(reader->event_count(), 400u);
}

TEST(RecordReplayOnce, EveryKeyframeIsAStart) {
  TempFolder folder;
  trace::End end =
      record_driver(folder.file("t.dvt"), {.seed = 3, .keyframe_ns = 1, .clock_step_ns = 50'000, .tick_ns = 2'000'000});
  size_t keyframes = trace::Reader::open(folder.file("t.dvt")).value()->keyframe_count();
  EXPECT_GT(keyframes, 0u);
  for (size_t i = 0; i < keyframes; ++i) {
    Replaying r(folder.file("t.dvt"), driver(), {.from_keyframe = i});

    EXPECT_EQ(r.go().kind, Kind::ended) << "from keyframe " << i;
    EXPECT_EQ(r.replayer->ram_digest().value(), end.ram_digest);
  }
}

TEST(RecordReplayOnce, AResetBetweenExitsComesAtItsPlace) {
  vm::Program program = {vm::read(kDevice),   vm::store(0x2000), vm::nop(),
                         vm::loop(kCode + 8), vm::nop(),         vm::jump(kCode + 16)};
  program.add(vm::reset_state().rip, {vm::store(0x3000), vm::out(vm::kPort, 0)});
  TempFolder folder;
  ManualClock clock;
  vm::FakeMachine machine(clock);
  vm::FakeVcpu vcpu(machine.memory(), program);
  ASSERT_TRUE(vcpu.set_state(start_of_driver()));
  machine.device.on_read = [](unsigned, uint64_t) { return 0x55; };
  machine.device.on_write = [&](unsigned, uint64_t, uint64_t) {
    machine.power = vm::PowerEvent{vm::PowerEvent::Kind::power_off, "done", 0};
  };
  int boundaries = 0;
  vcpu.kick_now = [&] {
    if (++boundaries != 30) return false;
    machine.power = vm::PowerEvent{vm::PowerEvent::Kind::reset, "a watchdog", 0};
    return true;
  };
  trace::Description description = fake_description();
  description.cpu = start_of_driver();
  auto writer = trace::Writer::create(folder.file("t.dvt"), description, machine.memory()).value();
  vm::CpuModel model;
  auto session = record::LiveSession::create(machine, vcpu, model, clock, writer.get(), {}).value();
  ASSERT_TRUE(session->resume(vm::ResumeFor::go));
  trace::End end = session->finish("done").value();

  for (bool hardware : {true, false}) {
    Replaying r(folder.file("t.dvt"), program);
    r.vcpu->can.hardware_breakpoints = hardware;

    EXPECT_EQ(r.go().kind, Kind::ended);
    EXPECT_EQ(r.replayer->divergence_count(), 0u);
    EXPECT_EQ(r.replayer->ram_digest().value(), end.ram_digest);
  }
}

TEST(RecordReplayOnce, AnUnsealedTraceReplaysAllThatIsThere) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 7)},
              {vm::read(kDevice), vm::write(kDevice + 8, std::nullopt)});

  EXPECT_FALSE(r.reader->sealed());
  EXPECT_EQ(r.go().kind, Kind::ended);
  EXPECT_EQ(r.replayer->last_event(), 1);
}

}  // namespace
}  // namespace dejavm::replay
