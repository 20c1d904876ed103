// ACPI tables before it is known where they stand: bytes, and what must be done to them there. Source: QEMU
// hw/acpi/bios-linker-loader.c for the script that QEMU's firmware executes; ACPI specification 6.3, section 5.2.
#pragma once

#include <string_view>
#include <vector>

#include "base/bytes.h"

namespace dejavm::devices {

/// Names of the files that QEMU gives its firmware.
inline constexpr const char* kAcpiTablesFile = "etc/acpi/tables";
inline constexpr const char* kAcpiRsdpFile = "etc/acpi/rsdp";
inline constexpr const char* kAcpiLoaderFile = "etc/table-loader";

/// A blob of tables and the root pointer to it. Both hold pointers, as offsets in the blob until they are placed, and zeros
/// where checksums go. The same steps serve a firmware (loader_script) and a guest without one (place).
class AcpiImage {
 public:
  /// Begins a table of the blob with a header whose length is filled in by end_table().
  size_t begin_table(std::string_view signature, uint8_t revision);
  void end_table();
  /// Appends little-endian bytes to the blob.
  void put(uint64_t value, unsigned size);
  void put(ByteSpan bytes) { tables_.insert(tables_.end(), bytes.begin(), bytes.end()); }
  /// Appends zeros up to a multiple of `alignment`.
  void align(size_t alignment);
  size_t size() const { return tables_.size(); }
  /// Appends a pointer of `size` bytes (4 or 8) to what stands at `offset` of the blob.
  void put_pointer(size_t offset, unsigned size);
  /// A table that was made elsewhere, with its header and any checksum.
  size_t put_table(ByteSpan table);
  /// Makes the root pointer (revision 0) to the RSDT at `rsdt`.
  void set_root(size_t rsdt);

  /// The files of fw_cfg.
  const Bytes& tables() const { return tables_; }
  const Bytes& rsdp() const { return rsdp_; }
  /// Allocates both files, adds their addresses to the pointers, then makes the sums of the tables and of the root 0.
  Bytes loader_script() const;

  struct Placed {
    Bytes tables;
    Bytes rsdp;
  };
  /// What the firmware would make of it with the blob at `address`.
  Placed place(uint32_t address) const;

 private:
  struct Pointer {
    size_t at;
    unsigned size;
  };
  struct Checked {
    size_t start;
    size_t size;
  };

  Bytes tables_;
  Bytes rsdp_;
  size_t open_ = 0;  // where the table begins that is being written
  std::vector<Pointer> pointers_;
  std::vector<Checked> checked_;
};

}  // namespace dejavm::devices
