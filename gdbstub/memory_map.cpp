#include "gdbstub/memory_map.h"

#include <fmt/format.h>

#include <algorithm>

namespace dejavm::gdb {

namespace {

std::string region_xml(std::string_view type, uint64_t first, uint64_t last) {
  // A length of 2^64 has no 64 bits: GDB takes 0 for the end of the space.
  return fmt::format("  <memory type=\"{}\" start=\"{:#x}\" length=\"{:#x}\"/>", type, first, last - first + 1);
}

std::string comment(const PhysicalRegion& region) {
  if (region.kind != PhysicalRegion::Kind::device) return "\n";
  std::string name = region.name;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c < ' ' || c > '~' || c == '-' || c == '<' || c == '>'; }, '_');
  return fmt::format("<!-- device {} -->\n", name);
}

}  // namespace

std::string memory_map_xml(const std::vector<PhysicalRegion>& regions) {
  std::string text =
      "<?xml version=\"1.0\"?>\n<!DOCTYPE memory-map PUBLIC \"+//IDN gnu.org//DTD GDB Memory Map V1.0//EN\"\n"
      "  \"http://sourceware.org/gdb/gdb-memory-map.dtd\">\n<memory-map>\n";
  uint64_t next = 0;
  bool whole = false;
  for (const PhysicalRegion& region : regions) {
    if (region.first > next) text += region_xml("ram", next, region.first - 1) + "\n";
    text +=
        region_xml(region.kind == PhysicalRegion::Kind::rom ? "rom" : "ram", region.first, region.last) + comment(region);
    next = region.last + 1;
    whole = next == 0;
  }
  if (!whole) text += region_xml("ram", next, UINT64_MAX) + "\n";
  return text + "</memory-map>\n";
}

}  // namespace dejavm::gdb
