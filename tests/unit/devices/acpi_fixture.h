// Tables as an operating system finds them.
#pragma once

#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <string>

#include "devices/acpi_image.h"

namespace dejavm::devices {

inline unsigned sum_of(ByteSpan bytes) { return std::accumulate(bytes.begin(), bytes.end(), 0u) & 0xff; }

/// All tables by signature, found from the root pointer.
class FoundTables {
 public:
  /// `address`: where the blob stands.
  FoundTables(const AcpiImage::Placed& placed, uint32_t address) : placed_(placed), address_(address) {
    EXPECT_EQ(std::string(placed.rsdp.begin(), placed.rsdp.begin() + 8), "RSD PTR ");
    EXPECT_EQ(sum_of(placed.rsdp), 0u);
    ByteSpan rsdt = add(load_le<uint32_t>(&placed.rsdp[16]));
    for (size_t at = 36; at < rsdt.size(); at += 4) add(load_le<uint32_t>(&rsdt[at]));
    add(load_le<uint32_t>(&tables_.at("FACP")[40]));
  }

  const std::map<std::string, ByteSpan>& all() const { return tables_; }
  ByteSpan operator[](const std::string& signature) const { return tables_.at(signature); }
  ByteSpan facs() const { return at(load_le<uint32_t>(&tables_.at("FACP")[36])); }

 private:
  ByteSpan at(uint32_t gpa) const {
    ByteSpan rest = ByteSpan(placed_.tables).subspan(gpa - address_);
    return rest.first(load_le<uint32_t>(&rest[4]));
  }
  ByteSpan add(uint32_t gpa) {
    ByteSpan table = at(gpa);
    EXPECT_EQ(sum_of(table), 0u);
    tables_[std::string(table.begin(), table.begin() + 4)] = table;
    return table;
  }

  const AcpiImage::Placed& placed_;
  uint32_t address_;
  std::map<std::string, ByteSpan> tables_;
};

}  // namespace dejavm::devices
