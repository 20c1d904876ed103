// Real drivers of the e1000 on the user network: Linux's e1000.ko and iPXE from the option ROM, recorded and replayed.
#include <gmock/gmock.h>

#include <filesystem>
#include <sstream>

#include "support/lab.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

constexpr const char* kRom = "/usr/lib/ipxe/qemu/pxe-e1000.rom";
constexpr const char* kLinuxCommandLine =
    "console=ttyS0 acpi=off noapic nolapic nokaslr mitigations=off panic=-1 reboot=k no_timer_check rdinit=/init job=net";

class SoftNetworkTest : public GuestTest {
 protected:
  /// Debian's kernel and the drivers' RAM disk (tests/lab/driver_lab.sh); empty where there are none, `why_no_lab` says why.
  Words linux_files() {
    std::string script = std::filesystem::path(DEJAVM_LAB_SCRIPT).parent_path() / "driver_lab.sh";
    std::string directory = DEJAVM_LAB_DIR "-drivers";
    Finished lab = run({"flock", directory + ".lock", script, directory}, {}, kLabLimit);
    std::istringstream out(lab.out);
    std::string kernel, initrd;
    if (lab.status == 0 && out >> kernel >> initrd) return {"-kernel", kernel, "-initrd", initrd};
    why_no_lab = lab.err;
    EXPECT_EQ(lab.status, 77) << lab.out << lab.err;
    return {};
  }

  std::string why_no_lab;
};

TEST_F(SoftNetworkTest, LinuxGetsAnAddressAndPingsTheGateway) {
  Words files = linux_files();
  if (files.empty()) GTEST_SKIP() << why_no_lab;

  for (int i = 0; i < (is_soak() ? 20 : 1); ++i) {
    SCOPED_TRACE(i);
    Words options = {"-accel",
                     "soft",
                     "-m",
                     "128M",
                     "-no-reboot",
                     "-netdev",
                     "user,id=lan",
                     "-device",
                     "e1000,netdev=lan,mac=52:54:00:ab:cd:ef",
                     "-object",
                     "filter-dump,id=dump,netdev=lan,file=" + path("linux.pcap"),
                     "-append",
                     kLinuxCommandLine};
    Finished recording = run(dejavm({"record", "-o", path("linux.dvt")}) + options + files, {}, kLabLimit);

    ASSERT_EQ(recording.status, kDone) << recording.err;
    EXPECT_THAT(recording.out, HasSubstr("eth0: MAC 52:54:00:ab:cd:ef"));
    EXPECT_THAT(recording.out, HasSubstr("eth0: (PCI:33MHz:32-bit) 52:54:00:ab:cd:ef"));
    EXPECT_THAT(recording.out, HasSubstr("eth0 NIC Link is Up 1000 Mbps Full Duplex, Flow Control: RX"));
    EXPECT_THAT(recording.out, HasSubstr("lease of 10.0.2.15 obtained from 10.0.2.2"));
    EXPECT_THAT(recording.out, HasSubstr("100 packets transmitted, 100 packets received, 0% packet loss"));
    EXPECT_GT(std::filesystem::file_size(path("linux.pcap")), 200u * 100) << "a hundred pings and their answers";
    expect_faithful_replay(path("linux.dvt"), recording);
  }
}

TEST_F(SoftNetworkTest, IpxeFetchesByTftp) {
  if (!readable(kRom)) GTEST_SKIP() << "no " << kRom << ": install ipxe-qemu";
  std::filesystem::create_directory(path("tftp"));
  write_file("tftp/start.ipxe", "#!ipxe\nimgfetch blob\nreboot\n");
  write_file("tftp/blob", std::string(100'000, 'x'));

  Finished recording = run(dejavm({"record", "-o", path("ipxe.dvt"), "-accel", "soft", "-m", "64M", "-no-reboot", "-netdev",
                                   "user,id=lan,bootfile=start.ipxe,tftp=" + path("tftp"), "-device",
                                   std::string("e1000,netdev=lan,romfile=") + kRom, "-object",
                                   "filter-dump,id=dump,netdev=lan,file=" + path("ipxe.pcap"), "--max-seconds", "120"}),
                           {}, kLabLimit);

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.err, HasSubstr("the guest asked for a reset (port 0xcf9)")) << "the script ran to its end";
  EXPECT_GT(std::filesystem::file_size(path("ipxe.pcap")), 100'000u);
  expect_faithful_replay(path("ipxe.dvt"), recording);
  Finished dump = run(dejavm({"dump", path("ipxe.dvt"), "--device", "e1000", "--write"}), {}, kLabLimit);
  std::istringstream lines(dump.out);
  int tails = 0;
  for (std::string line; std::getline(lines, line);) tails += line.find("e1000+0x3818 <- ") != std::string::npos ? 1 : 0;
  EXPECT_GT(tails, 70) << "TFTP acknowledges each of 70 blocks with a frame";
}

}  // namespace
}  // namespace dejavm::integration
