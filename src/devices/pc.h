// The `pc` machine: i440FX, PIIX3, PIIX4, and the devices that firmware expects. It follows QEMU's `-M pc -nodefaults`.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/clock.h"
#include "devices/block_options.h"
#include "devices/debug_ports.h"
#include "devices/e1000.h"
#include "devices/edu.h"
#include "devices/fw_cfg.h"
#include "devices/gsi_router.h"
#include "devices/hpet.h"
#include "devices/i440fx.h"
#include "devices/i8042.h"
#include "devices/ioapic.h"
#include "devices/irq_join.h"
#include "devices/local_apic.h"
#include "devices/pc_options.h"
#include "devices/pci_bus.h"
#include "devices/pic.h"
#include "devices/piix3.h"
#include "devices/piix4_pm.h"
#include "devices/pit.h"
#include "devices/power.h"
#include "devices/rtc.h"
#include "devices/serial.h"
#include "devices/virtio_pci.h"
#include "vm/machine.h"

namespace dejavm::devices {

struct PcConfig {
  /// A multiple of 4 KiB, from 1 MiB on; at most 1 TiB - 1 GiB.
  uint64_t ram_size = uint64_t{128} << 20;
  /// The firmware image; a multiple of 4 KiB, at most 16 MiB. Empty: a board without firmware, for guests that are loaded
  /// into RAM. The area below 1 MiB is RAM then, as firmware leaves it.
  Bytes bios;
  /// What the real-time clock shows at the start.
  int64_t rtc_start_unix_s = 0;
  /// Takes the bytes that the serial port at 0x3f8 sends; they are dropped where there is none.
  ByteSink serial_output;
  /// Takes the bytes written to debugcon. Where there is none, nothing answers at the ports.
  ByteSink debugcon_output;
  std::vector<uint16_t> debugcon_ports = {0xe9, 0x402};
  std::vector<DeviceRequest> devices;
  std::vector<DriveRequest> drives;
  /// The option ROM of e1000 cards that name none, where that file is there.
  std::string e1000_rom;
  /// What `-device ...,netdev=ID` may name, and who takes the frames that such a card sends.
  std::map<std::string, vm::FrameSink> networks;
};

/// Owns all devices, the bus, the guest's memory and its time. One thread. Addresses of members are fixed from creation on.
class Pc final : public vm::Machine {
 public:
  /// `clock` is borrowed. Errors name the option that was wrong.
  static Result<std::unique_ptr<Pc>> create(PcConfig config, const Clock& clock);
  ~Pc() override;
  Pc(const Pc&) = delete;
  Pc& operator=(const Pc&) = delete;

  vm::Bus& bus() override { return bus_; }
  vm::GuestMemory& memory() override { return memory_; }
  vm::TimerQueue& timers() override { return timers_; }
  vm::DeferredWork& deferred() override { return deferred_; }

  bool interrupt_pending() override { return apic_.pending() || (pic_.pending() && apic_.passes_external()); }
  uint8_t acknowledge_interrupt() override { return apic_.pending() ? apic_.acknowledge() : pic_.acknowledge(); }

  std::optional<vm::PowerEvent> take_power_event() override { return std::exchange(power_event_, std::nullopt); }
  Status reset() override;

  /// The card of each network in PcConfig::networks that has one.
  const std::map<std::string, vm::FrameReceiver*>& network_cards() const { return network_cards_; }

  /// The serial port that -serial connects.
  vm::ByteInput& serial_input() { return serial_; }

 private:
  Pc(PcConfig config, vm::GuestMemory memory, uint64_t bios_size, const Clock& clock);

  Status attach_board(const std::vector<uint16_t>& debugcon_ports);
  Status add_devices(const PcDevices& devices);
  Status add_edu(const EduRequest& request);
  Status add_e1000(const E1000Request& request, size_t number);
  Status add_virtio(const VirtioRequest& request);
  MsiSink msi_sink();
  Result<unsigned> place(const std::optional<unsigned>& wanted, const char* device) const;
  PowerSink power_sink();
  Status load_option_roms(const std::vector<Bytes>& images);
  void add_option_roms(std::vector<vm::MemoryRange>& map) const;
  void set_up_as_firmware();
  Status write_tables();
  void memory_map_written();
  Status apply_memory_map();
  std::vector<vm::Device*> all_devices();

  /// An expansion ROM's image in the backing behind the firmware; size 0: the device has none.
  struct OptionRom {
    uint64_t offset = 0;
    uint32_t size = 0;
  };
  struct NetworkCard {
    std::unique_ptr<E1000> device;
    OptionRom rom;
  };

  const uint64_t bios_size_;
  // Borrowed by what follows.
  vm::GuestMemory memory_;
  vm::TimerQueue timers_;
  vm::DeferredWork deferred_;
  vm::Dma dma_{memory_};
  vm::Bus bus_;
  std::optional<vm::PowerEvent> power_event_;  // the first request that nobody has taken

  LocalApic apic_{timers_, [this](uint8_t vector) { ioapic_.end_of_interrupt(vector); }};
  IoApic ioapic_{[this](const ApicMessage& message) { apic_.receive(message); }};
  Pic pic_{{apic_, 0}};
  GsiRouter gsis_{pic_, ioapic_};
  IrqJoin irqs_{gsis_};
  vm::IrqSink& isa_irqs_ = irqs_.source(0);
  Hpet hpet_;
  Pit pit_;
  Rtc rtc_;
  I8042 i8042_;
  FwCfg fw_cfg_;
  Serial serial_;
  PostPort post_;
  Debugcon debugcon_;

  PciBus pci_;
  I440fx host_bridge_;
  Piix3 isa_bridge_;
  Piix4Pm pm_;
  PciHost pci_host_;

  std::map<std::string, vm::FrameSink> networks_;
  std::map<std::string, vm::FrameReceiver*> network_cards_;
  std::vector<std::unique_ptr<Edu>> edu_;
  std::vector<NetworkCard> e1000_;
  std::vector<OptionRom> option_roms_;  // in the order of the requests
  std::vector<std::unique_ptr<DebugExit>> debug_exit_;
  Drives drives_;
  std::vector<std::unique_ptr<VirtioPci>> virtio_;
};

}  // namespace dejavm::devices
