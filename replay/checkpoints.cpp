#include "replay/checkpoints.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>

#include "base/check.h"

namespace dejavm::replay {
namespace {

constexpr size_t kMost = 4096, kFewest = 8;
constexpr uint64_t kBudgetShare = 8, kLeastBudget = uint64_t{64} << 20, kMostBudget = uint64_t{8} << 30,
                   kUsualBudget = uint64_t{1} << 30;
constexpr uint64_t kPiece = 64;         // bytes: the unit in which an engine notices that code changed
constexpr uint64_t kDistantShare = 32;  // far away, this part of the distance is room enough between two

void sort_and_unite(std::vector<uint64_t>& pages) {
  std::ranges::sort(pages);
  pages.erase(std::unique(pages.begin(), pages.end()), pages.end());
}

}  // namespace

uint64_t work(const Moment& moment) { return moment.total_steps + kStepsPerEvent * static_cast<uint64_t>(moment.event + 1); }

uint64_t memory_budget() {
  std::ifstream file("/proc/meminfo");
  uint64_t kib = 0;
  for (std::string name, rest; file >> name >> kib; std::getline(file, rest)) {
    if (name == "MemAvailable:") return std::clamp(kib * 1024 / kBudgetShare, kLeastBudget, kMostBudget);
  }
  return kUsualBudget;
}

Result<std::unique_ptr<Checkpoints>> Checkpoints::create(Replayer& replayer, const CheckpointLimits& limits) {
  std::unique_ptr<Checkpoints> checkpoints(new Checkpoints(replayer, limits));
  TRY(checkpoints->keep_first());
  return checkpoints;
}

Status Checkpoints::keep_first() {
  TRY(collect());
  auto point = std::make_unique<Point>();
  TRY_ASSIGN(point->state, replayer_.capture());
  synced_ = point->state.moment;
  const vm::GuestMemory& memory = replayer_.memory();
  uint64_t ram_pages = memory.ram_size() / vm::kPageSize;
  for (uint64_t page = 0; page < memory.page_count(); ++page) {
    if (page < ram_pages && replayer_.tracker().page(page) == 0) continue;  // zeros, and perhaps never touched
    auto contents = versions_.copy(memory.page(page));
    if (contents) versions_.put(page, synced_, std::move(contents));
  }
  points_.push_back(std::move(point));
  since_.clear();
  first_bytes_ = versions_.bytes();
  return {};
}

/// Adds the pages that changed to `since_`.
Status Checkpoints::collect() {
  TRY(replayer_.tracker().refresh());
  std::vector<uint64_t> touched = replayer_.tracker().take_touched();
  since_.insert(since_.end(), touched.begin(), touched.end());
  sort_and_unite(since_);
  return {};
}

size_t Checkpoints::index_of(const Moment& moment) const {
  auto at = std::ranges::lower_bound(points_, moment, {}, [](const auto& point) { return point->state.moment; });
  return static_cast<size_t>(at - points_.begin());
}

Status Checkpoints::keep() {
  TRY(collect());
  Moment now = replayer_.moment();
  size_t index = index_of(now);
  bool known = index < points_.size() && points_[index]->state.moment == now;
  if (!known) {
    TRY_ASSIGN(ReplayState state, replayer_.capture());
    insert(std::move(state), since_, [this](uint64_t page) { return replayer_.memory().page(page); });
  }
  synced_ = now;
  since_.clear();
  thin_out();
  return {};
}

const ReplayState& Checkpoints::add(ReplayState state, vm::GuestMemory& memory) {
  // Of a large memory that is nearly empty the rest is not touched.
  std::vector<uint64_t> written = memory.take_dirty();
  std::vector<uint64_t> pages = versions_.pages();
  pages.insert(pages.end(), written.begin(), written.end());
  sort_and_unite(pages);
  return insert(std::move(state), pages, [&memory](uint64_t page) { return memory.page(page); });
}

/// `pages`: all that may differ from those of the checkpoint before. A checkpoint between two others takes over from the one
/// before it what the one behind it relied on.
const ReplayState& Checkpoints::insert(ReplayState state, const std::vector<uint64_t>& pages, const PageAt& contents_of) {
  size_t index = index_of(state.moment);
  Point* next = index < points_.size() ? points_[index].get() : nullptr;
  auto point = std::make_unique<Point>();
  point->state = std::move(state);
  const Moment& when = point->state.moment;
  for (uint64_t page : pages) {
    ByteSpan contents = contents_of(page);
    auto before = versions_.at(page, when);
    if (PageVersions::same(before, contents)) continue;
    if (next != nullptr && !versions_.has(page, next->state.moment)) {
      versions_.put(page, next->state.moment, std::move(before));
      next->pages.push_back(page);
    }
    versions_.put(page, when, versions_.copy(contents));
    point->pages.push_back(page);
  }
  return (*points_.insert(points_.begin() + static_cast<std::ptrdiff_t>(index), std::move(point)))->state;
}

const ReplayState* Checkpoints::last(const std::function<bool(const ReplayState&)>& is_early) const {
  auto late = std::ranges::partition_point(points_, [&](const auto& point) { return is_early(point->state); });
  return late == points_.begin() ? nullptr : &(*std::prev(late))->state;
}

/// Writes what differs only: an engine keeps the code that it made of the rest.
void Checkpoints::bring_back(uint64_t page, const Moment& when) {
  vm::GuestMemory& memory = replayer_.memory();
  auto contents = versions_.at(page, when);
  ByteSpan now = memory.page(page);
  if (PageVersions::same(contents, now)) return;
  static constexpr PageVersions::Page kZeros{};
  ByteSpan wanted = contents ? ByteSpan(*contents) : ByteSpan(kZeros);
  for (uint64_t at = 0; at < vm::kPageSize; at += kPiece) {
    if (std::memcmp(&now[at], &wanted[at], kPiece) == 0) continue;
    CHECK(memory.write_backing(page * vm::kPageSize + at, wanted.subspan(at, kPiece), vm::Writer::replay).has_value());
  }
}

Status Checkpoints::go_to(const ReplayState& state) {
  Moment when = state.moment;
  TRY(collect());
  for (size_t i = index_of(std::min(when, synced_)) + 1; i <= index_of(std::max(when, synced_)); ++i) {
    since_.insert(since_.end(), points_[i]->pages.begin(), points_[i]->pages.end());
  }
  sort_and_unite(since_);
  for (uint64_t page : since_) bring_back(page, when);
  TRY(replayer_.restore(state));
  synced_ = when;
  TRY(collect());
  since_.clear();
  return {};
}

void Checkpoints::thin_out() {
  uint64_t here = work(synced_);
  while (points_.size() > kFewest && (points_.size() > kMost || versions_.bytes() > limits_.memory + first_bytes_)) {
    size_t victim = 0;
    double least = 0;
    for (size_t i = 1; i + 1 < points_.size(); ++i) {
      if (points_[i]->state.moment == synced_) continue;
      uint64_t at = work(points_[i]->state.moment);
      uint64_t gap = work(points_[i + 1]->state.moment) - work(points_[i - 1]->state.moment);
      uint64_t distance = at < here ? here - at : at - here;
      double worth = static_cast<double>(gap) / static_cast<double>(limits_.spacing + distance / kDistantShare);
      if (victim != 0 && worth >= least) continue;
      victim = i;
      least = worth;
    }
    if (victim == 0) return;
    remove(victim);
  }
}

/// What the next one relied on becomes its own.
void Checkpoints::remove(size_t index) {
  const Point& gone = *points_[index];
  Point& next = *points_[index + 1];
  for (uint64_t page : gone.pages) {
    if (!versions_.has(page, next.state.moment)) {
      versions_.put(page, next.state.moment, versions_.at(page, gone.state.moment));
      next.pages.push_back(page);
    }
    versions_.remove(page, gone.state.moment);
  }
  points_.erase(points_.begin() + static_cast<std::ptrdiff_t>(index));
}

}  // namespace dejavm::replay
