#include "devices/i8042.h"

#include <gtest/gtest.h>

#include "devices/debug_ports.h"
#include "fakes.h"

namespace dejavm::devices {
namespace {

class I8042Test : public testing::Test, public DeviceFixture {
 protected:
  I8042Test() { EXPECT_TRUE(i8042.attach(bus).has_value()); }

  FakeIrq irq;
  FakePower power;
  I8042 i8042{irq.line(), power.sink()};
};

TEST_F(I8042Test, SelfTestPasses) {
  EXPECT_EQ(in(0x64) & 0x01, 0u);
  out(0x64, 0xaa);
  EXPECT_EQ(in(0x64) & 0x05, 0x05u);
  EXPECT_EQ(in(0x60), 0x55u);
  EXPECT_EQ(in(0x64) & 0x01, 0u);
}

TEST_F(I8042Test, CommandByteIsRemembered) {
  out(0x64, 0x60);
  out(0x60, 0x30);
  out(0x64, 0x20);
  EXPECT_EQ(in(0x60), 0x30u);
}

TEST_F(I8042Test, KeyboardResetsAndIdentifies) {
  out(0x60, 0xff);
  EXPECT_EQ(in(0x60), 0xfau);
  EXPECT_EQ(in(0x60), 0xaau);
  out(0x60, 0xf2);
  EXPECT_EQ(in(0x60), 0xfau);
  EXPECT_EQ(in(0x60), 0xabu);
  EXPECT_EQ(in(0x60), 0x83u);
}

TEST_F(I8042Test, EveryByteMakesAnEdge) {
  out(0x60, 0xff);
  EXPECT_EQ(irq.rises, 1);
  in(0x60);
  EXPECT_EQ(irq.rises, 2);
  in(0x60);
  EXPECT_FALSE(irq.level);
}

TEST_F(I8042Test, ArgumentsAreAcknowledgedAndNotTakenForCommands) {
  out(0x60, 0xed);
  out(0x60, 0xff);
  EXPECT_EQ(in(0x60), 0xfau);
  EXPECT_EQ(in(0x60), 0xfau);
  EXPECT_EQ(in(0x64) & 0x01, 0u);
}

TEST_F(I8042Test, SecondPortIsNotConnected) {
  out(0x64, 0xa9);
  EXPECT_NE(in(0x60), 0u);
  out(0x64, 0xd4);
  out(0x60, 0xff);
  EXPECT_EQ(in(0x64) & 0x01, 0u);
}

TEST_F(I8042Test, EveryWayToResetAsksForIt) {
  out(0x64, 0xfe);
  out(0x92, 0x01);
  out(0x64, 0xd1);
  out(0x60, 0x02);
  ASSERT_EQ(power.events.size(), 3u);
  EXPECT_EQ(power.events[0].cause, "keyboard controller");
  EXPECT_EQ(power.events[1].cause, "port 0x92");
  EXPECT_EQ(power.events[2].kind, vm::PowerEvent::Kind::reset);
}

TEST_F(I8042Test, A20IsOneBitInBothPorts) {
  out(0x92, 0x00);
  out(0x64, 0xd0);
  EXPECT_EQ(in(0x60) & 0x02, 0u);
  out(0x64, 0xd1);
  out(0x60, 0x03);
  EXPECT_EQ(in(0x92), 0x02u);
}

TEST_F(I8042Test, AnswersDoNotGrowWithoutBound) {
  for (int i = 0; i < 1000; ++i) out(0x60, 0xff);
  int answers = 0;
  while ((in(0x64) & 0x01) != 0 && answers < 2000) {
    in(0x60);
    ++answers;
  }
  EXPECT_LE(answers, 16);
}

TEST(DebugPorts, DebugconSendsBytesAndShowsItself) {
  DeviceFixture board;
  std::string sent;
  Debugcon debugcon([&](uint8_t byte) { sent.push_back(static_cast<char>(byte)); });
  ASSERT_TRUE(debugcon.attach(board.bus, 0x402).has_value());
  ASSERT_TRUE(debugcon.attach(board.bus, 0xe9).has_value());
  board.out(0x402, 'a');
  board.out(0xe9, 'b');
  EXPECT_EQ(sent, "ab");
  EXPECT_EQ(board.in(0x402), 0xe9u);
  EXPECT_EQ(board.in(0x403), 0xffu);
}

TEST(DebugPorts, ExitStatusIsValueTimesTwoPlusOne) {
  DeviceFixture board;
  FakePower power;
  DebugExit debug_exit(power.sink());
  ASSERT_TRUE(debug_exit.attach(board.bus, 0xf4, 4).has_value());
  board.out(0xf4, 0x10, 4);
  ASSERT_EQ(power.events.size(), 1u);
  EXPECT_EQ(power.events[0].kind, vm::PowerEvent::Kind::exit);
  EXPECT_EQ(power.events[0].exit_status, 0x21);
}

}  // namespace
}  // namespace dejavm::devices
