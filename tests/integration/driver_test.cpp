// Linux's virtio drivers on dejavm's devices, recorded and replayed.
#include <gmock/gmock.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "support/driver_lab.h"

namespace dejavm::integration {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kDiskSize = 64 * kMiB;

class SoftDriverTest : public DriverLabTest {
 protected:
  void SetUp() override {
    DriverLabTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    std::ofstream random(path("random.img"), std::ios::binary);
    std::mt19937_64 numbers(4);
    for (uint64_t i = 0; i < kDiskSize / 8; ++i) {
      uint64_t number = numbers();
      random.write(reinterpret_cast<const char*>(&number), sizeof number);
    }
    random.close();
    std::ofstream(path("zero.img")).close();
    std::filesystem::resize_file(path("zero.img"), kDiskSize);
  }

  static Words disk(const std::string& image, const std::string& more = {}) {
    return {"-drive", "file=" + image + ",format=raw,if=none,id=d0" + more, "-device",
            "virtio-blk-pci,drive=d0,serial=lab-disk"};
  }
  Finished record_jobs(const std::string& trace, const Words& options) const {
    return run(dejavm({"record", "-o", path(trace)}) + options, {}, kLabLimit);
  }
  std::string sum_of(const std::string& image) const { return run({"sha256sum", path(image)}).out.substr(0, 64); }
  /// What the jobs and the disk's driver say, without the kernel's time stamps.
  static Words lines_about_devices(const std::string& output) {
    Words lines;
    std::istringstream text(output);
    for (std::string line; std::getline(text, line);) {
      size_t driver = line.find("virtio_blk virtio0: ");
      if (line.starts_with("vda: ") || line.starts_with("rng: ")) lines.push_back(line);
      if (driver != std::string::npos) lines.push_back(line.substr(driver));
    }
    return lines;
  }
  uint64_t size_of(const std::string& file) const { return std::filesystem::file_size(path(file)); }
};

/// Firmware with a driver of its own: no Linux needed.
class SoftDiskBootTest : public GuestTest {};

TEST_F(SoftDiskBootTest, SeabiosBootsFromVirtio) {
  if (!readable(kSeabios)) GTEST_SKIP() << kSeabios << " is absent (Debian's seabios)";
  // mov al, 'B'; out 0xe9, al; mov al, 0x10; mov dx, 0x501; out dx, al; hlt
  std::string sector(
      "\xb0"
      "B\xe6\xe9\xb0\x10\xba\x01\x05\xee\xf4",
      11);
  sector.resize(510);
  write_file("boot.img", sector + "\x55\xaa" + std::string(kMiB, '\0'));

  Finished recording = run(dejavm({"record", "-o", path("boot.dvt"), "-accel", "soft", "-m", "64M", "-no-reboot", "-bios",
                                   kSeabios, "-drive", "file=" + path("boot.img") + ",format=raw,if=virtio", "-device",
                                   "isa-debug-exit,iobase=0x501", "-debugcon", "file:" + path("log"), "-serial", "null"}));

  EXPECT_THAT(recording.err, HasSubstr("exited with status 33"));
  EXPECT_THAT(read_text("log"), HasSubstr("Booting from 0000:7c00\nB"));
  expect_faithful_replay(path("boot.dvt"), recording);
}

/// Interrupts by the APICs and by messages, DMA, a network, the clock and the end by ACPI in one guest.
TEST_F(SoftDriverTest, StockKernelDoesAllJobsAndReplays) {
  const std::string pings = is_soak() ? "100" : "10";
  for (int i = 0; i < (is_soak() ? 20 : 1); ++i) {
    SCOPED_TRACE(i);
    Finished recording = record_jobs(
        "all.dvt", plain_options("blk,dd,rng,net,hwclock,interrupts", "end=poweroff pings=" + pings) +
                       disk(path("random.img")) +
                       Words{"-device", "virtio-rng-pci", "-netdev", "user,id=lan", "-device", "e1000,netdev=lan"});

    ASSERT_EQ(recording.status, kDone) << recording.err;
    EXPECT_THAT(recording.err, HasSubstr("the guest powered off (ACPI)"));
    EXPECT_THAT(recording.out, AllOf(HasSubstr("vda: 64 MiB " + sum_of("random.img")), HasSubstr("rng: virtio_rng.0"),
                                     HasSubstr(pings + " packets transmitted, " + pings + " packets received"),
                                     HasSubstr("Thu Jan  1 00:0")));
    EXPECT_THAT(recording.out, AllOf(HasSubstr("-edge      virtio0-req.0"), HasSubstr("-fasteoi   eth0"),
                                     HasSubstr("Local timer interrupts")));
    expect_faithful_replay(path("all.dvt"), recording);
  }
}

TEST_F(SoftDriverTest, ReadsADiskAndReplays) {
  const std::string sum = sum_of("random.img");
  for (int i = 0; i < (is_soak() ? 20 : 1); ++i) {
    SCOPED_TRACE(i);
    Finished recording = record_jobs("dd.dvt", driver_options("blk,dd") + disk(path("random.img")));

    ASSERT_EQ(recording.status, kDone) << recording.err;
    EXPECT_THAT(recording.out, AllOf(HasSubstr("vda: size 131072 sectors, block 512, read-only 0"),
                                     HasSubstr("vda: serial lab-disk"), HasSubstr("vda: segments 254, cache write back"),
                                     HasSubstr("vda: 64 MiB " + sum), HasSubstr("lab-init: done")));
    // What the driver of 6.1 negotiates with QEMU's device, lowest bit first.
    EXPECT_THAT(recording.out, HasSubstr("vda: features 0010101001110110000000000000110010000000100000000000000000000000"));
    expect_faithful_replay(path("dd.dvt"), recording);
  }
  EXPECT_EQ(sum_of("random.img"), sum);
}

TEST_F(SoftDriverTest, DriversPrintWhatTheyPrintOnQemu) {
  if (!have_program("qemu-system-x86_64")) GTEST_SKIP() << "qemu-system-x86_64 is absent";
  const Words options = driver_options("blk,rng");

  Finished ours =
      run(dejavm({"run"}) + options + disk(path("random.img")) + Words{"-device", "virtio-rng-pci"}, {}, kLabLimit);
  Words theirs = {"qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio"};
  theirs = theirs + Words(options.begin() + 2, options.end());
  theirs = theirs + Words{"-drive",  "file=" + path("random.img") + ",format=raw,if=none,id=d0,snapshot=on",
                          "-device", "virtio-blk-pci,drive=d0,serial=lab-disk,disable-legacy=on",
                          "-device", "virtio-rng-pci,disable-legacy=on"};
  Finished qemu = run(theirs, {}, kLabLimit);

  ASSERT_EQ(ours.status, kDone) << ours.err;
  ASSERT_EQ(qemu.status, 0) << qemu.err;
  EXPECT_GE(lines_about_devices(ours.out).size(), 8u);
  EXPECT_EQ(lines_about_devices(ours.out), lines_about_devices(qemu.out));
}

TEST_F(SoftDriverTest, BytesOfTheDiskAreStoredOnce) {
  ASSERT_EQ(record_jobs("none.dvt", driver_options("hwclock") + disk(path("zero.img"))).status, kDone);
  ASSERT_EQ(record_jobs("zero.dvt", driver_options("hwclock,dd") + disk(path("zero.img"))).status, kDone);
  ASSERT_EQ(record_jobs("random.dvt", driver_options("hwclock,dd") + disk(path("random.img"))).status, kDone);

  EXPECT_LT(size_of("zero.dvt"), size_of("none.dvt") + 1 * kMiB);
  EXPECT_LT(size_of("random.dvt"), size_of("none.dvt") + 66 * kMiB);
}

TEST_F(SoftDriverTest, WritesGoToASnapshot) {
  const std::string sum = sum_of("random.img");

  Finished recording = record_jobs(
      "snapshot.dvt", driver_options("ddwrite,rng,hwclock") + disk(path("random.img")) + Words{"-device", "virtio-rng-pci"});

  ASSERT_EQ(recording.status, kDone) << recording.err;
  constexpr const char* kPattern = "21342fbd3b986f1dd795bd55c7e3fea2ff0d92d7bc4577e4017c9d42267ba267";
  EXPECT_THAT(recording.out,
              AllOf(HasSubstr(std::string("vda: writes ") + kPattern), HasSubstr(std::string("vda: reads ") + kPattern),
                    HasSubstr("rng: virtio_rng.0"), HasSubstr("Thu Jan  1 00:00")));
  EXPECT_EQ(sum_of("random.img"), sum);
  expect_faithful_replay(path("snapshot.dvt"), recording);
}

TEST_F(SoftDriverTest, WithoutSnapshotWritesReachTheImage) {
  Finished recording = record_jobs("through.dvt", driver_options("ddwrite") + disk(path("zero.img"), ",snapshot=off"));

  ASSERT_EQ(recording.status, kDone) << recording.err;
  std::ifstream image(path("zero.img"), std::ios::binary);
  std::string line;
  std::getline(image, line);
  EXPECT_EQ(line, "what the guest writes");
  expect_faithful_replay(path("through.dvt"), recording);
}

TEST_F(SoftDriverTest, ReadOnlyDiskFailsWrites) {
  Finished recording = record_jobs("readonly.dvt", driver_options("blk,ddwrite") + disk(path("zero.img"), ",readonly=on"));

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, AllOf(HasSubstr("block 512, read-only 1"), HasSubstr("vda: dd fails")));
}

TEST_F(SoftDriverTest, DebiansOwnProgramsAndLibc) {
  Finished recording =
      record_jobs("debian.dvt", driver_options("blk,dd", Userland::debian, "end=reboot") + disk(path("random.img")));

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, AllOf(HasSubstr("vda: 64 MiB " + sum_of("random.img")), HasSubstr("lab-init: done")));
  expect_faithful_replay(path("debian.dvt"), recording);
}

}  // namespace
}  // namespace dejavm::integration
