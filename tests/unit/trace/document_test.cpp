// The worked example of docs/trace-format.md is the golden file: each line "OFFSET: BYTES" of it holds.
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "base/fd.h"
#include "samples.h"
#include "trace/compress.h"
#include "trace/frame.h"

namespace dejavm::trace {
namespace {

struct Line {
  std::string space;  ///< "file" or "chunk"
  uint64_t offset = 0;
  std::string hex;
};

/// Lines of the form "file 0x0010: aa bb cc  comment"; bytes end at two blanks.
std::vector<Line> example_lines() {
  std::vector<Line> lines;
  std::ifstream document(DEJAVM_FORMAT_DOCUMENT);
  for (std::string text; std::getline(document, text);) {
    size_t colon = text.find(": ");
    bool is_example = text.starts_with("file 0x") || text.starts_with("chunk 0x");
    if (!is_example || colon == std::string::npos) continue;
    size_t space = text.find(' ');
    std::string bytes = text.substr(colon + 2, text.find("  ", colon) - colon - 2);
    std::erase(bytes, ' ');
    lines.push_back({text.substr(0, space), std::stoull(text.substr(space + 1), nullptr, 16), bytes});
  }
  return lines;
}

TEST(Document, TheWorkedExampleHolds) {
  Bytes golden = file_bytes(DEJAVM_GOLDEN_TRACE);
  ChunkInfo info = Reader::open(golden).value()->chunks().at(0);
  Frame frame{.offset = info.offset, .stored_length = info.stored_bytes - kFrameHeaderBytes};
  ByteSpan stored = ByteSpan(golden).subspan(frame.payload_at(), frame.stored_length);
  Words words = decompress(stored, load_le<uint64_t>(&golden[info.offset + 16])).value();
  std::vector<Line> lines = example_lines();
  ASSERT_GE(lines.size(), 20u);
  for (const Line& line : lines) {
    ByteSpan space = line.space == "file" ? ByteSpan(golden) : bytes_of(words);
    ASSERT_LE(line.offset + line.hex.size() / 2, space.size()) << line.space << " " << line.offset;
    EXPECT_EQ(to_hex(space.subspan(line.offset, line.hex.size() / 2)), line.hex) << line.space << " " << line.offset;
  }
}

}  // namespace
}  // namespace dejavm::trace
