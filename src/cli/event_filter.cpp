#include "cli/event_filter.h"

#include <algorithm>
#include <functional>
#include <iterator>

#include "base/check.h"
#include "base/parse.h"
#include "cli/position.h"

namespace dejavm::cli {
namespace {

const std::set<std::string>& kind_words() {
  static const std::set<std::string> kWords = {"access", "irq",  "nmi",   "dma",    "cpu",      "msr",
                                               "map",    "halt", "reset", "digest", "keyframe", "annotation"};
  return kWords;
}

Result<uint64_t> event_number(std::string_view text, uint64_t end) {
  TRY_ASSIGN(auto position, parse_position(text));
  if (position && position->from_start)
    return fail_usage(fmt::format("'{}' is not an event", text), "Write an event's number.");
  return position ? static_cast<uint64_t>(position->event) : end;
}

}  // namespace

std::vector<Option> EventFilter::options() {
  auto place = [this](const std::string& prefix) {
    return [this, prefix](std::string_view value) -> Status {
      places_.push_back(prefix + std::string(value));
      return {};
    };
  };
  auto direction = [this](vm::Direction wanted) {
    return [this, wanted](std::string_view) -> Status {
      access_.direction = wanted;
      return {};
    };
  };
  auto value = [this](std::string_view text) { return vm::parse_value(text, access_); };
  auto kind = [this](std::string_view text) -> Status {
    for (std::string_view word : split(text, ',')) {
      if (!kind_words().contains(std::string(word))) {
        return fail_usage(fmt::format("there is no kind '{}'", word),
                          "Kinds: access irq nmi dma cpu msr map halt reset digest keyframe annotation.");
      }
      kinds_.insert(std::string(word));
    }
    return {};
  };
  auto bound = [](uint64_t& limit) {
    return [&limit](std::string_view text) -> Status {
      TRY_ASSIGN(limit, event_number(text, UINT64_MAX));
      return {};
    };
  };
  std::vector<Option> options = {
      {"device", "NAME[+OFFSET]", "accesses to this device", place("")},
      {"gpa", "A[-B]", "accesses to these guest physical addresses", place("")},
      {"port", "A[-B]", "accesses to these ports", place("port:")},
      {"read", "", "reads only", direction(vm::Direction::read)},
      {"write", "", "writes only", direction(vm::Direction::write)},
      {"value", "V[/MASK]", "accesses with this value", value},
      {"size", "N", "accesses of N bytes",
       set_number(
           "--size", [this](uint64_t n) { access_.size = static_cast<unsigned>(n); }, 1)},
      {"kind", "KIND[,KIND]", "access irq nmi dma cpu msr map halt reset digest keyframe annotation", kind},
      {"from", "POS", "from this event on", bound(from_)},
      {"to", "POS", "up to this event", bound(to_)},
  };
  if (registers_ != nullptr) {
    options.push_back({"reg", "DEVICE.REG[.FIELD]", "accesses to this register", set_text(register_)});
  }
  return options;
}

Status EventFilter::resolve(const std::vector<vm::DeviceRegion>& devices) {
  std::vector<vm::Place> places;
  for (const std::string& text : places_) {
    TRY_ASSIGN(vm::Place place, vm::parse_place(text, devices));
    places.push_back(std::move(place));
  }
  if (!register_.empty()) {
    TRY(registers_->parse(register_, devices, access_));
    places.push_back(access_.places[0]);
  }
  access_.places = std::move(places);
  resolved_ = true;
  return {};
}

Status EventFilter::resolve(const trace::Reader& reader) {
  std::vector<vm::DeviceRegion> devices = reader.description().devices;
  Status resolved = resolve(devices);
  auto known = [&devices](const vm::DeviceRegion& region) {
    return std::any_of(devices.begin(), devices.end(), [&](const auto& one) { return one.device == region.device; });
  };
  for (trace::EventCursor cursor(reader); !resolved;) {
    TRY_ASSIGN(const trace::Event* event, cursor.next());
    if (event == nullptr) return resolved;
    const auto* map = std::get_if<trace::MemoryMapEvent>(&event->body);
    if (map == nullptr) continue;
    std::copy_if(map->devices.begin(), map->devices.end(), std::back_inserter(devices), std::not_fn(known));
    resolved = resolve(devices);
  }
  return {};
}

bool EventFilter::about_accesses() const {
  return !access_.places.empty() || access_.direction || access_.size || access_.value;
}

bool EventFilter::matches(const trace::EventBody& body, const std::vector<vm::DeviceRegion>& devices) const {
  CHECK(resolved_ || (places_.empty() && register_.empty()));
  if (!kinds_.empty() && !kinds_.contains(trace::kind_name(body))) return false;
  const auto* access = std::get_if<trace::AccessEvent>(&body);
  if (access == nullptr) return !about_accesses();
  return access_.matches(access->access, vm::find_region(devices, access->access.space, access->access.addr));
}

Status for_each_event(const trace::Reader& reader, const EventFilter& filter,
                      const std::function<bool(const ListedEvent&)>& visit) {
  std::vector<vm::DeviceRegion> devices = reader.description().devices;
  trace::EventCursor cursor(reader);
  for (;;) {
    uint64_t number = cursor.next_number();
    if (number > filter.to()) return {};
    TRY_ASSIGN(const trace::Event* event, cursor.next());
    if (event == nullptr) return {};
    if (const auto* map = std::get_if<trace::MemoryMapEvent>(&event->body)) devices = map->devices;
    if (number < filter.from() || !filter.matches(event->body, devices)) continue;
    std::optional<uint64_t> shown;
    if (trace::is_numbered(event->body)) shown = number;
    if (!visit({*event, shown, devices})) return {};
  }
}

}  // namespace dejavm::cli
