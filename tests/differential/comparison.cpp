#include "comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "instruction_kinds.h"
#include "known_differences.h"
#include "tcg_explanation.h"

namespace dejavm::differential {
namespace {

const char* name(Outcome::Kind kind) {
  static constexpr const char* kNames[] = {"halted", "shut down", "did not end", "stopped", "failed"};
  return kNames[static_cast<size_t>(kind)];
}

std::string mnemonic(const RandomInstruction& random) { return ZydisMnemonicGetString(random.insn.mnemonic); }

}  // namespace

void Comparison::prepare(const TestCase& test) {
  guests_.reset();
  for (const Patch& patch : test.patches) guests_.write(patch.gpa, patch.bytes);
}

Status Comparison::run(const TestCase& test) {
  prepare(test);
  TRY_ASSIGN(Outcome kvm, guests_.run_kvm(test.state));
  compare(test, kvm);
  return {};
}

void Comparison::compare(const TestCase& test, const Outcome& kvm, const std::vector<ChangedWord>& words) {
  prepare(test);
  guests_.restore_kvm(guests_.changed_pages());
  for (const ChangedWord& word : words) {
    guests_.write_kvm(word.address, {reinterpret_cast<const uint8_t*>(&word.value), sizeof word.value});
  }
  compare(test, kvm);
}

void Comparison::compare(const TestCase& test, const Outcome& kvm) {
  ++tally_.runs;
  if (kvm.kind == Outcome::Kind::endless) {
    ++tally_.endless;
    return;
  }
  std::optional<uint64_t> stop;
  if (kvm.kind == Outcome::Kind::stopped) {
    stop = kvm.state.linear_rip();
    if (const RandomInstruction* refused = test.at(*stop)) ++tally_.refused[mnemonic(*refused)];
    if (*stop == test.code) return;
  }
  Outcome interpreted = guests_.run_soft(Engine::interpreter, test.state, stop);
  Outcome translated = guests_.run_soft(Engine::translator, test.state, stop);
  count(test, interpreted.steps);
  const End kvm_end{Engine::kvm, kvm}, end{Engine::interpreter, interpreted}, other{Engine::translator, translated};
  std::string text = difference(kvm_end, end), apart = difference(end, other);
  if (!text.empty()) explain(test, kvm, interpreted, text);
  if (!apart.empty()) report(test, fmt::format("    the translator is not as the interpreter: {}\n", apart));
}

/// `text`: the difference.
void Comparison::explain(const TestCase& test, const Outcome& kvm, const Outcome& soft, const std::string& text) {
  if (guests_.image().on_tcg) {
    if (auto reasons = TcgExplanation(guests_, test, kvm).reasons(soft)) {
      for (const std::string& reason : *reasons) ++tally_.known[reason];
      return;
    }
  } else if (auto reason = known_difference(test, guests_.image(), kvm, soft)) {
    ++tally_.known[*reason];
    return;
  }
  if (overwrites_itself(test)) {
    ++tally_.known["a REP that writes over itself goes on where processors have it already, and is fetched anew by soft"];
  } else if (rewrites_page_tables()) {
    ++tally_.known["KVM walks page tables that were just written, and marks them accessed, at other times than soft"];
  } else if (strays(test)) {
    ++tally_.strayed;
  } else {
    report(test, fmt::format("    {}\n", text));
  }
}

void Comparison::count(const TestCase& test, uint64_t steps) {
  size_t ran = std::min(static_cast<size_t>(steps), test.instructions.size());
  tally_.instructions += ran;
  for (size_t i = 0; i < ran; ++i) ++tally_.seen[mnemonic(test.instructions[i])];
}

/// Empty: none.
std::string Comparison::difference(const End& expected, const End& found) const {
  const Outcome &a = expected.outcome, &b = found.outcome;
  if (b.kind == Outcome::Kind::failed && a.kind == b.kind) return {};
  if (b.kind == Outcome::Kind::failed) {
    return fmt::format("cannot run it: {}; {} {} at {:#x}", b.error, name(expected.engine), name(a.kind),
                       a.state.linear_rip());
  }
  std::string text;
  if (a.kind != b.kind) {
    for (const End* end : {&expected, &found}) {
      text += fmt::format("{} {} at {:#x}; ", name(end->engine), name(end->outcome.kind), end->outcome.state.linear_rip());
    }
  }
  if (a.accesses != b.accesses) {
    for (const End* end : {&expected, &found}) {
      for (const auto& access : end->outcome.accesses) text += fmt::format("[{}: {}] ", name(end->engine), describe(access));
    }
  }
  if (a.kind == b.kind && a.kind != Outcome::Kind::shutdown) text += vm::difference(a.state, b.state);
  auto address = guests_.first_difference(expected.engine, found.engine);
  for (const End* end : {&expected, &found}) {
    if ((text.empty() && !address) || !end->outcome.fault) continue;
    text += fmt::format(" [{}: exception {} at {:#x}, CR2 {:#x}]", name(end->engine), end->outcome.fault->vector,
                        end->outcome.fault->address, end->outcome.state.cr2);
  }
  if (address) {
    auto word = [&](const End& end) {
      uint64_t value = 0;
      std::memcpy(&value, guests_.ram(end.engine) + (*address & ~uint64_t{7}), sizeof value);
      return value;
    };
    text += fmt::format(" RAM at {:#x} ({:016x} found {:016x})", *address, word(expected), word(found));
  }
  return text;
}

/// Whether a REP wrote over the code: processors may end it before they fetch what is there now, and soft does not.
bool Comparison::overwrites_itself(const TestCase& test) const {
  const Patch& code = test.patches.front();
  return std::ranges::any_of(test.instructions, repeats) &&
         std::memcmp(guests_.ram(Engine::kvm) + code.gpa, code.bytes.data(), code.bytes.size()) != 0;
}

/// Whether the page tables are others than before, but for the accessed and dirty bits.
bool Comparison::rewrites_page_tables() const {
  if (!has_paging(guests_.image().mode)) return false;
  constexpr uint64_t kTablesSize = 5 * 0x1000, kAccessedAndDirty = 0x60;
  for (uint64_t at = kTables; at < kTables + kTablesSize; at += 8) {
    uint64_t before = 0, after = 0;
    std::memcpy(&before, guests_.image().ram.data() + at, sizeof before);
    std::memcpy(&after, guests_.ram(Engine::kvm) + at, sizeof after);
    if (((before ^ after) & ~kAccessedAndDirty) != 0) return true;
  }
  return false;
}

/// Whether the case jumped where neither its instructions nor HLTs are: what it ran there may be anything.
bool Comparison::strays(const TestCase& test) {
  constexpr size_t kSteps = 50000;  // of which a REP may take many
  prepare(test);
  auto places = guests_.trace(test.state, kSteps);
  return std::ranges::any_of(places, [&](const Guests::Place& place) {
    return place.address < kRamSize && place.byte != kHalt && test.at(place.address) == nullptr;
  });
}

void Comparison::report(const TestCase& test, const std::string& text) {
  ++tally_.different;
  Tally::Found& found = tally_.unknown[mnemonic(test.instructions.front())];
  if (++found.count > kExamples) return;
  found.examples += fmt::format("   case {}, rflags {:#x}:\n", test.number, test.state.rflags) + test.text() + text;
}

}  // namespace dejavm::differential
