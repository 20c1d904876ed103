// Options, VM options, positions and sizes as a user writes them.
#include "cli/command_line.h"

#include <gmock/gmock.h>

#include <nlohmann/json.hpp>

#include "cli/messages.h"
#include "cli/position.h"
#include "cli/vm_options.h"

namespace dejavm::cli {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class CommandLine : public testing::Test {
 protected:
  Status parse(std::vector<std::string> words) {
    std::vector<Option> options = {{"json", "", "", set_flag(json_)},
                                   {"until", "POS", "where to stop", set_text(until_)},
                                   {"count", "N", "",
                                    set_number(
                                        "--count", [this](uint64_t n) { count_ = n; }, 2)}};
    return parse_options(words, options, [this](std::string_view word) -> Status {
      operands_.emplace_back(word);
      return {};
    });
  }

  bool json_ = false;
  std::string until_;
  uint64_t count_ = 0;
  std::vector<std::string> operands_;
};

TEST_F(CommandLine, OneDashOrTwoValuesBehindASpaceOrAnEqualsSign) {
  EXPECT_TRUE(parse({"-json", "--until", "5"}));
  EXPECT_TRUE(json_);
  EXPECT_EQ(until_, "5");
  EXPECT_TRUE(parse({"-until", "6"}));
  EXPECT_EQ(until_, "6");
  EXPECT_TRUE(parse({"--until=7=8"}));
  EXPECT_EQ(until_, "7=8");
  EXPECT_TRUE(parse({"--until="}));
  EXPECT_EQ(until_, "");
}

TEST_F(CommandLine, UnknownOptionsAreRefusedByName) {
  for (const char* word : {"-frobnicate", "--frobnicate", "--frobnicate=1", "-until=5", "--jso", "---json", "-smp"}) {
    Status status = parse({word});
    ASSERT_FALSE(status) << word;
    EXPECT_EQ(status.error().what, std::string("option ") + word + " is not supported");
    EXPECT_EQ(status.error().kind, ErrorKind::usage);
  }
}

TEST_F(CommandLine, ValuesThatAreMissingOrTooManyAreErrors) {
  EXPECT_EQ(parse({"--until"}).error().what, "--until wants a value: POS");
  EXPECT_EQ(parse({"--json=yes"}).error().what, "-json takes no value");
  EXPECT_EQ(parse({"--count", "1"}).error().what, "--count wants a number of at least 2, not '1'");
  EXPECT_EQ(parse({"--count=many"}).error().what, "--count wants a number of at least 2, not 'many'");
  EXPECT_TRUE(parse({"--count", "2"}));
  EXPECT_EQ(count_, 2u);
}

TEST_F(CommandLine, OperandsStandAnywhereAndEverythingIsOneBehindTwoDashes) {
  EXPECT_TRUE(parse({"a.dvt", "--json", "-", "--", "qemu", "-json", "--"}));

  EXPECT_THAT(operands_, ElementsAre("a.dvt", "-", "qemu", "-json", "--"));
}

TEST_F(CommandLine, ANegativeValueIsAValue) {
  EXPECT_TRUE(parse({"--until", "-5"}));

  EXPECT_EQ(until_, "-5");
}

Status parse_vm(std::vector<std::string> words, VmOptions& options) {
  return parse_options(words, vm_option_list(options),
                       [](std::string_view word) -> Status { return fail(fmt::format("operand {}", word)); });
}

TEST(VmOptions, AreQemus) {
  VmOptions o;

  Status status = parse_vm({"-M", "pc", "-m", "64", "-device", "edu,dma_delay_us=50", "-serial", "null", "-no-reboot", "-S",
                            "-s", "-nographic", "-global", "isa-debugcon.iobase=0x402", "-bios", "x.bin", "--accel=kvm"},
                           o);

  ASSERT_TRUE(status) << status.error().what;
  EXPECT_EQ(o.ram_size, uint64_t{64} << 20);
  ASSERT_EQ(o.devices.size(), 1u);
  EXPECT_EQ(o.devices[0].name, "edu");
  EXPECT_EQ(o.devices[0].properties.at("dma_delay_us"), "50");
  EXPECT_EQ(o.serial, "null");
  EXPECT_TRUE(o.no_reboot && o.connections.stopped);
  EXPECT_EQ(o.connections.gdb, "tcp::1234");
  EXPECT_EQ(o.debugcon_port, 0x402u);
  EXPECT_EQ(o.bios, "x.bin");
  EXPECT_EQ(o.accel, "kvm");
}

TEST(VmOptions, SizesAreInMebibytesOrHaveASuffix) {
  VmOptions o;

  for (const char* text : {"1G", "size=1G", "1024", "1024M", "1048576k"}) {
    o.ram_size = 0;
    EXPECT_TRUE(parse_vm({"-m", text}, o)) << text;
    EXPECT_EQ(o.ram_size, uint64_t{1} << 30) << text;
  }
  for (const char* text : {"0", "x", "-1", "1.5G", ""}) {
    EXPECT_THAT(parse_vm({"-m", text}, o).error().what, HasSubstr("not a size")) << text;
  }
}

TEST(VmOptions, WhatIsNotSupportedIsRefusedByName) {
  VmOptions o;

  EXPECT_THAT(parse_vm({"-M", "q35"}, o).error().what, HasSubstr("-M q35 is not supported"));
  EXPECT_THAT(parse_vm({"-smp", "2"}, o).error().what, HasSubstr("dejavm records one vCPU"));
  EXPECT_THAT(parse_vm({"-smp", "2"}, o).error().next, HasSubstr("Use -smp 1."));
  EXPECT_THAT(parse_vm({"-cpu", "host"}, o).error().what, HasSubstr("-cpu host is not supported"));
  EXPECT_THAT(parse_vm({"-global", "x.y=1"}, o).error().what, HasSubstr("-global x.y=1 is not supported"));
  EXPECT_THAT(parse_vm({"-global", "isa-debugcon.iobase=0x10000"}, o).error().what, HasSubstr("is not supported"));
  EXPECT_EQ(parse_vm({"-enable-kvm"}, o).error().what, "option -enable-kvm is not supported");
}

TEST(VmOptions, ANicIsANetworkAndItsCard) {
  VmOptions o;

  Status status = parse_vm({"-nic", "user,model=e1000,mac=52:54:00:00:00:01,tftp=boot", "-nic", "none", "-object",
                            "filter-dump,id=d,netdev=#nic0,file=x.pcap"},
                           o);

  ASSERT_TRUE(status) << status.error().what;
  ASSERT_EQ(o.networks.size(), 1u);
  EXPECT_EQ(o.networks[0].tftp, "boot");
  ASSERT_EQ(o.devices.size(), 1u);
  EXPECT_EQ(o.devices[0].name, "e1000");
  EXPECT_EQ(o.devices[0].properties.at("netdev"), o.networks[0].id);
  EXPECT_EQ(o.devices[0].properties.at("mac"), "52:54:00:00:00:01");
  ASSERT_EQ(o.dumps.size(), 1u);
  EXPECT_EQ(o.dumps[0].netdev, "#nic0");
  EXPECT_THAT(parse_vm({"-nic", "user,model=rtl8139"}, o).error().what, HasSubstr("-nic: 'model=rtl8139'"));
  EXPECT_THAT(parse_vm({"-nic", "tap"}, o).error().what, HasSubstr("-nic tap"));
}

TEST(VmOptions, DevicePropertiesAreNamesAndValues) {
  EXPECT_EQ(parse_device("").error().what, "-device wants a name");
  EXPECT_EQ(parse_device("edu,x").error().what, "-device edu: 'x' is not property=value");
  EXPECT_EQ(parse_device("edu,=1").error().what, "-device edu: '=1' is not property=value");
  EXPECT_EQ(parse_device("edu,a=b=c").value().properties.at("a"), "b=c");
}

TEST(Seconds, BecomeNanosecondsWhereTheyFit) {
  std::optional<uint64_t> ns;
  auto set = set_seconds("--max-seconds", ns);

  EXPECT_TRUE(set("20"));
  EXPECT_EQ(ns, 20'000'000'000u);
  EXPECT_TRUE(set("9223372036"));
  EXPECT_EQ(ns, 9'223'372'036'000'000'000u);
  for (const char* text : {"0", "-1", "x", "9223372037", "18446744074", "18446744073709551615"}) {
    Status refused = set(text);
    ASSERT_FALSE(refused) << text;
    EXPECT_EQ(refused.error().what,
              fmt::format("--max-seconds wants a number of seconds from 1 to 9223372036, not '{}'", text));
    EXPECT_EQ(refused.error().kind, ErrorKind::usage);
  }
}

TEST(Position, IsAnEventWithStepsOrTheEnd) {
  EXPECT_EQ(parse_position("123").value(), (replay::Position{123, 0}));
  EXPECT_EQ(parse_position("123+45").value(), (replay::Position{123, 45}));
  EXPECT_EQ(parse_position("0x10").value(), (replay::Position{16, 0}));
  EXPECT_EQ(parse_position("@1000").value(), (replay::Position{-1, 1000, true}));
  EXPECT_EQ(parse_position("end").value(), std::nullopt);
  for (const char* text : {"", "+", "1+", "+1", "1+2+3", "x", "-1", "ends", "@", "@x", "9223372036854775808"}) {
    auto position = parse_position(text);
    ASSERT_FALSE(position) << text;
    EXPECT_EQ(position.error().what, fmt::format("'{}' is not a position", text));
    EXPECT_EQ(position.error().kind, ErrorKind::usage);
  }
}

TEST(Messages, SizesAndHashesAreReadable) {
  EXPECT_EQ(size_text(9999), "9999 bytes");
  EXPECT_EQ(size_text(10240), "10.0 KiB");
  EXPECT_EQ(size_text(uint64_t{64} << 20), "64.0 MiB");
  EXPECT_EQ(hash_text(0x1f), "000000000000001f");
}

TEST(Messages, JsonOfBytesThatAreNotUtf8IsStillJson) {
  EXPECT_EQ(json_text(nlohmann::json{{"file", "caf\xe9.dvt"}}), "{\"file\":\"caf\ufffd.dvt\"}");
}

TEST(Messages, AnErrorsKindIsTheExitStatus) {
  EXPECT_EQ(exit_status({"", "", ErrorKind::failed}), 1);
  EXPECT_EQ(exit_status({"", "", ErrorKind::usage}), 2);
  EXPECT_EQ(exit_status({"", "", ErrorKind::damaged}), 4);
}

}  // namespace
}  // namespace dejavm::cli
