// Which host register holds what while translated code runs.
//
// Ten guest registers live in host registers, nine of them in the register of the same name. The host's own stack pointer
// cannot be lent to the guest, so that the guest's RSP has R8. The guest's R8 to R11, R14 and R15 stay in CpuState.
#pragma once

#include <cstdint>
#include <optional>

namespace dejavm::soft {

/// In the order of their encoding.
enum class Host : uint8_t { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };

constexpr unsigned encoding(Host reg) { return static_cast<unsigned>(reg); }

/// The linear address of a memory operand, then its host address.
inline constexpr Host kAddress = Host::r10;
/// Free between instructions.
inline constexpr Host kScratch = Host::r11;
/// The guest's status flags, when they are not in the host's: CodeFrame::flags in its lower 16 bits.
inline constexpr Host kFlags = Host::r9;
/// CodeFrame::left. A host register, because every block changes it.
inline constexpr Host kLeft = Host::r14;
/// Points kStateBias bytes behind the start of CpuState: everything in Core is addressed from there, the general registers,
/// RIP and RFLAGS with one byte of displacement.
inline constexpr Host kState = Host::r15;
inline constexpr int kStateBias = 64;

/// The host register that holds a guest register (0-15), if one does.
constexpr std::optional<Host> home_of(unsigned guest) {
  switch (guest) {
    case 4:
      return Host::r8;
    case 8:
    case 9:
    case 10:
    case 11:
    case 14:
    case 15:
      return std::nullopt;
    default:
      return static_cast<Host>(guest);
  }
}

}  // namespace dejavm::soft
