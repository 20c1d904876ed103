// A recording of one engine replays on the other: the same events, the same RAM and the same registers at the end.
#include <gmock/gmock.h>

#include "support/dejavm.h"
#include "support/trace_edit.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;

class KvmCrossEngineTest : public KvmTest {
 protected:
  /// Guests that end by themselves and make the same exits on both engines.
  static Words guests() {
    return {"mmio_exerciser", "edu_irq_dma_short", "edu_irq_dma", "buggy_dma", "uart_echo", "reboot", "triple_fault"};
  }
  static std::string input_of(const std::string& guest) { return guest == "uart_echo" ? "Hello\nquit\n" : ""; }
};

TEST_F(KvmCrossEngineTest, SoftReplaysWhatKvmRecorded) {
  for (const std::string& guest : guests()) {
    SCOPED_TRACE(guest);
    Finished recording = record(guest, {"-accel", "kvm", "--random-kicks", "5"}, input_of(guest));
    ASSERT_EQ(recording.status, kDone) << recording.err;
    expect_faithful_replay(trace_of(guest), recording, {"-accel", "soft"});
  }
}

TEST_F(KvmCrossEngineTest, SoftReplaysFirmwareThatKvmRecorded) {
  if (!readable(kSeabios)) GTEST_SKIP() << kSeabios << " is not readable (Debian package seabios)";
  Finished recording = run(dejavm({"record", "-accel", "kvm", "-o", path("bios.dvt"), "-bios", kSeabios, "-m", "64M",
                                   "-serial", "null", "-debugcon", "null", "--max-events", "2000"}));
  ASSERT_EQ(recording.status, kDone) << recording.err;

  expect_faithful_replay(path("bios.dvt"), recording, {"-accel", "soft"});
}

TEST_F(KvmCrossEngineTest, SoftReplaysAGuestThatEndedBetweenEvents) {
  Finished recording = record("spin", {"-accel", "kvm", "--max-seconds", "1"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  expect_faithful_replay(trace_of("spin"), recording, {"-accel", "soft"});
}

/// Eight times of the host's are never the eight counts of steps that soft tells.
TEST_F(KvmCrossEngineTest, SoftNamesRdtscWhereAKvmRecordingsDigestDiffers) {
  std::string trace = recorded("tsc_keeper", {"-accel", "kvm", "--rdtsc", "native"});

  Finished replay = run(dejavm({"replay", trace, "-accel", "soft", "--keep-going", "--json"}));

  EXPECT_EQ(replay.status, kDiverged) << replay.err;
  nlohmann::json report = nlohmann::json::parse(replay.out, nullptr, false);
  ASSERT_TRUE(report.is_object()) << replay.err;
  EXPECT_EQ(report["finished"], true);
  EXPECT_EQ(report["divergence_classes"]["rdtsc"], report["divergence_count"]);
  ASSERT_FALSE(report["divergences"].empty());
  for (const auto& divergence : report["divergences"]) {
    EXPECT_EQ(divergence["kind"], "state");
    EXPECT_EQ(divergence["class"], "rdtsc");
    EXPECT_THAT(divergence["evidence"].get<std::string>(),
                ContainsRegex("rdtsc [0-9]+ times?; first rdtsc at 0x[0-9a-f]+ in ring 0"));
  }
  EXPECT_THAT(replay.err, ContainsRegex("divergences \\([0-9]+ of class rdtsc\\), ram "));
}

TEST_F(KvmCrossEngineTest, KvmCannotNameRdtscAndSaysWhatCan) {
  std::string trace = recorded("tsc_keeper", {"-accel", "kvm", "--rdtsc", "native"});

  Finished replay = run(dejavm({"replay", trace, "-accel", "kvm"}));

  EXPECT_EQ(replay.status, kDiverged) << replay.err;
  EXPECT_THAT(replay.err, HasSubstr("class:    unknown: this engine does not see RDTSC"));
  EXPECT_THAT(replay.err, HasSubstr("-accel soft can tell"));
}

/// BSF keeps the flags on the one kind of CPU and clears them on the other: no host's are those of both.
TEST_F(KvmCrossEngineTest, SoftProvesThatOnlyUndefinedFlagsDiffer) {
  std::string trace = recorded("flags_keeper", {"-accel", "kvm"});
  if (trace::Reader::open(trace).value()->description().cpu_model.kind == vm::CpuKind::tcg)
    GTEST_SKIP() << "the host's CPU is QEMU's TCG, which has more of its own than flags";
  int diverged = 0;
  for (vm::CpuKind kind : {vm::CpuKind::amd, vm::CpuKind::amd_zen3}) {
    rewrite_cpu_kind(trace, path("kind.dvt"), kind);
    Finished replay = run(dejavm({"replay", path("kind.dvt"), "-accel", "soft"}));
    if (replay.status == kDone) continue;
    ++diverged;
    EXPECT_EQ(replay.status, kDiverged) << replay.err;
    EXPECT_THAT(replay.err, ContainsRegex("class:    undefined-flags: the hashes prove that nothing differs but .* at 0x"));
    EXPECT_THAT(replay.err, HasSubstr(" 1 divergences (1 of class undefined-flags), ram "));
  }
  EXPECT_GE(diverged, 1);
}

TEST_F(KvmCrossEngineTest, KvmReplaysWhatSoftRecordedPortably) {
  for (const std::string& guest : guests()) {
    if (guest == "uart_echo") continue;  // it wants input
    SCOPED_TRACE(guest);
    Finished recording = run({DEJAVM_PORTABLE_RECORD, guest_image(guest), trace_of(guest)});
    ASSERT_EQ(recording.status, 0) << recording.err;
    for (const char* engine : {"kvm", "soft"}) {
      Finished replay = run(dejavm({"replay", trace_of(guest), "-accel", engine}));
      EXPECT_EQ(replay.status, kDone) << replay.err;
      EXPECT_THAT(replay.err, HasSubstr(" 0 divergences, "));
      EXPECT_EQ(ram_of(replay.err), ram_of(recording.out)) << engine;
    }
  }
}

TEST_F(KvmCrossEngineTest, KvmReplaysAGuestThatDoesNotAskForItsCpu) {
  std::string trace = path("boot.dvt");
  for (const char* guest : {"multiboot", "pvh", "elf32", "elf64"}) {
    SCOPED_TRACE(guest);
    Finished recording =
        run(dejavm({"record", "-accel", "soft", "--portable", "-o", trace, "-m", "64M", "-no-reboot", "-device",
                    "isa-debug-exit,iobase=0x501", "-kernel", std::string(DEJAVM_GUEST_DIR "/boot_") + guest}));
    ASSERT_EQ(recording.status, kDone) << recording.err;
    expect_faithful_replay(trace, recording, {"-accel", "kvm"});
  }
}

TEST_F(KvmCrossEngineTest, KvmRefusesARecordingWithCountsOfSteps) {
  Finished recording = record("edu_irq_dma_short", {"-accel", "soft"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  Finished replay = run(dejavm({"replay", trace_of("edu_irq_dma_short"), "-accel", "kvm"}));

  EXPECT_EQ(replay.status, kFailed);
  EXPECT_THAT(replay.err, ContainsRegex("cannot be replayed on KVM: .*--portable"));
}

}  // namespace
}  // namespace dejavm::integration
