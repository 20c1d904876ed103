#include "devices/pc.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "acpi_fixture.h"
#include "devices/boot_tables.h"
#include "fakes.h"

namespace dejavm::devices {
namespace {

using testing::HasSubstr;

constexpr uint64_t kMib = uint64_t{1} << 20;

PcConfig small_pc() {
  PcConfig config;
  config.ram_size = 2 * kMib;
  config.bios = Bytes(64 * 1024, 0x90);
  return config;
}

class PcTest : public testing::Test {
 protected:
  Pc& make(PcConfig config) {
    pc = Pc::create(std::move(config), clock).value();
    return *pc;
  }
  std::string error_of(PcConfig config) {
    auto result = Pc::create(std::move(config), clock);
    if (result) return "";
    EXPECT_EQ(result.error().kind, ErrorKind::usage);
    return result.error().what + " " + result.error().next;
  }
  uint64_t in(uint64_t port, unsigned size = 1) {
    return pc->bus().access({vm::Space::pio, vm::Direction::read, static_cast<uint8_t>(size), port, 0});
  }
  void out(uint64_t port, uint64_t value, unsigned size = 1) {
    pc->bus().access({vm::Space::pio, vm::Direction::write, static_cast<uint8_t>(size), port, value});
  }
  void set_config(unsigned devfn, unsigned offset, uint64_t value, unsigned size) {
    out(0xcf8, 0x80000000 | devfn << 8 | (offset & 0xfc), 4);
    out(0xcfc + (offset & 3), value, size);
  }
  uint64_t config(unsigned devfn, unsigned offset) {
    out(0xcf8, 0x80000000 | devfn << 8 | offset, 4);
    return in(0xcfc, 4);
  }

  ManualClock clock;
  std::unique_ptr<Pc> pc;
};

TEST_F(PcTest, HasTheChipsetOfQemusPc) {
  make(small_pc());
  EXPECT_EQ(config(devfn(0, 0), 0), 0x12378086u);
  EXPECT_EQ(config(devfn(1, 0), 0), 0x70008086u);
  EXPECT_EQ(config(devfn(1, 3), 0), 0x71138086u);
}

TEST_F(PcTest, PamChangeWaitsForTheInstructionToComplete) {
  make(small_pc());
  uint64_t generation = pc->memory().map_generation();
  set_config(0, 0x59, 0x30, 1);
  EXPECT_EQ(pc->memory().map_generation(), generation);
  pc->deferred().run();
  ASSERT_NE(pc->memory().find({0xf0000}), nullptr);
  EXPECT_TRUE(pc->memory().find({0xf0000})->writable);
}

TEST_F(PcTest, PamWriteWithoutEffectKeepsTheMap) {
  make(small_pc());
  uint64_t generation = pc->memory().map_generation();
  set_config(0, 0x59, 0x20, 1);  // read ROM, write RAM: stays ROM
  pc->deferred().run();
  EXPECT_EQ(pc->memory().map_generation(), generation);
}

TEST_F(PcTest, ResetBringsBackTheFirmwareAndKeepsRam) {
  make(small_pc());
  ASSERT_TRUE(pc->memory().write({0x1000}, Bytes{1, 2}, vm::Writer::loader).has_value());
  set_config(0, 0x59, 0x30, 1);
  pc->deferred().run();
  ASSERT_TRUE(pc->reset().has_value());
  EXPECT_FALSE(pc->memory().find({0xf0000})->writable);
  Bytes kept(2);
  ASSERT_TRUE(pc->memory().read({0x1000}, kept).has_value());
  EXPECT_EQ(kept, (Bytes{1, 2}));
}

TEST_F(PcTest, TimerInterruptReachesThePin) {
  make(small_pc());
  for (unsigned value : {0x11u}) out(0x20, value);
  for (unsigned value : {0x08u, 0x04u, 0x01u, 0xfeu}) out(0x21, value);
  out(0x43, 0x34);
  out(0x40, 0xe8);
  out(0x40, 0x03);
  EXPECT_FALSE(pc->interrupt_pending());
  clock.advance(1'000'000);
  pc->timers().run_due(pc->timers().now_ns());
  ASSERT_TRUE(pc->interrupt_pending());
  EXPECT_EQ(pc->acknowledge_interrupt(), 0x08);
}

TEST_F(PcTest, EduInterruptsThroughThePirqRouter) {
  PcConfig config = small_pc();
  config.devices = {{"edu", {{"addr", "4"}}}};
  make(std::move(config));
  for (unsigned base : {0x20u, 0xa0u}) {
    out(base, 0x11);
    for (unsigned value : {base == 0x20 ? 0x08u : 0x70u, 0x04u, 0x01u, 0x00u}) out(base + 1, value);
  }
  out(0x4d1, 0x08);
  set_config(devfn(1, 0), 0x63, 0x0b, 1);
  set_config(devfn(4, 0), 0x10, 0xfea00000, 4);
  set_config(devfn(4, 0), 0x04, 0x06, 2);
  pc->bus().access({vm::Space::mmio, vm::Direction::write, 4, 0xfea00060, 1});
  ASSERT_TRUE(pc->interrupt_pending());
  EXPECT_EQ(pc->acknowledge_interrupt(), 0x73);
}

TEST_F(PcTest, DevicesTakeFreeSlotsAndOwnNames) {
  PcConfig config = small_pc();
  config.devices = {{"edu", {}}, {"edu", {{"addr", "02.0"}}}};
  make(std::move(config));
  EXPECT_EQ(this->config(devfn(2, 0), 0), 0x11e81234u);
  EXPECT_EQ(this->config(devfn(3, 0), 0), 0x11e81234u);
}

TEST_F(PcTest, FirstPowerEventIsKeptUntilTaken) {
  PcConfig config = small_pc();
  config.devices = {{"isa-debug-exit", {{"iobase", "0xf4"}, {"iosize", "4"}}}};
  make(std::move(config));
  out(0xf4, 1, 4);
  out(0x64, 0xfe);
  std::optional<vm::PowerEvent> event = pc->take_power_event();
  ASSERT_TRUE(event.has_value());
  EXPECT_EQ(event->exit_status, 3);
  EXPECT_FALSE(pc->take_power_event().has_value());
}

TEST_F(PcTest, DebugconIsAbsentWithoutASink) {
  make(small_pc());
  EXPECT_EQ(in(0x402), 0xffu);
}

TEST_F(PcTest, DebugconAnswersAtBothPorts) {
  PcConfig config = small_pc();
  std::string sent;
  config.debugcon_output = [&](uint8_t byte) { sent.push_back(static_cast<char>(byte)); };
  make(std::move(config));
  out(0xe9, 'x');
  out(0x402, 'y');
  EXPECT_EQ(sent, "xy");
}

TEST_F(PcTest, HostInputReachesTheSerialPort) {
  make(small_pc());
  pc->serial_input().receive(Bytes{'k'});
  EXPECT_EQ(in(0x3f8), static_cast<uint64_t>('k'));
}

TEST_F(PcTest, UnclaimedAddressesReadAllOnes) {
  make(small_pc());
  EXPECT_EQ(in(0x1234, 4), 0xffffffffu);
  EXPECT_EQ(pc->bus().access({vm::Space::mmio, vm::Direction::read, 8, 0xa0000, 0}), UINT64_MAX);
}

TEST_F(PcTest, WithoutFirmwareTheAreaBelowOneMibIsRamAlsoAfterAReset) {
  PcConfig config = small_pc();
  config.bios.clear();
  make(std::move(config));
  const vm::MemoryRange shadow{{0xc0000}, pc->memory().ram_size() - 0xc0000, 0xc0000, true};
  EXPECT_EQ(pc->memory().map().back(), shadow);
  out(0xcf8, 0x80000058, 4);
  out(0xcfe, 0);  // PAM1: 0xc0000 to 0xc7fff is ROM now
  pc->deferred().run();
  EXPECT_EQ(pc->memory().map().back().base.value, 0xc8000u);
  ASSERT_TRUE(pc->reset().has_value());
  EXPECT_EQ(pc->memory().map().back(), shadow);
}

TEST_F(PcTest, WrongSizesAreRefused) {
  PcConfig odd_bios = small_pc();
  odd_bios.bios.resize(5000);
  EXPECT_THAT(error_of(std::move(odd_bios)), HasSubstr("5000 bytes"));
  PcConfig no_ram = small_pc();
  no_ram.ram_size = 4096;
  EXPECT_THAT(error_of(std::move(no_ram)), HasSubstr("-m"));
  PcConfig much_ram = small_pc();
  much_ram.ram_size = uint64_t{1} << 50;
  EXPECT_THAT(error_of(std::move(much_ram)), HasSubstr("RAM"));
}

TEST_F(PcTest, UnknownDevicesAndPropertiesAreRefusedByName) {
  PcConfig config = small_pc();
  config.devices = {{"rtl8139", {}}};
  EXPECT_THAT(error_of(std::move(config)), testing::AllOf(HasSubstr("rtl8139"), HasSubstr("isa-debug-exit")));
  config = small_pc();
  config.devices = {{"edu", {{"colour", "red"}}}};
  EXPECT_THAT(error_of(std::move(config)), testing::AllOf(HasSubstr("colour"), HasSubstr("dma_mask")));
  config = small_pc();
  config.devices = {{"edu", {{"addr", "20.0"}}}};
  EXPECT_THAT(error_of(std::move(config)), HasSubstr("addr=20.0"));
  config = small_pc();
  config.devices = {{"edu", {{"addr", "1.0"}}}};
  EXPECT_THAT(error_of(std::move(config)), HasSubstr("taken by piix3"));
}

TEST_F(PcTest, WrongNetworkCardsAreNamed) {
  PcConfig config = small_pc();
  config.devices = {{"e1000", {{"netdev", "lan"}}}};
  EXPECT_THAT(error_of(std::move(config)), HasSubstr("no network 'lan'"));
  config = small_pc();
  config.devices = {{"e1000", {{"mac", "52:54:00:12:34"}}}};
  EXPECT_THAT(error_of(std::move(config)), HasSubstr("mac=52:54:00:12:34"));
  config = small_pc();
  config.devices = {{"e1000", {{"mac", "01:00:5e:00:00:01"}}}};
  EXPECT_THAT(error_of(std::move(config)), HasSubstr("mac=01:00:5e"));
  config = small_pc();
  config.devices = {{"e1000", {{"romfile", "/nonexistent.rom"}}}};
  EXPECT_THAT(error_of(std::move(config)), HasSubstr("/nonexistent.rom"));
  config = small_pc();
  config.networks["lan"] = [](ByteSpan) {};
  config.devices = {{"e1000", {{"netdev", "lan"}}}, {"e1000", {{"netdev", "lan"}}}};
  EXPECT_THAT(error_of(std::move(config)), HasSubstr("has a card already"));
}

TEST_F(PcTest, WithoutFirmwareDriversFindTheirInterruptLine) {
  PcConfig bare = small_pc();
  bare.bios.clear();
  bare.devices = {{"e1000", {{"addr", "03.0"}}}};
  make(std::move(bare));

  EXPECT_EQ(config(devfn(3, 0), 0x3c) & 0xff, 11u);
  EXPECT_EQ(config(devfn(1, 0), 0x60), 0x0b0b0a0au);
  EXPECT_EQ(in(0x4d1), 0x0cu) << "level-triggered";
}

TEST_F(PcTest, AnOptionRomIsMemoryWhereTheGuestPutsIt) {
  std::string image = testing::TempDir() + "dejavm-pc-test.rom";
  std::ofstream(image) << "an image";
  PcConfig with_rom = small_pc();
  with_rom.devices = {{"e1000", {{"addr", "03.0"}, {"romfile", image}}}};
  make(std::move(with_rom));
  auto rom_at = [this](uint32_t base) {
    set_config(devfn(3, 0), 0x30, base | 1, 4);
    set_config(devfn(3, 0), 0x04, 2, 2);
    pc->deferred().run();
    Bytes bytes(8);
    static_cast<void>(pc->memory().read({base}, bytes));
    return std::string(bytes.begin(), bytes.end());
  };

  EXPECT_EQ(rom_at(0xfeb00000), "an image");
  EXPECT_NE(rom_at(0x1000), "an image") << "RAM is there";
}

TEST_F(PcTest, ACardWithoutRomfileHasTheUsualOptionRomWhereThatIsThere) {
  std::string image = testing::TempDir() + "dejavm-pc-usual.rom";
  std::ofstream(image) << "an image";
  auto rom_size_with = [this](const std::string& usual, std::map<std::string, std::string> properties) {
    PcConfig with_card = small_pc();
    with_card.e1000_rom = usual;
    with_card.devices = {{"e1000", std::move(properties)}};
    make(std::move(with_card));
    return pc->memory().rom_size() - small_pc().bios.size();
  };

  EXPECT_EQ(rom_size_with(image, {}), vm::kPageSize);
  EXPECT_EQ(rom_size_with(image, {{"romfile", ""}}), 0u);
  EXPECT_EQ(rom_size_with("/nonexistent.rom", {}), 0u);
}

TEST_F(PcTest, PortConflictNamesBothDevices) {
  PcConfig config = small_pc();
  config.devices = {{"isa-debug-exit", {{"iobase", "0x3f8"}}}};
  EXPECT_THAT(error_of(std::move(config)), testing::AllOf(HasSubstr("isa-debug-exit"), HasSubstr("serial0")));
}

/// The file of fw_cfg's directory with this name, or nothing.
Bytes fw_cfg_file(vm::Bus& bus, const std::string& wanted) {
  auto out = [&bus](uint64_t value) { bus.access({vm::Space::pio, vm::Direction::write, 2, 0x510, value}); };
  auto take = [&bus](size_t size) {
    Bytes bytes(size);
    for (uint8_t& byte : bytes) byte = static_cast<uint8_t>(bus.access({vm::Space::pio, vm::Direction::read, 1, 0x511, 0}));
    return bytes;
  };
  out(0x19);
  for (unsigned left = take(4)[3]; left > 0; --left) {
    Bytes entry = take(64);
    if (reinterpret_cast<const char*>(&entry[8]) != wanted) continue;
    out(static_cast<uint64_t>(entry[4] << 8 | entry[5]));
    return take(static_cast<size_t>(entry[2] << 8 | entry[3]));
  }
  return {};
}

TEST_F(PcTest, FirmwareGetsTablesForThePortsThatItChose) {
  make(small_pc());
  set_config(devfn(1, 3), 0x40, 0xb001, 4);

  AcpiImage expected = pc_acpi_tables({.ram = split_ram(2 * kMib), .pm_base = 0xb000});
  EXPECT_EQ(fw_cfg_file(pc->bus(), "etc/acpi/tables"), expected.tables());
  EXPECT_EQ(fw_cfg_file(pc->bus(), "etc/acpi/rsdp"), expected.rsdp());
  EXPECT_EQ(fw_cfg_file(pc->bus(), "etc/table-loader"), expected.loader_script());
}

TEST_F(PcTest, WithoutFirmwareTheTablesAreThere) {
  PcConfig bare = small_pc();
  bare.bios.clear();
  bare.devices = {{"edu", {}}};
  make(std::move(bare));

  Bytes segment(64 * 1024);
  ASSERT_TRUE(pc->memory().read({0xf0000}, segment).has_value());
  // Behind the root pointer and an MP table with two entries for PCI.
  constexpr size_t kTables = 0x100;
  AcpiImage::Placed placed{Bytes(segment.begin() + kTables, segment.end()), Bytes(segment.begin(), segment.begin() + 20)};
  FoundTables tables(placed, 0xf0000 + kTables);
  EXPECT_EQ(tables.all().size(), 7u);
  EXPECT_EQ(load_le<uint32_t>(&tables["FACP"][56]), 0x600u);
  EXPECT_EQ(in(0x608, 4), 0u) << "the PM timer answers there";
  EXPECT_EQ(std::string(&segment[0x20], &segment[0x24]), "_MP_");
  // edu's pin in slot 2 and the power management function's.
  ByteSpan entries = ByteSpan(segment).subspan(0x30 + 44 + 20 + 3 * 8);
  EXPECT_THAT(entries.first(16), testing::ElementsAre(3, 0, 1, 0, 0, 4, 0, 9, 3, 0, 1, 0, 0, 8, 0, 10));
  EXPECT_EQ(config(devfn(1, 3), 0x3c) & 0xff, 9u);
}

TEST_F(PcTest, HpetReplacesThePitInLegacyMode) {
  make(small_pc());
  auto store = [this](uint64_t offset, uint64_t value) {
    pc->bus().access({vm::Space::mmio, vm::Direction::write, 8, 0xfed00000 + offset, value});
  };
  auto pending_after = [this](uint64_t ns) {
    clock.advance(ns);
    pc->timers().run_due(pc->timers().now_ns());
    return pc->interrupt_pending();
  };
  for (auto [port, value] : {std::pair{0x20, 0x11}, {0x21, 8}, {0x21, 4}, {0x21, 1}, {0x21, 0xfe}}) out(port, value);
  ASSERT_TRUE(pending_after(60'000'000)) << "the PIT interrupts";
  EXPECT_EQ(pc->acknowledge_interrupt(), 8);
  out(0x20, 0x20);
  store(0x10, 3);
  EXPECT_FALSE(pending_after(60'000'000));

  store(0x100, 4);
  store(0x108, 7'000'000);
  EXPECT_FALSE(pending_after(9'999'990));
  EXPECT_TRUE(pending_after(10));
}

}  // namespace
}  // namespace dejavm::devices
