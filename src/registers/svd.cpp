#include "registers/svd.h"

#include <cstring>
#include <pugixml.hpp>

#include "base/fd.h"
#include "base/parse.h"

namespace dejavm::registers {
namespace {

constexpr uint64_t kMostBytes = uint64_t{16} << 20;
constexpr size_t kMostRegisters = 65536, kMostFields = 256;  // fields: of a register
constexpr unsigned kDeepestCluster = 8;

/// What registers inherit.
struct Defaults {
  uint64_t bits = 32;
  std::string access;
  uint64_t base = 0;
};

std::string text_of(const pugi::xml_node& node, const char* name) { return node.child_value(name); }

Result<uint64_t> number_of(const pugi::xml_node& node, const char* name) {
  std::string text = text_of(node, name);
  auto number = parse_u64(text);
  if (number) return *number;
  return fail(fmt::format("{} '{}': {} '{}' is not a number", node.name(), text_of(node, "name"), name, text));
}

/// `node`'s own size and access, or those from above.
Result<Defaults> inherit(const pugi::xml_node& node, const Defaults& above) {
  Defaults own = above;
  if (node.child("size")) {
    TRY_ASSIGN(own.bits, number_of(node, "size"));
  }
  if (node.child("access")) own.access = text_of(node, "access");
  return own;
}

/// bitOffset and bitWidth, lsb and msb, or bitRange "[msb:lsb]".
Result<vm::RegisterField> parse_field(const pugi::xml_node& node) {
  vm::RegisterField field{.name = text_of(node, "name")};
  uint64_t lsb = 0, msb = 0;
  if (node.child("bitRange")) {
    const std::string text = text_of(node, "bitRange");
    auto range = split(text, ':');
    bool shaped = range.size() == 2 && range[0].starts_with('[') && range[1].ends_with(']');
    auto high = shaped ? parse_u64(range[0].substr(1)) : std::nullopt;
    auto low = shaped ? parse_u64(range[1].substr(0, range[1].size() - 1)) : std::nullopt;
    if (!high || !low) return fail(fmt::format("field '{}' has an unreadable bitRange", field.name));
    msb = *high;
    lsb = *low;
  } else if (node.child("msb")) {
    TRY_ASSIGN(msb, number_of(node, "msb"));
    TRY_ASSIGN(lsb, number_of(node, "lsb"));
  } else {
    TRY_ASSIGN(lsb, number_of(node, "bitOffset"));
    uint64_t width = 1;
    if (node.child("bitWidth")) {
      TRY_ASSIGN(width, number_of(node, "bitWidth"));
    }
    msb = width == 0 || width > 64 || lsb > 63 ? 64 : lsb + width - 1;
  }
  if (field.name.empty() || msb > 63 || lsb > msb) return fail(fmt::format("field '{}' does not fit 64 bits", field.name));
  field.lsb = static_cast<unsigned>(lsb);
  field.width = static_cast<unsigned>(msb - lsb + 1);
  return field;
}

/// A register, or as many as its dim says: "%s" in the name is the number.
Status parse_register(const pugi::xml_node& node, const Defaults& above, vm::RegisterMap& map) {
  TRY_ASSIGN(Defaults own, inherit(node, above));
  vm::Register reg{.name = text_of(node, "name")};
  TRY_ASSIGN(uint64_t offset, number_of(node, "addressOffset"));
  if (reg.name.empty() || own.bits == 0 || own.bits > 64 || own.bits % 8 != 0) {
    return fail(fmt::format("register '{}' has {} bits, which no access has", reg.name, own.bits));
  }
  reg.size = static_cast<unsigned>(own.bits / 8);
  reg.readable = own.access != "write-only" && own.access != "writeOnce";
  reg.writable = own.access != "read-only";
  for (const pugi::xml_node& child : node.child("fields").children("field")) {
    TRY_ASSIGN(vm::RegisterField field, parse_field(child));
    reg.fields.push_back(std::move(field));
    if (reg.fields.size() > kMostFields) return fail(fmt::format("register '{}' has too many fields", reg.name));
  }
  uint64_t count = 1, increment = 0;
  if (node.child("dim")) {
    TRY_ASSIGN(count, number_of(node, "dim"));
    TRY_ASSIGN(increment, number_of(node, "dimIncrement"));
  }
  if (count > kMostRegisters - std::min(kMostRegisters, map.registers.size())) return fail("there are too many registers");
  const std::string name = reg.name;
  for (uint64_t i = 0; i < count; ++i) {
    size_t at = name.find("%s");
    if (at != std::string::npos) reg.name = std::string(name).replace(at, 2, std::to_string(i));
    reg.offset = own.base + offset + i * increment;
    map.registers.push_back(reg);
  }
  return {};
}

Status parse_registers(const pugi::xml_node& node, const Defaults& above, vm::RegisterMap& map, unsigned depth) {
  if (depth > kDeepestCluster) return fail("clusters are nested too deeply");
  for (const pugi::xml_node& child : node.children()) {
    if (std::strcmp(child.name(), "register") == 0) TRY(parse_register(child, above, map));
    if (std::strcmp(child.name(), "cluster") != 0) continue;
    TRY_ASSIGN(Defaults own, inherit(child, above));
    TRY_ASSIGN(uint64_t offset, number_of(child, "addressOffset"));
    own.base += offset;
    TRY(parse_registers(child, own, map, depth + 1));
  }
  return {};
}

}  // namespace

Result<vm::RegisterMap> parse_svd(std::string_view text, std::string_view peripheral) {
  pugi::xml_document document;
  pugi::xml_parse_result parsed = document.load_buffer(text.data(), text.size());
  if (!parsed) return fail(fmt::format("not XML: {} at byte {}", parsed.description(), parsed.offset));
  pugi::xml_node device = document.child("device"), peripherals = device.child("peripherals");
  pugi::xml_node chosen = peripherals.child("peripheral");
  for (const pugi::xml_node& one : peripherals.children("peripheral")) {
    if (text_of(one, "name") == peripheral) chosen = one;
  }
  if (!chosen)
    return fail("there is no peripheral in it", "A register map is CMSIS-SVD XML: device, peripherals, peripheral.");
  vm::RegisterMap map{.device = std::string(peripheral)};
  TRY_ASSIGN(Defaults outer, inherit(device, {}));
  TRY_ASSIGN(Defaults own, inherit(chosen, outer));
  TRY(parse_registers(chosen.child("registers"), own, map, 0));
  if (map.registers.empty()) return fail(fmt::format("peripheral '{}' has no registers", text_of(chosen, "name")));
  return map;
}

Result<vm::RegisterMap> load_svd(const std::string& file_at_device) {
  size_t at = file_at_device.rfind('@');
  if (at == std::string::npos || at == 0 || at + 1 == file_at_device.size()) {
    return fail_usage(fmt::format("'{}' is not FILE@DEVICE", file_at_device), "For example: --svd nic.svd@e1000");
  }
  std::string file = file_at_device.substr(0, at);
  TRY_ASSIGN(Bytes bytes, read_file(file, kMostBytes));
  auto map = parse_svd({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, file_at_device.substr(at + 1));
  if (!map) return fail(fmt::format("{}: {}", file, map.error().what), map.error().next);
  return map;
}

}  // namespace dejavm::registers
