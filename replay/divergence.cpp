#include "replay/divergence.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace dejavm::replay {

const char* name(Divergence::Class possible_class) {
  switch (possible_class) {
    case Divergence::Class::rdtsc:
      return "rdtsc";
    case Divergence::Class::undefined_flags:
      return "undefined-flags";
    case Divergence::Class::unknown:
      break;
  }
  return "unknown";
}

std::string describe(const vm::UntrappedReads& reads, std::optional<uint64_t> start_steps) {
  std::vector<std::string> counts, sites;
  for (size_t kind = 0; kind < reads.counts.size(); ++kind) {
    uint64_t count = reads.counts[kind];
    if (count == 0) continue;
    counts.push_back(
        fmt::format("{} {} time{}", vm::name(static_cast<vm::UntrappedKind>(kind)), count, count == 1 ? "" : "s"));
  }
  for (size_t i = 0; i < reads.site_count; ++i) {
    const vm::UntrappedSite& site = reads.sites[i];
    std::vector<std::string> more;
    if (start_steps) more.push_back(fmt::format("@{}", site.steps - std::min(site.steps, *start_steps)));
    if (site.refused) more.emplace_back("#UD here, as CPUID hides it");
    std::string where = fmt::format("{} at {:#x} in ring {}", vm::name(site.kind), site.at.value, site.ring);
    sites.push_back(more.empty() ? where : fmt::format("{} ({})", where, fmt::join(more, "; ")));
  }
  return fmt::format("{}; first {}", fmt::join(counts, ", "), fmt::join(sites, ", then "));
}

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
  if (!d.evidence.empty()) text += fmt::format("  class:    {}: {}\n", name(d.possible_class), d.evidence);
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
