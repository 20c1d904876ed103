// The 8254 programmable interval timer (ports 0x40 to 0x43) and the system control port B (0x61) that gates its counter 2.
// Sources: Intel 8254 datasheet (231164); PIIX3 datasheet (290550), NMI status and control register.
#pragma once

#include <array>

#include "devices/pit_channel.h"
#include "devices/tick_rate.h"
#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"
#include "vm/timer_queue.h"

namespace dejavm::devices {

/// Counter 0 drives an interrupt line: each rise of its OUT makes an edge. Rises that were due while the guest could not run
/// make one edge together, because the interrupt controller remembers only one. Registers are numbered by port.
class Pit final : public vm::Device {
 public:
  static constexpr uint64_t kHz = 1193182;

  Pit(vm::TimerQueue& timers, vm::IrqLine irq);
  ~Pit() override;
  Pit(const Pit&) = delete;
  Pit& operator=(const Pit&) = delete;

  Status attach(vm::Bus& bus);

  std::string_view name() const override { return "pit"; }
  uint64_t read(unsigned region, uint64_t port, unsigned size) override;
  void write(unsigned region, uint64_t port, unsigned size, uint64_t value) override;
  void reset() override;

 private:
  uint64_t now() const { return rate_.ticks(timers_.now_ns()); }
  void write_control(uint8_t word);
  uint8_t read_port_b();
  void schedule();
  void rise();

  TickRate rate_{kHz};
  vm::TimerQueue& timers_;
  vm::IrqLine irq_;
  vm::TimerQueue::Id timer_ = 0;
  std::array<PitChannel, 3> channels_{PitChannel(true), PitChannel(true), PitChannel(false)};
  uint8_t port_b_ = 0;  // bits 0 (gate of counter 2) and 1 (speaker data), 2 and 3 (check enables, remembered only)
};

}  // namespace dejavm::devices
