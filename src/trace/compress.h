// zstd over whole payloads.
#pragma once

#include <zstd.h>

#include <memory>

#include "base/bytes.h"
#include "base/result.h"
#include "trace/message.h"

namespace dejavm::trace {

/// Compresses payloads one after another; keeps its tables. Not thread-safe.
class Compressor {
 public:
  /// `level`: zstd's, out-of-range values are taken as the nearest.
  explicit Compressor(int level);
  /// One zstd frame that states its content size; or the bytes unchanged where that is not longer.
  Bytes compress(ByteSpan raw);

 private:
  struct Free {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };
  std::unique_ptr<ZSTD_CCtx, Free> context_;
  Bytes buffer_;
};

/// Undoes compress(). `raw_length` is what the file claims: it is checked against the hard limits, against what the stored
/// bytes can possibly hold and against zstd's own header before anything is allocated. A multiple of 8.
Result<Words> decompress(ByteSpan stored, uint64_t raw_length);

}  // namespace dejavm::trace
