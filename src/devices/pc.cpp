#include "devices/pc.h"

#include <algorithm>

#include "base/check.h"
#include "devices/pc_memory_map.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kMinRam = uint64_t{1} << 20;
constexpr uint64_t kMaxRam = (uint64_t{1} << 40) - (uint64_t{1} << 30);  // all below the 40 bits of a physical address
constexpr uint64_t kMaxBios = uint64_t{16} << 20;
constexpr uint16_t kSerialBase = 0x3f8;
constexpr unsigned kTimerIrq = 0, kKeyboardIrq = 1, kSerialIrq = 4, kRtcIrq = 8, kSciIrq = 9;
constexpr unsigned kFirstFreeSlot = 2;

Status check_config(const PcConfig& config) {
  if (config.ram_size < kMinRam || config.ram_size > kMaxRam || config.ram_size % vm::kPageSize != 0) {
    return fail_usage(fmt::format("a pc cannot have {} bytes of RAM", config.ram_size),
                      "-m takes a multiple of 4 KiB from 1M to 1023G.");
  }
  if (config.bios.size() > kMaxBios || config.bios.size() % vm::kPageSize != 0) {
    return fail_usage(fmt::format("a firmware image of {} bytes does not fit", config.bios.size()),
                      "-bios takes an image whose size is a multiple of 4 KiB, at most 16 MiB.");
  }
  return {};
}

CmosConfig cmos_config(uint64_t ram_size) {
  RamSplit ram = split_ram(ram_size);
  return {.ram_below_4g = ram.below_4g, .ram_above_4g = ram.above_4g};
}

FwCfgConfig fw_cfg_config(uint64_t ram_size) {
  RamSplit ram = split_ram(ram_size);
  return {.ram_below_4g = ram.below_4g, .ram_above_4g = ram.above_4g};
}

/// A port that a user chose and that is taken is the user's error.
Status at_chosen_port(Status attached, const char* device) {
  if (attached) return attached;
  return fail_usage(fmt::format("-device {}: {}", device, attached.error().what), "Choose another iobase=.");
}

}  // namespace

Result<std::unique_ptr<Pc>> Pc::create(PcConfig config, const Clock& clock) {
  TRY(check_config(config));
  TRY_ASSIGN(PcDevices requests, parse_devices(config.devices));
  TRY_ASSIGN(vm::GuestMemory memory, vm::GuestMemory::create(config.ram_size, config.bios.size()));
  Bytes bios = std::move(config.bios);
  std::vector<uint16_t> debugcon_ports = config.debugcon_output ? config.debugcon_ports : std::vector<uint16_t>{};
  std::unique_ptr<Pc> pc(new Pc(std::move(config), std::move(memory), clock));
  TRY(pc->memory_.write_backing(pc->memory_.ram_size(), bios, vm::Writer::loader));
  TRY(pc->attach_board(debugcon_ports));
  TRY(pc->add_devices(requests));
  TRY(pc->reset());
  return pc;
}

Pc::Pc(PcConfig config, vm::GuestMemory memory, const Clock& clock)
    : memory_(std::move(memory)),
      timers_(clock),
      pit_(timers_, {isa_irqs_, kTimerIrq}),
      rtc_(timers_, {isa_irqs_, kRtcIrq}, config.rtc_start_unix_s, cmos_config(config.ram_size)),
      i8042_({isa_irqs_, kKeyboardIrq}, power_sink()),
      fw_cfg_(pc_fw_cfg_items(fw_cfg_config(config.ram_size)), pc_fw_cfg_files(fw_cfg_config(config.ram_size))),
      serial_("serial0", {isa_irqs_, kSerialIrq}, std::move(config.serial_output)),
      debugcon_(std::move(config.debugcon_output)),
      host_bridge_(
          bus_, [this] { memory_map_written(); }, memory_.rom_size() == 0 ? kShadowedPam : PamRegisters{}),
      isa_bridge_(bus_, irqs_.source(1), power_sink()),
      pm_(bus_, timers_, {isa_irqs_, kSciIrq}, power_sink()),
      pci_host_(pci_, isa_bridge_) {}

Pc::~Pc() = default;

Status Pc::attach_board(const std::vector<uint16_t>& debugcon_ports) {
  TRY(pic_.attach(bus_));
  TRY(pit_.attach(bus_));
  TRY(rtc_.attach(bus_));
  TRY(i8042_.attach(bus_));
  TRY(fw_cfg_.attach(bus_));
  TRY(serial_.attach(bus_, kSerialBase));
  TRY(post_.attach(bus_));
  TRY(pci_host_.attach(bus_));
  TRY(pm_.attach(bus_));
  TRY(pci_.add(host_bridge_));
  TRY(pci_.add(isa_bridge_));
  TRY(pci_.add(pm_));
  for (uint16_t port : debugcon_ports) TRY(debugcon_.attach(bus_, port));
  return {};
}

Status Pc::add_devices(const PcDevices& devices) {
  for (const DebugconRequest& request : devices.debugcon) {
    const vm::Bus::Mapping* there = bus_.find(vm::Space::pio, request.iobase);
    if (there != nullptr && there->device == &debugcon_) continue;  // -debugcon and -device name the same port
    TRY(at_chosen_port(debugcon_.attach(bus_, request.iobase), "isa-debugcon"));
  }
  for (const DebugExitRequest& request : devices.debug_exit) {
    debug_exit_.push_back(std::make_unique<DebugExit>(power_sink()));
    TRY(at_chosen_port(debug_exit_.back()->attach(bus_, request.iobase, request.iosize), "isa-debug-exit"));
  }
  // Given addresses first, so that a device without one does not take the place of a later device.
  for (bool placed : {true, false}) {
    for (const EduRequest& request : devices.edu) {
      if (request.devfn.has_value() == placed) TRY(add_edu(request));
    }
  }
  return {};
}

Status Pc::add_edu(const EduRequest& request) {
  std::optional<unsigned> slot = request.devfn ? *request.devfn >> 3 : pci_.free_slot(kFirstFreeSlot);
  if (!slot) return fail_usage("no PCI slot is left for edu", "Ask for fewer devices.");
  unsigned place = request.devfn.value_or(devfn(*slot, 0));
  std::string name = edu_.empty() ? "edu" : fmt::format("edu{}", edu_.size());
  edu_.push_back(std::make_unique<Edu>(std::move(name), bus_, place, timers_, dma_, request.config));
  edu_.back()->connect(isa_bridge_.intx(place, 0));
  bus_.announce(*edu_.back());
  return pci_.add(*edu_.back());
}

PowerSink Pc::power_sink() {
  return [this](vm::PowerEvent event) {
    if (!power_event_) power_event_ = std::move(event);
  };
}

void Pc::memory_map_written() {
  deferred_.post([this] { CHECK(apply_memory_map().has_value()); });
}

Status Pc::apply_memory_map() {
  std::vector<vm::MemoryRange> map = pc_memory_map(memory_.ram_size(), memory_.rom_size(), host_bridge_.pam());
  if (map == memory_.map()) return {};
  return memory_.set_map(std::move(map));
}

std::vector<vm::Device*> Pc::all_devices() {
  // The interrupt controller comes first: lines that fall afterwards leave no trace in it.
  std::vector<vm::Device*> devices = {&pic_,  &pit_,      &rtc_,         &i8042_,      &fw_cfg_, &serial_,
                                      &post_, &debugcon_, &host_bridge_, &isa_bridge_, &pm_,     &pci_host_};
  for (auto& edu : edu_) devices.push_back(edu.get());
  for (auto& debug_exit : debug_exit_) devices.push_back(debug_exit.get());
  return devices;
}

Status Pc::reset() {
  for (vm::Device* device : all_devices()) device->reset();
  power_event_.reset();
  return apply_memory_map();
}

}  // namespace dejavm::devices
