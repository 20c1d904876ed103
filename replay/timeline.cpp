#include "replay/timeline.h"

#include <algorithm>

namespace dejavm::replay {

using vm::SessionStop;
using Kind = vm::SessionStop::Kind;

namespace {

constexpr uint64_t kClose = 4096;  // steps: how near to where somebody went back to a checkpoint is kept
constexpr uint64_t kFirstSearch = 4096, kSearchGrowth = 16, kLargestSearch = 16'000'000;  // steps searched at once

/// Whether a replay that is at `position` can still reach the target by going on.
bool is_early(const Moment& moment, const Position& position, const std::optional<Position>& target) {
  if (!target) return true;
  if (target->from_start) return moment.total_steps < target->steps;
  return position.event < target->event || (position.event == target->event && position.steps <= target->steps);
}

Position position_of(const ReplayState& state) {
  return {state.moment.event, state.steps - std::min(state.steps, state.event_steps)};
}

}  // namespace

Result<std::unique_ptr<Timeline>> Timeline::create(Replayer& replayer, const trace::Reader& reader,
                                                   const CheckpointLimits& limits) {
  if (!replayer.vcpu().capabilities().exact_steps) {
    return fail("an engine that does not count instructions cannot go back", "Replay with -accel soft.");
  }
  std::unique_ptr<Timeline> timeline(new Timeline(replayer, reader));
  TRY_ASSIGN(timeline->checkpoints_, Checkpoints::create(replayer, limits));
  if (replayer.counts_from_start()) timeline->keyframes_.emplace(reader, replayer.moment());
  return timeline;
}

Status Timeline::set_breakpoints(const std::vector<vm::GuestVirt>& addresses) {
  return replayer_.set_breakpoints(addresses);
}

// ---- Forward

Result<SessionStop> Timeline::resume(vm::ResumeFor what) {
  if (diversion_ && !registers_as_recorded()) return run_diversion(what);
  TRY(rejoin());
  target_.reset();
  replayer_.set_pause(next_pause());
  bool break_ahead = break_ && is_early(replayer_.moment(), replayer_.position(), break_);
  if (!break_ahead) return replayer_.resume(what);
  std::optional<Position> until = replayer_.until();
  replayer_.set_until(break_);
  auto stop = replayer_.resume(what);
  replayer_.set_until(until);
  if (stop && stop->kind == Kind::position) break_.reset();
  return stop;
}

Result<SessionStop> Timeline::seek(const std::optional<Position>& target) {
  TRY(rejoin());
  return go_to(target, Patience::interruptible);
}

/// Quietly; stops of the user's are on again afterwards, however it ended.
Result<SessionStop> Timeline::go_to(const std::optional<Position>& target, Patience patience) {
  TRY(start_near(target));
  std::optional<Position> until = replayer_.until();
  TRY(replayer_.set_quiet(true));
  replayer_.set_until(target);
  target_ = target;
  replayer_.set_pause(next_pause());
  auto stop = replayer_.resume(vm::ResumeFor::go);
  while (patience == Patience::to_the_end && stop && stop->kind == Kind::interrupted) {
    stop = replayer_.resume(vm::ResumeFor::go);
  }
  target_.reset();
  replayer_.set_until(until);
  TRY(replayer_.set_quiet(false));
  return stop;
}

/// Goes back if need be, and forward to a checkpoint or a keyframe if there is one on the way.
Status Timeline::start_near(const std::optional<Position>& target) {
  const ReplayState* nearest =
      checkpoints_->last([&](const ReplayState& state) { return is_early(state.moment, position_of(state), target); });
  bool ahead = is_early(replayer_.moment(), replayer_.position(), target);
  if (nearest == nullptr) nearest = &checkpoints_->first();
  bool stay = ahead && nearest->moment <= replayer_.moment();
  const ReplayState* keyframe = keyframe_near(target, stay ? replayer_.moment() : nearest->moment);
  if (keyframe != nullptr) return checkpoints_->go_to(*keyframe);
  return stay ? Status{} : checkpoints_->go_to(*nearest);
}

/// The last keyframe before the target, now a checkpoint, where it saves enough of the way from another moment.
const ReplayState* Timeline::keyframe_near(const std::optional<Position>& target, const Moment& else_from) {
  while (keyframes_) {
    const Keyframes::Place* place =
        keyframes_->last([&](const Keyframes::Place& one) { return is_early(one.moment, one.position(), target); });
    if (place == nullptr || place->moment <= else_from) return nullptr;
    if (work(place->moment) < work(else_from) + checkpoints_->limits().keyframe_gain) return nullptr;
    auto state = keyframes_->state(*place);
    auto memory = load_memory(reader_, place->index);
    if (state && memory) {
      ++keyframe_starts_;
      return &checkpoints_->add(std::move(*state), *memory);
    }
    keyframes_->forget(*place);
  }
  return nullptr;
}

// ---- Checkpoints on the way

Status Timeline::keep_checkpoint() {
  TRY(rejoin());
  return checkpoints_->keep();
}

Pause Timeline::next_pause() {
  const uint64_t spacing = checkpoints_->limits().spacing;
  const Moment now = replayer_.moment();
  Pause pause{now.total_steps + spacing, now.event + std::max<int64_t>(1, static_cast<int64_t>(spacing / kStepsPerEvent)),
              [this] { return pause_on_the_way(); }};
  if (auto close = steps_close_to_target(); close && *close > now.total_steps) {
    pause.total_steps = std::min(pause.total_steps, *close);
  }
  if (target_ && !target_->from_start && now.event < target_->event) {
    pause.event = std::min(pause.event, std::max(now.event + 1, target_->event - 1));
  }
  return pause;
}

/// The count of steps shortly before the target, once it is known.
std::optional<uint64_t> Timeline::steps_close_to_target() const {
  if (!target_) return std::nullopt;
  uint64_t steps = target_->steps;
  if (!target_->from_start) {
    if (replayer_.last_event() != target_->event) return std::nullopt;
    steps += replayer_.total_steps() - replayer_.position().steps;
  }
  return steps - std::min(steps, kClose);
}

Result<Pause> Timeline::pause_on_the_way() {
  const Moment now = replayer_.moment();
  const ReplayState* before = checkpoints_->last([&](const ReplayState& state) { return state.moment <= now; });
  auto close = steps_close_to_target();
  bool near = (close && now.total_steps >= *close) || (target_ && !target_->from_start && now.event + 1 >= target_->event);
  uint64_t apart = near ? kClose : checkpoints_->limits().spacing / 2;
  if (before == nullptr || work(now) - work(before->moment) >= apart) TRY(checkpoints_->keep());
  return next_pause();
}

// ---- Accesses

Result<std::optional<vm::SeenAccess>> Timeline::last_access(const vm::AccessFilter& filter) {
  TRY_ASSIGN(auto found, accesses_.last({&filter, 1}, static_cast<uint64_t>(last_event() + 1)));
  return found ? std::optional(found->seen) : std::nullopt;
}

std::optional<uint8_t> Timeline::device_byte(vm::GuestPhys gpa) {
  vm::AccessFilter filter;
  filter.places = {{.space = vm::Space::mmio, .first = gpa.value, .last = gpa.value}};
  auto seen = last_access(filter);
  if (!seen || !*seen) return std::nullopt;
  return static_cast<uint8_t>((*seen)->access.value >> 8 * (gpa.value - (*seen)->access.addr));
}

// ---- Backward

Result<SessionStop> Timeline::reverse(vm::ReverseFor what) {
  TRY(rejoin());
  return what == vm::ReverseFor::step ? step_back() : run_back();
}

Result<SessionStop> Timeline::begin() {
  TRY(checkpoints_->go_to(checkpoints_->first()));
  return SessionStop{.kind = Kind::began, .reason = "the beginning of the recording"};
}

Result<SessionStop> Timeline::step_back() {
  uint64_t steps = replayer_.total_steps();
  if (steps <= checkpoints_->first().moment.total_steps) return begin();
  TRY_ASSIGN(SessionStop stop, go_to(Position::after_start(steps - 1), Patience::to_the_end));
  if (stop.kind == Kind::position) stop.kind = Kind::step;
  return stop;
}

/// Whether the trace can be asked for all accesses that stop.
bool Timeline::breaks_know_their_places() const {
  return std::ranges::none_of(replayer_.breaks().list(), [](const auto& one) { return one.resolve != nullptr; });
}

/// The last access before here that a break is for.
Result<std::optional<AccessIndex::Found>> Timeline::last_break_access() {
  std::vector<vm::AccessFilter> filters;
  for (const vm::AccessBreak& one : replayer_.breaks().list()) filters.push_back(one.filter);
  if (filters.empty()) return std::nullopt;
  return accesses_.last(filters, static_cast<uint64_t>(replayer_.last_event() + 1));
}

/// To before the instruction of an access that a break is for.
Result<SessionStop> Timeline::go_before(AccessIndex::Found access) {
  TRY_ASSIGN(SessionStop there, go_to(Position{static_cast<int64_t>(access.seen.event), 0}, Patience::to_the_end));
  if (there.kind != Kind::position) return there;
  TRY_ASSIGN(SessionStop before, step_back());
  if (before.kind != Kind::step) return before;
  if (!access.seen.instruction) access.seen.instruction = vcpu().quick_registers().linear_rip();
  return SessionStop{.kind = Kind::device, .seen = access.seen, .break_id = replayer_.breaks().list()[access.filter].id};
}

Result<SessionStop> Timeline::run_back() {
  Search search{.here = replayer_.moment(), .only_cpu_stops = breaks_know_their_places(), .access = {}};
  if (search.only_cpu_stops) {
    TRY_ASSIGN(search.access, last_break_access());
    if (replayer_.breakpoints().empty() && replayer_.watches().list().empty()) {
      return search.access ? go_before(*search.access) : begin();
    }
  }
  const Position position = replayer_.position();
  const uint64_t first = checkpoints_->first().moment.total_steps;
  Position end = position;
  uint64_t end_steps = search.here.total_steps;
  for (uint64_t size = kFirstSearch; end_steps > first; size = std::min(size * kSearchGrowth, kLargestSearch)) {
    uint64_t begin_steps = end_steps - std::min(end_steps - first, size);
    TRY_ASSIGN(Found found, look_between(begin_steps, end, search));
    if (found.interrupted) {
      TRY(go_to(position, Patience::to_the_end));
      return SessionStop{.kind = Kind::interrupted};
    }
    if (found.last) {
      TRY(go_to(found.last->before, Patience::to_the_end));
      return found.last->stop;
    }
    if (found.at_access) return go_before(*search.access);
    end_steps = begin_steps;
    end = Position::after_start(begin_steps);
  }
  return begin();
}

Result<Timeline::Found> Timeline::look_between(uint64_t total_steps, const Position& end, const Search& search) {
  Found found;
  TRY(go_to(Position::after_start(total_steps), Patience::to_the_end));
  if (search.access && replayer_.last_event() < static_cast<int64_t>(search.access->seen.event)) {
    found.at_access = true;
    TRY(go_to(Position{static_cast<int64_t>(search.access->seen.event), 0}, Patience::to_the_end));
  }
  const vm::AccessBreaks breaks = replayer_.breaks();
  const std::optional<Position> until = replayer_.until();
  replayer_.breaks().forget_counts();
  if (search.only_cpu_stops) replayer_.breaks().clear();
  replayer_.set_until(end);
  replayer_.set_pause(next_pause());
  Result<SessionStop> stop = SessionStop{};
  for (;;) {
    replayer_.stop_where_it_is(stop->kind != Kind::breakpoint);
    stop = replayer_.resume(vm::ResumeFor::go);
    if (!stop || stop->kind == Kind::position || stop->kind == Kind::ended || stop->kind == Kind::diverged) break;
    found.interrupted = stop->kind == Kind::interrupted;
    if (found.interrupted) break;
    if (auto hit = hit_of(*stop, search.here)) found.last = std::move(hit);
  }
  replayer_.breaks() = breaks;
  replayer_.set_until(until);
  if (!stop) return tl::make_unexpected(stop.error());
  return found;
}

/// A stop of a run forward, told of backward from `limit`.
std::optional<Timeline::Hit> Timeline::hit_of(const SessionStop& stop, const Moment& limit) const {
  const Moment now = replayer_.moment();
  if (stop.kind == Kind::breakpoint) {
    if (now >= limit) return std::nullopt;
    return Hit{stop, replayer_.position()};
  }
  if (now > limit) return std::nullopt;
  bool by_event = stop.kind == Kind::watch && (!stop.watch.instruction || replayer_.just_interrupted());
  return Hit{stop, by_event ? replayer_.before_last_event() : Position::after_start(now.total_steps - 1)};
}

}  // namespace dejavm::replay
