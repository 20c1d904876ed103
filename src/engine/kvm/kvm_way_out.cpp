#include "engine/kvm/kvm_way_out.h"

#include <algorithm>
#include <array>

#include "base/bytes.h"
#include "engine/kvm/kvm_state.h"
#include "engine/kvm/kvm_system.h"
#include "vm/translate.h"

namespace dejavm::kvm {
namespace {

constexpr uint8_t kHalt = 0xf4;
constexpr unsigned kUserRing = 3;
constexpr uint32_t kMsrSysenterEip = 0x176, kMsrLstar = 0xc0000082, kMsrCstar = 0xc0000083;
constexpr uint8_t kLinuxSystemCall = 0x80;

/// A byte HLT on the code page of an address, whatever instruction it belongs to.
std::optional<uint64_t> find_halt(const vm::CpuState& cpu, const vm::GuestMemory& memory, vm::GuestVirt address) {
  std::array<uint8_t, vm::kPageSize> page;
  uint64_t first = address.value & ~(vm::kPageSize - 1);
  size_t got = vm::read_virtual(cpu, memory, {first}, page);
  auto end = page.begin() + static_cast<std::ptrdiff_t>(got);
  auto found = std::find(page.begin(), end, kHalt);
  if (found == end) return std::nullopt;
  return first + static_cast<uint64_t>(found - page.begin());
}

}  // namespace

WayOut::~WayOut() {
  if (word_ != nullptr && load_le<uint64_t>(word_) == halt_) store_le(word_, slot_->returns_to.value);
}

Result<bool> WayOut::plant(size_t level) {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  if (event_pending(registers->events)) return false;
  vm::CpuState cpu;
  fill_registers(*registers, cpu);
  unsigned ring = cpu.segment[vm::cs].selector & 3;
  if (ring == kUserRing) return plant_entries(cpu);
  return ring == 0 && plant_return(cpu, level);
}

Result<bool> WayOut::plant_entries(const vm::CpuState& cpu) {
  MsrTable<3> entries;
  entries.entries[0].index = kMsrLstar;
  entries.entries[1].index = kMsrCstar;
  entries.entries[2].index = kMsrSysenterEip;
  TRY(kvm_ioctl(vcpu_fd_, KVM_GET_MSRS, "KVM_GET_MSRS", &entries));
  entries_.plant_exceptions(cpu);
  entries_.plant_vector(cpu, kLinuxSystemCall);
  for (const kvm_msr_entry& entry : entries.entries) {
    if (entry.data != 0) entries_.plant(cpu, {entry.data});
  }
  return entries_.any();
}

bool WayOut::plant_return(const vm::CpuState& cpu, size_t level) {
  auto slots = vm::find_return_slots(cpu, memory_, level);
  if (slots.size() < level) return false;
  const vm::ReturnSlot& slot = slots.back();
  auto halt = find_halt(cpu, memory_, slot.returns_to);
  auto gpa = vm::translate(cpu, memory_, slot.at);
  const vm::MemoryRange* range = gpa ? memory_.find(*gpa) : nullptr;
  if (!halt || range == nullptr || !range->writable || vm::is_user_page(cpu, memory_, slot.at)) return false;
  slot_ = slot;
  halt_ = *halt;
  word_ = memory_.host(range->offset + (gpa->value - range->base.value));
  store_le(word_, halt_);
  return true;
}

Result<bool> WayOut::after(const vm::Exit& exit) {
  if (!std::holds_alternative<vm::Halted>(exit)) return false;
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  vm::CpuState now;
  fill_registers(*registers, now);
  if (entries_.hit(now)) {
    TRY(go_on_at(now.rip - 1));
    return true;
  }
  // Somebody else's HLT may stand there, too: behind this return the stack is just above the slot.
  constexpr uint64_t kMostReleased = 8 + 0xffff;
  bool returned = slot_ && now.rip == halt_ + 1 && now.gpr[vm::rsp] - slot_->at.value - 8 <= kMostReleased - 8;
  if (returned) TRY(go_on_at(slot_->returns_to.value));
  return returned;
}

Status WayOut::go_on_at(uint64_t rip) {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  kvm_regs regs = registers->regs;
  regs.rip = rip;
  TRY(debug_.disarm());  // else KVM would put its flags into RFLAGS
  TRY(kvm_ioctl(vcpu_fd_, KVM_SET_REGS, "KVM_SET_REGS", &regs));
  registers_.invalidate();
  return {};
}

}  // namespace dejavm::kvm
