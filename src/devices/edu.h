// QEMU's educational PCI device, 1234:11e8. Source: QEMU docs/specs/edu.txt.
#pragma once

#include <array>
#include <cstdint>

#include "devices/pci_device.h"
#include "vm/deferred_work.h"
#include "vm/timer_queue.h"

namespace dejavm::devices {

struct EduConfig {
  uint64_t dma_mask = 0x0fffffff;    ///< address bits that DMA can drive
  uint64_t dma_delay_us = 100;       ///< from the command to the transfer
  uint64_t factorial_delay_us = 10;  ///< from the operand to the result
};

/// Registers in BAR 0 (1 MiB); accesses of 4 bytes below 0x80, of 4 or 8 from there on. Others are not written and read as
/// in QEMU: zero below 4 bytes, all ones for 8 bytes below 0x80. Registers that do not exist read as all ones. Where QEMU's
/// device ends the emulator (a DMA range outside its buffer), this one drops the transfer: the start bit clears, nothing is
/// copied and no interrupt is raised. A transfer touches no memory, but completes, when bus mastering is off or a guest
/// address is not memory. MSI can be enabled, but is never delivered (see PciDevice).
class Edu final : public PciDevice {
 public:
  Edu(std::string name, vm::Bus& bus, unsigned devfn, vm::TimerQueue& timers, vm::Dma& dma, const EduConfig& config);
  ~Edu() override;

  /// Its INTA pin; set once, before the guest runs.
  void connect(vm::IrqLine intx, MsiSink msi = {}) {
    set_intx_line(intx);
    set_msi_sink(std::move(msi));
  }

  std::string_view name() const override { return name_; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;

 private:
  static constexpr uint64_t kBufferStart = 0x40000;
  static constexpr uint64_t kBufferSize = 4096;

  struct DmaRegisters {
    uint64_t source = 0;
    uint64_t destination = 0;
    uint64_t count = 0;
    uint64_t command = 0;
  };

  void device_reset() override;
  void start_factorial(uint32_t operand);
  void finish_factorial();
  uint64_t* dma_register(uint64_t offset);
  void write_dma(uint64_t offset, unsigned size, uint64_t value);
  void finish_dma();
  void transfer(uint64_t offset, uint64_t guest_address, bool to_guest);
  void raise(uint32_t bits);

  const std::string name_;
  vm::TimerQueue& timers_;
  vm::Dma& dma_;
  const EduConfig config_;
  vm::TimerQueue::Id factorial_timer_ = 0;
  vm::TimerQueue::Id dma_timer_ = 0;
  uint32_t liveness_ = 0;
  uint32_t factorial_ = 0;
  uint32_t status_ = 0;
  uint32_t interrupts_ = 0;
  DmaRegisters registers_;
  std::array<uint8_t, kBufferSize> buffer_{};
};

}  // namespace dejavm::devices
