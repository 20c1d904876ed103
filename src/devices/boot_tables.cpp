#include "devices/boot_tables.h"

#include "base/check.h"

namespace dejavm::devices {
namespace {

constexpr uint32_t kEnd = 0x100000;
constexpr uint32_t kMpTable = kBootRsdp + 0x20;

constexpr uint32_t align_up(uint32_t value, uint32_t alignment) { return (value + alignment - 1) / alignment * alignment; }

}  // namespace

Status write_boot_tables(vm::GuestMemory& memory, const AcpiConfig& acpi, const MpConfig& mp) {
  Bytes mp_bytes = mp_table(kMpTable, mp);
  uint32_t tables = align_up(kMpTable + static_cast<uint32_t>(mp_bytes.size()), 64);
  AcpiImage::Placed placed = pc_acpi_tables(acpi).place(tables);
  CHECK(placed.tables.size() <= kEnd - tables);
  TRY(memory.write({kBootRsdp}, placed.rsdp, vm::Writer::loader));
  TRY(memory.write({kMpTable}, mp_bytes, vm::Writer::loader));
  return memory.write({tables}, placed.tables, vm::Writer::loader);
}

}  // namespace dejavm::devices
