// The virtio PCI transport, modern devices only, laid out as QEMU's with disable-legacy=on. Source: OASIS Virtual I/O Device
// 1.1, sections 2.1 to 2.6 and 4.1; the queue reset of 1.2, section 4.1.4.3.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "devices/msix.h"
#include "devices/pci_device.h"
#include "devices/virtio_queue.h"
#include "vm/deferred_work.h"
#include "vm/timer_queue.h"

namespace dejavm::devices {

/// What the board gives a virtio device. All borrowed.
struct VirtioBoard {
  vm::Bus& bus;
  vm::TimerQueue& timers;
  vm::DeferredWork& deferred;
  vm::Dma& dma;
  /// Delivers MSI messages; where nothing does, the device has no MSI-X capability and interrupts by INTx.
  MsiSink msi;
};

struct VirtioConfig {
  uint16_t device = 0;  ///< virtio's number: 2 block, 4 entropy
  uint32_t class_code = 0;
  uint64_t features = 0;    ///< of this kind of device; the transport adds its own
  uint16_t queue_size = 0;  ///< of the only queue
  Bytes registers;          ///< the device configuration after reset
};

/// The base of a virtio device with one queue. A notification is served when the notifying instruction has completed: the
/// requests that wait are given to serve() one by one, completed in order, and interrupt once. After kWorkAtOnce bytes the
/// rest waits a microsecond of the guest's time, so that the guest never waits for more. A driver that breaks the rules of
/// the queue, or whose request serve() cannot make sense of, finds DEVICE_NEEDS_RESET set and nothing served until it
/// resets. Reserved offsets read as zero and are not written; FEATURES_OK stays clear for features that were not offered.
class VirtioPci : public PciDevice {
 public:
  static constexpr uint64_t kWorkAtOnce = uint64_t{16} << 20;

  VirtioPci(std::string name, const VirtioBoard& board, unsigned devfn, VirtioConfig config);
  ~VirtioPci() override;

  /// Its INTA pin; set once, before the guest runs.
  void connect(vm::IrqLine intx) { set_intx_line(intx); }

  std::string_view name() const override { return name_; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;

 protected:
  /// How a request ended: bytes written to the guest, and bytes moved in all, which count as work.
  struct Served {
    uint32_t written = 0;
    uint64_t moved = 0;
  };
  /// Does one request. None: it is malformed, and the driver has to reset the device.
  virtual std::optional<Served> serve(const VirtioChain& chain) = 0;
  /// The driver wrote the device configuration; nothing is writable unless this makes it so.
  virtual void registers_written(uint64_t offset, uint8_t value);
  /// After a reset of any kind; the configuration has its first value again.
  virtual void virtio_reset() {}

  bool negotiated(unsigned feature) const { return (driver_features_ >> feature & 1) != 0; }
  Bytes& registers() { return registers_; }
  vm::Dma& dma() { return board_.dma; }

 private:
  void add_capabilities();
  void device_reset() final;
  void config_written(unsigned offset, unsigned size) override;
  void config_reading(unsigned offset, unsigned size) override;
  bool config_access(uint64_t& offset, unsigned& size) const;

  void reset_virtio();
  uint32_t read_common(uint64_t offset) const;
  uint32_t read_queue_register(uint64_t offset) const;
  void write_common(uint64_t offset, uint32_t value);
  void write_queue_register(uint64_t offset, uint32_t value);
  void write_status(uint8_t value);
  uint64_t read_registers(uint64_t offset, unsigned size) const;
  uint16_t valid_vector(uint32_t vector) const;

  void notify();
  bool may_work() const;
  void work();
  void finish(bool broken, bool more);
  void interrupt(uint8_t cause, uint16_t vector);
  void drive();

  const std::string name_;
  VirtioBoard board_;
  const VirtioConfig config_;
  const uint64_t offered_;
  std::unique_ptr<Msix> msix_;  // null: no MSI-X
  VirtioQueue queue_;
  vm::TimerQueue::Id timer_ = 0;
  bool notified_ = false;  // work() is posted
  Bytes registers_;
  uint64_t driver_features_ = 0;
  uint32_t device_select_ = 0;
  uint32_t driver_select_ = 0;
  uint16_t queue_select_ = 0;
  uint16_t config_vector_ = 0xffff;
  uint8_t status_ = 0;
  uint8_t isr_ = 0;
};

}  // namespace dejavm::devices
