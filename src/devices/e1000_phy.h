// The 82540EM's integrated PHY (Marvell M88E1011) behind MDIC. Sources: Intel 317453, section 13.4.13 and chapter 12 (PHY
// registers); reset values as QEMU's e1000 shows them.
#pragma once

#include <array>
#include <cstdint>

#include "devices/e1000_interrupts.h"

namespace dejavm::devices::e1000 {

/// Answers at PHY address 1. The partner is always there and capable of 1000 Mb/s full duplex; a restarted
/// auto-negotiation takes the link down for half a second.
class Phy {
 public:
  Phy(Registers& registers, Interrupts& interrupts, vm::TimerQueue& timers);
  ~Phy() { timers_.cancel(negotiation_); }
  Phy(const Phy&) = delete;
  Phy& operator=(const Phy&) = delete;

  /// A write of MDIC: does the operation and leaves the answer in the register.
  void mdic_written(uint32_t value);
  bool loopback() const;
  bool link_up() const;
  void reset();

 private:
  void write(unsigned number, uint16_t value);
  void restart_negotiation();
  void finish_negotiation();

  Registers& registers_;
  Interrupts& interrupts_;
  vm::TimerQueue& timers_;
  vm::TimerQueue::Id negotiation_ = 0;
  std::array<uint16_t, 32> values_{};
};

}  // namespace dejavm::devices::e1000
