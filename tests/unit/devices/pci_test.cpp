#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "devices/irq_join.h"
#include "devices/pci_bus.h"
#include "devices/piix3.h"
#include "fakes.h"

namespace dejavm::devices {
namespace {

/// A function with a memory BAR, a port BAR and MSI.
class Function final : public PciDevice {
 public:
  Function(vm::Bus& bus, unsigned devfn)
      : PciDevice(bus, devfn, {.vendor = 0x1111, .device = 0x2222, .class_code = 0x020000, .interrupt_pin = 1}) {
    add_bar(0, vm::Space::mmio, 0x1000, 4);
    add_bar(1, vm::Space::pio, 0x40, 4);
    add_msi(0x50);
  }
  std::string_view name() const override { return "function"; }
  uint64_t read(unsigned region, uint64_t offset, unsigned) override { return region << 16 | offset; }
  void write(unsigned, uint64_t, unsigned, uint64_t) override {}
  using PciDevice::send_msi;
  using PciDevice::set_intx;
  using PciDevice::set_intx_line;
  using PciDevice::set_msi_sink;

 private:
  void device_reset() override {}
};

class ResetControl final : public ByteRegister {
 public:
  uint8_t read_byte() override { return value; }
  void write_byte(uint8_t written) override { value = written; }
  uint8_t value = 0;
};

class PciTest : public testing::Test, public DeviceFixture {
 protected:
  PciTest() {
    EXPECT_TRUE(host.attach(bus).has_value());
    EXPECT_TRUE(pci.add(function).has_value());
    function.reset();
  }
  void select(unsigned devfn, unsigned offset) { out(0xcf8, 0x80000000 | devfn << 8 | (offset & 0xfc), 4); }
  uint64_t config(unsigned offset, unsigned size) {
    select(function.function(), offset);
    return in(0xcfc + (offset & 3), size);
  }
  void set_config(unsigned offset, uint64_t value, unsigned size) {
    select(function.function(), offset);
    out(0xcfc + (offset & 3), value, size);
  }

  ResetControl reset_control;
  PciBus pci;
  PciHost host{pci, reset_control};
  Function function{bus, devfn(3, 0)};
};

TEST_F(PciTest, IdentityInEverySize) {
  EXPECT_EQ(config(0x00, 4), 0x22221111u);
  EXPECT_EQ(config(0x02, 2), 0x2222u);
  EXPECT_EQ(config(0x0b, 1), 0x02u);
}

TEST_F(PciTest, AbsentFunctionsAndBusesReadAllOnes) {
  select(devfn(4, 0), 0);
  EXPECT_EQ(in(0xcfc, 4), 0xffffffffu);
  out(0xcf8, 0x80010000 | function.function() << 8, 4);
  EXPECT_EQ(in(0xcfc, 4), 0xffffffffu);
  out(0xcf8, function.function() << 8, 4);  // not enabled
  EXPECT_EQ(in(0xcfc, 2), 0xffffu);
}

TEST_F(PciTest, AddressTakesDoublewordsOnly) {
  select(devfn(3, 0), 8);
  out(0xcf8, 0x12, 1);
  out(0xcfa, 0x1234, 2);
  EXPECT_EQ(in(0xcf8, 4), 0x80001808u);
}

TEST_F(PciTest, ResetControlIsAByteInsideTheAddress) {
  out(0xcf9, 0x06);
  EXPECT_EQ(reset_control.value, 0x06);
  EXPECT_EQ(in(0xcf9), 0x06u);
  EXPECT_EQ(in(0xcf8, 4), 0u);
}

TEST_F(PciTest, SizeProbeShowsTheSizes) {
  set_config(0x10, 0xffffffff, 4);
  set_config(0x14, 0xffffffff, 4);
  set_config(0x18, 0xffffffff, 4);
  EXPECT_EQ(config(0x10, 4), 0xfffff000u);
  EXPECT_EQ(config(0x14, 4), 0xffffffc1u);
  EXPECT_EQ(config(0x18, 4), 0u);
}

TEST_F(PciTest, BarsDecodeWhileTheCommandRegisterSaysSo) {
  set_config(0x10, 0xfebc0000, 4);
  set_config(0x14, 0xc000, 4);
  EXPECT_EQ(load(0xfebc0010, 4), 0xffffffffu);
  set_config(0x04, 0x03, 2);
  EXPECT_EQ(load(0xfebc0010, 4), 0x10u);
  EXPECT_EQ(in(0xc008, 4), 0x10008u);
  set_config(0x04, 0x01, 2);
  EXPECT_EQ(load(0xfebc0010, 4), 0xffffffffu);
  EXPECT_EQ(in(0xc008, 4), 0x10008u);
}

TEST_F(PciTest, MovedBarLeavesItsOldPlace) {
  set_config(0x04, 0x02, 2);
  set_config(0x10, 0xfebc0000, 4);
  set_config(0x10, 0xfebd0000, 4);
  EXPECT_EQ(load(0xfebc0000, 4), 0xffffffffu);
  EXPECT_EQ(load(0xfebd0004, 4), 4u);
  ASSERT_NE(bus.find(vm::Space::mmio, 0xfebd0000), nullptr);
  EXPECT_EQ(bus.find(vm::Space::mmio, 0xfebd0000)->region.region, 0u);
}

TEST_F(PciTest, SizeProbeWhileEnabledMapsNothing) {
  set_config(0x04, 0x03, 2);
  set_config(0x10, 0xffffffff, 4);
  set_config(0x14, 0xffffffff, 4);
  EXPECT_EQ(bus.regions().size(), 1u);  // the host bridge's ports
}

TEST_F(PciTest, OverlappingBarWaitsForThePlace) {
  Function other(bus, devfn(4, 0));
  ASSERT_TRUE(pci.add(other).has_value());
  set_config(0x04, 0x02, 2);
  set_config(0x10, 0xfebc0000, 4);
  pci.config_write(other.function(), 0x04, 2, 2);
  pci.config_write(other.function(), 0x10, 4, 0xfebc0000);
  EXPECT_EQ(bus.find(vm::Space::mmio, 0xfebc0000)->device, &function);
  set_config(0x10, 0xfebd0000, 4);
  EXPECT_EQ(bus.find(vm::Space::mmio, 0xfebc0000)->device, &other);
}

TEST_F(PciTest, ResetTakesTheBarsOffTheBus) {
  set_config(0x04, 0x02, 2);
  set_config(0x10, 0xfebc0000, 4);
  function.reset();
  EXPECT_EQ(load(0xfebc0000, 4), 0xffffffffu);
  EXPECT_EQ(config(0x10, 4), 0u);
}

TEST_F(PciTest, CapabilityListHoldsMsi) {
  EXPECT_EQ(config(0x06, 2) & 0x10, 0x10u);
  EXPECT_EQ(config(0x34, 1), 0x50u);
  EXPECT_EQ(config(0x50, 4), 0x00800005u);
}

TEST_F(PciTest, IntxIsSilentWhileDisabledOrMsiIsOn) {
  FakeIrq irq;
  function.set_intx_line(irq.line());
  function.set_intx(true);
  EXPECT_TRUE(irq.level);
  EXPECT_EQ(config(0x06, 2) & 0x08, 0x08u);
  set_config(0x04, 0x0400, 2);
  EXPECT_FALSE(irq.level);
  set_config(0x04, 0x0000, 2);
  EXPECT_TRUE(irq.level);
  set_config(0x52, 0x0001, 2);
  EXPECT_FALSE(irq.level);
}

TEST_F(PciTest, MessagesGoOutWhileMsiAndBusMasteringAreOn) {
  std::vector<std::pair<uint64_t, uint32_t>> sent;
  function.set_msi_sink([&sent](uint64_t address, uint32_t data) { sent.emplace_back(address, data); });
  set_config(0x54, 0xfee0100f, 4);
  set_config(0x58, 0x1, 4);
  set_config(0x5c, 0x4142, 2);
  function.send_msi();
  set_config(0x52, 0x0001, 2);
  function.send_msi();
  EXPECT_TRUE(sent.empty());
  set_config(0x04, 0x0004, 2);
  function.send_msi();
  ASSERT_EQ(sent.size(), 1u);
  EXPECT_EQ(sent[0].first, 0x1fee0100cu);
  EXPECT_EQ(sent[0].second, 0x4142u);
}

TEST_F(PciTest, TakenAddressIsRefusedByName) {
  Function other(bus, devfn(3, 0));
  Status status = pci.add(other);
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().what.find("03.0"), std::string::npos);
}

class Lines final : public vm::IrqSink {
 public:
  void set_line(unsigned line, bool level) override {
    levels = static_cast<uint16_t>(level ? levels | 1u << line : levels & ~(1u << line));
  }
  uint16_t levels = 0;
};

TEST(Piix3, RoutesPinsBySlot) {
  vm::Bus bus;
  Lines lines;
  FakePower power;
  Piix3 bridge(bus, lines, power.sink());
  bridge.config_write(0x60, 4, 0x0b0b0a0a);
  bridge.intx(devfn(4, 0), 0).set(true);  // PIRQ 3
  EXPECT_EQ(lines.levels, 1u << 11);
  bridge.intx(devfn(1, 3), 0).set(true);  // PIRQ 0
  EXPECT_EQ(lines.levels, 1u << 11 | 1u << 10);
  bridge.config_write(0x63, 1, 0x80);
  EXPECT_EQ(lines.levels, 1u << 10);
  bridge.config_write(0x63, 1, 0x05);
  EXPECT_EQ(lines.levels, 1u << 10 | 1u << 5);
}

TEST(Piix3, SharedPirqStaysHighUntilTheLastPinFalls) {
  vm::Bus bus;
  Lines lines;
  FakePower power;
  Piix3 bridge(bus, lines, power.sink());
  bridge.config_write(0x63, 1, 0x0b);
  bridge.intx(devfn(4, 0), 0).set(true);
  bridge.intx(devfn(8, 0), 0).set(true);
  bridge.intx(devfn(4, 0), 0).set(false);
  EXPECT_EQ(lines.levels, 1u << 11);
  bridge.intx(devfn(8, 0), 0).set(false);
  EXPECT_EQ(lines.levels, 0u);
}

TEST(Piix3, ForbiddenRoutesGoNowhere) {
  vm::Bus bus;
  Lines lines;
  FakePower power;
  Piix3 bridge(bus, lines, power.sink());
  bridge.intx(devfn(4, 0), 0).set(true);
  bridge.config_write(0x63, 1, 0x02);
  EXPECT_EQ(lines.levels, 0u);
}

TEST(Piix3, ResetControlAsksForAReset) {
  vm::Bus bus;
  Lines lines;
  FakePower power;
  Piix3 bridge(bus, lines, power.sink());
  bridge.write_byte(0x02);
  EXPECT_EQ(bridge.read_byte(), 0x02);
  EXPECT_TRUE(power.events.empty());
  bridge.write_byte(0x06);
  ASSERT_EQ(power.events.size(), 1u);
  EXPECT_EQ(power.events[0].cause, "port 0xcf9");
}

TEST(IrqJoin, LineIsHighWhileAnySourceHoldsIt) {
  Lines lines;
  IrqJoin join(lines);
  join.source(0).set_line(9, true);
  join.source(1).set_line(9, true);
  join.source(0).set_line(9, false);
  EXPECT_EQ(lines.levels, 1u << 9);
  join.source(1).set_line(9, false);
  EXPECT_EQ(lines.levels, 0u);
}

}  // namespace
}  // namespace dejavm::devices
