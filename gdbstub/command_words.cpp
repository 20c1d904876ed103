#include "gdbstub/command_words.h"

#include "gdbstub/hex.h"

namespace dejavm::gdb {

namespace {

/// The one vCPU's thread id; 0 is "any" and -1 is "all".
constexpr uint64_t kThread = 1;

/// vCont's "rSTART,END".
Command parse_range_step(Cursor cursor) {
  const auto first = cursor.take_hex();
  if (!first || !cursor.take(",")) return Malformed{};
  const auto end = cursor.take_hex();
  if (!end || !cursor.done()) return Malformed{};
  return Resume{{ResumeKind::step_range, *first, *end}, std::nullopt};
}

/// vCont;ACTION[:THREAD]...: the leftmost action that applies to the one thread counts.
Command parse_vcont(Cursor cursor) {
  while (!cursor.done()) {
    Cursor action(cursor.take_until(';'));
    const std::string_view verb = action.take_until(':');
    if (!action.done() && !names_our_thread(action.rest())) continue;
    if (verb.empty()) return Malformed{};
    Cursor rest(verb.substr(1));
    if (verb[0] == 'r') return parse_range_step(rest);
    const bool has_signal = verb[0] == 'C' || verb[0] == 'S';
    if (has_signal != rest.take_hex().has_value() || !rest.done()) return Malformed{};
    if (verb[0] == 'c' || verb[0] == 'C') return Resume{{ResumeKind::go}, std::nullopt};
    if (verb[0] == 's' || verb[0] == 'S') return Resume{{ResumeKind::step}, std::nullopt};
    if (verb[0] == 't') return StayStopped{};
    return Malformed{};
  }
  return Malformed{};
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

Command parse_object(ReadObject::Object object, Cursor cursor) {
  std::string annex(cursor.take_until(':'));
  const auto offset = cursor.take_hex();
  if (!offset || !cursor.take(",")) return Malformed{};
  const auto length = cursor.take_hex();
  if (!length || !cursor.done()) return Malformed{};
  return ReadObject{object, std::move(annex), *offset, *length};
}

Command parse_search(Cursor cursor) {
  const auto addr = cursor.take_hex();
  if (!addr || !cursor.take(";")) return Malformed{};
  const auto length = cursor.take_hex();
  if (!length || !cursor.take(";") || cursor.done()) return Malformed{};
  const std::string_view pattern = cursor.rest();
  return SearchMemory{*addr, *length, Bytes(pattern.begin(), pattern.end())};
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

/// A packet that is nothing but a number behind its name.
template <typename Request>
Command parse_number(Cursor cursor) {
  const auto number = cursor.take_hex();
  if (!number || !cursor.done()) return Malformed{};
  return Request{*number};
}

/// Packets that are one fixed text.
std::optional<Command> parse_fixed(std::string_view payload) {
  if (payload == "vCont?") return QueryVCont{};
  if (payload == "qC") return QueryThread{};
  if (payload == "qfThreadInfo") return FirstThreads{};
  if (payload == "qsThreadInfo") return NextThreads{};
  if (payload == "qqemu.Supported") return QueryQemuFeatures{};
  if (payload == "qqemu.PhyMemMode") return QueryPhysicalMode{};
  if (payload == "QStartNoAckMode") return StartNoAckMode{};
  if (payload == "qHostInfo") return QueryHost{};
  if (payload == "qProcessInfo") return QueryProcess{};
  if (payload == "qWatchpointSupportInfo:") return QueryWatchpoints{};
  if (payload == "QThreadSuffixSupported") return UseThreadSuffix{};
  if (payload == "QListThreadsInStopReply") return ListThreadsInStops{};
  if (payload == "QEnableErrorStrings") return UseErrorTexts{};
  if (payload == "jThreadsInfo") return DescribeThreads{};
  return std::nullopt;
}

}  // namespace

bool names_our_thread(std::string_view text) {
  if (text == "-1") return true;
  Cursor cursor(text);
  const auto id = cursor.take_hex();
  return id && cursor.done() && (*id == 0 || *id == kThread);
}

Command parse_word(std::string_view payload) {
  if (auto command = parse_fixed(payload)) return *command;
  Cursor cursor(payload);
  if (cursor.take("vCont;")) return parse_vcont(cursor);
  if (cursor.take("vKill;")) return Kill{.reply = true};
  if (cursor.take("vRun")) return RunProgram{};
  if (cursor.take("qSupported")) return cursor.take(":"), parse_supported(cursor);
  if (cursor.take("qXfer:features:read:")) return parse_object(ReadObject::Object::features, cursor);
  if (cursor.take("qXfer:memory-map:read:")) return parse_object(ReadObject::Object::memory_map, cursor);
  if (cursor.take("qThreadExtraInfo,")) return ThreadDescription{names_our_thread(cursor.rest())};
  if (cursor.take("qAttached")) return QueryAttached{};
  if (cursor.take("qSearch:memory:")) return parse_search(cursor);
  if (cursor.take("qRcmd,")) return parse_monitor(cursor);
  if (cursor.take("qSymbol:")) return QuerySymbols{};
  if (cursor.take("Qqemu.PhyMemMode:")) return parse_physical_mode(cursor);
  if (cursor.take("qRegisterInfo")) return parse_number<DescribeRegister>(cursor);
  if (cursor.take("qMemoryRegionInfo:")) return parse_number<DescribeMemory>(cursor);
  return Unsupported{};
}

}  // namespace dejavm::gdb
