// Guest RAM and ROM, the map that says where the guest sees them, and which pages changed.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/mapping.h"
#include "base/result.h"
#include "vm/address.h"

namespace dejavm::vm {

/// One range of the guest physical map that is memory. The rest of the space is devices or nothing.
/// base, size and offset are multiples of kPageSize.
struct MemoryRange {
  GuestPhys base;
  uint64_t size = 0;
  uint64_t offset = 0;    ///< where its bytes stand in the backing: RAM from 0, then the ROM images
  bool writable = false;  ///< false: a guest's write is dropped

  bool contains(GuestPhys gpa) const { return gpa.value - base.value < size; }
  /// Where a byte of the range stands in the backing.
  uint64_t offset_of(GuestPhys gpa) const { return offset + (gpa.value - base.value); }
  bool operator==(const MemoryRange&) const = default;
};

/// Who writes guest memory; observers choose by it.
enum class Writer { loader, device, debugger, replay, cpu };

/// Owns the backing of all guest memory: one shared anonymous mapping, RAM first ([0, ram_size)), then `rom_size` bytes for
/// ROM images. The map places parts of it in the guest physical space; the same bytes may appear twice. Not thread-safe; the
/// vCPU writes it while it runs, everyone else only while it does not. Invariant: every change that is not the vCPU's own
/// goes through write(), which marks pages and tells the observers.
class GuestMemory {
 public:
  /// ram_size: a positive multiple of kPageSize, at most kMaxRam; rom_size: a multiple of kPageSize, at most kMaxRom. RAM
  /// is allocated when it is touched, and a guest may touch all of it: more than `host_memory` bytes are refused.
  static Result<GuestMemory> create(uint64_t ram_size, uint64_t rom_size, uint64_t host_memory = host_memory_size());
  /// The physical memory of this host in bytes.
  static uint64_t host_memory_size();

  static constexpr uint64_t kMaxRam = uint64_t{1} << 40;
  static constexpr uint64_t kMaxRom = uint64_t{64} << 20;

  uint64_t ram_size() const { return ram_size_; }
  uint64_t rom_size() const { return backing_.size() - ram_size_; }
  uint64_t page_count() const { return backing_.size() / kPageSize; }
  uint8_t* host(uint64_t backing_offset) const { return backing_.data() + backing_offset; }
  ByteSpan page(uint64_t page_number) const { return {host(page_number * kPageSize), kPageSize}; }

  /// Replaces the map. Ranges must not overlap, be aligned and lie in the backing; else an error and no change.
  Status set_map(std::vector<MemoryRange> map);
  const std::vector<MemoryRange>& map() const { return map_; }
  /// Counts set_map calls; an engine compares it to know that its slots are stale.
  uint64_t map_generation() const { return map_generation_; }

  /// The range that holds gpa, or null.
  const MemoryRange* find(GuestPhys gpa) const;

  /// Copies guest memory out; fails without a partial copy if any byte is not memory.
  Status read(GuestPhys gpa, MutableByteSpan to) const;
  /// Writes guest memory. Bytes in read-only ranges are dropped (for Writer::loader and replay they are written); fails
  /// before anything is written if any byte is not memory.
  Status write(GuestPhys gpa, ByteSpan from, Writer writer);
  /// Writes by backing offset (loaders, replay of keyframes).
  Status write_backing(uint64_t offset, ByteSpan from, Writer writer);

  /// Called after each write() or write_backing() with the backing offset; cheap, must not write memory.
  using Observer = std::function<void(uint64_t backing_offset, ByteSpan bytes, Writer writer)>;
  using ObserverId = uint64_t;
  /// `before`, if given, is called before the write.
  using BeforeWrite = std::function<void(Writer writer)>;
  ObserverId add_observer(Observer observer, BeforeWrite before = {});
  void remove_observer(ObserverId id);

  /// Pages changed by write() since the last take; the engine adds those that the vCPU changed (mark_dirty).
  void mark_dirty(uint64_t page_number);
  /// The page numbers, ascending, each once.
  std::vector<uint64_t> dirty() const;
  /// The same; clears the set.
  std::vector<uint64_t> take_dirty();

 private:
  GuestMemory(Mapping backing, uint64_t ram_size);

  /// Calls visit(backing offset, start in the span, length, writable) for each piece; fails if a byte is not memory.
  template <typename Visit>
  Status for_each_piece(GuestPhys gpa, uint64_t size, Visit visit) const;

  Mapping backing_;
  uint64_t ram_size_;
  std::vector<MemoryRange> map_;  // sorted by base
  uint64_t map_generation_ = 0;
  struct Observation {
    BeforeWrite before;  // may be empty
    Observer after;
  };
  std::map<ObserverId, Observation> observers_;  // called in the order of their registration
  ObserverId last_observer_ = 0;
  std::vector<bool> dirty_;
  std::vector<uint64_t> dirty_list_;
};

}  // namespace dejavm::vm
