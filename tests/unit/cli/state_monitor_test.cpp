// Registers, memory and address spaces in QEMU's words.
#include "cli/state_monitor.h"

#include <gmock/gmock.h>

#include "base/parse.h"
#include "cli/monitor.h"
#include "fake_session.h"
#include "registers/shipped.h"

namespace dejavm::cli {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

class StateMonitorTest : public testing::Test {
 protected:
  std::string say(std::string_view line) { return monitor_.execute(line); }
  void put(uint64_t gpa, const Bytes& bytes) { ASSERT_TRUE(session_.memory().write({gpa}, bytes, vm::Writer::loader)); }
  void put_entry(uint64_t gpa, uint64_t entry) {
    Bytes bytes(8);
    store_le(bytes.data(), entry);
    put(gpa, bytes);
  }
  template <typename Change>
  void change_cpu(Change change) {
    vm::CpuState cpu = session_.vcpu().state().value();
    change(cpu);
    ASSERT_TRUE(session_.vcpu().set_state(cpu));
  }
  void long_mode() {
    change_cpu([](vm::CpuState& cpu) {
      cpu.cr0 = 0x80000001;
      cpu.cr3 = 0x1000;
      cpu.cr4 = 0x20;
      cpu.efer = 0x500;
      cpu.segment[vm::cs] = {.limit = 0xffffffff, .selector = 0x10, .type = 11, .s = 1, .present = 1, .l = 1, .g = 1};
      cpu.segment[vm::ds].unusable = 1;
      cpu.tr = {.limit = 0x67, .selector = 0x40, .type = 11, .present = 1};
    });
    put_entry(0x1000, 0x2003);
    put_entry(0x2000, 0x3003);
    put_entry(0x3000, 0x80000000000001e3);  // 2 MiB: X, G, P, D, A, W
    put_entry(0x3008, 0x4007);
    put_entry(0x4000, 0x5065);
    put_entry(0x4008, 0x6065);
  }

  FakeSession session_;
  Monitor monitor_{session_, registers::shipped()};
};

TEST_F(StateMonitorTest, RegistersAsQemuShowsThemAtReset) {
  change_cpu([](vm::CpuState& cpu) { cpu = vm::reset_state(); });
  std::string text = say("info registers");

  EXPECT_THAT(text, StartsWith("EAX=00000000 EBX=00000000 ECX=00000000 EDX=00000600\n"
                               "ESI=00000000 EDI=00000000 EBP=00000000 ESP=00000000\n"
                               "EIP=0000fff0 EFL=00000002 [-------] CPL=0 II=0\n"
                               "ES =0000 00000000 0000ffff 00009300\n"
                               "CS =f000 ffff0000 0000ffff 00009b00\n"));
  EXPECT_THAT(text, HasSubstr("LDT=0000 00000000 0000ffff 00008200\nTR =0000 00000000 0000ffff 00008b00\n"
                              "GDT=     00000000 0000ffff\nIDT=     00000000 0000ffff\n"));
  EXPECT_THAT(text, HasSubstr("FCW=037f FSW=0000 [ST=0] FTW=00 MXCSR=00001f80\nFPR0=0000000000000000 0000 FPR1="));
  EXPECT_THAT(text, testing::Not(HasSubstr("XMM08")));
}

TEST_F(StateMonitorTest, RegistersOfLongMode) {
  long_mode();
  change_cpu([](vm::CpuState& cpu) {
    cpu.rflags = 0x283;
    cpu.gpr[vm::r15] = 0x1234;
    cpu.fpu.xmm[9][0] = 7;
  });
  std::string text = say("info registers");

  EXPECT_THAT(text, StartsWith("RAX=0000000000000000 RBX="));
  EXPECT_THAT(text, HasSubstr("R15=0000000000001234\n"));
  EXPECT_THAT(text, HasSubstr("RFL=00000283 [--S---C] CPL=0"));
  EXPECT_THAT(text, HasSubstr("CS =0010 0000000000000000 ffffffff 00af9b00 DPL=0 CS64 [-RA]\n"));
  EXPECT_THAT(text, HasSubstr("DS =0000 0000000000000000 ffffffff 00000000\n"));
  EXPECT_THAT(text, HasSubstr("TR =0040 0000000000000000 00000067 00008b00 DPL=0 TSS64-busy\n"));
  EXPECT_THAT(text, HasSubstr("XMM08=0000000000000000 0000000000000000 XMM09=0000000000000000 0000000000000007\n"));
}

TEST_F(StateMonitorTest, PageTables) {
  EXPECT_EQ(say("info mem"), "PG disabled\n");
  EXPECT_EQ(say("info tlb"), "PG disabled\n");
  long_mode();

  EXPECT_EQ(say("info mem"),
            "0000000000000000-0000000000200000 0000000000200000 -rw\n"
            "0000000000200000-0000000000202000 0000000000002000 -r-\n");
  EXPECT_EQ(say("info tlb"),
            "0000000000000000: 0000000000000000 XGPDA---W\n"
            "0000000000200000: 0000000000005000 ---DA--U-\n"
            "0000000000201000: 0000000000006000 ---DA--U-\n");
}

TEST_F(StateMonitorTest, AddressSpaces) {
  EXPECT_EQ(say("info mtree -f"), say("info mtree"));
  EXPECT_EQ(say("info mtree"), fmt::format("address space: memory\n"
                                           "  0000000000000000-{:016x} (prio 0, ram): ram @0000000000000000\n"
                                           "  00000000febc0000-00000000fecbffff (prio 0, i/o): edu\n"
                                           "address space: I/O\n"
                                           "  0000000000000072-0000000000000073 (prio 0, i/o): rtc @0000000000000002\n"
                                           "  00000000000003f8-00000000000003ff (prio 0, i/o): serial0\n",
                                           vm::kRamSize - 1));
}

TEST_F(StateMonitorTest, InterruptControllersByTheirLastAccesses) {
  session_.table.push_back({"pic", 0, vm::Space::pio, 0x20, 2, 0x20});
  EXPECT_EQ(say("info pic"), "no access to an interrupt controller so far\n");
  session_.seen.note({{vm::Space::pio, vm::Direction::write, 1, 0x21, 0xfb}, 12, 0x1000});

  EXPECT_THAT(say("info pic"), testing::MatchesRegex("pic\\.[A-Z0-9_]+ <- 0xfb.*, event 12\n"));
}

TEST_F(StateMonitorTest, MemoryInEveryFormat) {
  put(0x100, {0x41, 0x24, 0x83, 0xc4, 0x20, 0x5b, 0x5e, 0x5f, 0xff});

  EXPECT_EQ(say("xp 0x100"), "0000000000000100: 0xc4832441\n");
  EXPECT_EQ(say("xp /6xw 0x100"),
            "0000000000000100: 0xc4832441 0x5f5e5b20 0x000000ff 0x00000000\n0000000000000110: 0x00000000 0x00000000\n");
  EXPECT_EQ(say("xp /3db 0x107"), "0000000000000107:   95   -1    0\n");
  EXPECT_EQ(say("xp/2uh 0x100"), "0000000000000100:  9281 50307\n");
  EXPECT_EQ(say("xp"), "error: xp wants an address\nFor example: x/8xg $rsp, xp/4xw 0xb8000, x/5i $rip.\n");
  EXPECT_EQ(say("xp/1og 0x100"), "0000000000000100: 00575362662030440622101\n") << "22 digits";
  EXPECT_EQ(say("xp/3c 0x100"), "0000000000000100: 'A' '$' '\\x83'\n");
  EXPECT_EQ(say("xp/1xg 0x100"), "0000000000000100: 0x5f5e5b20c4832441\n");
  EXPECT_EQ(say("xp 0x108"), "0000000000000108: 0x00000000000000ff\n") << "the format stays";
}

TEST_F(StateMonitorTest, AddressesMayHaveRegisters) {
  put(0x1234, {0x90, 0xf4});
  change_cpu([](vm::CpuState& cpu) {
    cpu.rip = 0x1234;
    cpu.gpr[vm::rsp] = 0x1230;
  });

  EXPECT_EQ(say("x/2i $rip"), "0x1234: nop\n0x1235: hlt\n");
  EXPECT_EQ(say("x/1xb $esp + 0x5 - 1"), "0000000000001234: 0x90\n");
  EXPECT_EQ(say("x/1xb $frob"),
            "error: x: '$frob' is neither a number nor a register\nFor example: x/8xg $rsp, xp/4xw "
            "0xb8000, x/5i $rip.\n");
}

TEST_F(StateMonitorTest, WhatIsNotThereIsSaid) {
  EXPECT_EQ(say(fmt::format("xp/2xg {:#x}", vm::kRamSize - 8)),
            fmt::format("{:016x}: 0x0000000000000000\n{:016x}: Cannot access memory\n", vm::kRamSize - 8, vm::kRamSize));
  EXPECT_EQ(say("xp/1xw 0xfebc0000"), "00000000febc0000: 0x00000000\n") << "a device that was never accessed";
  for (const char* wrong : {"x/0x 0", "x/65537x 0", "x/2z 0", "xp 0x", "xp 1+", "x/99999999999999999999x 0"}) {
    EXPECT_THAT(say(wrong), StartsWith("error: x")) << wrong;
  }
  EXPECT_THAT(say("info frob"), StartsWith("error: info knows nothing of 'frob'"));
  EXPECT_THAT(say("info"), StartsWith("error: info knows nothing of ''"));
}

TEST_F(StateMonitorTest, KnowsItsWords) {
  for (const char* word : {"x", "xp", "x/4xw", "xp/i", "info"}) EXPECT_TRUE(Monitor::knows(word)) << word;
  for (const char* word : {"xx", "x4", "information", ""}) EXPECT_FALSE(Monitor::knows(word)) << word;
}

}  // namespace
}  // namespace dejavm::cli
