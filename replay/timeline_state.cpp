// Going to where another replay of the same recording is, which knows its state and not its position.
#include "replay/timeline.h"

namespace dejavm::replay {

using vm::SessionStop;
using Kind = vm::SessionStop::Kind;

Result<SessionStop> Timeline::seek_state(int64_t event, const trace::MatchedState& state) {
  TRY_ASSIGN(SessionStop stop, seek(Position{event, 0}));
  if (stop.kind != Kind::position) return stop;
  TRY_ASSIGN(bool there, replayer_.matches(state));
  if (there) return stop;
  const Position end{event + 1, 0};
  TRY_ASSIGN(stop, run_to_state(state, end));
  if (stop.kind == Kind::breakpoint) return SessionStop{.kind = Kind::position};
  if (stop.kind == Kind::position) {
    // An event that enters at the breakpoint comes before it.
    TRY_ASSIGN(stop, go_to(replayer_.before_last_event(), Patience::interruptible));
    if (stop.kind != Kind::position) return stop;
  }
  if (stop.kind != Kind::position && stop.kind != Kind::ended) return stop;
  TRY_ASSIGN(there, replayer_.matches(state));
  if (there) return SessionStop{.kind = Kind::position};
  return fail(fmt::format("no point behind event {} has these registers and this memory", event));
}

/// With a breakpoint where that state is, and nothing else to stop at: a stop of kind `breakpoint` is it.
Result<SessionStop> Timeline::run_to_state(const trace::MatchedState& state, const Position& end) {
  const std::vector<vm::GuestVirt> breakpoints = replayer_.breakpoints();
  const vm::Session::BreakpointTest test = replayer_.breakpoint_test();
  const vm::AccessBreaks breaks = replayer_.breaks();
  const std::optional<Position> until = replayer_.until();
  Status compared;
  TRY(replayer_.watches().arm(vcpu(), false));
  replayer_.breaks().clear();
  replayer_.set_breakpoint_test([&](vm::GuestVirt) {
    auto same = replayer_.matches(state);
    if (!same) compared = tl::make_unexpected(same.error());
    return !same || *same;
  });
  Status set = replayer_.set_breakpoints({{state.cpu.linear_rip()}});
  replayer_.set_until(end);
  replayer_.set_pause(next_pause());
  replayer_.await(&state.cpu);
  auto stop = set ? replayer_.resume(vm::ResumeFor::go) : tl::make_unexpected(set.error());
  replayer_.await(nullptr);

  replayer_.set_until(until);
  replayer_.set_breakpoint_test(test);
  replayer_.breaks() = breaks;
  TRY(replayer_.set_breakpoints(breakpoints));
  TRY(replayer_.watches().arm(vcpu(), true));
  TRY(compared);
  return stop;
}

}  // namespace dejavm::replay
