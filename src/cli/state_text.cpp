#include "cli/state_text.h"

#include <algorithm>
#include <optional>

#include "base/bytes.h"
#include "base/result.h"
#include "vm/mappings.h"

namespace dejavm::cli {
namespace {

constexpr size_t kMostPages = 20'000;  // lines of pages_text()
constexpr const char* kNoPaging = "PG disabled\n";
constexpr const char* kTooMany = "... the page tables go on\n";

// ---- Registers

std::string general_text(const vm::CpuState& cpu) {
  static constexpr const char* kWide[] = {"RAX", "RBX", "RCX", "RDX", "RSI", "RDI", "RBP", "RSP",
                                          "R8 ", "R9 ", "R10", "R11", "R12", "R13", "R14", "R15"};
  static constexpr const char* kNarrow[] = {"EAX", "EBX", "ECX", "EDX", "ESI", "EDI", "EBP", "ESP"};
  static constexpr vm::Gpr kOrder[] = {vm::rax, vm::rbx, vm::rcx, vm::rdx, vm::rsi, vm::rdi, vm::rbp, vm::rsp,
                                       vm::r8,  vm::r9,  vm::r10, vm::r11, vm::r12, vm::r13, vm::r14, vm::r15};
  bool wide = cpu.code_bits() == 64;
  std::string text;
  for (size_t i = 0; i < (wide ? std::size(kWide) : std::size(kNarrow)); ++i) {
    uint64_t value = cpu.gpr[kOrder[i]];
    text += wide ? fmt::format("{}={:016x}", kWide[i], value) : fmt::format("{}={:08x}", kNarrow[i], value & UINT32_MAX);
    text += i % 4 == 3 ? '\n' : ' ';
  }
  std::string flags;
  static constexpr struct {
    unsigned bit;
    char name;
  } kFlags[] = {{10, 'D'}, {11, 'O'}, {7, 'S'}, {6, 'Z'}, {4, 'A'}, {2, 'P'}, {0, 'C'}};
  for (const auto& flag : kFlags) flags += (cpu.rflags >> flag.bit & 1) != 0 ? flag.name : '-';
  text += wide ? fmt::format("RIP={:016x} RFL={:08x}", cpu.rip, cpu.rflags)
               : fmt::format("EIP={:08x} EFL={:08x}", cpu.rip & UINT32_MAX, cpu.rflags);
  bool protected_mode = (cpu.cr0 & 1) != 0;
  return text +
         fmt::format(" [{}] CPL={} II={}\n", flags, protected_mode ? cpu.segment[vm::ss].dpl : 0, cpu.interrupt_shadow);
}

/// The upper half of a descriptor (AMD64 APM volume 2, section 4.7), with the base bits out of it.
uint32_t descriptor_flags(const vm::Segment& s) {
  uint32_t limit_high = (s.g != 0 ? s.limit >> 12 : s.limit) >> 16 & 0xf;
  return uint32_t{s.type} << 8 | uint32_t{s.s} << 12 | uint32_t{s.dpl} << 13 | uint32_t{s.present} << 15 | limit_high << 16 |
         uint32_t{s.avl} << 20 | uint32_t{s.l} << 21 | uint32_t{s.db} << 22 | uint32_t{s.g} << 23;
}

const char* system_type(uint8_t type, bool long_mode) {
  static constexpr const char* kLong[] = {"Reserved",   "Reserved", "LDT",       "Reserved",  "Reserved", "Reserved",
                                          "Reserved",   "Reserved", "Reserved",  "TSS64-avl", "Reserved", "TSS64-busy",
                                          "CallGate64", "Reserved", "IntGate64", "TrapGate64"};
  static constexpr const char* kLegacy[] = {
      "Reserved", "TSS16-avl", "LDT",      "TSS16-busy", "CallGate16", "TaskGate", "IntGate16", "TrapGate16",
      "Reserved", "TSS32-avl", "Reserved", "TSS32-busy", "CallGate32", "Reserved", "IntGate32", "TrapGate32"};
  return (long_mode ? kLong : kLegacy)[type & 0xf];
}

std::string segment_kind(const vm::Segment& s, bool long_mode) {
  auto letter = [&s](unsigned bit, char name) { return (s.type >> bit & 1) != 0 ? name : '-'; };
  if (s.s == 0) return system_type(s.type, long_mode);
  if ((s.type & 8) != 0)
    return fmt::format("{} [{}{}{}]",
                       s.l != 0    ? "CS64"
                       : s.db != 0 ? "CS32"
                                   : "CS16",
                       letter(2, 'C'), letter(1, 'R'), letter(0, 'A'));
  return fmt::format("{} [{}{}{}]", s.db != 0 || long_mode ? "DS  " : "DS16", letter(2, 'E'), letter(1, 'W'),
                     letter(0, 'A'));
}

std::string segment_text(const char* name, const vm::Segment& s, const vm::CpuState& cpu) {
  bool long_mode = (cpu.efer >> 10 & 1) != 0;
  int digits = cpu.code_bits() == 64 ? 16 : 8;
  uint32_t flags = s.unusable != 0 ? 0 : descriptor_flags(s);
  std::string text = fmt::format("{:<3}={:04x} {:0{}x} {:08x} {:08x}", name, s.selector, s.base, digits, s.limit, flags);
  bool shows_kind = (cpu.cr0 & 1) != 0 && s.present != 0 && s.unusable == 0;
  return text + (shows_kind ? fmt::format(" DPL={} {}\n", s.dpl, segment_kind(s, long_mode)) : "\n");
}

std::string system_text(const vm::CpuState& cpu) {
  static constexpr const char* kNames[] = {"ES", "CS", "SS", "DS", "FS", "GS"};
  int digits = cpu.code_bits() == 64 ? 16 : 8;
  std::string text;
  for (size_t i = 0; i < std::size(kNames); ++i) text += segment_text(kNames[i], cpu.segment[i], cpu);
  text += segment_text("LDT", cpu.ldt, cpu) + segment_text("TR", cpu.tr, cpu);
  text += fmt::format("GDT=     {:0{}x} {:08x}\nIDT=     {:0{}x} {:08x}\n", cpu.gdt.base, digits, cpu.gdt.limit,
                      cpu.idt.base, digits, cpu.idt.limit);
  text += fmt::format("CR0={:08x} CR2={:0{}x} CR3={:0{}x} CR4={:08x} CR8={:x}\n", cpu.cr0, cpu.cr2, digits, cpu.cr3, digits,
                      cpu.cr4, cpu.cr8);
  for (size_t i = 0; i < cpu.dr.size(); ++i) text += fmt::format("{}DR{}={:016x}", i == 0 ? "" : " ", i, cpu.dr[i]);
  return text + fmt::format("\nDR6={:016x} DR7={:016x}\nEFER={:016x}\n", cpu.dr6, cpu.dr7, cpu.efer);
}

std::string vector_text(const vm::CpuState& cpu) {
  const vm::Fpu& fpu = cpu.fpu;
  // QEMU's FTW has a bit for each register in use, as FXSAVE keeps it.
  std::string text = fmt::format("FCW={:04x} FSW={:04x} [ST={}] FTW={:02x} MXCSR={:08x}\n", fpu.fcw, fpu.fsw,
                                 fpu.fsw >> 11 & 7, fpu.ftw, fpu.mxcsr);
  for (size_t i = 0; i < fpu.st.size(); ++i) {
    text += fmt::format("FPR{}={:016x} {:04x}{}", i, load_le<uint64_t>(&fpu.st[i][0]), load_le<uint16_t>(&fpu.st[i][8]),
                        i % 2 == 1 ? "\n" : " ");
  }
  for (size_t i = 0; i < (cpu.code_bits() == 64 ? 16u : 8u); ++i) {
    text += fmt::format("XMM{:02}={:016x} {:016x}{}", i, load_le<uint64_t>(&fpu.xmm[i][8]),
                        load_le<uint64_t>(&fpu.xmm[i][0]), i % 2 == 1 ? "\n" : " ");
  }
  return text;
}

// ---- Address spaces

std::string region_line(uint64_t first, uint64_t size, const char* kind, const std::string& name) {
  return fmt::format("  {:016x}-{:016x} (prio 0, {}): {}\n", first, first + (size - 1), kind, name);
}

}  // namespace

std::string registers_text(const vm::CpuState& cpu) { return general_text(cpu) + system_text(cpu) + vector_text(cpu); }

std::string linear_ranges_text(const vm::CpuState& cpu, const vm::GuestMemory& memory) {
  if (!vm::has_paging(cpu)) return kNoPaging;
  struct Range {
    uint64_t first = 0, size = 0, rights = 0;
  };
  std::optional<Range> open;
  std::string text;
  auto close = [&] {
    if (!open) return;
    text += fmt::format("{:016x}-{:016x} {:016x} {}r{}\n", open->first, open->first + open->size, open->size,
                        (open->rights & vm::kPteUser) != 0 ? 'u' : '-', (open->rights & vm::kPteWritable) != 0 ? 'w' : '-');
  };
  bool complete = vm::for_each_mapping(cpu, memory, [&](const vm::PageMapping& page) {
    uint64_t rights = page.rights & (vm::kPteUser | vm::kPteWritable);
    if (open && open->first + open->size == page.linear.value && open->rights == rights) {
      open->size += page.size;
    } else {
      close();
      open = Range{page.linear.value, page.size, rights};
    }
    return true;
  });
  close();
  return text + (complete ? "" : kTooMany);
}

std::string pages_text(const vm::CpuState& cpu, const vm::GuestMemory& memory) {
  if (!vm::has_paging(cpu)) return kNoPaging;
  static constexpr struct {
    uint64_t bit;
    char name;
  } kLetters[] = {{vm::kPteNoExecute, 'X'},    {vm::kPteGlobal, 'G'},   {vm::kPteLarge, 'P'},
                  {vm::kPteDirty, 'D'},        {vm::kPteAccessed, 'A'}, {vm::kPteCacheDisabled, 'C'},
                  {vm::kPteWriteThrough, 'T'}, {vm::kPteUser, 'U'},     {vm::kPteWritable, 'W'}};
  std::string text;
  size_t lines = 0;
  bool complete = vm::for_each_mapping(cpu, memory, [&](const vm::PageMapping& page) {
    std::string letters;
    for (const auto& letter : kLetters) {
      bool pat = letter.bit == vm::kPteLarge && page.size == vm::kPageSize;  // the same bit selects the PAT in a small page
      letters += (page.entry & letter.bit) != 0 && !pat ? letter.name : '-';
    }
    text += fmt::format("{:016x}: {:016x} {}\n", page.linear.value, page.physical.value, letters);
    return ++lines < kMostPages;
  });
  return text + (complete && lines < kMostPages ? "" : kTooMany);
}

std::string address_spaces_text(const vm::GuestMemory& memory, const std::vector<vm::DeviceRegion>& devices) {
  struct Line {
    uint64_t first;
    std::string text;
  };
  std::string text;
  for (vm::Space space : {vm::Space::mmio, vm::Space::pio}) {
    std::vector<Line> lines;
    if (space == vm::Space::mmio) {
      for (const vm::MemoryRange& range : memory.map()) {
        bool rom = range.offset >= memory.ram_size();
        std::string name =
            fmt::format("{} @{:016x}", rom ? "rom" : "ram", rom ? range.offset - memory.ram_size() : range.offset);
        lines.push_back({range.base.value, region_line(range.base.value, range.size, range.writable ? "ram" : "rom", name)});
      }
    }
    for (const vm::DeviceRegion& region : devices) {
      if (region.space != space || region.size == 0) continue;
      std::string name = region.device + (region.offset != 0 ? fmt::format(" @{:016x}", region.offset) : "");
      lines.push_back({region.base, region_line(region.base, region.size, "i/o", name)});
    }
    std::ranges::stable_sort(lines, {}, &Line::first);
    text += space == vm::Space::mmio ? "address space: memory\n" : "address space: I/O\n";
    for (const Line& line : lines) text += line.text;
  }
  return text;
}

}  // namespace dejavm::cli
