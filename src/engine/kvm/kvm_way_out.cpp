#include "engine/kvm/kvm_way_out.h"

#include "engine/kvm/kvm_state.h"
#include "engine/kvm/kvm_system.h"
#include "vm/loop_exit.h"
#include "vm/return_address.h"

namespace dejavm::kvm {
namespace {

constexpr unsigned kUserRing = 3;
constexpr uint32_t kMsrSysenterEip = 0x176, kMsrLstar = 0xc0000082, kMsrCstar = 0xc0000083;
constexpr uint8_t kLinuxSystemCall = 0x80;

}  // namespace

Result<bool> WayOut::plant(vm::WayOut way) {
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  if (event_pending(registers->events)) return false;
  vm::CpuState cpu;
  fill_registers(*registers, cpu);
  unsigned ring = cpu.segment[vm::cs].selector & 3;
  if (ring == kUserRing) {
    TRY(plant_entries(cpu));
  } else if (ring == 0) {
    auto slots = vm::find_return_slots(cpu, memory_, way.level);
    bool known = !slots.empty() && slots.size() == way.level;
    auto address = vm::leads_to(cpu, memory_, way, known ? std::optional(slots.back().returns_to) : std::nullopt);
    if (address && address->value != cpu.linear_rip()) halts_.plant(cpu, *address);
  }
  return halts_.any();
}

Status WayOut::plant_entries(const vm::CpuState& cpu) {
  MsrTable<3> entries;
  entries.entries[0].index = kMsrLstar;
  entries.entries[1].index = kMsrCstar;
  entries.entries[2].index = kMsrSysenterEip;
  TRY(kvm_ioctl(vcpu_fd_, KVM_GET_MSRS, "KVM_GET_MSRS", &entries));
  halts_.plant_exceptions(cpu);
  halts_.plant_vector(cpu, kLinuxSystemCall);
  for (const kvm_msr_entry& entry : entries.entries) {
    if (entry.data != 0) halts_.plant(cpu, {entry.data});
  }
  return {};
}

Result<bool> WayOut::after(const vm::Exit& exit) {
  if (!std::holds_alternative<vm::Halted>(exit)) return false;
  TRY_ASSIGN(const kvm_sync_regs* registers, registers_.get());
  vm::CpuState now;
  fill_registers(*registers, now);
  if (!halts_.hit(now)) return false;
  kvm_regs regs = registers->regs;
  --regs.rip;
  TRY(debug_.disarm());  // else KVM would put its flags into RFLAGS
  TRY(kvm_ioctl(vcpu_fd_, KVM_SET_REGS, "KVM_SET_REGS", &regs));
  registers_.invalidate();
  return true;
}

}  // namespace dejavm::kvm
