#include "engine/kvm/kvm_access.h"

#include <algorithm>
#include <cstring>

#include "base/bytes.h"
#include "base/check.h"

namespace dejavm::kvm {
namespace {

uint64_t load(const uint8_t* from, unsigned size) {
  uint64_t value = 0;
  std::memcpy(&value, from, size);
  return value;
}

}  // namespace

vm::DeviceAccess PendingAccess::begin_mmio(std::optional<vm::GuestVirt> instruction) {
  kind_ = Kind::mmio;
  instruction_ = instruction;
  CHECK(run_.mmio.len >= 1 && run_.mmio.len <= sizeof run_.mmio.data);
  vm::Access access{.space = vm::Space::mmio, .size = static_cast<uint8_t>(run_.mmio.len), .addr = run_.mmio.phys_addr};
  if (run_.mmio.is_write != 0) {
    access.direction = vm::Direction::write;
    access.value = load(run_.mmio.data, access.size);
  } else {
    std::memset(run_.mmio.data, 0, sizeof run_.mmio.data);
  }
  return {access, instruction};
}

vm::DeviceAccess PendingAccess::begin_pio() {
  kind_ = Kind::pio;
  instruction_.reset();
  element_ = 0;
  CHECK(run_.io.size >= 1 && run_.io.size <= 4 && run_.io.count >= 1);
  if (run_.io.direction == KVM_EXIT_IO_IN) std::memset(element_data(), 0, size_t{run_.io.size} * run_.io.count);
  return element();
}

vm::MsrAccess PendingAccess::begin_msr(bool write) {
  kind_ = Kind::msr;
  instruction_.reset();
  run_.msr.error = 0;
  if (!write) run_.msr.data = 0;
  return {run_.msr.index, write, write ? run_.msr.data : 0};
}

void PendingAccess::begin_refused_msr() {
  kind_ = Kind::internal;
  run_.msr.error = 1;
}

uint8_t* PendingAccess::element_data() const {
  return reinterpret_cast<uint8_t*>(&run_) + run_.io.data_offset + size_t{run_.io.size} * element_;
}

vm::DeviceAccess PendingAccess::element() const {
  vm::Access access{.space = vm::Space::pio, .size = run_.io.size, .addr = run_.io.port};
  if (run_.io.direction == KVM_EXIT_IO_OUT) {
    access.direction = vm::Direction::write;
    access.value = load(element_data(), access.size);
  }
  return {access, std::nullopt};
}

std::optional<vm::DeviceAccess> PendingAccess::next_element() {
  if (kind_ != Kind::pio || element_ + 1 >= run_.io.count) return std::nullopt;
  ++element_;
  return element();
}

void PendingAccess::reply(uint64_t value) {
  CHECK(waiting() && kind_ != Kind::internal);
  switch (kind_) {
    case Kind::mmio:
      if (run_.mmio.is_write == 0) std::memcpy(run_.mmio.data, &value, run_.mmio.len);
      break;
    case Kind::pio:
      if (run_.io.direction == KVM_EXIT_IO_IN) std::memcpy(element_data(), &value, run_.io.size);
      break;
    case Kind::msr:
      run_.msr.data = value;
      break;
    case Kind::none:
    case Kind::internal:
      break;
  }
}

void PendingAccess::reply_fault() {
  CHECK(kind_ == Kind::msr);
  run_.msr.error = 1;
}

}  // namespace dejavm::kvm
