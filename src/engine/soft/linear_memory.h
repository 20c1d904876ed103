// Guest memory by linear address: translation, permissions, devices, code pages. The only way by which instructions reach
// RAM.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>

#include "engine/soft/access_log.h"
#include "engine/soft/code_pages.h"
#include "engine/soft/features.h"
#include "engine/soft/page_walk.h"
#include "engine/soft/ram_supply.h"
#include "engine/soft/slow_pages.h"
#include "engine/soft/table_pages.h"
#include "engine/soft/tlb.h"
#include "engine/soft/watches.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::soft {

/// Whose rights an access has: the program's (CPL 3 is user) or the CPU's own (descriptor tables, TSS, frames).
enum class Rights : uint8_t { program, system };

/// Borrows everything. Accesses may throw GuestFault (#PF with CR2 set, #GP/#SS for non-canonical addresses are the
/// caller's, #AC) and LeaveForAnswer (a device). No byte of RAM is written before all device fragments of that access are
/// answered and all its pages have been found writable. Fragments of device accesses are as KVM makes them: split at pages,
/// then at most 8 bytes. Reads of physical addresses that are nothing at all are device accesses too (the bus answers with
/// ones); writes to read-only memory are dropped.
///
/// What is cached here is never to be seen: translations are dropped as soon as the guest, a device or a debugger changes
/// the page tables that they were made from, without waiting for INVLPG (TablePages), so that a run continues in the same
/// way from a copy of CPU and RAM alone. Memory that others write through GuestMemory makes decoded code of it stale, too.
class LinearMemory {
 public:
  LinearMemory(vm::CpuState& cpu, vm::GuestMemory& memory, AccessLog& log, const Features& features);
  ~LinearMemory();
  LinearMemory(const LinearMemory&) = delete;
  LinearMemory& operator=(const LinearMemory&) = delete;

  /// T is uint8_t, uint16_t, uint32_t or uint64_t.
  template <typename T>
  T read(uint64_t linear, Rights rights = Rights::program) {
    const TlbEntry& entry = tlb_.entry(user(rights), Reach::read, linear);
    if (entry.hits(linear, sizeof(T)) && !check_alignment_) {
      T value;
      std::memcpy(&value, entry.host(linear), sizeof value);
      return value;
    }
    T value{};
    read_slowly(linear, &value, sizeof value, rights);
    return value;
  }
  template <typename T>
  void write(uint64_t linear, T value, Rights rights = Rights::program) {
    const TlbEntry& entry = tlb_.entry(user(rights), Reach::write, linear);
    if (entry.hits(linear, sizeof(T)) && !check_alignment_) {
      std::memcpy(entry.host(linear), &value, sizeof value);
      return;
    }
    write_slowly(linear, &value, sizeof value, rights);
  }
  /// Any length, e.g. 10, 16, 28, 512 bytes; as one access of one instruction.
  void read_bytes(uint64_t linear, void* to, size_t size, Rights rights = Rights::program);
  void write_bytes(uint64_t linear, const void* from, size_t size, Rights rights = Rights::program);
  /// Faults as a write would, and writes nothing (and sets accessed and dirty bits, as a write would). Read-modify-write
  /// instructions call it before they read.
  void probe_write(uint64_t linear, size_t size, Rights rights = Rights::program);

  /// Faults as a read would, and reads nothing.
  void probe_read(uint64_t linear, size_t size, Rights rights = Rights::program);

  /// `size` bytes may be read (written) at the result and lie in one page of RAM; null where the slow way must be taken: not
  /// plain memory, or not in use yet (an access of one element brings it into use). For bulk string operations. Never fault.
  const uint8_t* direct_read(uint64_t linear, size_t size) { return direct(linear, size, Reach::read); }
  uint8_t* direct_write(uint64_t linear, size_t size) { return direct(linear, size, Reach::write); }

  /// The bytes of an instruction: up to 15 from `linear`, as far as they can be fetched. `pages` gets the backing pages that
  /// they came from. Faults only if the first byte cannot be fetched; a caller that needs more bytes than it got calls
  /// fetch_fault() with the address of the first missing byte. The second page is only looked at: before an instruction that
  /// reaches into it runs, each time, code_offset() of that page makes sure that it is still there and sets its accessed
  /// bit.
  struct Fetched {
    uint8_t bytes[15];
    uint8_t size = 0;
    uint64_t gpa = 0;            ///< of the first byte
    uint64_t pages[2] = {0, 0};  ///< backing page numbers
    uint8_t page_count = 0;
  };
  Fetched fetch(uint64_t linear);
  [[noreturn]] void fetch_fault(uint64_t linear);
  /// The backing offset of the byte of code at `linear`; faults as a fetch would. Cheap when it was fetched from before.
  uint64_t code_offset(uint64_t linear) {
    const TlbEntry& entry = tlb_.entry(user_, Reach::execute, linear);
    if (entry.hits(linear, 1)) return TlbEntry::page_of_code(entry.page) * vm::kPageSize + linear % vm::kPageSize;
    return code_offset_slowly(linear);
  }
  /// Pieces of a page of the backing were decoded: writes to them are noticed from now on.
  void mark_code(uint64_t page, CodePages::Pieces pieces) {
    if (code_.mark(page, pieces)) tlb_.drop_writes_to(memory_.host(page * vm::kPageSize));
  }

  /// After a change of CR0, CR4, EFER or the memory map: drops all translations.
  void flush();
  /// CR3 changed. Translations stay where the new tables say the same as those that `before` led to.
  void root_changed(uint64_t before);
  void mode_changed();  ///< CPL, CR0.AM, EFLAGS.AC, CR4.DE or DR7 changed; translations stay
  void debug_registers_changed();

  /// Replaces the debugger's. An access that hits makes the run of the block end after its instruction.
  void set_watchpoints(std::vector<vm::Watchpoint> watchpoints);
  Watches& watches() { return watches_; }
  const Watches& watches() const { return watches_; }
  /// IN and OUT: debug registers may wait for the port.
  void note_port(uint16_t port, unsigned size) {
    if (!watches_.empty() && watches_.note_port(port, size)) end_of_block();
  }

  CodePages& code() { return code_; }
  /// For translated code, which looks entries up itself; is_user() says whose.
  Tlb& tlb() { return tlb_; }
  bool is_user() const { return user_; }
  /// Accesses must be aligned (#AC): none may go by the Tlb alone.
  bool checks_alignment() const { return check_alignment_; }
  /// The next write to any page is seen again (the dirty set was taken).
  void forget_writable();
  /// Adds nothing itself: pages are marked in GuestMemory when they become writable in the TLB.
  vm::GuestMemory& memory() { return memory_; }

 private:
  struct Piece {  // of an access: what lies in one page
    PagePlace place;
    uint32_t offset = 0;
    uint32_t size = 0;
  };
  struct Pieces {
    Piece piece[2];
    unsigned count = 0;
  };

  bool user(Rights rights) const { return rights == Rights::program && user_; }
  void read_slowly(uint64_t linear, void* to, size_t size, Rights rights);
  void write_slowly(uint64_t linear, const void* from, size_t size, Rights rights);
  uint64_t code_offset_slowly(uint64_t linear);
  std::optional<uint64_t> long_mode_root(uint64_t cr3) const;
  uint8_t* direct(uint64_t linear, size_t size, Reach reach) {
    const TlbEntry& entry = tlb_.entry(user_, reach, linear);
    return entry.hits(linear, size) && !check_alignment_ ? entry.host(linear) : direct_slowly(linear, size, reach);
  }
  uint8_t* direct_slowly(uint64_t linear, size_t size, Reach reach);

  // Where pages are. These raise #PF.
  Pieces locate_all(uint64_t linear, size_t size, Reach reach, Rights rights);
  PagePlace locate(uint64_t linear, Reach reach, Rights rights);
  PagePlace locate_slowly(uint64_t linear, Reach reach, Rights rights);
  PagePlace locate_code(uint64_t linear);
  Walk walk_tables(uint64_t linear, Reach reach, Rights rights) const;
  PagePlace place_of(uint64_t linear, const Walk& walked) const;
  bool is_open(const PagePlace& place, Rights rights) const;
  bool is_plain(const PagePlace& place, Reach reach) const;
  void will_be_written(uint64_t page);
  void remember(const PagePlace& place, Reach reach, bool user_rights);
  void remember_tables(uint64_t linear, const Walk& walked);
  uint64_t next_page(uint64_t linear, Rights rights) const;
  bool is_wide(Rights rights) const;
  bool out_of_space(uint64_t linear) const;
  void check_alignment(uint64_t linear, size_t size, Rights rights) const;

  bool writes_are_watched(uint64_t page) const { return code_.holds_code(page) || tables_.holds(page); }
  void note(const Pieces& pieces, vm::Direction direction) {
    if (watches_.empty()) return;
    for (unsigned i = 0; i < pieces.count; ++i) note(pieces.piece[i], direction);
  }
  void note(const Piece& piece, vm::Direction direction);
  /// Whoever runs a block of instructions comes back after the present one.
  void end_of_block() { code_.translations_changed(); }
  uint8_t* host(const Piece& piece) const { return memory_.host(piece.place.page * vm::kPageSize + piece.offset); }
  void exchange(const Piece& piece, vm::Direction direction, uint8_t* bytes);
  void store(const Piece& piece, const uint8_t* from);
  void tables_change(const Piece& piece, const uint8_t* from);
  void written_by_others(uint64_t backing_offset, uint64_t size, vm::Writer writer);

  vm::CpuState& cpu_;
  vm::GuestMemory& memory_;
  AccessLog& log_;
  const Features& features_;
  RamSupply supply_;
  Tlb tlb_;
  SlowPages slow_;
  TablePages tables_;
  CodePages code_;
  Watches watches_;
  vm::GuestMemory::ObserverId observer_;
  unsigned table_writes_ = 0;     // since the last flush()
  bool user_ = false;             // CPL 3
  bool check_alignment_ = false;  // CR0.AM, EFLAGS.AC and CPL 3
};

}  // namespace dejavm::soft
