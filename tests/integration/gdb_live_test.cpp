// The real gdb on a running guest: stops on device accesses, and leaves the devices alone.
#include <gmock/gmock.h>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::ContainsRegex;
using testing::HasSubstr;
using testing::Not;

class GdbLiveTest : public GdbTest {};

TEST_F(GdbLiveTest, AwatchStopsOnADeviceWriteByVirtualAddress) {
  serve_live("buggy_dma");

  std::string output = gdb("buggy_dma", {"awatch *(int*)0xffffc90000000090", "continue", "p $rip", "kill"});

  EXPECT_THAT(output, HasSubstr("mmio: edu+0x90 <- 0x300 (4 bytes) at 0xfeb00090, rip 0x"));
  EXPECT_THAT(output, HasSubstr("Hardware access (read/write) watchpoint 1: *(int*)0xffffc90000000090"));
  EXPECT_THAT(output, HasSubstr("Value = 768"));
  EXPECT_THAT(output, HasSubstr("<edu_dma+"));
}

TEST_F(GdbLiveTest, MmioBreakStopsByPhysicalAddress) {
  serve_live("buggy_dma");

  std::string output = gdb("buggy_dma", {"monitor mmio break 0xfeb00090 w", "continue", "p bytes", "kill"});

  EXPECT_THAT(output, HasSubstr("mmio breakpoint 1: 0xfeb00090 w"));
  EXPECT_THAT(output,
              ContainsRegex("\nmmio: edu\\+0x90 <- 0x300 \\(4 bytes\\) at 0xfeb00090, rip 0x100[0-9a-f]+, event [0-9]+\n"));
  EXPECT_THAT(output, HasSubstr("Program received signal SIGTRAP"));
}

TEST_F(GdbLiveTest, MmioBreakStopsByDeviceNameAndPort) {
  serve_live("buggy_dma");

  std::string output =
      gdb("buggy_dma", {"break main", "continue", "monitor mmio break port:0x3f8 w", "continue", "monitor mmio delete all",
                        "break edu_dma", "continue", "monitor mmio break edu+0x90", "continue", "kill"});

  EXPECT_THAT(output,
              ContainsRegex("\npio: serial0\\+0x0 <- 0x[0-9a-f]+ \\(1 byte\\) at 0x3f8, rip 0x[0-9a-f]+, event [0-9]+\n"));
  EXPECT_THAT(output, HasSubstr("mmio: edu+0x90 <- 0x300 (4 bytes) at 0xfeb00090"));
}

TEST_F(GdbLiveTest, MmioBreakHonoursAValueAndACount) {
  serve_live("buggy_dma");

  std::string output = gdb("buggy_dma", {"break mailbox_fill", "continue", "monitor mmio break edu+0x90 w value 0x50",
                                         "continue", "p bytes", "monitor mmio list", "monitor mmio delete 1",
                                         "monitor mmio break edu+0x98 w count 2", "continue", "monitor mmio last", "kill"});

  EXPECT_THAT(output, HasSubstr("mmio: edu+0x90 <- 0x50 (4 bytes) at 0xfeb00090"));
  EXPECT_THAT(output, HasSubstr("$1 = 80"));
  EXPECT_THAT(output, HasSubstr("1: edu+0x90 w value 0x50, hit 1 time"));
  EXPECT_THAT(output, Not(HasSubstr("edu+0x90 <- 0x300")));
  EXPECT_THAT(output, HasSubstr("mmio: edu+0x98 <- 0x7 (4 bytes) at 0xfeb00098"));
}

TEST_F(GdbLiveTest, ReadsOfTheDebuggerDoNotReachTheUart) {
  // A read of the receive buffer would take the byte away from the guest.
  serve_live("uart_echo");
  server().write_input("quit\n");

  std::string output =
      gdb("uart_echo", {"break uart_receive", "continue", "delete", "maintenance packet Qqemu.PhyMemMode:1", "x/4xb 0x3f8",
                        "maintenance packet Qqemu.PhyMemMode:0", "monitor mmio last port:0x3f8",
                        "monitor mmio break port:0x3f8 r", "continue", "monitor mmio delete all", "continue"});
  Finished end = finish();

  EXPECT_THAT(output, HasSubstr("pio: serial0+0x0 -> 0x71 (1 byte) at 0x3f8"));
  EXPECT_THAT(end.out, HasSubstr("> QUIT\n"));
  EXPECT_THAT(end.out, HasSubstr(" receive interrupts, "));
}

TEST_F(GdbLiveTest, ReadsOfTheDebuggerAreNoEventsOfARecording) {
  std::string trace = path("debugged.dvt");
  serve(Words{"record", "-o", trace, "-S"} + guest_options("edu_irq_dma_short"));

  std::string output =
      gdb("edu_irq_dma_short", {"break check_factorial", "continue", "x/8xw 0xffffc90000000000", "x/8xw 0xffffc90000000080",
                                "p *(int*)0xffffc90000000024", "delete", "continue"});
  Finished recording = finish();

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(output, HasSubstr("0xffffc90000000000:\t0x010000ed"));
  EXPECT_THAT(output, Not(HasSubstr("Cannot access memory")));
  EXPECT_THAT(recording.out, HasSubstr("edu_irq_dma: data "));
  EXPECT_EQ(events_of(trace, {"--gpa", "0xfeb00000", "--read"}).size(), 1u) << "the guest reads it once, gdb not at all";
  expect_faithful_replay(trace, recording);
}

TEST_F(GdbLiveTest, RegistersOfARecordedGuestCannotBeChanged) {
  serve(Words{"record", "-o", path("debugged.dvt"), "-S"} + guest_options("spin"));

  std::string output = gdb("spin", {"set var $rax = 5", "kill"});
  Finished recording = finish();

  EXPECT_THAT(output, HasSubstr("the guest is being recorded"));
  EXPECT_EQ(recording.status, kDone) << recording.err;
}

TEST_F(GdbLiveTest, RegistersAndMemoryOfALiveGuestCan) {
  serve_live("buggy_dma");

  std::string output =
      gdb("buggy_dma", {"break completion_reap", "continue", "set var completion_queue.magic = 0x554555514c504d43",
                        "set var $r15 = 0x1234", "p/x $r15", "continue"});
  Finished end = finish();

  EXPECT_THAT(output, HasSubstr("$1 = 0x1234"));
  EXPECT_THAT(end.out, Not(HasSubstr("PANIC")));
}

TEST_F(GdbLiveTest, BreakpointsAndStepsWalkTheSource) {
  serve_live("buggy_dma");

  std::string output = gdb("buggy_dma", {"break self_test", "continue", "p n", "stepi", "stepi", "next", "continue", "p n",
                                         "info registers rip", "delete", "continue"});

  EXPECT_THAT(output, ContainsRegex("Breakpoint 1, self_test \\(n=(n@entry=)?5\\)"));
  EXPECT_THAT(output, ContainsRegex("Breakpoint 1, self_test \\(n=(n@entry=)?6\\)"));
  EXPECT_THAT(output, HasSubstr("exited with code 03"));
}

TEST_F(GdbLiveTest, CtrlCStopsAGuestThatMakesNoExit) {
  serve_live("spin");
  Process debugger(interactive_gdb("spin"));
  debugger.write_input("continue\n");
  ASSERT_TRUE(debugger.wait_for_text("Continuing."));
  ASSERT_TRUE(server().wait_for_text("spin: no exits from here on"));

  debugger.signal(SIGINT);
  ASSERT_TRUE(debugger.wait_for_text("Program received signal SIGINT")) << debugger.out() << debugger.err();
  debugger.write_input("info symbol $rip\nkill\nquit\n");
  Finished gdb_end = debugger.wait();

  EXPECT_THAT(gdb_end.out, ContainsRegex("(spin_loop|main)"));
  EXPECT_EQ(finish().status, kDone);
}

TEST_F(GdbLiveTest, DetachLetsTheGuestRunOn) {
  serve_live("buggy_dma");

  gdb("buggy_dma", {"break self_test", "monitor mmio break edu+0x4", "continue", "detach"});
  Finished end = finish();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.out, HasSubstr("PANIC"));
}

TEST_F(GdbLiveTest, KillEndsTheGuest) {
  serve_live("buggy_dma");

  gdb("buggy_dma", {"break main", "continue", "kill"});
  Finished end = finish();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr("killed by the debugger"));
  EXPECT_EQ(end.out, "");
}

TEST_F(GdbLiveTest, TcpPortZeroTakesAFreePortAndNamesIt) {
  Process guest(dejavm(Words{"run", "-S", "-gdb", "tcp::0"} + guest_options("buggy_dma")));
  ASSERT_TRUE(guest.wait_for_text("gdb: listening on ")) << guest.err();
  std::string said = guest.err();
  size_t at = said.rfind(':', said.find("; the guest waits"));
  std::string port = said.substr(at + 1, said.find(';', at) - at - 1);

  Finished debugger = run(
      {"gdb", "-nx", "-batch", "-ex", "set confirm off", "-ex", "target remote :" + port, "-ex", "p/x $rip", "-ex", "kill"});

  EXPECT_THAT(debugger.out, HasSubstr("$1 = 0xfffffff0")) << said;
  EXPECT_EQ(guest.wait().status, kDone);
}

}  // namespace
}  // namespace dejavm::integration
