#include "vm/loader/elf_file.h"

#include <elf.h>

#include <algorithm>

namespace dejavm::loader {
namespace {

constexpr unsigned kMostProgramHeaders = 256;
constexpr uint64_t kMostNotes = 64 * 1024;
constexpr uint32_t kXenPhys32Entry = 18;
constexpr const char* kDamaged = "The file is damaged: build or fetch it again.";

/// The program header fields that are used, of either class.
struct ProgramHeader {
  uint32_t type, flags;
  uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

template <typename Phdr>
ProgramHeader widen(const Phdr& p) {
  return {p.p_type, p.p_flags, p.p_offset, p.p_vaddr, p.p_paddr, p.p_filesz, p.p_memsz, p.p_align};
}

template <typename T>
Result<T> read_struct(const Image& image, uint64_t offset, std::string_view what) {
  TRY_ASSIGN(ByteSpan bytes, image.range(offset, sizeof(T), what));
  T value;
  std::memcpy(&value, bytes.data(), sizeof value);
  return value;
}

/// The entry in the notes of a segment, if it is there. Notes are aligned to 4 bytes, or to 8 in segments that say so.
std::optional<uint64_t> find_pvh_entry(ByteSpan notes, uint64_t align) {
  uint64_t step = align == 8 ? 8 : 4;
  auto round = [step](uint64_t size) { return (size + step - 1) / step * step; };
  uint64_t at = 0;
  while (notes.size() - at >= sizeof(Elf32_Nhdr)) {
    Elf32_Nhdr note;
    std::memcpy(&note, &notes[at], sizeof note);
    uint64_t name = at + sizeof note, desc = name + round(note.n_namesz), next = desc + round(note.n_descsz);
    if (desc + note.n_descsz > notes.size()) return std::nullopt;
    bool xen = note.n_namesz == 4 && std::memcmp(&notes[name], "Xen", 4) == 0;
    if (xen && note.n_type == kXenPhys32Entry) {
      if (note.n_descsz == 8) return load_le<uint64_t>(&notes[desc]);
      if (note.n_descsz == 4) return load_le<uint32_t>(&notes[desc]);
    }
    if (next >= notes.size()) return std::nullopt;
    at = next;
  }
  return std::nullopt;
}

Status add_segment(const Image& image, ElfFile& elf, const ProgramHeader& p, unsigned index) {
  if (p.memsz == 0) return {};
  if (p.filesz > p.memsz) {
    return image.bad(fmt::format("program header {}: p_filesz {:#x} is larger than p_memsz {:#x}", index, p.filesz, p.memsz),
                     kDamaged);
  }
  ElfSegment segment{p.paddr, p.vaddr, p.memsz, (p.flags & PF_X) != 0, {}};
  TRY_ASSIGN(segment.bytes, image.range(p.offset, p.filesz, fmt::format("the segment of program header {}", index)));
  elf.segments.push_back(segment);
  return {};
}

Status add_program_header(const Image& image, ElfFile& elf, const ProgramHeader& p, unsigned index) {
  if (p.type == PT_LOAD) return add_segment(image, elf, p, index);
  if (p.type == PT_NOTE && !elf.pvh_entry) {
    TRY_ASSIGN(ByteSpan notes, image.range(p.offset, p.filesz, fmt::format("the notes of program header {}", index)));
    elf.pvh_entry = find_pvh_entry(notes.first(std::min<uint64_t>(notes.size(), kMostNotes)), p.align);
  }
  return {};
}

template <typename Ehdr, typename Phdr>
Status read_headers(const Image& image, ElfFile& elf) {
  TRY_ASSIGN(Ehdr header, read_struct<Ehdr>(image, 0, "the ELF header"));
  if (header.e_type != ET_EXEC && header.e_type != ET_DYN) {
    return image.bad(fmt::format("e_type is {}: not an executable", header.e_type), "Link it: -kernel takes executables.");
  }
  if (header.e_phnum == 0 || header.e_phnum > kMostProgramHeaders || header.e_phentsize != sizeof(Phdr)) {
    return image.bad(fmt::format("{} program headers of {} bytes cannot be loaded", header.e_phnum, header.e_phentsize),
                     fmt::format("1 to {} of {} bytes can.", kMostProgramHeaders, sizeof(Phdr)));
  }
  elf.entry = header.e_entry;
  for (unsigned i = 0; i < header.e_phnum; ++i) {
    if (header.e_phoff > image.size()) return image.bad(fmt::format("e_phoff {:#x} is too large", header.e_phoff), kDamaged);
    TRY_ASSIGN(Phdr p, read_struct<Phdr>(image, header.e_phoff + i * sizeof(Phdr), fmt::format("program header {}", i)));
    TRY(add_program_header(image, elf, widen(p), i));
  }
  return {};
}

/// Kernels that are linked for high addresses may give their entry there: it is wanted where the segment is loaded.
uint64_t physical_entry(const ElfFile& elf) {
  for (const ElfSegment& s : elf.segments) {
    if (s.physical != s.virtual_address && s.executable && elf.entry >= s.virtual_address &&
        elf.entry - s.virtual_address < s.bytes.size()) {
      return elf.entry - s.virtual_address + s.physical;
    }
  }
  return elf.entry;
}

}  // namespace

bool is_elf(ByteSpan file) { return file.size() >= SELFMAG && std::memcmp(file.data(), ELFMAG, SELFMAG) == 0; }

Result<ElfFile> parse_elf(const Image& image) {
  TRY_ASSIGN(ByteSpan ident, image.range(0, EI_NIDENT + 4, "the ELF header"));
  auto machine = load_le<uint16_t>(&ident[EI_NIDENT + 2]);
  bool is_32 = ident[EI_CLASS] == ELFCLASS32 && machine == EM_386;
  bool is_64 = ident[EI_CLASS] == ELFCLASS64 && machine == EM_X86_64;
  if (ident[EI_DATA] != ELFDATA2LSB || (!is_32 && !is_64)) {
    return image.bad(fmt::format("an ELF file of class {}, byte order {}, machine {} is not for this CPU", ident[EI_CLASS],
                                 ident[EI_DATA], machine),
                     "The guest is a PC: build for i386 (32 bits) or x86-64 (64 bits).");
  }
  ElfFile elf;
  elf.is_64 = is_64;
  if (is_64) {
    TRY((read_headers<Elf64_Ehdr, Elf64_Phdr>(image, elf)));
  } else {
    TRY((read_headers<Elf32_Ehdr, Elf32_Phdr>(image, elf)));
  }
  if (elf.segments.empty()) return image.bad("the ELF file has nothing to load", "Link it with PT_LOAD segments.");
  elf.entry = physical_entry(elf);
  return elf;
}

Status put_elf(BootPlan& plan, BootMemory& memory, const Image& image, const ElfFile& elf) {
  unsigned index = 0;
  for (const ElfSegment& segment : elf.segments) {
    TRY(memory.take(segment.physical, segment.size, fmt::format("{}: segment {}", image.name(), index++)));
    if (!segment.bytes.empty()) plan.add(segment.physical, segment.bytes);
  }
  return {};
}

Status check_entry(const Image& image, const ElfFile& elf, uint64_t entry, std::string_view what) {
  bool inside = std::any_of(elf.segments.begin(), elf.segments.end(),
                            [&](const ElfSegment& s) { return entry >= s.physical && entry - s.physical < s.size; });
  if (inside && entry < kBelow4g) return {};
  return image.bad(fmt::format("{} {:#x} is not in a loaded segment below 4 GiB", what, entry),
                   "Link the file so that its entry point has a physical address (p_paddr) in RAM.");
}

}  // namespace dejavm::loader
