// Finds accesses to devices in a trace, backward and forward, without a replay.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "base/result.h"
#include "trace/reader.h"
#include "vm/access_breaks.h"
#include "vm/access_filter.h"

namespace dejavm::replay {

/// Knows of each chunk which addresses it has, and decodes only chunks that may have what is looked for. The first question
/// reads the whole trace once. Borrows the reader. Places that name a device mean where the device was at each access.
class AccessIndex {
 public:
  explicit AccessIndex(const trace::Reader& reader) : reader_(reader) {}

  struct Found {
    vm::SeenAccess seen;
    size_t filter = 0;  ///< which one matches, the first of several
  };
  /// The last access that matches any of the filters, of those numbered below `before`.
  Result<std::optional<Found>> last(std::span<const vm::AccessFilter> filters, uint64_t before);
  /// The first one numbered `from` or above.
  Result<std::optional<Found>> first(std::span<const vm::AccessFilter> filters, uint64_t from);

 private:
  using Devices = std::shared_ptr<const std::vector<vm::DeviceRegion>>;
  struct Chunk {
    std::vector<vm::Access> kinds;  // each kind of access once: value 0
    bool too_many = false;          // there are more
  };
  enum class Towards : uint8_t { start, end };

  Status build();
  Status note_chunk(size_t index);
  size_t table_at(uint64_t event) const;
  bool may_match(size_t chunk, std::span<const vm::AccessFilter> filters) const;
  Status decode(size_t chunk);
  std::optional<Found> match(const trace::Event& event, uint64_t number, std::span<const vm::AccessFilter> filters) const;
  Result<std::optional<Found>> search(size_t chunk, std::span<const vm::AccessFilter> filters, uint64_t from,
                                      uint64_t before, Towards towards);

  const trace::Reader& reader_;
  bool built_ = false;
  std::vector<Chunk> chunks_;
  std::vector<std::pair<uint64_t, Devices>> tables_;  // from which event on; ascending, the first one from 0 on
  size_t regions_ = 0;                                // in tables_
  size_t decoded_ = SIZE_MAX;                         // the chunk in events_
  std::vector<trace::Event> events_;
};

}  // namespace dejavm::replay
