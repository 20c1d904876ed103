#include "registers/shipped.h"

#include <optional>
#include <vector>

#include "base/check.h"
#include "registers/shipped_text.h"
#include "registers/svd.h"

namespace dejavm::registers {
namespace {

constexpr unsigned kVirtioBar = 4;  // where the registers of virtio devices are; another BAR has the MSI-X table

}  // namespace

vm::RegisterMaps shipped() {
  using vm::Space;
  const struct {
    const char* device;
    Space space;
    std::vector<const char*> texts;
    std::optional<unsigned> region = {};
  } known[] = {
      {"edu", Space::mmio, {kEduSvd}},
      {"e1000", Space::mmio, {kE1000Svd}},
      {"serial", Space::pio, {k16550Svd}},
      {"pic", Space::pio, {k8259Svd}},
      {"pit", Space::pio, {k8254Svd}},
      {"rtc", Space::pio, {kCmosSvd}},
      {"ioapic", Space::mmio, {kIoapicSvd}},
      {"lapic", Space::mmio, {kLapicSvd}},
      {"hpet", Space::mmio, {kHpetSvd}},
      {"pci-host", Space::pio, {kPciHostSvd}},
      {"virtio-blk", Space::mmio, {kVirtioSvd, kVirtioBlkSvd}, kVirtioBar},
      {"virtio-rng", Space::mmio, {kVirtioSvd}, kVirtioBar},
  };
  vm::RegisterMaps maps;
  for (const auto& one : known) {
    vm::RegisterMap map{.device = one.device, .space = one.space, .region = one.region, .registers = {}};
    for (const char* text : one.texts) {
      auto part = parse_svd(text, one.device);
      CHECK(part.has_value());
      map.registers.insert(map.registers.end(), part->registers.begin(), part->registers.end());
    }
    maps.add(std::move(map));
  }
  return maps;
}

}  // namespace dejavm::registers
