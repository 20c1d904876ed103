#include "vm/watch_list.h"

#include <algorithm>

#include "base/check.h"

namespace dejavm::vm {
namespace {

const char* space(const Watchpoint& watchpoint) { return watchpoint.by == Watchpoint::By::physical ? "physical " : ""; }

}  // namespace

Result<unsigned> WatchList::add(Vcpu& vcpu, const Watchpoint& what, bool listed) {
  std::vector<Entry> entries = entries_;
  unsigned& last = listed ? last_id_ : last_own_id_;
  entries.push_back({last + 1, what, listed, 0});
  TRY(replace(vcpu, std::move(entries)));
  return ++last;
}

Result<bool> WatchList::remove(Vcpu& vcpu, unsigned id) {
  std::vector<Entry> entries = entries_;
  if (std::erase_if(entries, [&](const Entry& entry) { return entry.id == id; }) == 0) return false;
  TRY(replace(vcpu, std::move(entries)));
  return true;
}

Status WatchList::remove_listed(Vcpu& vcpu) {
  std::vector<Entry> entries = entries_;
  std::erase_if(entries, [](const Entry& entry) { return entry.listed; });
  return replace(vcpu, std::move(entries));
}

Status WatchList::become(Vcpu& vcpu, const WatchList& other) {
  TRY(replace(vcpu, other.entries_));
  *this = other;
  return {};
}

Status WatchList::arm(Vcpu& vcpu, bool armed) {
  if (entries_.empty()) return {};
  return armed ? replace(vcpu, entries_) : vcpu.set_watchpoints({});
}

Status WatchList::replace(Vcpu& vcpu, std::vector<Entry> entries) {
  std::vector<Watchpoint> watchpoints;
  for (const Entry& entry : entries) watchpoints.push_back(entry.what);
  TRY(vcpu.set_watchpoints(watchpoints));
  entries_ = std::move(entries);
  return {};
}

const WatchList::Entry& WatchList::count(const WatchHit& hit) {
  CHECK(hit.watchpoint < entries_.size());
  Entry& entry = entries_[hit.watchpoint];
  ++entry.hits;
  return entry;
}

std::string describe(const Watchpoint& watchpoint) {
  std::string to = watchpoint.length > 1 ? fmt::format("-{:#x}", watchpoint.first + (watchpoint.length - 1)) : "";
  return fmt::format("{}{:#x}{} {}{}", space(watchpoint), watchpoint.first, to, watchpoint.on_read ? "r" : "",
                     watchpoint.on_write ? "w" : "");
}

std::string watch_line(const WatchHit& hit, const Watchpoint& watchpoint, int64_t last_event) {
  std::string by = hit.instruction ? fmt::format(", rip {:#x}", hit.instruction->value) : " by a device";
  return fmt::format("watch: {}{:#x} {}{}, after event {}", space(watchpoint), hit.address,
                     hit.direction == Direction::write ? "written" : "read", by, last_event);
}

}  // namespace dejavm::vm
