#include <fmt/format.h>

#include <span>

#include "gdbstub/register_table.h"
#include "gdbstub/registers.h"

namespace dejavm::gdb {

namespace {

struct Flag {
  std::string_view name;
  unsigned bit;
  unsigned last_bit;
};

// Bits as in the AMD64 APM volume 2, sections 3.1.1 (CR0), 3.1.3 (CR4), 3.1.6 (RFLAGS), 3.1.7 (EFER); MXCSR: volume 1,
// section 4.2.2.
constexpr Flag kEflagsBits[] = {{"CF", 0, 0},     {"", 1, 1},      {"PF", 2, 2},   {"AF", 4, 4},   {"ZF", 6, 6},
                                {"SF", 7, 7},     {"TF", 8, 8},    {"IF", 9, 9},   {"DF", 10, 10}, {"OF", 11, 11},
                                {"IOPL", 12, 13}, {"NT", 14, 14},  {"RF", 16, 16}, {"VM", 17, 17}, {"AC", 18, 18},
                                {"VIF", 19, 19},  {"VIP", 20, 20}, {"ID", 21, 21}};
constexpr Flag kMxcsrBits[] = {{"IE", 0, 0},   {"DE", 1, 1},   {"ZE", 2, 2},   {"OE", 3, 3},   {"UE", 4, 4},
                               {"PE", 5, 5},   {"DAZ", 6, 6},  {"IM", 7, 7},   {"DM", 8, 8},   {"ZM", 9, 9},
                               {"OM", 10, 10}, {"UM", 11, 11}, {"PM", 12, 12}, {"RC", 13, 14}, {"FZ", 15, 15}};
constexpr Flag kCr0Bits[] = {{"PE", 0, 0},   {"MP", 1, 1},   {"EM", 2, 2},   {"TS", 3, 3},   {"ET", 4, 4},  {"NE", 5, 5},
                             {"WP", 16, 16}, {"AM", 18, 18}, {"NW", 29, 29}, {"CD", 30, 30}, {"PG", 31, 31}};
constexpr Flag kCr4Bits[] = {{"VME", 0, 0},    {"PVI", 1, 1},        {"TSD", 2, 2},          {"DE", 3, 3},
                             {"PSE", 4, 4},    {"PAE", 5, 5},        {"MCE", 6, 6},          {"PGE", 7, 7},
                             {"PCE", 8, 8},    {"OSFXSR", 9, 9},     {"OSXMMEXCPT", 10, 10}, {"UMIP", 11, 11},
                             {"LA57", 12, 12}, {"FSGSBASE", 16, 16}, {"PCIDE", 17, 17},      {"OSXSAVE", 18, 18},
                             {"SMEP", 20, 20}, {"SMAP", 21, 21},     {"PKE", 22, 22}};
constexpr Flag kEferBits[] = {{"SCE", 0, 0},    {"LME", 8, 8},     {"LMA", 10, 10},   {"NXE", 11, 11},
                              {"SVME", 12, 12}, {"LMSLE", 13, 13}, {"FFXSR", 14, 14}, {"TCE", 15, 15}};

std::string flags_type(std::string_view id, unsigned size, std::span<const Flag> flags) {
  std::string text = fmt::format("  <flags id=\"{}\" size=\"{}\">\n", id, size);
  for (const Flag& flag : flags) {
    text += fmt::format("    <field name=\"{}\" start=\"{}\" end=\"{}\"/>\n", flag.name, flag.bit, flag.last_bit);
  }
  return text + "  </flags>\n";
}

/// The ways to look at an SSE register; the member names are the ones that GDB's users know.
std::string vector_types() {
  struct Lane {
    std::string_view id, element, member;
    unsigned count;
  };
  constexpr Lane kLanes[] = {{"v4f", "ieee_single", "v4_float", 4}, {"v2d", "ieee_double", "v2_double", 2},
                             {"v16i8", "int8", "v16_int8", 16},     {"v8i16", "int16", "v8_int16", 8},
                             {"v4i32", "int32", "v4_int32", 4},     {"v2i64", "int64", "v2_int64", 2}};
  std::string text;
  std::string members;
  for (const Lane& lane : kLanes) {
    text += fmt::format("  <vector id=\"{}\" type=\"{}\" count=\"{}\"/>\n", lane.id, lane.element, lane.count);
    members += fmt::format("    <field name=\"{}\" type=\"{}\"/>\n", lane.member, lane.id);
  }
  return text + "  <union id=\"vec128\">\n" + members + "    <field name=\"uint128\" type=\"uint128\"/>\n  </union>\n";
}

std::string types_of(Feature feature) {
  switch (feature) {
    case Feature::core:
      return flags_type("i386_eflags", 4, kEflagsBits);
    case Feature::segments:
    case Feature::mmx:
      return {};
    case Feature::system:
      return flags_type("x64_cr0", 8, kCr0Bits) + flags_type("x64_cr4", 8, kCr4Bits) + flags_type("x64_efer", 8, kEferBits);
    case Feature::sse:
      return vector_types() + flags_type("i386_mxcsr", 4, kMxcsrBits);
  }
  return {};
}

std::string feature_xml(std::string_view name, Feature feature) {
  std::string text = fmt::format("<feature name=\"{}\">\n{}", name, types_of(feature));
  for (unsigned number = 0; number < kRegisters.size(); ++number) {
    const RegisterInfo& info = kRegisters[number];
    if (info.feature != feature) continue;
    const std::string group = info.group.empty() ? "" : fmt::format(" group=\"{}\"", info.group);
    // GDB saves and restores registers around a call that the user makes; those that only we have stay out of it.
    const std::string keep = number < kPacketRegisterCount ? "" : " save-restore=\"no\"";
    text += fmt::format("  <reg name=\"{}\" bitsize=\"{}\" type=\"{}\" regnum=\"{}\"{}{}/>\n", info.name, info.size * 8,
                        info.type, number, group, keep);
  }
  return text + "</feature>\n";
}

}  // namespace

std::string target_xml() {
  return "<?xml version=\"1.0\"?>\n<!DOCTYPE target SYSTEM \"gdb-target.dtd\">\n<target version=\"1.0\">\n"
         "<architecture>i386:x86-64</architecture>\n" +
         feature_xml("org.gnu.gdb.i386.core", Feature::core) + feature_xml("org.gnu.gdb.i386.sse", Feature::sse) +
         feature_xml("org.gnu.gdb.i386.segments", Feature::segments) + feature_xml("org.dejavm.i386.mmx", Feature::mmx) +
         feature_xml("org.dejavm.i386.system", Feature::system) + "</target>\n";
}

}  // namespace dejavm::gdb
