#include "engine/soft/native_stub.h"

#include <Zydis/Zydis.h>

#include <cstring>

#include "base/check.h"
#include "engine/soft/native_arena.h"
#include "engine/soft/native_ops.h"

namespace dejavm::soft {
namespace {

// Host registers in a stub: RDI is the frame, RAX the general operand, XMM1/MM1 and XMM2/MM2 the vector operands.
constexpr unsigned kFirst = 1;
constexpr unsigned kSecond = 2;
// ModRM for [rdi + disp32].
constexpr uint8_t kFrameOperand = 0x87;

/// Machine code as it is put together. Everything goes to or from [rdi + offset].
class Assembler {
 public:
  void bytes(std::initializer_list<uint8_t> code) { put(code.begin(), code.size()); }
  void put(const uint8_t* code, size_t size) {
    CHECK(size_ + size <= kMaxStubSize);
    std::memcpy(code_ + size_, code, size);
    size_ += size;
  }
  /// opcode /digit [rdi + offset]
  void frame(std::initializer_list<uint8_t> opcode, unsigned digit, size_t offset) {
    bytes(opcode);
    bytes({static_cast<uint8_t>(kFrameOperand | digit << 3)});
    uint32_t displacement = static_cast<uint32_t>(offset);
    uint8_t encoded[4];
    std::memcpy(encoded, &displacement, 4);
    put(encoded, 4);
  }
  void load_vector(unsigned reg, bool mmx, size_t offset) {
    mmx ? frame({0x0f, 0x6f}, reg, offset) : frame({0x0f, 0x10}, reg, offset);  // movq, movups
  }
  void store_vector(unsigned reg, bool mmx, size_t offset) {
    mmx ? frame({0x0f, 0x7f}, reg, offset) : frame({0x0f, 0x11}, reg, offset);
  }
  void load_flags() {
    frame({0xff}, 6, offsetof(NativeFrame, flags));  // push
    bytes({0x9d});                                   // popfq
  }
  void store_flags() {
    bytes({0x9c});                                   // pushfq
    frame({0x8f}, 0, offsetof(NativeFrame, flags));  // pop
  }
  NativeCode finish(NativeArena& arena) {
    bytes({0xc3});  // ret
    return arena.add({code_, size_});
  }

 private:
  uint8_t code_[kMaxStubSize];
  size_t size_ = 0;
};

ZydisRegister general_in_stub(ZydisRegister reg) {
  return ZydisRegisterGetClass(reg) == ZYDIS_REGCLASS_GPR64 ? ZYDIS_REGISTER_RAX : ZYDIS_REGISTER_EAX;
}

/// Puts the stub's registers and memory in the place of the guest's; false for an operand that has none.
bool redirect(ZydisEncoderRequest& request) {
  unsigned vectors = 0;
  for (unsigned i = 0; i < request.operand_count; ++i) {
    ZydisEncoderOperand& operand = request.operands[i];
    if (operand.type == ZYDIS_OPERAND_TYPE_MEMORY) {
      operand.mem.base = ZYDIS_REGISTER_RDI;
      operand.mem.index = ZYDIS_REGISTER_NONE;
      operand.mem.scale = 0;
      operand.mem.displacement = offsetof(NativeFrame, memory);
    } else if (operand.type == ZYDIS_OPERAND_TYPE_REGISTER) {
      ZydisRegister& reg = operand.reg.value;
      switch (ZydisRegisterGetClass(reg)) {
        case ZYDIS_REGCLASS_XMM:
          reg = static_cast<ZydisRegister>(ZYDIS_REGISTER_XMM0 + (vectors++ == 0 ? kFirst : kSecond));
          break;
        case ZYDIS_REGCLASS_MMX:
          reg = static_cast<ZydisRegister>(ZYDIS_REGISTER_MM0 + (vectors++ == 0 ? kFirst : kSecond));
          break;
        case ZYDIS_REGCLASS_GPR32:
        case ZYDIS_REGCLASS_GPR64:
          reg = general_in_stub(reg);
          break;
        case ZYDIS_REGCLASS_X87:
          break;
        default:
          return false;
      }
    }
  }
  return vectors <= 2;
}

struct Encoded {
  uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH];
  ZyanUSize size = 0;
};

bool encode(const Decoded& decoded, Encoded& encoded) {
  ZydisEncoderRequest request;
  if (ZYAN_FAILED(ZydisEncoderDecodedInstructionToEncoderRequest(&decoded.insn, decoded.operands,
                                                                 decoded.insn.operand_count_visible, &request))) {
    return false;
  }
  request.machine_mode = ZYDIS_MACHINE_MODE_LONG_64;
  request.prefixes = 0;
  request.address_size_hint = ZYDIS_ADDRESS_SIZE_HINT_NONE;
  request.operand_size_hint = ZYDIS_OPERAND_SIZE_HINT_NONE;
  if (!redirect(request)) return false;
  encoded.size = sizeof encoded.bytes;
  return ZYAN_SUCCESS(ZydisEncoderEncodeInstruction(&request, encoded.bytes, &encoded.size));
}

}  // namespace

NativeCode make_vector_stub(const Decoded& decoded, uint16_t use, NativeArena& arena) {
  Encoded insn;
  if (!encode(decoded, insn)) return nullptr;
  Assembler code;
  if ((use & kUsesMxcsr) != 0) {
    code.frame({0x0f, 0xae}, 3, offsetof(NativeFrame, host_mxcsr));  // stmxcsr
    code.frame({0x0f, 0xae}, 2, offsetof(NativeFrame, mxcsr));       // ldmxcsr
  }
  if ((use & kUsesFirst) != 0) code.load_vector(kFirst, (use & kFirstIsMmx) != 0, offsetof(NativeFrame, first));
  if ((use & kUsesSecond) != 0) code.load_vector(kSecond, (use & kSecondIsMmx) != 0, offsetof(NativeFrame, second));
  if ((use & kUsesZero) != 0) code.load_vector(0, false, offsetof(NativeFrame, zero));
  if ((use & kUsesGeneral) != 0) code.frame({0x48, 0x8b}, 0, offsetof(NativeFrame, general));
  code.put(insn.bytes, insn.size);
  if ((use & kWritesFlags) != 0) code.store_flags();
  if ((use & kWritesFirst) != 0) code.store_vector(kFirst, (use & kFirstIsMmx) != 0, offsetof(NativeFrame, first));
  if ((use & kWritesGeneral) != 0) code.frame({0x48, 0x89}, 0, offsetof(NativeFrame, general));
  if ((use & kUsesMxcsr) != 0) {
    code.frame({0x0f, 0xae}, 3, offsetof(NativeFrame, mxcsr));
    code.frame({0x0f, 0xae}, 2, offsetof(NativeFrame, host_mxcsr));
  }
  if ((use & kUsesMmx) != 0) code.bytes({0x0f, 0x77});  // emms
  return code.finish(arena);
}

NativeCode make_x87_stub(const Decoded& decoded, uint16_t use, NativeArena& arena) {
  Encoded insn;
  if (!encode(decoded, insn)) return nullptr;
  Assembler code;
  code.frame({0xd9}, 7, offsetof(NativeFrame, host_fcw));     // fnstcw
  code.frame({0x0f, 0xae}, 1, offsetof(NativeFrame, image));  // fxrstor
  if ((use & (kReadsFlags | kWritesFlags)) != 0) code.load_flags();
  code.put(insn.bytes, insn.size);
  if ((use & kWritesFlags) != 0) code.store_flags();
  // Neither waits for exceptions, so that what the guest has unmasked never becomes the host's #MF.
  code.frame({0x0f, 0xae}, 0, offsetof(NativeFrame, image));  // fxsave
  code.bytes({0xdb, 0xe3});                                   // fninit
  code.frame({0xd9}, 5, offsetof(NativeFrame, host_fcw));     // fldcw
  return code.finish(arena);
}

}  // namespace dejavm::soft
