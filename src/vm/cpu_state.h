// The engine-neutral state of one vCPU: what checkpoints, traces and debuggers see.
// Layouts follow the AMD64 Architecture Programmer's Manual, volume 2; segments as in KVM's kvm_segment.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace dejavm::vm {

/// General registers in the order of their encoding (ModRM): rax rcx rdx rbx rsp rbp rsi rdi r8..r15.
enum Gpr : uint8_t { rax, rcx, rdx, rbx, rsp, rbp, rsi, rdi, r8, r9, r10, r11, r12, r13, r14, r15 };

/// Segment registers in the order of their encoding.
enum SegmentName : uint8_t { es, cs, ss, ds, fs, gs };

/// A segment register with its hidden part. `limit` is in bytes (granularity applied).
struct Segment {
  uint64_t base = 0;
  uint32_t limit = 0;
  uint16_t selector = 0;
  uint8_t type = 0;  ///< 4-bit descriptor type
  uint8_t s = 0;     ///< 1: code or data, 0: system
  uint8_t dpl = 0;
  uint8_t present = 0;
  uint8_t avl = 0;
  uint8_t l = 0;   ///< 64-bit code
  uint8_t db = 0;  ///< 32-bit default size
  uint8_t g = 0;
  uint8_t unusable = 0;
  bool operator==(const Segment&) const = default;
};

struct DescriptorTable {
  uint64_t base = 0;
  uint16_t limit = 0;
  bool operator==(const DescriptorTable&) const = default;
};

/// x87 and SSE state as FXSAVE64 keeps it, without the instruction and data pointers' host leftovers.
struct Fpu {
  std::array<std::array<uint8_t, 16>, 8> st{};  ///< 80 bits each, upper 6 bytes zero
  std::array<std::array<uint8_t, 16>, 16> xmm{};
  uint16_t fcw = 0x37f;
  uint16_t fsw = 0;
  uint8_t ftw = 0;  ///< abridged tag word: bit set = register in use
  uint16_t last_opcode = 0;
  uint64_t last_ip = 0;
  uint64_t last_dp = 0;
  uint32_t mxcsr = 0x1f80;
  bool operator==(const Fpu&) const = default;
};

/// Everything a vCPU holds at a consistent point (docs/determinism.md). No exception or injection is pending then.
struct CpuState {
  std::array<uint64_t, 16> gpr{};
  uint64_t rip = 0;
  uint64_t rflags = 2;
  std::array<Segment, 6> segment{};  ///< indexed by SegmentName
  Segment tr;
  Segment ldt;
  DescriptorTable gdt;
  DescriptorTable idt;
  uint64_t cr0 = 0, cr2 = 0, cr3 = 0, cr4 = 0, cr8 = 0;
  std::array<uint64_t, 4> dr{};
  uint64_t dr6 = 0xffff0ff0, dr7 = 0x400;
  uint64_t efer = 0;
  uint64_t star = 0, lstar = 0, cstar = 0, sfmask = 0, kernel_gs_base = 0;
  uint64_t sysenter_cs = 0, sysenter_esp = 0, sysenter_eip = 0;
  uint64_t pat = 0x0007040600070406;
  Fpu fpu;
  uint8_t interrupt_shadow = 0;  ///< 1: after STI, 2: after MOV SS; interrupts wait one instruction
  uint8_t nmi_masked = 0;        ///< 1 between the delivery of an NMI and IRET
  bool operator==(const CpuState&) const = default;

  uint64_t cs_base() const { return segment[cs].base; }
  /// The linear address of the next instruction.
  uint64_t linear_rip() const;
  /// 64, 32 or 16: the size of the code that runs.
  unsigned code_bits() const;
};

inline constexpr uint64_t kRflagsIf = 1u << 9;

/// The state after power-on or reset (AMD64 APM volume 2, section 14.1.3): real mode, CS base 0xffff0000, RIP 0xfff0.
CpuState reset_state();

/// XXH3-64 over the fields in a fixed order. Equal states have equal hashes on every host.
uint64_t hash(const CpuState& state);

/// The names and values of all fields that differ, e.g. "rax 0x1 != 0x2, rip ..."; empty when equal.
std::string difference(const CpuState& expected, const CpuState& actual);

/// Several lines: general registers, rip, rflags, segments, control registers.
std::string describe(const CpuState& state);

}  // namespace dejavm::vm
