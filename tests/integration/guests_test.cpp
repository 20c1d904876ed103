// Every other guest, recorded and replayed.
#include <gmock/gmock.h>

#include <csignal>
#include <thread>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class GuestsTest : public GuestTest {
 protected:
  /// Accesses of instructions that access more than once.
  static size_t joined(const nlohmann::json& events) {
    size_t count = 0;
    for (const auto& event : events) count += event["joins_previous"].get<bool>();
    return count;
  }
};

using KvmGuestsTest = KvmTest;

TEST_F(GuestsTest, MmioExerciserReplays) {
  Finished recording = record("mmio_exerciser", {"--random-kicks", "3"});

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, HasSubstr("mmio_exerciser: 0 differences"));
  expect_faithful_replay(trace_of("mmio_exerciser"), recording);
}

TEST_F(GuestsTest, AccessesOfOneInstructionAreJoined) {
  std::string trace = recorded("mmio_exerciser");
  auto accesses = events_of(trace, {"--device", "edu"});

  size_t pairs = 0, split = 0;
  for (size_t i = 1; i < accesses.size(); ++i) {
    const auto &before = accesses[i - 1], &now = accesses[i];
    if (!now["joins_previous"].get<bool>()) continue;
    EXPECT_EQ(now["event"].get<uint64_t>(), before["event"].get<uint64_t>() + 1);
    bool same_place = now["addr"] == before["addr"] && now["size"] == before["size"];
    bool next_place = now["addr"] == before["addr"].get<uint64_t>() + before["size"].get<uint64_t>();
    pairs += same_place && before["direction"] == "read" && now["direction"] == "write";
    split += next_place && now["direction"] == before["direction"];
  }

  EXPECT_GT(joined(accesses), 100u);
  EXPECT_GT(pairs, 20u) << "read-modify-write instructions";
  EXPECT_GT(split, 20u) << "accesses that cross a page or are wider than 8 bytes";
}

TEST_F(GuestsTest, PlainReadsAreNotJoined) {
  std::string trace = recorded("edu_irq_dma_short");

  EXPECT_EQ(joined(events_of(trace, {"--kind", "access"})), 0u);
}

TEST_F(GuestsTest, InterruptsOfTheApicsReplay) {
  Finished recording = record("apic", {"--random-kicks", "5"});

  EXPECT_EQ(recording.status, kDone) << recording.err;
  // As on QEMU: tests/guests/check-in-qemu.sh.
  EXPECT_THAT(recording.out, HasSubstr("apic: priorities 0x55 0x45 0x35"));
  EXPECT_THAT(recording.out, HasSubstr("apic: edu 4 by its pin, 3 by message"));
  EXPECT_THAT(recording.out, HasSubstr("apic: done"));
  expect_faithful_replay(trace_of("apic"), recording);
}

TEST_F(GuestsTest, TenResetsOfEveryKindReplay) {
  // The last -no-reboot would win, so the options are written out.
  Finished recording = run(dejavm({"record", "-o", path("reboot.dvt"), "-bios", guest_image("reboot"), "-m", "16M",
                                   "-device", "isa-debug-exit,iobase=0x501"}));

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, HasSubstr("reboot: boot 40, ends by a triple fault"));
  EXPECT_THAT(recording.out, HasSubstr("reboot: boot 41, the last"));
  EXPECT_EQ(events_of(path("reboot.dvt"), {"--kind", "reset"}).size(), 40u);
  expect_faithful_replay(path("reboot.dvt"), recording);
}

TEST_F(GuestsTest, TripleFaultEndsARecordingWithNoReboot) {
  Finished recording = record("triple_fault");

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.err, HasSubstr("triple fault"));
  expect_faithful_replay(trace_of("triple_fault"), recording);
}

TEST_F(GuestsTest, TripleFaultBootsAgainWithoutNoReboot) {
  std::string trace = path("faults.dvt");
  Finished recording =
      run(dejavm({"record", "-o", trace, "-bios", guest_image("triple_fault"), "-m", "16M", "--max-events", "500"}));

  EXPECT_EQ(recording.status, kDone) << recording.err;
  auto resets = events_of(trace, {"--kind", "reset"});
  ASSERT_GE(resets.size(), 2u);
  EXPECT_THAT(resets[0]["text"].get<std::string>(), HasSubstr("triple fault"));
  expect_faithful_replay(trace, recording);
}

TEST_F(GuestsTest, BuggyDmaPanicsTheSameWay) {
  Finished recording = record("buggy_dma", {"--random-kicks", "4"});

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, HasSubstr("PANIC: completion queue corrupted (magic 0x75736b6365686320"));
  EXPECT_THAT(recording.err, HasSubstr("the guest exited with status 3"));
  expect_faithful_replay(trace_of("buggy_dma"), recording);
}

TEST_F(GuestsTest, AGuestWithoutExitsEndsAtAMatchedState) {
  // The replay visits every iteration of the loop, so the recording is ended soon.
  Process recorder(dejavm(Words{"record", "-o", path("spin.dvt")} + guest_options("spin")));
  ASSERT_TRUE(recorder.wait_for_text("spin: no exits from here on")) << recorder.err();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  recorder.signal(SIGTERM);
  Finished recording = recorder.wait();

  EXPECT_EQ(recording.status, kDone) << recording.err;
  expect_faithful_replay(path("spin.dvt"), recording);
}

TEST_F(GuestsTest, AGuestWithoutExitsEndsInItsTime) {
  Finished recording = record("spin", {"--max-seconds", "1"});

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.err, HasSubstr("--max-seconds 1"));
  if (accel() == "kvm" && repeats().edu < 50) {
    GTEST_SKIP() << "its replay takes minutes on KVM: with DEJAVM_REPEAT=full only";
  }
  expect_faithful_replay(trace_of("spin"), recording);
}

TEST_F(GuestsTest, SoftExecutesWhatSomeKvmCannot) {
  Finished recording = record("fail_emulation", {"-accel", "soft"});

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, HasSubstr("addps worked, sum 0x40700000"));
  expect_faithful_replay(trace_of("fail_emulation"), recording);
}

TEST_F(KvmGuestsTest, AnInstructionThatKvmCannotExecuteIsExplained) {
  Finished recording = record("fail_emulation", {"-accel", "kvm"});
  if (recording.status == kDone) GTEST_SKIP() << "this host's KVM executes addps at privilege level 0";

  EXPECT_EQ(recording.status, kFailed);
  EXPECT_THAT(recording.err, HasSubstr("0f58c1  addps xmm0, xmm1"));
  EXPECT_THAT(recording.err, HasSubstr("rip 0000000000100"));
  EXPECT_THAT(recording.err, HasSubstr("cr0 80010033"));
  EXPECT_THAT(recording.err, HasSubstr("hardware virtualization"));
  expect_faithful_replay(trace_of("fail_emulation"), recording);
}

TEST_F(GuestsTest, RunWithoutARecordingPrintsTheSame) {
  Finished live = run(dejavm({"run"}) + guest_options("edu_irq_dma_short"));

  EXPECT_EQ(live.status, kDone) << live.err;
  Finished recording = record("edu_irq_dma_short");
  auto data_line = [](const std::string& text) { return text.substr(text.find("edu_irq_dma: data ")); };
  ASSERT_THAT(live.out, HasSubstr("edu_irq_dma: data "));
  ASSERT_THAT(recording.out, HasSubstr("edu_irq_dma: data "));
  EXPECT_EQ(data_line(live.out), data_line(recording.out));
}

}  // namespace
}  // namespace dejavm::integration
