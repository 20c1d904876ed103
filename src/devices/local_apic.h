// The local APIC of the only CPU, in xAPIC mode at 0xfee00000. Source: Intel SDM volume 3, chapter 10; version, timer
// frequency and the state after reset as QEMU's (hw/intc/apic_common.c).
#pragma once

#include <array>
#include <cstdint>
#include <functional>

#include "devices/apic_message.h"
#include "devices/apic_timer.h"
#include "devices/interrupt_vectors.h"
#include "vm/bus.h"
#include "vm/device.h"
#include "vm/irq_line.h"
#include "vm/timer_queue.h"

namespace dejavm::devices {

/// Takes messages, keeps what waits by priority, and gives it to the CPU. LINT0 has the 8259's INTR on it and lets it
/// through (ExtINT) from reset on, as firmware would have set it up. Not there: x2APIC, TSC deadlines, moving the window,
/// SMIs and NMIs (nothing on the board makes one; messages of such a kind, INIT, start-up and ExtINT are dropped), and the
/// link between the TPR and CR8: each keeps its own value and only the TPR holds interrupts back.
class LocalApic final : public vm::Device, public vm::IrqSink {
 public:
  static constexpr uint64_t kBase = 0xfee00000;
  /// Told of the end of a level-triggered interrupt.
  using EoiSink = std::function<void(uint8_t vector)>;

  LocalApic(vm::TimerQueue& timers, EoiSink end_of_interrupt);

  Status attach(vm::Bus& bus) { return bus.map(*this, 0, vm::Space::mmio, kBase, 0x1000, 4); }

  std::string_view name() const override { return "lapic"; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;
  void reset() override;

  /// A message for anybody: taken if it is for this APIC.
  void receive(const ApicMessage& message);
  /// The level of LINT0 (pin 0), where the 8259's INTR is. There is nothing on LINT1.
  void set_line(unsigned pin, bool level) override;

  /// Whether the 8259's interrupts reach the CPU: LINT0 is in ExtINT mode and not masked.
  bool passes_external() const;
  /// Whether an interrupt of enough priority waits.
  bool pending() const { return next_ != 0; }
  /// The vector that enters the CPU now; only while pending().
  uint8_t acknowledge();

 private:
  enum Lvt : unsigned { kTimer, kThermal, kPerformance, kLint0, kLint1, kError };
  static constexpr unsigned kLvts = 6;

  uint32_t read_register(unsigned number);
  void write_register(unsigned number, uint32_t value);
  void write_spurious(uint32_t value);
  void write_lvt(unsigned number, uint32_t value);
  void end_of_interrupt();
  void send(uint32_t command);
  bool is_for_us(uint8_t destination, bool logical) const;
  void deliver(DeliveryMode mode, uint8_t vector, bool level);
  void deliver_local(Lvt lvt);
  void note_error(uint32_t bit);
  bool enabled() const { return (spurious_ >> 8 & 1) != 0; }
  bool masked(Lvt lvt) const { return (lvt_[lvt] >> 16 & 1) != 0; }
  DeliveryMode mode(Lvt lvt) const { return static_cast<DeliveryMode>(lvt_[lvt] >> 8 & 7); }
  uint8_t processor_priority() const;
  void update();

  EoiSink eoi_;
  ApicTimer timer_;
  InterruptVectors requested_, in_service_, level_triggered_;  // IRR, ISR, TMR
  std::array<uint32_t, kLvts> lvt_{};
  uint32_t spurious_ = 0;
  uint32_t command_ = 0, command_destination_ = 0;  // ICR
  uint32_t errors_ = 0, seen_errors_ = 0;           // collected; as the ESR shows them since it was written
  uint8_t id_ = 0;
  uint8_t task_priority_ = 0;
  uint8_t logical_id_ = 0;
  uint8_t logical_model_ = 0;  // 15 flat, 0 clusters
  bool lint0_level_ = false;
  uint8_t next_ = 0;  // what acknowledge() gives; 0: nothing
};

}  // namespace dejavm::devices
