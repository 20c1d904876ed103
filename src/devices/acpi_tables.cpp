#include "devices/acpi_tables.h"

#include "devices/hpet.h"
#include "devices/ioapic.h"
#include "devices/local_apic.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kGib = uint64_t{1} << 30;
constexpr uint64_t kPciEnd = IoApic::kBase;
constexpr uint64_t kPciWindow64 = 2 * kGib;
constexpr uint64_t kPhysicalEnd = uint64_t{1} << 40;
constexpr uint16_t kApmCommand = 0xb2, kGpeBlock = 0xafe0, kResetControl = 0xcf9;
constexpr unsigned kSci = 9;

/// Reserved to the firmware and the system: the waking vector, the global lock.
size_t put_facs(AcpiImage& image) {
  image.align(64);
  size_t at = image.size();
  static constexpr uint8_t kSignature[] = {'F', 'A', 'C', 'S', 64, 0, 0, 0};
  image.put(kSignature);
  image.align(64);
  return at;
}

/// AML: Name (\NAME, value), the value in 64 bits.
void put_aml_name(AcpiImage& image, std::string_view name, uint64_t value) {
  constexpr uint8_t kNameOp = 0x08, kQWordPrefix = 0x0e;
  image.put(kNameOp, 1);
  image.put({reinterpret_cast<const uint8_t*>(name.data()), name.size()});
  image.put(kQWordPrefix, 1);
  image.put(value, 8);
}

size_t put_pci_windows(AcpiImage& image, const RamSplit& ram) {
  // As in QEMU, from the next full GiB on.
  uint64_t base = (4 * kGib + ram.above_4g + kGib - 1) / kGib * kGib;
  bool fits = base + kPciWindow64 <= kPhysicalEnd;
  size_t at = image.begin_table("SSDT", 2);
  put_aml_name(image, "\\W32B", ram.below_4g);
  put_aml_name(image, "\\W32L", kPciEnd - 1);
  put_aml_name(image, "\\W64B", fits ? base : 0);
  put_aml_name(image, "\\W64L", fits ? base + kPciWindow64 - 1 : 0);
  image.end_table();
  return at;
}

/// A generic address: a register of `bits` bits among the ports; port 0: there is none.
void put_port(AcpiImage& image, uint16_t port, uint8_t bits, uint8_t access = 0) {
  image.put(port != 0 ? 1 : 0, 1);
  image.put(port != 0 ? bits : 0, 1);
  image.put(0, 1);
  image.put(port != 0 ? access : 0, 1);
  image.put(port, 8);
}

size_t put_fadt(AcpiImage& image, size_t facs, size_t dsdt, uint16_t pm_base) {
  // WBINVD works; C1 does; no power or sleep button; the PM timer is better than the CPU's counter; reset register.
  constexpr uint32_t kFlags = 1u << 0 | 1u << 2 | 1u << 4 | 1u << 5 | 1u << 10 | 1u << 15;
  constexpr uint16_t kBootFlags = 1u << 0 | 1u << 1 | 1u << 2;  // ISA devices, 8042, no VGA
  const auto control = static_cast<uint16_t>(pm_base + 4), timer = static_cast<uint16_t>(pm_base + 8);
  size_t at = image.begin_table("FACP", 4);
  image.put_pointer(facs, 4);
  image.put_pointer(dsdt, 4);
  image.put(1, 1);  // interrupt model of ACPI 1.0
  image.put(0, 1);  // profile: unspecified
  image.put(kSci, 2);
  image.put(kApmCommand, 4);
  image.put(0xf1, 1);  // ACPI mode on
  image.put(0xf0, 1);  // and off
  image.put(0, 2);
  image.put(pm_base, 4);
  image.put(0, 4);
  image.put(control, 4);
  image.put(0, 8);
  image.put(timer, 4);
  image.put(kGpeBlock, 4);
  image.put(0, 4);
  for (unsigned length : {4, 2, 0, 4, 4, 0}) image.put(length, 1);  // PM1 event, PM1 control, PM2, timer, GPE0, GPE1
  image.put(0, 2);
  image.put(0xfff, 2);  // no C2
  image.put(0xfff, 2);  // no C3
  image.put(0, 8);      // WBINVD flushes; no duty cycle; no alarm registers
  image.put(0x32, 1);   // the RTC's century
  image.put(kBootFlags, 2);
  image.put(0, 1);
  image.put(kFlags, 4);
  put_port(image, kResetControl, 8, 1);
  image.put(0x06, 1);  // what resets
  image.put(0, 3);
  image.put(0, 8);  // the extended pointer to the FACS: the other one holds
  image.put_pointer(dsdt, 8);
  put_port(image, pm_base, 32);
  put_port(image, 0, 0);
  put_port(image, control, 16);
  put_port(image, 0, 0);
  put_port(image, 0, 0);
  put_port(image, timer, 32);
  put_port(image, kGpeBlock, 32);
  put_port(image, 0, 0);
  image.end_table();
  return at;
}

/// ISA line `line` comes in at `gsi`. Flags: bits 0 and 1 polarity, 2 and 3 trigger mode; 0 as the bus has it.
void put_override(AcpiImage& image, unsigned line, uint32_t gsi, uint16_t flags) {
  image.put(2, 1);
  image.put(10, 1);
  image.put(0, 1);  // ISA
  image.put(line, 1);
  image.put(gsi, 4);
  image.put(flags, 2);
}

size_t put_madt(AcpiImage& image) {
  constexpr uint16_t kHighLevel = 0x0d;
  size_t at = image.begin_table("APIC", 1);
  image.put(LocalApic::kBase, 4);
  image.put(1, 4);  // there are two 8259 as well
  image.put(0, 1);  // processor 0 has local APIC 0
  image.put(8, 1);
  image.put(0, 2);
  image.put(1, 4);
  image.put(1, 1);  // I/O APIC 0 has the interrupts from 0 on
  image.put(12, 1);
  image.put(0, 2);
  image.put(IoApic::kBase, 4);
  image.put(0, 4);
  put_override(image, 0, 2, 0);
  for (unsigned line : {5u, kSci, 10u, 11u}) put_override(image, line, line, kHighLevel);
  image.put(4, 1);  // NMI is LINT1 of every processor
  image.put(6, 1);
  image.put(0xff, 1);
  image.put(0, 2);
  image.put(1, 1);
  image.end_table();
  return at;
}

size_t put_hpet(AcpiImage& image) {
  size_t at = image.begin_table("HPET", 1);
  image.put(0x8086a201, 4);  // the low half of its capabilities register
  image.put(0, 4);           // memory
  image.put(Hpet::kBase, 8);
  image.put(0, 4);  // number 0, no minimum period, no page protection
  image.end_table();
  return at;
}

size_t put_waet(AcpiImage& image) {
  size_t at = image.begin_table("WAET", 1);
  image.put(2, 4);  // one read of the PM timer is right
  image.end_table();
  return at;
}

}  // namespace

AcpiImage pc_acpi_tables(const AcpiConfig& config) {
  AcpiImage image;
  size_t facs = put_facs(image);
  size_t dsdt = image.put_table(pc_dsdt());
  size_t fadt = put_fadt(image, facs, dsdt, config.pm_base);
  const size_t tables[] = {fadt, put_madt(image), put_hpet(image), put_waet(image), put_pci_windows(image, config.ram)};
  size_t rsdt = image.begin_table("RSDT", 1);
  for (size_t table : tables) image.put_pointer(table, 4);
  image.end_table();
  image.set_root(rsdt);
  return image;
}

}  // namespace dejavm::devices
