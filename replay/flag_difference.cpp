#include "replay/flag_difference.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <functional>

#include "vm/ram_digest.h"

namespace dejavm::replay {
namespace {

/// RFLAGS (AMD64 APM volume 2, section 3.1.6).
struct Flag {
  uint32_t bit;
  const char* name;
};
constexpr Flag kStatus[] = {{1u << 0, "CF"}, {1u << 2, "PF"}, {1u << 4, "AF"},
                            {1u << 6, "ZF"}, {1u << 7, "SF"}, {1u << 11, "OF"}};
constexpr uint32_t kAf = 1u << 4;
constexpr uint32_t kAlwaysOne = 1u << 1;
constexpr uint32_t kNeverOne = 0xffc08028;
constexpr size_t kMostWords = 8;                 // that differ in one page
constexpr uint64_t kTriesOfASuspect = 1u << 14;  // any flags of one of 260 words

bool looks_like_flags(uint64_t word) { return (word & (~uint64_t{0xffffffff} | kNeverOne | kAlwaysOne)) == kAlwaysOne; }

/// All sets of status flags.
std::vector<uint32_t> all_masks() {
  std::vector<uint32_t> masks;
  for (uint32_t set = 1; set < 1u << std::size(kStatus); ++set) {
    uint32_t mask = 0;
    for (size_t i = 0; i < std::size(kStatus); ++i) mask |= (set >> i & 1) * kStatus[i].bit;
    masks.push_back(mask);
  }
  return masks;
}

/// Turns flags round in words until it matches.
struct Search {
  size_t words;
  std::function<void(size_t word, uint32_t mask)> flip;
  std::function<bool()> matches;
  uint64_t& tries;
  std::vector<std::pair<size_t, uint32_t>> flipped;

  /// In this many words from `first` on.
  bool look(size_t count, size_t first, const std::vector<uint32_t>& masks) {
    for (size_t word = first; word + count <= words; ++word) {
      for (uint32_t mask : masks) {
        if (tries == 0) return false;
        flip(word, mask);
        flipped.emplace_back(word, mask);
        if (count == 1 ? --tries, matches() : look(count - 1, word + 1, masks)) return true;
        flipped.pop_back();
        flip(word, mask);
      }
    }
    return false;
  }

  /// AF is what most instructions leave undefined, so that many words differ in it sooner than two in others.
  bool look() {
    const std::vector<uint32_t> all = all_masks(), af = {kAf};
    if (look(1, 0, all) || look(2, 0, af) || look(3, 0, af) || look(2, 0, all)) return true;
    for (size_t count = 4; count <= std::min(words, kMostWords); ++count) {
      if (look(count, 0, af)) return true;
    }
    return false;
  }
};

std::string names(uint32_t mask) {
  std::vector<std::string> set;
  for (const Flag& flag : kStatus) {
    if ((mask & flag.bit) != 0) set.emplace_back(flag.name);
  }
  return fmt::format("{}", fmt::join(set, "|"));
}

/// In RFLAGS and in R11, where SYSCALL saves it.
bool find_in_cpu(const StateDifference& difference, uint64_t& tries, std::vector<std::string>& found) {
  vm::CpuState cpu = difference.cpu;
  uint64_t* const registers[] = {&cpu.rflags, &cpu.gpr[vm::r11]};
  constexpr const char* kNames[] = {"rflags", "r11"};
  Search search{.words = looks_like_flags(cpu.gpr[vm::r11]) ? size_t{2} : size_t{1},
                .flip = [&](size_t i, uint32_t mask) { *registers[i] ^= mask; },
                .matches = [&] { return vm::hash(cpu) == difference.recorded_cpu; },
                .tries = tries,
                .flipped = {}};
  if (search.matches()) return true;
  if (!search.look()) return false;
  for (const auto& [i, mask] : search.flipped) found.push_back(fmt::format("{} of {}", names(mask), kNames[i]));
  return true;
}

bool find_in_page(const vm::GuestMemory& memory, uint64_t page, uint64_t recorded_hash, uint64_t& tries,
                  std::vector<std::string>& found) {
  std::array<uint32_t, vm::kPageSize / sizeof(uint32_t)> contents;
  std::memcpy(contents.data(), memory.page(page).data(), vm::kPageSize);
  const ByteSpan bytes{reinterpret_cast<const uint8_t*>(contents.data()), vm::kPageSize};
  std::vector<size_t> words;
  for (size_t i = 0; i < contents.size(); ++i) {
    if (looks_like_flags(contents[i])) words.push_back(i);
  }
  Search search{.words = words.size(),
                .flip = [&](size_t i, uint32_t mask) { contents[words[i]] ^= mask; },
                .matches = [&] { return vm::page_hash(page, bytes) == recorded_hash; },
                .tries = tries,
                .flipped = {}};
  if (!search.look()) return false;
  for (const auto& [i, mask] : search.flipped) {
    found.push_back(fmt::format("{} at {:#x}", names(mask), page * vm::kPageSize + words[i] * sizeof(uint32_t)));
  }
  return true;
}

bool find_in_ram(const StateDifference& difference, const vm::GuestMemory& memory, uint64_t& tries,
                 std::vector<std::string>& found) {
  auto hash = [&](uint64_t page) { return vm::page_hash(page, memory.page(page)); };
  uint64_t missing = difference.ram_missing;
  for (auto [page, recorded] : difference.recorded_pages) missing -= recorded - hash(page);
  if (missing == 0) {  // those are all
    return std::ranges::all_of(difference.recorded_pages,
                               [&](const auto& one) { return find_in_page(memory, one.first, one.second, tries, found); });
  }
  return std::ranges::any_of(difference.suspects, [&](uint64_t page) {
    const uint64_t granted = std::min(tries, kTriesOfASuspect);
    uint64_t left = granted;
    bool is_it = find_in_page(memory, page, hash(page) + difference.ram_missing, left, found);
    tries -= granted - left;
    return is_it;
  });
}

}  // namespace

std::string find_flag_difference(const StateDifference& difference, const vm::GuestMemory& memory, uint64_t& tries) {
  std::vector<std::string> found;
  bool whole = find_in_cpu(difference, tries, found) && find_in_ram(difference, memory, tries, found);
  return whole ? fmt::format("{}", fmt::join(found, ", ")) : std::string();
}

}  // namespace dejavm::replay
