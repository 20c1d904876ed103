// Numbers, words and bytes.
#include "base/parse.h"

#include <gmock/gmock.h>

#include "base/bytes.h"
#include "base/result.h"

namespace dejavm {
namespace {

using testing::ElementsAre;

TEST(Parse, NumbersAreDecimalOrHexadecimalAndNothingElse) {
  EXPECT_EQ(parse_u64("0"), 0u);
  EXPECT_EQ(parse_u64("010"), 10u);
  EXPECT_EQ(parse_u64("0xFf"), 255u);
  EXPECT_EQ(parse_u64("0X10"), 16u);
  EXPECT_EQ(parse_u64("18446744073709551615"), UINT64_MAX);
  EXPECT_EQ(parse_u64("0xffffffffffffffff"), UINT64_MAX);
  for (const char* text : {"", "0x", "-1", "+1", " 1", "1 ", "1a", "0x1g", "18446744073709551616", "0x10000000000000000",
                           "0x-1", "0x0x1", "1.5"}) {
    EXPECT_EQ(parse_u64(text), std::nullopt) << text;
  }
}

TEST(Parse, SizesHaveSuffixesOrTheUnit) {
  constexpr uint64_t kMiB = uint64_t{1} << 20;

  EXPECT_EQ(parse_size("64", kMiB), 64 * kMiB);
  EXPECT_EQ(parse_size("64M", kMiB), 64 * kMiB);
  EXPECT_EQ(parse_size("4k", kMiB), 4096u);
  EXPECT_EQ(parse_size("1G", 1), uint64_t{1} << 30);
  EXPECT_EQ(parse_size("2t", 1), uint64_t{2} << 40);
  EXPECT_EQ(parse_size("0x10", 1), 16u);
  for (const char* text : {"", "M", "1MM", "1X", "-1M", "1 M", "99999999999999T", "0xffffffffffffffffK"}) {
    EXPECT_EQ(parse_size(text, 1), std::nullopt) << text;
  }
  EXPECT_EQ(parse_size("18446744073709551615", kMiB), std::nullopt);
}

TEST(Parse, SplitKeepsEmptyPartsAndWordsDropThem) {
  EXPECT_THAT(split("a,,b,", ','), ElementsAre("a", "", "b", ""));
  EXPECT_THAT(split("", ','), ElementsAre(""));
}

TEST(Parse, OptionsWithDoubledCommas) {
  EXPECT_THAT(split_option("a=1,b=2"), ElementsAre("a=1", "b=2"));
  EXPECT_THAT(split_option("file=a,,b,if=none"), ElementsAre("file=a,b", "if=none"));
  EXPECT_THAT(split_option("file=a,,,if=none"), ElementsAre("file=a,", "if=none"));
  EXPECT_THAT(split_option(",,,,"), ElementsAre(",,"));
  EXPECT_THAT(split_option("a,"), ElementsAre("a", ""));
  EXPECT_THAT(split_option(""), ElementsAre(""));
  EXPECT_THAT(words("  a \t b\r\n"), ElementsAre("a", "b"));
  EXPECT_TRUE(words(" \t").empty());
}

TEST(Bytes, LowBytesCutAValue) {
  EXPECT_EQ(low_bytes(0x1122334455667788, 0), 0u);
  EXPECT_EQ(low_bytes(0x1122334455667788, 3), 0x667788u);
  EXPECT_EQ(low_bytes(0x1122334455667788, 8), 0x1122334455667788u);
}

TEST(Bytes, LoadsAndStoresAreLittleEndian) {
  uint8_t bytes[4] = {};

  store_le<uint32_t>(bytes, 0x11223344);

  EXPECT_EQ(bytes[0], 0x44);
  EXPECT_EQ(load_le<uint16_t>(bytes + 1), 0x2233);
  EXPECT_EQ(to_hex(bytes), "44332211");
}

TEST(Result, AnErrorFromErrnoNamesWhatAndWhy) {
  Status status = fail_errno("cannot open x", "Try y.", ENOENT);

  EXPECT_EQ(status.error().what, "cannot open x: No such file or directory");
  EXPECT_EQ(status.error().next, "Try y.");
  EXPECT_EQ(status.error().kind, ErrorKind::failed);
}

}  // namespace
}  // namespace dejavm
