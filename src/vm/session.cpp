#include "vm/session.h"

#include <algorithm>

#include "vm/instruction.h"
#include "vm/translate.h"

namespace dejavm::vm {
namespace {

constexpr uint64_t kMostBytes = uint64_t{16} << 20;  // of a watchpoint's range that a device's write is looked for in

/// The address of the first byte of a watchpoint that lies in this part of the backing.
std::optional<uint64_t> first_byte_in(const Watchpoint& what, const CpuState& cpu, const GuestMemory& memory,
                                      uint64_t backing_offset, uint64_t size) {
  uint64_t length = std::min(what.length, kMostBytes);
  for (uint64_t done = 0; done < length;) {
    uint64_t at = what.first + done, part = std::min(length - done, kPageSize - at % kPageSize);
    done += part;
    GuestPhys gpa{at};
    if (what.by == Watchpoint::By::linear) {
      auto translated = translate(cpu, memory, {at});
      if (!translated) continue;
      gpa = *translated;
    }
    const MemoryRange* range = memory.find(gpa);
    if (range == nullptr) continue;
    uint64_t begin = range->offset_of(gpa), first = std::max(begin, backing_offset);
    if (first < std::min(begin + part, backing_offset + size)) return at + (first - begin);
  }
  return std::nullopt;
}

}  // namespace

std::string Session::stop_line(SeenAccess seen) {
  if (!seen.instruction && static_cast<int64_t>(seen.event) == last_event()) {
    auto cpu = vcpu().state();
    auto found = cpu ? find_accessing_instruction(*cpu, memory(), seen.access) : std::nullopt;
    if (found) seen.instruction = found->value;
  }
  return vm::stop_line(seen, find_region(devices(), seen.access.space, seen.access.addr));
}

Result<std::optional<SeenAccess>> Session::last_access(const AccessFilter& filter) {
  if (filter.places.empty()) return history().latest();
  const SeenAccess* seen = history().latest_in(filter.places[0], devices());
  return seen != nullptr ? std::optional(*seen) : std::nullopt;
}

std::optional<WatchHit> Session::device_hit(uint64_t backing_offset, uint64_t size) {
  const std::vector<WatchList::Entry>& list = watches_.list();
  if (list.empty()) return std::nullopt;
  auto cpu = vcpu().state();
  if (!cpu) return std::nullopt;
  for (size_t i = 0; i < list.size(); ++i) {
    if (!list[i].what.on_write) continue;
    auto address = first_byte_in(list[i].what, *cpu, memory(), backing_offset, size);
    if (address) return WatchHit{i, *address, Direction::write, std::nullopt};
  }
  return std::nullopt;
}

Status Session::divert() {
  std::string why = why_read_only();
  if (!why.empty()) return fail(std::move(why));
  return {};
}

}  // namespace dejavm::vm
