// Writes the seeds of soft_engine_fuzzer into a directory: random programs, and hand-made code for each mode.
#include <fmt/format.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>
#include <vector>

#include "../unit/soft/translate_program.h"
#include "soft_sketch.h"

namespace dejavm::fuzz {
namespace {

void write(const std::string& path, const Header& header, const std::vector<uint8_t>& code) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(&header), sizeof header);
  file.write(reinterpret_cast<const char*>(code.data()), static_cast<std::streamsize>(code.size()));
  if (!file.flush()) {
    fmt::print(stderr, "soft_engine_seeds: cannot write {}\n", path);
    std::exit(1);
  }
}

/// Registers as RandomProgram likes them.
Header header_for_program(Mode mode, uint32_t seed) {
  constexpr uint8_t kToData = 1 << 5, kToDevice = 3 << 5;
  Header header{.mode = static_cast<uint8_t>(mode), .flags = 0x200, .seed = seed};
  header.longest_run = static_cast<uint8_t>(4 + seed % 8);
  header.gpr[vm::rbx] = kToData;
  header.gpr[vm::rbp] = kToData + 8;
  header.gpr[vm::rcx] = 5;
  header.gpr[vm::rdi] = kToData + 24;
  header.gpr[vm::rsi] = kToDevice;
  for (unsigned reg : {vm::r9, vm::r11, vm::r12, vm::r13, vm::r14}) header.gpr[reg] = static_cast<uint8_t>(kToData + reg);
  return header;
}

/// Code that is the same bytes in all modes: string and stack instructions, ports, flags, system instructions.
const std::vector<uint8_t> kPieces[] = {
    {0xb9, 8, 0, 0, 0, 0xf3, 0xa4, 0xf3, 0xa5, 0xf3, 0xab, 0xf2, 0xae},        // rep movs, stos, scas
    {0x60, 0x61, 0x9c, 0x9d, 0x50, 0x58, 0xc8, 0x10, 0, 1, 0xc9},              // pusha, popa, pushf, enter, leave
    {0xe4, 0x60, 0xe6, 0x61, 0xec, 0xed, 0xee, 0xef, 0x6c, 0x6e, 0xf3, 0x6c},  // ports
    {0xfa, 0xfb, 0x90, 0xfc, 0xfd, 0xf8, 0xf9, 0xf5, 0xf4, 0xcd, 0x21, 0xcc},  // flags, hlt, int
    {0x0f, 0x20, 0xc0, 0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8},  // control registers
    {0x0f, 0x01, 0x03, 0x0f, 0x01, 0x0b, 0x0f, 0x00, 0xc0, 0x0f, 0x01, 0xe0},  // sgdt, sidt, sldt, smsw
    {0x0f, 0x32, 0x0f, 0x30, 0x0f, 0xa2, 0x0f, 0x05, 0x0f, 0x34, 0x0f, 0x08},  // msr, cpuid, syscall, sysenter, invd
    {0x8e, 0xd8, 0x8c, 0xd8, 0x8e, 0xd0, 0x90, 0x0f, 0xa0, 0x0f, 0xa1, 0x0f, 0x02, 0xc0, 0x0f, 0x03, 0xc0},  // segments
    {0x9a, 0, 0, 0, 0, 0x58, 0, 0x9a, 0, 0, 0, 0, 0x68, 0, 0xea, 0, 0, 0, 0, 0x70, 0, 0xcb, 0xcf},           // far
    {0xdb, 0xe3, 0xd9, 0xe8, 0xd9, 0xeb, 0xde, 0xc1, 0xd9, 0xfa, 0xdd, 0x1b, 0x0f, 0xae, 0x03, 0x0f, 0xae, 0x0b},  // x87
    {0x66, 0x0f, 0x6f, 0x03, 0x66, 0x0f, 0xfe, 0xc1, 0x0f, 0x58, 0xc1, 0xf2, 0x0f, 0x5e, 0xc1, 0x66, 0x0f, 0x7f, 0x03},
    {0xc6, 0x05, 0, 0, 0, 0, 0x90, 0xeb, 0xf7, 0xe2, 0xf0, 0x74, 0x02, 0x75, 0x00, 0xe8, 0, 0, 0, 0, 0xc3},  // branches
};

int run(const std::string& directory) {
  constexpr unsigned kPrograms = 4, kInstructions = 120;
  unsigned number = 0;
  for (uint32_t seed = 0; seed < kPrograms; ++seed) {
    for (Mode mode : {Mode::flat32, Mode::paged32, Mode::pae32, Mode::long64, Mode::user64, Mode::compatible32}) {
      unsigned bits = mode == Mode::long64 || mode == Mode::user64 ? 64 : 32;
      soft::RandomProgram program(seed * 16 + static_cast<uint32_t>(mode), bits, kInstructions);
      write(fmt::format("{}/program-{}", directory, number++), header_for_program(mode, seed), program.bytes());
    }
  }
  for (unsigned mode = 0; mode < kModes; ++mode) {
    std::vector<uint8_t> all;
    for (const auto& piece : kPieces) {
      write(fmt::format("{}/piece-{}", directory, number), header_for_program(static_cast<Mode>(mode), number), piece);
      ++number;
      all.insert(all.end(), piece.begin(), piece.end());
    }
    write(fmt::format("{}/pieces-{}", directory, number), header_for_program(static_cast<Mode>(mode), number), all);
    ++number;
  }
  return 0;
}

}  // namespace
}  // namespace dejavm::fuzz

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: soft_engine_seeds DIRECTORY\n");
    return 1;
  }
  return dejavm::fuzz::run(argv[1]);
}
