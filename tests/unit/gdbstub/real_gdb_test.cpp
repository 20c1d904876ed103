// The stub under the real gdb, in batch mode, with a FakeTarget behind it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <thread>

#include "base/temporary.h"
#include "fake_target.h"
#include "gdbstub/server.h"

namespace dejavm::gdb {
namespace {

using testing::HasSubstr;
using testing::Not;

bool have_gdb() { return std::system("gdb --version >/dev/null 2>&1") == 0; }

/// Serves `target` to one batch gdb that executes `commands` after it connected; returns what gdb printed.
class RealGdbTest : public testing::Test {
 protected:
  void SetUp() override {
    if (!have_gdb()) GTEST_SKIP() << "gdb is not installed";
  }

  std::string run(const std::vector<std::string>& commands) {
    auto server = Server::listen("tcp::0");
    EXPECT_TRUE(server);
    std::thread serving([&] { end_ = server->serve(target_, false); });
    const std::string address = server->address();
    std::string line = fmt::format("timeout 60 gdb -nx -batch -ex 'set confirm off' -ex '{} {}'", connect_,
                                   address.substr(address.find(':') + 1));
    for (const std::string& command : commands) line += fmt::format(" -ex '{}'", command);
    const std::string output = output_of(line + " 2>&1");
    server->cancel();
    serving.join();
    return output;
  }

  static std::string output_of(const std::string& line) {
    FILE* pipe = popen(line.c_str(), "r");
    if (pipe == nullptr) return "popen failed";
    std::string output;
    char buffer[4096];
    for (size_t count = 0; (count = fread(buffer, 1, sizeof buffer, pipe)) > 0;) output.append(buffer, count);
    pclose(pipe);
    return output;
  }

  FakeTarget target_;
  std::string connect_ = "target remote";
  Result<ServeEnd> end_;
};

TEST_F(RealGdbTest, ShowsRegisters) {
  target_.state.gpr[vm::rax] = 0x1122334455667788;
  target_.state.gpr[vm::r9] = 99;
  target_.state.rflags = 0x246;
  target_.state.cr3 = 0xabc000;
  target_.state.segment[vm::fs].base = 0x7fff0000;
  target_.state.kernel_gs_base = 0x5550;
  target_.state.fpu.xmm[3][0] = 42;
  target_.state.fpu.ftw = 0x80;
  target_.state.fpu.fsw = 7u << 11;
  target_.state.fpu.st[0] = {0, 0, 0, 0, 0, 0, 0, 0x80, 0xff, 0x3f};  // 1.0

  const std::string output =
      run({"info registers", "p/x $cr3", "p $fs_base", "p/x $k_gs_base", "p $efer", "p $cr0", "p $eflags",
           "p $xmm3.v16_int8[0]", "p $st0", "p/x $ftag", "p $ax", "info registers system"});

  EXPECT_THAT(output, Not(HasSubstr("not recognized")));
  EXPECT_THAT(output, Not(HasSubstr("rror")));
  EXPECT_THAT(output, HasSubstr("rax            0x1122334455667788"));
  EXPECT_THAT(output, HasSubstr("rip            0x1000"));
  EXPECT_THAT(output, HasSubstr("[ PF ZF IF IOPL=0 ]"));
  EXPECT_THAT(output, HasSubstr("$1 = 0xabc000"));
  EXPECT_THAT(output, HasSubstr("$2 = (void *) 0x7fff0000"));
  EXPECT_THAT(output, HasSubstr("$3 = 0x5550"));
  EXPECT_THAT(output, HasSubstr("$4 = [ LME LMA ]"));
  EXPECT_THAT(output, HasSubstr("$5 = [ PE PG ]"));
  EXPECT_THAT(output, HasSubstr("$7 = 42"));
  EXPECT_THAT(output, HasSubstr("$8 = 1\n"));
  EXPECT_THAT(output, HasSubstr("$9 = 0x3fff"));
  EXPECT_THAT(output, HasSubstr("$10 = 30600"));
}

TEST_F(RealGdbTest, ReadsAndWritesMemoryVirtualAndPhysical) {
  target_.virtual_memory[0x10] = 0x11;
  target_.physical_memory[0x10] = 0x99;

  const std::string output =
      run({"x/4xb 0x10", "set var *(char*)0x11 = 0x22", "x/4xb 0x10", "maintenance packet Qqemu.PhyMemMode:1", "x/2xb 0x10",
           "maintenance packet qqemu.PhyMemMode", "x/b 0x20000"});

  EXPECT_THAT(output, HasSubstr("0x10:\t0x11\t0x00\t0x00\t0x00"));
  EXPECT_THAT(output, HasSubstr("0x10:\t0x11\t0x22\t0x00\t0x00"));
  EXPECT_THAT(output, HasSubstr("0x10:\t0x99\t0x00"));
  EXPECT_THAT(output, HasSubstr("received: \"1\""));
  EXPECT_THAT(output, HasSubstr("Cannot access memory at address 0x20000"));
}

TEST_F(RealGdbTest, BreaksContinuesAndSteps) {
  const std::string output =
      run({"break *0x1010", "hbreak *0x1020", "continue", "p $rip", "stepi", "p $rip", "continue", "p $rip"});

  EXPECT_THAT(output, HasSubstr("Breakpoint 1, 0x0000000000001010"));
  EXPECT_THAT(output, HasSubstr("$2 = (void (*)()) 0x1011"));
  EXPECT_THAT(output, HasSubstr("Breakpoint 2, 0x0000000000001020"));
  EXPECT_EQ(target_.detaches, 1u);
  EXPECT_TRUE(target_.breakpoints.empty());
}

TEST_F(RealGdbTest, WatchesAccesses) {
  const std::string output = run({"awatch *(unsigned char*)0x3000", "continue", "x/b 0x3000"});

  EXPECT_THAT(output, HasSubstr("Hardware access (read/write) watchpoint 1"));
  EXPECT_THAT(output, HasSubstr("Old value = 0"));
  EXPECT_THAT(output, HasSubstr("New value = 1"));
}

TEST_F(RealGdbTest, WatchesReads) {
  target_.virtual_memory[0x3000] = 6;

  const std::string output = run({"rwatch *(unsigned char*)0x3000", "continue"});

  EXPECT_THAT(output, HasSubstr("Hardware read watchpoint 1"));
}

TEST_F(RealGdbTest, PrintsTheDeviceStopAndMonitorText) {
  Stop stop = FakeTarget::make_stop(Stop::Kind::device);
  stop.console = "mmio: edu+0x80 <- 0x1 (4 bytes) at 0xfebc0080, rip 0x1000, event 123\n";
  target_.script.push_back(stop);

  const std::string output = run({"monitor mmio break edu w", "continue"});

  EXPECT_THAT(output, HasSubstr("you said mmio break edu w\n"));
  EXPECT_THAT(output, HasSubstr("mmio: edu+0x80 <- 0x1 (4 bytes) at 0xfebc0080, rip 0x1000, event 123\n"));
  EXPECT_THAT(output, HasSubstr("SIGTRAP"));
}

TEST_F(RealGdbTest, RefusedRegisterWriteShowsTheReason) {
  target_.read_only = true;

  const std::string output = run({"set var $rax = 5"});

  EXPECT_THAT(output, HasSubstr("a replay"));
  EXPECT_THAT(output, HasSubstr("registers cannot be changed; use a diversion"));
}

TEST_F(RealGdbTest, RefusedMemoryWriteShowsTheReasonAtTheNextStep) {
  target_.read_only = true;

  const std::string output = run({"set var *(char*)0x11 = 1", "stepi"});

  EXPECT_THAT(output, HasSubstr("Cannot access memory at address 0x11"));
  EXPECT_THAT(output, HasSubstr("memory cannot be changed"));
}

TEST_F(RealGdbTest, GuestThatExits) {
  Stop exited = FakeTarget::make_stop(Stop::Kind::exited);
  exited.exit_status = 3;
  target_.script.push_back(exited);

  const std::string output = run({"continue"});

  EXPECT_THAT(output, HasSubstr("exited with code 03"));
  ASSERT_TRUE(end_);
  EXPECT_EQ(end_->kind, ServeEnd::Kind::exited);
}

TEST_F(RealGdbTest, DivergenceStopsWithItsText) {
  Stop diverged = FakeTarget::make_stop(Stop::Kind::diverged);
  diverged.console = "divergence at event 7\n";
  target_.script.push_back(diverged);

  const std::string output = run({"continue"});

  EXPECT_THAT(output, HasSubstr("divergence at event 7\n"));
  EXPECT_THAT(output, HasSubstr("SIGABRT"));
}

TEST_F(RealGdbTest, EndOfTheReplay) {
  target_.end_of_trace();

  EXPECT_THAT(run({"continue"}), HasSubstr("No more reverse-execution history"));
}

TEST_F(RealGdbTest, KillAndDetach) {
  run({"kill"});
  EXPECT_TRUE(target_.killed);

  FakeTarget& again = target_;
  again.end_of_trace();
  run({"detach"});
  EXPECT_EQ(again.detaches, 1u);
}

TEST_F(RealGdbTest, PcAndBreakpointsAreLinearInRealMode) {
  target_.state = vm::reset_state();
  target_.state.segment[vm::cs].base = 0x2000;
  target_.state.segment[vm::cs].selector = 0x200;
  target_.state.rip = 0x10;
  target_.virtual_memory[0x2010] = 0x8c;  // mov ax, cs
  target_.virtual_memory[0x2011] = 0xc8;

  const std::string output = run({"x/2xb $pc", "break *0x2012", "continue", "stepi", "p/x $rip"});

  EXPECT_THAT(output, HasSubstr("0x2010:\t0x8c\t0xc8"));
  EXPECT_THAT(output, HasSubstr("Breakpoint 1, 0x0000000000002012"));
  EXPECT_THAT(output, HasSubstr("$1 = 0x2013"));
}

TEST_F(RealGdbTest, RealModeCodeIsDisassembledThroughObjdump) {
  if (std::system("objdump --version >/dev/null 2>&1") != 0) GTEST_SKIP() << "objdump is not installed";
  target_.virtual_memory[0x2010] = 0x8c;  // mov ax, cs
  target_.virtual_memory[0x2011] = 0xc8;
  const TemporaryDirectory folder = TemporaryDirectory::create("dejavm-code").value();
  const std::string code = folder.file("code");

  const std::string output =
      run({fmt::format("dump binary memory {} 0x2010 0x2020", code),
           fmt::format("eval \"shell objdump -D -b binary -m i8086 --adjust-vma=%#lx {}\", 0x2010", code)});

  EXPECT_THAT(output, testing::ContainsRegex("2010:.*8c c8.*mov +%cs,%ax"));
}

TEST_F(RealGdbTest, ExtendedRemoteConnects) {
  connect_ = "target extended-remote";

  const std::string output = run({"stepi", "p $rip", "run"});

  EXPECT_THAT(output, HasSubstr("0x1001"));
  EXPECT_EQ(target_.resumes, 1u);
}

}  // namespace
}  // namespace dejavm::gdb
