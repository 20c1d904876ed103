// Commands against a FakeTarget, from bytes to bytes, without a socket.
#include "gdbstub/conversation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "conversation_fixture.h"
#include "gdbstub/registers.h"

namespace dejavm::gdb {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::StartsWith;

TEST_F(ConversationTest, SupportedNamesWhatThereIs) {
  const std::string reply = ask("qSupported:multiprocess+;swbreak+;hwbreak+;xmlRegisters=i386");

  EXPECT_EQ(reply,
            "PacketSize=10000;QStartNoAckMode+;qXfer:features:read+;qXfer:memory-map:read+;swbreak+;hwbreak+;"
            "vContSupported+;ConditionalBreakpoints+;binary-upload+");
}

TEST_F(ConversationTest, StopReasonAtTheStart) { EXPECT_EQ(ask("?"), "T05thread:01;"); }

TEST_F(ConversationTest, ThreadQueries) {
  EXPECT_EQ(ask("qC"), "QC01");
  EXPECT_EQ(ask("qfThreadInfo"), "m01");
  EXPECT_EQ(ask("qsThreadInfo"), "l");
  EXPECT_EQ(ask("qThreadExtraInfo,1"), to_hex("CPU#0"));
  EXPECT_EQ(ask("qThreadExtraInfo,2"), "E22");
  EXPECT_EQ(ask("Hg0"), "OK");
  EXPECT_EQ(ask("Hc-1"), "OK");
  EXPECT_EQ(ask("Hg01"), "OK");
  EXPECT_EQ(ask("Hg2"), "E22");
  EXPECT_EQ(ask("T1"), "OK");
  EXPECT_EQ(ask("T3"), "E22");
  EXPECT_EQ(ask("qAttached"), "1");
}

TEST_F(ConversationTest, SmallQueries) {
  EXPECT_EQ(ask("qSymbol::"), "OK");
  EXPECT_EQ(ask("vCont?"), "vCont;c;C;s;S;t;r");
  EXPECT_EQ(ask("!"), "OK");
  EXPECT_THAT(ask("vRun;"), StartsWith("E."));
  EXPECT_EQ(ask("R00"), "");
}

TEST_F(ConversationTest, UnknownPacketsGetAnEmptyReply) {
  EXPECT_EQ(raw("$vMustReplyEmpty#3a"), "");
  for (const char* packet : {"", "vMustReplyEmpty", "bc", "bs", "vAttach;1", "Z5,1000,1", "qXfer:exec-file:read:1:0,ff",
                             "QSaveRegisterState", "jGetSharedCacheInfo:"}) {
    conversation_.receive(span(frame(packet)));
    conversation_.advance();
    EXPECT_EQ(conversation_.take_output(), "$#00") << packet;
  }
}

TEST_F(ConversationTest, MalformedPacketsGetAnError) {
  for (const char* packet : {"m",
                             "m,",
                             "mx,4",
                             "m0",
                             "m0,",
                             "m0,0",
                             "m0,4x",
                             "m10000000000000000,4",
                             "M0,4:00",
                             "M0,1:0g",
                             "M0,1",
                             "X0,5:ab",
                             "X0",
                             "Xffffffffffffffff,ffffffffffffffff:",
                             "p",
                             "p64",
                             "pffffffff",
                             "P0",
                             "P0=00",
                             "P0=0g",
                             "P64=0000000000000000",
                             "G00",
                             "Gzz",
                             "c!",
                             "sxyz",
                             "C",
                             "S05;",
                             "Cxx",
                             "vCont;",
                             "vCont;c:2",
                             "vCont;r1",
                             "vCont;C",
                             "vCont;c05",
                             "vCont;;c",
                             "Z",
                             "Z0",
                             "Z0,",
                             "Z0,1000",
                             "Z0,1000,1;X1",
                             "Z0,1000,1;X1,",
                             "Z0,1000,1;X2,27",
                             "Z0,1000,1;X1,2g",
                             "Z0,1000,1;X0,",
                             "Z0,1000,1;Xffffffffffffffff,27",
                             "Z0,1000,1;X1,27;cmds:0,X1,27",
                             "Z2,1000,1;X1,27",
                             "z0,1000,1;X1,27",
                             "x",
                             "x0",
                             "x0,1g",
                             "g;thread:2;",
                             "p0;thread:2;",
                             "gx",
                             "qSearch:memory:",
                             "qSearch:memory:0;10",
                             "qSearch:memory:0;10;",
                             "qSearch:memory:0;x;a",
                             "qRegisterInfo",
                             "qRegisterInfo1x",
                             "qMemoryRegionInfo:",
                             "Zx,1,1",
                             "z2,1,",
                             "H",
                             "Hx0",
                             "Hgfoo",
                             "T",
                             "qRcmd,0",
                             "qRcmd,zz",
                             "qXfer:features:read:target.xml:0",
                             "qXfer:features:read:target.xml:x,1",
                             "Qqemu.PhyMemMode:2",
                             "Qqemu.PhyMemMode:"}) {
    const std::string reply = ask(packet);
    const bool error = reply == "E22" || (std::string(packet) == "S05;" && reply == "T05thread:01;");
    EXPECT_TRUE(error) << packet << " -> " << reply;
  }
  EXPECT_THAT(target_.log, IsEmpty());
}

TEST_F(ConversationTest, ReadsAllRegisters) {
  target_.state.gpr[vm::rax] = 0x1122;

  const std::string reply = ask("g");

  EXPECT_EQ(reply, to_hex(read_registers(target_.state)));
  EXPECT_THAT(reply, StartsWith("2211000000000000"));
}

TEST_F(ConversationTest, WritesAllRegisters) {
  vm::CpuState changed = target_.state;
  changed.gpr[vm::r15] = 77;
  changed.rip = 0x2000;

  EXPECT_EQ(ask("G" + to_hex(read_registers(changed))), "OK");

  EXPECT_EQ(vm::difference(changed, target_.state), "");
}

TEST_F(ConversationTest, ReadsAndWritesOneRegister) {
  EXPECT_EQ(ask("P1=8877665544332211"), "OK");

  EXPECT_EQ(target_.state.gpr[vm::rbx], 0x1122334455667788u);
  EXPECT_EQ(ask("p1"), "8877665544332211");
  EXPECT_EQ(ask("p12"), "08000000");
}

TEST_F(ConversationTest, RefusedRegisterWriteSaysWhy) {
  target_.read_only = true;

  EXPECT_EQ(ask("P1=8877665544332211"), "E.a replay's registers cannot be changed; use a diversion");
}

TEST_F(ConversationTest, WritingTheSameValueNeedsNoPermission) {
  target_.read_only = true;

  EXPECT_EQ(ask("G" + ask("g")), "OK");
}

TEST_F(ConversationTest, LostRegistersAreAnErrorWithText) {
  target_.registers_fail = true;

  EXPECT_EQ(ask("g"), "E.the vCPU is lost");
  EXPECT_EQ(ask("p0"), "E.the vCPU is lost");
}

TEST_F(ConversationTest, ReadsMemory) {
  target_.virtual_memory[0x10] = 0xde;
  target_.virtual_memory[0x11] = 0xad;

  EXPECT_EQ(ask("m10,2"), "dead");
  EXPECT_EQ(ask("mfffe,4"), "0000");
  EXPECT_EQ(ask("m10000,4"), "E14");
}

TEST_F(ConversationTest, BigReadsAreCutToThePacketSize) { EXPECT_EQ(ask("m0,ffffffffffffffff").size(), kMaxPayload); }

TEST_F(ConversationTest, WritesMemoryInHexAndBinary) {
  EXPECT_EQ(ask("M20,2:beef"), "OK");
  EXPECT_EQ(ask("X30,3:a}\x03"
                "b"),
            "OK");
  EXPECT_EQ(ask("X30,0:"), "OK");

  EXPECT_EQ(ask("m20,2"), "beef");
  EXPECT_EQ(ask("m30,3"), to_hex("a#b"));
}

TEST_F(ConversationTest, RefusedMemoryWriteIsExplainedAtTheNextResume) {
  target_.read_only = true;

  EXPECT_EQ(ask("M20,2:beef"), "E14");

  EXPECT_EQ(ask("s"), console("a replay's memory cannot be changed\n") + "|T05thread:01;");
  EXPECT_EQ(ask("s"), "T05thread:01;");
}

TEST_F(ConversationTest, PhysicalMemoryMode) {
  target_.physical_memory[0] = 0x99;

  EXPECT_EQ(ask("qqemu.Supported"), "PhyMemMode");
  EXPECT_EQ(ask("qqemu.PhyMemMode"), "0");
  EXPECT_EQ(ask("Qqemu.PhyMemMode:1"), "OK");
  EXPECT_EQ(ask("qqemu.PhyMemMode"), "1");
  EXPECT_EQ(ask("m0,1"), "99");
  EXPECT_EQ(ask("M0,1:55"), "OK");
  EXPECT_EQ(ask("Qqemu.PhyMemMode:0"), "OK");
  EXPECT_EQ(ask("m0,1"), "00");
  EXPECT_EQ(target_.physical_memory[0], 0x55);
}

TEST_F(ConversationTest, MonitorAnswersOnTheConsole) {
  EXPECT_EQ(ask("qRcmd," + to_hex("mmio list")), console("you said mmio list\n") + "|OK");
}

TEST_F(ConversationTest, LongMonitorTextComesInSeveralPackets) {
  const std::string reply = ask("qRcmd," + to_hex("big"));

  EXPECT_EQ(std::count(reply.begin(), reply.end(), '|'), 2);
  EXPECT_THAT(reply, testing::EndsWith("|OK"));
}

TEST_F(ConversationTest, DetachAndKill) {
  EXPECT_EQ(ask("D"), "OK");
  EXPECT_EQ(last_.kind, Conversation::Next::Kind::detached);
  EXPECT_EQ(ask("k"), "");
  EXPECT_EQ(last_.kind, Conversation::Next::Kind::killed);
  EXPECT_EQ(ask("vKill;1"), "OK");
  EXPECT_EQ(last_.kind, Conversation::Next::Kind::killed);
}

TEST_F(ConversationTest, TargetDescriptionInPieces) {
  std::string xml;
  std::string piece;
  do {
    piece = ask(fmt::format("qXfer:features:read:target.xml:{:x},100", xml.size()));
    xml += piece.substr(1);
  } while (piece[0] == 'm');

  EXPECT_EQ(xml, target_xml());
  EXPECT_EQ(ask("qXfer:features:read:target.xml:ffffffffffffffff,100"), "l");
  EXPECT_EQ(ask("qXfer:features:read:other.xml:0,100"), "E00");
}

TEST_F(ConversationTest, DamagedPacketInNoAckModeIsAnswered) { EXPECT_THAT(raw("$g#00"), HasSubstr("checksum")); }

TEST_F(ConversationTest, OversizedPacketIsAnswered) {
  EXPECT_THAT(ask(std::string(100000, 'm')), HasSubstr("longer than 65536 bytes"));
}

TEST(Conversation, AcknowledgesPackets) {
  FakeTarget target;
  Conversation conversation(target);

  conversation.receive(span("$qC#b4"));
  conversation.advance();

  EXPECT_EQ(conversation.take_output(), "+$QC01#f5");
}

TEST(Conversation, AsksAgainForADamagedPacket) {
  FakeTarget target;
  Conversation conversation(target);

  conversation.receive(span("$qC#b5"));
  conversation.advance();

  EXPECT_EQ(conversation.take_output(), "-");
}

TEST(Conversation, SendsAgainOnceForManyRequests) {
  FakeTarget target;
  Conversation conversation(target);
  conversation.receive(span("$qC#b4"));
  conversation.advance();
  conversation.take_output();

  conversation.receive(span("------"));
  conversation.advance();

  EXPECT_EQ(conversation.take_output(), "$QC01#f5");
}

TEST(Conversation, NoAcknowledgementsAfterTheyWereSwitchedOff) {
  FakeTarget target;
  Conversation conversation(target);
  conversation.receive(span(frame("QStartNoAckMode")));
  conversation.advance();
  EXPECT_EQ(conversation.take_output(), "+$OK#9a");

  conversation.receive(span("+$qC#b4-"));
  conversation.advance();
  conversation.advance();

  EXPECT_EQ(conversation.take_output(), "$QC01#f5");
}

TEST(Conversation, PacketsInPiecesAndInARow) {
  FakeTarget target;
  Conversation conversation(target);
  conversation.receive(span("$q"));
  EXPECT_EQ(conversation.advance().kind, Conversation::Next::Kind::input);

  conversation.receive(span("C#b4$qsThreadInfo#c8"));

  EXPECT_EQ(conversation.advance().kind, Conversation::Next::Kind::output);
  EXPECT_TRUE(conversation.has_more_requests());
  EXPECT_EQ(conversation.advance().kind, Conversation::Next::Kind::output);
  EXPECT_FALSE(conversation.has_more_requests());
  EXPECT_EQ(conversation.take_output(), "+$QC01#f5+$l#6c");
}

TEST(Conversation, InterruptWhileStoppedIsDropped) {
  FakeTarget target;
  Conversation conversation(target);

  conversation.receive(span("\x03"));

  EXPECT_EQ(conversation.advance().kind, Conversation::Next::Kind::input);
  EXPECT_EQ(conversation.take_output(), "");
}

}  // namespace
}  // namespace dejavm::gdb
