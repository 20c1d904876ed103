// A replay that begins on one engine and goes on on soft. Soft stands in for KVM, too, behind what KVM can do.
#include "cli/hand_over.h"

#include <gmock/gmock.h>

#include "base/check.h"
#include "cli/debug_target.h"
#include "cli/qmp_guest.h"
#include "engine/soft/soft_vcpu.h"
#include "forwarding_vcpu.h"
#include "replaying.h"
#include "vm/startup_state.h"

namespace dejavm::cli {
namespace {

using Kind = vm::SessionStop::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;

/// A vCPU that does not count steps, has few breakpoints and no watchpoints.
class NativeVcpu final : public vm::ForwardingVcpu {
 public:
  explicit NativeVcpu(std::unique_ptr<vm::Vcpu> inner) : inner_(std::move(inner)) {}

  const vm::VcpuCapabilities& capabilities() const override { return can; }
  Status set_breakpoints(std::span<const vm::GuestVirt> addresses) override {
    if (addresses.size() > can.max_breakpoints) return fail("too many breakpoints");
    return inner_->set_breakpoints(addresses);
  }
  Result<bool> can_break_at(vm::GuestVirt address) override { return address != unreachable; }

  vm::VcpuCapabilities can{.hardware_breakpoints = true, .max_breakpoints = 2, .single_step = true};
  std::optional<vm::GuestVirt> unreachable;  ///< where it cannot stop user code

 private:
  vm::Vcpu& inner() const override { return *inner_; }

  std::unique_ptr<vm::Vcpu> inner_;
};

constexpr uint64_t kStart = 0x1000, kAdd = 0x1005, kStore = 0x1007, kDecrement = 0x100b;
constexpr uint64_t kEvents = 20;

/// Reads port 0x60 and adds what it read three times, for ever: 15 steps a round, the read being the first.
Bytes code() {
  return {0xe4, 0x60,              // 1000: in al, 0x60
          0xba, 0x03, 0x00,        // 1002: mov dx, 3
          0x01, 0xc3,              // 1005: add bx, ax
          0x89, 0x1e, 0x00, 0x20,  // 1007: mov [0x2000], bx
          0x4a,                    // 100b: dec dx
          0x75, 0xf7,              // 100c: jnz 1005
          0xeb, 0xf0};             // 100e: jmp 1000
}

class HandOverTest : public testing::Test {
 protected:
  /// A trace of reads of 1, 2, ...; RAM has the program.
  void write(const Bytes& program) {
    trace::Description d = replay::fake_description();
    d.engine = "kvm, as it were";
    d.cpu_model = vm::dejavm64_v1();
    d.cpu = vm::real_mode_state(kStart);
    vm::GuestMemory memory = vm::GuestMemory::create(d.ram_size, 0).value();
    CHECK(memory.set_map(d.memory).has_value());
    CHECK(memory.write({kStart}, program, vm::Writer::loader).has_value());
    auto writer = trace::Writer::create(path_, d, memory).value();
    for (uint64_t i = 1; i <= kEvents; ++i) {
      CHECK(writer->append({trace::AccessEvent{{vm::Space::pio, vm::Direction::read, 1, 0x60, i}, false, {}}}).has_value());
    }
  }

  void open() {
    write(code());
    reader_ = trace::Reader::open(path_).value();
    memory_.emplace(replay::load_memory(*reader_).value());
    start(soft::create_vcpu(*memory_, reader_->description().cpu_model).value());
  }
  /// A native engine on which the program is another one than on soft, where it halts.
  void open_with_another_program() {
    write({0xf4});
    reader_ = trace::Reader::open(path_).value();
    memory_.emplace(replay::load_memory(*reader_).value());
    vm::Program reads;
    for (uint64_t i = 0; i < kEvents; ++i) reads.add(kStart + 4 * i, {vm::in(0x60)});
    start(std::make_unique<vm::FakeVcpu>(*memory_, std::move(reads)));
  }
  void start(std::unique_ptr<vm::Vcpu> engine) {
    vcpu_ = std::make_unique<NativeVcpu>(std::move(engine));
    native_ = replay::Replayer::create(*reader_, *vcpu_, *memory_, clock_, {}).value();
    session_ = HandOver::create(*native_, *reader_, clock_, {}, {}).value();
  }

  vm::SessionStop go(vm::ResumeFor what = vm::ResumeFor::go) {
    auto stop = session_->resume(what);
    EXPECT_TRUE(stop) << stop.error().what;
    return stop.value_or(vm::SessionStop{});
  }
  vm::SessionStop back(vm::ReverseFor what) {
    auto stop = session_->reverse(what);
    EXPECT_TRUE(stop) << stop.error().what;
    return stop.value_or(vm::SessionStop{});
  }
  /// To behind the read of `value`, which is event `value` - 1.
  void go_behind(uint64_t value) {
    vm::AccessFilter filter;
    filter.places = {{.space = vm::Space::pio, .first = 0x60, .last = 0x60}};
    CHECK(vm::parse_value(std::to_string(value), filter).has_value());
    session_->breaks().add(std::move(filter), 0);
    ASSERT_EQ(go().kind, Kind::device);
    ASSERT_EQ(session_->last_event(), static_cast<int64_t>(value) - 1);
  }
  bool on_soft() const { return session_->timeline() != nullptr; }
  replay::Position position() const { return session_->timeline()->replayer().position(); }
  uint64_t rip() { return session_->vcpu().quick_registers().linear_rip(); }
  /// Registers and memory of a replay that is on soft from the start, where this one is.
  void expect_what_soft_has_there() {
    ASSERT_TRUE(on_soft());
    vm::GuestMemory memory = replay::load_memory(*reader_).value();
    auto vcpu = soft::create_vcpu(memory, reader_->description().cpu_model).value();
    auto straight = replay::Replayer::create(*reader_, *vcpu, memory, clock_, {.until = position()}).value();
    ASSERT_EQ(straight->resume(vm::ResumeFor::go).value().kind, Kind::position);
    EXPECT_EQ(vm::difference(vcpu->state().value(), session_->vcpu().state().value()), "");
    EXPECT_EQ(straight->ram_digest().value(), session_->replayer().ram_digest().value());
  }

  TempFolder folder_;
  const std::string path_ = folder_.file("t.dvt");
  ManualClock clock_;
  std::unique_ptr<trace::Reader> reader_;
  std::optional<vm::GuestMemory> memory_;
  std::unique_ptr<NativeVcpu> vcpu_;
  std::unique_ptr<replay::Replayer> native_;
  std::unique_ptr<HandOver> session_;
};

TEST_F(HandOverTest, ForwardNativeHasIt) {
  open();

  go_behind(5);

  EXPECT_FALSE(on_soft());
  EXPECT_EQ(&session_->vcpu(), vcpu_.get());
  EXPECT_EQ(session_->take_notice(), "");
}

TEST_F(HandOverTest, AStepBackIsSofts) {
  open();
  go_behind(5);

  EXPECT_EQ(back(vm::ReverseFor::step).kind, Kind::step);

  EXPECT_TRUE(on_soft());
  EXPECT_EQ(rip(), kStart);
  EXPECT_EQ(session_->last_event(), 3);
  expect_what_soft_has_there();
  EXPECT_EQ(session_->take_notice(), "dejavm: the soft engine has the replay from here on, after event 4\n");
  EXPECT_EQ(session_->take_notice(), "") << "once";
}

TEST_F(HandOverTest, BetweenEventsTheStateSaysWhere) {
  open();
  go_behind(5);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(go(vm::ResumeFor::step).kind, Kind::step);
  const vm::CpuState there = vcpu_->state().value();
  ASSERT_EQ(rip(), kDecrement) << "in the second of three turns";

  ASSERT_TRUE(session_->use_exact_engine());

  EXPECT_EQ(position(), (replay::Position{4, 7}));
  EXPECT_EQ(vm::difference(there, session_->vcpu().state().value()), "");
  expect_what_soft_has_there();
}

TEST_F(HandOverTest, AtTheBeginning) {
  open();

  ASSERT_TRUE(session_->use_exact_engine());

  EXPECT_EQ(position(), (replay::Position{-1, 0}));
}

TEST_F(HandOverTest, BreaksAndBreakpointsComeAlong) {
  open();
  ASSERT_TRUE(session_->set_breakpoints({{kStore}}));
  std::vector<uint64_t> asked;
  session_->set_breakpoint_test([&](vm::GuestVirt at) {
    asked.push_back(at.value);
    return true;
  });
  for (int i = 0; i < 2; ++i) EXPECT_EQ(go().kind, Kind::breakpoint);

  EXPECT_EQ(back(vm::ReverseFor::go).kind, Kind::breakpoint);

  EXPECT_EQ(position(), (replay::Position{0, 2}));
  asked.clear();
  EXPECT_EQ(go().kind, Kind::breakpoint);
  EXPECT_EQ(position(), (replay::Position{0, 6}));
  EXPECT_THAT(asked, ElementsAre(kStore));
  ASSERT_TRUE(session_->set_breakpoints({}));
  go_behind(5);
}

TEST_F(HandOverTest, TheEndIsTheEndThereToo) {
  open();
  EXPECT_EQ(go().kind, Kind::ended);

  EXPECT_EQ(back(vm::ReverseFor::step).kind, Kind::step);

  EXPECT_EQ(position(), (replay::Position{kEvents - 2, 14}));
  EXPECT_EQ(go().kind, Kind::ended);
  EXPECT_TRUE(session_->replayer().finished());
}

TEST_F(HandOverTest, MoreBreakpointsThanNativeHas) {
  open();

  ASSERT_TRUE(session_->set_breakpoints({{kAdd}, {kStore}, {kDecrement}}));

  EXPECT_TRUE(on_soft());
  EXPECT_EQ(go().kind, Kind::breakpoint);
  EXPECT_EQ(rip(), kAdd);
}

TEST_F(HandOverTest, ABreakpointWhereNativeCannotStop) {
  open();
  vcpu_->unreachable = vm::GuestVirt{kStore};
  ASSERT_TRUE(session_->set_breakpoints({{kStore}}));
  EXPECT_FALSE(on_soft()) << "until the guest is let go";

  EXPECT_EQ(go().kind, Kind::breakpoint);

  EXPECT_TRUE(on_soft());
  EXPECT_EQ(position(), (replay::Position{0, 2}));
}

TEST_F(HandOverTest, AStepThatNativeCannotMake) {
  open();
  go_behind(5);
  vcpu_->can.single_step = false;

  EXPECT_EQ(go(vm::ResumeFor::step).kind, Kind::step);

  EXPECT_EQ(position(), (replay::Position{4, 1}));
}

TEST_F(HandOverTest, ADiversion) {
  open();
  go_behind(5);
  const vm::CpuState before = vcpu_->state().value();

  ASSERT_TRUE(session_->divert());
  ASSERT_TRUE(session_->vcpu().set_state(vm::real_mode_state(kStart)));
  ASSERT_TRUE(session_->rejoin());

  EXPECT_EQ(vm::difference(before, session_->vcpu().state().value()), "");
  expect_what_soft_has_there();
}

TEST_F(HandOverTest, WhereSoftDivergesNativeGoesOn) {
  open_with_another_program();
  go_behind(5);

  for (int i = 0; i < 2; ++i) {
    auto stop = session_->reverse(vm::ReverseFor::step);
    ASSERT_FALSE(stop);
    EXPECT_THAT(stop.error().what, StartsWith("the soft engine diverges from the recording, which KVM did not: event 0, "));
  }

  EXPECT_FALSE(on_soft());
  EXPECT_EQ(session_->last_event(), 4);
  EXPECT_EQ(go().kind, Kind::ended);
  EXPECT_EQ(session_->replayer().divergence_count(), 0u);
}

TEST_F(HandOverTest, AStateThatSoftDoesNotComeBy) {
  open();
  go_behind(5);
  const vm::CpuState real = vcpu_->state().value();
  vm::CpuState other = real;
  other.gpr[vm::rbx] ^= 1;
  ASSERT_TRUE(vcpu_->set_state(other));

  Status refused = session_->use_exact_engine();

  ASSERT_FALSE(refused);
  EXPECT_THAT(refused.error().what, HasSubstr("no point behind event 4 has these registers and this memory"));
  EXPECT_FALSE(on_soft());
  ASSERT_TRUE(vcpu_->set_state(real));
  EXPECT_EQ(back(vm::ReverseFor::step).kind, Kind::step) << "elsewhere it may";
  EXPECT_EQ(rip(), kStart);
}

TEST_F(HandOverTest, GdbIsToldAndMayGoBack) {
  open();
  DebugTarget target(*session_, {}, reader_.get(), session_.get());
  EXPECT_TRUE(target.can_reverse());
  ASSERT_TRUE(target.insert_breakpoint({kStore}));
  for (int i = 0; i < 2; ++i) EXPECT_EQ(target.resume({}).value().console, "");
  EXPECT_FALSE(target.steps_are_short());

  gdb::Stop stop = target.resume({gdb::ResumeKind::reverse_go}).value();

  EXPECT_EQ(stop.kind, gdb::Stop::Kind::breakpoint);
  EXPECT_EQ(stop.console, "dejavm: the soft engine has the replay from here on, after event 0\n");
  EXPECT_EQ(target.resume({}).value().console, "");
  EXPECT_TRUE(target.steps_are_short());
}

TEST_F(HandOverTest, AWatchOnRamIsSoftsAndOneOnADeviceIsNot) {
  open();
  DebugTarget target(*session_, {}, reader_.get(), session_.get());
  ASSERT_TRUE(target.insert_watch(gdb::WatchKind::access, {vm::kDevice}, 4));
  EXPECT_FALSE(on_soft());

  ASSERT_TRUE(target.insert_watch(gdb::WatchKind::write, {0x2000}, 2));

  EXPECT_TRUE(on_soft());
  gdb::Stop stop = target.resume({}).value();
  EXPECT_EQ(stop.kind, gdb::Stop::Kind::watch);
  EXPECT_EQ(stop.watch_addr, 0x2000u);
  EXPECT_EQ(position(), (replay::Position{0, 3}));
}

TEST_F(HandOverTest, QuestionsLeaveNativeWhatItIs) {
  open();
  Monitor monitor(*session_, {}, reader_.get(), session_.get());
  go_behind(5);

  EXPECT_EQ(monitor.execute("when"), "after event 4; instructions are counted on soft alone\n");
  EXPECT_EQ(monitor.execute("info replay"), "Replaying execution: 5 of 20 events\n");
  EXPECT_THAT(monitor.execute("events 2"), testing::ContainsRegex(" 3 [^\n]*\n +4 [^\n]*\nhere\n +5 "));
  EXPECT_THAT(monitor.execute("mmio next"), HasSubstr("-> 0x6 "));
  EXPECT_THAT(monitor.execute("mmio log 1"), HasSubstr("-> 0x5 "));
  EXPECT_THAT(monitor.execute("seek nowhere"), StartsWith("error: "));
  EXPECT_FALSE(on_soft());

  EXPECT_EQ(monitor.execute("seek 2+3"),
            "dejavm: the soft engine has the replay from here on, after event 4\nat 2+3, instruction 34, rip 0x100b\n");
}

TEST_F(HandOverTest, QmpCountsInstructionsOnceSoftHasIt) {
  open();
  QmpGuest guest(*session_, {}, path_, reader_.get(), session_.get());
  go_behind(5);
  EXPECT_EQ(guest.instructions(), std::nullopt);
  ASSERT_TRUE(guest.set_break(std::nullopt));
  EXPECT_FALSE(on_soft());

  ASSERT_TRUE(guest.seek(30));

  EXPECT_EQ(guest.instructions(), 30u);
  ASSERT_TRUE(guest.set_break(33));
  EXPECT_EQ(go().kind, Kind::position);
  EXPECT_EQ(guest.instructions(), 33u);
}

}  // namespace
}  // namespace dejavm::cli
