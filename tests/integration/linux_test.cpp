// Debian's kernel, booted in software to a program of ours, recorded and replayed.
#include <gmock/gmock.h>

#include "support/lab.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class LinuxBootTest : public LabTest {
 protected:
  void expect_booted(const Finished& boot, const std::string& reset = "keyboard controller") const {
    EXPECT_EQ(boot.status, kDone) << boot.err;
    EXPECT_THAT(boot.err, HasSubstr("the guest asked for a reset (" + reset + ") and -no-reboot is given"));
    Words lines = expected_lines();
    EXPECT_GE(lines.size(), 3u) << "the lab says what a boot prints";
    for (const std::string& line : lines) EXPECT_THAT(boot.out, HasSubstr(line + "\r\n"));
  }
};

class SoftLinuxTest : public LinuxBootTest {
 protected:
  void SetUp() override {
    LabTest::SetUp();
    if (!IsSkipped() && !prepare_lab()) GTEST_SKIP() << why_no_lab();
  }
};

TEST_F(SoftLinuxTest, BootsHashesAFileAndReplays) {
  Finished recording = record_linux("linux.dvt");

  expect_booted(recording);
  expect_faithful_replay(path("linux.dvt"), recording);
}

TEST_F(SoftLinuxTest, ThreeRecordingsAreOneRecording) {
  std::string events, ram;
  for (int i = 0; i < 3; ++i) {
    SCOPED_TRACE(i);
    Finished recording = record_linux("again.dvt");
    ASSERT_EQ(recording.status, kDone) << recording.err;
    Finished dump = run(dejavm({"dump", path("again.dvt")}), {}, kLabLimit);
    ASSERT_EQ(dump.status, kDone) << dump.err;
    if (i == 0) {
      events = dump.out;
      ram = ram_of(recording.err);
      ASSERT_GT(events.size(), 1u << 20);
    }
    EXPECT_TRUE(dump.out == events) << "other events, or other times of events";
    EXPECT_EQ(ram_of(recording.err), ram);
  }
}

TEST_F(SoftLinuxTest, BootsWithoutOptionsForItsSake) {
  Finished boot = run(dejavm({"run"}) + linux_options("console=ttyS0"), {}, kLabLimit);

  expect_booted(boot, "port 0xcf9");
}

/// 32-bit code, PAE, the 32-bit boot protocol.
class SoftLinux386Test : public LinuxBootTest {
 protected:
  void SetUp() override {
    LabTest::SetUp();
    if (IsSkipped()) return;
    if (!is_soak()) GTEST_SKIP() << "./dev test --full boots the kernel of i386";
    if (!prepare_lab("i386")) GTEST_SKIP() << why_no_lab();
  }
};

TEST_F(SoftLinux386Test, BootsHashesAFileAndReplays) {
  Finished recording = record_linux("linux386.dvt");

  expect_booted(recording);
  EXPECT_THAT(recording.err, HasSubstr("by the 32-bit boot protocol"));
  expect_faithful_replay(path("linux386.dvt"), recording);
}

}  // namespace
}  // namespace dejavm::integration
