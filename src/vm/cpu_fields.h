// The fields of CpuState, once, in the fixed order that hashes, traces and difference reports use.
#pragma once

#include <fmt/format.h>

#include <cstring>
#include <string>

#include "vm/cpu_state.h"

namespace dejavm::vm {

template <typename T>
std::string field_text(const T& value) {
  return fmt::format("{:#x}", static_cast<uint64_t>(value));
}

/// A 128-bit register, most significant byte first.
inline std::string field_text(const std::array<uint8_t, 16>& value) {
  std::string text = "0x";
  for (auto byte = value.rbegin(); byte != value.rend(); ++byte) text += fmt::format("{:02x}", *byte);
  return text;
}

/// Calls `visit(name, left_field, right_field, size in bytes)` for every field of two states, in the normative order.
/// `State` may be const or not.
template <typename State, typename Visit>
void for_each_field_pair(State& a, State& b, Visit visit) {
  auto field = [&](const std::string& name, auto& left, auto& right) { visit(name, left, right, unsigned{sizeof left}); };
  auto segment_fields = [&](const std::string& name, auto& left, auto& right) {
    field(name + ".base", left.base, right.base);
    field(name + ".limit", left.limit, right.limit);
    field(name + ".selector", left.selector, right.selector);
    field(name + ".type", left.type, right.type);
    field(name + ".s", left.s, right.s);
    field(name + ".dpl", left.dpl, right.dpl);
    field(name + ".present", left.present, right.present);
    field(name + ".avl", left.avl, right.avl);
    field(name + ".l", left.l, right.l);
    field(name + ".db", left.db, right.db);
    field(name + ".g", left.g, right.g);
    field(name + ".unusable", left.unusable, right.unusable);
  };
  static constexpr const char* kGprs[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                          "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
  for (unsigned i = 0; i < 16; ++i) field(kGprs[i], a.gpr[i], b.gpr[i]);
  field("rip", a.rip, b.rip);
  field("rflags", a.rflags, b.rflags);
  static constexpr const char* kSegments[] = {"es", "cs", "ss", "ds", "fs", "gs"};
  for (unsigned i = 0; i < 6; ++i) segment_fields(kSegments[i], a.segment[i], b.segment[i]);
  segment_fields("tr", a.tr, b.tr);
  segment_fields("ldt", a.ldt, b.ldt);
  field("gdt.base", a.gdt.base, b.gdt.base);
  field("gdt.limit", a.gdt.limit, b.gdt.limit);
  field("idt.base", a.idt.base, b.idt.base);
  field("idt.limit", a.idt.limit, b.idt.limit);
  field("cr0", a.cr0, b.cr0);
  field("cr2", a.cr2, b.cr2);
  field("cr3", a.cr3, b.cr3);
  field("cr4", a.cr4, b.cr4);
  field("cr8", a.cr8, b.cr8);
  for (unsigned i = 0; i < 4; ++i) field("dr" + std::to_string(i), a.dr[i], b.dr[i]);
  field("dr6", a.dr6, b.dr6);
  field("dr7", a.dr7, b.dr7);
  field("efer", a.efer, b.efer);
  field("star", a.star, b.star);
  field("lstar", a.lstar, b.lstar);
  field("cstar", a.cstar, b.cstar);
  field("sfmask", a.sfmask, b.sfmask);
  field("kernel_gs_base", a.kernel_gs_base, b.kernel_gs_base);
  field("sysenter_cs", a.sysenter_cs, b.sysenter_cs);
  field("sysenter_esp", a.sysenter_esp, b.sysenter_esp);
  field("sysenter_eip", a.sysenter_eip, b.sysenter_eip);
  field("pat", a.pat, b.pat);
  for (unsigned i = 0; i < 8; ++i) field("st" + std::to_string(i), a.fpu.st[i], b.fpu.st[i]);
  for (unsigned i = 0; i < 16; ++i) field("xmm" + std::to_string(i), a.fpu.xmm[i], b.fpu.xmm[i]);
  field("fcw", a.fpu.fcw, b.fpu.fcw);
  field("fsw", a.fpu.fsw, b.fpu.fsw);
  field("ftw", a.fpu.ftw, b.fpu.ftw);
  field("last_opcode", a.fpu.last_opcode, b.fpu.last_opcode);
  field("last_ip", a.fpu.last_ip, b.fpu.last_ip);
  field("last_dp", a.fpu.last_dp, b.fpu.last_dp);
  field("mxcsr", a.fpu.mxcsr, b.fpu.mxcsr);
  field("interrupt_shadow", a.interrupt_shadow, b.interrupt_shadow);
  field("nmi_masked", a.nmi_masked, b.nmi_masked);
}

/// Calls `visit(name, field, size)` for every field of one state.
template <typename State, typename Visit>
void for_each_field(State& state, Visit visit) {
  for_each_field_pair(state, state, [&](const auto& name, auto& value, auto&, unsigned size) { visit(name, value, size); });
}

}  // namespace dejavm::vm
