// The monitor's words that show the guest's registers, memory and address spaces, as QEMU's do.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "vm/register_map.h"
#include "vm/session.h"

namespace dejavm::cli {

class StateMonitor {
 public:
  using Arguments = std::vector<std::string_view>;

  /// Borrows both.
  StateMonitor(vm::Session& session, const vm::RegisterMaps& registers) : session_(session), registers_(registers) {}

  /// Whether execute() is for this word: info, x, xp, x/FMT, xp/FMT.
  static bool knows(std::string_view word);
  /// The text to show.
  Result<std::string> execute(const Arguments& words);

  static std::string help();

 private:
  /// "/COUNT FORMAT SIZE" in any order, without blanks.
  struct Format {
    uint64_t count = 1;
    char letter = 'x';
    unsigned size = 4;
  };
  static Result<Format> parse_format(std::string_view text, char letter, unsigned size);

  Result<std::string> info(const Arguments& words) const;
  Result<std::string> interrupt_controllers() const;
  Result<std::string> examine(const Arguments& words);
  /// Numbers, registers as $rip, and + and - between them.
  Result<uint64_t> evaluate(const Arguments& words, size_t from) const;
  Result<std::string> values(uint64_t address, const Format& format, bool physical) const;
  Result<std::string> instructions(uint64_t address, uint64_t count, bool physical) const;
  /// As many bytes as there are: RAM, and of devices what the last access transferred.
  size_t read(uint64_t address, MutableByteSpan to, bool physical) const;

  vm::Session& session_;
  const vm::RegisterMaps& registers_;
  Format last_;  // what the next one takes that has none
};

}  // namespace dejavm::cli
