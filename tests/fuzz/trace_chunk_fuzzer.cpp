// Decodes bytes as the columns of a chunk, not compressed, and encodes what comes out: that must decode to as many events.
// Corpus: what a run finds (`trace_chunk_fuzzer CORPUS_FOLDER`).
#include <cstdint>

#include "base/check.h"
#include "trace/chunk_codec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dejavm::trace;
  auto events = decode_chunk({data, size}, size);
  if (!events) return 0;
  auto again = encode_chunk(*events, true);
  CHECK(again.has_value());
  auto decoded = decode_chunk(again->stored, again->raw_length);
  CHECK(decoded.has_value() && decoded->size() == events->size());
  return 0;
}
