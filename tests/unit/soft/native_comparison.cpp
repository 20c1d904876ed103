#include "native_comparison.h"

#include <fmt/format.h>

#include <cstring>

namespace dejavm::soft {
namespace {

constexpr uint64_t kCompared = 0x8d5;  // CF PF AF ZF SF OF
constexpr uint64_t kDirection = 0x400;
constexpr int kTrials = 300;
constexpr uint64_t kEdges[] = {0,
                               1,
                               2,
                               0x7f,
                               0x80,
                               0xff,
                               0x7fff,
                               0x8000,
                               0xffff,
                               0x10000,
                               0x7fffffff,
                               0x80000000,
                               0xffffffff,
                               0x7fffffffffffffff,
                               0x8000000000000000,
                               0xffffffffffffffff};

std::string describe(const NativeInput& input) {
  const NativeRegisters& r = input.registers;
  uint64_t operand = 0;
  std::memcpy(&operand, &input.memory[NativeInput::kOperand], sizeof operand);
  return fmt::format("rax {:#x} rcx {:#x} rdx {:#x} rbx {:#x} rsi {:#x} rdi {:#x} flags {:#x} [rsi] {:#x}", r.rax, r.rcx,
                     r.rdx, r.rbx, r.rsi, r.rdi, r.flags & (kCompared | kDirection), operand);
}

bool equal(const NativeInput& a, const NativeInput& b) {
  const NativeRegisters &x = a.registers, &y = b.registers;
  return x.rax == y.rax && x.rcx == y.rcx && x.rdx == y.rdx && x.rbx == y.rbx && x.rsi == y.rsi && x.rdi == y.rdi &&
         (x.flags & kCompared) == (y.flags & kCompared) && a.memory == b.memory;
}

}  // namespace

vm::CpuModel NativeComparison::rich_model() {
  vm::CpuModel model = vm::dejavm64_v1();
  for (vm::CpuidLeaf& leaf : model.cpuid) {
    if (leaf.function == 0) leaf.eax = 7;
    if (leaf.function == 1) leaf.ecx |= 1u << 13 | 1u << 20 | 1u << 22 | 1u << 23;  // CMPXCHG16B, SSE4.2, MOVBE, POPCNT
    if (leaf.function == 0x80000001) leaf.ecx |= 1u << 5;                           // LZCNT
  }
  model.cpuid.push_back({.function = 7, .index = 0, .indexed = true, .ebx = 1u << 3});  // BMI1, for TZCNT
  return model;
}

NativeComparison::NativeComparison(unsigned bits) : bits_(bits) {
  bits == 64 ? guest_.long_mode() : guest_.protected_mode();
}

uint64_t NativeComparison::random_value() {
  switch (random_() % 4) {
    case 0:
      return kEdges[random_() % std::size(kEdges)];
    case 1:
      return random_() >> random_() % 64;
    case 2:
      return ~(random_() >> random_() % 64);
    default:
      return random_();
  }
}

NativeInput NativeComparison::random_input() {
  NativeInput input;
  input.registers = {.rax = random_value(), .rcx = random_value(), .rdx = random_value(), .rbx = random_value()};
  if (bits_ == 32) {
    for (uint64_t* reg : {&input.registers.rax, &input.registers.rcx, &input.registers.rdx, &input.registers.rbx}) {
      *reg &= 0xffffffff;
    }
  }
  input.registers.rsi = NativeInput::kOperand;
  input.registers.rdi = NativeInput::kSecondOperand;
  input.registers.flags = 0x202 | (random_() & kCompared);
  for (size_t i = 0; i < input.memory.size(); i += 8) {
    uint64_t value = random_value();
    std::memcpy(&input.memory[i], &value, sizeof value);
  }
  return input;
}

NativeComparison::Result NativeComparison::run_soft(const NativeInput& input, size_t length) {
  Result result{false, input};
  const NativeRegisters& in = input.registers;
  NativeRegisters& out = result.after.registers;
  vm::CpuState& cpu = guest_.cpu();
  cpu.gpr = {in.rax, in.rcx, in.rdx, in.rbx, kStack, 0, kData + in.rsi, kData + in.rdi};
  cpu.rflags = in.flags & ~uint64_t{0x200};
  cpu.rip = kCode;
  EXPECT_TRUE(guest_.memory().write({kData}, input.memory, vm::Writer::loader).has_value());
  for (int steps = 0; steps < 300 && cpu.rip == kCode; ++steps) guest_.step();
  result.faulted = cpu.rip != kCode + length;
  out = {cpu.gpr[vm::rax],         cpu.gpr[vm::rcx],         cpu.gpr[vm::rdx], cpu.gpr[vm::rbx],
         cpu.gpr[vm::rsi] - kData, cpu.gpr[vm::rdi] - kData, cpu.rflags};
  EXPECT_TRUE(guest_.memory().read({kData}, result.after.memory).has_value());
  return result;
}

NativeComparison::Result NativeComparison::run_native(const NativeInput& input) {
  native_ = input;
  auto base = reinterpret_cast<uintptr_t>(native_.memory.data());
  native_.registers.rsi += base;
  native_.registers.rdi += base;
  bool completed = oracle_.run(native_.registers);
  Result result{!completed, native_};
  result.after.registers.rsi -= base;
  result.after.registers.rdi -= base;
  return result;
}

void NativeComparison::compare(const std::string& name, const std::vector<uint8_t>& instruction, const Prepare& prepare) {
  oracle_.load(instruction, bits_);
  guest_.code(instruction);
  for (int trial = 0; trial < kTrials; ++trial) {
    NativeInput input = random_input();
    if (prepare) prepare(input, random_);
    Result native = run_native(input), soft = run_soft(input, instruction.size());
    bool same = native.faulted == soft.faulted && (native.faulted || equal(native.after, soft.after));
    if (same) continue;
    ADD_FAILURE() << fmt::format("{}\n before {}\n host   {}{}\n soft   {}{}", name, describe(input), describe(native.after),
                                 native.faulted ? " (fault)" : "", describe(soft.after), soft.faulted ? " (fault)" : "");
    return;
  }
}

}  // namespace dejavm::soft
