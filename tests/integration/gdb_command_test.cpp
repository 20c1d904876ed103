// dejavm gdb: one command from a trace to a debugger that goes backward.
#include <dirent.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <regex>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class SoftGdbCommandTest : public GdbTest {
 protected:
  Finished debug(const Words& arguments, const Words& commands) const {
    Words words = Words{"env", "TMPDIR=" + path("")} + dejavm({"gdb"}) + arguments + Words{"--", "-nx", "-batch"};
    for (const std::string& command : commands) words = words + Words{"-ex", command};
    return run(words);
  }
  unsigned directories_left() const {
    unsigned found = 0;
    DIR* directory = ::opendir(path("").c_str());
    while (const dirent* entry = ::readdir(directory)) found += std::string_view(entry->d_name).starts_with("dejavm-gdb-");
    ::closedir(directory);
    return found;
  }
};

TEST_F(SoftGdbCommandTest, IsConnectedKnowsSymbolsAndGoesBackward) {
  std::string trace = recorded("buggy_dma", {"-accel", "soft"});

  Finished gdb = debug({trace, "--symbols", guest_symbols("buggy_dma")},
                       {"break panic", "continue", "seek 297", "p/x $_mmio(\"edu+0x90\")", "mmio break edu+0x98 w",
                        "reverse-continue", "when", "who-wrote 0x101580"});

  EXPECT_EQ(gdb.status, kDone) << gdb.err;
  EXPECT_THAT(gdb.out, HasSubstr("Breakpoint 1, panic (what="));
  EXPECT_THAT(gdb.out, ContainsRegex("at 297\\+0, instruction [0-9]+, rip 0x[0-9a-f]+\n#0 .* wait_for_interrupt \\(\\)"));
  EXPECT_THAT(gdb.out, Not(HasSubstr("gdb still shows"))) << "the extension shows the new place itself";
  EXPECT_THAT(gdb.out, HasSubstr("$1 = 0x50"));
  EXPECT_THAT(gdb.err, ContainsRegex("mmio: edu\\+0x98 <- 0x7 [^\n]*, event 296\n"));
  EXPECT_THAT(gdb.out, ContainsRegex("at 295\\+[0-9]+, instruction [0-9]+\n"));
  EXPECT_EQ(directories_left(), 0u);
}

/// A "kernel" whose handler of page faults is linked 2 MiB below where the guest has one.
TEST_F(SoftGdbCommandTest, KaslrMovesTheSymbolsToTheGuestsKernel) {
  std::string trace = recorded("buggy_dma", {"-accel", "soft"});
  Finished asked = debug({trace}, {"seek 297", "python print('handler %#x' % Kaslr().handler())"});
  std::smatch handler;
  ASSERT_TRUE(std::regex_search(asked.out, handler, std::regex("handler 0x([0-9a-f]+)"))) << asked.out << asked.err;
  uint64_t linked = std::stoull(handler[1], nullptr, 16) - 0x200000;
  write_file("kernel.s", ".globl asm_exc_page_fault\nasm_exc_page_fault: ret\n");
  ASSERT_EQ(run({"as", "-o", path("kernel.o"), path("kernel.s")}).status, 0);
  std::string vmlinux = path("vmlinux");
  ASSERT_EQ(
      run({"ld", "-e", "asm_exc_page_fault", fmt::format("-Ttext={:#x}", linked), "-o", vmlinux, path("kernel.o")}).status,
      0);

  Finished gdb =
      debug({trace, "--symbols", vmlinux}, {"seek 297", "kaslr", "p/x (unsigned long)&asm_exc_page_fault", "kaslr"});

  EXPECT_THAT(gdb.out, HasSubstr("kaslr: the kernel is 0x200000 above its linked address\n"));
  EXPECT_THAT(gdb.out, HasSubstr("$1 = 0x" + handler[1].str() + "\n"));
  EXPECT_THAT(gdb.out, HasSubstr("kaslr: the symbols are where the kernel is\n"));
}

TEST_F(SoftGdbCommandTest, KaslrSaysWhatItLacks) {
  std::string trace = recorded("buggy_dma", {"-accel", "soft"});

  Finished gdb = debug({trace, "--symbols", guest_symbols("buggy_dma")}, {"seek 297", "kaslr"});

  EXPECT_THAT(gdb.err, HasSubstr("no symbols of a Linux kernel: kaslr VMLINUX"));
}

TEST_F(SoftGdbCommandTest, AWrongTraceIsToldAndNoGdbStarts) {
  write_file("nonsense.dvt", "this is no trace");

  Finished gdb = debug({path("nonsense.dvt")}, {"p 12345"});

  EXPECT_NE(gdb.status, kDone);
  EXPECT_THAT(gdb.err, HasSubstr("nonsense.dvt"));
  EXPECT_THAT(gdb.out, Not(HasSubstr("12345")));
  EXPECT_EQ(directories_left(), 0u);
}

TEST_F(SoftGdbCommandTest, WithoutADebuggerOrSymbolsItSaysSo) {
  std::string trace = recorded("buggy_dma", {"-accel", "soft"});

  Finished no_gdb = debug({trace, "--debugger", path("nosuch-gdb")}, {});
  Finished no_symbols = debug({trace, "--symbols", path("nosuch.elf")}, {});

  EXPECT_EQ(no_gdb.status, kFailed);
  EXPECT_THAT(no_gdb.err, HasSubstr("cannot run"));
  EXPECT_EQ(no_symbols.status, kFailed);
  EXPECT_THAT(no_symbols.err, HasSubstr("nosuch.elf"));
  EXPECT_EQ(directories_left(), 0u);
}

TEST_F(SoftGdbCommandTest, UsageIsExplained) {
  EXPECT_EQ(run(dejavm({"gdb"})).status, kUsage);
  Finished help = run(dejavm({"gdb", "--help"}));
  EXPECT_EQ(help.status, kDone);
  EXPECT_THAT(help.out, HasSubstr("-symbols ELF"));
}

}  // namespace
}  // namespace dejavm::integration
