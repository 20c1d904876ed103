// Runs a case on all engines and keeps count.
#pragma once

#include <map>
#include <string>

#include "answers.h"
#include "guests.h"
#include "test_case.h"

namespace dejavm::differential {

/// What happened in one mode.
struct Tally {
  struct Found {
    uint64_t count = 0;
    std::string examples;
  };

  uint64_t runs = 0;
  uint64_t instructions = 0;  ///< that ran on all engines
  uint64_t different = 0;     ///< runs with a difference that nothing explains
  uint64_t endless = 0;
  uint64_t strayed = 0;                     ///< runs with a difference after a jump into data
  std::map<std::string, uint64_t> seen;     ///< mnemonics
  std::map<std::string, uint64_t> refused;  ///< by KVM, per mnemonic
  std::map<std::string, uint64_t> known;    ///< per reason
  std::map<std::string, Found> unknown;     ///< per mnemonic of the first instruction
};

/// Borrows the guests, which are in the mode of the cases.
class Comparison {
 public:
  Comparison(Guests& guests, Tally& tally) : guests_(guests), tally_(tally) {}

  /// An error where KVM fails.
  Status run(const TestCase& test);
  /// With what KVM made of it elsewhere.
  void compare(const TestCase& test, const Outcome& kvm, const std::vector<ChangedWord>& words);

 private:
  static constexpr uint64_t kExamples = 3;

  void prepare(const TestCase& test);
  void compare(const TestCase& test, const Outcome& kvm);
  void count(const TestCase& test, uint64_t steps);
  /// What an engine made of it; its RAM is as it left it.
  struct End {
    Engine engine;
    const Outcome& outcome;
  };
  std::string difference(const End& expected, const End& found) const;
  void explain(const TestCase& test, const Outcome& kvm, const Outcome& soft, const std::string& text);
  bool overwrites_itself(const TestCase& test) const;
  bool rewrites_page_tables() const;
  bool strays(const TestCase& test);
  void report(const TestCase& test, const std::string& text);

  Guests& guests_;
  Tally& tally_;
};

}  // namespace dejavm::differential
