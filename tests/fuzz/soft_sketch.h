// What the bytes of a fuzzer's input mean: a guest in one of the modes of the CPU, with random code, tables and registers.
//
// The input: Header, then `pokes` pieces of Poke, then code. Short inputs are filled up with zeros.
#pragma once

#include <cstdint>
#include <vector>

#include "base/bytes.h"
#include "vm/cpu_model.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::fuzz {

inline constexpr uint64_t kRamSize = 0x90000;
inline constexpr uint64_t kRom = 0xf0000;      ///< a page of memory that cannot be written
inline constexpr uint64_t kHandlers = 0x9000;  ///< of exceptions and interrupts, 16 bytes each
inline constexpr uint64_t kCode = 0x40000;
inline constexpr uint64_t kMaxCode = 0x4000;
inline constexpr uint64_t kData = 0x60000;
inline constexpr uint64_t kStack = 0x80000;
inline constexpr uint64_t kDevices = 0xc0000000;

enum class Mode : uint8_t { real16, virtual86, segmented16, flat32, paged32, pae32, long64, user64, compatible32 };
inline constexpr unsigned kModes = 9;

/// Bits of Header::control: what differs from a kernel's usual set-up.
enum Control : uint8_t {
  kWriteProtect = 1,
  kTaskSwitched = 2,
  kEmulate = 4,
  kCheckAlignment = 8,
  kNoSse = 16,
  kNoSimdExceptions = 32,
  kNoExecute = 64,
  kDebugRegisters = 128,
};

struct Header {
  uint8_t mode = 0;
  uint8_t control = 0;
  uint16_t flags = 0;       ///< into RFLAGS: all but VM
  uint32_t seed = 0;        ///< of what happens between the runs
  uint8_t pokes = 0;        ///< modulo kMaxPokes
  uint8_t longest_run = 0;  ///< steps: a power of two
  uint16_t cpuid = 0;       ///< 0: dejavm64-v1; else feature bits that are the other way round
  uint16_t fcw = 0;         ///< the bits that differ from what FNINIT makes
  uint16_t mxcsr = 0;       ///< likewise, from reset
  uint8_t gpr[16] = {};     ///< see Sketch
};
static_assert(sizeof(Header) == 32);

struct Poke {
  static constexpr uint16_t kState = 0x8000;  ///< from here on the address is a byte of CpuState; below, kTables + where
  uint16_t where = 0;
  uint16_t low = 0, high = 0;  ///< the value
};
inline constexpr unsigned kMaxPokes = 32;

/// The guest of an input.
class Sketch {
 public:
  explicit Sketch(ByteSpan input);

  uint32_t seed() const { return header_.seed; }
  uint64_t longest_run() const { return uint64_t{1} << header_.longest_run % 13; }
  const vm::CpuModel& model() const { return model_; }
  const vm::CpuState& state() const { return state_; }
  vm::GuestMemory make_memory() const;

 private:
  void put(uint64_t gpa, uint64_t value, size_t size = 8);
  void make_model();
  void make_descriptors();
  void make_handlers();
  void make_page_tables();
  void make_task();
  void make_state();
  void make_real_state();
  void make_control();
  uint64_t value(uint8_t choice) const;
  bool is_long() const { return mode_ >= Mode::long64; }
  bool is_user() const { return mode_ >= Mode::user64 || mode_ == Mode::virtual86; }

  Header header_;
  Mode mode_;
  vm::CpuModel model_;
  vm::CpuState state_;
  Bytes ram_;
};

}  // namespace dejavm::fuzz
