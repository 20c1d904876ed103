// Runs random instructions on KVM and on the soft engine and compares everything: registers, flags, memory, device accesses,
// exceptions.
#include <fmt/format.h>

#include <charconv>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>

#include "answers.h"
#include "comparison.h"

namespace dejavm::differential {
namespace {

constexpr int kSuccess = 0, kError = 1, kUsage = 2, kDifferent = 3, kSkipped = 77;
constexpr const char* kHelp =
    R"(usage: differential [--mode MODE] [--count N] [--seed S] [--case N] [--soak]
                    [--save FILE | --answers FILE]

Runs random instructions on KVM and on the soft engine, interpreted and translated, and compares all that they leave behind.

  --mode MODE   real16, flat32, long64, user64 or all (default)
  --count N     instructions in each mode (default 20000)
  --seed S      other instructions (default 1)
  --case N      only the case of this number, with its difference if it has one; wants --mode
  --save FILE   only runs KVM and keeps what it leaves behind; --count is then of the instructions that the cases hold
  --answers FILE  compares soft with the KVM that wrote FILE; the cases are those of FILE
  --soak        does nothing but where DEJAVM_REPEAT=full, which ./dev test --full sets

Exit status 0: no unexplained difference; 1: KVM failed; 2: wrong arguments; 3: differences; 77: nothing to do here.
)";

struct Options {
  uint64_t count = 20000, seed = 1;
  std::string mode = "all";
  std::optional<uint64_t> only;
  std::string save, answers;
  bool soak = false;
  bool help = false;
};

std::optional<uint64_t> number(std::string_view text) {
  uint64_t value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

bool is_mode(std::string_view text) {
  for (Mode mode : kModes) {
    if (text == name(mode)) return true;
  }
  return text == "all";
}

/// The text of an error, if there is one.
std::optional<std::string> parse(std::span<char*> arguments, Options& options) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    std::string_view option = arguments[i];
    if (option == "--help") {
      options.help = true;
    } else if (option == "--soak") {
      options.soak = true;
    } else if (option != "--mode" && option != "--count" && option != "--seed" && option != "--case" && option != "--save" &&
               option != "--answers") {
      return fmt::format("unknown option '{}'", option);
    } else if (i + 1 == arguments.size()) {
      return fmt::format("{} wants a value", option);
    } else {
      std::string_view value = arguments[++i];
      auto parsed = number(value);
      if (option == "--save" || option == "--answers") {
        (option == "--save" ? options.save : options.answers) = value;
        continue;
      }
      if (option == "--mode") {
        if (!is_mode(value)) return fmt::format("'{}' is no mode", value);
        options.mode = value;
        continue;
      }
      if (!parsed) return fmt::format("{}: '{}' is no number", option, value);
      if (option == "--count") options.count = *parsed;
      if (option == "--seed") options.seed = *parsed;
      if (option == "--case") options.only = *parsed;
    }
  }
  if (options.only && options.mode == "all") return "--case wants --mode";
  return std::nullopt;
}

void print(Mode mode, const Tally& tally, double seconds) {
  fmt::print("{}: {} instructions in {} runs ({} mnemonics), {:.0f} a second; {} runs differ\n", name(mode),
             tally.instructions, tally.runs, tally.seen.size(), static_cast<double>(tally.instructions) / seconds,
             tally.different);
  if (tally.endless != 0) fmt::print("  without end: {}\n", tally.endless);
  if (tally.strayed != 0) fmt::print("  different after a jump into data: {}\n", tally.strayed);
  for (const auto& [reason, count] : tally.known) fmt::print("  known, {} times: {}\n", count, reason);
  for (const auto& [mnemonic, found] : tally.unknown) {
    fmt::print("  UNKNOWN: {}, {} times\n{}", mnemonic, found.count, found.examples);
  }
  std::string refused;
  for (const auto& [mnemonic, count] : tally.refused) refused += fmt::format(" {}:{}", mnemonic, count);
  if (!refused.empty()) fmt::print("  not run by this KVM:{}\n", refused);
  std::fflush(stdout);
}

Status run_mode(Guests& guests, Mode mode, const Options& options, Tally& tally) {
  guests.enter(mode);
  CaseSource cases(guests.image());
  Comparison comparison(guests, tally);
  if (options.only) return comparison.run(cases.make(options.seed, *options.only));
  // The second limit: a KVM that runs nothing of a mode would keep us here for ever.
  for (uint64_t i = 0; tally.instructions < options.count && i < 100 * options.count; ++i) {
    TRY(comparison.run(cases.make(options.seed, i)));
  }
  return {};
}

Status save_mode(Guests& guests, Mode mode, const Options& options, AnswerFile& file) {
  guests.enter(mode);
  CaseSource cases(guests.image());
  uint64_t instructions = 0;
  for (uint64_t i = 0; instructions < options.count; ++i) {
    TestCase test = cases.make(options.seed, i);
    instructions += test.instructions.size();
    TRY_ASSIGN(Answer answer, ask_kvm(guests, test));
    answer.seed = options.seed;
    if (answer.outcome.kind == Outcome::Kind::endless) {
      fmt::print("{}: case {} has no end {}\n{}", name(mode), i, answer.outcome.error, test.text());
    }
    TRY(file.append(answer, test));
  }
  fmt::print("{}: {} instructions saved\n", name(mode), instructions);
  std::fflush(stdout);
  return {};
}

Status save(Guests& guests, const Options& options) {
  TRY_ASSIGN(AnswerFile file, AnswerFile::create(options.save, guests.model()));
  for (Mode mode : kModes) {
    if (options.mode == "all" || options.mode == name(mode)) TRY(save_mode(guests, mode, options, file));
  }
  return file.close();
}

/// Of a whole file of answers.
struct Compared {
  Tally tallies[std::size(kModes)];
  double seconds[std::size(kModes)] = {};
  uint64_t stale = 0;  ///< cases that are others by now
};

Status compare_answers(const Options& options, Compared& compared) {
  vm::CpuModel model = vm::dejavm64_v1();
  TRY_ASSIGN(AnswerFile file, AnswerFile::open(options.answers, model));
  TRY_ASSIGN(auto guests, Guests::create_without_kvm(std::move(model)));
  std::optional<CaseSource> cases;
  Answer answer;
  for (;;) {
    TRY_ASSIGN(bool more, file.next(answer));
    if (!more) return {};
    if (options.mode != "all" && options.mode != name(answer.mode)) continue;
    if (options.only && *options.only != answer.number) continue;
    if (!cases || guests->image().mode != answer.mode) {
      guests->enter(answer.mode);
      cases.emplace(guests->image());
    }
    TestCase test = cases->make(answer.seed, answer.number);
    if (fingerprint(test) != answer.fingerprint) {
      ++compared.stale;
      continue;
    }
    file.complete(answer, test);
    auto begin = std::chrono::steady_clock::now();
    auto mode = static_cast<size_t>(answer.mode);
    Comparison(*guests, compared.tallies[mode]).compare(test, answer.outcome, answer.words);
    compared.seconds[mode] += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  }
}

int run_answers(const Options& options) {
  Compared compared;
  if (auto status = compare_answers(options, compared); !status) {
    fmt::print("{}\n", status.error().what);
    return kError;
  }
  uint64_t different = 0, instructions = 0;
  for (Mode mode : kModes) {
    const Tally& tally = compared.tallies[static_cast<size_t>(mode)];
    if (tally.runs == 0) continue;
    print(mode, tally, compared.seconds[static_cast<size_t>(mode)]);
    different += tally.different;
    instructions += tally.instructions;
  }
  if (compared.stale != 0) fmt::print("{} cases are others by now: save them again\n", compared.stale);
  fmt::print("{} instructions, {} runs with unexplained differences\n", instructions, different);
  return different != 0 ? kDifferent : compared.stale != 0 ? kError : kSuccess;
}

int run(const Options& options) {
  const char* repeat = std::getenv("DEJAVM_REPEAT");
  if (options.soak && (repeat == nullptr || std::strcmp(repeat, "full") != 0)) {
    fmt::print("skipped: ./dev test --full runs it\n");
    return kSkipped;
  }
  if (!options.answers.empty()) return run_answers(options);
  auto guests = Guests::create();
  if (!guests) {
    fmt::print("skipped: {}\n", guests.error().what);
    return kSkipped;
  }
  if (!options.save.empty()) {
    auto saved = save(**guests, options);
    if (!saved) fmt::print("{}\n", saved.error().what);
    return saved ? kSuccess : kError;
  }
  uint64_t different = 0, instructions = 0;
  for (Mode mode : kModes) {
    if (options.mode != "all" && options.mode != name(mode)) continue;
    Tally tally;
    auto begin = std::chrono::steady_clock::now();
    if (auto status = run_mode(**guests, mode, options, tally); !status) {
      fmt::print("{}\n", status.error().what);
      return kError;
    }
    print(mode, tally, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    different += tally.different;
    instructions += tally.instructions;
  }
  fmt::print("{} instructions, {} runs with unexplained differences, seed {}\n", instructions, different, options.seed);
  return different == 0 ? kSuccess : kDifferent;
}

}  // namespace
}  // namespace dejavm::differential

int main(int argc, char** argv) {
  using namespace dejavm::differential;
  Options options;
  if (auto wrong = parse({argv + 1, static_cast<size_t>(argc - 1)}, options)) {
    fmt::print(stderr, "differential: {}\n{}", *wrong, kHelp);
    return kUsage;
  }
  if (options.help) {
    fmt::print("{}", kHelp);
    return kSuccess;
  }
  return run(options);
}
