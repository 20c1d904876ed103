// A stock kernel with a plain command line: it finds the ACPI tables, both APICs and the HPET, and switches off by ACPI.
#include <gmock/gmock.h>

#include <algorithm>
#include <regex>
#include <sstream>

#include "support/driver_lab.h"

namespace dejavm::integration {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

class SoftAcpiTest : public DriverLabTest {
 protected:
  /// What the kernel says of a machine that it is content with.
  static auto is_content() {
    return AllOf(Not(HasSubstr("ACPI Error")), Not(HasSubstr("ACPI BIOS")), Not(HasSubstr("ACPI Warning")),
                 Not(HasSubstr("Firmware Bug")), Not(HasSubstr("BIOS bug")), Not(HasSubstr("MP-BIOS")),
                 Not(HasSubstr("Call Trace")), Not(HasSubstr("spurious")));
  }
  static constexpr const char* kPoweredOff = "the guest powered off (ACPI)";

  /// Lines of the kernel's log about the platform, without time stamps, addresses of tables and PCI device numbers; sorted.
  static Words platform_lines(const std::string& output) {
    static const std::regex stamp("^\\[ *[0-9]+\\.[0-9]+\\] ");
    static const std::regex platform("ACPI|APIC|hpet|clocksource|PCI|pci |pnp|rtc_cmos|i8042|MSI", std::regex::icase);
    static const std::regex place("0x[0-9A-F]{16} |\\[mem 0x[0-9a-f]+-0x[0-9a-f]+\\]");
    Words lines;
    std::istringstream text(output);
    for (std::string line; std::getline(text, line);) {
      if (!line.empty() && line.back() == '\r') line.pop_back();
      std::smatch at;
      if (!std::regex_search(line, at, stamp)) continue;
      line = at.suffix();
      if (std::regex_search(line, platform)) lines.push_back(std::regex_replace(line, place, "PLACE "));
    }
    std::sort(lines.begin(), lines.end());
    return lines;
  }
  /// Lines of `from` that are not in `other` and that no pattern of `known` finds.
  static Words unexplained(const Words& from, const Words& other, const std::vector<const char*>& known) {
    Words lines;
    std::set_difference(from.begin(), from.end(), other.begin(), other.end(), std::back_inserter(lines));
    for (const char* pattern : known) {
      std::regex explained(pattern);
      std::erase_if(lines, [&explained](const std::string& line) { return std::regex_search(line, explained); });
    }
    return lines;
  }
};

TEST_F(SoftAcpiTest, StockKernelSwitchesOffAndReplays) {
  Finished recording = run(dejavm({"record", "-o", path("acpi.dvt")}) + plain_options("hwclock,interrupts"), {}, kLabLimit);

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.err, HasSubstr(kPoweredOff));
  EXPECT_THAT(recording.out, is_content());
  EXPECT_THAT(recording.out, AllOf(HasSubstr("ACPI: RSDP 0x00000000000F0000"), HasSubstr("ACPI: FACP 0x"),
                                   HasSubstr("ACPI: 2 ACPI AML tables successfully acquired and loaded"),
                                   HasSubstr("ACPI: Using IOAPIC for interrupt routing"),
                                   HasSubstr("ACPI: PM: (supports S0 S5)"), HasSubstr("ACPI: PM-Timer IO Port: 0x608")));
  EXPECT_THAT(recording.out, AllOf(HasSubstr("hpet0: 3 comparators, 64-bit 100.000000 MHz counter"),
                                   HasSubstr("clocksource: Switched to clocksource hpet"), HasSubstr("Thu Jan  1 00:00"),
                                   HasSubstr("IO-APIC   9-fasteoi   acpi"), HasSubstr("Local timer interrupts"),
                                   HasSubstr("reboot: Power down")));
  expect_faithful_replay(path("acpi.dvt"), recording);
}

TEST_F(SoftAcpiTest, PmTimerIsAClockToo) {
  Finished recording =
      run(dejavm({"record", "-o", path("pm.dvt")}) + plain_options("hwclock", "end=poweroff clocksource=acpi_pm"), {},
          kLabLimit);

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out,
              AllOf(HasSubstr("clocksource: Switched to clocksource acpi_pm"), HasSubstr("Thu Jan  1 00:00"), is_content()));
  EXPECT_THAT(recording.err, HasSubstr(kPoweredOff));
  expect_faithful_replay(path("pm.dvt"), recording);
}

TEST_F(SoftAcpiTest, RebootsByTheResetRegister) {
  Finished boot = run(dejavm({"run"}) + plain_options("hwclock", "end=reboot"), {}, kLabLimit);

  EXPECT_EQ(boot.status, kDone) << boot.err;
  EXPECT_THAT(boot.err, HasSubstr("the guest asked for a reset (port 0xcf9) and -no-reboot is given"));
}

TEST_F(SoftAcpiTest, WithoutAcpiTheMpTableIsUsed) {
  Finished boot = run(dejavm({"run"}) + plain_options("interrupts", "acpi=off end=reboot"), {}, kLabLimit);

  EXPECT_EQ(boot.status, kDone) << boot.err;
  EXPECT_THAT(boot.out,
              AllOf(HasSubstr("found SMP MP-table at [mem 0x000f0020-0x000f002f]"), HasSubstr("MPTABLE: Product ID: 0.1"),
                    HasSubstr("IO-APIC   4-edge      ttyS0"), HasSubstr("lab-init: done"), is_content()));
}

/// The e1000's pin comes by way of _PRT, the links and the I/O APIC.
TEST_F(SoftAcpiTest, PciInterruptsAreRoutedByTheTables) {
  const Words card = {"-netdev", "user,id=lan", "-device", "e1000,netdev=lan"};

  Finished recording =
      run(dejavm({"record", "-o", path("routed.dvt")}) + plain_options("net,interrupts", "end=poweroff pings=20") + card, {},
          kLabLimit);

  ASSERT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, AllOf(testing::ContainsRegex("ACPI: \\\\_SB_\\.LNK[A-D]: Enabled at IRQ 1[01]"),
                                   HasSubstr("20 packets transmitted, 20 packets received, 0% packet loss"),
                                   testing::ContainsRegex("1[01]: +[0-9]+ +IO-APIC +1[01]-fasteoi +eth0"), is_content()));
  EXPECT_THAT(recording.err, HasSubstr(kPoweredOff));
  expect_faithful_replay(path("routed.dvt"), recording);
}

TEST_F(SoftAcpiTest, SaysWhatItSaysOnQemu) {
  if (!have_program("qemu-system-x86_64")) GTEST_SKIP() << "qemu-system-x86_64 is absent";
  const Words options = plain_options("hwclock");

  Finished ours = run(dejavm({"run"}) + options, {}, kLabLimit);
  // A CPU without a TSC, as ours.
  Words qemu = {"qemu-system-x86_64", "-M",   "pc",      "-accel", "tcg",  "-nodefaults",
                "-display",           "none", "-serial", "stdio",  "-cpu", "qemu64,-tsc"};
  Finished theirs = run(qemu + Words(options.begin() + 2, options.end()), {}, kLabLimit);

  ASSERT_EQ(ours.status, kDone) << ours.err;
  ASSERT_EQ(theirs.status, 0) << theirs.err;
  Words our_lines = platform_lines(ours.out), their_lines = platform_lines(theirs.out);
  EXPECT_GT(our_lines.size(), 80u);
  // The devices that the tables name: no mouse, an RTC with two ports (docs/adding-a-device.md).
  constexpr const char* kDevices = "^i8042: |^serio: |^input: |^rtc_cmos |PnP ACPI: found";
  EXPECT_EQ(unexplained(our_lines, their_lines,
                        {kDevices, "^ACPI: 2 ACPI AML tables", "^ACPI: (DSDT|FACP|RSDT|SSDT) PLACE", "^ACPI: Reserving SSDT",
                         "supports S0 S5"}),
            Words{});
  EXPECT_EQ(unexplained(their_lines, our_lines,
                        {kDevices, "^ACPI: 1 ACPI AML tables", "^ACPI: (DSDT|FACP|RSDT) PLACE", "supports S0 S3 S4 S5",
                         "^acpiphp: Slot", "Enabled 2 GPEs",        // hotplug
                         "0000:00:01.1: ", "claimed by PIIX4 SMB",  // IDE, SMBus
                         "^APIC (calibration|delta)"}),             // a host that is busy
            Words{});
}

}  // namespace
}  // namespace dejavm::integration
