// dejavm dump: the events of a trace.
#include <nlohmann/json.hpp>

#include "cli/commands.h"
#include "cli/event_filter.h"
#include "cli/messages.h"
#include "cli/register_options.h"
#include "trace/event_text.h"

namespace dejavm::cli {
namespace {

/// "e1000.TCTL <- 0x2 (EN)", where the register has a name.
std::string register_text(const ListedEvent& listed, const vm::RegisterMaps& registers) {
  const auto* e = std::get_if<trace::AccessEvent>(&listed.event.body);
  if (e == nullptr) return {};
  return registers.describe(e->access, vm::find_region(listed.devices, e->access.space, e->access.addr));
}

nlohmann::json to_json(const ListedEvent& listed, const vm::RegisterMaps& registers) {
  nlohmann::json json = {{"kind", trace::kind_name(listed.event.body)}, {"time_us", listed.event.time_us}};
  if (listed.number) json["event"] = *listed.number;
  if (const auto* e = std::get_if<trace::AccessEvent>(&listed.event.body)) {
    const vm::DeviceRegion* region = vm::find_region(listed.devices, e->access.space, e->access.addr);
    json["space"] = e->access.space == vm::Space::pio ? "pio" : "mmio";
    json["direction"] = e->access.is_write() ? "write" : "read";
    json["addr"] = e->access.addr;
    json["size"] = e->access.size;
    json["value"] = e->access.value;
    json["joins_previous"] = e->joins_previous;
    if (e->instruction) json["instruction"] = *e->instruction;
    if (region != nullptr)
      json.update({{"device", region->device}, {"offset", e->access.addr - region->base + region->offset}});
    std::string name = register_text(listed, registers);
    if (!name.empty()) json["register"] = name;
    return json;
  }
  if (const trace::Where* where = trace::where_of(listed.event.body))
    json["placement"] = trace::placement_name(where->placement);
  if (const auto* e = std::get_if<trace::InterruptEvent>(&listed.event.body)) json["vector"] = e->vector;
  if (const auto* e = std::get_if<trace::MemoryWriteEvent>(&listed.event.body)) {
    json.update({{"offset", e->offset}, {"bytes", to_hex(e->bytes)}});
  }
  json["text"] = trace::describe(listed.event.body, listed.devices);
  return json;
}

std::string to_text(const ListedEvent& listed, const vm::RegisterMaps& registers) {
  std::string number = listed.number ? std::to_string(*listed.number) : "-";
  std::string name = register_text(listed, registers);
  return fmt::format("{:>9} {:>12.6f} {}{}{}\n", number, static_cast<double>(listed.event.time_us) / 1e6,
                     trace::describe(listed.event.body, listed.devices), name.empty() ? "" : "  ", name);
}

Status print_events(const trace::Reader& reader, const EventFilter& filter, bool json, const vm::RegisterMaps& registers) {
  bool first = true;
  if (json) fmt::print("{{\"events\":[");
  Status status = for_each_event(reader, filter, [&](const ListedEvent& listed) {
    if (json) {
      fmt::print("{}\n{}", first ? "" : ",", json_text(to_json(listed, registers)));
    } else {
      fmt::print("{}", to_text(listed, registers));
    }
    first = false;
    return true;
  });
  if (json) fmt::print("\n]}}\n");
  return status;
}

}  // namespace

Result<int> dump_command(const Words& words) {
  std::string file, format = "text";
  bool json = false, help = false;
  vm::RegisterMaps registers = registers::shipped();
  EventFilter filter(&registers);
  std::vector<Option> options = filter.options();
  options.push_back(svd_option(registers));
  options.push_back({"format", "text|json", "how to print (default text)", set_text(format)});
  options.push_back({"json", "", "the same as --format json", set_flag(json)});
  options.push_back({"help", "", "this text", set_flag(help)});
  TRY(parse_options(words, options, one_trace(file)));
  if (help) {
    fmt::print(
        "Usage: dejavm dump FILE [filters]\nPrints the events of a trace.\n\n{}\nExample:\n  dejavm dump guest.dvt --device "
        "edu --write --from 100\n",
        help_text(options));
    return kDone;
  }
  if (format != "text" && format != "json")
    return fail_usage(fmt::format("--format {} is not supported", format), "Use text or json.");
  if (file.empty()) return fail_usage("dump wants a trace", "For example: dejavm dump guest.dvt --device edu");
  TRY_ASSIGN(auto reader, trace::Reader::open(file));
  TRY(filter.resolve(*reader));
  TRY(print_events(*reader, filter, json || format == "json", registers));
  if (reader->damage().empty()) return kDone;
  say(fmt::format("{}: {}", file, reader->damage()));
  return kDamaged;
}

}  // namespace dejavm::cli
