#include "qmp/json_framer.h"

#include <gmock/gmock.h>

namespace dejavm::qmp {
namespace {

void feed(JsonFramer& framer, std::string_view text) {
  framer.append({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

TEST(JsonFramer, ObjectsNeedNothingBetweenThem) {
  JsonFramer framer;
  feed(framer, " {\"a\": {\"b\": []}}{}\r\n\t{\"c\"");
  EXPECT_EQ(framer.next(), "{\"a\": {\"b\": []}}");
  EXPECT_EQ(framer.next(), "{}");
  EXPECT_EQ(framer.next(), std::nullopt);
  feed(framer, ": 1}");
  EXPECT_EQ(framer.next(), "{\"c\": 1}");
}

TEST(JsonFramer, BracketsInStringsDoNotCount) {
  JsonFramer framer;
  feed(framer, R"({"a": "}\"}{[\\"}{})");
  EXPECT_EQ(framer.next(), R"({"a": "}\"}{[\\"})");
  EXPECT_EQ(framer.next(), "{}");
}

TEST(JsonFramer, ByteByByte) {
  JsonFramer framer;
  const std::string text = R"({"a": "\"{", "b": [1, {}]})";
  for (char c : text.substr(0, text.size() - 1)) {
    feed(framer, std::string(1, c));
    EXPECT_EQ(framer.next(), std::nullopt);
  }
  feed(framer, "}");
  EXPECT_EQ(framer.next(), text);
}

TEST(JsonFramer, WhatIsNoObjectEndsWithItsLine) {
  JsonFramer framer;
  feed(framer, "info status\n{}\n");
  EXPECT_EQ(framer.next(), "info status");
  EXPECT_EQ(framer.next(), "{}");
  EXPECT_EQ(framer.next(), std::nullopt);
}

TEST(JsonFramer, EndlessInputBreaksIt) {
  JsonFramer deep, object, line;
  feed(deep, "{" + std::string(JsonFramer::kDeepest, '['));
  EXPECT_EQ(deep.next(), std::nullopt);
  EXPECT_TRUE(deep.broken());
  feed(object, "{\"" + std::string(JsonFramer::kLongest, 'x'));
  EXPECT_EQ(object.next(), std::nullopt);
  EXPECT_TRUE(object.broken());
  feed(line, std::string(JsonFramer::kLongest + 1, 'x'));
  EXPECT_EQ(line.next(), std::nullopt);
  EXPECT_TRUE(line.broken());
}

}  // namespace
}  // namespace dejavm::qmp
