#include "devices/e1000.h"

#include <bit>
#include <numeric>

#include "base/check.h"

namespace dejavm::devices {
namespace {

using namespace e1000;  // the names of its parts

constexpr PciIdentity kIdentity{
    .vendor = 0x8086, .device = 0x100e, .revision = 3, .class_code = 0x020000, .interrupt_pin = 1};
constexpr unsigned kRegisterBar = 0, kIoBar = 1;
constexpr uint32_t kRegisterSpace = 128 << 10, kIoSpace = 64;
constexpr unsigned kPciCommand = 0x04, kRomAddress = 0x30;
constexpr uint8_t kMemoryEnable = 2, kRomEnable = 1;

// EECD: clock, select, data in, data out; then grant and present, which the card drives.
constexpr uint32_t kEecdClock = 1, kEecdSelect = 2, kEecdDataIn = 4, kEecdDataOut = 8, kEecdRequest = 0x40;
constexpr uint32_t kEecdWritable = kEecdClock | kEecdSelect | kEecdDataIn | 0x30 | kEecdRequest;
constexpr uint32_t kEecdGrantPresent = 0x180;
constexpr uint32_t kEerdStart = 1, kEerdDone = 0x10;

constexpr unsigned kChecksumWord = 63;
constexpr uint16_t kEepromSum = 0xbaba;  // of all words

/// What QEMU's card holds, but for the address (words 0 to 2) and the checksum.
MicrowireEeprom::Words eeprom_words(const MacAddress& mac) {
  MicrowireEeprom::Words words = {0,      0,      0,      0,      0xffff, 0,      0,      0,      0x3000, 0x1000,
                                  0x6403, 0x100e, 0x8086, 0x100e, 0x8086, 0x3040, 0x0008, 0x2000, 0x7e14, 0x0048,
                                  0x1000, 0x00d8, 0x0000, 0x2700, 0x6cc9, 0x3150, 0x0722, 0x040b, 0x0984, 0x0000,
                                  0xc000, 0x0706, 0x1008, 0x0000, 0x0f04, 0x7fff, 0x4d01};
  for (unsigned i = 37; i < kChecksumWord; ++i) words[i] = 0xffff;
  words[48] = 0x0100;
  words[49] = 0x4000;
  words[50] = 0x121c;
  for (unsigned i = 0; i < 3; ++i) words[i] = load_le<uint16_t>(&mac[2 * i]);
  unsigned sum = std::accumulate(words.begin(), words.begin() + kChecksumWord, 0u);
  words[kChecksumWord] = static_cast<uint16_t>(kEepromSum - sum);
  return words;
}

}  // namespace

E1000::E1000(std::string name, vm::Bus& bus, unsigned devfn, vm::TimerQueue& timers, vm::DeferredWork& deferred,
             vm::Dma& dma, E1000Config config)
    : PciDevice(bus, devfn, kIdentity),
      name_(std::move(name)),
      deferred_(deferred),
      config_(std::move(config)),
      interrupts_(registers_, timers, [this](bool level) { set_intx(level); }),
      phy_(registers_, interrupts_, timers),
      eeprom_(eeprom_words(config_.mac)),
      receiver_(registers_, interrupts_, dma),
      transmitter_(registers_, interrupts_, timers, dma, [this](ByteSpan frame) { send(frame); }) {
  add_bar(kRegisterBar, vm::Space::mmio, kRegisterSpace, 4);
  add_bar(kIoBar, vm::Space::pio, kIoSpace, 4);
  if (config_.rom_size == 0) return;
  CHECK(std::has_single_bit(config_.rom_size) && config_.rom_size >= vm::kPageSize);
  set_writable(kRomAddress, 1, kRomEnable);
  for (unsigned i = 1; i < 4; ++i) {
    set_writable(kRomAddress + i, 1, static_cast<uint8_t>(~(config_.rom_size - 1) >> (8 * i)));
  }
}

std::optional<uint32_t> E1000::rom_base() const {
  bool enabled = (config(kRomAddress) & kRomEnable) != 0 && (config(kPciCommand) & kMemoryEnable) != 0;
  if (config_.rom_size == 0 || !enabled) return std::nullopt;
  uint32_t base = 0;
  for (unsigned i = 0; i < 4; ++i) base |= uint32_t{config(kRomAddress + i)} << (8 * i);
  base &= ~(config_.rom_size - 1);
  if (base == 0 || uint64_t{base} + config_.rom_size >= uint64_t{1} << 32) return std::nullopt;
  return base;
}

void E1000::device_reset() {
  phy_.reset();
  eeprom_.reset();
  io_address_ = 0;
  reset_registers();
  if (config_.rom_moved) config_.rom_moved();
}

void E1000::config_written(unsigned offset, unsigned size) {
  auto touches = [&](unsigned first, unsigned count) { return offset < first + count && first < offset + size; };
  if (config_.rom_moved && (touches(kPciCommand, 1) || touches(kRomAddress, 4))) config_.rom_moved();
  if (touches(kPciCommand, 1) && bus_master()) ring_doorbell();
}

void E1000::reset_registers() {
  registers_.clear();
  registers_[kCtrl] = 0x00140240;
  registers_[kStatus] = 0x80080781 | (phy_.link_up() ? kStatusLinkUp : 0);
  registers_[kVet] = 0x8100;
  registers_[kLedctl] = 0x0602;
  registers_[kPba] = 0x00100030;
  registers_[kManc] = 0x00222300;
  registers_[kRa] = load_le<uint32_t>(config_.mac.data());
  registers_[kRa + 4] = load_le<uint16_t>(&config_.mac[4]) | 0x80000000;
  transmitter_.reset();
  interrupts_.reset();
}

uint64_t E1000::read(unsigned region, uint64_t offset, unsigned size) {
  if (region == kRegisterBar) return low_bytes(read_register(static_cast<uint32_t>(offset) & ~3u), size);
  if (offset < 4) return low_bytes(io_address_, size);
  return offset < 8 ? low_bytes(read_register(io_address_), size) : 0;
}

void E1000::write(unsigned region, uint64_t offset, unsigned, uint64_t value) {
  auto word = static_cast<uint32_t>(value);
  if (region == kRegisterBar) {
    write_register(static_cast<uint32_t>(offset) & ~3u, word);
  } else if (offset < 4) {
    io_address_ = word & (kRegisterSpace - 4);
  } else if (offset < 8) {
    write_register(io_address_, word);
  }
}

uint32_t E1000::read_register(uint32_t offset) {
  if (offset >= Registers::kSize) return 0;
  switch (offset) {
    case kIcr:
      return interrupts_.take_causes();
    case kEecd:
      return read_eecd();
    case kEerd:
      return read_eerd();
    default:
      break;
  }
  uint32_t value = registers_[offset];
  bool counter = offset >= kStatistics && offset < kStatisticsEnd && offset != kFcruc;
  if (counter) registers_[offset] = 0;
  return value;
}

void E1000::write_register(uint32_t offset, uint32_t value) {
  if (offset >= Registers::kSize) return;
  switch (offset) {
    case kCtrl:
      if ((value & kCtrlReset) != 0) return reset_registers();
      registers_[kCtrl] = value;
      return;
    case kEecd:
      return write_eecd(value);
    case kEerd:
      registers_[kEerd] = value;
      return;
    case kMdic:
      return phy_.mdic_written(value);
    case kIcr:
      return interrupts_.set_causes(registers_[kIcr] & ~value);
    case kIcs:
      return interrupts_.raise(value);
    case kIms:
      return interrupts_.set_mask(registers_[kIms] | value);
    case kImc:
      return interrupts_.set_mask(registers_[kIms] & ~value);
    default:
      break;
  }
  uint32_t bits = writable_bits(offset);
  if (bits != 0) registers_[offset] = value & bits;
  if (offset == kTdt || offset == kTctl) ring_doorbell();
}

void E1000::write_eecd(uint32_t value) {
  registers_[kEecd] = value & kEecdWritable;
  eeprom_.drive((value & kEecdSelect) != 0, (value & kEecdClock) != 0, (value & kEecdDataIn) != 0);
}

uint32_t E1000::read_eecd() const { return registers_[kEecd] | kEecdGrantPresent | (eeprom_.data_out() ? kEecdDataOut : 0); }

uint32_t E1000::read_eerd() const {
  uint32_t value = (registers_[kEerd] & 0xffff & ~kEerdStart) | kEerdDone;
  uint32_t index = value >> 8 & 0xff;
  return index < MicrowireEeprom::kWords ? value | uint32_t{eeprom_.word(index)} << 16 : value;
}

void E1000::ring_doorbell() {
  if (doorbell_posted_) return;
  doorbell_posted_ = true;
  deferred_.post([this] {
    doorbell_posted_ = false;
    if (bus_master()) transmitter_.doorbell();
  });
}

void E1000::send(ByteSpan frame) {
  if (phy_.loopback()) {
    receiver_.receive(frame);
  } else if (config_.send) {
    config_.send(frame);
  }
}

bool E1000::ready() const { return bus_master() && (registers_[kStatus] & kStatusLinkUp) != 0 && receiver_.ready(); }

void E1000::receive(ByteSpan frame) {
  if (bus_master() && (registers_[kStatus] & kStatusLinkUp) != 0) receiver_.receive(frame);
}

}  // namespace dejavm::devices
