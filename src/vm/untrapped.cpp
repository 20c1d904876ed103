#include "vm/untrapped.h"

namespace dejavm::vm {

const char* name(UntrappedKind kind) {
  constexpr std::array<const char*, kUntrappedKinds> kNames = {"rdtsc", "rdtscp", "rdrand", "rdseed"};
  return kNames[static_cast<size_t>(kind)];
}

void UntrappedReads::note(const UntrappedSite& site) {
  ++counts[static_cast<size_t>(site.kind)];
  for (size_t i = 0; i < site_count; ++i) {
    if (sites[i].at == site.at) return;
  }
  if (site_count < kMaxSites) sites[site_count++] = site;
}

}  // namespace dejavm::vm
