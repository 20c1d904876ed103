// A file descriptor, a terminal or a pipe, as an input of a guest's serial port.
#pragma once

#include "vm/machine.h"

namespace dejavm::record {

/// Borrows both; the descriptor is left open. At its end nothing more comes.
class DescriptorInput final : public vm::HostInput {
 public:
  DescriptorInput(int fd, vm::ByteInput& device) : fd_(fd), device_(device) {}

  int descriptor() const override { return fd_; }
  bool has_room() const override { return device_.room() > 0; }
  void transfer() override;

 private:
  int fd_;
  vm::ByteInput& device_;
};

}  // namespace dejavm::record
