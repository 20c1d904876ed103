// What a user can get wrong on the command line: named, with the exit status of the contract.
#include <gmock/gmock.h>

#include "support/dejavm.h"

namespace dejavm::integration {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class BadInputTest : public GuestTest {
 protected:
  void expect_refused(const Words& arguments, int status, const std::string& text) const {
    Finished finished = run(dejavm(arguments));
    EXPECT_EQ(finished.status, status) << testing::PrintToString(arguments) << finished.err;
    EXPECT_THAT(finished.err, HasSubstr("dejavm: error: ")) << testing::PrintToString(arguments);
    EXPECT_THAT(finished.err, HasSubstr(text)) << testing::PrintToString(arguments);
    EXPECT_EQ(finished.out, "") << testing::PrintToString(arguments);
  }
};

TEST_F(BadInputTest, NoCommandShowsTheCommands) {
  Finished finished = run(dejavm({}));

  EXPECT_EQ(finished.status, kUsage);
  EXPECT_THAT(finished.err, AllOf(HasSubstr("dejavm record"), HasSubstr("dejavm replay")));
}

TEST_F(BadInputTest, HelpOfEveryCommandHasAnExample) {
  for (const char* command : {"run", "record", "replay", "info", "dump", "shell"}) {
    Finished finished = run(dejavm({command, "--help"}));
    EXPECT_EQ(finished.status, kDone) << command;
    EXPECT_THAT(finished.out, AllOf(HasSubstr("Usage: dejavm "), HasSubstr("Example:"))) << command;
    EXPECT_EQ(finished.err, "") << command;
  }
}

TEST_F(BadInputTest, UnknownCommandsAreRefusedByName) { expect_refused({"frobnicate"}, kUsage, "'frobnicate'"); }

TEST_F(BadInputTest, UnsupportedOptionsAreRefusedByName) {
  const std::vector<std::pair<Words, std::string>> cases = {
      {{"-drive", "file=x"}, "-drive"},
      {{"-netdev", "tap,id=n0"}, "-netdev tap"},
      {{"-nic", "tap"}, "-nic tap"},
      {{"-object", "rng-random,id=r"}, "-object rng-random"},
      {{"--no-such-option"}, "--no-such-option"},
      {{"-M", "q35"}, "-M q35"},
      {{"-cpu", "host"}, "-cpu host"},
      {{"-smp", "2"}, "-smp 2"},
      {{"-accel", "tcg"}, "-accel tcg"},
      {{"-display", "sdl"}, "-display sdl"},
      {{"-monitor", "stdio"}, "monitor: address 'stdio'"},
      {{"-serial", "tcp:1"}, "-serial tcp:1"},
      {{"-debugcon", "vc"}, "-debugcon vc"},
      {{"-global", "edu.x=1"}, "-global edu.x=1"},
      {{"-m"}, "-m wants a value"},
      {{"-m", "lots"}, "-m lots"},
      {{"-m", "0"}, "-m 0"},
      {{"--max-events", "0"}, "--max-events wants a number"},
      {{"--max-seconds", "-1"}, "--max-seconds wants a number"},
      {{"--max-seconds", "18446744074"}, "--max-seconds wants a number of seconds from 1 to 9223372036"},
      {{"stray"}, "'stray'"},
  };

  for (const auto& [words, text] : cases) {
    expect_refused(Words{"run"} + words, kUsage, text);
    expect_refused(Words{"record", "-o", path("x.dvt")} + words, kUsage, text);
  }
}

TEST_F(BadInputTest, DurationsThatDoNotFitAClockAreRefused) {
  expect_refused({"record", "-o", path("x.dvt"), "--keyframes", "9223372037"}, kUsage,
                 "--keyframes wants a number of seconds from 1 to 9223372036, not '9223372037'");
}

TEST_F(BadInputTest, RecordWantsAFile) { expect_refused({"record"}, kUsage, "record wants -o FILE"); }

TEST_F(BadInputTest, UnknownDevicesAndPropertiesAreRefusedByName) {
  if (!readable(kSeabios)) GTEST_SKIP() << kSeabios << " is not readable (Debian package seabios)";
  expect_refused({"run", "-bios", kSeabios, "-device", "rtl8139"}, kUsage, "rtl8139");
  expect_refused({"run", "-bios", kSeabios, "-device", "edu,no_such=1"}, kUsage, "no_such");
  expect_refused({"run", "-bios", kSeabios, "-device", "edu,no-value"}, kUsage, "no-value");
  expect_refused({"run", "-bios", kSeabios, "-device", ""}, kUsage, "-device");
  expect_refused({"run", "-bios", kSeabios, "-device", "isa-debug-exit,iobase=zz"}, kUsage, "iobase");
}

TEST_F(BadInputTest, MissingAndUnreadableImagesAreNamed) {
  expect_refused({"run", "-bios", path("absent.bin")}, kFailed, path("absent.bin") + ": No such file or directory");
  expect_refused({"run", "-bios", path("")}, kFailed, path(""));
  write_file("empty.bin", "");
  expect_refused({"run", "-bios", path("empty.bin")}, kUsage, "0 bytes");
}

TEST_F(BadInputTest, ImagesOfAnImpossibleSizeAreRefused) {
  write_file("odd.bin", std::string(65537, '\x90'));
  write_file("huge.bin", std::string((16 << 20) + 65536, '\x90'));

  Finished odd = run(dejavm({"run", "-bios", path("odd.bin"), "--max-seconds", "1"}));
  Finished huge = run(dejavm({"run", "-bios", path("huge.bin"), "--max-seconds", "1"}));

  EXPECT_NE(odd.status, kDone) << odd.err;
  EXPECT_THAT(odd.err, HasSubstr("65537"));
  EXPECT_EQ(huge.status, kFailed) << huge.err;
  EXPECT_THAT(huge.err, HasSubstr("huge.bin"));
}

TEST_F(BadInputTest, AnAbsurdAmountOfMemoryIsAnErrorAndNotACrash) {
  for (const char* size : {"900000G", "16777216T", "18446744073709551615"}) {
    Finished finished = run(dejavm(Words{"run", "-bios", guest_image("spin"), "-m", size, "--max-seconds", "1"}));
    EXPECT_THAT(finished.status, testing::AnyOf(kFailed, kUsage)) << size << finished.err;
    EXPECT_THAT(finished.err, HasSubstr("dejavm: error: ")) << size;
  }
}

TEST_F(BadInputTest, AnOutputThatCannotBeCreatedIsNamed) {
  expect_refused({"record", "--quiet", "-o", path("no/such/dir.dvt"), "-bios", guest_image("spin")}, kFailed,
                 path("no/such/dir.dvt"));
  expect_refused({"run", "-bios", guest_image("spin"), "-debugcon", "file:" + path("no/log")}, kFailed, path("no/log"));
}

TEST_F(BadInputTest, AnImageOfNonsenseEndsInATripleFaultOrAnErrorAndReplays) {
  std::string noise;
  for (unsigned i = 0, x = 1; i < 65536; ++i, x = x * 1664525 + 1013904223) noise += static_cast<char>(x >> 24);
  write_file("noise.bin", noise);

  Finished recording = run(dejavm({"record", "-o", path("noise.dvt"), "-bios", path("noise.bin"), "-m", "16M", "-no-reboot",
                                   "--max-seconds", "1", "--max-events", "10000"}));
  Finished replay = run(dejavm({"replay", path("noise.dvt")}));

  EXPECT_THAT(recording.status, testing::AnyOf(kDone, kFailed)) << recording.err;
  EXPECT_EQ(replay.status, kDone) << replay.err;
}

TEST_F(BadInputTest, BadGdbAddressesAreRefused) {
  expect_refused({"run", "--quiet", "-bios", guest_image("spin"), "-gdb", "nonsense"}, kUsage, "nonsense");
  expect_refused({"run", "--quiet", "-bios", guest_image("spin"), "-gdb", "tcp::99999"}, kUsage, "99999");
  expect_refused({"run", "--quiet", "-bios", guest_image("spin"), "-gdb", "unix:" + path("no/such/sock")}, kFailed,
                 "no/such/sock");
}

TEST_F(BadInputTest, CommandsThatWantATraceSaySo) {
  for (const char* command : {"replay", "info", "dump"}) {
    expect_refused({command}, kUsage, std::string(command) + " wants a trace");
    expect_refused({command, path("absent.dvt")}, kFailed, path("absent.dvt") + ": No such file or directory");
    expect_refused({command, "--frobnicate", path("absent.dvt")}, kUsage, "--frobnicate");
    expect_refused({command, path("a.dvt"), path("b.dvt")}, kUsage, "one trace at a time");
  }
}

}  // namespace
}  // namespace dejavm::integration
