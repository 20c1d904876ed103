#include "engine/soft/table_pages.h"

namespace dejavm::soft {

bool TablePages::mark_last_level(uint64_t page, uint64_t first_linear, unsigned entry_size) {
  Kind& kind = kinds_[page];
  if (kind == Kind::other) return false;
  if (kind == Kind::last_level) {
    const LastLevel& known = last_levels_.at(page);
    // One table in two places, or at two levels: whoever changes it changes more than this page can say.
    if (known.first_linear != first_linear || known.entry_size != entry_size) kind = Kind::other;
    return false;
  }
  kind = Kind::last_level;
  marked_.push_back(page);
  last_levels_[page] = {first_linear, entry_size};
  return true;
}

bool TablePages::mark(uint64_t page) {
  bool fresh = kinds_[page] == Kind::none;
  kinds_[page] = Kind::other;
  if (fresh) marked_.push_back(page);
  return fresh;
}

void TablePages::clear() {
  for (uint64_t page : marked_) kinds_[page] = Kind::none;
  marked_.clear();
  last_levels_.clear();
}

}  // namespace dejavm::soft
