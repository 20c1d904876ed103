// A guest that notes what QMP wants of it.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "qmp/guest.h"

namespace dejavm::qmp {

struct FakeGuest final : Guest {
  Mode mode() const override { return is; }
  std::string file() const override { return is == Mode::none ? "" : "a.dvt"; }
  std::optional<uint64_t> instructions() override { return at; }
  Status seek(uint64_t instructions) override {
    if (instructions > 1000) return fail("the recording ends at instruction 1000");
    at = instructions;
    return {};
  }
  Status set_break(std::optional<uint64_t> instructions) override {
    breaks.push_back(instructions);
    return {};
  }
  std::string monitor(std::string_view line) override {
    lines.emplace_back(line);
    return "a\nb\n";
  }

  Mode is = Mode::play;
  std::optional<uint64_t> at = 5;
  std::vector<std::optional<uint64_t>> breaks;
  std::vector<std::string> lines;
};

}  // namespace dejavm::qmp
