#include "images.h"

#include <elf.h>

#include <algorithm>

#include "base/check.h"

namespace dejavm::loader {
namespace {

void append(Bytes& to, ByteSpan bytes) { to.insert(to.end(), bytes.begin(), bytes.end()); }

void append32(Bytes& to, uint32_t value) {
  to.resize(to.size() + 4);
  store_le(&to[to.size() - 4], value);
}

template <typename Ehdr, typename Program>
Bytes make_elf_of(unsigned char elf_class, uint16_t machine, uint64_t entry, const std::vector<Phdr>& headers) {
  Ehdr header{};
  std::copy_n(ELFMAG, SELFMAG, header.e_ident);
  header.e_ident[EI_CLASS] = elf_class;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_EXEC;
  header.e_machine = machine;
  header.e_entry = static_cast<decltype(header.e_entry)>(entry);
  header.e_phoff = sizeof header;
  header.e_phentsize = sizeof(Program);
  header.e_phnum = static_cast<uint16_t>(headers.size());
  Bytes file(sizeof header + headers.size() * sizeof(Program));
  std::memcpy(file.data(), &header, sizeof header);
  for (size_t i = 0; i < headers.size(); ++i) {
    Program p{};
    p.p_type = headers[i].type;
    p.p_flags = PF_R | PF_X;
    p.p_offset = static_cast<decltype(p.p_offset)>(file.size());
    p.p_vaddr = static_cast<decltype(p.p_vaddr)>(headers[i].vaddr);
    p.p_paddr = static_cast<decltype(p.p_paddr)>(headers[i].paddr);
    p.p_filesz = static_cast<decltype(p.p_filesz)>(headers[i].bytes.size());
    p.p_memsz = static_cast<decltype(p.p_memsz)>(headers[i].memsz);
    p.p_align = static_cast<decltype(p.p_align)>(headers[i].align);
    std::memcpy(&file[sizeof header + i * sizeof p], &p, sizeof p);
    append(file, headers[i].bytes);
  }
  return file;
}

}  // namespace

std::vector<MemoryArea> small_memory() {
  return {{0, 0x9fc00, true}, {0x9fc00, 0x400, false}, {0xf0000, 0x10000, false}, {0x100000, 63u << 20, true}};
}

BootRequest request_for(Bytes kernel, std::string command_line) {
  BootRequest request;
  request.kernel = NamedFile{"kernel.img", std::move(kernel)};
  request.command_line = std::move(command_line);
  request.memory = small_memory();
  return request;
}

Bytes make_bzimage(const BzImage& image) {
  Bytes file((image.setup_sects + size_t{1}) * 512);
  file[0x1f1] = image.setup_sects;
  store_le<uint16_t>(&file[0x1fe], 0xaa55);
  file[0x201] = 0x6a;
  store_le<uint32_t>(&file[0x202], 0x53726448);
  store_le(&file[0x206], image.version);
  store_le<uint16_t>(&file[0x20e], 0x100);
  file[0x211] = image.load_flags;
  store_le<uint32_t>(&file[0x214], 0x100000);
  store_le<uint32_t>(&file[0x218], 0xdeadbeef);
  store_le(&file[0x22c], image.initrd_addr_max);
  store_le(&file[0x230], image.alignment);
  file[0x234] = image.relocatable;
  store_le(&file[0x236], image.xload_flags);
  store_le(&file[0x238], image.cmdline_size);
  store_le(&file[0x258], image.pref_address);
  store_le(&file[0x260], image.init_size);
  const std::string version = "6.1.0-test (someone)";
  if (file.size() >= 0x320) std::copy(version.begin(), version.end(), file.begin() + 0x300);
  file.insert(file.end(), image.kernel_size, 0xcc);
  return file;
}

Bytes make_elf(bool is_64, uint64_t entry, const std::vector<Phdr>& headers) {
  if (is_64) return make_elf_of<Elf64_Ehdr, Elf64_Phdr>(ELFCLASS64, EM_X86_64, entry, headers);
  return make_elf_of<Elf32_Ehdr, Elf32_Phdr>(ELFCLASS32, EM_386, entry, headers);
}

Bytes xen_note(uint64_t entry, unsigned size) {
  Bytes notes;
  for (uint32_t word : {5u, 2u, 1u}) append32(notes, word);
  append(notes, Bytes{'O', 't', 'h', 'r', 0, 0, 0, 0});
  append(notes, Bytes{1, 2, 0, 0});
  for (uint32_t word : {4u, static_cast<uint32_t>(size), 18u}) append32(notes, word);
  append(notes, Bytes{'X', 'e', 'n', 0});
  append32(notes, static_cast<uint32_t>(entry));
  if (size == 8) append32(notes, static_cast<uint32_t>(entry >> 32));
  return notes;
}

Bytes make_multiboot(uint32_t flags, const std::vector<uint32_t>& words, size_t at, size_t size) {
  Bytes file(size);
  store_le<uint32_t>(&file[at], 0x1badb002);
  store_le(&file[at + 4], flags);
  store_le<uint32_t>(&file[at + 8], 0u - 0x1badb002u - flags);
  for (size_t i = 0; i < words.size(); ++i) store_le(&file[at + 12 + 4 * i], words[i]);
  return file;
}

ByteSpan bytes_at(const BootPlan& plan, uint64_t at) {
  for (const BootPiece& piece : plan.pieces()) {
    if (piece.at.value == at) return piece.bytes;
  }
  return {};
}

uint64_t field_at(const BootPlan& plan, uint64_t at, unsigned size) {
  for (const BootPiece& piece : plan.pieces()) {
    uint64_t base = piece.at.value;
    if (at < base || at - base + size > piece.bytes.size()) continue;
    uint64_t value = 0;
    std::copy_n(&piece.bytes[at - base], size, reinterpret_cast<uint8_t*>(&value));
    return value;
  }
  CHECK(false);
  return 0;
}

std::string text_at(const BootPlan& plan, uint64_t at) {
  std::string text;
  while (char letter = static_cast<char>(field_at(plan, at + text.size(), 1))) text += letter;
  return text;
}

}  // namespace dejavm::loader
