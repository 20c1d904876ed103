// What a page held at a moment.
#include "replay/page_versions.h"

#include <gtest/gtest.h>

namespace dejavm::replay {
namespace {

Bytes page_of(uint8_t value) { return Bytes(vm::kPageSize, value); }

TEST(PageVersions, APageIsZeroBeforeItsFirstVersion) {
  PageVersions versions;
  versions.put(7, {10, 1}, versions.copy(page_of(0x11)));

  EXPECT_TRUE(PageVersions::same(versions.at(7, {9, 5}), page_of(0)));
  EXPECT_TRUE(PageVersions::same(versions.at(8, {10, 1}), page_of(0)));
}

TEST(PageVersions, AVersionHoldsUntilTheNext) {
  PageVersions versions;
  versions.put(7, {10, 1}, versions.copy(page_of(0x11)));
  versions.put(7, {10, 2}, versions.copy(page_of(0x22)));

  EXPECT_TRUE(PageVersions::same(versions.at(7, {10, 1}), page_of(0x11)));
  EXPECT_TRUE(PageVersions::same(versions.at(7, {10, 2}), page_of(0x22)));
  EXPECT_TRUE(PageVersions::same(versions.at(7, {99, 0}), page_of(0x22)));
}

TEST(PageVersions, AVersionMayBeOfZeros) {
  PageVersions versions;
  versions.put(7, {10, 1}, versions.copy(page_of(0x11)));
  versions.put(7, {20, 1}, versions.copy(page_of(0)));

  EXPECT_TRUE(versions.has(7, {20, 1}));
  EXPECT_TRUE(PageVersions::same(versions.at(7, {20, 1}), page_of(0)));
}

TEST(PageVersions, OnlyAnExactMomentHasAVersion) {
  PageVersions versions;
  versions.put(7, {10, 1}, versions.copy(page_of(0x11)));

  EXPECT_TRUE(versions.has(7, {10, 1}));
  EXPECT_FALSE(versions.has(7, {10, 2}));
  EXPECT_FALSE(versions.has(8, {10, 1}));
}

TEST(PageVersions, ARemovedVersionGivesWayToTheOneBefore) {
  PageVersions versions;
  versions.put(7, {10, 1}, versions.copy(page_of(0x11)));
  versions.put(7, {20, 1}, versions.copy(page_of(0x22)));

  versions.remove(7, {20, 1});

  EXPECT_TRUE(PageVersions::same(versions.at(7, {20, 1}), page_of(0x11)));
}

TEST(PageVersions, ContentsCountOnceForAsLongAsTheyAreUsed) {
  PageVersions versions;
  auto contents = versions.copy(page_of(0x11));
  versions.put(7, {10, 1}, contents);
  versions.put(8, {10, 1}, std::move(contents));
  EXPECT_EQ(versions.bytes(), vm::kPageSize);

  versions.remove(7, {10, 1});
  EXPECT_EQ(versions.bytes(), vm::kPageSize);
  versions.remove(8, {10, 1});
  EXPECT_EQ(versions.bytes(), 0u);
}

TEST(PageVersions, ZerosTakeNoRoom) {
  PageVersions versions;
  versions.put(7, {10, 1}, versions.copy(page_of(0)));

  EXPECT_EQ(versions.bytes(), 0u);
}

}  // namespace
}  // namespace dejavm::replay
