// The tables as ACPICA's tools read and execute them (Debian's acpica-tools, which has the compiler too).
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "acpi_fixture.h"
#include "devices/acpi_tables.h"

namespace dejavm::devices {
namespace {

using testing::AllOf;
using testing::ElementsAreArray;
using testing::HasSubstr;
using testing::Not;

constexpr uint64_t kMib = uint64_t{1} << 20;
constexpr uint64_t kGib = uint64_t{1} << 30;
constexpr uint32_t kPlace = 0x7fe0000;
constexpr size_t kHeader = 36;

class AcpiAmlTest : public testing::Test {
 protected:
  AcpiAmlTest() { std::filesystem::create_directories(directory_); }
  ~AcpiAmlTest() override { std::filesystem::remove_all(directory_); }

  /// Writes each table to a file SIGNATURE.dat.
  AcpiImage::Placed write_tables(uint64_t ram_size) const {
    AcpiImage::Placed placed = pc_acpi_tables({.ram = split_ram(ram_size), .pm_base = 0x600}).place(kPlace);
    FoundTables tables(placed, kPlace);
    for (const auto& [name, table] : tables.all()) {
      std::ofstream(directory_ / (name + ".dat"), std::ios::binary)
          .write(reinterpret_cast<const char*>(table.data()), static_cast<std::streamsize>(table.size()));
    }
    return placed;
  }
  /// The exit status; what it prints goes to the file "log".
  int tool(const std::string& command) const {
    return std::system(fmt::format("cd '{}' && {} > log 2>&1", directory_.string(), command).c_str());
  }
  std::string text_of(const std::string& name) const {
    std::ifstream file(directory_ / name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  /// The bytes of the buffer that an object evaluates to.
  Bytes evaluate(const std::string& object) const {
    EXPECT_EQ(tool(fmt::format("{} -b 'evaluate {}' DSDT.dat SSDT.dat", DEJAVM_ACPIEXEC, object)), 0);
    std::istringstream log(text_of("log"));
    Bytes bytes;
    // "    0010: 47 01 F8 ...  // text"
    for (std::string line; std::getline(log, line);) {
      if (line.size() < 10 || line.compare(0, 4, "    ") != 0 || line.compare(8, 2, ": ") != 0) continue;
      std::istringstream digits(line.substr(10, line.find("//") - 10));
      for (unsigned byte = 0; digits >> std::hex >> byte;) bytes.push_back(static_cast<uint8_t>(byte));
    }
    return bytes;
  }

 private:
  std::filesystem::path directory_ =
      std::filesystem::path(testing::TempDir()) / fmt::format("acpi-{}-{}", getpid(), static_cast<const void*>(this));
};

TEST_F(AcpiAmlTest, AllTablesAreReadBack) {
  write_tables(128 * kMib);

  for (const char* name : {"APIC", "DSDT", "FACP", "HPET", "RSDT", "SSDT", "WAET"}) {
    SCOPED_TRACE(name);
    const char* others = name == std::string("DSDT") ? "-e SSDT.dat" : "";
    EXPECT_EQ(tool(fmt::format("{} {} -d {}.dat", DEJAVM_IASL, others, name)), 0) << text_of("log");
    EXPECT_THAT(text_of(std::string(name) + ".dsl"),
                AllOf(HasSubstr("BOCHS"), Not(HasSubstr("*****")), Not(HasSubstr("incorrect"))));
  }
}

TEST_F(AcpiAmlTest, DsdtThatWasReadBackCompilesToTheSame) {
  AcpiImage::Placed placed = write_tables(128 * kMib);
  ByteSpan dsdt = FoundTables(placed, kPlace)["DSDT"];

  EXPECT_EQ(tool(fmt::format("{0} -e SSDT.dat -d DSDT.dat && {0} -oa -p again DSDT.dsl", DEJAVM_IASL)), 0) << text_of("log");
  std::string again = text_of("again.aml");
  ASSERT_EQ(again.size(), dsdt.size());
  EXPECT_TRUE(std::equal(again.begin() + kHeader, again.end(), dsdt.begin() + kHeader,
                         [](char a, uint8_t b) { return static_cast<uint8_t>(a) == b; }));
}

// The bytes are QEMU 7.2's, -M pc -m 256M.
TEST_F(AcpiAmlTest, ResourcesOfTheRootAreQemus) {
  constexpr uint8_t kFixed[] = {
      0x88, 0x0d, 0x00, 0x02, 0x0c, 0x00, 0x00, 0x00, 0x00, 0x00, 0xff, 0x00, 0x00, 0x00, 0x00, 0x01,  // buses
      0x47, 0x01, 0xf8, 0x0c, 0xf8, 0x0c, 0x01, 0x08,                                                  // 0xcf8
      0x88, 0x0d, 0x00, 0x01, 0x0c, 0x03, 0x00, 0x00, 0x00, 0x00, 0xf7, 0x0c, 0x00, 0x00, 0xf8, 0x0c,  // ports
      0x88, 0x0d, 0x00, 0x01, 0x0c, 0x03, 0x00, 0x00, 0x00, 0x0d, 0xff, 0xff, 0x00, 0x00, 0x00, 0xf3,  //
      0x87, 0x17, 0x00, 0x00, 0x0c, 0x03, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x0a, 0x00,              // 0xa0000
      0xff, 0xff, 0x0b, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x00};
  constexpr uint8_t kLow[] = {0x87, 0x17, 0x00, 0x00, 0x0c, 0x01, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
                              0x10, 0xff, 0xff, 0xbf, 0xfe, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0xc0, 0xee};
  constexpr uint8_t kHigh[] = {0x8a, 0x2b, 0x00, 0x00, 0x0c, 0x03, 0, 0, 0,    0,    0,    0,    0, 0,  //
                               0,    0,    0,    0,    1,    0,    0, 0, 0xff, 0xff, 0xff, 0x7f,        //
                               1,    0,    0,    0,    0,    0,    0, 0, 0,    0,    0,    0,           //
                               0,    0,    0,    0x80, 0,    0,    0, 0};
  write_tables(256 * kMib);

  Bytes resources = evaluate("\\_SB.PCI0._CRS");

  ASSERT_EQ(resources.size(), sizeof kFixed + sizeof kLow + sizeof kHigh + 2);
  ByteSpan rest = resources;
  EXPECT_THAT(rest.first(sizeof kFixed), ElementsAreArray(kFixed));
  EXPECT_THAT(rest.subspan(sizeof kFixed, sizeof kLow), ElementsAreArray(kLow));
  EXPECT_THAT(rest.subspan(sizeof kFixed + sizeof kLow, sizeof kHigh), ElementsAreArray(kHigh));

  // Where RAM reaches to the last address of the CPU there is no window behind it.
  write_tables(1022 * kGib);
  EXPECT_EQ(evaluate("\\_SB.PCI0._CRS").size(), sizeof kFixed + sizeof kLow + 2);
}

TEST_F(AcpiAmlTest, OnlyS5Works) {
  write_tables(128 * kMib);

  EXPECT_EQ(tool(fmt::format("{} -b 'find _S?_' DSDT.dat SSDT.dat", DEJAVM_ACPIEXEC)), 0);
  EXPECT_THAT(text_of("log"), AllOf(HasSubstr("\\_S5 Package"), Not(HasSubstr("_S3")), Not(HasSubstr("_S4"))));
}

}  // namespace
}  // namespace dejavm::devices
