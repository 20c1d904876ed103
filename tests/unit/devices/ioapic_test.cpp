#include "devices/ioapic.h"

#include <gtest/gtest.h>

#include <vector>

#include "fakes.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kLevel = 1 << 15, kMasked = 1 << 16, kRemoteIrr = 1 << 14;

class IoApicTest : public testing::Test, public DeviceFixture {
 protected:
  IoApicTest() { EXPECT_TRUE(ioapic.attach(bus).has_value()); }
  uint64_t read(unsigned number) {
    store(IoApic::kBase, number, 4);
    return load(IoApic::kBase + 0x10, 4);
  }
  void write(unsigned number, uint64_t value) {
    store(IoApic::kBase, number, 4);
    store(IoApic::kBase + 0x10, value, 4);
  }
  void set_entry(unsigned pin, uint64_t value) {
    write(0x10 + 2 * pin + 1, value >> 32);
    write(0x10 + 2 * pin, value & 0xffffffff);
  }
  uint64_t entry(unsigned pin) { return read(0x10 + 2 * pin) | read(0x10 + 2 * pin + 1) << 32; }

  std::vector<ApicMessage> sent;
  IoApic ioapic{[this](const ApicMessage& message) { sent.push_back(message); }};
};

TEST_F(IoApicTest, LooksLikeQemusAfterReset) {
  EXPECT_EQ(read(0), 0u);
  EXPECT_EQ(read(1), 0x170020u);
  EXPECT_EQ(entry(0), kMasked);
  EXPECT_EQ(entry(23), kMasked);
  EXPECT_EQ(read(0x40), 0u);  // there is no pin 24
  EXPECT_EQ(read(0xff), 0u);
}

TEST_F(IoApicTest, KeepsWhatIsWritable) {
  write(0, 0xff000000);
  set_entry(3, UINT64_MAX);
  EXPECT_EQ(read(0), 0x0f000000u);
  EXPECT_EQ(read(2), 0x0f000000u);
  EXPECT_EQ(entry(3), 0xff0000000001afffu);
}

TEST_F(IoApicTest, AnEdgeSendsItsMessageOnce) {
  set_entry(4, 0x0500000000000941);  // logical destination 5, lowest priority
  ioapic.set_line(4, true);
  ioapic.set_line(4, true);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].destination, 5);
  EXPECT_TRUE(sent[0].logical);
  EXPECT_EQ(sent[0].mode, DeliveryMode::lowest_priority);
  EXPECT_EQ(sent[0].vector, 0x41);
  EXPECT_FALSE(sent[0].level);
  ioapic.set_line(4, false);
  ioapic.set_line(4, true);
  EXPECT_EQ(sent.size(), 2u);
}

TEST_F(IoApicTest, AMaskedEdgeIsLost) {
  ioapic.set_line(4, true);
  set_entry(4, 0x41);
  EXPECT_TRUE(sent.empty());
}

TEST_F(IoApicTest, ALevelIsSentAgainAtItsEndWhileItIsThere) {
  set_entry(10, kLevel | 0x51);
  ioapic.set_line(10, true);
  ioapic.set_line(10, true);
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_TRUE(sent[0].level);
  EXPECT_EQ(entry(10), kRemoteIrr | kLevel | 0x51);
  ioapic.end_of_interrupt(0x52);
  EXPECT_EQ(sent.size(), 1u);
  ioapic.end_of_interrupt(0x51);
  EXPECT_EQ(sent.size(), 2u);
  ioapic.set_line(10, false);
  ioapic.end_of_interrupt(0x51);
  EXPECT_EQ(sent.size(), 2u);
  EXPECT_EQ(entry(10), kLevel | 0x51);
}

TEST_F(IoApicTest, AMaskedLevelWaits) {
  set_entry(10, kLevel | kMasked | 0x51);
  ioapic.set_line(10, true);
  EXPECT_TRUE(sent.empty());
  set_entry(10, kLevel | 0x51);
  EXPECT_EQ(sent.size(), 1u);
}

TEST_F(IoApicTest, SwitchingToEdgeForgetsWhatWasServed) {
  set_entry(10, kLevel | 0x51);
  ioapic.set_line(10, true);
  set_entry(10, kMasked | 0x51);
  set_entry(10, kLevel | 0x51);
  EXPECT_EQ(sent.size(), 2u);
}

TEST_F(IoApicTest, ItsOwnEndOfInterruptRegisterWorks) {
  set_entry(10, kLevel | 0x51);
  ioapic.set_line(10, true);
  ioapic.set_line(10, false);
  store(IoApic::kBase + 0x40, 0x51, 4);
  EXPECT_EQ(entry(10), kLevel | 0x51);
}

TEST_F(IoApicTest, NarrowAccessesDoNothing) {
  store(IoApic::kBase, 1, 4);
  store(IoApic::kBase, 2, 1);
  EXPECT_EQ(load(IoApic::kBase, 4), 1u);
  EXPECT_EQ(load(IoApic::kBase + 0x10, 1), 0u);
}

}  // namespace
}  // namespace dejavm::devices
