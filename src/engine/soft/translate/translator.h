// Runs blocks as host code (block_translator.h) instead of one instruction after the other.
//
// It changes nothing but speed: state, memory, steps, exits and exceptions are those of the interpreter after every step,
// which is also the slow path of all that has no host code. Core decides before each run() whether code may run at all: not
// while single-stepping, with debug registers that wait for instructions or in an interrupt shadow.
//
// Blocks are translated when they have come up often enough, chained by their direct jumps and found by jump caches after
// indirect ones. Nothing is ever taken out of the chains: the entries of a block whose bytes are written (CodePages) search
// for its new translation from then on. An entry from another page checks that the
// bytes are still there (the Tlb). When the memory is full, everything is thrown away.
//
// Undefined flags: shifts, rotates, multiplications, DIV, BT and BSF leave flags that differ between CPUs. The host runs
// them where it is an AMD, whose flags are the model's; elsewhere the interpreter does, but where no one can see the flags.
// AF after AND, OR, XOR and TEST is trusted everywhere but where a sample says otherwise (HostFlags).
#pragma once

#include <deque>
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
  /// Runs from cpu.rip to at most `stop_at` steps; also comes back now and then for no reason, so that a kick is seen.
  /// Throws what the fetch of the first instruction raises, and what is none of the guest's exceptions.
  Outcome run(uint64_t stop_at);
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
  using Enter = void (*)(const uint8_t* code, uint8_t* state);
  using Callee = const uint8_t* (*)(Translator*, uint32_t number);

  Translator(Core& core, ExecutableMemory memory, HostFlags host_flags, unsigned visits);

  // stubs.cpp
  void emit_stubs();
  void emit_enter();
  void emit_leave();
  void emit_slow();
  void emit_follow();
  void emit_refetch();
  void emit_call(Callee callee);

  const TranslatedBlock* find(const Block& block, const BlockKey& key);
  const TranslatedBlock& translate(const Block& block, size_t count, const BlockKey& key);
  void make_stale(TranslatedBlock& block);
  void code_changed(uint64_t page, CodePages::Pieces pieces);
  void redirect(const TranslatedBlock& from, CodeOffset fast, CodeOffset checked);
  void connect(const TranslatedBlock& to);
  TranslationMode mode_here() const;
  const uint8_t* code_here();
  void prepare();
  static const uint8_t* follow(Translator* translator, uint32_t link) noexcept;
  static const uint8_t* refetch(Translator* translator, uint32_t) noexcept;
  static const uint8_t* run_slowly(Translator* translator, uint32_t point) noexcept;
  bool run_point(const SlowPoint& point);
  const uint8_t* go_on() noexcept;
  const uint8_t* quit();
  void keep_flags_in_frame();
  void keep_flags_in_state();
  void keep_all_in_core();

  Core& core_;
  const unsigned visits_;
  ExecutableMemory memory_;
  Emitter out_;
  StateFields fields_;
  Shared shared_;
  BlockTranslator block_translator_;
  Enter enter_ = nullptr;
  CodeOffset quit_ = 0;  // back to C++, with everything in the Core
  std::deque<TranslatedBlock> blocks_;
  std::unordered_map<BlockKey, uint32_t, KeyHash> numbers_;              // of blocks_
  std::unordered_map<uint64_t, std::vector<uint32_t>> numbers_in_page_;  // by page of the backing; some may be stale
  std::vector<JumpTarget> jumps_[TranslationMode::kCount];
  std::vector<uint64_t> breakpoints_;
  uint32_t pending_link_ = 0;  // of the jump that led to cpu.rip; 0: none
  uint64_t cache_clears_ = 0;  // BlockCache's, of which the slow points borrow instructions

  // Of the present run.
  uint64_t until_ = 0;         // steps when CodeFrame::left is 0
  bool ended_by_code_ = true;  // the state is where code leaves it
  std::optional<GuestFault> fault_;
  bool left_ = false;
  std::exception_ptr failure_;
};

}  // namespace dejavm::soft
