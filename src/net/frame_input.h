// A network as an input of a guest.
#pragma once

#include "net/backend.h"
#include "vm/machine.h"
#include "vm/network.h"

namespace dejavm::net {

/// Hands the frames that wait to a card while it is ready, some at a time. Borrows both.
class FrameInput final : public vm::HostInput {
 public:
  static constexpr int kFramesAtATime = 64;

  FrameInput(Backend& network, vm::FrameReceiver& card) : network_(network), card_(card) {}

  int descriptor() const override { return network_.descriptor(); }
  bool has_room() const override { return card_.ready(); }
  void transfer() override;

 private:
  Backend& network_;
  vm::FrameReceiver& card_;
};

}  // namespace dejavm::net
