#include "replay/access_index.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <tuple>

namespace dejavm::replay {
namespace {

constexpr size_t kMostKinds = 4096;               // of a chunk; one with more is always decoded
constexpr size_t kMostRegions = size_t{1} << 20;  // of all device tables together: a hostile trace may have any number

}  // namespace

Status AccessIndex::build() {
  if (built_) return {};
  chunks_.clear();
  regions_ = 0;
  tables_ = {{0, std::make_shared<const std::vector<vm::DeviceRegion>>(reader_.description().devices)}};
  for (size_t i = 0; i < reader_.chunks().size(); ++i) {
    TRY(note_chunk(i));
  }
  built_ = true;
  return {};
}

Status AccessIndex::note_chunk(size_t index) {
  TRY(decode(index));
  uint64_t number = reader_.chunks()[index].first_event;
  Chunk chunk;
  std::set<std::tuple<vm::Space, uint64_t, vm::Direction, uint8_t>> known;
  for (const trace::Event& event : events_) {
    if (const auto* map = std::get_if<trace::MemoryMapEvent>(&event.body); map != nullptr) {
      if (map->devices != *tables_.back().second) {
        regions_ += map->devices.size();
        if (regions_ > kMostRegions) {
          return fail(fmt::format("the trace moves its devices too often to be searched: more than {} regions by event {}",
                                  kMostRegions, number),
                      "Go on by position (seek, stepi); the accesses are in `dejavm dump`.");
        }
        tables_.emplace_back(number, std::make_shared<const std::vector<vm::DeviceRegion>>(map->devices));
      }
    }
    const auto* access = std::get_if<trace::AccessEvent>(&event.body);
    if (access != nullptr && !chunk.too_many) {
      vm::Access kind = access->access;
      kind.value = 0;
      if (known.insert({kind.space, kind.addr, kind.direction, kind.size}).second) chunk.kinds.push_back(kind);
      chunk.too_many = chunk.kinds.size() > kMostKinds;
    }
    if (trace::is_numbered(event.body)) ++number;
  }
  chunks_.push_back(std::move(chunk));
  return {};
}

Status AccessIndex::decode(size_t chunk) {
  if (decoded_ == chunk) return {};
  decoded_ = SIZE_MAX;
  TRY_ASSIGN(events_, reader_.read_chunk(chunk));
  decoded_ = chunk;
  return {};
}

size_t AccessIndex::table_at(uint64_t event) const {
  auto after = std::ranges::upper_bound(tables_, event, {}, [](const auto& table) { return table.first; });
  return static_cast<size_t>(after - tables_.begin()) - 1;
}

/// Whatever the values: in the device tables that the chunk has, does any filter match a kind of access?
bool AccessIndex::may_match(size_t chunk, std::span<const vm::AccessFilter> filters) const {
  if (chunks_[chunk].too_many) return true;
  const trace::ChunkInfo& info = reader_.chunks()[chunk];
  std::vector<vm::AccessFilter> anything(filters.begin(), filters.end());
  for (vm::AccessFilter& filter : anything) {
    filter.value.reset();
    if (filter.field) filter.field->value.reset();
  }
  for (size_t i = table_at(info.first_event); i < tables_.size() && tables_[i].first < info.first_event + info.events; ++i) {
    for (const vm::Access& kind : chunks_[chunk].kinds) {
      const vm::DeviceRegion* region = vm::find_region(*tables_[i].second, kind.space, kind.addr);
      if (std::ranges::any_of(anything, [&](const auto& filter) { return filter.matches(kind, region); })) return true;
    }
  }
  return false;
}

std::optional<AccessIndex::Found> AccessIndex::match(const trace::Event& event, uint64_t number,
                                                     std::span<const vm::AccessFilter> filters) const {
  const auto* access = std::get_if<trace::AccessEvent>(&event.body);
  if (access == nullptr) return std::nullopt;
  const auto& devices = *tables_[table_at(number)].second;
  const vm::DeviceRegion* region = vm::find_region(devices, access->access.space, access->access.addr);
  for (size_t i = 0; i < filters.size(); ++i) {
    if (filters[i].matches(access->access, region)) return Found{{access->access, number, access->instruction}, i};
  }
  return std::nullopt;
}

/// Among the events [from, before) of a chunk.
Result<std::optional<AccessIndex::Found>> AccessIndex::search(size_t chunk, std::span<const vm::AccessFilter> filters,
                                                              uint64_t from, uint64_t before, Towards towards) {
  TRY(decode(chunk));
  const trace::ChunkInfo& info = reader_.chunks()[chunk];
  bool backward = towards == Towards::start;
  uint64_t number = backward ? info.first_event + info.events : info.first_event;
  for (size_t i = 0; i < events_.size(); ++i) {
    const trace::Event& event = events_[backward ? events_.size() - 1 - i : i];
    if (!trace::is_numbered(event.body)) continue;
    uint64_t here = backward ? --number : number++;
    if (here < from || here >= before) continue;
    if (auto found = match(event, here, filters)) return found;
  }
  return std::nullopt;
}

Result<std::optional<AccessIndex::Found>> AccessIndex::last(std::span<const vm::AccessFilter> filters, uint64_t before) {
  TRY(build());
  for (size_t chunk = chunks_.size(); chunk-- > 0;) {
    if (reader_.chunks()[chunk].first_event >= before || !may_match(chunk, filters)) continue;
    TRY_ASSIGN(auto found, search(chunk, filters, 0, before, Towards::start));
    if (found) return found;
  }
  return std::nullopt;
}

Result<std::optional<AccessIndex::Found>> AccessIndex::first(std::span<const vm::AccessFilter> filters, uint64_t from) {
  TRY(build());
  for (size_t chunk = 0; chunk < chunks_.size(); ++chunk) {
    const trace::ChunkInfo& info = reader_.chunks()[chunk];
    if (info.first_event + info.events <= from || !may_match(chunk, filters)) continue;
    TRY_ASSIGN(auto found, search(chunk, filters, from, UINT64_MAX, Towards::end));
    if (found) return found;
  }
  return std::nullopt;
}

}  // namespace dejavm::replay
