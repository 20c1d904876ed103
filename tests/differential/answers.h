// What a KVM left behind, case by case, in a file: so that soft can be compared with a KVM of another machine.
//
// Soft on the machine of that KVM would run x87 and SSE instructions on the same CPU. Read by the build that wrote it: the
// records hold structures as they lie in memory, and of a state only the words that a run has changed.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "guests.h"
#include "test_case.h"

namespace dejavm::differential {

/// A word of RAM that is not the image's after a run: the case's own words are among them.
struct ChangedWord {
  uint32_t address = 0;
  uint64_t value = 0;
};

/// One case: where it comes from, and what KVM made of it.
struct Answer {
  Mode mode = Mode::real16;
  uint64_t seed = 0, number = 0;
  uint64_t fingerprint = 0;  ///< fingerprint() of the case
  Outcome outcome;           ///< its state is complete after AnswerFile::complete()
  std::vector<ChangedWord> words;
};

/// Of what the case runs: another value where the same number makes another case by now.
uint64_t fingerprint(const TestCase& test);

/// Runs the case on KVM, whose RAM is the image before and afterwards; all but the seed.
Result<Answer> ask_kvm(Guests& guests, const TestCase& test);

class AnswerFile {
 public:
  static Result<AnswerFile> create(const std::string& path, const vm::CpuModel& model);
  /// The model is that of the KVM.
  static Result<AnswerFile> open(const std::string& path, vm::CpuModel& model);

  Status append(const Answer& answer, const TestCase& test);
  /// False: the end. The outcome's state is complete after complete().
  Result<bool> next(Answer& answer);
  /// The state of the answer that next() gave, from that in which its case begins.
  void complete(Answer& answer, const TestCase& test) const;
  Status close();

 private:
  using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;
  struct StateWord {
    uint32_t index = 0;
    uint64_t value = 0;
  };

  AnswerFile(File file, std::string path) : file_(std::move(file)), path_(std::move(path)) {}
  template <typename T>
  void put(const T& value);
  template <typename T>
  void put_all(const std::vector<T>& values);
  template <typename T>
  bool take(T& value);
  template <typename T>
  bool take_all(std::vector<T>& values);

  File file_;
  std::string path_;
  std::vector<StateWord> state_words_;  // of the answer read last
};

}  // namespace dejavm::differential
