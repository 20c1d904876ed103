// Interrupt causes, mask and throttling of the 82540EM. Source: Intel 317453, sections 3.2.7, 13.4.17 to 13.4.22.
#pragma once

#include <functional>

#include "devices/e1000_registers.h"
#include "vm/timer_queue.h"

namespace dejavm::devices::e1000 {

/// Owns ICR, ICS and IMS. After the line rose it does not rise again for the throttling interval, which ITR and the
/// descriptors' delay registers set and which is at least 128 us, as in QEMU: causes that come meanwhile wait in ICR.
class Interrupts {
 public:
  Interrupts(Registers& registers, vm::TimerQueue& timers, std::function<void(bool)> set_line)
      : registers_(registers), timers_(timers), set_line_(std::move(set_line)) {}
  ~Interrupts() { timers_.cancel(hold_off_); }
  Interrupts(const Interrupts&) = delete;
  Interrupts& operator=(const Interrupts&) = delete;

  void raise(uint32_t causes) { set_causes(registers_[kIcr] | causes); }
  void set_causes(uint32_t causes);
  /// What a read of ICR returns; it clears the register.
  uint32_t take_causes();
  void set_mask(uint32_t mask);
  /// A descriptor that was sent allows its interrupt to be delayed.
  void delay_transmit() { delayed_transmit_ = true; }
  /// The registers have been cleared by somebody else.
  void reset();

 private:
  void update();
  uint64_t hold_off_ns(uint32_t pending) const;

  Registers& registers_;
  vm::TimerQueue& timers_;
  std::function<void(bool)> set_line_;
  vm::TimerQueue::Id hold_off_ = 0;
  bool asserted_ = false;
  bool delayed_transmit_ = false;
};

}  // namespace dejavm::devices::e1000
