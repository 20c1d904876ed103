#include "cli/qmp_guest.h"

namespace dejavm::cli {
Result<replay::Timeline*> QmpGuest::timeline() const {
  if (!timelines_.exists()) return fail("only a replay knows instruction counts");
  return timelines_.get();
}

std::optional<uint64_t> QmpGuest::instructions() {
  if (const replay::Timeline* now = timelines_.now()) return now->replayer().total_steps();
  if (!session_.vcpu().capabilities().exact_steps) return std::nullopt;
  return session_.vcpu().steps();
}

Status QmpGuest::seek(uint64_t instructions) {
  using Kind = vm::SessionStop::Kind;
  TRY_ASSIGN(replay::Timeline * timeline, this->timeline());
  TRY_ASSIGN(vm::SessionStop stop, timeline->seek(replay::Position::after_start(instructions)));
  if (stop.kind == Kind::diverged) return fail("the replay diverged: " + stop.reason);
  if (stop.kind == Kind::ended)
    return fail(fmt::format("the recording ends at instruction {}", timeline->replayer().total_steps()));
  return {};
}

Status QmpGuest::set_break(std::optional<uint64_t> instructions) {
  if (!instructions && timelines_.exists() && timelines_.now() == nullptr) return {};
  TRY_ASSIGN(replay::Timeline * timeline, this->timeline());
  return timeline->set_break(instructions);
}

}  // namespace dejavm::cli
