#include "vm/guest_memory.h"

#include <unistd.h>

#include <algorithm>

namespace dejavm::vm {

GuestMemory::GuestMemory(Mapping backing, uint64_t ram_size)
    : backing_(std::move(backing)), ram_size_(ram_size), dirty_(backing_.size() / kPageSize) {}

uint64_t GuestMemory::host_memory_size() {
  return static_cast<uint64_t>(::sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE));
}

Result<GuestMemory> GuestMemory::create(uint64_t ram_size, uint64_t rom_size, uint64_t host_memory) {
  if (ram_size == 0 || ram_size % kPageSize != 0 || ram_size > kMaxRam) {
    return fail(fmt::format("a guest cannot have {} bytes of RAM", ram_size),
                "Choose a multiple of 4096 between 4 KiB and 1 TiB.");
  }
  if (rom_size % kPageSize != 0 || rom_size > kMaxRom) {
    return fail(fmt::format("a guest cannot have {} bytes of ROM", rom_size), "At most 64 MiB, a multiple of 4096.");
  }
  if (ram_size + rom_size > host_memory) {
    return fail(fmt::format("a guest with {} MiB of memory does not fit this host, which has {} MiB",
                            (ram_size + rom_size) >> 20, host_memory >> 20),
                "Give the guest less RAM (-m); a trace of such a guest replays on a host with more memory.");
  }
  TRY_ASSIGN(Mapping backing, Mapping::anonymous(ram_size + rom_size));
  return GuestMemory(std::move(backing), ram_size);
}

Status GuestMemory::set_map(std::vector<MemoryRange> map) {
  std::sort(map.begin(), map.end(), [](const auto& a, const auto& b) { return a.base < b.base; });
  uint64_t end = 0;
  for (const MemoryRange& range : map) {
    bool aligned = range.base.value % kPageSize == 0 && range.size % kPageSize == 0 && range.offset % kPageSize == 0;
    bool inside = range.size > 0 && range.size <= backing_.size() && range.offset <= backing_.size() - range.size;
    if (!aligned || !inside || range.base.value < end || range.base.value > UINT64_MAX - range.size) {
      return fail(fmt::format("memory range {:#x}+{:#x} (backing {:#x}) overlaps, is unaligned or lies outside the backing",
                              range.base.value, range.size, range.offset));
    }
    end = range.base.value + range.size;
  }
  map_ = std::move(map);
  ++map_generation_;
  return {};
}

const MemoryRange* GuestMemory::find(GuestPhys gpa) const {
  auto after = std::upper_bound(map_.begin(), map_.end(), gpa, [](GuestPhys a, const MemoryRange& r) { return a < r.base; });
  if (after == map_.begin()) return nullptr;
  const MemoryRange& range = *std::prev(after);
  return range.contains(gpa) ? &range : nullptr;
}

template <typename Visit>
Status GuestMemory::for_each_piece(GuestPhys gpa, uint64_t size, Visit visit) const {
  uint64_t done = 0;
  while (done < size) {
    GuestPhys at = gpa + done;
    const MemoryRange* range = at.value < gpa.value ? nullptr : find(at);
    if (range == nullptr) return fail(fmt::format("guest physical address {:#x} is not memory", at.value));
    uint64_t inside = at.value - range->base.value;
    uint64_t length = std::min(size - done, range->size - inside);
    visit(range->offset + inside, done, length, range->writable);
    done += length;
  }
  return {};
}

Status GuestMemory::read(GuestPhys gpa, MutableByteSpan to) const {
  TRY(for_each_piece(gpa, to.size(), [](uint64_t, uint64_t, uint64_t, bool) {}));
  return for_each_piece(gpa, to.size(), [&](uint64_t offset, uint64_t start, uint64_t length, bool) {
    std::copy_n(host(offset), length, to.data() + start);
  });
}

Status GuestMemory::write(GuestPhys gpa, ByteSpan from, Writer writer) {
  TRY(for_each_piece(gpa, from.size(), [](uint64_t, uint64_t, uint64_t, bool) {}));
  bool force = writer == Writer::loader || writer == Writer::replay;
  return for_each_piece(gpa, from.size(), [&](uint64_t offset, uint64_t start, uint64_t length, bool writable) {
    if (writable || force) static_cast<void>(write_backing(offset, from.subspan(start, length), writer));
  });
}

Status GuestMemory::write_backing(uint64_t offset, ByteSpan from, Writer writer) {
  if (offset > backing_.size() || from.size() > backing_.size() - offset) {
    return fail(fmt::format("{} bytes at {:#x} lie outside the guest's memory", from.size(), offset));
  }
  if (from.empty()) return {};
  for (const auto& [id, observation] : observers_) {
    if (observation.before) observation.before(writer);
  }
  std::copy(from.begin(), from.end(), host(offset));
  for (uint64_t page = offset / kPageSize; page <= (offset + from.size() - 1) / kPageSize; ++page) mark_dirty(page);
  for (const auto& [id, observation] : observers_) observation.after(offset, from, writer);
  return {};
}

GuestMemory::ObserverId GuestMemory::add_observer(Observer observer, BeforeWrite before) {
  observers_.emplace(++last_observer_, Observation{std::move(before), std::move(observer)});
  return last_observer_;
}

void GuestMemory::remove_observer(ObserverId id) { observers_.erase(id); }

void GuestMemory::mark_dirty(uint64_t page_number) {
  if (dirty_[page_number]) return;
  dirty_[page_number] = true;
  dirty_list_.push_back(page_number);
}

std::vector<uint64_t> GuestMemory::dirty() const {
  std::vector<uint64_t> pages = dirty_list_;
  std::sort(pages.begin(), pages.end());
  return pages;
}

std::vector<uint64_t> GuestMemory::take_dirty() {
  std::vector<uint64_t> pages = dirty();
  for (uint64_t page : pages) dirty_[page] = false;
  dirty_list_.clear();
  return pages;
}

}  // namespace dejavm::vm
