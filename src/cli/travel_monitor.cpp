#include "cli/travel_monitor.h"

#include <algorithm>

#include "base/parse.h"
#include "cli/monitor.h"
#include "cli/position.h"
#include "trace/event_text.h"

namespace dejavm::cli {

using replay::Position;
using Kind = vm::SessionStop::Kind;

namespace {

constexpr size_t kMostPages = 16;                          // that diff-state names
constexpr uint64_t kMostEvents = 1000, kUsualEvents = 10;  // that one command lists

std::string position_text(const replay::Replayer& replayer) {
  Position now = replayer.position();
  return fmt::format("{}+{}, instruction {}", now.event, now.steps, replayer.total_steps());
}

Result<std::optional<Position>> one_position(const TravelMonitor::Arguments& words) {
  if (words.size() == 2) return parse_position(words[1]);
  return fail_usage(fmt::format("{} wants a position", words[0]), "EVENT, EVENT+INSTRUCTIONS, @INSTRUCTIONS or end.");
}

Result<uint64_t> one_number(const TravelMonitor::Arguments& words, const char* what) {
  auto number = words.size() == 2 ? parse_u64(words[1]) : std::nullopt;
  if (number) return *number;
  return fail_usage(fmt::format("{} wants {}", words[0], what), fmt::format("For example: {} 1000", words[0]));
}

}  // namespace

const std::vector<std::string>& TravelMonitor::words() {
  static const std::vector<std::string> kWords = {"when",        "seek",      "replay_break", "replay_delete_break",
                                                  "replay_seek", "events",    "last-write",   "who-wrote",
                                                  "checkpoint",  "diff-state"};
  return kWords;
}

std::string TravelMonitor::help() {
  return "replays on soft:\n"
         "when                                                         the position: event, instructions after it, in all\n"
         "seek POS                                                     goes there, forward or backward; POS is EVENT,\n"
         "                                                             EVENT+INSTRUCTIONS, @INSTRUCTIONS or end\n"
         "info replay                                                  the position, as QEMU shows it, and checkpoints\n"
         "replay_seek N                                                the same as seek @N\n"
         "replay_break N | replay_delete_break                         stops the next run forward at instruction N\n"
         "events [N]                                                   the last N events (10), and the next one\n"
         "mmio next [PLACE]                                            the next device access\n"
         "mmio log [N] [PLACE]                                         the last N (10) device accesses up to here\n"
         "last-write PLACE                                             the last write to a device's register\n"
         "who-wrote GPA [LENGTH]                                       who wrote guest physical memory last\n"
         "checkpoint                                                   makes coming back here cheap\n"
         "diff-state POS                                               registers and pages that differ there\n";
}

std::string TravelMonitor::when() const { return "at " + position_text(timeline_.replayer()); }

Result<std::string> TravelMonitor::execute(const Arguments& words) {
  std::string_view verb = words[0];
  if (verb == "when" && words.size() == 1) return when() + "\n";
  if (verb == "seek") return seek(words);
  if (verb == "info") return info(words);
  if (verb == "replay_seek") {
    TRY_ASSIGN(uint64_t steps, one_number(words, "a count of instructions"));
    return seek_to(Position::after_start(steps));
  }
  if (verb == "replay_break") return set_break(words);
  if (verb == "replay_delete_break" && words.size() == 1) {
    timeline_.set_break(std::nullopt);
    return std::string("no replay breakpoint\n");
  }
  if (verb == "events") return events(words);
  if (verb == "mmio") return words.size() > 1 && words[1] == "log" ? log(words) : next_access(words);
  if (verb == "last-write") return last_write(words);
  if (verb == "who-wrote") return who_wrote(words);
  if (verb == "checkpoint" && words.size() == 1) return checkpoint();
  if (verb == "diff-state") return difference(words);
  return fail_usage(fmt::format("{}: what follows makes no sense", verb), "`help` shows how it is used.");
}

// ---- Going

Result<std::string> TravelMonitor::seek(const Arguments& words) {
  TRY_ASSIGN(auto target, one_position(words));
  return seek_to(target);
}

Result<std::string> TravelMonitor::seek_to(const std::optional<Position>& target) {
  TRY_ASSIGN(vm::SessionStop stop, timeline_.seek(target));
  std::string why = stop.kind == Kind::ended      ? ": the end (" + stop.reason + ")"
                    : stop.kind == Kind::diverged ? ": the replay diverged\n" + stop.reason
                    : stop.kind != Kind::position ? ": interrupted"
                                                  : "";
  return fmt::format("{}, rip {:#x}{}\n", when(), timeline_.vcpu().quick_registers().linear_rip(), why);
}

Result<std::string> TravelMonitor::set_break(const Arguments& words) {
  TRY_ASSIGN(uint64_t steps, one_number(words, "a count of instructions"));
  if (steps <= timeline_.replayer().total_steps()) {
    return fail_usage(fmt::format("instruction {} is not ahead of here", steps), "replay_seek goes back.");
  }
  timeline_.set_break(Position::after_start(steps));
  return fmt::format("replay breakpoint at instruction {}\n", steps);
}

Result<std::string> TravelMonitor::checkpoint() {
  TRY(timeline_.keep_checkpoint());
  return fmt::format("checkpoint {}; {} checkpoints, {} KiB\n", when(), timeline_.checkpoints().count(),
                     timeline_.checkpoints().bytes() / 1024);
}

// ---- Asking

Result<std::string> TravelMonitor::info(const Arguments& words) {
  if (words.size() != 2) return fail_usage("info replay takes nothing more", "info replay");
  const replay::Replayer& replayer = timeline_.replayer();
  return fmt::format(
      "Replaying execution: instruction count = {}\nevent {} of {}, {} checkpoints in {} KiB, {} divergences\n",
      replayer.total_steps(), replayer.last_event(), reader_.event_count(), timeline_.checkpoints().count(),
      timeline_.checkpoints().bytes() / 1024, replayer.divergence_count());
}

Result<std::string> TravelMonitor::event_line(uint64_t number) {
  trace::EventCursor cursor(reader_);
  TRY(cursor.seek(number));
  TRY_ASSIGN(const trace::Event* event, cursor.next());
  if (event == nullptr) return std::string("the end of the recording\n");
  return fmt::format("{:>9} {}\n", number, trace::describe(event->body, timeline_.devices()));
}

Result<std::string> TravelMonitor::events(const Arguments& words) {
  auto count = words.size() == 2 ? parse_u64(words[1]) : kUsualEvents;
  if (!count || *count > kMostEvents || words.size() > 2) {
    return fail_usage("events takes a count of at most 1000", "For example: events 20");
  }
  auto next = static_cast<uint64_t>(timeline_.last_event() + 1);
  std::string text;
  trace::EventCursor cursor(reader_);
  TRY(cursor.seek(next - std::min(next, *count)));
  while (cursor.next_number() < next) {
    uint64_t number = cursor.next_number();
    TRY_ASSIGN(const trace::Event* event, cursor.next());
    if (event == nullptr) break;
    if (trace::is_numbered(event->body))
      text += fmt::format("{:>9} {}\n", number, trace::describe(event->body, timeline_.devices()));
  }
  TRY_ASSIGN(std::string following, event_line(next));
  return text + "here\n" + following;
}

Result<std::string> TravelMonitor::next_access(const Arguments& words) {
  vm::AccessFilter filter;
  if (words.size() > 2) {
    TRY(parse_place(words[2], timeline_, registers_, filter));
  }
  TRY_ASSIGN(auto found, timeline_.accesses().first({&filter, 1}, static_cast<uint64_t>(timeline_.last_event() + 1)));
  return found ? access_text(timeline_, registers_, found->seen) : "no such access from here on\n";
}

Result<std::string> TravelMonitor::log(const Arguments& words) {
  vm::AccessFilter filter;
  size_t at = 2;
  uint64_t count = kUsualEvents;
  if (auto number = at < words.size() ? parse_u64(words[at]) : std::nullopt; number && *number <= kMostEvents) {
    count = *number;
    ++at;
  }
  if (count == 0 || words.size() > at + 1) {
    return fail_usage("mmio log takes a count of 1 to 1000 and a place", "For example: mmio log 20 edu");
  }
  if (at < words.size()) TRY(parse_place(words[at], timeline_, registers_, filter));
  std::vector<std::string> lines;
  auto before = static_cast<uint64_t>(timeline_.last_event() + 1);
  while (lines.size() < count) {
    TRY_ASSIGN(auto found, timeline_.accesses().last({&filter, 1}, before));
    if (!found) break;
    lines.push_back(access_text(timeline_, registers_, found->seen));
    before = found->seen.event;
  }
  std::string text;
  for (auto line = lines.rbegin(); line != lines.rend(); ++line) text += *line;
  return text.empty() ? "no such access so far\n" : text;
}

Result<std::string> TravelMonitor::last_write(const Arguments& words) {
  if (words.size() != 2) return fail_usage("last-write wants a place", "For example: last-write edu+0x80");
  vm::AccessFilter filter;
  TRY(parse_place(words[1], timeline_, registers_, filter));
  filter.direction = vm::Direction::write;
  TRY_ASSIGN(auto seen, timeline_.last_access(filter));
  return seen ? access_text(timeline_, registers_, *seen) : "no such access so far\n";
}

Result<std::string> TravelMonitor::who_wrote(const Arguments& words) {
  auto gpa = words.size() >= 2 ? parse_u64(words[1]) : std::nullopt;
  auto length = words.size() == 3 ? parse_u64(words[2]) : 1;
  if (!gpa || !length || *length == 0 || words.size() > 3) {
    return fail_usage("who-wrote wants a guest physical address and perhaps a length", "For example: who-wrote 0x101580 8");
  }
  TRY_ASSIGN(auto write, timeline_.last_write({*gpa}, *length));
  if (!write) return fmt::format("nobody wrote {:#x} since the beginning of the replay\n", *gpa);
  std::string at = fmt::format("{}+{}, instruction {}", write->before.event, write->before.steps, write->before_steps);
  if (write->instruction)
    return fmt::format("{:#x}: written by the instruction at {:#x}, at {}\n", write->address, write->instruction->value, at);
  TRY_ASSIGN(std::string event, event_line(static_cast<uint64_t>(write->before.event + 1)));
  return fmt::format("{:#x}: written by a device, at {}:\n{}", write->address, at, event);
}

Result<std::string> TravelMonitor::difference(const Arguments& words) {
  TRY_ASSIGN(auto target, one_position(words));
  TRY_ASSIGN(auto found, timeline_.compare_with(target));
  std::string text = fmt::format("here {}, there {}+{}\n", when().substr(3), found.there.event, found.there.steps);
  text += found.registers.empty() ? "registers: the same\n" : "registers (here, there): " + found.registers + "\n";
  text += fmt::format("pages of RAM that differ: {}", found.pages.size());
  for (size_t i = 0; i < std::min(found.pages.size(), kMostPages); ++i) {
    text += fmt::format("{}{:#x}", i == 0 ? ": " : " ", found.pages[i] * vm::kPageSize);
  }
  return text + (found.pages.size() > kMostPages ? " ...\n" : "\n");
}

}  // namespace dejavm::cli
