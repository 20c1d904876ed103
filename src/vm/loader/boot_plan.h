// Boot without firmware: which bytes stand where in RAM, and how the CPU starts.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"
#include "vm/loader/boot_memory.h"
#include "vm/loader/memory_area.h"

namespace dejavm::loader {

/// A file and the text by which the user named it.
struct NamedFile {
  std::string name;
  Bytes bytes;
};

/// `-device loader,file=FILE,addr=ADDR[,cpu-num=0]`
struct RawImage {
  NamedFile file;
  uint64_t addr = 0;
  bool start = false;  ///< cpu-num=0: the CPU starts here
};

/// `-kernel FILE [-initrd FILES] [-append TEXT]` and raw images, read but not looked at.
struct BootRequest {
  std::optional<NamedFile> kernel;
  /// One for Linux; any number for multiboot, where `name` is "FILE ARGUMENTS" as the guest is told it.
  std::vector<NamedFile> initrd;
  std::string command_line;
  std::vector<RawImage> images;
  /// All of the guest's memory below 1 TiB, sorted.
  std::vector<MemoryArea> memory;
  /// The root pointer of the ACPI tables that the board has put into RAM; 0: there are none.
  uint64_t acpi_rsdp = 0;
};

/// Bytes for a guest physical address; borrowed from the plan or from its request.
struct BootPiece {
  vm::GuestPhys at;
  ByteSpan bytes;
};

/// What to write before the guest starts, and its first state. Borrows from the request. RAM that no piece covers is zero.
class BootPlan {
 public:
  BootPlan() = default;
  BootPlan(BootPlan&&) = default;
  BootPlan& operator=(BootPlan&&) = default;
  BootPlan(const BootPlan&) = delete;
  BootPlan& operator=(const BootPlan&) = delete;

  /// Bytes that outlive the plan.
  void add(uint64_t at, ByteSpan bytes) { pieces_.push_back({{at}, bytes}); }
  /// Bytes that the plan keeps.
  void add_own(uint64_t at, Bytes bytes) {
    own_.push_back(std::move(bytes));
    add(at, own_.back());
  }
  const std::vector<BootPiece>& pieces() const { return pieces_; }

  vm::CpuState cpu;
  /// One line for the user: what was recognised, and where it went.
  std::string description;

 private:
  std::vector<Bytes> own_;  // moving it keeps the bytes where they are
  std::vector<BootPiece> pieces_;
};

/// Whether -initrd means a list of modules for this kernel (multiboot).
bool takes_modules(ByteSpan kernel);

/// Recognises the kernel: Linux bzImage, multiboot, ELF with a PVH entry, other ELF. Without one, see plan_flat(). The files
/// are untrusted; an error names the file, the field and what to do. The request must outlive the plan.
Result<BootPlan> plan_boot(const BootRequest& request);

/// Writes the pieces. All of them are memory in the map of a guest whose areas were told to plan_boot().
Status apply(const BootPlan& plan, vm::GuestMemory& memory);

// ---- For the formats

/// Places that are the same for all formats.
inline constexpr uint64_t kLowLeast = 0x1000;     ///< page 0 is left to interrupt vectors and BIOS data
inline constexpr uint64_t kLowEnd = 0xa0000;      ///< tables of the loader stand below
inline constexpr uint64_t kHighLeast = 0x100000;  ///< initial RAM disks and modules stand above
inline constexpr uint64_t kBelow4g = uint64_t{1} << 32;

/// The guest's memory, with the raw images in it.
Result<BootMemory> put_raw_images(BootPlan& plan, const BootRequest& request);
/// Puts bytes of the loader's own below 640 KiB; returns where.
Result<uint64_t> put_low(BootPlan& plan, BootMemory& memory, Bytes bytes, const std::string& what);
/// The command line with its terminating zero, below 640 KiB.
Result<uint64_t> put_command_line(BootPlan& plan, BootMemory& memory, const std::string& text);
/// The same state for flat 32-bit and for 64-bit guests: GDT, page tables where needed, a stack of a page.
Status start_flat32(BootPlan& plan, BootMemory& memory, uint64_t entry);
Status start_long_mode(BootPlan& plan, BootMemory& memory, uint64_t entry);

/// ", FILE at 0x..." for each file of -initrd; for descriptions.
std::string initrd_text(const BootPlan& plan, const BootRequest& request);

}  // namespace dejavm::loader
