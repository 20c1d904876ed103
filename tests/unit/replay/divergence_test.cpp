// Every way in which a guest can differ from its recording.
#include <gmock/gmock.h>

#include "replaying.h"

namespace dejavm::replay {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using vm::kDevice;
using Kind = vm::SessionStop::Kind;

const vm::Program kReadThenWrite = {vm::read(kDevice), vm::write(kDevice + 8, std::nullopt), vm::read(kDevice + 4)};

TEST(Divergence, AGuestThatDoesWhatWasRecordedHasNone) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 7), mmio_read(kDevice + 4, 9)}, kReadThenWrite);

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::ended);
  EXPECT_EQ(r.replayer->divergence_count(), 0u);
  EXPECT_TRUE(r.replayer->finished());
  EXPECT_EQ(r.vcpu->state()->gpr[vm::rax], 9u);
}

TEST(Divergence, AnotherAddress) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 12, 7)}, kReadThenWrite);

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::diverged);
  EXPECT_EQ(r.divergence().kind, Divergence::Kind::access);
  EXPECT_EQ(r.divergence().event, 1u);
  EXPECT_EQ(r.divergence().expected, "mmio dev+0xc <- 0x7 (4 bytes)");
  EXPECT_EQ(r.divergence().actual, "mmio dev+0x8 <- 0x7 (4 bytes)");
  EXPECT_THAT(r.divergence().recent, ElementsAre("0 mmio dev+0x0 -> 0x7 (4 bytes)"));
  EXPECT_THAT(r.divergence().registers, HasSubstr("rax 0000000000000007"));
  EXPECT_THAT(stop.reason, StartsWith("access divergence at event 1\n  expected: mmio dev+0xc"));
}

TEST(Divergence, AnotherSize) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 7, 2)}, kReadThenWrite);

  r.go();

  EXPECT_EQ(r.divergence().event, 1u);
  EXPECT_EQ(r.divergence().expected, "mmio dev+0x8 <- 0x7 (2 bytes)");
}

TEST(Divergence, AnotherDirection) {
  Replaying r({mmio_write(kDevice, 0)}, kReadThenWrite);

  r.go();

  EXPECT_EQ(r.divergence().event, 0u);
  EXPECT_THAT(r.divergence().actual, HasSubstr("a read; its value would come from the trace"));
}

TEST(Divergence, AnotherSpace) {
  Replaying r({mmio_read(vm::kPort, 0, 1)}, {vm::in(vm::kPort)});

  r.go();

  EXPECT_THAT(r.divergence().actual, StartsWith("pio dev+0x0"));
}

TEST(Divergence, AnotherWrittenValueShowsAtThatVeryEvent) {
  Replaying r({mmio_read(kDevice, 7), mmio_write(kDevice + 8, 6), mmio_read(kDevice + 4, 9)}, kReadThenWrite);

  r.go();

  EXPECT_EQ(r.divergence().event, 1u);
  EXPECT_EQ(r.replayer->last_event(), 0);
}

TEST(Divergence, AnAlteredReadShowsAtTheFirstEventThatDependsOnIt) {
  vm::Program program = {vm::read(kDevice), vm::write(kDevice + 4, 1), vm::write(kDevice + 8, std::nullopt)};
  Replaying r({mmio_read(kDevice, 0xbad), mmio_write(kDevice + 4, 1), mmio_write(kDevice + 8, 7)}, program);

  r.go();

  EXPECT_EQ(r.divergence().event, 2u);
  EXPECT_EQ(r.divergence().actual, "mmio dev+0x8 <- 0xbad (4 bytes)");
}

TEST(Divergence, AMissingEvent) {
  Replaying r({mmio_read(kDevice, 7), mmio_read(kDevice + 4, 9)}, kReadThenWrite);

  r.go();

  EXPECT_EQ(r.divergence().event, 1u);
}

TEST(Divergence, AHaltThatWasNotRecorded) {
  Replaying r({mmio_read(kDevice, 7)}, {vm::halt(), vm::read(kDevice)});

  r.go();

  EXPECT_EQ(r.divergence().actual, "halt");
}

TEST(Divergence, AHaltThatDoesNotCome) {
  Replaying r({{trace::HaltEvent{}}}, {vm::read(kDevice)});

  r.go();

  EXPECT_EQ(r.divergence().expected, "halt");
}

TEST(Divergence, AnMsrWithAnotherValue) {
  Replaying r({{trace::CpuReadEvent{0x1b, true, 6, false}}}, {vm::wrmsr(0x1b, 5)});

  r.go();

  EXPECT_EQ(r.divergence().expected, "wrmsr 0x1b <- 0x6");
  EXPECT_EQ(r.divergence().actual, "wrmsr 0x1b <- 0x5");
}

TEST(Divergence, ATripleFaultThatWasNotRecorded) {
  Replaying r({mmio_read(kDevice, 7)}, {vm::triple_fault()});

  r.go();

  EXPECT_EQ(r.divergence().actual, "triple fault");
}

TEST(Divergence, AnInterruptThatTheGuestCannotTake) {
  Replaying r({mmio_read(kDevice, 7), irq(0x21)}, kReadThenWrite);

  r.go();

  EXPECT_EQ(r.divergence().event, 1u);
  EXPECT_THAT(r.divergence().actual, HasSubstr("cannot take an interrupt here"));
}

TEST(Divergence, AnEmulationFailureIsReportedAgainstTheEventThatWasDue) {
  Replaying r({mmio_read(kDevice, 7)}, {vm::nop()});

  r.go();

  EXPECT_EQ(r.divergence().expected, "mmio dev+0x0 -> 0x7 (4 bytes)");
  EXPECT_THAT(r.divergence().actual, HasSubstr("no instruction at"));
}

TEST(Divergence, AnEventThatNeverComes) {
  Replaying r({mmio_read(kDevice, 7), mmio_read(kDevice, 8)}, {vm::read(kDevice), vm::jump(vm::kCode + 4)});
  r.vcpu->slice = 10;
  r.vcpu->on_instruction = [&] { r.clock.advance(100'000'000); };

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::diverged);
  EXPECT_EQ(r.divergence().event, 1u);
  EXPECT_EQ(r.divergence().actual, "the guest runs on and this event does not come");
}

TEST(Divergence, AWindowThatNeverOpensIsAnEventThatNeverComes) {
  Replaying r({mmio_read(kDevice, 7), irq(0x21, {trace::Placement::window, 0, nullptr})},
              {vm::read(kDevice), vm::jump(vm::kCode + 4)});
  r.vcpu->slice = 10;
  r.vcpu->on_instruction = [&] { r.clock.advance(100'000'000); };

  EXPECT_EQ(r.go().kind, Kind::diverged);
}

TEST(Divergence, AStateThatNeverComesIsAnEventThatNeverComes) {
  auto state = std::make_shared<trace::MatchedState>();
  state->cpu = vm::FakeVcpu::start_state();
  state->cpu.rip = vm::kCode + 4;
  state->cpu.gpr[vm::rbx] = 1;
  for (bool hardware : {true, false}) {
    Replaying r({mmio_read(kDevice, 7), dma(0x3000, {1}, {trace::Placement::state, 0, state})},
                {vm::read(kDevice), vm::jump(vm::kCode + 4)});
    r.vcpu->can.hardware_breakpoints = hardware;
    r.vcpu->slice = 10;
    r.vcpu->on_instruction = [&] { r.clock.advance(100'000'000); };

    EXPECT_EQ(r.go().kind, Kind::diverged) << "hardware breakpoints: " << hardware;
    // A guest that keeps coming by the place, whose every turn is compared, is given more time.
    EXPECT_EQ(r.clock.now_ns() > 600 * kNsPerSecond, hardware);
    EXPECT_GT(r.clock.now_ns(), 30 * kNsPerSecond);
  }
}

TEST(Divergence, AGuestThatPassesThePlaceOfAnEvent) {
  Replaying r({mmio_read(kDevice, 7), irq(0x21, {trace::Placement::window, 0, nullptr}), mmio_write(kDevice + 8, 7)},
              kReadThenWrite);

  r.go();

  EXPECT_EQ(r.divergence().event, 1u);
  EXPECT_THAT(r.divergence().actual, HasSubstr("went on to its next device access"));
}

TEST(Divergence, ADigestNamesThePagesThatDiffer) {
  vm::GuestMemory other = vm::GuestMemory::create(vm::kRamSize, 0).value();
  ASSERT_TRUE(other.write_backing(0x2000, Bytes{8}, vm::Writer::loader));
  trace::DigestEvent digest{0x1234, vm::RamDigest(other).value(), {{2, vm::page_hash(2, other.page(2))}, {3, 0}}, false};
  Replaying r({mmio_read(kDevice, 7), {digest}, mmio_write(kDevice + 8, 7)},
              {vm::read(kDevice), vm::store(0x2000), vm::write(kDevice + 8, 7)});

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::diverged);
  EXPECT_EQ(r.divergence().kind, Divergence::Kind::state);
  EXPECT_EQ(r.divergence().event, 0u);
  EXPECT_THAT(r.divergence().differing_pages, ElementsAre(2u));
  EXPECT_THAT(stop.reason, HasSubstr("1 RAM page differ: 0x2000"));
}

TEST(Divergence, KeepGoingReportsStateDivergencesAndReplaysToTheEnd) {
  trace::DigestEvent wrong{1, 2, {}, false};
  Replaying r({mmio_read(kDevice, 7), {wrong}, {wrong}, mmio_write(kDevice + 8, 7)}, kReadThenWrite, std::nullopt,
              {.keep_going = true});

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::ended);
  EXPECT_EQ(r.replayer->divergence_count(), 2u);
  EXPECT_TRUE(r.replayer->finished());
}

TEST(Divergence, KeepGoingDoesNotPassAnAccessDivergence) {
  Replaying r({mmio_read(kDevice + 4, 7), mmio_write(kDevice + 8, 7)}, kReadThenWrite, std::nullopt, {.keep_going = true});

  EXPECT_EQ(r.go().kind, Kind::diverged);
  EXPECT_EQ(r.replayer->last_event(), -1);
}

TEST(Divergence, TheEndComparesRegistersAndRam) {
  vm::CpuState cpu = vm::FakeVcpu::start_state();
  cpu.rip += 4;
  cpu.gpr[vm::rax] = 7;
  vm::CpuState other = cpu;
  other.gpr[vm::r9] = 1;
  Replaying right({mmio_read(kDevice, 7)}, kReadThenWrite, end_of(cpu, 0));
  Replaying wrong_cpu({mmio_read(kDevice, 7)}, kReadThenWrite, end_of(other, 0));
  Replaying wrong_ram({mmio_read(kDevice, 7)}, kReadThenWrite, end_of(cpu, 5));

  EXPECT_EQ(right.go().kind, Kind::ended);
  EXPECT_EQ(wrong_cpu.go().kind, Kind::diverged);
  EXPECT_EQ(wrong_ram.go().kind, Kind::diverged);
  EXPECT_EQ(wrong_ram.divergence().kind, Divergence::Kind::state);
}

TEST(Divergence, ADeadEndWantsTheTripleFault) {
  Replaying right({mmio_read(kDevice, 7)}, {vm::read(kDevice), vm::nop(), vm::triple_fault()}, dead_end());
  Replaying wrong({mmio_read(kDevice, 7)}, {vm::read(kDevice), vm::nop(), vm::halt()}, dead_end());

  EXPECT_EQ(right.go().kind, Kind::ended);
  EXPECT_EQ(wrong.go().kind, Kind::diverged);
}

TEST(Divergence, AnAccessBeyondTheLastEventIsNoneBecauseTheReplayEndsThere) {
  Replaying r({mmio_read(kDevice, 7)}, kReadThenWrite);

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::ended);
  EXPECT_EQ(stop.reason, "the recording was cut off here");
}

TEST(Divergence, TheSecondHalfOfAnInstructionThatWasNotRecordedIsOne) {
  Replaying r({mmio_read(kDevice, 7)}, {vm::increment(kDevice)}, dead_end());

  r.go();

  EXPECT_EQ(r.divergence().expected, "the end of the recording");
}

}  // namespace
}  // namespace dejavm::replay
