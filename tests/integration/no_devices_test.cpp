// A replay has no devices and few rights.
#include <gmock/gmock.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class NoDevicesTest : public GuestTest {};

TEST_F(NoDevicesTest, AReplayerWithoutDeviceCodeReplaysFirmware) {
  if (!readable(kSeabios)) GTEST_SKIP() << kSeabios << " is not readable (Debian package seabios)";
  Finished recording = run(dejavm({"record", "-o", path("bios.dvt"), "-bios", kSeabios, "-m", "64M", "-debugcon", "null",
                                   "-serial", "null", "--max-events", "1500"}));
  ASSERT_EQ(recording.status, kDone) << recording.err;

  Finished replay = run({DEJAVM_REPLAY_ONLY, accel(), path("bios.dvt")});

  EXPECT_EQ(replay.status, 0) << replay.err;
  EXPECT_EQ(ram_of(replay.out), ram_of(recording.err));
}

TEST_F(NoDevicesTest, AReplayerWithoutDeviceCodeReplaysInterruptsAndDma) {
  Finished recording = record("edu_irq_dma_short", {"--random-kicks", "8"});
  ASSERT_EQ(recording.status, kDone) << recording.err;

  Finished replay = run({DEJAVM_REPLAY_ONLY, accel(), trace_of("edu_irq_dma_short")});

  EXPECT_EQ(replay.status, 0) << replay.out << replay.err;
  EXPECT_EQ(ram_of(replay.out), ram_of(recording.err));
}

TEST_F(NoDevicesTest, ThatReplayerHasNoSymbolOfADevice) {
  if (!have_program("nm")) GTEST_SKIP() << "nm (binutils) is absent";
  Finished of_replayer = run({"nm", "-C", DEJAVM_REPLAY_ONLY});
  Finished of_dejavm = run({"nm", "-C", DEJAVM_BINARY});

  ASSERT_EQ(of_replayer.status, 0) << of_replayer.err;
  EXPECT_THAT(of_dejavm.out, HasSubstr("dejavm::devices::"));  // the search finds what is there
  EXPECT_THAT(of_replayer.out, HasSubstr("dejavm::replay::Replayer::create"));
  EXPECT_THAT(of_replayer.out, Not(HasSubstr("dejavm::devices::")));
  EXPECT_THAT(of_replayer.out, Not(HasSubstr("dejavm::record::")));
}

using SandboxTest = GdbTest;

TEST_F(SandboxTest, ARunningReplayIsUnderASeccompFilter) {
  serve_replay(recorded("buggy_dma"));
  Process debugger(interactive_gdb("buggy_dma"));
  debugger.write_input("break self_test\ncontinue\n");
  ASSERT_TRUE(debugger.wait_for_text("Breakpoint 1, self_test")) << debugger.out() << debugger.err();

  EXPECT_EQ(server().status_line("Seccomp"), "2");
  debugger.write_input("kill\nquit\n");
  debugger.wait();
  EXPECT_EQ(finish().status, kDone);
}

}  // namespace
}  // namespace dejavm::integration
