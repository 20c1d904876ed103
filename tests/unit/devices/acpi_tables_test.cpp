#include "devices/acpi_tables.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "acpi_fixture.h"

namespace dejavm::devices {
namespace {

using testing::ElementsAre;
using testing::ElementsAreArray;

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kGib = uint64_t{1} << 30;
constexpr uint32_t kPlace = 0x7fe0000;
constexpr size_t kHeader = 36;

class AcpiTablesTest : public testing::Test {
 protected:
  AcpiImage::Placed placed = pc_acpi_tables({.ram = split_ram(128 * kMib), .pm_base = 0x600}).place(kPlace);
  FoundTables tables{placed, kPlace};
};

TEST_F(AcpiTablesTest, AreFoundFromTheRoot) {
  std::vector<std::string> names;
  for (const auto& [name, table] : tables.all()) names.push_back(name);

  EXPECT_THAT(names, ElementsAre("APIC", "DSDT", "FACP", "HPET", "RSDT", "SSDT", "WAET"));
  EXPECT_EQ(std::string(tables.facs().begin(), tables.facs().begin() + 4), "FACS");
  EXPECT_EQ(tables.facs().size(), 64u);
  EXPECT_EQ(load_le<uint32_t>(&tables["FACP"][36]) % 64, 0u);
}

// What QEMU 7.2 -M pc puts behind the headers of these tables.
TEST_F(AcpiTablesTest, SayWhatQemusSay) {
  constexpr uint8_t kMadt[] = {0x00, 0x00, 0xe0, 0xfe, 1,  0, 0,    0,                    // local APIC, PC/AT compatible
                               0,    8,    0,    0,    1,  0, 0,    0,                    // processor
                               1,    12,   0,    0,    0,  0, 0xc0, 0xfe, 0,    0, 0, 0,  // I/O APIC
                               2,    10,   0,    0,    2,  0, 0,    0,    0,    0,        // timer
                               2,    10,   0,    5,    5,  0, 0,    0,    0x0d, 0,        //
                               2,    10,   0,    9,    9,  0, 0,    0,    0x0d, 0,        //
                               2,    10,   0,    10,   10, 0, 0,    0,    0x0d, 0,        //
                               2,    10,   0,    11,   11, 0, 0,    0,    0x0d, 0,        //
                               4,    6,    0xff, 0,    0,  1};
  constexpr uint8_t kHpet[] = {0x01, 0xa2, 0x86, 0x80, 0, 0, 0, 0, 0, 0, 0xd0, 0xfe, 0, 0, 0, 0, 0, 0, 0, 0};

  EXPECT_THAT(tables["APIC"].subspan(kHeader), ElementsAreArray(kMadt));
  EXPECT_THAT(tables["HPET"].subspan(kHeader), ElementsAreArray(kHpet));
  EXPECT_THAT(tables["WAET"].subspan(kHeader), ElementsAre(2, 0, 0, 0));
}

TEST_F(AcpiTablesTest, FadtNamesThePortsOfTheBoard) {
  ByteSpan fadt = tables["FACP"];

  EXPECT_EQ(fadt.size(), 244u);
  EXPECT_EQ(load_le<uint16_t>(&fadt[46]), 9u);
  EXPECT_EQ(load_le<uint32_t>(&fadt[48]), 0xb2u);
  EXPECT_THAT(fadt.subspan(52, 4), ElementsAre(0xf1, 0xf0, 0, 0));
  EXPECT_EQ(load_le<uint32_t>(&fadt[56]), 0x600u);
  EXPECT_EQ(load_le<uint32_t>(&fadt[64]), 0x604u);
  EXPECT_EQ(load_le<uint32_t>(&fadt[76]), 0x608u);
  EXPECT_EQ(load_le<uint32_t>(&fadt[80]), 0xafe0u);
  EXPECT_THAT(fadt.subspan(88, 6), ElementsAre(4, 2, 0, 4, 4, 0));
  EXPECT_EQ(fadt[108], 0x32);
  EXPECT_EQ(load_le<uint32_t>(&fadt[112]), 0x8435u);
  EXPECT_THAT(fadt.subspan(116, 13), ElementsAre(1, 8, 0, 1, 0xf9, 0x0c, 0, 0, 0, 0, 0, 0, 6));
  EXPECT_EQ(load_le<uint64_t>(&fadt[140]), load_le<uint32_t>(&fadt[40]));
  EXPECT_THAT(fadt.subspan(148, 12), ElementsAre(1, 32, 0, 0, 0x00, 6, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(fadt.subspan(172, 12), ElementsAre(1, 16, 0, 0, 0x04, 6, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(fadt.subspan(208, 12), ElementsAre(1, 32, 0, 0, 0x08, 6, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(fadt.subspan(220, 12), ElementsAre(1, 32, 0, 0, 0xe0, 0xaf, 0, 0, 0, 0, 0, 0));
}

struct Windows {
  uint64_t ram_size, low, high, high_last;
};
class PciWindowsTest : public testing::TestWithParam<Windows> {};

TEST_P(PciWindowsTest, LeaveOutTheRam) {
  AcpiImage::Placed placed = pc_acpi_tables({.ram = split_ram(GetParam().ram_size), .pm_base = 0x600}).place(kPlace);
  ByteSpan ssdt = FoundTables(placed, kPlace)["SSDT"];

  // Name (\W32B, ...): 08 "\W32B" 0e and eight bytes, four times.
  ASSERT_EQ(ssdt.size(), kHeader + 4 * 15);
  EXPECT_EQ(std::string(&ssdt[kHeader + 1], &ssdt[kHeader + 6]), "\\W32B");
  EXPECT_EQ(load_le<uint64_t>(&ssdt[kHeader + 7]), GetParam().low);
  EXPECT_EQ(load_le<uint64_t>(&ssdt[kHeader + 22]), 0xfebfffffu);
  EXPECT_EQ(load_le<uint64_t>(&ssdt[kHeader + 37]), GetParam().high);
  EXPECT_EQ(load_le<uint64_t>(&ssdt[kHeader + 52]), GetParam().high_last);
}

INSTANTIATE_TEST_SUITE_P(Sizes, PciWindowsTest,
                         testing::Values(Windows{128 * kMib, 128 * kMib, 4 * kGib, 6 * kGib - 1},
                                         Windows{3584 * kMib, 3 * kGib, 5 * kGib, 7 * kGib - 1},
                                         Windows{6 * kGib, 3 * kGib, 7 * kGib, 9 * kGib - 1},
                                         Windows{1021 * kGib, 3 * kGib, 1022 * kGib, 1024 * kGib - 1},
                                         Windows{1022 * kGib, 3 * kGib, 0, 0}));

/// Does what the script says, as firmware does, with the tables at kPlace.
class FakeFirmware {
 public:
  explicit FakeFirmware(const AcpiImage& image) {
    files[kAcpiTablesFile] = image.tables();
    files[kAcpiRsdpFile] = image.rsdp();
    Bytes script = image.loader_script();
    EXPECT_EQ(script.size() % 128, 0u);
    for (size_t at = 0; at < script.size(); at += 128) execute(&script[at]);
  }

  std::map<std::string, Bytes> files;
  std::map<std::string, unsigned> zones;

 private:
  static std::string name(const uint8_t* at) { return reinterpret_cast<const char*>(at); }
  void execute(const uint8_t* entry) {
    Bytes& file = files.at(name(entry + 4));
    const uint8_t* operands = entry + 4 + 56;
    switch (load_le<uint32_t>(entry)) {
      case 1:
        zones[name(entry + 4)] = operands[4];
        break;
      case 2: {
        EXPECT_EQ(name(operands), kAcpiTablesFile);
        EXPECT_TRUE(zones.contains(kAcpiTablesFile));
        uint64_t value = 0;
        uint8_t* pointer = &file.at(load_le<uint32_t>(operands + 56));
        std::memcpy(&value, pointer, operands[60]);
        value += kPlace;
        std::memcpy(pointer, &value, operands[60]);
        break;
      }
      case 3: {
        uint32_t start = load_le<uint32_t>(operands + 4), size = load_le<uint32_t>(operands + 8);
        uint8_t& checksum = file.at(load_le<uint32_t>(operands));
        checksum = static_cast<uint8_t>(checksum - sum_of(ByteSpan(file).subspan(start, size)));
        break;
      }
      default:
        ADD_FAILURE() << "unknown command";
    }
  }
};

TEST_F(AcpiTablesTest, FirmwareMakesTheSameOfThem) {
  FakeFirmware firmware(pc_acpi_tables({.ram = split_ram(128 * kMib), .pm_base = 0x600}));

  EXPECT_EQ(firmware.files[kAcpiTablesFile], placed.tables);
  EXPECT_EQ(firmware.files[kAcpiRsdpFile], placed.rsdp);
  EXPECT_EQ(firmware.zones[kAcpiTablesFile], 1u);
  EXPECT_EQ(firmware.zones[kAcpiRsdpFile], 2u);
}

TEST_F(AcpiTablesTest, SizesDoNotDependOnTheConfiguration) {
  AcpiImage other = pc_acpi_tables({.ram = split_ram(1022 * kGib)});

  EXPECT_EQ(other.tables().size(), placed.tables.size());
  EXPECT_EQ(other.loader_script(), pc_acpi_tables({.ram = split_ram(kMib), .pm_base = 0xb000}).loader_script());
}

}  // namespace
}  // namespace dejavm::devices
