#include "vm/access.h"

#include <fmt/format.h>

namespace dejavm::vm {

std::string describe(const Access& access) {
  bool pio = access.space == Space::pio;
  std::string text = fmt::format("{} {} of {} byte{} at {}{:#x}", pio ? "pio" : "mmio", access.is_write() ? "write" : "read",
                                 access.size, access.size == 1 ? "" : "s", pio ? "port " : "", access.addr);
  if (access.is_write()) text += fmt::format(": {:#x}", access.value);
  return text;
}

}  // namespace dejavm::vm
