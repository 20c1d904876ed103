// What a Replayer reports of a difference, and what may have caused it.
#include <algorithm>

#include "replay/replayer.h"
#include "trace/event_text.h"

namespace dejavm::replay {

namespace {

constexpr size_t kMaxReports = 100;
constexpr uint64_t kRecent = 8;
constexpr uint64_t kTriesOfADivergence = uint64_t{1} << 20;

std::string digest_text(uint64_t cpu, uint64_t ram) { return fmt::format("cpu {:016x} ram {:016x}", cpu, ram); }

}  // namespace

std::string Replayer::expectation() {
  return next_ == nullptr ? "the end of the recording" : trace::describe(next_->body, devices_);
}

std::vector<std::string> Replayer::recent_events() {
  std::vector<std::string> lines;
  uint64_t end = cursor_.next_number();
  trace::EventCursor past(reader_);
  uint64_t number = end - std::min(end, kRecent);
  if (!past.seek(number)) return lines;
  while (number < end) {
    auto event = past.next();
    if (!event || *event == nullptr) break;
    if (!trace::is_numbered((*event)->body)) continue;
    lines.push_back(fmt::format("{} {}", number++, trace::describe((*event)->body, devices_)));
  }
  return lines;
}

/// The state is the recording's: what ran before has no part in a later difference.
void Replayer::note_agreement() {
  agreed_event_ = last_event();
  vcpu_.set_untrapped_reads({});
  tracker_->take_changed();
}

/// Soft has one set of flags for each CPU model, and answers RDTSC and its like by its count of steps. So its own recordings
/// replay with the same flags, and with the same answers where that count is known; those of a host do not.
void Replayer::classify(Divergence& report, const StateDifference* difference) {
  if (reader_.description().engine.starts_with("soft") && counts_from_start_) return;
  if (difference != nullptr) {
    const uint64_t granted = std::min(tries_left_, kTriesOfADivergence);
    uint64_t left = granted;
    std::string flags = find_flag_difference(*difference, memory_, left);
    tries_left_ -= granted - left;
    if (!flags.empty()) {
      report.possible_class = Divergence::Class::undefined_flags;
      report.evidence = "the hashes prove that nothing differs but " + flags;
      return;
    }
  }
  const vm::UntrappedReads* reads = vcpu_.untrapped_reads();
  if (reads == nullptr) {
    report.evidence = "this engine does not see RDTSC, RDRAND and RDSEED; a replay with -accel soft can tell";
    return;
  }
  std::string since = agreed_event_ < 0 ? "the start" : fmt::format("event {}, where the state agreed,", agreed_event_);
  if (!reads->any()) {
    report.evidence = fmt::format("not rdtsc: since {} the guest executed none", since);
    return;
  }
  report.possible_class = Divergence::Class::rdtsc;
  report.evidence = fmt::format("a possible cause: since {} the guest executed what the recording's host answered: {}",
                                since, describe(*reads, counts_from_start_ ? std::optional(start_steps_) : std::nullopt));
  if (report.kind == Divergence::Kind::state) report.evidence += "; the device accesses so far are as recorded";
}

Status Replayer::diverge_in_state(const StateDifference& difference, uint64_t ram) {
  return diverge(Divergence::Kind::state, digest_text(difference.recorded_cpu, ram + difference.ram_missing),
                 digest_text(vm::hash(difference.cpu), ram), &difference);
}

Status Replayer::diverge(Divergence::Kind kind, std::string expected, std::string actual,
                         const StateDifference* difference) {
  uint64_t number = cursor_.next_number();
  if (kind == Divergence::Kind::state && number > 0) --number;
  Divergence report{.kind = kind,
                    .event = number,
                    .expected = std::move(expected),
                    .actual = std::move(actual),
                    .registers = {},
                    .recent = recent_events(),
                    .differing_pages = {},
                    .evidence = {}};
  if (difference != nullptr) {
    for (auto [page, hash] : difference->recorded_pages) report.differing_pages.push_back(page);
  }
  classify(report, difference);
  if (auto cpu = vcpu_.state()) report.registers = vm::describe(*cpu);
  // A replay that was taken back comes by the same ones again.
  bool known = seen_through_ && number <= *seen_through_ &&
               std::ranges::any_of(divergences_, [&](const auto& d) { return d.kind == kind && d.event == number; });
  if (!known) ++divergence_count_;
  if (!known) ++class_counts_[static_cast<size_t>(report.possible_class)];
  if (!known && divergences_.size() < kMaxReports) divergences_.push_back(report);
  if (kind == Divergence::Kind::state && options_.keep_going) return {};
  ended_ = vm::SessionStop{.kind = vm::SessionStop::Kind::diverged, .reason = describe(report)};
  stop_ = ended_;
  return {};
}

}  // namespace dejavm::replay
