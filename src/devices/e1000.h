// Intel's 82540EM gigabit Ethernet controller, 8086:100e, QEMU's `e1000`. Source: Intel, PCI/PCI-X Family of Gigabit
// Ethernet Controllers Software Developer's Manual (317453).
#pragma once

#include <array>
#include <functional>
#include <string>

#include "devices/e1000_phy.h"
#include "devices/e1000_receive.h"
#include "devices/e1000_transmit.h"
#include "devices/eeprom_microwire.h"
#include "devices/pci_device.h"
#include "vm/deferred_work.h"
#include "vm/network.h"

namespace dejavm::devices {

using MacAddress = std::array<uint8_t, 6>;

struct E1000Config {
  MacAddress mac = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
  uint32_t rom_size = 0;            ///< of the expansion ROM, a power of two of at least 4 KiB; 0: there is none
  std::function<void()> rom_moved;  ///< the ROM is to be looked for at another place; from a configuration write
  vm::FrameSink send;               ///< takes what the card sends; empty: nobody is at the other end
};

/// Registers in BAR 0 (128 KiB), an address and data port pair for them in BAR 1. All registers are 32 bits wide: a smaller
/// read gives the low bits of its register whichever byte is named, a smaller write is extended with zeros, as in QEMU.
/// The expansion ROM is guest memory: the board maps it where rom_base() says. Frames wait outside while the card is not
/// ready. Where it differs from QEMU's: CTRL.RST resets the MAC, BAR 1 works, and a transmit descriptor's IC is obeyed.
class E1000 final : public PciDevice, public vm::FrameReceiver {
 public:
  E1000(std::string name, vm::Bus& bus, unsigned devfn, vm::TimerQueue& timers, vm::DeferredWork& deferred, vm::Dma& dma,
        E1000Config config);

  /// Its INTA pin; set once, before the guest runs.
  void connect(vm::IrqLine intx) { set_intx_line(intx); }
  /// Where the guest sees the expansion ROM; none while it is disabled.
  std::optional<uint32_t> rom_base() const;

  std::string_view name() const override { return name_; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override;
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override;

  bool ready() const override;
  void receive(ByteSpan frame) override;

 private:
  void device_reset() override;
  void config_written(unsigned offset, unsigned size) override;
  void reset_registers();
  uint32_t read_register(uint32_t offset);
  void write_register(uint32_t offset, uint32_t value);
  void write_eecd(uint32_t value);
  uint32_t read_eecd() const;
  uint32_t read_eerd() const;
  void ring_doorbell();
  void send(ByteSpan frame);

  const std::string name_;
  vm::DeferredWork& deferred_;
  const E1000Config config_;
  e1000::Registers registers_;
  e1000::Interrupts interrupts_;
  e1000::Phy phy_;
  MicrowireEeprom eeprom_;
  e1000::Receiver receiver_;
  e1000::Transmitter transmitter_;
  uint32_t io_address_ = 0;
  bool doorbell_posted_ = false;
};

}  // namespace dejavm::devices
