// Real drivers of the e1000 on the user network: Linux's e1000.ko and iPXE from the option ROM, recorded and replayed.
#include <gmock/gmock.h>

#include <algorithm>
#include <filesystem>
#include <set>
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

  /// What the e1000's driver and its users print, each line once, without the kernel's time stamps. Left out: what comes
  /// from the place of the registers and the command register, which QEMU's firmware has set and nobody has here, and
  /// counters that depend on how long the link takes to come up.
  static std::set<std::string> lines_about_network(const std::string& output) {
    static const Words kWanted = {"e1000",  "eth0: ",    "udhcpc: lease",      "dhcp: ", "packets transmitted",
                                  "HWaddr", "inet addr", "pci 0000:00:02.0: ["};
    static const Words kElsewhere = {"enabling device", "found PCI INT"};
    auto has_one_of = [](const std::string& line, const Words& words) {
      return std::ranges::any_of(words, [&](const std::string& word) { return line.find(word) != std::string::npos; });
    };
    std::set<std::string> lines;
    std::istringstream text(output);
    for (std::string line; std::getline(text, line);) {
      if (!has_one_of(line, kWanted) || has_one_of(line, kElsewhere)) continue;
      lines.insert(line.starts_with("[") ? line.substr(line.find("] ") + 2) : line);
    }
    return lines;
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

TEST_F(SoftNetworkTest, DriverPrintsWhatItPrintsOnQemu) {
  if (!have_program("qemu-system-x86_64")) GTEST_SKIP() << "qemu-system-x86_64 is absent";
  Words files = linux_files();
  if (files.empty()) GTEST_SKIP() << why_no_lab;
  const Words options = Words{"-m",
                              "128M",
                              "-no-reboot",
                              "-netdev",
                              "user,id=lan",
                              "-device",
                              "e1000,netdev=lan,mac=52:54:00:ab:cd:ef",
                              "-append",
                              std::string(kLinuxCommandLine) + ",dmesg pings=5"} +
                        files;

  Finished ours = run(dejavm({"run", "-accel", "soft"}) + options, {}, kLabLimit);
  Finished qemu =
      run(Words{"qemu-system-x86_64", "-M", "pc", "-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio"} +
              options,
          {}, kLabLimit);

  ASSERT_EQ(ours.status, kDone) << ours.err;
  ASSERT_EQ(qemu.status, 0) << qemu.err;
  EXPECT_GE(lines_about_network(ours.out).size(), 12u);
  EXPECT_EQ(lines_about_network(ours.out), lines_about_network(qemu.out));
}

TEST_F(SoftNetworkTest, IpxeFetchesByTftp) {
  if (!readable(kRom)) GTEST_SKIP() << "no " << kRom << ": install ipxe-qemu";
  std::filesystem::create_directory(path("tftp"));
  write_file("tftp/start.ipxe", "#!ipxe\nimgfetch blob\nreboot\n");
  write_file("tftp/blob", std::string(100'000, 'x'));

  Finished recording =
      run(dejavm({"record", "-o", path("ipxe.dvt"), "-accel", "soft", "-m", "64M", "-no-reboot", "-netdev",
                  "user,id=lan,bootfile=start.ipxe,tftp=" + path("tftp"), "-device", "e1000,netdev=lan", "-object",
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
