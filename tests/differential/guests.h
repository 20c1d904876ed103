// The same guest on KVM and twice on soft (interpreted, translated): KVM says what is right, soft is compared with it.
#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "engine/kvm/kvm_host.h"
#include "guest_image.h"
#include "vm/cpu_model.h"
#include "vm/guest_memory.h"
#include "vm/vcpu.h"
#include "watchdog.h"

namespace dejavm::differential {

enum class Engine : uint8_t { kvm, interpreter, translator };
inline constexpr Engine kSoftEngines[] = {Engine::interpreter, Engine::translator};
const char* name(Engine engine);

/// The exception that ended a run.
struct Fault {
  uint8_t vector = 0;
  uint64_t address = 0;  ///< linear, from the frame
};

/// Where the frame of an exception holds RIP, from the state at the handler's HLT: a linear address.
uint64_t frame_of(Mode mode, const vm::CpuState& state, uint8_t vector);

/// How a run of a few instructions ended.
struct Outcome {
  enum class Kind : uint8_t {
    halted,
    shutdown,
    endless,  ///< no end within the patience of this test
    stopped,  ///< `state` is in front of an instruction that KVM does not run here
    failed,   ///< `error`
  } kind = Kind::failed;
  vm::CpuState state{};
  std::optional<Fault> fault;
  std::vector<vm::Access> accesses;
  uint64_t steps = 0;  ///< soft only
  std::string error;
};

/// All three with the CPU model that this host's KVM really shows. Every exception ends at a HLT of the image; memory that
/// is not RAM is a device whose reads give a pattern.
class Guests {
 public:
  static Result<std::unique_ptr<Guests>> create();
  /// Soft alone, as the KVM that has this model: KVM's RAM becomes what it left behind (write_kvm()).
  static Result<std::unique_ptr<Guests>> create_without_kvm(vm::CpuModel model);

  const vm::CpuModel& model() const { return model_; }

  void enter(Mode mode);
  const GuestImage& image() const { return image_; }
  /// All RAMs become the image.
  void reset();
  void write(uint64_t gpa, ByteSpan bytes);
  /// Those of soft alone.
  void reset_soft();
  void write_soft(uint64_t gpa, ByteSpan bytes);
  /// KVM's alone.
  void write_kvm(uint64_t gpa, ByteSpan bytes);
  /// The pages where KVM's RAM is not the image, in order.
  std::vector<uint32_t> changed_pages() const;
  void restore_kvm(const std::vector<uint32_t>& pages);

  /// An error where KVM cannot make a new vCPU after one that did not end.
  Result<Outcome> run_kvm(const vm::CpuState& state);
  /// `stop`: the linear address where the run ends as `stopped`.
  Outcome run_soft(Engine engine, const vm::CpuState& state, std::optional<uint64_t> stop);
  /// The same on the interpreter, with a state that is changed in front of the instruction at `at`, when it first comes up;
  /// nullopt where it does not.
  std::optional<Outcome> run_changed(const vm::CpuState& state, std::optional<uint64_t> stop, uint64_t at,
                                     const std::function<void(vm::CpuState&)>& change);
  /// The bytes of the next instruction of each step that the interpreter makes from `state`, with its linear address; at
  /// most `limit`. Changes the interpreter's RAM.
  struct Place {
    uint64_t address;
    uint8_t byte;
  };
  std::vector<Place> trace(const vm::CpuState& state, size_t limit);

  const uint8_t* ram(Engine engine) const { return side(engine).memory.host(0); }
  /// The first address where their RAMs differ.
  std::optional<uint64_t> first_difference(Engine first, Engine second) const;

 private:
  struct Side {
    vm::GuestMemory memory;
    std::unique_ptr<vm::Vcpu> vcpu;
  };

  Guests(std::unique_ptr<kvm::KvmHost> host, vm::CpuModel model, std::vector<Side> sides);
  static Result<Side> make_side();
  static Result<std::unique_ptr<Guests>> make(std::unique_ptr<kvm::KvmHost> host, vm::CpuModel model);
  void reset(Side& side);
  void reset(Side& side, uint64_t page);
  Outcome run(Side& side, const vm::CpuState& state);
  std::optional<Fault> fault(const Side& side, const vm::CpuState& state) const;
  static bool answer(Side& side, const vm::Exit& exit);
  Status make_kvm_vcpu();
  Side& side(Engine engine) { return sides_[static_cast<size_t>(engine)]; }
  const Side& side(Engine engine) const { return sides_[static_cast<size_t>(engine)]; }

  std::unique_ptr<kvm::KvmHost> host_;  // null: without KVM
  vm::CpuModel model_;
  std::vector<Side> sides_;  // by Engine
  GuestImage image_;
  std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace dejavm::differential
