#include "devices/serial.h"

#include <gtest/gtest.h>

#include <string>

#include "fakes.h"

namespace dejavm::devices {
namespace {

enum Port : uint64_t { kData = 0x3f8, kIer, kIir, kLcr, kMcr, kLsr, kMsr, kScratch };

class SerialTest : public testing::Test, public DeviceFixture {
 protected:
  SerialTest() { EXPECT_TRUE(serial.attach(bus, 0x3f8).has_value()); }

  void receive(std::string_view text) { serial.receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()}); }

  FakeIrq irq;
  std::string sent;
  Serial serial{"serial0", irq.line(), [this](uint8_t byte) { sent.push_back(static_cast<char>(byte)); }};
};

TEST_F(SerialTest, SendsAtOnceAndIsAlwaysEmpty) {
  out(kData, 'h');
  out(kData, 'i');
  EXPECT_EQ(sent, "hi");
  EXPECT_EQ(in(kLsr), 0x60u);
}

TEST_F(SerialTest, EnablingThreWhileEmptyInterrupts) {
  out(kIer, 0x02);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(in(kIir), 0x02u);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(in(kIir), 0x01u);
}

TEST_F(SerialTest, EveryWriteMakesAnotherThreEdge) {
  out(kIer, 0x02);
  EXPECT_EQ(irq.rises, 1);
  out(kData, 'a');
  EXPECT_EQ(irq.rises, 2);
  EXPECT_TRUE(irq.level);
}

TEST_F(SerialTest, WritingIerAgainDoesNotRequestAgain) {
  out(kIer, 0x02);
  in(kIir);
  out(kIer, 0x03);
  EXPECT_FALSE(irq.level);
  out(kIer, 0x01);
  out(kIer, 0x03);
  EXPECT_TRUE(irq.level);
}

TEST_F(SerialTest, ReceivedByteInterruptsUntilRead) {
  out(kIer, 0x01);
  receive("x");
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(in(kIir), 0x04u);
  EXPECT_EQ(in(kLsr)&0x01, 0x01u);
  EXPECT_EQ(in(kData), static_cast<uint64_t>('x'));
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(in(kLsr)&0x01, 0x00u);
}

TEST_F(SerialTest, WithoutFifoOneByteFits) {
  EXPECT_EQ(serial.room(), 1u);
  receive("a");
  EXPECT_EQ(serial.room(), 0u);
  receive("b");
  EXPECT_EQ(in(kLsr)&0x02, 0x02u);
  EXPECT_EQ(in(kLsr)&0x02, 0x00u);
  EXPECT_EQ(in(kData), static_cast<uint64_t>('b'));
}

TEST_F(SerialTest, FifoKeepsOrderAndReportsTriggerAndTimeout) {
  out(kIir, 0x41);  // enable, trigger at 4
  out(kIer, 0x01);
  EXPECT_EQ(serial.room(), 16u);
  receive("abc");
  EXPECT_EQ(in(kIir), 0xccu);  // below the trigger: character timeout
  receive("d");
  EXPECT_EQ(in(kIir), 0xc4u);
  EXPECT_EQ(in(kData), static_cast<uint64_t>('a'));
  EXPECT_EQ(in(kData), static_cast<uint64_t>('b'));
}

TEST_F(SerialTest, FullFifoLosesTheNewByte) {
  out(kIir, 0x01);
  receive("0123456789abcdefX");
  EXPECT_EQ(in(kLsr)&0x02, 0x02u);
  for (char expected : std::string("0123456789abcdef")) EXPECT_EQ(in(kData), static_cast<uint64_t>(expected));
}

TEST_F(SerialTest, LineErrorsComeBeforeDataBeforeThre) {
  out(kIer, 0x07);
  receive("ab");
  EXPECT_EQ(in(kIir), 0x06u);
  in(kLsr);
  EXPECT_EQ(in(kIir), 0x04u);
  in(kData);
  EXPECT_EQ(in(kIir), 0x02u);
}

TEST_F(SerialTest, ClearingTheFifoTakesTheInterruptBack) {
  out(kIir, 0x01);
  out(kIer, 0x01);
  receive("abc");
  out(kIir, 0x03);
  EXPECT_FALSE(irq.level);
  EXPECT_EQ(in(kLsr)&0x01, 0x00u);
}

TEST_F(SerialTest, DivisorLatchHidesDataAndIer) {
  out(kLcr, 0x83);
  out(kData, 0x01);
  out(kIer, 0x02);
  EXPECT_EQ(in(kData), 0x01u);
  EXPECT_EQ(in(kIer), 0x02u);
  out(kLcr, 0x03);
  EXPECT_EQ(in(kIer), 0x00u);
  EXPECT_EQ(sent, "");
}

TEST_F(SerialTest, LoopbackReturnsDataAndModemLines) {
  out(kMcr, 0x1f);
  EXPECT_EQ(in(kMsr)&0xf0, 0xf0u);
  out(kData, 'L');
  EXPECT_EQ(in(kData), static_cast<uint64_t>('L'));
  EXPECT_EQ(sent, "");
  EXPECT_EQ(serial.room(), 0u);
}

TEST_F(SerialTest, ModemLineChangesInterruptAndAreClearedByReading) {
  out(kIer, 0x08);
  out(kMcr, 0x10);  // loopback: all lines fall
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(in(kIir), 0x00u);
  EXPECT_EQ(in(kMsr), 0x0bu);
  EXPECT_FALSE(irq.level);
}

TEST_F(SerialTest, FirmwareProbeFindsIt) {
  out(kIer, 0x02);
  EXPECT_EQ(in(kIer), 0x02u);
  EXPECT_EQ(in(kIir)&0x3f, 0x02u);
  out(kScratch, 0x5a);
  EXPECT_EQ(in(kScratch), 0x5au);
}

}  // namespace
}  // namespace dejavm::devices
