#include "devices/pc.h"

#include <unistd.h>

#include <algorithm>
#include <bit>
#include <iterator>

#include "base/check.h"
#include "base/fd.h"
#include "devices/acpi_tables.h"
#include "devices/boot_tables.h"
#include "devices/pc_memory_map.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_rng.h"
#include "vm/cpu_model.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kMinRam = uint64_t{1} << 20;
constexpr uint64_t kMaxRam = (uint64_t{1} << 40) - (uint64_t{1} << 30);  // all below the 40 bits of a physical address
constexpr uint64_t kMaxBios = uint64_t{16} << 20;
constexpr uint64_t kMaxOptionRom = uint64_t{1} << 20;
constexpr uint16_t kSerialBase = 0x3f8;
constexpr unsigned kTimerIrq = 0, kKeyboardIrq = 1, kSerialIrq = 4, kRtcIrq = 8, kSciIrq = 9;
constexpr unsigned kFirstFreeSlot = 2;
constexpr unsigned kInterruptLine = 0x3c, kInterruptPin = 0x3d;
// What SeaBIOS chooses: the lines of the four PIRQs, the base of the power management ports.
constexpr uint8_t kPirqLines[] = {10, 10, 11, 11};
constexpr uint16_t kPmBase = 0x600;

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

FwCfg::Files fw_cfg_files(uint64_t ram_size) {
  FwCfg::Files files = pc_fw_cfg_files(fw_cfg_config(ram_size));
  AcpiImage acpi = pc_acpi_tables({.ram = split_ram(ram_size)});
  files[kAcpiTablesFile] = acpi.tables();
  files[kAcpiRsdpFile] = acpi.rsdp();
  files[kAcpiLoaderFile] = acpi.loader_script();
  return files;
}

/// A port that a user chose and that is taken is the user's error.
Status at_chosen_port(Status attached, const char* device) {
  if (attached) return attached;
  return fail_usage(fmt::format("-device {}: {}", device, attached.error().what), "Choose another iobase=.");
}

/// The images of the cards' expansion ROMs, filled up to what a base address register can size; empty where there is none.
/// `usual` is the file for cards that name none, where there is such a file.
Result<std::vector<Bytes>> read_option_roms(const std::vector<E1000Request>& requests, const std::string& usual) {
  std::vector<Bytes> images;
  bool have_usual = !usual.empty() && ::access(usual.c_str(), R_OK) == 0;
  for (const E1000Request& request : requests) {
    images.emplace_back();
    std::string file = request.romfile.value_or(have_usual ? usual : "");
    if (file.empty()) continue;
    auto image = read_file(file, kMaxOptionRom);
    if (!image || image->empty()) {
      return fail_usage(fmt::format("-device e1000: romfile={}: {}", file, image ? "the file is empty" : image.error().what),
                        "Name an option ROM, e.g. romfile=/usr/lib/ipxe/qemu/pxe-e1000.rom (Debian's ipxe-qemu), or none: "
                        "romfile=.");
    }
    images.back() = std::move(*image);
    images.back().resize(std::max<size_t>(std::bit_ceil(images.back().size()), vm::kPageSize), 0xff);
  }
  return images;
}

}  // namespace

Result<std::unique_ptr<Pc>> Pc::create(PcConfig config, const Clock& clock) {
  TRY(check_config(config));
  TRY_ASSIGN(PcDevices requests, parse_devices(config.devices));
  TRY_ASSIGN(std::vector<Bytes> option_roms, read_option_roms(requests.e1000, config.e1000_rom));
  uint64_t rom_size = config.bios.size();
  for (const Bytes& image : option_roms) rom_size += image.size();
  TRY_ASSIGN(vm::GuestMemory memory, vm::GuestMemory::create(config.ram_size, rom_size));
  Bytes bios = std::move(config.bios);
  Drives drives;
  TRY(drives.open(config.drives));
  for (const DriveRequest& drive : config.drives) {
    if (drive.wants_device) requests.virtio.push_back({VirtioRequest::Kind::block, {}, drive.id, {}});
  }
  std::vector<uint16_t> debugcon_ports = config.debugcon_output ? config.debugcon_ports : std::vector<uint16_t>{};
  std::unique_ptr<Pc> pc(new Pc(std::move(config), std::move(memory), bios.size(), clock));
  TRY(pc->memory_.write_backing(pc->memory_.ram_size(), bios, vm::Writer::loader));
  TRY(pc->load_option_roms(option_roms));
  pc->drives_ = std::move(drives);
  TRY(pc->attach_board(debugcon_ports));
  TRY(pc->add_devices(requests));
  TRY(pc->reset());
  if (pc->bios_size_ == 0) TRY(pc->write_tables());
  return pc;
}

Pc::Pc(PcConfig config, vm::GuestMemory memory, uint64_t bios_size, const Clock& clock)
    : bios_size_(bios_size),
      memory_(std::move(memory)),
      timers_(clock),
      hpet_(timers_, {isa_irqs_, kTimerIrq}, {isa_irqs_, kRtcIrq}, {irqs_.source(2), 2}),
      pit_(timers_, hpet_.pit_line()),
      rtc_(timers_, hpet_.rtc_line(), config.rtc_start_unix_s, cmos_config(config.ram_size)),
      i8042_({isa_irqs_, kKeyboardIrq}, power_sink()),
      fw_cfg_(pc_fw_cfg_items(fw_cfg_config(config.ram_size)), fw_cfg_files(config.ram_size)),
      serial_("serial0", {isa_irqs_, kSerialIrq}, std::move(config.serial_output)),
      debugcon_(std::move(config.debugcon_output)),
      host_bridge_(
          bus_, [this] { memory_map_written(); }, bios_size_ == 0 ? kShadowedPam : PamRegisters{}),
      isa_bridge_(bus_, irqs_.source(1), power_sink()),
      pm_(bus_, timers_, {isa_irqs_, kSciIrq}, power_sink()),
      pci_host_(pci_, isa_bridge_),
      networks_(std::move(config.networks)) {}

Pc::~Pc() = default;

Status Pc::attach_board(const std::vector<uint16_t>& debugcon_ports) {
  TRY(apic_.attach(bus_));
  TRY(ioapic_.attach(bus_));
  TRY(pic_.attach(bus_));
  TRY(hpet_.attach(bus_));
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
  fw_cfg_.on_select(kAcpiTablesFile, [this] {
    return pc_acpi_tables({.ram = split_ram(memory_.ram_size()), .pm_base = pm_.port_base()}).tables();
  });
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
    for (const VirtioRequest& request : devices.virtio) {
      if (request.devfn.has_value() == placed) TRY(add_virtio(request));
    }
    for (size_t i = 0; i < devices.e1000.size(); ++i) {
      if (devices.e1000[i].devfn.has_value() == placed) TRY(add_e1000(devices.e1000[i], i));
    }
  }
  return {};
}

Status Pc::add_edu(const EduRequest& request) {
  TRY_ASSIGN(unsigned place, this->place(request.devfn, "edu"));
  std::string name = edu_.empty() ? "edu" : fmt::format("edu{}", edu_.size());
  edu_.push_back(std::make_unique<Edu>(std::move(name), bus_, place, timers_, dma_, request.config));
  edu_.back()->connect(isa_bridge_.intx(place, 0), msi_sink());
  bus_.announce(*edu_.back());
  return pci_.add(*edu_.back());
}

Status Pc::add_e1000(const E1000Request& request, size_t number) {
  TRY_ASSIGN(unsigned place, this->place(request.devfn, "e1000"));
  E1000Config config;
  config.mac[5] = static_cast<uint8_t>(config.mac[5] + number);
  if (request.mac) config.mac = *request.mac;
  config.rom_size = option_roms_[number].size;
  if (config.rom_size > 0) config.rom_moved = [this] { memory_map_written(); };
  if (!request.netdev.empty()) {
    auto network = networks_.find(request.netdev);
    if (network == networks_.end()) {
      return fail_usage(fmt::format("-device e1000: there is no network '{}'", request.netdev),
                        fmt::format("Add -netdev user,id={}.", request.netdev));
    }
    config.send = network->second;
  }
  std::string name = number == 0 ? "e1000" : fmt::format("e1000-{}", number);
  auto card = std::make_unique<E1000>(std::move(name), bus_, place, timers_, deferred_, dma_, std::move(config));
  card->connect(isa_bridge_.intx(place, 0));
  bus_.announce(*card);
  TRY(pci_.add(*card));
  if (!request.netdev.empty() && !network_cards_.emplace(request.netdev, card.get()).second) {
    return fail_usage(fmt::format("-device e1000: the network '{}' has a card already", request.netdev),
                      "Give each card a -netdev of its own.");
  }
  e1000_.push_back({std::move(card), option_roms_[number]});
  return {};
}

Status Pc::add_virtio(const VirtioRequest& request) {
  bool block = request.kind == VirtioRequest::Kind::block;
  std::string option = block ? "virtio-blk-pci" : "virtio-rng-pci";
  std::string name = block ? "virtio-blk" : "virtio-rng";
  auto is_named_so = [&name](const auto& device) { return device->name().starts_with(name); };
  auto number = std::count_if(virtio_.begin(), virtio_.end(), is_named_so);
  if (number > 0) name += fmt::format("-{}", number);
  TRY_ASSIGN(unsigned place, this->place(request.devfn, option.c_str()));
  VirtioBoard board{bus_, timers_, deferred_, dma_, msi_sink()};
  std::unique_ptr<VirtioPci> device;
  if (block) {
    TRY_ASSIGN(std::unique_ptr<BlockStore> store, drives_.take(request.drive, option));
    device = std::make_unique<VirtioBlk>(std::move(name), board, place, std::move(store), request.serial);
  } else {
    device = std::make_unique<VirtioRng>(std::move(name), board, place, host_entropy);
  }
  device->connect(isa_bridge_.intx(place, 0));
  bus_.announce(*device);
  TRY(pci_.add(*device));
  virtio_.push_back(std::move(device));
  return {};
}

Result<unsigned> Pc::place(const std::optional<unsigned>& wanted, const char* device) const {
  if (wanted) return *wanted;
  std::optional<unsigned> slot = pci_.free_slot(kFirstFreeSlot);
  if (!slot) return fail_usage(fmt::format("no PCI slot is left for {}", device), "Ask for fewer devices.");
  return devfn(*slot, 0);
}

/// Messages to the local APIC's place in the address space; a write anywhere else is none.
MsiSink Pc::msi_sink() {
  return [this](uint64_t address, uint32_t data) {
    if (address >> 20 == LocalApic::kBase >> 20) apic_.receive(message_of_msi(address, data));
  };
}

PowerSink Pc::power_sink() {
  return [this](vm::PowerEvent event) {
    if (!power_event_) power_event_ = std::move(event);
  };
}

Status Pc::load_option_roms(const std::vector<Bytes>& images) {
  uint64_t offset = memory_.ram_size() + bios_size_;
  for (const Bytes& image : images) {
    TRY(memory_.write_backing(offset, image, vm::Writer::loader));
    option_roms_.push_back({offset, static_cast<uint32_t>(image.size())});
    offset += image.size();
  }
  return {};
}

/// A ROM that the guest puts over other memory is not there: the map has one backing for an address.
void Pc::add_option_roms(std::vector<vm::MemoryRange>& map) const {
  for (const NetworkCard& card : e1000_) {
    std::optional<uint32_t> base = card.device->rom_base();
    if (!base) continue;
    vm::MemoryRange rom{{*base}, card.rom.size, card.rom.offset, false};
    bool free = std::none_of(map.begin(), map.end(), [&rom](const vm::MemoryRange& other) {
      return rom.base.value < other.base.value + other.size && other.base.value < rom.base.value + rom.size;
    });
    if (free) map.push_back(rom);
  }
}

void Pc::memory_map_written() {
  deferred_.post([this] { CHECK(apply_memory_map().has_value()); });
}

Status Pc::apply_memory_map() {
  std::vector<vm::MemoryRange> map = pc_memory_map(memory_.ram_size(), bios_size_, host_bridge_.pam());
  add_option_roms(map);
  std::sort(map.begin(), map.end(), [](const auto& a, const auto& b) { return a.base < b.base; });
  if (map == memory_.map()) return {};
  return memory_.set_map(std::move(map));
}

std::vector<vm::Device*> Pc::all_devices() {
  // The interrupt controllers come first: lines that fall afterwards leave no trace in them.
  std::vector<vm::Device*> devices = {&apic_,     &ioapic_,      &pic_,        &hpet_,   &pit_,
                                      &rtc_,      &i8042_,       &fw_cfg_,     &serial_, &post_,
                                      &debugcon_, &host_bridge_, &isa_bridge_, &pm_,     &pci_host_};
  for (auto& edu : edu_) devices.push_back(edu.get());
  for (auto& card : e1000_) devices.push_back(card.device.get());
  for (auto& virtio : virtio_) devices.push_back(virtio.get());
  for (auto& debug_exit : debug_exit_) devices.push_back(debug_exit.get());
  return devices;
}

/// What firmware does and drivers rely on: PIRQs go to level-triggered lines, each function knows its line, and the power
/// management function answers.
void Pc::set_up_as_firmware() {
  constexpr unsigned kPirqRoute = 0x60, kPmBaseField = 0x40, kPmEnable = 0x80;
  uint16_t level_triggered = 0;
  for (unsigned pirq = 0; pirq < std::size(kPirqLines); ++pirq) {
    isa_bridge_.config_write(kPirqRoute + pirq, 1, kPirqLines[pirq]);
    level_triggered |= static_cast<uint16_t>(1u << kPirqLines[pirq]);
  }
  pic_.write(0, 0x4d0, 1, level_triggered & 0xff);
  pic_.write(0, 0x4d1, 1, level_triggered >> 8);
  pci_.config_write(pm_.function(), kPmBaseField, 4, kPmBase | 1);
  pci_.config_write(pm_.function(), kPmEnable, 1, 1);
  pci_.config_write(pm_.function(), kInterruptLine, 1, kSciIrq);
  for (unsigned function = devfn(kFirstFreeSlot, 0); function < 256; ++function) {
    uint32_t pin = pci_.at(function) != nullptr ? pci_.config_read(function, kInterruptPin, 1) : 0;
    if (pin != 0) pci_.config_write(function, kInterruptLine, 1, kPirqLines[((function >> 3) - 1 + pin - 1) & 3]);
  }
}

Status Pc::write_tables() {
  MpConfig mp;
  for (const vm::CpuidLeaf& leaf : vm::dejavm64_v1().cpuid) {
    if (leaf.function != 1) continue;
    mp.cpu_signature = leaf.eax;
    mp.cpu_features = leaf.edx;
  }
  for (unsigned function = 0; function < 256; ++function) {
    uint32_t pin = pci_.at(function) != nullptr ? pci_.config_read(function, kInterruptPin, 1) : 0;
    if (pin == 0) continue;
    MpPciInterrupt interrupt{function >> 3, pin - 1, pci_.config_read(function, kInterruptLine, 1)};
    if (std::find(mp.pci.begin(), mp.pci.end(), interrupt) == mp.pci.end()) mp.pci.push_back(interrupt);
  }
  return write_boot_tables(memory_, {.ram = split_ram(memory_.ram_size()), .pm_base = pm_.port_base()}, mp);
}

Status Pc::reset() {
  for (vm::Device* device : all_devices()) device->reset();
  power_event_.reset();
  if (bios_size_ == 0) set_up_as_firmware();
  return apply_memory_map();
}

}  // namespace dejavm::devices
