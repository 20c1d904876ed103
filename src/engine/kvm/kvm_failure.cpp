#include "engine/kvm/kvm_failure.h"

#include <Zydis/Zydis.h>

#include <algorithm>

#include "vm/translate.h"

namespace dejavm::kvm {
namespace {

constexpr size_t kMaxInstruction = 15;

ZydisMachineMode machine_mode(const vm::CpuState& state) {
  if ((state.cr0 & 1) == 0) return ZYDIS_MACHINE_MODE_REAL_16;
  switch (state.code_bits()) {
    case 64:
      return ZYDIS_MACHINE_MODE_LONG_64;
    case 32:
      return ZYDIS_MACHINE_MODE_LEGACY_32;
    default:
      return ZYDIS_MACHINE_MODE_LEGACY_16;
  }
}

Bytes bytes_at_rip(const vm::CpuState& state, const vm::GuestMemory& memory) {
  Bytes bytes(kMaxInstruction);
  bytes.resize(vm::read_virtual(state, memory, {state.linear_rip()}, bytes));
  return bytes;
}

std::string next_instruction(const vm::CpuState& state, const vm::GuestMemory& memory) {
  uint64_t address = state.linear_rip();
  return fmt::format("next instruction at {:#x}: {}", address, disassemble(state, address, bytes_at_rip(state, memory)));
}

/// The bytes that KVM decoded, where it tells them; else those that stand at RIP now.
Bytes instruction_bytes(const kvm_run& run, const vm::CpuState& state, const vm::GuestMemory& memory) {
  const auto& failure = run.emulation_failure;
  bool told = failure.ndata >= 3 && (failure.flags & KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES) != 0;
  if (told && failure.insn_size > 0) {
    size_t size = std::min<size_t>(failure.insn_size, kMaxInstruction);
    return Bytes(failure.insn_bytes, failure.insn_bytes + size);
  }
  return bytes_at_rip(state, memory);
}

std::string name_internal_error(uint32_t suberror) {
  switch (suberror) {
    case KVM_INTERNAL_ERROR_SIMUL_EX:
      return "simultaneous exceptions";
    case KVM_INTERNAL_ERROR_DELIVERY_EV:
      return "an exit while an event was delivered";
    case KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON:
      return "an unexpected hardware exit";
    default:
      return "unnamed";
  }
}

Error emulation_failure(const kvm_run& run, const vm::CpuState& state, const vm::GuestMemory& memory) {
  uint64_t address = state.linear_rip();
  std::string instruction = disassemble(state, address, instruction_bytes(run, state, memory));
  return {fmt::format("KVM cannot execute the guest's instruction at {:#x}: {}\n{}", address, instruction, describe(state)),
          "This host's KVM emulates guest kernel code or device accesses and lacks this instruction. Use another one in the "
          "guest, or a host with hardware virtualization."};
}

}  // namespace

std::string disassemble(const vm::CpuState& state, uint64_t address, ByteSpan bytes) {
  if (bytes.empty()) return "no bytes can be read there";
  ZydisDisassembledInstruction decoded;
  if (!ZYAN_SUCCESS(ZydisDisassembleIntel(machine_mode(state), address, bytes.data(), bytes.size(), &decoded))) {
    return fmt::format("{}  (not a valid instruction)", to_hex(bytes));
  }
  return fmt::format("{}  {}", to_hex(bytes.first(decoded.info.length)), decoded.text);
}

Error describe_failure(const kvm_run& run, const vm::CpuState& state, const vm::GuestMemory& memory) {
  if (run.exit_reason == KVM_EXIT_INTERNAL_ERROR && run.internal.suberror == KVM_INTERNAL_ERROR_EMULATION) {
    return emulation_failure(run, state, memory);
  }
  std::string what;
  if (run.exit_reason == KVM_EXIT_INTERNAL_ERROR) {
    what = fmt::format("KVM gave up: internal error {} ({})", uint32_t{run.internal.suberror},
                       name_internal_error(run.internal.suberror));
    size_t count = std::min<size_t>(run.internal.ndata, std::size(run.internal.data));
    for (size_t i = 0; i < count; ++i) what += fmt::format(" {:#x}", uint64_t{run.internal.data[i]});
  } else if (run.exit_reason == KVM_EXIT_FAIL_ENTRY) {
    what = fmt::format("KVM could not enter the guest: hardware reason {:#x} on host CPU {}",
                       uint64_t{run.fail_entry.hardware_entry_failure_reason}, uint32_t{run.fail_entry.cpu});
  } else if (run.exit_reason == KVM_EXIT_DEBUG) {
    what = fmt::format("the guest raised a debug exception of its own at {:#x} (dr6 {:#x}) while breakpoints were set",
                       uint64_t{run.debug.arch.pc}, uint64_t{run.debug.arch.dr6});
  } else {
    what = fmt::format("KVM ended the run with exit reason {}, which dejavm does not know", uint32_t{run.exit_reason});
  }
  return {fmt::format("{}\n{}", what, describe(state)), {}};
}

Error describe_stuck_event(const kvm_vcpu_events& events, const vm::CpuState& state, const vm::GuestMemory& memory) {
  std::string event = "an interrupt shadow does not end";
  if (events.exception.injected != 0 || events.exception.pending != 0) {
    event = fmt::format("exception {} does not get to its handler", uint32_t{events.exception.nr});
  } else if (events.interrupt.injected != 0) {
    event = fmt::format("interrupt {:#x} does not get to its handler", uint32_t{events.interrupt.nr});
  } else if (events.nmi.injected != 0 || events.nmi.pending != 0) {
    event = "an NMI does not get to its handler";
  }
  return {
      fmt::format("the guest was to be stopped, but {}; {}\n{}", event, next_instruction(state, memory), describe(state)),
      "If the guest's stack or its tables of descriptors lie in a device, KVM tries the delivery for ever."};
}

Error describe_memory_exit(const kvm_run& run, const vm::CpuState& state, const vm::GuestMemory& memory) {
  return {fmt::format("KVM could not itself {} {} bytes of guest memory at {:#x}; {}\n{}",
                      run.mmio.is_write != 0 ? "write" : "read", uint32_t{run.mmio.len}, uint64_t{run.mmio.phys_addr},
                      next_instruction(state, memory), describe(state)),
          {}};
}

}  // namespace dejavm::kvm
