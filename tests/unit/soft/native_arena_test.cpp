#include "engine/soft/native_arena.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>

#include "engine/soft/native_stub.h"

namespace dejavm::soft {
namespace {

constexpr size_t kPage = 4096;
constexpr uint8_t kReturn[] = {0xc3};
// mov rax, [rdi]; inc rax; mov [rdi], rax; ret
constexpr uint8_t kIncrement[] = {0x48, 0x8b, 0x07, 0x48, 0xff, 0xc0, 0x48, 0x89, 0x07, 0xc3};

TEST(NativeArena, RunsWhatWasAdded) {
  auto arena = NativeArena::create(kPage);
  ASSERT_TRUE(arena);
  NativeFrame frame{};

  (*arena)->add(kIncrement)(&frame);

  EXPECT_EQ(frame.memory[0], 1);
}

TEST(NativeArena, KeepsEqualCodeOnce) {
  auto arena = NativeArena::create(kPage);
  ASSERT_TRUE(arena);

  NativeCode first = (*arena)->add(kReturn);
  NativeCode other = (*arena)->add(kIncrement);

  EXPECT_EQ((*arena)->add(kReturn), first);
  EXPECT_NE(other, first);
}

TEST(NativeArena, IsBoundedAndEmptyAfterClear) {
  auto arena = NativeArena::create(kPage);
  ASSERT_TRUE(arena);
  EXPECT_TRUE((*arena)->has_room(kPage));
  EXPECT_FALSE((*arena)->has_room(kPage + 1));

  (*arena)->add(kReturn);
  EXPECT_FALSE((*arena)->has_room(kPage));

  (*arena)->clear();
  EXPECT_TRUE((*arena)->has_room(kPage));
}

/// The lines of /proc/self/maps that belong to arenas: "addresses rwxp ...".
std::vector<std::string> mappings() {
  std::ifstream maps("/proc/self/maps");
  std::vector<std::string> found;
  for (std::string line; std::getline(maps, line);) {
    if (line.find("memfd:dejavm-code") != std::string::npos) found.push_back(line.substr(line.find(' ') + 1, 4));
  }
  return found;
}

TEST(NativeArena, IsNowhereWritableAndExecutable) {
  auto arena = NativeArena::create(kPage);
  ASSERT_TRUE(arena);
  (*arena)->add(kReturn);

  std::vector<std::string> found = mappings();

  std::sort(found.begin(), found.end());
  EXPECT_EQ(found, (std::vector<std::string>{"r-xs", "rw-s"}));
}

}  // namespace
}  // namespace dejavm::soft
