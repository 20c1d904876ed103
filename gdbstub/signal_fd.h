// A flag that another thread or a signal handler can raise and poll() can see.
#pragma once

#include "base/fd.h"
#include "base/result.h"

namespace dejavm::gdb {

/// An eventfd. raise() may be called from any thread and from a signal handler.
class SignalFd {
 public:
  static Result<SignalFd> create();

  void raise() const;
  void clear() const;
  bool raised() const;
  int fd() const { return fd_.get(); }

 private:
  explicit SignalFd(Fd fd) : fd_(std::move(fd)) {}

  Fd fd_;
};

}  // namespace dejavm::gdb
