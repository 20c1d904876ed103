// Runs blocks as host code (block_translator.h) instead of one instruction after the other.
//
// It changes nothing but speed: state, memory, steps, exits and exceptions are those of the interpreter after every step,
// which is also the slow path of all that has no host code. Core decides before each run() whether code may run at all: not
// while single-stepping, with debug registers in use or in an interrupt shadow.
//
// Blocks are translated when they are first run, chained by their direct jumps and found by jump caches after indirect ones.
// Nothing is ever taken out of the chains: each block checks at its entry that its bytes are still the same (CodePages), and
// at an entry from another page that they are still there (the Tlb). When the memory is full, everything is thrown away.
//
// Undefined flags: shifts, rotates, multiplications, DIV, BT and BSF leave flags that differ between CPUs. The host runs
// them where it is an AMD, whose flags are the model's; elsewhere the interpreter does, but where no one can see the flags.
// AF after AND, OR, XOR and TEST is trusted everywhere but where a sample says otherwise (HostFlags).
#pragma once

#include <exception>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/soft/block_cache.h"
#include "engine/soft/fault.h"
#include "engine/soft/translate/block_translator.h"
#include "engine/soft/translate/code_frame.h"
#include "engine/soft/translate/translator_options.h"

namespace dejavm::soft {

/// Borrows the Core, which must not move. One thread.
class Translator {
 public:
  /// Whether the host's CPU has LAHF in 64-bit mode: all but the first.
  static bool host_can_translate();
  /// Fails where the host gives no executable memory.
  static Result<std::unique_ptr<Translator>> create(Core& core, const TranslatorOptions& options);

  enum class Outcome : uint8_t {
    declined,  ///< nothing ran: fewer steps are allowed than the block has, or it begins with a breakpoint
    ran,       ///< some blocks, or the beginning of one; the Core is between two instructions
    faulted,   ///< the same, and the next instruction raised fault()
    left,      ///< the same, and the next instruction waits for an answer
  };
  /// Runs from cpu.rip, where `block` is, to at most `stop_at` steps; also comes back now and then for no reason, so that a
  /// kick is seen. Throws what is none of the guest's exceptions.
  Outcome run(const Block& block, uint64_t stop_at);
  /// The same when it is known where the code for cpu.rip is; else declines. Asks no one for the block.
  Outcome resume(uint64_t stop_at);
  const GuestFault& fault() const { return *fault_; }

  /// Blocks end before these addresses (sorted), and none begins with one.
  void set_breakpoints(const std::vector<uint64_t>& breakpoints);

  /// Throws all code away.
  void flush();

 private:
  struct KeyHash {
    size_t operator()(const BlockKey& key) const {
      return ((key.rip ^ key.offset << 20) + key.mode.number()) * 0x9e3779b97f4a7c15 >> 20;
    }
  };
  enum class Ended : uint8_t { by_code, by_slow_path };
  using Enter = uint32_t (*)(const uint8_t* code, uint8_t* state);

  Translator(Core& core, ExecutableMemory memory, HostFlags host_flags);

  // stubs.cpp
  void emit_stubs();
  void emit_enter();
  void emit_leave();
  void emit_slow();

  const TranslatedBlock* find(const Block& block, const BlockKey& key);
  bool is_current(const TranslatedBlock& translated, const Block& block) const;
  const TranslatedBlock& translate(const Block& block, size_t count, const BlockKey& key);
  void redirect(const TranslatedBlock& from, CodeOffset fast, CodeOffset checked);
  void connect(const TranslatedBlock& to);
  Outcome enter(const uint8_t* code, TranslationMode mode, uint64_t stop_at);
  void execute(const uint8_t* code);
  static uint32_t run_slowly(Translator* translator, uint32_t point) noexcept;
  uint32_t run_point(const SlowPoint& point);
  void keep_flags_in_frame();
  void keep_flags_in_state();

  Core& core_;
  ExecutableMemory memory_;
  Emitter out_;
  StateFields fields_;
  const HostFlags host_flags_;
  Shared shared_;
  Enter enter_ = nullptr;
  std::unordered_map<BlockKey, TranslatedBlock, KeyHash> blocks_;
  std::vector<JumpTarget> jumps_[TranslationMode::kCount];
  std::vector<uint64_t> breakpoints_;
  uint32_t pending_link_ = 0;  // of the exit that the last run ended with; 0: none
  uint64_t cache_clears_ = 0;  // BlockCache's, of which the slow points borrow instructions

  // Of the present run.
  uint64_t until_ = 0;  // steps when CodeFrame::left is 0
  Ended ended_ = Ended::by_code;
  std::optional<GuestFault> fault_;
  bool left_ = false;
  std::exception_ptr failure_;
};

}  // namespace dejavm::soft
