// The host CPU as the judge of what an instruction does: runs single instructions natively, in 64-bit and in 32-bit code.
#pragma once

#include <cstdint>
#include <vector>

namespace dejavm::soft {

/// What goes into the instruction and comes out of it.
struct NativeRegisters {
  uint64_t rax = 0, rcx = 0, rdx = 0, rbx = 0, rsi = 0, rdi = 0;
  uint64_t flags = 0x202;  ///< status flags and DF count
};

/// Executable memory below 4 GiB. One at a time: it owns the process's SIGFPE, SIGILL and SIGSEGV handlers.
class NativeOracle {
 public:
  NativeOracle();
  ~NativeOracle();
  NativeOracle(const NativeOracle&) = delete;
  NativeOracle& operator=(const NativeOracle&) = delete;

  /// Whether the host is an AMD CPU: only then are its undefined flags those of the model `amd`.
  static bool host_is_amd();

  /// The instruction that run() executes; it may use the registers above, and no others. `bits` is 64 or 32.
  void load(const std::vector<uint8_t>& instruction, unsigned bits);
  /// False when it faulted.
  bool run(NativeRegisters& registers);

 private:
  void load64(const std::vector<uint8_t>& instruction);
  void load32(const std::vector<uint8_t>& instruction);

  uint8_t* memory_;
};

}  // namespace dejavm::soft
