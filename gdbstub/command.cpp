#include "gdbstub/command.h"

#include <array>

#include "gdbstub/hex.h"

namespace dejavm::gdb {

namespace {

/// The one vCPU's thread id; 0 is "any" and -1 is "all".
constexpr uint64_t kThread = 1;

/// A whole text that is a thread id of ours.
bool names_our_thread(std::string_view text) {
  if (text == "-1") return true;
  Cursor cursor(text);
  const auto id = cursor.take_hex();
  return id && cursor.done() && (*id == 0 || *id == kThread);
}

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

Command parse_memory_read(Cursor cursor) {
  const auto addr = cursor.take_hex();
  if (!addr || !cursor.take(",")) return Malformed{};
  const auto length = cursor.take_hex();
  if (!length || *length == 0 || !cursor.done()) return Malformed{};
  return ReadMemory{*addr, *length};
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
  if (cursor.done()) return Resume{kind, std::nullopt};
  const auto addr = cursor.take_hex();
  if (!addr || !cursor.done()) return Malformed{};
  return Resume{kind, *addr};
}

/// The "SIGNAL[;ADDR]" of C and S.
Command parse_resume_with_signal(Cursor cursor, ResumeKind kind) {
  if (!cursor.take_hex()) return Malformed{};
  if (!cursor.done() && !cursor.take(";")) return Malformed{};
  return parse_resume(cursor, kind);
}

/// vCont;ACTION[:THREAD]...: the leftmost action that applies to the one thread counts.
Command parse_vcont(Cursor cursor) {
  while (!cursor.done()) {
    Cursor action(cursor.take_until(';'));
    const std::string_view verb = action.take_until(':');
    if (!action.done() && !names_our_thread(action.rest())) continue;
    if (verb.empty()) return Malformed{};
    Cursor signal(verb.substr(1));
    const bool has_signal = verb[0] == 'C' || verb[0] == 'S';
    if (has_signal != signal.take_hex().has_value() || !signal.done()) return Malformed{};
    if (verb[0] == 'c' || verb[0] == 'C') return Resume{ResumeKind::go, std::nullopt};
    if (verb[0] == 's' || verb[0] == 'S') return Resume{ResumeKind::step, std::nullopt};
    if (verb[0] == 't') return StayStopped{};
    return Malformed{};
  }
  return Malformed{};
}

Command parse_breakpoint(Cursor cursor, bool insert) {
  const auto type = cursor.take_hex();
  if (!type || !cursor.take(",")) return Malformed{};
  if (*type > 4) return Unsupported{};
  const auto addr = cursor.take_hex();
  if (!addr || !cursor.take(",")) return Malformed{};
  const auto length = cursor.take_hex();
  if (!length || !cursor.done()) return Malformed{};
  return ChangeBreakpoint{insert, static_cast<uint8_t>(*type), {*addr}, *length};
}

Command parse_select_thread(Cursor cursor) {
  if (!cursor.take("c") && !cursor.take("g")) return Malformed{};
  return NameThread{names_our_thread(cursor.rest())};
}

Command parse_supported(Cursor cursor) {
  QuerySupported query;
  while (!cursor.done()) {
    const std::string_view feature = cursor.take_until(';');
    query.swbreak |= feature == "swbreak+";
    query.hwbreak |= feature == "hwbreak+";
  }
  return query;
}

Command parse_features(Cursor cursor) {
  std::string annex(cursor.take_until(':'));
  const auto offset = cursor.take_hex();
  if (!offset || !cursor.take(",")) return Malformed{};
  const auto length = cursor.take_hex();
  if (!length || !cursor.done()) return Malformed{};
  return ReadFeatures{std::move(annex), *offset, *length};
}

Command parse_monitor(Cursor cursor) {
  const auto text = from_hex(cursor.rest());
  if (!text) return Malformed{};
  return Monitor{std::string(text->begin(), text->end())};
}

Command parse_physical_mode(Cursor cursor) {
  const auto on = cursor.take_hex();
  if (!on || *on > 1 || !cursor.done()) return Malformed{};
  return SetPhysicalMode{*on == 1};
}

/// Packets that are one fixed text.
std::optional<Command> parse_fixed(std::string_view payload) {
  if (payload == "?") return QueryStop{};
  if (payload == "g") return ReadRegisters{};
  if (payload == "!") return ExtendedMode{};
  if (payload == "D" || payload == "D;1") return Detach{};
  if (payload == "k") return Kill{.reply = false};
  if (payload == "r") return Restart{};
  if (payload == "bc") return Resume{ResumeKind::reverse_go, std::nullopt};
  if (payload == "bs") return Resume{ResumeKind::reverse_step, std::nullopt};
  if (payload == "vCont?") return QueryVCont{};
  if (payload == "qC") return QueryThread{};
  if (payload == "qfThreadInfo") return FirstThreads{};
  if (payload == "qsThreadInfo") return NextThreads{};
  if (payload == "qqemu.Supported") return QueryQemuFeatures{};
  if (payload == "qqemu.PhyMemMode") return QueryPhysicalMode{};
  if (payload == "QStartNoAckMode") return StartNoAckMode{};
  return std::nullopt;
}

/// Packets whose name is a word.
Command parse_word(Cursor cursor) {
  if (cursor.take("vCont;")) return parse_vcont(cursor);
  if (cursor.take("vKill;")) return Kill{.reply = true};
  if (cursor.take("vRun")) return RunProgram{};
  if (cursor.take("qSupported")) return cursor.take(":"), parse_supported(cursor);
  if (cursor.take("qXfer:features:read:")) return parse_features(cursor);
  if (cursor.take("qThreadExtraInfo,")) return ThreadDescription{names_our_thread(cursor.rest())};
  if (cursor.take("qAttached")) return QueryAttached{};
  if (cursor.take("qRcmd,")) return parse_monitor(cursor);
  if (cursor.take("qSymbol:")) return QuerySymbols{};
  if (cursor.take("Qqemu.PhyMemMode:")) return parse_physical_mode(cursor);
  return Unsupported{};
}

}  // namespace

Command parse_command(std::string_view payload) {
  if (payload.empty()) return Unsupported{};
  if (auto command = parse_fixed(payload)) return *command;
  const Cursor arguments(payload.substr(1));
  switch (payload[0]) {
    case 'G':
      return parse_registers_write(arguments);
    case 'p':
      return parse_register_read(arguments);
    case 'P':
      return parse_register_write(arguments);
    case 'm':
      return parse_memory_read(arguments);
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
      return parse_word(Cursor(payload));
  }
}

}  // namespace dejavm::gdb
