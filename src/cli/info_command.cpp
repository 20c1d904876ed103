// dejavm info: what a trace is.
#include <fmt/ranges.h>

#include <ctime>
#include <nlohmann/json.hpp>

#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/messages.h"
#include "trace/reader.h"

namespace dejavm::cli {
namespace {

std::string date_text(uint64_t unix_s) {
  auto seconds = static_cast<time_t>(unix_s);
  tm utc{};
  char text[40];
  if (::gmtime_r(&seconds, &utc) == nullptr || std::strftime(text, sizeof text, "%Y-%m-%d %H:%M:%S UTC", &utc) == 0)
    return "unknown";
  return text;
}

const char* space_name(vm::Space space) { return space == vm::Space::pio ? "port" : "mmio"; }

/// What the recorder noted of RDTSC ("rdtsc: 107 sites ..."); empty: nothing, as far as a kernel comes at the start.
std::string rdtsc_note(const trace::Reader& reader) {
  constexpr uint64_t kAtMost = 50'000;
  trace::EventCursor events(reader);
  for (uint64_t i = 0; i < kAtMost; ++i) {
    auto event = events.next();
    if (!event || *event == nullptr) break;
    const auto* note = std::get_if<trace::AnnotationEvent>(&(*event)->body);
    if (note != nullptr && note->text.starts_with("rdtsc: ")) return note->text.substr(sizeof "rdtsc: " - 1);
  }
  return "";
}

nlohmann::json to_json(const std::string& file, const trace::Reader& reader) {
  const trace::Description& d = reader.description();
  nlohmann::json devices = nlohmann::json::array(), memory = nlohmann::json::array();
  for (const auto& r : d.devices) {
    devices.push_back(
        {{"device", r.device}, {"region", r.region}, {"space", space_name(r.space)}, {"base", r.base}, {"size", r.size}});
  }
  for (const auto& r : d.memory) {
    memory.push_back({{"base", r.base.value}, {"size", r.size}, {"offset", r.offset}, {"writable", r.writable}});
  }
  nlohmann::json json = {{"file", file},
                         {"file_size", reader.file_size()},
                         {"tool", d.tool},
                         {"command_line", d.command_line},
                         {"host", d.host},
                         {"host_cpu", d.host_cpu},
                         {"engine", d.engine},
                         {"start_unix_s", d.start_unix_s},
                         {"machine", d.machine},
                         {"cpu", d.cpu_model.name},
                         {"undefined_flags", vm::name(d.cpu_model.kind)},
                         {"ram_size", d.ram_size},
                         {"rom_size", d.rom_size},
                         {"devices", devices},
                         {"memory", memory},
                         {"replayable_on", d.replayable_on},
                         {"replayable_why", d.replayable_why},
                         {"events", reader.event_count()},
                         {"chunks", reader.chunks().size()},
                         {"keyframes", reader.keyframe_count()},
                         {"sealed", reader.sealed()},
                         {"damage", reader.damage()}};
  if (std::string note = rdtsc_note(reader); !note.empty()) json["rdtsc"] = note;
  if (reader.end() != nullptr)
    json["end"] = {{"reason", reader.end()->reason}, {"ram", hash_text(reader.end()->ram_digest)}};
  return json;
}

void print_text(const std::string& file, const trace::Reader& reader) {
  const trace::Description& d = reader.description();
  uint64_t event_bytes = 0;
  for (const trace::ChunkInfo& chunk : reader.chunks()) event_bytes += chunk.stored_bytes;
  double per_event =
      reader.event_count() == 0 ? 0 : static_cast<double>(event_bytes) / static_cast<double>(reader.event_count());
  fmt::print("{}: {}, {}\n", file, size_text(reader.file_size()),
             reader.sealed() ? "sealed" : "not sealed (its recorder was ended)");
  if (!reader.damage().empty()) fmt::print("damage:      {}\n", reader.damage());
  fmt::print("recorded:    {} by {} on {} ({})\n", date_text(d.start_unix_s), d.tool, d.host, d.host_cpu);
  fmt::print("command:     {}\n", fmt::join(d.command_line, " "));
  fmt::print("engine:      {}\n", d.engine);
  fmt::print("machine:     {}, CPU {} (undefined flags of {}), {} RAM, {} ROM\n", d.machine, d.cpu_model.name,
             vm::name(d.cpu_model.kind), size_text(d.ram_size), size_text(d.rom_size));
  fmt::print("replays on:  {} ({})\n", fmt::join(d.replayable_on, ", "), d.replayable_why);
  fmt::print("events:      {} in {} chunks, {:.2f} bytes an event; {} keyframes\n", reader.event_count(),
             reader.chunks().size(), per_event, reader.keyframe_count());
  if (std::string note = rdtsc_note(reader); !note.empty()) fmt::print("rdtsc:       {}\n", note);
  if (reader.end() != nullptr)
    fmt::print("end:         {}; ram {}\n", reader.end()->reason, hash_text(reader.end()->ram_digest));
  fmt::print("devices at the start:\n");
  for (const auto& r : d.devices) {
    if (r.size == 0) {
      fmt::print("  {:<16} not mapped yet\n", r.device);
      continue;
    }
    fmt::print("  {:<16} {} {:#x}-{:#x}\n", r.device, space_name(r.space), r.base, r.base + r.size - 1);
  }
}

}  // namespace

Result<int> info_command(const Words& words) {
  std::string file;
  bool json = false, help = false;
  std::vector<Option> options = {{"json", "", "one JSON document", set_flag(json)},
                                 {"help", "", "this text", set_flag(help)}};
  TRY(parse_options(words, options, one_trace(file)));
  if (help) {
    fmt::print(
        "Usage: dejavm info FILE [--json]\nMachine, CPU, events, sizes, and who recorded it.\n\nExample:\n  dejavm info "
        "bios.dvt\n");
    return kDone;
  }
  if (file.empty()) return fail_usage("info wants a trace", "For example: dejavm info guest.dvt");
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  if (json) {
    fmt::print("{}\n", json_text(to_json(file, *reader)));
  } else {
    print_text(file, *reader);
  }
  return reader->damage().empty() ? kDone : kDamaged;
}

}  // namespace dejavm::cli
