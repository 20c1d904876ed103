#include "cli/monitor.h"

#include <algorithm>

#include "base/parse.h"
#include "cli/messages.h"
#include "trace/event_text.h"
#include "vm/translate.h"

namespace dejavm::cli {

std::string Monitor::help() {
  return std::string() +
         "mmio break PLACE [r|w] [size N] [value V[/MASK]] [count N]   stop on a device access (from the Nth on)\n"
         "mmio list | mmio delete ID|all                               the breakpoints on device accesses\n"
         "mmio last [PLACE]                                            the last device access\n"
         "watch phys|virt ADDR [LENGTH] [r|w|rw]                       stop on the CPU's accesses to memory (soft)\n"
         "watch list | watch delete ID|all                             the watchpoints on memory\n"
         "devices                                                      where each device answers\n"
         "dma ADDR [COUNT]                                             replay: the last device writes to this memory "
         "address\n"
         "where                                                        the position: event and registers\n"
         "PLACE: edu, edu+0x80, edu.DMA_COUNT, 0xfebc0080, 0xfebc0000-0xfebc0fff, port:0x3f8; bits of a register, with\n"
         "their value: mmio break e1000.TCTL.EN w 1\n" +
         StateMonitor::help() + TravelMonitor::help();
}

const std::vector<std::string>& Monitor::words() {
  static const std::vector<std::string> kWords = [] {
    std::vector<std::string> words = {"mmio", "watch", "devices", "dma", "where", "info", "x", "xp", "help"};
    words.insert(words.end(), TravelMonitor::words().begin(), TravelMonitor::words().end());
    return words;
  }();
  return kWords;
}

bool Monitor::knows(std::string_view word) { return StateMonitor::knows(word) || std::ranges::count(words(), word) > 0; }

std::string Monitor::execute(std::string_view line) {
  auto result = dispatch(dejavm::words(line));
  return result ? session_.take_notice() + *result : error_text(result.error());
}

Result<std::string> Monitor::dispatch(const Arguments& words) {
  if (words.empty() || words[0] == "help") return help();
  if (words[0] == "mmio") return mmio(words);
  if (words[0] == "watch") return watch(words);
  if (words[0] == "devices" || words[0] == "regs") return devices();
  if (words[0] == "dma") return dma(words);
  if (words[0] == "where") return where();
  if (words[0] == "info" && words.size() > 1 && words[1] == "replay") return travel(words);
  if (StateMonitor::knows(words[0])) return state_.execute(words);
  if (std::ranges::count(TravelMonitor::words(), words[0]) > 0) return travel(words);
  return fail_usage(fmt::format("unknown command '{}'", words[0]), "`help` lists the commands.");
}

Result<std::string> Monitor::travel(const Arguments& words) {
  if (travel_) return travel_->execute(words);
  return fail_usage(fmt::format("{} is for a replay on the soft engine", words[0]),
                    "dejavm replay FILE -accel soft, or dejavm shell FILE.");
}

std::string access_text(vm::Session& session, const vm::RegisterMaps& registers, const vm::SeenAccess& seen) {
  std::string text = session.stop_line(seen) + "\n";
  const vm::DeviceRegion* region = vm::find_region(session.devices(), seen.access.space, seen.access.addr);
  std::string name = registers.describe(seen.access, region);
  return name.empty() ? text : text + "  " + name + "\n";
}

Status parse_place(std::string_view text, vm::Session& session, const vm::RegisterMaps& registers,
                   vm::AccessFilter& filter) {
  if (registers.names_register(text, session.devices())) return registers.parse(text, session.devices(), filter);
  TRY_ASSIGN(vm::Place place, vm::parse_place(text, session.devices()));
  filter.places = {std::move(place)};
  return {};
}

std::string Monitor::access_lines(const vm::SeenAccess& seen) const { return access_text(session_, registers_, seen); }

Result<std::string> Monitor::mmio(const Arguments& words) {
  std::string_view verb = words.size() > 1 ? words[1] : "";
  if (verb == "break") return mmio_break(words);
  if (verb == "delete") return mmio_delete(words);
  if (verb == "last") return mmio_last(words);
  if (verb == "next" || verb == "log") return travel(words);
  if (verb == "list" && words.size() == 2) return mmio_list();
  return fail_usage(fmt::format("mmio: unknown word '{}'", verb),
                    "mmio break PLACE ..., mmio list, mmio delete ID, mmio last, mmio next, mmio log.");
}

Result<std::string> Monitor::mmio_break(const Arguments& words) {
  if (words.size() < 3) return fail_usage("mmio break wants a place", "For example: mmio break edu+0x80 w value 0x1.");
  vm::AccessFilter filter;
  TRY(parse_place(words[2], session_, registers_, filter));
  uint64_t count = 1;
  for (size_t i = 3; i < words.size(); ++i) {
    std::string_view word = words[i];
    if (word == "r" || word == "w") {
      filter.direction = word == "w" ? vm::Direction::write : vm::Direction::read;
      continue;
    }
    if (auto bits = parse_u64(word); bits && filter.field && !filter.field->value) {
      if (*bits > filter.field->mask) return fail_usage(fmt::format("mmio break: {} does not fit {}", word, words[2]));
      filter.field->value = bits;
      continue;
    }
    if (word != "size" && word != "value" && word != "count") {
      return fail_usage(fmt::format("mmio break: unknown word '{}'", word),
                        "After the place: r, w, size N, value V[/MASK], count N.");
    }
    if (i + 1 == words.size()) return fail_usage(fmt::format("mmio break: '{}' wants a number", word));
    std::string_view argument = words[++i];
    if (word == "value") {
      TRY(vm::parse_value(argument, filter));
      continue;
    }
    auto number = parse_u64(argument);
    if (!number || *number == 0 || (word == "size" && *number > 8)) {
      return fail_usage(fmt::format("mmio break: {} {} is not possible", word, argument),
                        "size is 1 to 8, count at least 1.");
    }
    if (word == "size") filter.size = static_cast<unsigned>(*number);
    if (word == "count") count = *number;
  }
  std::string text = vm::describe(filter);
  unsigned id = session_.breaks().add(std::move(filter), count - 1);
  return fmt::format("mmio breakpoint {}: {}{}\n", id, text, count > 1 ? fmt::format(" count {}", count) : "");
}

Result<std::string> Monitor::mmio_delete(const Arguments& words) {
  if (words.size() == 3 && words[2] == "all") {
    session_.breaks().clear();
    return "all mmio breakpoints deleted\n";
  }
  auto id = words.size() == 3 ? parse_u64(words[2]) : std::nullopt;
  if (!id || *id > UINT32_MAX || !session_.breaks().remove(static_cast<unsigned>(*id))) {
    return fail_usage("mmio delete wants the number of a breakpoint, or all", "`mmio list` shows them.");
  }
  return fmt::format("mmio breakpoint {} deleted\n", *id);
}

std::string Monitor::mmio_list() const {
  std::string text;
  for (const vm::AccessBreak& one : session_.breaks().list()) {
    text += fmt::format("{}: {}{}, hit {} time{}\n", one.id, vm::describe(one.filter),
                        one.skip > 0 ? fmt::format(" count {}", one.skip + 1) : "", one.hits, one.hits == 1 ? "" : "s");
  }
  return text.empty() ? "no mmio breakpoints\n" : text;
}

Result<std::string> Monitor::mmio_last(const Arguments& words) {
  vm::AccessFilter filter;
  if (words.size() > 2) {
    TRY(parse_place(words[2], session_, registers_, filter));
  }
  TRY_ASSIGN(auto seen, session_.last_access(filter));
  if (!seen) return "no such access so far\n";
  return access_lines(*seen);
}

Result<std::string> Monitor::watch(const Arguments& words) {
  std::string_view verb = words.size() > 1 ? words[1] : "";
  if (verb == "phys" || verb == "virt") return watch_add(words);
  if (verb == "delete") return watch_delete(words);
  if (verb == "list" && words.size() == 2) return watch_list();
  return fail_usage(fmt::format("watch: unknown word '{}'", verb), "watch phys ADDR ..., watch list, watch delete ID.");
}

Result<std::string> Monitor::watch_add(const Arguments& words) {
  auto first = words.size() >= 3 ? parse_u64(words[2]) : std::nullopt;
  vm::Watchpoint what;
  what.by = words[1] == "phys" ? vm::Watchpoint::By::physical : vm::Watchpoint::By::linear;
  bool understood = first.has_value() && words.size() <= 5;
  for (size_t i = 3; i < words.size() && understood; ++i) {
    std::string_view word = words[i];
    bool kind = word == "r" || word == "w" || word == "rw";
    if (kind && i + 1 == words.size()) {
      what.on_read = word != "w";
      what.on_write = word != "r";
      continue;
    }
    auto length = parse_u64(word);
    understood = i == 3 && length.has_value();
    what.length = length.value_or(1);
  }
  if (!understood) {
    return fail_usage(fmt::format("watch {} wants an address, perhaps a length, perhaps r, w or rw", words[1]),
                      "For example: watch phys 0x101040 8 rw");
  }
  what.first = *first;
  TRY(session_.use_exact_engine());
  TRY_ASSIGN(unsigned id, session_.watches().add(session_.vcpu(), what, true));
  return fmt::format("watchpoint {}: {}\n", id, vm::describe(what));
}

Result<std::string> Monitor::watch_delete(const Arguments& words) {
  vm::WatchList& watches = session_.watches();
  if (words.size() == 3 && words[2] == "all") {
    TRY(watches.remove_listed(session_.vcpu()));
    return "all watchpoints deleted\n";
  }
  auto id = words.size() == 3 ? parse_u64(words[2]) : std::nullopt;
  bool known = id && std::ranges::any_of(watches.list(), [&](const auto& one) { return one.listed && one.id == *id; });
  if (!known) return fail_usage("watch delete wants the number of a watchpoint, or all", "`watch list` shows them.");
  TRY(watches.remove(session_.vcpu(), static_cast<unsigned>(*id)));
  return fmt::format("watchpoint {} deleted\n", *id);
}

std::string Monitor::watch_list() const {
  std::string text;
  for (const vm::WatchList::Entry& one : session_.watches().list()) {
    if (!one.listed) continue;
    text += fmt::format("{}: {}, hit {} time{}\n", one.id, vm::describe(one.what), one.hits, one.hits == 1 ? "" : "s");
  }
  return text.empty() ? "no watchpoints\n" : text;
}

std::string Monitor::devices() const {
  std::string text;
  for (const vm::DeviceRegion& region : session_.devices()) {
    if (region.size == 0) {
      text += fmt::format("{:<16} not mapped by the guest now\n", region.device);
      continue;
    }
    text += fmt::format("{:<16} {} {:#x}-{:#x}{}\n", region.device, region.space == vm::Space::pio ? "port" : "mmio",
                        region.base, region.base + region.size - 1,
                        region.offset != 0 ? fmt::format(" (offset {:#x})", region.offset) : "");
  }
  return text;
}

std::string Monitor::where() const {
  auto cpu = session_.vcpu().state();
  std::string text = fmt::format("after event {}\n", session_.last_event());
  if (cpu) text += vm::describe(*cpu);
  return text;
}

Result<std::string> Monitor::dma(const Arguments& words) {
  auto addr = words.size() >= 2 ? parse_u64(words[1]) : std::nullopt;
  auto count = words.size() >= 3 ? parse_u64(words[2]) : 3;
  if (!addr || !count || words.size() > 3) {
    return fail_usage("dma wants an address and perhaps a count",
                      "For example: dma 0x101040 (a virtual address of the guest).");
  }
  if (reader_ == nullptr)
    return fail_usage("dma looks into a trace", "Record the guest and use it in `dejavm replay` or `dejavm shell`.");
  TRY_ASSIGN(vm::CpuState cpu, session_.vcpu().state());
  auto at = vm::backing_offset(cpu, session_.memory(), {*addr});
  if (!at) return fail(fmt::format("{:#x} is not memory of the guest now", *addr));
  uint64_t offset = *at;

  std::vector<std::string> found;
  // The doorbell: bus masters have theirs in MMIO as a rule, and a port write may be an interrupt handler's EOI in between.
  std::string last_write[2];
  trace::EventCursor cursor(*reader_);
  while (static_cast<int64_t>(cursor.next_number()) <= session_.last_event()) {
    uint64_t number = cursor.next_number();
    TRY_ASSIGN(const trace::Event* event, cursor.next());
    if (event == nullptr) break;
    if (const auto* access = std::get_if<trace::AccessEvent>(&event->body); access != nullptr && access->access.is_write()) {
      last_write[static_cast<unsigned>(access->access.space)] =
          fmt::format("event {} {}", number, trace::describe(event->body, session_.devices()));
    }
    const auto* write = std::get_if<trace::MemoryWriteEvent>(&event->body);
    if (write == nullptr || offset - write->offset >= write->bytes.size()) continue;
    const std::string& doorbell = last_write[last_write[0].empty() ? 1 : 0];
    found.push_back(fmt::format("event {}: {}, byte {} of it here\n  last device write before it: {}\n", number,
                                trace::describe(event->body, session_.devices()), offset - write->offset,
                                doorbell.empty() ? "none" : doorbell));
  }
  if (found.empty()) return fmt::format("no device wrote {:#x} so far\n", *addr);
  std::string text;
  for (size_t i = found.size() - std::min<size_t>(found.size(), *count); i < found.size(); ++i) text += found[i];
  return text;
}

}  // namespace dejavm::cli
