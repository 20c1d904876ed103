// Guests that start without firmware: run, recorded and replayed, and compared with what QEMU's loaders tell the same
// guests.
#include <gmock/gmock.h>

#include <algorithm>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::AllOf;
using testing::HasSubstr;

constexpr int kGuestPassed = 33;  // the guests write 0x10 to isa-debug-exit

std::string boot_guest(const std::string& name) { return std::string(DEJAVM_GUEST_DIR "/boot_") + name; }

class BootTest : public GuestTest {
 protected:
  static Words machine() { return {"-m", "64M", "-no-reboot", "-device", "isa-debug-exit,iobase=0x501"}; }

  /// Records, expects the guest's own verdict and a faithful replay; returns what the guest printed.
  std::string booted(const Words& options) const {
    std::string trace = path("boot.dvt");
    Finished recording = run(dejavm({"record", "-o", trace}) + machine() + options);
    EXPECT_EQ(recording.status, kDone) << recording.err;
    EXPECT_THAT(recording.err, HasSubstr("the guest exited with status 33"));
    expect_faithful_replay(trace, recording);
    return recording.out;
  }

  /// What the same guest prints in QEMU; a test of its own that skips where QEMU is absent.
  static std::string in_qemu(const Words& options) {
    Finished qemu = run(Words{"qemu-system-x86_64", "-accel", "tcg", "-nodefaults", "-display", "none", "-serial", "stdio"} +
                        machine() + options);
    EXPECT_EQ(qemu.status, kGuestPassed) << qemu.err;
    return qemu.out;
  }

  Words modules() const {
    write_file("one.mod", "module one bytes");
    write_file("two.mod", std::string(5000, 'z'));
    return {"-initrd", path("one.mod") + " its words," + path("two.mod")};
  }
};

TEST_F(BootTest, MultibootElfWithModulesSeesWhatQemuTellsIt) {
  Words options = Words{"-kernel", boot_guest("multiboot"), "-append", "hello world"} + modules();

  std::string output = booted(options);

  EXPECT_THAT(output, AllOf(HasSubstr("boot_multiboot hello world\n"), HasSubstr("one.mod its words\n"),
                            HasSubstr("size: 5000\n"), HasSubstr("map has this program: 1\nboot: done")));
  if (!have_program("qemu-system-x86_64")) GTEST_SKIP() << "not compared: no qemu-system-x86_64";
  EXPECT_EQ(output, in_qemu(options));
}

TEST_F(BootTest, MultibootImageWithAddressesSeesWhatQemuTellsIt) {
  Words options = {"-kernel", boot_guest("multiboot_raw"), "-append", "raw"};

  std::string output = booted(options);

  EXPECT_THAT(output, AllOf(HasSubstr("magic is right: 1\n"), HasSubstr("bss is zero: 1\n")));
  if (!have_program("qemu-system-x86_64")) GTEST_SKIP() << "not compared: no qemu-system-x86_64";
  EXPECT_EQ(output, in_qemu(options));
}

TEST_F(BootTest, PvhKernelSeesWhatQemuTellsIt) {
  write_file("disk", std::string(5000, 'q'));
  Words options = {"-kernel", boot_guest("pvh"), "-append", "pvh words", "-initrd", path("disk")};

  std::string output = booted(options);

  EXPECT_THAT(output, AllOf(HasSubstr("command line: pvh words\n"), HasSubstr("modules: 1\n  size: 5000\n")));
  if (!have_program("qemu-system-x86_64")) GTEST_SKIP() << "not compared: no qemu-system-x86_64";
  EXPECT_EQ(output, in_qemu(options));
}

TEST_F(BootTest, PlainElfFilesStartInTheModeOfTheirClass) {
  write_file("disk", std::string(5000, 'q'));
  for (const auto& [name, pointer] : {std::pair{"elf32", "4"}, std::pair{"elf64", "8"}}) {
    std::string output = booted({"-kernel", boot_guest(name), "-append", "elf words", "-initrd", path("disk")});
    EXPECT_THAT(output, AllOf(HasSubstr(std::string("pointers of bytes: ") + pointer + "\n"),
                              HasSubstr("command line: elf words\ninitrd size: 5000\n"), HasSubstr("boot: done")));
  }
}

TEST_F(BootTest, FlatImagePrintsWhatItPrintsAsABootSectorOfQemu) {
  std::string output = booted({"-device", "loader,file=" + boot_guest("flat") + ",addr=0x7c00,cpu-num=0"});

  EXPECT_EQ(output, "boot: flat image in real mode\n");
  if (!have_program("qemu-system-x86_64")) GTEST_SKIP() << "not compared: no qemu-system-x86_64";
  EXPECT_THAT(in_qemu({"-drive", "file=" + boot_guest("flat") + ",format=raw,if=ide"}), HasSubstr(output));
}

TEST_F(BootTest, ImagesAreInRamBeforeTheFirmwareRuns) {
  write_file("data.bin", std::string(4096, 'd'));

  Finished recording = run(dejavm({"record", "-o", path("data.dvt")}) + guest_options("uart_echo") +
                               Words{"-device", "loader,file=" + path("data.bin") + ",addr=0x800000"},
                           "quit\n");

  EXPECT_EQ(recording.status, kDone) << recording.err;
  expect_faithful_replay(path("data.dvt"), recording);
  Finished plain = run(dejavm({"record", "-o", path("plain.dvt")}) + guest_options("uart_echo"), "quit\n");
  EXPECT_NE(ram_of(plain.err), ram_of(recording.err));
}

TEST_F(BootTest, AResetEndsAGuestWithoutFirmware) {
  // lidt of nothing; int3: a triple fault. (KVM hosts that emulate real mode do not look at the limit of the IDT.)
  write_file("fault.bin", std::string("\x0f\x01\x1e\x00\x00\xcc", 6));

  Finished finished = run(dejavm(
      {"run", "-accel", "soft", "-m", "16M", "-device", "loader,file=" + path("fault.bin") + ",addr=0x7c00,cpu-num=0"}));

  EXPECT_EQ(finished.status, kDone) << finished.err;
  EXPECT_THAT(finished.err, HasSubstr("triple fault"));
}

class BadBootTest : public GuestTest {
 protected:
  void expect_refused(const Words& options, int status, const std::string& text) const {
    Finished finished = run(dejavm({"run"}) + options);
    EXPECT_EQ(finished.status, status) << testing::PrintToString(options) << finished.err;
    EXPECT_THAT(finished.err, AllOf(HasSubstr("dejavm: error: "), HasSubstr(text)));
  }
};

TEST_F(BadBootTest, FilesThatCannotBeStartedAreNamed) {
  write_file("text", "hello, this is no kernel");
  write_file("short.elf", std::string("\x7f"
                                      "ELF\x02\x01\x01",
                                      7));
  expect_refused({"-kernel", path("absent")}, kFailed, path("absent") + ": No such file or directory");
  expect_refused({"-kernel", path("text")}, kFailed, path("text") + ": neither a Linux bzImage");
  expect_refused({"-kernel", path("short.elf")}, kFailed, path("short.elf") + ": the ELF header");
  expect_refused({"-kernel", boot_guest("elf64"), "-initrd", path("absent")}, kFailed, path("absent"));
  expect_refused({"-kernel", boot_guest("elf64"), "-bios", path("text")}, kUsage, "-bios");
  expect_refused({"-append", "text"}, kUsage, "-append");
}

TEST_F(BadBootTest, LoaderPropertiesAreRefusedByName) {
  write_file("x.bin", "x");
  const std::string file = "loader,file=" + path("x.bin");
  expect_refused({"-device", file}, kUsage, "addr=0x7c00");
  expect_refused({"-device", "loader,addr=0"}, kUsage, "wants a file");
  expect_refused({"-device", file + ",addr=zz"}, kUsage, "addr=zz");
  expect_refused({"-device", file + ",addr=0,cpu-num=1"}, kUsage, "CPU 1");
  expect_refused({"-device", file + ",addr=0,data=5"}, kUsage, "data=5");
  expect_refused({"-device", file + ",addr=0x100000,cpu-num=0"}, kUsage, "1 MiB");
  expect_refused({"-device", "loader,file=" + boot_guest("elf32") + ",addr=0x7c00,cpu-num=0"}, kUsage, "force-raw=on");
}

}  // namespace
}  // namespace dejavm::integration
