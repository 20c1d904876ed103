#include "native_oracle.h"

#include <cpuid.h>
#include <sys/mman.h>

#include <csetjmp>
#include <csignal>
#include <cstring>
#include <initializer_list>
#include <string_view>

#include "base/check.h"

namespace dejavm::soft {
namespace {

// Offsets in the oracle's memory.
constexpr uint32_t kStub = 0, kStub32 = 0x1000, kRegisters = 0x2000, kSavedRsp = 0x2100, kInto32 = 0x2200, kInto64 = 0x2210,
                   kStack32 = 0x8000, kSize = 0x9000;
constexpr uint16_t kLinuxCode32 = 0x23, kLinuxCode64 = 0x33;
constexpr int kSignals[] = {SIGFPE, SIGILL, SIGSEGV};

sigjmp_buf escape;
struct sigaction previous[3];

void fault_handler(int) { siglongjmp(escape, 1); }

class Assembler {
 public:
  explicit Assembler(uint8_t* at) : at_(at) {}
  Assembler& bytes(std::initializer_list<int> bytes) {
    for (int byte : bytes) *at_++ = static_cast<uint8_t>(byte);
    return *this;
  }
  Assembler& bytes(const std::vector<uint8_t>& bytes) {
    std::memcpy(at_, bytes.data(), bytes.size());
    at_ += bytes.size();
    return *this;
  }
  Assembler& address(const uint8_t* where) {
    auto value = static_cast<uint32_t>(reinterpret_cast<uintptr_t>(where));
    std::memcpy(at_, &value, sizeof value);
    at_ += sizeof value;
    return *this;
  }
  uint8_t* here() const { return at_; }

 private:
  uint8_t* at_;
};

void put_far_pointer(uint8_t* at, const uint8_t* target, uint16_t selector) {
  Assembler(at).address(target);
  std::memcpy(at + 4, &selector, sizeof selector);
}

}  // namespace

NativeOracle::NativeOracle() {
  void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
  CHECK(memory != MAP_FAILED);
  memory_ = static_cast<uint8_t*>(memory);
  struct sigaction action {};
  action.sa_handler = fault_handler;
  action.sa_flags = SA_NODEFER;
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &action, &previous[i]);
}

NativeOracle::~NativeOracle() {
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &previous[i], nullptr);
  munmap(memory_, kSize);
}

bool NativeOracle::host_is_amd() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (__get_cpuid(0, &eax, &ebx, &ecx, &edx) == 0) return false;
  unsigned name[3] = {ebx, edx, ecx};
  return std::string_view(reinterpret_cast<const char*>(name), sizeof name) == "AuthenticAMD";
}

void NativeOracle::load(const std::vector<uint8_t>& instruction, unsigned bits) {
  CHECK(instruction.size() <= 15);
  bits == 64 ? load64(instruction) : load32(instruction);
}

/// R8 points to the registers meanwhile.
void NativeOracle::load64(const std::vector<uint8_t>& instruction) {
  Assembler(memory_ + kStub)
      .bytes({0x53, 0x41, 0xb8})  // push rbx; mov r8d, registers
      .address(memory_ + kRegisters)
      .bytes({0x49, 0x8b, 0x00, 0x49, 0x8b, 0x48, 0x08, 0x49, 0x8b, 0x50, 0x10})        // rax, rcx, rdx
      .bytes({0x49, 0x8b, 0x58, 0x18, 0x49, 0x8b, 0x70, 0x20, 0x49, 0x8b, 0x78, 0x28})  // rbx, rsi, rdi
      .bytes({0x41, 0xff, 0x70, 0x30, 0x9d})                                            // push the flags; popfq
      .bytes(instruction)
      .bytes({0x9c, 0x49, 0x89, 0x00, 0x49, 0x89, 0x48, 0x08, 0x49, 0x89, 0x50, 0x10})  // pushfq; rax, rcx, rdx
      .bytes({0x49, 0x89, 0x58, 0x18, 0x49, 0x89, 0x70, 0x20, 0x49, 0x89, 0x78, 0x28})  // rbx, rsi, rdi
      .bytes({0x41, 0x8f, 0x40, 0x30, 0xfc, 0x5b, 0xc3});                               // pop the flags; cld; pop rbx; ret
}

/// Goes to 32-bit code by far jumps, with a stack of its own. RAX, RCX, RDX and RBX are passed, 32 bits each.
void NativeOracle::load32(const std::vector<uint8_t>& instruction) {
  uint8_t* registers = memory_ + kRegisters;
  Assembler outer(memory_ + kStub);
  outer.bytes({0x53, 0x55, 0x48, 0x89, 0x24, 0x25}).address(memory_ + kSavedRsp);  // push rbx, rbp; save rsp
  outer.bytes({0xbc}).address(memory_ + kStack32).bytes({0xff, 0x2c, 0x25}).address(memory_ + kInto32);  // far jump
  put_far_pointer(memory_ + kInto32, memory_ + kStub32, kLinuxCode32);
  put_far_pointer(memory_ + kInto64, outer.here(), kLinuxCode64);
  outer.bytes({0x48, 0x8b, 0x24, 0x25}).address(memory_ + kSavedRsp).bytes({0x5d, 0x5b, 0xfc, 0xc3});

  Assembler(memory_ + kStub32)
      .bytes({0xb8, 0x2b, 0, 0, 0, 0x8e, 0xd8, 0x8e, 0xc0})  // mov eax, 0x2b; mov ds, eax; mov es, eax
      .bytes({0xa1})
      .address(registers)
      .bytes({0x8b, 0x0d})
      .address(registers + 8)
      .bytes({0x8b, 0x15})
      .address(registers + 16)
      .bytes({0x8b, 0x1d})
      .address(registers + 24)
      .bytes({0xff, 0x35})
      .address(registers + 48)
      .bytes({0x9d})
      .bytes(instruction)
      .bytes({0x9c, 0x8f, 0x05})
      .address(registers + 48)
      .bytes({0xa3})
      .address(registers)
      .bytes({0x89, 0x0d})
      .address(registers + 8)
      .bytes({0x89, 0x15})
      .address(registers + 16)
      .bytes({0x89, 0x1d})
      .address(registers + 24)
      .bytes({0xff, 0x2d})
      .address(memory_ + kInto64);
}

bool NativeOracle::run(NativeRegisters& registers) {
  std::memcpy(memory_ + kRegisters, &registers, sizeof registers);
  if (sigsetjmp(escape, 0) != 0) return false;
  reinterpret_cast<void (*)()>(memory_ + kStub)();
  std::memcpy(&registers, memory_ + kRegisters, sizeof registers);
  return true;
}

}  // namespace dejavm::soft
