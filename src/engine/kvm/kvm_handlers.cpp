#include "engine/kvm/kvm_handlers.h"

#include <algorithm>

#include "engine/kvm/kvm_delivery.h"
#include "vm/translate.h"

namespace dejavm::kvm {
namespace {

constexpr uint8_t kHalt = 0xf4;
/// AMD64 APM volume 2, table 8-1, but for NMI and machine check, which no instruction raises.
constexpr uint8_t kExceptions[] = {0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13, 14, 16, 17, 19};

}  // namespace

PlantedHalts::~PlantedHalts() {
  for (auto planted = planted_.rbegin(); planted != planted_.rend(); ++planted) {
    if (*planted->byte == kHalt) *planted->byte = planted->original;  // else the guest has written there
  }
}

void PlantedHalts::plant(const vm::CpuState& cpu, vm::GuestVirt address) {
  auto same = [&](const Planted& planted) { return planted.address == address; };
  if (std::any_of(planted_.begin(), planted_.end(), same)) return;
  if (hidden_ && vm::is_user_page(cpu, memory_, address)) return;
  auto offset = vm::backing_offset(cpu, memory_, address);
  if (!offset) return;
  uint8_t* byte = memory_.host(*offset);
  planted_.push_back({address, byte, *byte});
  *byte = kHalt;
}

void PlantedHalts::plant_vector(const vm::CpuState& cpu, uint8_t vector) {
  auto handler = handler_address(cpu, memory_, vector);
  if (handler && handler->value != cpu.linear_rip()) plant(cpu, *handler);
}

void PlantedHalts::plant_exceptions(const vm::CpuState& cpu) {
  for (uint8_t vector : kExceptions) plant_vector(cpu, vector);
}

bool PlantedHalts::hit(const vm::CpuState& behind) const {
  uint64_t address = behind.linear_rip() - 1;
  return std::any_of(planted_.begin(), planted_.end(), [&](const Planted& p) { return p.address.value == address; });
}

}  // namespace dejavm::kvm
