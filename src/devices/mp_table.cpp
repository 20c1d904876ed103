#include "devices/mp_table.h"

#include <numeric>
#include <string_view>

#include "devices/ioapic.h"
#include "devices/local_apic.h"

namespace dejavm::devices {
namespace {

constexpr size_t kPointerSize = 16, kHeaderSize = 44;
constexpr uint8_t kProcessor = 0, kBus = 1, kIoApicEntry = 2, kIoInterrupt = 3, kLocalInterrupt = 4;
constexpr uint8_t kVectored = 0, kNmi = 1, kExtInt = 3;
constexpr uint8_t kPciBus = 0, kIsaBus = 1;
constexpr uint8_t kAsTheBus = 0, kActiveHigh = 1;                        // bits 0 and 1 of an entry's flags
constexpr uint32_t kPciLines = 1u << 5 | 1u << 9 | 1u << 10 | 1u << 11;  // no ISA device has them
constexpr unsigned kTimerLine = 0, kCascadeLine = 2, kTimerPin = 2, kLines = 16;

void put(Bytes& to, uint64_t value, unsigned size) {
  for (unsigned i = 0; i < size; ++i) to.push_back(static_cast<uint8_t>(value >> (8 * i)));
}

void put(Bytes& to, std::string_view text) { to.insert(to.end(), text.begin(), text.end()); }

void put_bus(Bytes& to, uint8_t number, std::string_view name) {
  put(to, kBus, 1);
  put(to, number, 1);
  put(to, name);
}

void put_interrupt(Bytes& to, uint8_t entry, uint8_t type, uint8_t flags, uint8_t bus, unsigned source, uint8_t apic,
                   unsigned pin) {
  put(to, entry, 1);
  put(to, type, 1);
  put(to, flags, 2);
  put(to, bus, 1);
  put(to, source, 1);
  put(to, apic, 1);
  put(to, pin, 1);
}

/// All entries; counts them.
Bytes entries(const MpConfig& config, uint16_t& count) {
  Bytes bytes;
  put(bytes, kProcessor, 1);
  put(bytes, 0, 1);     // local APIC 0
  put(bytes, 0x14, 1);  // its version
  put(bytes, 3, 1);     // enabled; the one that starts
  put(bytes, config.cpu_signature, 4);
  put(bytes, config.cpu_features, 4);
  put(bytes, 0, 8);
  put_bus(bytes, kPciBus, "PCI   ");
  put_bus(bytes, kIsaBus, "ISA   ");
  put(bytes, kIoApicEntry, 1);
  put(bytes, 0, 1);     // I/O APIC 0
  put(bytes, 0x11, 1);  // its version
  put(bytes, 1, 1);     // enabled
  put(bytes, IoApic::kBase, 4);
  count = 4;
  for (const MpPciInterrupt& pci : config.pci) {
    put_interrupt(bytes, kIoInterrupt, kVectored, kActiveHigh, kPciBus, pci.slot << 2 | pci.pin, 0, pci.line);
    ++count;
  }
  for (unsigned line = 0; line < kLines; ++line) {
    if (line == kCascadeLine || (kPciLines >> line & 1) != 0) continue;
    unsigned pin = line == kTimerLine ? kTimerPin : line;
    put_interrupt(bytes, kIoInterrupt, kVectored, kAsTheBus, kIsaBus, line, 0, pin);
    ++count;
  }
  put_interrupt(bytes, kLocalInterrupt, kExtInt, kAsTheBus, kIsaBus, 0, 0, 0);
  put_interrupt(bytes, kLocalInterrupt, kNmi, kAsTheBus, kIsaBus, 0, 0xff, 1);
  count = static_cast<uint16_t>(count + 2);
  return bytes;
}

/// Makes the sum of the bytes from `start` on 0.
void set_checksum(Bytes& bytes, size_t start, size_t size, size_t field) {
  bytes[field] = static_cast<uint8_t>(0u - std::accumulate(&bytes[start], &bytes[start] + size, 0u));
}

}  // namespace

Bytes mp_table(uint32_t address, const MpConfig& config) {
  uint16_t count = 0;
  Bytes body = entries(config, count);
  Bytes bytes;
  put(bytes, "_MP_");
  put(bytes, address + kPointerSize, 4);
  put(bytes, kPointerSize / 16, 1);
  put(bytes, 4, 1);  // version 1.4
  put(bytes, 0, 6);  // checksum; the configuration is in the table; interrupts start in virtual wire mode
  put(bytes, "PCMP");
  put(bytes, kHeaderSize + body.size(), 2);
  put(bytes, 4, 1);
  put(bytes, 0, 1);  // checksum
  put(bytes, "BOCHSCPU0.1         ");
  put(bytes, 0, 6);  // no table of the OEM
  put(bytes, count, 2);
  put(bytes, LocalApic::kBase, 4);
  put(bytes, 0, 4);  // no extended entries
  bytes.insert(bytes.end(), body.begin(), body.end());
  set_checksum(bytes, 0, kPointerSize, 10);
  set_checksum(bytes, kPointerSize, bytes.size() - kPointerSize, kPointerSize + 7);
  return bytes;
}

}  // namespace dejavm::devices
