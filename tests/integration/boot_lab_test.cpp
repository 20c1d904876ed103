// What a user's machine starts with, from Debian's packages (tests/lab/boot_lab.sh): GRUB on a virtio disk, and memtest86+.
#include <gmock/gmock.h>

#include <csignal>
#include <sstream>

#include "support/lab.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class SoftBootLabTest : public LabTest {
 protected:
  void SetUp() override {
    constexpr int kCannotFetch = 77;
    LabTest::SetUp();
    if (IsSkipped()) return;
    if (!prepare_lab()) GTEST_SKIP() << why_no_lab();
    const std::string directory = DEJAVM_LAB_DIR "-boot";
    Finished lab = run({"flock", directory + ".lock", DEJAVM_BOOT_LAB_SCRIPT, directory, DEJAVM_LAB_DIR}, {}, kLabLimit);
    if (lab.status == kCannotFetch) GTEST_SKIP() << lab.err;
    ASSERT_EQ(lab.status, 0) << lab.out << lab.err;
    std::istringstream paths(lab.out);
    std::getline(paths, grub_disk_);
    std::getline(paths, memtest_);
  }

  /// Presses Enter on the guest's serial line until it has printed `text`; false when it ended or time passed without that.
  static bool press_enter_until(Process& guest, std::string_view text) {
    auto deadline = std::chrono::steady_clock::now() + kLabLimit;
    while (guest.running() && std::chrono::steady_clock::now() < deadline) {
      guest.write_input("\r");
      if (guest.wait_for_text(text, {}, std::chrono::seconds(1))) return true;
    }
    return false;
  }

  const std::string& grub_disk() const { return grub_disk_; }
  const std::string& memtest() const { return memtest_; }

 private:
  std::string grub_disk_, memtest_;
};

TEST_F(SoftBootLabTest, GrubStartsLinuxFromAVirtioDisk) {
  if (!readable(kSeabios)) GTEST_SKIP() << kSeabios << " is absent (Debian's seabios)";

  Finished recording =
      run(dejavm({"record", "-o", path("grub.dvt"), "-accel", "soft", "-m", "128M", "-no-reboot", "-rtc", "base=2026-01-01",
                  "-debugcon", "null", "-drive", "file=" + grub_disk() + ",format=raw,if=virtio"}),
          {}, kLabLimit);

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.err, HasSubstr("the guest asked for a reset (port 0xcf9) and -no-reboot is given"));
  EXPECT_THAT(recording.out, HasSubstr("GNU GRUB  version 2."));
  EXPECT_THAT(recording.out, HasSubstr("lab-grub: starting"));
  EXPECT_THAT(recording.out, HasSubstr("Command line: BOOT_IMAGE=/boot/vmlinuz console=ttyS0 panic=-1 rdinit=/init"));
  // The tables that SeaBIOS took from fw_cfg.
  EXPECT_THAT(recording.out, HasSubstr("ACPI: RSDP 0x00000000000F"));
  EXPECT_THAT(recording.out, HasSubstr("ACPI: Using IOAPIC for interrupt routing"));
  EXPECT_THAT(recording.out, HasSubstr("hpet0: 3 comparators, 64-bit 100.000000 MHz counter"));
  for (const char* complaint : {"ACPI Error", "ACPI BIOS", "ACPI Warning", "Firmware Bug", "BIOS bug"})
    EXPECT_THAT(recording.out, testing::Not(HasSubstr(complaint)));
  for (const std::string& line : expected_lines()) EXPECT_THAT(recording.out, HasSubstr(line + "\r\n"));
  expect_faithful_replay(path("grub.dvt"), recording);
}

TEST_F(SoftBootLabTest, MemtestStartsTesting) {
  Process recorder(
      dejavm({"record", "-o", path("memtest.dvt"), "-accel", "soft", "-m", "64M", "-no-reboot", "-rtc", "base=2026-01-01",
              "-kernel", memtest(), "-append", "console=ttyS0,115200", "--max-seconds", "3600"}));
  bool testing = press_enter_until(recorder, "[Address test, walking ones");
  bool second_pattern = testing && recorder.wait_for_text("0xffffffffffffffff", {}, kLabLimit);
  recorder.signal(SIGTERM);
  Finished recording = recorder.wait();

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_TRUE(testing && second_pattern) << recording.err << recording.out;
  EXPECT_THAT(recording.out, HasSubstr("Memtest86+ v"));
  EXPECT_THAT(recording.out, HasSubstr("Errors: 0 "));
  expect_faithful_replay(path("memtest.dvt"), recording);
}

}  // namespace
}  // namespace dejavm::integration
