#include "comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "known_differences.h"

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
  for (Engine engine : kSoftEngines) {
    Outcome soft = guests_.run_soft(engine, test.state, stop);
    if (engine == Engine::interpreter) count(test, soft.steps);
    std::string text = difference(engine, kvm, soft);
    if (text.empty()) continue;
    if (auto reason = known_difference(test, guests_.image(), kvm, soft)) {
      ++tally_.known[*reason];
    } else if (overwrites_itself(test)) {
      ++tally_.known["a REP that writes over itself goes on where processors have it already, and is fetched anew by soft"];
    } else if (rewrites_page_tables()) {
      ++tally_.known["KVM walks page tables that were just written, and marks them accessed, at other times than soft"];
    } else if (strays(test)) {
      ++tally_.strayed;
    } else {
      report(test, fmt::format("    {}: {}\n", name(engine), text));
    }
    return;
  }
}

void Comparison::count(const TestCase& test, uint64_t steps) {
  size_t ran = std::min(static_cast<size_t>(steps), test.instructions.size());
  tally_.instructions += ran;
  for (size_t i = 0; i < ran; ++i) ++tally_.seen[mnemonic(test.instructions[i])];
}

/// Empty: none.
std::string Comparison::difference(Engine engine, const Outcome& kvm, const Outcome& soft) const {
  if (soft.kind == Outcome::Kind::failed) return "cannot run it: " + soft.error;
  std::string text;
  if (kvm.kind != soft.kind) text += fmt::format("KVM {}, soft {}; ", name(kvm.kind), name(soft.kind));
  if (kvm.accesses != soft.accesses) {
    for (const auto& access : kvm.accesses) text += "[KVM: " + describe(access) + "] ";
    for (const auto& access : soft.accesses) text += "[soft: " + describe(access) + "] ";
  }
  if (kvm.kind == soft.kind && kvm.kind != Outcome::Kind::shutdown) text += vm::difference(kvm.state, soft.state);
  for (const Outcome* outcome : {&kvm, &soft}) {
    if (text.empty() && !guests_.first_difference(engine)) break;
    if (!outcome->fault) continue;
    text += fmt::format(" [{}: exception {} at {:#x}, CR2 {:#x}]", outcome == &kvm ? "KVM" : "soft", outcome->fault->vector,
                        outcome->fault->address, outcome->state.cr2);
  }
  if (auto address = guests_.first_difference(engine)) {
    auto word = [&](Engine which) {
      uint64_t value = 0;
      std::memcpy(&value, guests_.ram(which) + (*address & ~uint64_t{7}), sizeof value);
      return value;
    };
    text += fmt::format(" RAM at {:#x} ({:016x} found {:016x})", *address, word(Engine::kvm), word(engine));
  }
  return text;
}

/// Whether a REP wrote over the code: processors may end it before they fetch what is there now, and soft does not.
bool Comparison::overwrites_itself(const TestCase& test) const {
  bool repeats = std::ranges::any_of(test.instructions, [](const RandomInstruction& random) {
    return random.insn.meta.category == ZYDIS_CATEGORY_STRINGOP && (random.has_prefix(0xf2) || random.has_prefix(0xf3));
  });
  const Patch& code = test.patches.front();
  return repeats && std::memcmp(guests_.ram(Engine::kvm) + code.gpa, code.bytes.data(), code.bytes.size()) != 0;
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
  constexpr size_t kSteps = 4000;
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
