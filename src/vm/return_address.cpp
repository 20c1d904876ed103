#include "vm/return_address.h"

#include <Zydis/Zydis.h>

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <unordered_set>

#include "base/bytes.h"
#include "vm/translate.h"

namespace dejavm::vm {
namespace {

constexpr size_t kLongestCall = 7;  // FF /2 with SIB and a displacement of 32 bits

/// Whether the bytes, which end at the address in question, end with a near CALL.
bool ends_with_call(ByteSpan bytes) {
  constexpr uint8_t kRelative = 0xe8, kIndirect = 0xff;
  auto from_end = [&](size_t n) { return bytes[bytes.size() - n]; };
  if (bytes.size() >= 5 && from_end(5) == kRelative) return true;
  for (size_t length : {2u, 3u, 4u, 6u, 7u}) {
    if (bytes.size() >= length && from_end(length) == kIndirect && (from_end(length - 1) >> 3 & 7) == 2) return true;
  }
  return false;
}

bool follows_call(const CpuState& cpu, const GuestMemory& memory, GuestVirt address) {
  std::array<uint8_t, kLongestCall> before;
  return address.value >= before.size() &&
         read_virtual(cpu, memory, {address.value - before.size()}, before) == before.size() && ends_with_call(before);
}

/// The stack while code is followed: RSP, and RBP where its value is known.
struct Way {
  uint64_t rip;
  uint64_t rsp;
  std::optional<uint64_t> rbp;
};

/// Follows code without executing it, one instruction at a time, all ways side by side.
class ReturnSearch {
 public:
  ReturnSearch(const CpuState& cpu, const GuestMemory& memory) : cpu_(cpu), memory_(memory) {
    ZydisDecoderInit(&decoder_, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  }

  /// The RET of the function that runs there; `from` becomes the caller behind it. Nothing where the function is too large
  /// to be looked at as a whole, or may look at its return address itself.
  std::optional<ReturnSlot> next(Way& from);

 private:
  static constexpr size_t kMaxInstructions = 512;

  /// Puts where the instruction leads to into ways_. The slot, where it is RET.
  std::optional<ReturnSlot> follow(Way way);
  std::optional<ReturnSlot> follow_return(Way way);
  /// What an instruction that goes on to the next one does to RSP and RBP. False: that is not to be known.
  bool moves_stack(Way& way) const;
  std::optional<uint64_t> value_of(const ZydisDecodedOperand& operand, const Way& way) const;
  std::optional<uint64_t> word(uint64_t address) const;
  void branch(Way way);

  const CpuState& cpu_;
  const GuestMemory& memory_;
  ZydisDecoder decoder_;
  ZydisDecodedInstruction instruction_;
  ZydisDecodedOperand operands_[ZYDIS_MAX_OPERAND_COUNT];
  std::deque<Way> ways_;
  std::optional<Way> behind_;
};

/// What MOV and LEA compute without reading memory.
bool is_register_or_sum(const ZydisDecodedOperand& operand) {
  return operand.type == ZYDIS_OPERAND_TYPE_REGISTER || operand.mem.type == ZYDIS_MEMOP_TYPE_AGEN;
}

std::optional<ReturnSlot> ReturnSearch::next(Way& from) {
  ways_.assign(1, from);
  std::unordered_set<uint64_t> seen;
  while (!ways_.empty() && seen.size() < kMaxInstructions) {
    Way way = ways_.front();
    ways_.pop_front();
    if (!seen.insert(way.rip).second) continue;
    auto slot = follow(way);
    if (!slot) continue;
    from = *behind_;
    return slot;
  }
  return std::nullopt;
}

std::optional<ReturnSlot> ReturnSearch::follow(Way way) {
  uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
  size_t got = read_virtual(cpu_, memory_, {way.rip}, bytes);
  if (!ZYAN_SUCCESS(ZydisDecoderDecodeFull(&decoder_, bytes, got, &instruction_, operands_))) return std::nullopt;
  switch (instruction_.meta.category) {
    case ZYDIS_CATEGORY_RET:
      return instruction_.mnemonic == ZYDIS_MNEMONIC_RET ? follow_return(way) : std::nullopt;
    case ZYDIS_CATEGORY_COND_BR:
    case ZYDIS_CATEGORY_UNCOND_BR:
      branch(way);
      return std::nullopt;
    case ZYDIS_CATEGORY_SYSCALL:
    case ZYDIS_CATEGORY_SYSRET:
    case ZYDIS_CATEGORY_INTERRUPT:
      return std::nullopt;
    default:
      break;
  }
  if (instruction_.mnemonic == ZYDIS_MNEMONIC_UD2 || instruction_.mnemonic == ZYDIS_MNEMONIC_HLT) return std::nullopt;
  way.rip += instruction_.length;
  if (instruction_.meta.category == ZYDIS_CATEGORY_CALL || moves_stack(way)) ways_.push_back(way);
  return std::nullopt;
}

std::optional<ReturnSlot> ReturnSearch::follow_return(Way way) {
  auto address = way.rsp % 8 == 0 ? word(way.rsp) : std::nullopt;
  if (!address || !follows_call(cpu_, memory_, {*address})) return std::nullopt;
  bool releases = operands_[0].type == ZYDIS_OPERAND_TYPE_IMMEDIATE;
  ReturnSlot slot{{way.rsp}, {*address}};
  behind_ = Way{*address, way.rsp + 8 + (releases ? operands_[0].imm.value.u : 0), way.rbp};
  return slot;
}

void ReturnSearch::branch(Way way) {
  const ZydisDecodedOperand& to = operands_[0];
  uint64_t next = way.rip + instruction_.length;
  if (to.type == ZYDIS_OPERAND_TYPE_IMMEDIATE && to.imm.is_relative)
    ways_.push_back({next + static_cast<uint64_t>(to.imm.value.s), way.rsp, way.rbp});
  if (instruction_.meta.category == ZYDIS_CATEGORY_COND_BR) ways_.push_back({next, way.rsp, way.rbp});
}

bool ReturnSearch::moves_stack(Way& way) const {
  const ZydisDecodedOperand& to = operands_[0];
  const bool to_rsp = to.type == ZYDIS_OPERAND_TYPE_REGISTER && to.reg.value == ZYDIS_REGISTER_RSP;
  const bool to_rbp = to.type == ZYDIS_OPERAND_TYPE_REGISTER && to.reg.value == ZYDIS_REGISTER_RBP;
  std::optional<uint64_t> source;
  switch (instruction_.mnemonic) {
    case ZYDIS_MNEMONIC_PUSH:
    case ZYDIS_MNEMONIC_PUSHFQ:
      way.rsp -= 8;
      return instruction_.operand_width == 64;
    case ZYDIS_MNEMONIC_POP:
      if (to_rsp) return false;
      if (to_rbp) way.rbp = word(way.rsp);
      way.rsp += 8;
      return instruction_.operand_width == 64;
    case ZYDIS_MNEMONIC_POPFQ:
      way.rsp += 8;
      return true;
    case ZYDIS_MNEMONIC_LEAVE:
      if (!way.rbp) return false;
      way.rsp = *way.rbp + 8;
      way.rbp = word(*way.rbp);
      return true;
    case ZYDIS_MNEMONIC_ADD:
    case ZYDIS_MNEMONIC_SUB:
      if (to_rsp && operands_[1].type != ZYDIS_OPERAND_TYPE_IMMEDIATE) return false;
      if (to_rsp) way.rsp += (instruction_.mnemonic == ZYDIS_MNEMONIC_ADD ? 1 : ~uint64_t{0}) * operands_[1].imm.value.u;
      if (to_rsp) return true;
      break;
    case ZYDIS_MNEMONIC_MOV:
    case ZYDIS_MNEMONIC_LEA:
      if ((to_rsp || to_rbp) && is_register_or_sum(operands_[1])) source = value_of(operands_[1], way);
      if (to_rsp && source) way.rsp = *source;
      if (to_rbp) way.rbp = source;
      return !to_rsp || source;
    default:
      break;
  }
  for (unsigned i = 0; i < instruction_.operand_count; ++i) {
    if (operands_[i].type != ZYDIS_OPERAND_TYPE_REGISTER || (operands_[i].actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) == 0)
      continue;
    auto wide = ZydisRegisterGetLargestEnclosing(ZYDIS_MACHINE_MODE_LONG_64, operands_[i].reg.value);
    if (wide == ZYDIS_REGISTER_RSP) return false;
    if (wide == ZYDIS_REGISTER_RBP) way.rbp.reset();
  }
  return true;
}

/// The value of RSP or RBP, or the address that is one of them plus a number.
std::optional<uint64_t> ReturnSearch::value_of(const ZydisDecodedOperand& operand, const Way& way) const {
  auto of = [&](ZydisRegister reg) -> std::optional<uint64_t> {
    if (reg == ZYDIS_REGISTER_RSP) return way.rsp;
    return reg == ZYDIS_REGISTER_RBP ? way.rbp : std::nullopt;
  };
  if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) return of(operand.reg.value);
  bool sum = operand.type == ZYDIS_OPERAND_TYPE_MEMORY && operand.mem.index == ZYDIS_REGISTER_NONE;
  auto base = sum ? of(operand.mem.base) : std::nullopt;
  if (!base) return std::nullopt;
  return *base + static_cast<uint64_t>(operand.mem.disp.value);
}

std::optional<uint64_t> ReturnSearch::word(uint64_t address) const {
  std::array<uint8_t, 8> bytes;
  if (read_virtual(cpu_, memory_, {address}, bytes) != bytes.size()) return std::nullopt;
  return load_le<uint64_t>(bytes.data());
}

}  // namespace

std::vector<ReturnSlot> find_return_slots(const CpuState& cpu, const GuestMemory& memory, size_t count) {
  std::vector<ReturnSlot> found;
  if (cpu.code_bits() != 64) return found;
  ReturnSearch search(cpu, memory);
  Way way{cpu.rip, cpu.gpr[rsp], cpu.gpr[rbp]};
  while (found.size() < count) {
    auto slot = search.next(way);
    if (!slot) break;
    found.push_back(*slot);
  }
  return found;
}

std::vector<GuestVirt> find_return_addresses(const CpuState& cpu, const GuestMemory& memory, size_t count) {
  std::vector<GuestVirt> found;
  if (cpu.code_bits() != 64) return found;
  std::array<uint8_t, 64 * 8> stack;
  size_t got = read_virtual(cpu, memory, {cpu.gpr[rsp]}, stack);
  for (size_t at = 0; at + 8 <= got && found.size() < count; at += 8) {
    GuestVirt address{load_le<uint64_t>(stack.data() + at)};
    if (std::find(found.begin(), found.end(), address) != found.end()) continue;
    if (follows_call(cpu, memory, address)) found.push_back(address);
  }
  return found;
}

}  // namespace dejavm::vm
