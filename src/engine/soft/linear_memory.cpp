#include "engine/soft/linear_memory.h"

#include <algorithm>

#include "base/check.h"

namespace dejavm::soft {
namespace {

constexpr uint64_t kPageMask = vm::kPageSize - 1;
constexpr uint64_t kRootMask = 0x000ffffffffff000;
constexpr size_t kMaxWatchedTables = 512;
constexpr unsigned kMaxTableWrites = 4096;
constexpr uint64_t kCr0Am = 1u << 18, kRflagsAc = 1u << 18, kRflagsVm = 1u << 17, kEferLma = 1u << 10;
constexpr uint32_t kMaxFragment = 8;

uint32_t offset_in_page(uint64_t address) { return static_cast<uint32_t>(address & kPageMask); }

/// How many of `size` bytes from `address` on lie in its page.
uint32_t part_in_page(uint64_t address, size_t size) {
  return static_cast<uint32_t>(std::min<size_t>(size, vm::kPageSize - offset_in_page(address)));
}

[[noreturn]] void page_fault(vm::CpuState& cpu, uint64_t linear, uint32_t error_code) {
  cpu.cr2 = linear;
  raise(kPageFault, error_code);
}

}  // namespace

LinearMemory::LinearMemory(vm::CpuState& cpu, vm::GuestMemory& memory, AccessLog& log, const Features& features)
    : cpu_(cpu),
      memory_(memory),
      log_(log),
      features_(features),
      supply_(memory),
      tables_(memory.page_count()),
      code_(memory.page_count()),
      observer_(memory.add_observer([this](uint64_t backing_offset, ByteSpan bytes, vm::Writer writer) {
        written_by_others(backing_offset, bytes.size(), writer);
      })) {
  CHECK(memory.page_count() <= TlbEntry::kMaxCodePages);
}

LinearMemory::~LinearMemory() { memory_.remove_observer(observer_); }

// ---- Where pages are

/// Whether a linear address is none: between the halves of the 48-bit space.
bool LinearMemory::out_of_space(uint64_t linear) const {
  return (cpu_.efer & kEferLma) != 0 && static_cast<uint64_t>(static_cast<int64_t>(linear << 16) >> 16) != linear;
}

/// Whether addresses have 64 bits. The space of 16- and 32-bit code ends at 4 GiB and begins again; in long mode the CPU's
/// own tables may lie on both sides of that line.
bool LinearMemory::is_wide(Rights rights) const {
  return (cpu_.efer & kEferLma) != 0 && (rights == Rights::system || cpu_.code_bits() == 64);
}

/// The page behind the one that holds `linear`.
uint64_t LinearMemory::next_page(uint64_t linear, Rights rights) const {
  uint64_t next = (linear | kPageMask) + 1;
  return next == uint64_t{1} << 32 && !is_wide(rights) ? 0 : next;
}

Walk LinearMemory::walk_tables(uint64_t linear, Reach reach, Rights rights) const {
  return walk(cpu_, memory_, features_, {linear, reach, user(rights), rights == Rights::system});
}

PagePlace LinearMemory::place_of(uint64_t linear, const Walk& walked) const {
  PagePlace place{.linear = linear & ~kPageMask, .gpa = walked.gpa & ~kPageMask, .opened_by_ac = walked.opened_by_ac};
  if (const vm::MemoryRange* range = memory_.find({place.gpa})) {
    place.page = range->offset_of({place.gpa}) / vm::kPageSize;
    place.writable = range->writable;
  }
  return place;
}

PagePlace LinearMemory::locate(uint64_t linear, Reach reach, Rights rights) {
  const TlbEntry& entry = tlb_.entry(user(rights), reach, linear);
  if (!entry.hits(linear, 1)) return locate_slowly(linear, reach, rights);
  auto backing_offset = static_cast<uint64_t>(entry.host(linear) - memory_.host(0));
  return {.linear = linear & ~kPageMask, .page = backing_offset / vm::kPageSize, .writable = reach == Reach::write};
}

/// Whether SMAP still lets this access in where it let one in before.
bool LinearMemory::is_open(const PagePlace& place, Rights rights) const {
  return !place.opened_by_ac || (rights == Rights::program && (cpu_.rflags & kRflagsAc) != 0);
}

PagePlace LinearMemory::locate_slowly(uint64_t linear, Reach reach, Rights rights) {
  bool user_rights = user(rights);
  if (const PagePlace* known = slow_.find(user_rights, reach, linear)) {
    if (is_open(*known, rights)) {
      PagePlace place = *known;
      if (is_plain(place, reach)) remember(place, reach, user_rights);  // it holds no code any more, or is not watched
      return place;
    }
  }
  Walk walked = walk_tables(linear, reach, rights);
  if (walked.fault) {
    if (features_.tcg) set_accessed_of_tcg(memory_, walked);
    page_fault(cpu_, linear, walked.error_code);
  }
  set_accessed(memory_, walked, reach);
  remember_tables(linear, walked);
  PagePlace place = place_of(linear, walked);
  remember(place, reach, user_rights);
  return place;
}

/// What inline accesses may use. Not a page that only EFLAGS.AC opens: the flag changes often, and does not open it to the
/// CPU's own accesses.
bool LinearMemory::is_plain(const PagePlace& place, Reach reach) const {
  if (!place.is_memory() || place.opened_by_ac || watches_.covers(place, reach)) return false;
  return reach != Reach::write || (place.writable && !writes_are_watched(place.page));
}

void LinearMemory::will_be_written(uint64_t page) {
  supply_.expect_write(page);
  memory_.mark_dirty(page);
}

void LinearMemory::remember(const PagePlace& place, Reach reach, bool user_rights) {
  if (!is_plain(place, reach)) return slow_.put(user_rights, reach, place);
  if (reach == Reach::write) will_be_written(place.page);
  if (reach == Reach::execute) return tlb_.install_code(user_rights, place.linear, place.page);
  tlb_.install(user_rights, reach, place.linear, memory_.host(place.page * vm::kPageSize));
}

/// A translation is in use now: its tables are watched.
void LinearMemory::remember_tables(uint64_t linear, const Walk& walked) {
  for (unsigned i = 0; i < walked.count; ++i) {
    const WalkStep& step = walked.steps[i];
    bool last_level = i + 1 == walked.count && walked.page_size == vm::kPageSize;
    uint64_t covered = vm::kPageSize / step.size * vm::kPageSize;  // by a table of the last level
    bool fresh =
        last_level ? tables_.mark_last_level(step.page, linear & ~(covered - 1), step.size) : tables_.mark(step.page);
    if (fresh) tlb_.drop_writes_to(memory_.host(step.page * vm::kPageSize));
  }
}

LinearMemory::Pieces LinearMemory::locate_all(uint64_t linear, size_t size, Reach reach, Rights rights) {
  CHECK(size <= vm::kPageSize);
  Pieces pieces;
  for (size_t done = 0; done < size;) {
    uint32_t part = part_in_page(linear, size - done);
    pieces.piece[pieces.count++] = {locate(linear, reach, rights), offset_in_page(linear), part};
    done += part;
    linear = next_page(linear, rights);
  }
  return pieces;
}

// ---- Data

void LinearMemory::read_slowly(uint64_t linear, void* to, size_t size, Rights rights) {
  Pieces pieces = locate_all(linear, size, Reach::read, rights);
  check_alignment(linear, size, rights);
  note(pieces, vm::Direction::read);
  auto* bytes = static_cast<uint8_t*>(to);
  for (unsigned i = 0; i < pieces.count; ++i) {
    const Piece& piece = pieces.piece[i];
    if (piece.place.is_memory()) {
      std::memcpy(bytes, host(piece), piece.size);
    } else {
      exchange(piece, vm::Direction::read, bytes);
    }
    bytes += piece.size;
  }
}

void LinearMemory::write_slowly(uint64_t linear, const void* from, size_t size, Rights rights) {
  if (part_in_page(linear, size) == size) {  // pages of code and data are written often
    Piece piece{locate(linear, Reach::write, rights), offset_in_page(linear), static_cast<uint32_t>(size)};
    if (piece.place.is_memory()) {
      check_alignment(linear, size, rights);
      if (!watches_.empty()) note(piece, vm::Direction::write);
      return store(piece, static_cast<const uint8_t*>(from));
    }
  }
  Pieces pieces = locate_all(linear, size, Reach::write, rights);
  check_alignment(linear, size, rights);
  note(pieces, vm::Direction::write);
  for (bool to_memory : {false, true}) {
    const auto* bytes = static_cast<const uint8_t*>(from);
    for (unsigned i = 0; i < pieces.count; ++i) {
      const Piece& piece = pieces.piece[i];
      if (piece.place.is_memory() && to_memory) store(piece, bytes);
      if (!piece.place.is_memory() && !to_memory) {
        uint8_t copy[vm::kPageSize];
        std::memcpy(copy, bytes, piece.size);
        exchange(piece, vm::Direction::write, copy);
      }
      bytes += piece.size;
    }
  }
}

void LinearMemory::note(const Piece& piece, vm::Direction direction) {
  Watches::Touch touch{.linear = piece.place.linear + piece.offset,
                       .gpa = piece.place.gpa + piece.offset,
                       .size = piece.size,
                       .direction = direction,
                       .instruction = cpu_.linear_rip()};
  if (watches_.note(touch)) end_of_block();
}

/// After the pages were found: #PF comes before #AC (AMD64 APM volume 2, section 8.5).
void LinearMemory::check_alignment(uint64_t linear, size_t size, Rights rights) const {
  if (!check_alignment_ || rights != Rights::program) return;
  if ((size == 2 || size == 4 || size == 8) && linear % size != 0) raise(kAlignmentCheck, 0);
}

/// The fragments of a device access, in ascending order. For a read, `bytes` gets the answers.
void LinearMemory::exchange(const Piece& piece, vm::Direction direction, uint8_t* bytes) {
  for (uint32_t done = 0; done < piece.size;) {
    uint32_t part = std::min(piece.size - done, kMaxFragment);
    vm::Access access{.space = vm::Space::mmio,
                      .direction = direction,
                      .size = static_cast<uint8_t>(part),
                      .addr = piece.place.gpa + piece.offset + done};
    if (access.is_write()) std::memcpy(&access.value, bytes + done, part);
    uint64_t answer = log_.exchange(access);
    if (!access.is_write()) std::memcpy(bytes + done, &answer, part);
    done += part;
  }
}

void LinearMemory::store(const Piece& piece, const uint8_t* from) {
  if (!piece.place.writable) return;
  uint64_t page = piece.place.page;
  if (tables_.holds(page)) tables_change(piece, from);
  will_be_written(page);
  std::memcpy(host(piece), from, piece.size);
  code_.written(page, piece.offset, piece.offset + piece.size - 1);
}

void LinearMemory::tables_change(const Piece& piece, const uint8_t* from) {
  ++table_writes_;
  bool changed = false;
  auto forget = [&](uint64_t linear) {
    tlb_.drop_page(linear);
    slow_.drop_page(linear);
    changed = true;
  };
  const uint8_t* table = memory_.host(piece.place.page * vm::kPageSize);
  if (!tables_.change(piece.place.page, table, piece.offset, from, piece.size, forget)) return flush();
  if (changed) code_.translations_changed();
}

void LinearMemory::read_bytes(uint64_t linear, void* to, size_t size, Rights rights) {
  const TlbEntry& entry = tlb_.entry(user(rights), Reach::read, linear);
  if (!entry.hits(linear, size) || check_alignment_) return read_slowly(linear, to, size, rights);
  std::memcpy(to, entry.host(linear), size);
}

void LinearMemory::write_bytes(uint64_t linear, const void* from, size_t size, Rights rights) {
  const TlbEntry& entry = tlb_.entry(user(rights), Reach::write, linear);
  if (!entry.hits(linear, size) || check_alignment_) return write_slowly(linear, from, size, rights);
  std::memcpy(entry.host(linear), from, size);
}

void LinearMemory::probe_write(uint64_t linear, size_t size, Rights rights) {
  const TlbEntry& entry = tlb_.entry(user(rights), Reach::write, linear);
  if (entry.hits(linear, size) && !check_alignment_) return;
  locate_all(linear, size, Reach::write, rights);
  check_alignment(linear, size, rights);
}

void LinearMemory::probe_read(uint64_t linear, size_t size, Rights rights) { locate_all(linear, size, Reach::read, rights); }

/// Null where a walk would be needed: it changes accessed bits, which may be among the very bytes, and its moment must not
/// depend on whether an instruction works in bulk.
uint8_t* LinearMemory::direct_slowly(uint64_t linear, size_t size, Reach reach) {
  if (check_alignment_ || part_in_page(linear, size) != size) return nullptr;
  const PagePlace* known = slow_.find(user_, reach, linear);
  if (known == nullptr || !known->is_memory() || !is_open(*known, Rights::program)) return nullptr;
  if (watches_.covers(*known, reach)) return nullptr;
  if (reach == Reach::write) {
    if (!known->writable || writes_are_watched(known->page)) return nullptr;
    will_be_written(known->page);
  }
  return memory_.host(known->page * vm::kPageSize + offset_in_page(linear));
}

// ---- Code

/// Of the page that holds `linear`; never a device.
PagePlace LinearMemory::locate_code(uint64_t linear) {
  if (out_of_space(linear)) raise_gp();
  PagePlace place = locate_slowly(linear, Reach::execute, Rights::program);
  if (place.is_memory()) return place;
  throw EngineFailure{
      fmt::format("the guest executes code at linear address {:#x}, which is guest physical address {:#x}: there "
                  "is no memory",
                  linear, place.gpa + offset_in_page(linear)),
      "Most often the guest has jumped astray: look at what ran before (info, or a gdb session with reverse-stepi). "
      "Code in device memory runs on no engine."};
}

LinearMemory::Fetched LinearMemory::fetch(uint64_t linear) {
  Fetched fetched;
  auto add = [&](const PagePlace& place, uint64_t from) {
    uint32_t part = part_in_page(from, sizeof fetched.bytes - fetched.size);
    std::memcpy(fetched.bytes + fetched.size, memory_.host(place.page * vm::kPageSize + offset_in_page(from)), part);
    fetched.size = static_cast<uint8_t>(fetched.size + part);
    fetched.pages[fetched.page_count++] = place.page;
  };
  PagePlace first = locate_code(linear);
  fetched.gpa = first.gpa + offset_in_page(linear);
  add(first, linear);
  if (fetched.size == sizeof fetched.bytes) return fetched;
  uint64_t next = next_page(linear, Rights::program);
  if (out_of_space(next)) return fetched;
  Walk walked = walk_tables(next, Reach::execute, Rights::program);
  if (walked.fault) return fetched;
  PagePlace second = place_of(next, walked);
  if (second.is_memory()) add(second, next);
  return fetched;
}

void LinearMemory::fetch_fault(uint64_t linear) {
  locate_code(is_wide(Rights::program) ? linear : static_cast<uint32_t>(linear));
  check_failed(__FILE__, __LINE__, "a byte that fetch() did not give cannot be fetched");
}

uint64_t LinearMemory::code_offset_slowly(uint64_t linear) {
  return locate_code(linear).page * vm::kPageSize + offset_in_page(linear);
}

// ---- What changes

void LinearMemory::flush() {
  tlb_.flush();
  slow_.flush();
  tables_.clear();
  table_writes_ = 0;
  code_.translations_changed();
}

/// The backing page of the tables' root in long mode; nothing in other modes, or where no memory is.
std::optional<uint64_t> LinearMemory::long_mode_root(uint64_t cr3) const {
  if ((cpu_.efer & kEferLma) == 0) return std::nullopt;
  uint64_t gpa = cr3 & kRootMask;
  const vm::MemoryRange* range = memory_.find({gpa});
  if (range == nullptr) return std::nullopt;
  return range->offset_of({gpa}) / vm::kPageSize;
}

/// Kernels share most of the space between their tables: where two roots have the same entry (its accessed bit, too), a walk
/// from either finds and changes the same. Tables that are no longer in use stay watched; when that gets dear all is
/// dropped.
void LinearMemory::root_changed(uint64_t before) {
  auto from = long_mode_root(before), to = long_mode_root(cpu_.cr3);
  bool worn = tables_.size() > kMaxWatchedTables || table_writes_ > kMaxTableWrites;
  if (!from || !to || worn) return flush();
  const uint8_t *old_root = memory_.host(*from * vm::kPageSize), *new_root = memory_.host(*to * vm::kPageSize);
  std::bitset<512> differ;
  constexpr size_t kAtOnce = 64;
  for (size_t at = 0; at < vm::kPageSize; at += kAtOnce) {
    if (std::memcmp(old_root + at, new_root + at, kAtOnce) == 0) continue;
    for (size_t i = at / 8; i < (at + kAtOnce) / 8; ++i) differ[i] = std::memcmp(old_root + i * 8, new_root + i * 8, 8) != 0;
  }
  tlb_.drop_regions(differ);
  slow_.flush();
  if (tables_.mark(*to)) tlb_.drop_writes_to(new_root);
  code_.translations_changed();
}

void LinearMemory::mode_changed() {
  bool is_protected = (cpu_.cr0 & 1) != 0;
  bool virtual_8086 = is_protected && (cpu_.rflags & kRflagsVm) != 0;
  user_ = virtual_8086 || (is_protected && cpu_.segment[vm::ss].dpl == 3);
  check_alignment_ = user_ && (cpu_.cr0 & kCr0Am) != 0 && (cpu_.rflags & kRflagsAc) != 0;
  if (!watches_.follows(cpu_)) debug_registers_changed();
}

void LinearMemory::debug_registers_changed() {
  if (watches_.follow_debug_registers(cpu_)) tlb_.flush();
}

/// The Tlb may hold pages that are watched from now on.
void LinearMemory::set_watchpoints(std::vector<vm::Watchpoint> watchpoints) {
  watches_.set_watchpoints(std::move(watchpoints));
  tlb_.flush();
}

void LinearMemory::forget_writable() { tlb_.drop_all_writes(); }

/// Also called for the accessed and dirty bits that a walk sets; those change no translation.
void LinearMemory::written_by_others(uint64_t backing_offset, uint64_t size, vm::Writer writer) {
  bool tables = false;
  uint64_t end = backing_offset + size;
  for (uint64_t at = backing_offset; at < end;) {
    uint64_t page = at / vm::kPageSize;
    uint32_t part = part_in_page(at, end - at);
    code_.written(page, offset_in_page(at), offset_in_page(at) + part - 1);
    tables |= tables_.holds(page);
    at += part;
  }
  if (tables && writer != vm::Writer::cpu) flush();
}

}  // namespace dejavm::soft
