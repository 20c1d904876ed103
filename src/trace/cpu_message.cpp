#include <algorithm>
#include <array>

#include "trace/message.h"
#include "trace/state_message.h"

namespace dejavm::trace {
namespace {

/// The fields that stand in lists, in the order of the schema. `State` is a vm::CpuState, const or not.
template <typename State>
auto control_fields(State& cpu) {
  return std::array{&cpu.cr0, &cpu.cr2, &cpu.cr3, &cpu.cr4, &cpu.cr8};
}

template <typename State>
auto debug_fields(State& cpu) {
  return std::array{&cpu.dr[0], &cpu.dr[1], &cpu.dr[2], &cpu.dr[3], &cpu.dr6, &cpu.dr7};
}

template <typename State>
auto msr_fields(State& cpu) {
  return std::array{&cpu.efer,           &cpu.star,        &cpu.lstar,        &cpu.cstar,        &cpu.sfmask,
                    &cpu.kernel_gs_base, &cpu.sysenter_cs, &cpu.sysenter_esp, &cpu.sysenter_eip, &cpu.pat};
}

template <typename State>
auto segment_fields(State& cpu) {
  auto& s = cpu.segment;
  return std::array{&s[0], &s[1], &s[2], &s[3], &s[4], &s[5], &cpu.tr, &cpu.ldt};
}

template <typename Fields>
void write_list(capnp::List<uint64_t>::Builder to, const Fields& fields) {
  for (unsigned i = 0; i < fields.size(); ++i) to.set(i, *fields[i]);
}

template <typename Fields>
bool read_list(capnp::List<uint64_t>::Reader from, const Fields& fields) {
  if (from.size() != fields.size()) return false;
  for (unsigned i = 0; i < fields.size(); ++i) *fields[i] = from[i];
  return true;
}

void write_segment(schema::Segment::Builder to, const vm::Segment& segment) {
  to.setBase(segment.base);
  to.setLimit(segment.limit);
  to.setSelector(segment.selector);
  to.setType(segment.type);
  to.setS(segment.s);
  to.setDpl(segment.dpl);
  to.setPresent(segment.present);
  to.setAvl(segment.avl);
  to.setL(segment.l);
  to.setDb(segment.db);
  to.setG(segment.g);
  to.setUnusable(segment.unusable);
}

vm::Segment read_segment(schema::Segment::Reader from) {
  return {.base = from.getBase(),
          .limit = from.getLimit(),
          .selector = from.getSelector(),
          .type = from.getType(),
          .s = from.getS(),
          .dpl = from.getDpl(),
          .present = from.getPresent(),
          .avl = from.getAvl(),
          .l = from.getL(),
          .db = from.getDb(),
          .g = from.getG(),
          .unusable = from.getUnusable()};
}

void write_table(schema::DescriptorTable::Builder to, const vm::DescriptorTable& table) {
  to.setBase(table.base);
  to.setLimit(table.limit);
}

/// Registers of 16 bytes one after another.
template <size_t N>
void write_vectors(capnp::Data::Builder to, const std::array<std::array<uint8_t, 16>, N>& registers) {
  for (size_t i = 0; i < N; ++i) std::copy(registers[i].begin(), registers[i].end(), to.begin() + 16 * i);
}

template <size_t N>
bool read_vectors(capnp::Data::Reader from, std::array<std::array<uint8_t, 16>, N>& registers) {
  if (from.size() != 16 * N) return false;
  for (size_t i = 0; i < N; ++i) std::copy_n(from.begin() + 16 * i, 16, registers[i].begin());
  return true;
}

}  // namespace

void write_cpu(schema::CpuState::Builder to, const vm::CpuState& cpu) {
  auto gpr = to.initGpr(16);
  for (unsigned i = 0; i < 16; ++i) gpr.set(i, cpu.gpr[i]);
  to.setRip(cpu.rip);
  to.setRflags(cpu.rflags);
  auto segments = segment_fields(cpu);
  auto segment_list = to.initSegments(segments.size());
  for (unsigned i = 0; i < segments.size(); ++i) write_segment(segment_list[i], *segments[i]);
  write_table(to.initGdt(), cpu.gdt);
  write_table(to.initIdt(), cpu.idt);
  write_list(to.initControl(5), control_fields(cpu));
  write_list(to.initDebug(6), debug_fields(cpu));
  write_list(to.initMsrs(10), msr_fields(cpu));
  write_vectors(to.initSt(8 * 16), cpu.fpu.st);
  write_vectors(to.initXmm(16 * 16), cpu.fpu.xmm);
  to.setFcw(cpu.fpu.fcw);
  to.setFsw(cpu.fpu.fsw);
  to.setFtw(cpu.fpu.ftw);
  to.setLastOpcode(cpu.fpu.last_opcode);
  to.setLastIp(cpu.fpu.last_ip);
  to.setLastDp(cpu.fpu.last_dp);
  to.setMxcsr(cpu.fpu.mxcsr);
  to.setInterruptShadow(cpu.interrupt_shadow);
  to.setNmiMasked(cpu.nmi_masked);
}

Result<vm::CpuState> read_cpu(schema::CpuState::Reader from) {
  vm::CpuState cpu;
  auto gpr = from.getGpr();
  auto segment_list = from.getSegments();
  auto segments = segment_fields(cpu);
  bool complete = gpr.size() == 16 && segment_list.size() == segments.size();
  complete = complete && read_list(from.getControl(), control_fields(cpu)) &&
             read_list(from.getDebug(), debug_fields(cpu)) && read_list(from.getMsrs(), msr_fields(cpu)) &&
             read_vectors(from.getSt(), cpu.fpu.st) && read_vectors(from.getXmm(), cpu.fpu.xmm);
  if (!complete) return fail_damaged("a CPU state is malformed: a list has the wrong length");
  for (unsigned i = 0; i < 16; ++i) cpu.gpr[i] = gpr[i];
  for (unsigned i = 0; i < segments.size(); ++i) *segments[i] = read_segment(segment_list[i]);
  cpu.rip = from.getRip();
  cpu.rflags = from.getRflags();
  cpu.gdt = {from.getGdt().getBase(), from.getGdt().getLimit()};
  cpu.idt = {from.getIdt().getBase(), from.getIdt().getLimit()};
  cpu.fpu.fcw = from.getFcw();
  cpu.fpu.fsw = from.getFsw();
  cpu.fpu.ftw = from.getFtw();
  cpu.fpu.last_opcode = from.getLastOpcode();
  cpu.fpu.last_ip = from.getLastIp();
  cpu.fpu.last_dp = from.getLastDp();
  cpu.fpu.mxcsr = from.getMxcsr();
  cpu.interrupt_shadow = from.getInterruptShadow();
  cpu.nmi_masked = from.getNmiMasked();
  return cpu;
}

}  // namespace dejavm::trace
