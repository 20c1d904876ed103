// Registers by name: what an access reads as, and which accesses a name means.
#include "vm/register_map.h"

#include <gmock/gmock.h>

#include "registers/shipped.h"

namespace dejavm::registers {
namespace {

using testing::HasSubstr;
using vm::Direction;
using vm::Space;

class RegisterNames : public testing::Test {
 protected:
  static vm::Access access(Space space, Direction direction, uint64_t addr, uint64_t value, uint8_t size = 4) {
    return {space, direction, size, addr, value};
  }
  const vm::DeviceRegion* region(const vm::Access& access) const {
    return vm::find_region(devices_, access.space, access.addr);
  }
  std::string describe(const vm::Access& access) const { return maps_.describe(access, region(access)); }
  bool matches(const std::string& name, std::optional<uint64_t> bits, const vm::Access& access) const {
    vm::AccessFilter filter;
    auto parsed = maps_.parse(name, devices_, filter);
    EXPECT_TRUE(parsed) << parsed.error().what;
    if (bits) filter.field->value = bits;
    return filter.matches(access, region(access));
  }
  std::string mistake(const std::string& name) const {
    vm::AccessFilter filter;
    auto parsed = maps_.parse(name, devices_, filter);
    return parsed ? "" : parsed.error().what + "\n" + parsed.error().next;
  }

  const vm::RegisterMaps maps_ = shipped();
  const std::vector<vm::DeviceRegion> devices_ = {{"e1000", 0, Space::mmio, 0xfebc0000, 0x20000, 0},
                                                  {"e1000", 1, Space::pio, 0xc000, 64, 0},
                                                  {"serial0", 0, Space::pio, 0x3f8, 8, 0},
                                                  {"pic", 0, Space::pio, 0xa0, 2, 0xa0},
                                                  {"lapic", 0, Space::mmio, 0xfee00000, 0x1000, 0},
                                                  {"hpet", 0, Space::mmio, 0xfed00000, 0x400, 0},
                                                  {"virtio-blk", 1, Space::mmio, 0xfe000000, 0x1000, 0},
                                                  {"virtio-blk", 4, Space::mmio, 0xfe010000, 0x4000, 0},
                                                  {"pci-host", 0, Space::pio, 0xcf8, 8, 0},
                                                  {"nic", 0, Space::mmio, 0x10000, 0x1000, 0}};
};

constexpr uint64_t kTctl = 0xfebc0400, kTdt = 0xfebc3818;

TEST_F(RegisterNames, AnAccessReadsAsItsRegister) {
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, kTdt, 0x20)), "e1000.TDT <- 0x20");
  EXPECT_EQ(describe(access(Space::mmio, Direction::read, 0xfebc5414, 0x80000056)), "e1000.RAH2 -> 0x80000056 (ADDR=86|AV)");
  EXPECT_EQ(describe(access(Space::pio, Direction::write, 0xa1, 0xff, 1)), "pic.PIC2_DATA <- 0xff");
}

TEST_F(RegisterNames, FieldsThatAreNotZeroAreNamed) {
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, kTctl, 0x4010a)), "e1000.TCTL <- 0x4010a (EN|PSP|CT=16|COLD=64)");
}

TEST_F(RegisterNames, DirectionChoosesBetweenRegistersOfOneOffset) {
  EXPECT_EQ(describe(access(Space::pio, Direction::write, 0x3fa, 0x7, 1)), "serial0.FCR <- 0x7 (ENABLE|CLEAR_RX|CLEAR_TX)");
  EXPECT_EQ(describe(access(Space::pio, Direction::read, 0x3fa, 0x1, 1)), "serial0.IIR -> 0x1 (NONE)");
}

TEST_F(RegisterNames, APartOfARegisterHasTheFieldsThatItCovers) {
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, kTctl + 1, 0x1, 1)), "e1000.TCTL+1 <- 0x1");
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, kTctl, 0x2, 1)), "e1000.TCTL <- 0x2 (EN)");
}

TEST_F(RegisterNames, WhatHasNoNameIsNotDescribed) {
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, 0xfebc0004, 1)), "");
  EXPECT_EQ(describe(access(Space::pio, Direction::write, 0xc000, 1)), "") << "the card's ports are not its registers";
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, 0x10000, 1)), "");
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, 0x999, 1)), "");
}

TEST_F(RegisterNames, ARegisterMeansItsBytesInItsSpace) {
  EXPECT_TRUE(matches("e1000.TDT", {}, access(Space::mmio, Direction::write, kTdt, 1)));
  EXPECT_TRUE(matches("e1000.TDT", {}, access(Space::mmio, Direction::read, kTdt + 3, 1, 1)));
  EXPECT_FALSE(matches("e1000.TDT", {}, access(Space::mmio, Direction::write, kTdt + 4, 1)));
  EXPECT_FALSE(matches("e1000.CTRL", {}, access(Space::pio, Direction::write, 0xc000, 1)));
  EXPECT_FALSE(matches("serial0.THR", {}, access(Space::pio, Direction::read, 0x3f8, 1, 1))) << "THR is only written";
}

TEST_F(RegisterNames, AFieldMeansAccessesThatTransferIt) {
  EXPECT_TRUE(matches("e1000.TCTL.EN", 1, access(Space::mmio, Direction::write, kTctl, 0x10a)));
  EXPECT_FALSE(matches("e1000.TCTL.EN", 1, access(Space::mmio, Direction::write, kTctl, 0x108)));
  EXPECT_TRUE(matches("e1000.TCTL.EN", 0, access(Space::mmio, Direction::write, kTctl, 0x108)));
  EXPECT_TRUE(matches("e1000.TCTL.CT", 0x10, access(Space::mmio, Direction::write, kTctl, 0x10a)));
  EXPECT_TRUE(matches("e1000.TCTL.COLD", {}, access(Space::mmio, Direction::write, kTctl, 0)));
  EXPECT_FALSE(matches("e1000.TCTL.COLD", {}, access(Space::mmio, Direction::write, kTctl, 0, 2))) << "half of it only";
  EXPECT_TRUE(matches("e1000.TCTL.SWXOFF", 1, access(Space::mmio, Direction::write, kTctl + 2, 0x40, 2)));
}

TEST_F(RegisterNames, MistakesNameWhatThereIs) {
  EXPECT_THAT(mistake("e1000.TDX"), HasSubstr("'TDX' is no register of e1000\nRegisters: CTRL STATUS"));
  EXPECT_THAT(mistake("e1000.TCTL.ON"), HasSubstr("'ON' is no field of e1000.TCTL\nFields: EN PSP"));
  EXPECT_THAT(mistake("e1000.TDT.X"), HasSubstr("It has none."));
  EXPECT_THAT(mistake("nic.X"), HasSubstr("the registers of nic have no names here"));
  EXPECT_THAT(mistake("e1000.TCTL.EN.X"), HasSubstr("no register"));
}

TEST_F(RegisterNames, InterruptControllersAndTimers) {
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, 0xfee00320, 0x200ef)),
            "lapic.LVT_TIMER <- 0x200ef (VECTOR=239|MODE=1)");
  EXPECT_EQ(describe(access(Space::mmio, Direction::read, 0xfee00270, 1)), "lapic.IRR7 -> 0x1");
  EXPECT_EQ(describe(access(Space::mmio, Direction::read, 0xfed00004, 0x989680)),
            "hpet.CAPABILITIES+4 -> 0x989680 (PERIOD_FS=10000000)");
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, 0xfed00120, 0x4c, 8)),
            "hpet.TIMER1_CONFIG <- 0x4c (INTERRUPTS|PERIODIC|SET_VALUE)");
  EXPECT_EQ(describe(access(Space::pio, Direction::write, 0xcf8, 0x80001810)),
            "pci-host.CONFADD <- 0x80001810 (REGISTER=4|DEVICE=3|ENABLE)");
  EXPECT_EQ(describe(access(Space::pio, Direction::write, 0xcf9, 6, 1)),
            "pci-host.RESET_CONTROL <- 0x6 (SYSTEM_RESET|RESET_CPU)");
}

TEST_F(RegisterNames, OfAVirtioDeviceOneBarHasThem) {
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, 0xfe010014, 0xf, 1)),
            "virtio-blk.DEVICE_STATUS <- 0xf (ACKNOWLEDGE|DRIVER|DRIVER_OK|FEATURES_OK)");
  EXPECT_EQ(describe(access(Space::mmio, Direction::read, 0xfe012000, 2048)), "virtio-blk.CAPACITY -> 0x800");
  EXPECT_EQ(describe(access(Space::mmio, Direction::write, 0xfe000014, 1)), "") << "the MSI-X table";
  EXPECT_TRUE(matches("virtio-blk.QUEUE_SELECT", {}, access(Space::mmio, Direction::write, 0xfe010016, 0, 2)));
  EXPECT_FALSE(matches("virtio-blk.QUEUE_SELECT", {}, access(Space::mmio, Direction::write, 0xfe000016, 0, 2)));
}

TEST_F(RegisterNames, NamesOfNumberedDevicesAreThoseOfTheirKind) {
  vm::RegisterMap map{.device = "edu"};

  EXPECT_TRUE(map.is_for("edu"));
  EXPECT_TRUE(map.is_for("edu1"));
  EXPECT_TRUE(map.is_for("edu-12"));
  EXPECT_FALSE(map.is_for("educated"));
  EXPECT_FALSE(map.is_for("ed"));
}

TEST_F(RegisterNames, TheLastMapOfADeviceCounts) {
  vm::RegisterMaps maps = shipped();
  maps.add({.device = "e1000", .space = {}, .registers = {{.name = "MINE", .offset = 0x400}}});

  vm::Access write = access(Space::mmio, Direction::write, kTctl, 2);
  EXPECT_EQ(maps.describe(write, region(write)), "e1000.MINE <- 0x2");
}

}  // namespace
}  // namespace dejavm::registers
