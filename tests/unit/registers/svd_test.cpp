// Register maps from CMSIS-SVD.
#include "registers/svd.h"

#include <gmock/gmock.h>

namespace dejavm::registers {
namespace {

using testing::HasSubstr;
using vm::Direction;

std::string file_with(const std::string& registers) {
  return "<device><name>x</name><size>16</size><peripherals><peripheral><name>nic</name><registers>" + registers +
         "</registers></peripheral></peripherals></device>";
}

std::string error_of(const std::string& text) {
  auto map = parse_svd(text, "nic");
  return map ? "" : map.error().what;
}

TEST(Svd, RegistersInheritTheirSize) {
  auto map = parse_svd(file_with("<register><name>A</name><addressOffset>0x10</addressOffset></register>"
                                 "<register><name>B</name><addressOffset>0x20</addressOffset><size>64</size></register>"),
                       "nic");

  ASSERT_TRUE(map) << map.error().what;
  EXPECT_EQ(map->find("A")->offset, 0x10u);
  EXPECT_EQ(map->find("A")->size, 2u);
  EXPECT_EQ(map->find("B")->size, 8u);
}

TEST(Svd, AccessSaysTheDirections) {
  auto map =
      parse_svd(file_with("<register><name>R</name><addressOffset>0</addressOffset><access>read-only</access></register>"
                          "<register><name>W</name><addressOffset>0</addressOffset><access>write-only</access></register>"),
                "nic");

  ASSERT_TRUE(map) << map.error().what;
  EXPECT_EQ(map->find(0, Direction::read)->name, "R");
  EXPECT_EQ(map->find(0, Direction::write)->name, "W");
}

TEST(Svd, FieldsInAllThreeSpellings) {
  auto map = parse_svd(file_with("<register><name>A</name><addressOffset>0</addressOffset><fields>"
                                 "<field><name>X</name><bitOffset>3</bitOffset><bitWidth>2</bitWidth></field>"
                                 "<field><name>Y</name><lsb>5</lsb><msb>7</msb></field>"
                                 "<field><name>Z</name><bitRange>[15:8]</bitRange></field></fields></register>"),
                       "nic");

  ASSERT_TRUE(map) << map.error().what;
  const auto& fields = map->find("A")->fields;
  ASSERT_EQ(fields.size(), 3u);
  EXPECT_EQ(std::pair(fields[0].lsb, fields[0].width), std::pair(3u, 2u));
  EXPECT_EQ(std::pair(fields[1].lsb, fields[1].width), std::pair(5u, 3u));
  EXPECT_EQ(std::pair(fields[2].lsb, fields[2].width), std::pair(8u, 8u));
}

TEST(Svd, ArraysAndClusters) {
  auto map = parse_svd(file_with("<cluster><name>C</name><addressOffset>0x100</addressOffset><register><dim>3</dim>"
                                 "<dimIncrement>4</dimIncrement><name>Q%s</name><addressOffset>8</addressOffset></register>"
                                 "</cluster>"),
                       "nic");

  ASSERT_TRUE(map) << map.error().what;
  EXPECT_EQ(map->registers.size(), 3u);
  EXPECT_EQ(map->find("Q2")->offset, 0x110u);
}

TEST(Svd, NonsenseIsRefusedByName) {
  EXPECT_THAT(error_of("<device"), HasSubstr("not XML"));
  EXPECT_THAT(error_of("<device/>"), HasSubstr("no peripheral"));
  EXPECT_THAT(error_of(file_with("")), HasSubstr("'nic' has no registers"));
  EXPECT_THAT(error_of(file_with("<register><name>A</name><addressOffset>far</addressOffset></register>")),
              HasSubstr("register 'A': addressOffset 'far' is not a number"));
  EXPECT_THAT(error_of(file_with("<register><name>A</name><addressOffset>0</addressOffset><size>7</size></register>")),
              HasSubstr("has 7 bits"));
  EXPECT_THAT(error_of(file_with("<register><name>A</name><addressOffset>0</addressOffset><fields><field><name>F</name>"
                                 "<bitOffset>60</bitOffset><bitWidth>8</bitWidth></field></fields></register>")),
              HasSubstr("field 'F' does not fit"));
  EXPECT_THAT(error_of(file_with("<register><dim>4000000000</dim><dimIncrement>4</dimIncrement><name>A%s</name>"
                                 "<addressOffset>0</addressOffset></register>")),
              HasSubstr("too many registers"));
}

TEST(Svd, DeepClustersAreRefused) {
  std::string open, close;
  for (int i = 0; i < 100; ++i) {
    open += "<cluster><name>C</name><addressOffset>0</addressOffset>";
    close += "</cluster>";
  }
  EXPECT_THAT(error_of(file_with(open + close)), HasSubstr("nested too deeply"));
}

TEST(Svd, AnOptionWithoutADeviceIsRefused) {
  EXPECT_THAT(load_svd("nic.svd").error().what, HasSubstr("not FILE@DEVICE"));
  EXPECT_THAT(load_svd("/nonexistent.svd@nic").error().what, HasSubstr("/nonexistent.svd"));
}

TEST(Svd, MoreFieldsThanARegisterCanHaveAreRefused) {
  std::string fields;
  for (int i = 0; i < 300; ++i) fields += "<field><name>F</name><bitOffset>0</bitOffset></field>";
  EXPECT_THAT(error_of(file_with("<register><name>A</name><addressOffset>0</addressOffset><fields>" + fields +
                                 "</fields></register>")),
              HasSubstr("register 'A' has too many fields"));
}

}  // namespace
}  // namespace dejavm::registers
