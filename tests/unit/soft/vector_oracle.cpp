#include "vector_oracle.h"

#include <sys/mman.h>
#include <ucontext.h>

#include <csetjmp>
#include <csignal>
#include <cstddef>
#include <cstring>

#include "base/check.h"

namespace dejavm::soft {
namespace {

struct Frame {
  alignas(64) uint8_t image[512];
  uint64_t rax, memory, flags;
  uint32_t default_mxcsr;
};
constexpr uint32_t kRaxAt = 512, kMemoryAt = 520, kFlagsAt = 528, kMxcsrAt = 536;
static_assert(offsetof(Frame, rax) == kRaxAt && offsetof(Frame, default_mxcsr) == kMxcsrAt);

constexpr size_t kCodeSize = 4096;
constexpr int kSignals[] = {SIGFPE, SIGILL, SIGSEGV};

sigjmp_buf escape;
struct sigaction previous[3];
uint8_t faulting_image[512];  // as FXSAVE writes it
volatile int fault_signal;

void fault_handler(int signal, siginfo_t*, void* context) {
  std::memcpy(faulting_image, static_cast<ucontext_t*>(context)->uc_mcontext.fpregs, sizeof faulting_image);
  fault_signal = signal;
  siglongjmp(escape, 1);
}

void put(std::vector<uint8_t>& code, std::initializer_list<int> bytes) {
  for (int byte : bytes) code.push_back(static_cast<uint8_t>(byte));
}
void put_at(std::vector<uint8_t>& code, std::initializer_list<int> bytes, uint32_t offset) {
  put(code, bytes);
  for (int shift = 0; shift < 32; shift += 8) code.push_back(static_cast<uint8_t>(offset >> shift));
}

std::vector<uint8_t> harness(const std::vector<uint8_t>& instruction) {
  std::vector<uint8_t> code;
  put(code, {0x48, 0x0f, 0xae, 0x0f});          // fxrstor64 [rdi]
  put_at(code, {0x48, 0x8b, 0x87}, kRaxAt);     // mov rax, [rdi + ...]
  put_at(code, {0x48, 0x8b, 0xb7}, kMemoryAt);  // mov rsi, ...
  put_at(code, {0xff, 0xb7}, kFlagsAt);         // push ...
  put(code, {0x9d});                            // popfq
  code.insert(code.end(), instruction.begin(), instruction.end());
  put(code, {0x9c});                     // pushfq
  put_at(code, {0x8f, 0x87}, kFlagsAt);  // pop ...
  put_at(code, {0x48, 0x89, 0x87}, kRaxAt);
  put(code, {0x48, 0x0f, 0xae, 0x07});         // fxsave64 [rdi]
  put(code, {0xdb, 0xe3});                     // fninit
  put_at(code, {0x0f, 0xae, 0x97}, kMxcsrAt);  // ldmxcsr
  put(code, {0xc3});
  return code;
}

Frame frame_of(VectorState& state, uint8_t* memory) {
  Frame frame{};
  const vm::Fpu& fpu = state.fpu;
  std::memcpy(frame.image, &fpu.fcw, 2);
  std::memcpy(frame.image + 2, &fpu.fsw, 2);
  frame.image[4] = fpu.ftw;
  std::memcpy(frame.image + 24, &fpu.mxcsr, 4);
  std::memcpy(frame.image + 32, fpu.st.data(), sizeof fpu.st);
  std::memcpy(frame.image + 160, fpu.xmm.data(), sizeof fpu.xmm);
  frame.rax = state.rax;
  frame.memory = reinterpret_cast<uint64_t>(memory);
  frame.flags = state.flags;
  frame.default_mxcsr = 0x1f80;
  return frame;
}

void take(const uint8_t* image, vm::Fpu& fpu) {
  std::memcpy(&fpu.fcw, image, 2);
  std::memcpy(&fpu.fsw, image + 2, 2);
  fpu.ftw = image[4];
  std::memcpy(&fpu.mxcsr, image + 24, 4);
  std::memcpy(fpu.st.data(), image + 32, sizeof fpu.st);
  std::memcpy(fpu.xmm.data(), image + 160, sizeof fpu.xmm);
}

}  // namespace

VectorOracle::VectorOracle() {
  void* code = mmap(nullptr, kCodeSize, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(code != MAP_FAILED);
  code_ = static_cast<uint8_t*>(code);
  struct sigaction action {};
  action.sa_sigaction = fault_handler;
  action.sa_flags = SA_NODEFER | SA_SIGINFO;
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &action, &previous[i]);
}

VectorOracle::~VectorOracle() {
  for (int i = 0; i < 3; ++i) sigaction(kSignals[i], &previous[i], nullptr);
  munmap(code_, kCodeSize);
}

VectorOracle::Outcome VectorOracle::run(const std::vector<uint8_t>& instruction, VectorState& state) {
  std::vector<uint8_t> code = harness(instruction);
  std::memcpy(code_, code.data(), code.size());
  alignas(16) uint8_t memory[16];
  std::memcpy(memory, state.memory.data(), 16);
  Frame frame = frame_of(state, memory);
  if (sigsetjmp(escape, 1) == 0) {
    reinterpret_cast<void (*)(Frame*)>(code_)(&frame);
    take(frame.image, state.fpu);
    state.rax = frame.rax;
    state.flags = frame.flags;
    std::memcpy(state.memory.data(), memory, 16);
    return Outcome::completed;
  }
  asm volatile("fninit; ldmxcsr %0" ::"m"(frame.default_mxcsr));
  if (fault_signal != SIGFPE) return Outcome::other_fault;
  take(faulting_image, state.fpu);
  return Outcome::simd_fault;
}

}  // namespace dejavm::soft
