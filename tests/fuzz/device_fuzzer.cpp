// Feeds random lists of reads, writes, time steps and serial input to every device of the pc.
// Each action is 8 bytes: what, size, then an address or a time, then a value.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "devices/pc.h"

namespace dejavm::devices {
namespace {

constexpr size_t kActionSize = 8;
constexpr size_t kMaxActions = 2000;
constexpr uint64_t kBar = 0xfea00000;
constexpr uint64_t kCardBar = 0xfeb00000;

std::unique_ptr<Pc> make_pc(const Clock& clock) {
  PcConfig config;
  config.ram_size = uint64_t{1} << 20;
  config.bios = Bytes(vm::kPageSize, 0xf4);
  config.debugcon_output = [](uint8_t) {};
  config.networks["lan"] = [](ByteSpan) {};
  config.devices = {{"edu", {{"addr", "04.0"}}}, {"e1000", {{"addr", "05.0"}, {"netdev", "lan"}}}, {"isa-debug-exit", {}}};
  auto pc = Pc::create(std::move(config), clock);
  CHECK(pc.has_value());
  return std::move(*pc);
}

/// A register of some device, or an address near one: the address picks from the table of the moment.
uint64_t pick_address(Pc& pc, vm::Space space, uint16_t choice) {
  std::vector<vm::DeviceRegion> regions = pc.bus().regions();
  std::erase_if(regions, [&](const vm::DeviceRegion& region) { return region.space != space; });
  if (regions.empty()) return choice;
  const vm::DeviceRegion& region = regions[choice % regions.size()];
  return region.base + (choice / regions.size()) % (region.size + 4);
}

/// The e1000: where drivers find it, its registers, and frames from outside.
void perform_card(Pc& pc, const uint8_t* action) {
  auto choice = load_le<uint16_t>(action + 2);
  auto value = load_le<uint32_t>(action + 4);
  auto store = [&pc](vm::Space space, uint64_t address, uint64_t what) {
    pc.bus().access({space, vm::Direction::write, 4, address, what});
  };
  // Registers of the rings and those that start something.
  static constexpr uint16_t kRegisters[] = {0x0000, 0x0010, 0x0020, 0x00c8, 0x00d0, 0x0100, 0x0400, 0x2800,
                                            0x2808, 0x2810, 0x2818, 0x3800, 0x3808, 0x3810, 0x3818, 0x5200};
  switch (action[0] & 3) {
    case 0:
      store(vm::Space::pio, 0xcf8, 0x80002810);
      store(vm::Space::pio, 0xcfc, kCardBar);
      store(vm::Space::pio, 0xcf8, 0x80002804);
      store(vm::Space::pio, 0xcfc, 7);
      break;
    case 1:
      store(vm::Space::mmio, kCardBar + kRegisters[choice % std::size(kRegisters)], value);
      break;
    case 2: {  // a descriptor in the first pages, where small ring addresses lead
      Bytes bytes(action + 2, action + 8);
      static_cast<void>(pc.memory().write({(choice & 0xffu) * 16 + 8 * (action[1] & 1)}, bytes, vm::Writer::loader));
      break;
    }
    default: {
      Bytes frame(14 + choice % 17000, action[1]);
      store_le(frame.data(), value);
      for (const auto& [id, card] : pc.network_cards()) {
        static_cast<void>(card->ready());
        card->receive(frame);
      }
      break;
    }
  }
}

/// The HPET's registers, with values near its counter and near the ends of their range.
void perform_hpet(Pc& pc, const uint8_t* action) {
  static constexpr uint16_t kRegisters[] = {0x010, 0x020, 0x0f0, 0x100, 0x108, 0x120, 0x128, 0x140, 0x148};
  uint64_t address = Hpet::kBase + kRegisters[load_le<uint16_t>(action + 2) % std::size(kRegisters)];
  uint64_t value = load_le<uint32_t>(action + 4);
  if ((action[1] & 1) != 0) value = ~value;
  if ((action[1] & 2) != 0) value += pc.bus().access({vm::Space::mmio, vm::Direction::read, 8, Hpet::kBase + 0xf0, 0});
  uint8_t size = (action[1] & 4) != 0 ? 8 : 4;
  pc.bus().access({vm::Space::mmio, vm::Direction::write, size, address, low_bytes(value, size)});
}

/// A register of the local APIC, or an entry of the IOAPIC.
void perform_apics(Pc& pc, const uint8_t* action) {
  auto choice = load_le<uint16_t>(action + 2);
  auto store = [&pc](uint64_t address, uint64_t value) {
    pc.bus().access({vm::Space::mmio, vm::Direction::write, 4, address, value});
  };
  uint64_t value = load_le<uint32_t>(action + 4);
  if ((action[1] & 1) != 0) {
    store(IoApic::kBase, choice % 0x48);
    store(IoApic::kBase + 0x10, value);
  } else {
    store(LocalApic::kBase + (choice & 0x3fu) * 16, value);
  }
}

void perform(Pc& pc, ManualClock& clock, const uint8_t* action) {
  static constexpr uint8_t kSizes[] = {1, 2, 4, 8, 3, 5, 6, 7};
  auto choice = load_le<uint16_t>(action + 2);
  auto value = load_le<uint32_t>(action + 4);
  vm::Space space = (action[0] & 0x10) != 0 ? vm::Space::mmio : vm::Space::pio;
  uint8_t size = kSizes[action[1] & 7];
  if ((action[0] & 0x08) != 0) {
    perform_card(pc, action);
    pc.deferred().run();
    return;
  }
  switch (action[0] & 7) {
    case 0:
    case 1: {
      vm::Direction direction = (action[0] & 1) != 0 ? vm::Direction::write : vm::Direction::read;
      uint64_t wide = low_bytes(uint64_t{value} << 32 | value, size);
      pc.bus().access(
          {space, direction, size, pick_address(pc, space, choice), vm::Direction::write == direction ? wide : 0});
      break;
    }
    case 2:  // a configuration register of one of the functions
      pc.bus().access({vm::Space::pio, vm::Direction::write, 4, 0xcf8, 0x80000000 | (choice & 0x3ffcu)});
      pc.bus().access({vm::Space::pio, vm::Direction::write, 4, 0xcfc, value});
      break;
    case 3:  // edu where drivers find it
      pc.bus().access({vm::Space::pio, vm::Direction::write, 4, 0xcf8, 0x80002010});
      pc.bus().access({vm::Space::pio, vm::Direction::write, 4, 0xcfc, kBar});
      pc.bus().access({vm::Space::pio, vm::Direction::write, 4, 0xcf8, 0x80002004});
      pc.bus().access({vm::Space::pio, vm::Direction::write, 2, 0xcfc, 6});
      break;
    case 4:
      if (space == vm::Space::pio) {
        perform_hpet(pc, action);
        break;
      }
      pc.bus().access({vm::Space::mmio, vm::Direction::write, 8, kBar + (choice & 0xffu), value});
      break;
    case 5: {
      uint64_t shift = action[1] % 40;
      clock.advance(uint64_t{choice} << shift);
      pc.timers().run_due(pc.timers().now_ns());
      break;
    }
    case 6:
      pc.serial_input().receive({action + 2, size_t{6}});
      break;
    default:
      if (space == vm::Space::mmio) perform_apics(pc, action);
      if (pc.interrupt_pending()) pc.acknowledge_interrupt();
      if (pc.take_power_event()) CHECK(pc.reset().has_value());
      break;
  }
  pc.deferred().run();
}

}  // namespace
}  // namespace dejavm::devices

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dejavm::devices;
  dejavm::ManualClock clock;
  std::unique_ptr<Pc> pc = make_pc(clock);
  size_t actions = std::min(size / kActionSize, kMaxActions);
  for (size_t i = 0; i < actions; ++i) perform(*pc, clock, data + i * kActionSize);
  return 0;
}
