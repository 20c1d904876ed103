#include "gdbstub/command.h"

#include <array>

#include "gdbstub/command_words.h"
#include "gdbstub/hex.h"
#include "gdbstub/packet.h"

namespace dejavm::gdb {

namespace {

std::optional<Bytes> bytes_of(std::string_view text) { return Bytes(text.begin(), text.end()); }

Command parse_register_read(Cursor cursor) {
  const auto number = cursor.take_hex();
  if (!number || !cursor.done()) return Malformed{};
  return ReadRegister{*number};
}

Command parse_register_write(Cursor cursor) {
  const auto number = cursor.take_hex();
  if (!number || !cursor.take("=")) return Malformed{};
  auto value = from_hex(cursor.rest());
  if (!value) return Malformed{};
  return WriteRegister{*number, std::move(*value)};
}

Command parse_registers_write(Cursor cursor) {
  auto values = from_hex(cursor.rest());
  if (!values) return Malformed{};
  return WriteRegisters{std::move(*values)};
}

template <typename Request>
Command parse_memory_read(Cursor cursor, uint64_t least) {
  const auto addr = cursor.take_hex();
  if (!addr || !cursor.take(",")) return Malformed{};
  const auto length = cursor.take_hex();
  if (!length || *length < least || !cursor.done()) return Malformed{};
  return Request{*addr, *length};
}

/// M and X: the data follow in the encoding that `decode` understands, and are as long as was announced.
template <typename Decode>
Command parse_memory_write(Cursor cursor, Decode decode) {
  const auto addr = cursor.take_hex();
  if (!addr || !cursor.take(",")) return Malformed{};
  const auto length = cursor.take_hex();
  if (!length || !cursor.take(":")) return Malformed{};
  std::optional<Bytes> data = decode(cursor.rest());
  if (!data || data->size() != *length) return Malformed{};
  return WriteMemory{*addr, std::move(*data)};
}

/// The "[ADDR]" of c and s.
Command parse_resume(Cursor cursor, ResumeKind kind) {
  if (cursor.done()) return Resume{{kind}, std::nullopt};
  const auto addr = cursor.take_hex();
  if (!addr || !cursor.done()) return Malformed{};
  return Resume{{kind}, *addr};
}

/// The "SIGNAL[;ADDR]" of C and S.
Command parse_resume_with_signal(Cursor cursor, ResumeKind kind) {
  if (!cursor.take_hex()) return Malformed{};
  if (!cursor.done() && !cursor.take(";")) return Malformed{};
  return parse_resume(cursor, kind);
}

/// The "[;]XLENGTH,BYTES..." behind a breakpoint, bytes in hexadecimal.
std::optional<std::vector<Bytes>> parse_conditions(Cursor cursor) {
  std::vector<Bytes> conditions;
  while (!cursor.done()) {
    cursor.take(";");
    if (!cursor.take("X")) return std::nullopt;
    const auto length = cursor.take_hex();
    if (!length || *length == 0 || !cursor.take(",")) return std::nullopt;
    const auto digits = cursor.take_count(*length > kMaxPayload ? kMaxPayload : *length * 2);
    auto code = digits ? from_hex(*digits) : std::nullopt;
    if (!code) return std::nullopt;
    conditions.push_back(std::move(*code));
  }
  return conditions;
}

Command parse_breakpoint(Cursor cursor, bool insert) {
  const auto type = cursor.take_hex();
  if (!type || !cursor.take(",")) return Malformed{};
  if (*type > 4) return Unsupported{};
  const auto addr = cursor.take_hex();
  if (!addr || !cursor.take(",")) return Malformed{};
  const auto length = cursor.take_hex();
  if (!length) return Malformed{};
  auto conditions = parse_conditions(cursor);
  const bool can_have_conditions = insert && *type <= 1;
  if (!conditions || (!conditions->empty() && !can_have_conditions)) return Malformed{};
  return ChangeBreakpoint{insert, static_cast<uint8_t>(*type), {*addr}, *length, std::move(*conditions)};
}

Command parse_select_thread(Cursor cursor) {
  if (!cursor.take("c") && !cursor.take("g")) return Malformed{};
  return NameThread{names_our_thread(cursor.rest())};
}

/// LLDB names a thread behind the packets that read and write registers: ";thread:1;". False: it is none of ours.
bool take_thread_suffix(std::string_view& payload) {
  constexpr std::string_view kSuffix = ";thread:";
  const size_t at = payload.rfind(kSuffix);
  if (at == std::string_view::npos) return true;
  std::string_view thread = payload.substr(at + kSuffix.size());
  if (thread.ends_with(';')) thread.remove_suffix(1);
  payload = payload.substr(0, at);
  return names_our_thread(thread);
}

Command parse_register_packet(std::string_view payload) {
  if (!take_thread_suffix(payload)) return Malformed{};
  const Cursor arguments(payload.substr(1));
  switch (payload[0]) {
    case 'g':
      return arguments.done() ? Command(ReadRegisters{}) : Malformed{};
    case 'G':
      return parse_registers_write(arguments);
    case 'p':
      return parse_register_read(arguments);
    default:
      return parse_register_write(arguments);
  }
}

/// Packets that are one fixed text without a name.
std::optional<Command> parse_fixed(std::string_view payload) {
  if (payload == "?") return QueryStop{};
  if (payload == "!") return ExtendedMode{};
  if (payload == "D" || payload == "D;1") return Detach{};
  if (payload == "k") return Kill{.reply = false};
  if (payload == "r") return Restart{};
  if (payload == "bc") return Resume{{ResumeKind::reverse_go}, std::nullopt};
  if (payload == "bs") return Resume{{ResumeKind::reverse_step}, std::nullopt};
  return std::nullopt;
}

}  // namespace

Command parse_command(std::string_view payload) {
  if (payload.empty()) return Unsupported{};
  if (auto command = parse_fixed(payload)) return *command;
  const Cursor arguments(payload.substr(1));
  switch (payload[0]) {
    case 'g':
    case 'G':
    case 'p':
    case 'P':
      return parse_register_packet(payload);
    case 'm':
      return parse_memory_read<ReadMemory>(arguments, 1);
    case 'x':
      return parse_memory_read<ReadMemoryBinary>(arguments, 0);
    case 'M':
      return parse_memory_write(arguments, from_hex);
    case 'X':
      return parse_memory_write(arguments, bytes_of);
    case 'c':
      return parse_resume(arguments, ResumeKind::go);
    case 's':
      return parse_resume(arguments, ResumeKind::step);
    case 'C':
      return parse_resume_with_signal(arguments, ResumeKind::go);
    case 'S':
      return parse_resume_with_signal(arguments, ResumeKind::step);
    case 'Z':
      return parse_breakpoint(arguments, true);
    case 'z':
      return parse_breakpoint(arguments, false);
    case 'H':
      return parse_select_thread(arguments);
    case 'T':
      return NameThread{names_our_thread(arguments.rest())};
    case 'R':
      return Restart{};
    default:
      return parse_word(payload);
  }
}

}  // namespace dejavm::gdb
