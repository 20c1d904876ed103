// What a session records, in which order, and how it ends.
#include "record/live_session.h"

#include <gmock/gmock.h>
#include <unistd.h>

#include "recording.h"

namespace dejavm::record {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::StartsWith;
using vm::kDevice;
using vm::kPort;
using Kind = vm::SessionStop::Kind;

const vm::Op kPowerOff = vm::out(kPowerPort, 0);

TEST(LiveSession, RecordsAccessesInOrderWithTheDevicesAnswers) {
  Recording r(
      {vm::write(kDevice + 8, 0x1234), vm::read(kDevice + 8), vm::out(kPort, std::nullopt), vm::in(kPort), kPowerOff});

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::ended);
  EXPECT_EQ(stop.reason, "the guest powered off (the test)");
  EXPECT_THAT(r.events(), ElementsAre("mmio 0xf0000008 <- 0x1234 (4 bytes)",
                                      "mmio 0xf0000008 -> 0x1234 (4 bytes) rip 0x1004", "pio port:0x500 <- 0x34 (1 byte)",
                                      "pio port:0x500 -> 0x34 (1 byte)", "pio port:0x501 <- 0x0 (1 byte)"));
  EXPECT_EQ(r.session->last_event(), 4);
}

TEST(LiveSession, AnUnrecordedSessionGivesTheGuestTheSameAnswers) {
  Recording r({vm::write(kDevice, 0x77), vm::read(kDevice), vm::store(0x2000), kPowerOff}, {}, false);

  r.go();

  EXPECT_EQ(*r.machine.memory().host(0x2000), 0x77);
  EXPECT_TRUE(r.log.all.empty());
  EXPECT_EQ(r.session->last_event(), 2);
  EXPECT_FALSE(r.session->finish("done").value().where.state);
}

/// Else a timer of a few ticks would be over before it is armed.
TEST(LiveSession, AnAccessTakesTheDeviceNoTime) {
  Recording r({vm::write(kDevice, 1), kPowerOff});
  std::vector<uint64_t> times;
  r.on_write = [&](uint64_t, uint64_t) {
    times.push_back(r.machine.timers().now_ns());
    r.clock.advance(1000);
    times.push_back(r.machine.timers().now_ns());
  };

  r.go();

  ASSERT_EQ(times.size(), 4u);
  EXPECT_EQ(times[0], times[1]);
  EXPECT_EQ(times[2], times[0] + 1000);
}

TEST(LiveSession, AnAddressOfNobodyReadsAsAllOnes) {
  Recording r({vm::read(0xe0000000), kPowerOff});

  r.go();

  EXPECT_EQ(r.events()[0], "mmio 0xe0000000 -> 0xffffffff (4 bytes) rip 0x1000");
}

TEST(LiveSession, ReadModifyWriteIsOneInstruction) {
  Recording r({vm::increment(kDevice), vm::increment(kDevice), kPowerOff});
  Bytes code = {0x83, 0x07, 0x01, 0x83, 0x07, 0x01};  // add dword [edi], 1
  ASSERT_TRUE(r.machine.memory().write({vm::kCode}, code, vm::Writer::loader));

  r.go();

  EXPECT_THAT(r.events(), ElementsAre("mmio 0xf0000000 -> 0x0 (4 bytes) rip 0x1000",
                                      "mmio 0xf0000000 <- 0x1 (4 bytes) (same instruction)",
                                      "mmio 0xf0000000 -> 0x1 (4 bytes) rip 0x1003",
                                      "mmio 0xf0000000 <- 0x2 (4 bytes) (same instruction)", testing::_));
}

TEST(LiveSession, ALoadAndAStoreAreTwoInstructions) {
  Recording r({vm::read(kDevice), vm::write(kDevice, 1), kPowerOff});
  Bytes code = {0x8b, 0x07, 0x90, 0x90, 0x89, 0x07, 0x90, 0x90};  // mov eax, [edi]; mov [edi], eax
  ASSERT_TRUE(r.machine.memory().write({vm::kCode}, code, vm::Writer::loader));

  r.go();

  EXPECT_EQ(r.events()[1], "mmio 0xf0000000 <- 0x1 (4 bytes)");
}

TEST(LiveSession, DmaOfADoorbellEntersWhenTheWritingInstructionHasCompleted) {
  Recording r({vm::write(kDevice + 0x10, 1), vm::read(kDevice), kPowerOff});
  bool completed = false;
  r.on_write = [&](uint64_t offset, uint64_t) {
    if (offset != 0x10) return;
    r.machine.deferred().post([&] { completed = !r.vcpu.in_access(); });
    r.machine.post_dma(0x3000, {1, 2, 3});
  };

  r.go();

  EXPECT_TRUE(completed);
  EXPECT_THAT(r.events(), ElementsAre(HasSubstr("<- 0x1"), "dma 3 bytes at 0x3000 (boundary)", HasSubstr("->"), testing::_));
}

TEST(LiveSession, AMapChangeIsRecordedWithTheNewDeviceTable) {
  Recording r({vm::write(kDevice, 1), vm::read(0xe0000000), kPowerOff});
  vm::FakeDevice other("other");
  r.on_write = [&](uint64_t offset, uint64_t) {
    if (offset != 0) return;
    r.machine.deferred().post(
        [&] { CHECK(r.machine.bus().map(other, 0, vm::Space::mmio, 0xe0000000, 0x1000, 4).has_value()); });
  };

  r.go();

  EXPECT_EQ(r.events()[1], "map of 1 memory ranges and 3 device regions (boundary)");
  EXPECT_EQ(r.events()[2], "mmio 0xe0000000 -> 0x0 (4 bytes) rip 0x1004");
  EXPECT_EQ(r.session->devices().size(), 3u);
}

TEST(LiveSession, KnownMsrsAreAnsweredAndOthersFault) {
  Recording r({vm::rdmsr(0x1b), vm::wrmsr(0x1b, 5), vm::rdmsr(0x10), kPowerOff});

  r.go();

  EXPECT_THAT(r.events(),
              ElementsAre("rdmsr 0x1b -> 0xfee00900", "wrmsr 0x1b <- 0x5", "rdmsr 0x10 -> 0x0 (#GP)", testing::_));
  EXPECT_TRUE(r.vcpu.faulted);
}

TEST(LiveSession, MaxEventsEndsAtTheNextBoundary) {
  Recording r({vm::read(kDevice), vm::read(kDevice), vm::read(kDevice)}, {.max_events = 2});

  vm::SessionStop stop = r.go();
  trace::End end = r.session->finish(stop.reason).value();

  EXPECT_EQ(stop.reason, "--max-events 2");
  EXPECT_EQ(end.events, 2u);
  EXPECT_EQ(end.where.placement, trace::Placement::boundary);
  EXPECT_FALSE(r.vcpu.in_access());
}

TEST(LiveSession, MaxSecondsCountsTheGuestsTimeOnly) {
  Recording r({vm::nop(), vm::jump(vm::kCode)}, {.max_ns = 3'000'000'000});
  r.clock.advance(10'000'000'000);  // before the guest runs
  r.tick(1'000'000);
  r.vcpu.slice = 100;

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.reason, "--max-seconds 3");
  EXPECT_GE(r.machine.timers().now_ns(), 3'000'000'000u);
}

TEST(LiveSession, AnEndedSessionStaysEnded) {
  Recording r({kPowerOff, vm::read(kDevice)});

  r.go();
  vm::SessionStop again = r.go();

  EXPECT_EQ(again.kind, Kind::ended);
  EXPECT_EQ(r.events().size(), 1u);
}

TEST(LiveSession, AResetPutsTheCpuIntoItsResetStateAndGoesOn) {
  vm::Program program({vm::out(kPowerPort, 1)});
  program.add(0xfff0, {kPowerOff});
  Recording r(program);

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.reason, "the guest powered off (the test)");
  EXPECT_THAT(r.events(), ElementsAre(testing::_, "reset (the test)", testing::_));
  EXPECT_EQ(r.machine.resets, 1);
  EXPECT_EQ(r.vcpu.state()->segment[vm::cs].base, 0xffff0000u);
}

TEST(LiveSession, NoRebootEndsInsteadOfResetting) {
  Recording r({vm::out(kPowerPort, 1)}, {.reboot = false});

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.kind, Kind::ended);
  EXPECT_EQ(stop.reason, "the guest asked for a reset (the test) and -no-reboot is given");
  EXPECT_EQ(r.machine.resets, 0);
}

TEST(LiveSession, ATripleFaultResetsTheMachine) {
  vm::Program program({vm::triple_fault()});
  program.add(0xfff0, {kPowerOff});
  Recording r(program);

  r.go();

  const auto* reset = std::get_if<trace::ResetEvent>(&r.log.all.at(0).body);
  ASSERT_NE(reset, nullptr);
  EXPECT_TRUE(reset->triple_fault);
  EXPECT_FALSE(r.session->finish("off").value().cpu_is_dead);
}

TEST(LiveSession, ATripleFaultWithNoRebootEndsWithADeadCpu) {
  Recording r({vm::nop(), vm::triple_fault()}, {.reboot = false});

  vm::SessionStop stop = r.go();
  trace::End end = r.session->finish(stop.reason).value();

  EXPECT_TRUE(end.cpu_is_dead);
  EXPECT_EQ(end.cpu_hash, 0u);
  EXPECT_THAT(stop.reason, HasSubstr("triple fault"));
}

TEST(LiveSession, TheGuestsExitStatusIsKept) {
  Recording r({vm::write(kDevice, 1), vm::nop()});
  r.on_write = [&](uint64_t, uint64_t) {
    r.machine.power = vm::PowerEvent{vm::PowerEvent::Kind::exit, "isa-debug-exit", 33};
  };

  vm::SessionStop stop = r.go();

  EXPECT_EQ(stop.exit_status, 33);
  EXPECT_EQ(stop.reason, "the guest exited with status 33 (isa-debug-exit)");
}

TEST(LiveSession, AnErrorOfTheLogEndsTheRun) {
  Recording r({vm::read(kDevice), vm::read(kDevice), vm::read(kDevice), kPowerOff});
  r.log.fail_after = 2;

  auto stop = r.session->resume(vm::ResumeFor::go);

  ASSERT_FALSE(stop.has_value());
  EXPECT_EQ(stop.error().what, "the disk is full");
}

TEST(LiveSession, AnErrorWhileLoggingDmaEndsTheRun) {
  Recording r({vm::write(kDevice, 1), vm::read(kDevice), kPowerOff});
  r.on_write = [&](uint64_t, uint64_t) { r.machine.post_dma(0x3000, {1}); };
  r.log.fail_after = 1;

  auto stop = r.session->resume(vm::ResumeFor::go);

  ASSERT_FALSE(stop.has_value());
  EXPECT_EQ(stop.error().what, "the disk is full");
}

TEST(LiveSession, AnEmulationFailureIsAnErrorAndTheTraceCanStillBeSealed) {
  Recording r({vm::read(kDevice), vm::nop()});

  auto stop = r.session->resume(vm::ResumeFor::go);
  trace::End end = r.session->finish("ended by an error").value();

  ASSERT_FALSE(stop.has_value());
  EXPECT_THAT(stop.error().what, StartsWith("no instruction at"));
  EXPECT_TRUE(end.cpu_is_dead);
  EXPECT_EQ(end.events, 1u);
}

TEST(LiveSession, FinishAtABoundaryNeedsNoStateAndElsewhereKeepsIt) {
  Recording at_boundary({kPowerOff}), between({vm::read(kDevice), vm::nop(), vm::nop()}, {});
  at_boundary.go();
  between.go(vm::ResumeFor::step);
  between.go(vm::ResumeFor::step);

  trace::End first = at_boundary.session->finish("off").value();
  trace::End second = between.session->finish("interrupted").value();

  EXPECT_EQ(first.where.placement, trace::Placement::boundary);
  EXPECT_EQ(first.cpu_hash, vm::hash(at_boundary.vcpu.state().value()));
  ASSERT_EQ(second.where.placement, trace::Placement::state);
  EXPECT_EQ(second.where.state->cpu, between.vcpu.state().value());
  EXPECT_EQ(second.where.state->ram_digest, second.ram_digest);
}

TEST(LiveSession, DigestsAreTakenAtBoundariesAndNameThePagesThatChanged) {
  Recording r({vm::read(kDevice), vm::store(0x2000), vm::read(kDevice), vm::read(kDevice), kPowerOff});
  r.machine.device.on_read = [&](unsigned, uint64_t) {
    r.clock.advance(30'000'000);
    return 0x55;
  };

  r.go();

  ASSERT_EQ(r.log.all.size(), 5u);
  const auto* digest = std::get_if<trace::DigestEvent>(&r.log.all[2].body);
  ASSERT_NE(digest, nullptr) << trace::kind_name(r.log.all[2].body);
  ASSERT_EQ(digest->pages.size(), 1u);
  EXPECT_EQ(digest->pages[0].first, 2u);
  EXPECT_EQ(digest->ram_digest, vm::RamDigest(r.machine.memory()).value());
}

TEST(LiveSession, KeyframesHoldThePagesTouchedSinceTheLastOne) {
  Recording r({vm::read(kDevice), vm::store(0x2000), vm::read(kDevice), vm::store(0x3000), vm::read(kDevice), kPowerOff},
              {.keyframe_ns = 60'000'000});
  r.machine.device.on_read = [&](unsigned, uint64_t) {
    r.clock.advance(100'000'000);
    return 0x55;
  };

  r.go();

  ASSERT_EQ(r.log.keyframes.size(), 3u);
  EXPECT_THAT(r.log.keyframes[0].pages, ElementsAre());
  EXPECT_THAT(r.log.keyframes[1].pages, ElementsAre(2u));
  EXPECT_THAT(r.log.keyframes[2].pages, ElementsAre(3u));
  EXPECT_EQ(r.log.keyframes[0].steps, std::nullopt) << "this vCPU does not count";
}

TEST(LiveSession, OnlyARecordedGuestIsReadOnly) {
  Recording recorded({kPowerOff}), free({kPowerOff}, {}, false);

  EXPECT_THAT(recorded.session->why_read_only(), HasSubstr("being recorded"));
  EXPECT_EQ(free.session->why_read_only(), "");
}

}  // namespace
}  // namespace dejavm::record
