#include "replay/divergence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace dejavm::replay {

std::string describe(const Divergence& d) {
  std::string text = fmt::format("{} divergence at event {}\n  expected: {}\n  actual:   {}\n",
                                 d.kind == Divergence::Kind::access ? "access" : "state", d.event, d.expected, d.actual);
  if (!d.differing_pages.empty()) {
    size_t shown = std::min<size_t>(d.differing_pages.size(), 8);
    std::vector<uint64_t> first(d.differing_pages.begin(), d.differing_pages.begin() + static_cast<long>(shown));
    for (uint64_t& page : first) page *= 4096;
    text +=
        fmt::format("  {} RAM page{} differ: {:#x}{}\n", d.differing_pages.size(), d.differing_pages.size() == 1 ? "" : "s",
                    fmt::join(first, ", "), shown < d.differing_pages.size() ? ", ..." : "");
  }
  if (!d.recent.empty()) text += fmt::format("  before it:\n    {}\n", fmt::join(d.recent, "\n    "));
  if (!d.registers.empty()) {
    text += "  registers:\n    ";
    for (char c : d.registers) {
      text += c;
      if (c == '\n') text += "    ";
    }
    text.erase(text.find_last_not_of(" \n") + 1);
    text += '\n';
  }
  return text;
}

}  // namespace dejavm::replay
