#include "cli/state_monitor.h"

#include <algorithm>
#include <array>
#include <type_traits>

#include "base/parse.h"
#include "cli/debugger_memory.h"
#include "cli/state_text.h"
#include "vm/cpu_fields.h"
#include "vm/instruction.h"

namespace dejavm::cli {
namespace {

constexpr uint64_t kMostValues = 65536;  // that one x or xp shows
constexpr std::string_view kLetters = "xduoci", kSizes = "bhwg";
constexpr const char* kHowToExamine = "For example: x/8xg $rsp, xp/4xw 0xb8000, x/5i $rip.";

std::string value_text(uint64_t value, char letter, unsigned size) {
  int64_t negative = static_cast<int64_t>(value << (64 - 8 * size)) >> (64 - 8 * size);
  static constexpr std::array<int, 4> kDecimal = {4, 6, 11, 20}, kUnsigned = {3, 5, 10, 20}, kOctal = {3, 6, 11, 22};
  auto width = [size](const std::array<int, 4>& widths) {
    return widths[size == 1 ? 0 : size == 2 ? 1 : size == 4 ? 2 : 3];
  };
  switch (letter) {
    case 'd':
      return fmt::format("{:>{}}", negative, width(kDecimal));
    case 'u':
      return fmt::format("{:>{}}", value, width(kUnsigned));
    case 'o':
      return fmt::format("0{:0{}o}", value, width(kOctal));
    case 'c':
      return value >= ' ' && value < 127 && value != '\'' && value != '\\' ? fmt::format("'{}'", static_cast<char>(value))
                                                                           : fmt::format("'\\x{:02x}'", value);
    default:
      return fmt::format("0x{:0{}x}", value, 2 * size);
  }
}

/// By the names of CpuState's fields; and as QEMU and gdb call some: eax, eip, pc, eflags.
std::optional<uint64_t> register_value(const vm::CpuState& cpu, std::string_view name) {
  if (name == "rip" || name == "eip" || name == "pc") return cpu.linear_rip();
  if (name == "eflags") return cpu.rflags;
  bool half = name.size() == 3 && name[0] == 'e';
  std::string field = half ? "r" + std::string(name.substr(1)) : std::string(name);
  std::optional<uint64_t> found;
  vm::for_each_field(cpu, [&](const std::string& known, const auto& value, unsigned) {
    if constexpr (std::is_same_v<std::decay_t<decltype(value)>, uint64_t>) {
      if (known == field) found = half ? value & UINT32_MAX : value;
    }
  });
  return found;
}

}  // namespace

bool StateMonitor::knows(std::string_view word) {
  std::string_view verb = word.substr(0, word.find('/'));
  return word == "info" || verb == "x" || verb == "xp";
}

std::string StateMonitor::help() {
  return "info registers | mem | tlb | mtree                           as QEMU shows them; mem and tlb are the page tables\n"
         "info pic                                                     the last accesses to the interrupt controllers\n"
         "x /FMT ADDR | xp /FMT ADDR                                   memory, linear or physical: COUNT, x d u o c i, b h "
         "w g;\n"
         "                                                             ADDR may have $rsp and the like, + and -\n";
}

Result<std::string> StateMonitor::execute(const Arguments& words) {
  return words[0] == "info" ? info(words) : examine(words);
}

// ---- info

Result<std::string> StateMonitor::info(const Arguments& words) const {
  std::string_view what = words.size() >= 2 ? words[1] : "";
  if (what == "pic" && words.size() == 2) return interrupt_controllers();
  bool flat = words.size() == 3 && words[2] == "-f";  // there is no other view
  if (what == "mtree" && (words.size() == 2 || flat)) return address_spaces_text(session_.memory(), session_.devices());
  if (words.size() == 2 && (what == "registers" || what == "mem" || what == "tlb")) {
    TRY_ASSIGN(vm::CpuState cpu, session_.vcpu().state());
    if (what == "registers") return registers_text(cpu);
    return what == "mem" ? linear_ranges_text(cpu, session_.memory()) : pages_text(cpu, session_.memory());
  }
  return fail_usage(fmt::format("info knows nothing of '{}'", what), "info registers, mem, tlb, mtree, pic, replay.");
}

/// The devices of a replay are not there, and those of a live guest are not asked: the guest's own accesses tell.
Result<std::string> StateMonitor::interrupt_controllers() const {
  std::string text;
  for (const char* device : {"pic", "ioapic", "lapic"}) {
    const vm::RegisterMap* map = registers_.of(device);
    if (map == nullptr) continue;
    for (const vm::Register& one : map->registers) {
      for (vm::Direction direction : {vm::Direction::write, vm::Direction::read}) {
        vm::AccessFilter filter;
        if (!registers_.parse(fmt::format("{}.{}", device, one.name), session_.devices(), filter)) continue;
        filter.direction = direction;
        TRY_ASSIGN(auto seen, session_.last_access(filter));
        if (!seen || seen->access.direction != direction) continue;  // a live guest knows the last access only
        const vm::DeviceRegion* region = vm::find_region(session_.devices(), seen->access.space, seen->access.addr);
        text += fmt::format("{}, event {}\n", registers_.describe(seen->access, region), seen->event);
      }
    }
  }
  return text.empty() ? "no access to an interrupt controller so far\n" : text;
}

// ---- x and xp

Result<StateMonitor::Format> StateMonitor::parse_format(std::string_view text, char letter, unsigned size) {
  Format format{.count = 1, .letter = letter, .size = size};
  size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  if (digits != 0) {
    auto count = parse_u64(text.substr(0, digits));
    if (!count || *count == 0 || *count > kMostValues)
      return fail_usage(fmt::format("x: {} values are not possible", text.substr(0, digits)), "1 to 65536.");
    format.count = *count;
  }
  for (char c : text.substr(digits)) {
    if (kLetters.find(c) != std::string_view::npos) {
      format.letter = c;
    } else if (size_t at = kSizes.find(c); at != std::string_view::npos) {
      format.size = 1u << at;
    } else {
      return fail_usage(fmt::format("x: '{}' is neither a format nor a size", c), kHowToExamine);
    }
  }
  return format;
}

Result<uint64_t> StateMonitor::evaluate(const Arguments& words, size_t from) const {
  std::string text;
  for (size_t i = from; i < words.size(); ++i) text += words[i];
  TRY_ASSIGN(vm::CpuState cpu, session_.vcpu().state());
  uint64_t sum = 0;
  size_t at = 0;
  for (bool first = true; first || at < text.size(); first = false) {
    bool minus = at < text.size() && text[at] == '-';
    if (at < text.size() && (minus || text[at] == '+')) ++at;
    size_t end = std::min(text.find_first_of("+-", at), text.size());
    std::string_view term = std::string_view(text).substr(at, end - at);
    auto value = term.starts_with('$') ? register_value(cpu, term.substr(1)) : parse_u64(term);
    if (!value) return fail_usage(fmt::format("x: '{}' is neither a number nor a register", term), kHowToExamine);
    sum = minus ? sum - *value : sum + *value;
    at = end;
  }
  return sum;
}

Result<std::string> StateMonitor::examine(const Arguments& words) {
  std::string_view verb = words[0];
  bool physical = verb.starts_with("xp");
  size_t slash = verb.find('/');
  std::string_view text = slash == std::string_view::npos ? "" : verb.substr(slash + 1);
  size_t address_at = 1;
  if (slash == std::string_view::npos && words.size() > 1 && words[1].starts_with('/')) {  // "xp /4xw 0": QEMU's spelling
    text = words[1].substr(1);
    address_at = 2;
  }
  if (words.size() <= address_at) return fail_usage(fmt::format("{} wants an address", verb), kHowToExamine);
  TRY_ASSIGN(Format format, parse_format(text, last_.letter, last_.size));
  TRY_ASSIGN(uint64_t address, evaluate(words, address_at));
  last_ = format;
  if (format.letter == 'i') return instructions(address, format.count, physical);
  return values(address, format, physical);
}

size_t StateMonitor::read(uint64_t address, MutableByteSpan to, bool physical) const {
  return physical ? read_physical(session_, {address}, to) : read_virtual(session_, {address}, to);
}

Result<std::string> StateMonitor::values(uint64_t address, const Format& format, bool physical) const {
  unsigned size = format.letter == 'c' ? 1 : format.size;
  Bytes bytes(format.count * size);
  size_t whole = read(address, bytes, physical) / size;
  size_t in_line = size == 1 ? 8 : 16 / size;
  std::string text;
  for (size_t i = 0; i < whole; ++i) {
    if (i % in_line == 0) text += fmt::format("{}{:016x}:", i == 0 ? "" : "\n", address + i * size);
    uint64_t value = 0;
    for (unsigned byte = 0; byte < size; ++byte) value |= uint64_t{bytes[i * size + byte]} << 8 * byte;
    text += " " + value_text(value, format.letter, size);
  }
  if (whole != 0) text += "\n";
  if (whole < format.count) text += fmt::format("{:016x}: Cannot access memory\n", address + whole * size);
  return text;
}

Result<std::string> StateMonitor::instructions(uint64_t address, uint64_t count, bool physical) const {
  TRY_ASSIGN(vm::CpuState cpu, session_.vcpu().state());
  std::string text;
  for (uint64_t i = 0; i < count; ++i) {
    std::array<uint8_t, 15> bytes;
    size_t got = read(address, bytes, physical);
    if (got == 0) return text + fmt::format("{:#x}: Cannot access memory\n", address);
    auto info = vm::decode_instruction({bytes.data(), got}, cpu.code_bits());
    text += fmt::format("{:#x}: {}\n", address, vm::disassemble({bytes.data(), got}, cpu.code_bits(), {address}));
    if (!info) break;
    address += info->length;
  }
  return text;
}

}  // namespace dejavm::cli
