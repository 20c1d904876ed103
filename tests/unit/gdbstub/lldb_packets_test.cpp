// What LLDB asks.
#include <gmock/gmock.h>

#include "conversation_fixture.h"

namespace dejavm::gdb {
namespace {

using testing::HasSubstr;
using testing::Not;

using LldbPackets = ConversationTest;

TEST_F(LldbPackets, HostAndProcessAreAnX86Machine) {
  EXPECT_EQ(ask("qHostInfo"), "triple:" + to_hex("x86_64-unknown-unknown") + ";ptrsize:8;endian:little;");
  EXPECT_THAT(ask("qProcessInfo"), HasSubstr("pid:1;triple:"));
}

TEST_F(LldbPackets, RegistersByNumber) {
  EXPECT_EQ(ask("qRegisterInfo0"),
            "name:rax;bitsize:64;offset:0;encoding:uint;format:hex;set:General Purpose Registers;ehframe:0;dwarf:0;");
  EXPECT_THAT(ask("qRegisterInfo1"), HasSubstr("name:rbx;bitsize:64;offset:8;")) << ask("qRegisterInfo1");
  EXPECT_THAT(ask("qRegisterInfo1"), HasSubstr("dwarf:3;"));
  EXPECT_THAT(ask("qRegisterInfo10"), HasSubstr("name:rip;"));
  EXPECT_THAT(ask("qRegisterInfo10"), HasSubstr("generic:pc;"));
  EXPECT_THAT(ask("qRegisterInfo21"), HasSubstr("name:st0;bitsize:80;"));
  EXPECT_THAT(ask("qRegisterInfo31"), HasSubstr("name:xmm0;bitsize:128;"));
  EXPECT_EQ(ask("qRegisterInfo64"), "E45");
}

TEST_F(LldbPackets, RegisterPacketsMayNameTheThread) {
  EXPECT_EQ(ask("QThreadSuffixSupported"), "OK");
  EXPECT_EQ(ask("P0=0102030405060708;thread:0001;"), "OK");
  EXPECT_EQ(ask("p0;thread:0001;"), "0102030405060708");
  EXPECT_EQ(ask("g;thread:1;"), ask("g"));
  EXPECT_EQ(ask("G" + ask("g") + ";thread:1;"), "OK");
}

TEST_F(LldbPackets, StopsListTheThreadWhereAsked) {
  EXPECT_THAT(ask("s"), Not(HasSubstr("threads:")));
  EXPECT_EQ(ask("QListThreadsInStopReply"), "OK");
  EXPECT_EQ(ask("s"), "T05thread:01;threads:1;thread-pcs:1002;");
}

TEST_F(LldbPackets, ThreadsAsJson) {
  ask("s");

  EXPECT_EQ(ask("jThreadsInfo"),
            "[{\"tid\":1,\"name\":\"CPU#0\",\"reason\":\"trace\",\"registers\":{"
            "\"6\":\"0000000000000000\",\"7\":\"0000000000000000\",\"16\":\"0110000000000000\"}}]");
}

TEST_F(LldbPackets, ErrorsInItsOwnForm) {
  target_.read_only = true;

  EXPECT_EQ(ask("QEnableErrorStrings"), "OK");
  EXPECT_EQ(ask("P1=8877665544332211"), "E01;" + to_hex("a replay's registers cannot be changed; use a diversion"));
  EXPECT_EQ(ask("M20,1:00"), "E01;" + to_hex("a replay's memory cannot be changed"));
  EXPECT_EQ(ask("s"), "T05thread:01;") << "nothing is left to say";
}

TEST_F(LldbPackets, MemoryRegionsByLinearAddress) {
  EXPECT_EQ(ask("qMemoryRegionInfo:10"), "start:0;size:8000;permissions:rwx;");
  EXPECT_EQ(ask("qMemoryRegionInfo:8004"), "start:8000;size:1000;permissions:rwx;name:" + to_hex("edu") + ";");
  EXPECT_EQ(ask("qMemoryRegionInfo:9000"), "start:9000;size:6000;");
  EXPECT_EQ(ask("qMemoryRegionInfo:f800"), "start:f000;size:1000;permissions:rx;");
  EXPECT_EQ(ask("qMemoryRegionInfo:800000000000"), "start:800000000000;size:ffff000000000000;");
  EXPECT_EQ(ask("qMemoryRegionInfo:ffffffffffffffff"), "start:fffffffffffff000;size:1000;");
}

TEST_F(LldbPackets, AKilledGuestIsAnEnd) {
  ask("QListThreadsInStopReply");

  EXPECT_EQ(ask("k"), "X09");
}

TEST_F(LldbPackets, WatchpointsAreMany) { EXPECT_EQ(ask("qWatchpointSupportInfo:"), "num:1024;"); }

}  // namespace
}  // namespace dejavm::gdb
