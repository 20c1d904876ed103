#include "replay/page_versions.h"

#include <algorithm>
#include <cstring>

namespace dejavm::replay {
namespace {

constexpr PageVersions::Page kZeros{};

}  // namespace

PageVersions::Contents PageVersions::copy(ByteSpan page) {
  if (std::memcmp(page.data(), kZeros.data(), kZeros.size()) == 0) return nullptr;
  auto owned = std::make_unique<Page>();
  std::copy(page.begin(), page.end(), owned->begin());
  ++pages_;
  return Contents(owned.release(), [this](const Page* gone) {
    --pages_;
    delete gone;
  });
}

bool PageVersions::same(const Contents& contents, ByteSpan page) {
  return std::memcmp(contents ? contents->data() : kZeros.data(), page.data(), page.size()) == 0;
}

PageVersions::Contents PageVersions::at(uint64_t page, const Moment& when) const {
  auto found = versions_.find(page);
  if (found == versions_.end()) return nullptr;
  auto after = std::ranges::upper_bound(found->second, when, {}, &Version::since);
  return after == found->second.begin() ? nullptr : std::prev(after)->contents;
}

bool PageVersions::has(uint64_t page, const Moment& when) const {
  auto found = versions_.find(page);
  return found != versions_.end() && std::ranges::binary_search(found->second, when, {}, &Version::since);
}

std::vector<uint64_t> PageVersions::pages() const {
  std::vector<uint64_t> numbers;
  numbers.reserve(versions_.size());
  for (const auto& [page, versions] : versions_) numbers.push_back(page);
  return numbers;
}

void PageVersions::put(uint64_t page, const Moment& when, Contents contents) {
  Versions& versions = versions_[page];
  auto place = std::ranges::lower_bound(versions, when, {}, &Version::since);
  if (place != versions.end() && place->since == when) {
    place->contents = std::move(contents);
  } else {
    versions.insert(place, {when, std::move(contents)});
  }
}

void PageVersions::remove(uint64_t page, const Moment& when) {
  auto found = versions_.find(page);
  if (found == versions_.end()) return;
  std::erase_if(found->second, [&](const Version& version) { return version.since == when; });
  if (found->second.empty()) versions_.erase(found);
}

}  // namespace dejavm::replay
