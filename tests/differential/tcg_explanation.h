// Whether what differs between KVM on QEMU's TCG and soft's model of it is explained, by tcg_differences.h and by further
// runs of soft: what a reason cannot reach has to agree.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "guests.h"
#include "tcg_differences.h"
#include "test_case.h"

namespace dejavm::differential {

/// Borrows the guests, whose KVM has left its RAM, and the case. Changes the RAM of the interpreter.
class TcgExplanation {
 public:
  TcgExplanation(Guests& guests, const TestCase& test, const Outcome& kvm) : guests_(guests), test_(test), kvm_(kvm) {}

  /// The reasons, where they explain all; `soft` is what the interpreter made of it, whose RAM is as it left it.
  std::optional<std::vector<std::string>> reasons(const Outcome& soft);

 private:
  using Reasons = std::optional<std::vector<std::string>>;

  enum class Flags : uint8_t { sound, none };
  Reasons made_alike(const Outcome& kvm, const std::vector<uint8_t>& kvm_ram, const Outcome& soft,
                     Flags flags = Flags::sound);
  Reasons raised_by_emulator(const Outcome& soft);
  Reasons raised_by_emulator(const Outcome& soft, const RandomInstruction* random);
  Reasons other_flags();
  Reasons changed_flags(const RandomInstruction& random, uint64_t at);
  Reasons with_change(Flags flags);
  Reasons no_fault(const Outcome& soft);
  Reasons lost_exception(const Outcome& soft);
  Reasons wrong_stack();
  Reasons strayed_access(const Outcome& soft);
  std::optional<Outcome> run(std::optional<uint64_t> stop);
  std::optional<Outcome> in_front_of(uint64_t at);
  std::optional<Outcome> behind_iterations(const RandomInstruction& random);
  std::optional<uint64_t> stop() const;
  void prepare();
  std::vector<uint8_t> ram(Engine engine) const;

  Guests& guests_;
  const TestCase& test_;
  const Outcome& kvm_;
  /// Status flags that all further runs have the other way round in front of an instruction.
  struct Change {
    uint64_t at, flags;
  };
  std::optional<Change> change_;
};

}  // namespace dejavm::differential
