#include "registers/shipped.h"

#include "base/check.h"
#include "registers/shipped_text.h"
#include "registers/svd.h"

namespace dejavm::registers {

vm::RegisterMaps shipped() {
  using vm::Space;
  struct {
    const char* device;
    Space space;
    const char* text;
  } const known[] = {
      {"edu", Space::mmio, kEduSvd}, {"e1000", Space::mmio, kE1000Svd}, {"serial", Space::pio, k16550Svd},
      {"pic", Space::pio, k8259Svd}, {"pit", Space::pio, k8254Svd},     {"rtc", Space::pio, kCmosSvd},
  };
  vm::RegisterMaps maps;
  for (const auto& one : known) {
    auto map = parse_svd(one.text, one.device);
    CHECK(map.has_value());
    map->space = one.space;
    maps.add(std::move(*map));
  }
  return maps;
}

}  // namespace dejavm::registers
