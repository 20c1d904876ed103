#include "trace/message.h"

namespace dejavm::trace {

Words flat_words(capnp::MessageBuilder& message) {
  auto segments = message.getSegmentsForOutput();
  Words words(capnp::computeSerializedSizeInWords(segments));
  kj::ArrayOutputStream out({reinterpret_cast<kj::byte*>(words.data()), words.size() * sizeof(uint64_t)});
  capnp::writeMessage(out, segments);
  return words;
}

capnp::ReaderOptions reader_options(size_t words) {
  capnp::ReaderOptions options;
  options.traversalLimitInWords = 8 * static_cast<uint64_t>(words) + 1024;
  options.nestingLimit = 16;
  return options;
}

tl::unexpected<Error> malformed(std::string_view what, const kj::Exception& exception) {
  return fail_damaged(fmt::format("{} is malformed: {}", what, exception.getDescription().cStr()));
}

}  // namespace dejavm::trace
