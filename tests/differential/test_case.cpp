#include "test_case.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <iterator>

#include "instruction_kinds.h"
#include "known_differences.h"
#include "random_value.h"

namespace dejavm::differential {
namespace {

bool is_popf(const RandomInstruction& random) {
  ZydisMnemonic mnemonic = random.insn.mnemonic;
  return mnemonic == ZYDIS_MNEMONIC_POPF || mnemonic == ZYDIS_MNEMONIC_POPFD || mnemonic == ZYDIS_MNEMONIC_POPFQ;
}

/// The distance of a near branch: to an instruction behind it or to the HLTs around the code, never between two
/// instructions' beginnings and never backwards into the code, where it may stay. `behind`: the lengths of what follows.
void aim(std::mt19937_64& random, RandomInstruction& branch, const std::vector<size_t>& behind) {
  auto field = branch.distance();
  if (!field) return;
  size_t size = field->size;
  uint64_t total = 0;
  for (size_t length : behind) total += length;
  uint64_t distance = total + random() % (size == 1 ? 127 - std::min<uint64_t>(total, 126) : 1000);
  if (!behind.empty() && random() % 4 != 0) {
    distance = 0;
    for (size_t skip = random() % (behind.size() + 1), i = 0; i < skip; ++i) distance += behind[i];
  }
  if (distance > 127 && size == 1) distance = 0;
  if (size > 1 && random() % 8 == 0) return;  // far away: the random bytes
  std::memcpy(branch.bytes.data() + field->offset, &distance, size);
}

}  // namespace

const RandomInstruction* TestCase::at(uint64_t linear) const {
  uint64_t address = code;
  for (const RandomInstruction& random : instructions) {
    if (address == linear) return &random;
    address += random.length();
  }
  return nullptr;
}

std::string TestCase::text() const {
  std::string text;
  uint64_t at = code;
  for (const RandomInstruction& random : instructions) {
    text += fmt::format("    {:#x}: {} ({})\n", at, random.text(at), random.hex());
    at += random.length();
  }
  return text;
}

/// From the last to the first, so that branches know what is behind them.
void CaseSource::choose_instructions(std::mt19937_64& random, TestCase& test) const {
  size_t count = random() % 2 == 0 ? 1 : 2 + random() % (kMaxInstructions - 1);
  std::vector<size_t> behind;
  while (test.instructions.size() < count) {
    RandomInstruction made = instructions_.instruction(random);
    // TF would come and go between the instructions of a sequence; what has a known difference would hide all others.
    if (count > 1 && (is_popf(made) || may_differ(made, image_))) continue;
    aim(random, made, behind);
    behind.insert(behind.begin(), made.length());
    test.instructions.insert(test.instructions.begin(), made);
  }
}

uint64_t CaseSource::stack(const vm::CpuState& state) const {
  return state.gpr[vm::rsp] + (image_.mode == Mode::real16 ? kData : 0);
}

void CaseSource::scramble(std::mt19937_64& random, TestCase& test) const {
  vm::CpuState& state = test.state;
  uint64_t stack = state.gpr[vm::rsp];
  for (uint64_t& gpr : state.gpr) gpr = random_value(random, image_.mode);
  state.gpr[vm::rsp] = stack - 8 * (random() % 32) - (random() % 8 == 0 ? random() % 8 : 0);
  if (std::ranges::any_of(test.instructions, repeats) && random() % 32 != 0)
    state.gpr[vm::rcx] = random() % 64;  // else it takes KVM's emulator forever
  if (code_bits(image_.mode) != 64) {
    for (unsigned i = 0; i < 16; ++i) state.gpr[i] = i < 8 ? static_cast<uint32_t>(state.gpr[i]) : 0;
  }
  constexpr uint64_t kStatus = 0x8d5, kDirection = 0x400;
  state.rflags = image_.start.rflags | (random() & kStatus) | (random() % 4 == 0 ? kDirection : 0);
  if (image_.mode == Mode::user64 || image_.on_tcg)
    scramble_fpu(random, state.fpu);  // elsewhere KVM's emulator runs next to none of it
}

void CaseSource::scramble_fpu(std::mt19937_64& random, vm::Fpu& fpu) const {
  static constexpr uint64_t kFloats[] = {0,
                                         0x8000000000000000,
                                         0x3ff0000000000000,
                                         0x7ff0000000000000,
                                         0x7ff8000000000001,
                                         0x7ff0000000000001,
                                         0x000fffffffffffff,
                                         0x3f8000003f800000,
                                         0x7f8000007fc00001,
                                         0x0000000180000000};
  for (auto& xmm : fpu.xmm) {
    for (size_t half = 0; half < 2; ++half) {
      uint64_t bits = random() % 3 == 0 ? kFloats[random() % std::size(kFloats)] : random();
      std::memcpy(xmm.data() + 8 * half, &bits, 8);
    }
  }
  for (auto& st : fpu.st) {
    uint64_t mantissa = random() % 4 == 0 ? uint64_t{1} << 63 : random() | uint64_t{1} << 63;
    auto exponent = static_cast<uint16_t>(random() % 4 == 0 ? random() : 0x3fff - 40 + random() % 80);
    st.fill(0);
    std::memcpy(st.data(), &mantissa, 8);
    std::memcpy(st.data() + 8, &exponent, 2);
  }
  fpu.ftw = static_cast<uint8_t>(random());
  fpu.fsw = static_cast<uint16_t>((random() & 7) << 11);
  fpu.fcw =
      static_cast<uint16_t>(0x37f & ~(random() % 4 == 0 ? random() & 0x3f : 0)) | static_cast<uint16_t>(random() & 0xc00);
  fpu.mxcsr = 0x1f80 & ~static_cast<uint32_t>(random() % 4 == 0 ? random() & 0x1f80 : 0);
  fpu.mxcsr |=
      static_cast<uint32_t>(random() & 0x6000) | (random() % 8 == 0 ? 0x8040u & static_cast<uint32_t>(random()) : 0);
}

TestCase CaseSource::make(uint64_t seed, uint64_t number) const {
  std::mt19937_64 random((seed << 40) + (static_cast<uint64_t>(image_.mode) << 36) + number);
  TestCase test;
  test.number = number;
  test.state = image_.start;
  choose_instructions(random, test);
  scramble(random, test);
  // At the end of a page now and then, so that instructions and blocks cross pages.
  uint64_t offset = random() % 8 == 0 ? 0x2000 - random() % 48 : 0x1000 + 16 * (random() % 64);
  test.code = kCode + offset;
  test.state.rip = image_.start.rip + offset;
  Patch code{test.code, {}};
  for (const RandomInstruction& made : test.instructions) {
    code.bytes.insert(code.bytes.end(), made.bytes.begin(), made.bytes.begin() + static_cast<ptrdiff_t>(made.length()));
  }
  test.patches.push_back(std::move(code));
  if (is_popf(test.instructions.front())) {
    // Without TF: KVM and hardware differ in where single-stepping meets the HLT behind. Without AC and NT in user mode: on
    // this host they do not survive the way through its kernel.
    auto flags = static_cast<uint32_t>(random() & (image_.mode == Mode::user64 ? 0x210ed5 : 0x254ed5));
    Patch top{stack(test.state), std::vector<uint8_t>(8)};
    std::memcpy(top.bytes.data(), &flags, sizeof flags);
    test.patches.push_back(std::move(top));
  }
  return test;
}

}  // namespace dejavm::differential
