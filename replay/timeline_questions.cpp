// What a timeline finds out by going there and coming back.
#include "replay/timeline.h"

namespace dejavm::replay {

using vm::SessionStop;
using Kind = vm::SessionStop::Kind;

/// Like running back with a watchpoint there and nothing else to stop at.
Result<std::optional<Timeline::Write>> Timeline::last_write(vm::GuestPhys first, uint64_t length) {
  TRY(rejoin());
  const Position here = replayer_.position();
  const std::vector<vm::GuestVirt> breakpoints = replayer_.breakpoints();
  const vm::AccessBreaks breaks = replayer_.breaks();
  const vm::WatchList watches = replayer_.watches();
  vm::WatchList only;
  vm::Watchpoint range{.by = vm::Watchpoint::By::physical, .first = first.value, .length = length};
  TRY(only.add(vcpu(), range, false));
  TRY(replayer_.watches().become(vcpu(), only));
  TRY(replayer_.set_breakpoints({}));
  replayer_.breaks().clear();

  auto stop = run_back();
  Write write{stop ? stop->watch.address : 0, stop ? stop->watch.instruction : std::nullopt, replayer_.position(),
              replayer_.total_steps()};
  replayer_.breaks() = breaks;
  TRY(replayer_.set_breakpoints(breakpoints));
  TRY(replayer_.watches().become(vcpu(), watches));
  TRY(stop);
  if (stop->kind != Kind::interrupted) TRY(go_to(here, Patience::to_the_end));
  if (stop->kind == Kind::interrupted) return fail("interrupted", "Ask again, or for less.");
  return stop->kind == Kind::watch ? std::optional(write) : std::nullopt;
}

Result<Timeline::Difference> Timeline::compare_with(const std::optional<Position>& there) {
  TRY(rejoin());
  const Position here = replayer_.position();
  vm::StateTracker& tracker = replayer_.tracker();
  TRY(tracker.refresh());
  TRY_ASSIGN(vm::CpuState cpu, vcpu().state());
  std::vector<uint64_t> hashes(memory().ram_size() / vm::kPageSize);
  for (uint64_t page = 0; page < hashes.size(); ++page) hashes[page] = tracker.page(page);

  TRY(go_to(there, Patience::interruptible));
  TRY(tracker.refresh());
  TRY_ASSIGN(vm::CpuState other, vcpu().state());
  Difference found{replayer_.position(), vm::difference(cpu, other), {}};
  for (uint64_t page = 0; page < hashes.size(); ++page) {
    if (tracker.page(page) != hashes[page]) found.pages.push_back(page);
  }
  TRY(go_to(here, Patience::to_the_end));
  return found;
}

}  // namespace dejavm::replay
