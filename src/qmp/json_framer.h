// Cuts a stream of bytes into JSON objects, as QEMU's JSON lexer does: they need nothing between them (QEMU,
// docs/interop/qmp-spec.rst, section 2.1).
#pragma once

#include <optional>
#include <string>

#include "base/bytes.h"

namespace dejavm::qmp {

class JsonFramer {
 public:
  static constexpr size_t kLongest = size_t{1} << 20;  ///< bytes of one object
  static constexpr size_t kDeepest = 1024;             ///< brackets in brackets

  void append(ByteSpan bytes) { text_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }
  /// The next whole object, or whatever stands where one should begin, up to the end of its line. Not checked to be JSON.
  std::optional<std::string> next();
  /// An object is too long or too deep: nothing more comes.
  bool broken() const { return broken_; }

 private:
  std::optional<std::string> take(size_t end);

  std::string text_;
  size_t scanned_ = 0;  // of text_, with what follows as the state there
  size_t depth_ = 0;
  bool in_string_ = false, escaped_ = false, broken_ = false;
};

}  // namespace dejavm::qmp
