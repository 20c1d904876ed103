// Writes the seeds of loader_fuzzer into a directory: a kernel of each format.
#include <elf.h>
#include <fmt/format.h>

#include <fstream>
#include <string>

#include "../unit/loader/images.h"

namespace dejavm::loader {
namespace {

/// `choice`: see loader_fuzzer.cpp.
bool write(const std::string& path, Bytes kernel, uint8_t choice) {
  kernel.push_back(choice);
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(kernel.data()), static_cast<std::streamsize>(kernel.size()));
  return bool(file.flush());
}

int run(const std::string& directory) {
  Bytes note = xen_note(0x100020, 8);
  const Bytes kernels[] = {
      make_bzimage({}),
      make_bzimage({.version = 0x202, .relocatable = 0}),
      make_multiboot(3),
      make_multiboot(0x10003, {0x100010, 0x100000, 0x100200, 0x102000, 0x100040}),
      make_elf(false, 0x100010, {{}, {.paddr = 0x200000, .memsz = 0x10000}}),
      make_elf(true, 0x100010, {{}, {.type = PT_NOTE, .bytes = note, .memsz = note.size(), .align = 4}}),
  };
  uint8_t number = 0;
  for (const Bytes& kernel : kernels) {
    for (int choice : {0, 5, 0x1e}) {
      if (write(fmt::format("{}/kernel-{}", directory, number++), kernel, static_cast<uint8_t>(choice))) continue;
      fmt::print(stderr, "loader_seeds: cannot write into {}\n", directory);
      return 1;
    }
  }
  return 0;
}

}  // namespace
}  // namespace dejavm::loader

int main(int argc, char** argv) {
  if (argc != 2) {
    fmt::print(stderr, "usage: loader_seeds DIRECTORY\n");
    return 1;
  }
  return dejavm::loader::run(argv[1]);
}
