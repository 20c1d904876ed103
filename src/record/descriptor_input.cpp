#include "record/descriptor_input.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace dejavm::record {

void DescriptorInput::transfer() {
  uint8_t bytes[256];
  ssize_t got = ::read(fd_, bytes, std::min(device_.room(), sizeof bytes));
  if (got > 0) {
    device_.receive({bytes, static_cast<size_t>(got)});
  } else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
    fd_ = -1;
  }
}

}  // namespace dejavm::record
