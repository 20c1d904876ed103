#include "cli/qmp_guest.h"

namespace dejavm::cli {
Status QmpGuest::travels() const {
  if (timeline_ == nullptr) return fail("only a replay on the soft engine knows instruction counts");
  return {};
}

std::optional<uint64_t> QmpGuest::instructions() {
  if (timeline_ != nullptr) return timeline_->replayer().total_steps();
  if (!session_.vcpu().capabilities().exact_steps) return std::nullopt;
  return session_.vcpu().steps();
}

Status QmpGuest::seek(uint64_t instructions) {
  using Kind = vm::SessionStop::Kind;
  TRY(travels());
  TRY_ASSIGN(vm::SessionStop stop, timeline_->seek(replay::Position::after_start(instructions)));
  if (stop.kind == Kind::diverged) return fail("the replay diverged: " + stop.reason);
  if (stop.kind == Kind::ended)
    return fail(fmt::format("the recording ends at instruction {}", timeline_->replayer().total_steps()));
  return {};
}

Status QmpGuest::set_break(std::optional<uint64_t> instructions) {
  TRY(travels());
  if (instructions && *instructions <= timeline_->replayer().total_steps())
    return fail("cannot set breakpoint at the instruction in the past");
  timeline_->set_break(instructions ? std::optional(replay::Position::after_start(*instructions)) : std::nullopt);
  return {};
}

}  // namespace dejavm::cli
