#include "trace/compress.h"

#include <algorithm>

#include "base/check.h"
#include "trace/limits.h"

namespace dejavm::trace {

Compressor::Compressor(int level) : context_(ZSTD_createCCtx()) {
  CHECK(context_ != nullptr);
  level = std::clamp(level, ZSTD_minCLevel(), ZSTD_maxCLevel());
  CHECK(!ZSTD_isError(ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, level)));
}

Bytes Compressor::compress(ByteSpan raw) {
  buffer_.resize(std::max(buffer_.size(), ZSTD_compressBound(raw.size())));
  size_t size = ZSTD_compress2(context_.get(), buffer_.data(), buffer_.size(), raw.data(), raw.size());
  CHECK(!ZSTD_isError(size));
  if (size >= raw.size()) return {raw.begin(), raw.end()};
  return {buffer_.begin(), buffer_.begin() + static_cast<ptrdiff_t>(size)};
}

Result<Words> decompress(ByteSpan stored, uint64_t raw_length) {
  if (raw_length > kMaxRawBytes || raw_length % 8 != 0) {
    return fail_damaged(
        fmt::format("a payload claims {} bytes; at most {} are accepted, in units of 8", raw_length, kMaxRawBytes));
  }
  if (raw_length == stored.size()) {
    Words words(raw_length / 8);
    if (raw_length > 0) std::memcpy(words.data(), stored.data(), raw_length);
    return words;
  }
  if (raw_length / kMaxExpansion > stored.size() || ZSTD_getFrameContentSize(stored.data(), stored.size()) != raw_length) {
    return fail_damaged(fmt::format("a payload of {} bytes claims {}, and its contents do not", stored.size(), raw_length));
  }
  Words words(raw_length / 8);
  size_t size = ZSTD_decompress(words.data(), raw_length, stored.data(), stored.size());
  if (ZSTD_isError(size)) return fail_damaged(fmt::format("a payload does not decompress: {}", ZSTD_getErrorName(size)));
  if (size != raw_length) return fail_damaged(fmt::format("a payload holds {} bytes instead of {}", size, raw_length));
  return words;
}

}  // namespace dejavm::trace
