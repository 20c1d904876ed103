// Wired-or of interrupt lines: several sources drive one set of lines.
#pragma once

#include <array>
#include <cstdint>

#include "base/check.h"
#include "vm/irq_line.h"

namespace dejavm::devices {

/// Line n of the output is high while any source holds its line n high.
class IrqJoin {
 public:
  static constexpr unsigned kSources = 3, kLines = 24;

  explicit IrqJoin(vm::IrqSink& output) : output_(output) {}

  vm::IrqSink& source(unsigned number) {
    CHECK(number < kSources);
    return sources_[number];
  }

 private:
  struct Source final : vm::IrqSink {
    explicit Source(IrqJoin& owner) : join(owner) {}
    void set_line(unsigned line, bool level) override {
      CHECK(line < kLines);
      uint32_t mask = 1u << line;
      levels = level ? levels | mask : levels & ~mask;
      join.drive(line);
    }
    IrqJoin& join;
    uint32_t levels = 0;
  };

  void drive(unsigned line) {
    uint32_t levels = 0;
    for (const Source& source : sources_) levels |= source.levels;
    output_.set_line(line, (levels >> line & 1) != 0);
  }

  vm::IrqSink& output_;
  std::array<Source, kSources> sources_{Source(*this), Source(*this), Source(*this)};
};

}  // namespace dejavm::devices
