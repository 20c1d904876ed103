// Binary reads, searches, the memory map.
#include <gmock/gmock.h>

#include "conversation_fixture.h"
#include "gdbstub/memory_map.h"

namespace dejavm::gdb {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

using MemoryPackets = ConversationTest;

TEST_F(MemoryPackets, BinaryReadsBeginWithALetter) {
  target_.virtual_memory[0x10] = '#';
  target_.virtual_memory[0x11] = 'a';
  target_.virtual_memory[0x12] = '}';

  EXPECT_EQ(ask("x10,3"), "b#a}");
  EXPECT_EQ(ask("xfffe,4"), std::string("b\0\0", 3));
  EXPECT_EQ(ask("x10000,4"), "E14");
}

TEST_F(MemoryPackets, ADebuggerThatAsksForNoBytesGetsPlainOnes) {
  target_.virtual_memory[0x10] = 'a';

  EXPECT_EQ(ask("x0,0"), "OK");
  EXPECT_EQ(ask("x10,1"), "a");
}

TEST_F(MemoryPackets, BinaryReadsAreCutToThePacketSize) {
  std::fill(target_.virtual_memory.begin(), target_.virtual_memory.end(), uint8_t{'$'});

  EXPECT_EQ(ask("x0,ffffffffffffffff").size(), 1 + (kMaxPayload - 1) / 2) << "each is escaped";
}

TEST_F(MemoryPackets, PhysicalReadsAreBinaryToo) {
  target_.physical_memory[0] = 'p';
  ask("Qqemu.PhyMemMode:1");

  EXPECT_EQ(ask("x0,1"), "bp");
}

TEST_F(MemoryPackets, SearchesFindTheFirstPlace) {
  target_.virtual_memory[0x123] = 'x';
  target_.virtual_memory[0x124] = '#';
  target_.virtual_memory[0x200] = 'x';
  target_.virtual_memory[0x201] = '#';

  EXPECT_EQ(ask("qSearch:memory:0;1000;x}\x03"), "1,123");
  EXPECT_EQ(ask("qSearch:memory:124;1000;x}\x03"), "1,200");
  EXPECT_EQ(ask("qSearch:memory:123;2;x}\x03"), "1,123");
  EXPECT_EQ(ask("qSearch:memory:123;1;x}\x03"), "0");
  EXPECT_EQ(ask("qSearch:memory:201;1000;x}\x03"), "0");
  EXPECT_EQ(ask("qSearch:memory:0;0;x"), "0");
}

TEST_F(MemoryPackets, SearchesEndWhereMemoryDoes) {
  target_.virtual_memory[0xffff] = 'x';

  EXPECT_EQ(ask("qSearch:memory:8000;10000;x"), "1,ffff");
  EXPECT_EQ(ask("qSearch:memory:8000;10000;y"), "E14");
  EXPECT_THAT(ask("qSearch:memory:0;ffffffffffffffff;y"), StartsWith("E.18446744073709551615 bytes are too much"));
}

TEST_F(MemoryPackets, SearchesFindWhatLiesAcrossTwoChunks) {
  target_.virtual_memory.resize(size_t{3} << 20);
  target_.virtual_memory[(size_t{1} << 20) - 1] = 'l';
  target_.virtual_memory[size_t{1} << 20] = 'r';

  EXPECT_EQ(ask("qSearch:memory:0;200000;lr"), "1,fffff");
}

TEST_F(MemoryPackets, TheMapCoversEverythingAndNamesDevices) {
  const std::string map = ask("qXfer:memory-map:read::0,fff");

  EXPECT_THAT(map, StartsWith("l<?xml"));
  EXPECT_THAT(map, HasSubstr("<memory type=\"ram\" start=\"0x0\" length=\"0x8000\"/>\n"
                             "  <memory type=\"ram\" start=\"0x8000\" length=\"0x1000\"/><!-- device edu -->\n"
                             "  <memory type=\"ram\" start=\"0x9000\" length=\"0x6000\"/>\n"
                             "  <memory type=\"rom\" start=\"0xf000\" length=\"0x1000\"/>\n"
                             "  <memory type=\"ram\" start=\"0x10000\" length=\"0xffffffffffff0000\"/>\n"
                             "</memory-map>"));
  EXPECT_EQ(ask("qXfer:memory-map:read:x:0,fff"), "E00");
}

TEST(MemoryMap, HasNoHoleAtTheEndsOfTheSpace) {
  EXPECT_THAT(memory_map_xml({}), HasSubstr("start=\"0x0\" length=\"0x0\"")) << "2^64";
  EXPECT_THAT(
      memory_map_xml({{PhysicalRegion::Kind::rom, 1, UINT64_MAX, {}}}),
      HasSubstr(
          "start=\"0x0\" length=\"0x1\"/>\n  <memory type=\"rom\" start=\"0x1\" length=\"0xffffffffffffffff\"/>\n</m"));
}

TEST(MemoryMap, ANameCannotBreakTheText) {
  EXPECT_THAT(memory_map_xml({{PhysicalRegion::Kind::device, 0, 1, "a--><b\n"}}), HasSubstr("<!-- device a____b_ -->"));
}

}  // namespace
}  // namespace dejavm::gdb
