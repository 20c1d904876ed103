// From a block of decoded guest instructions to host code.
//
// The code of a block:
//
//     checked:  refetch unless the Tlb maps the block's linear page to the page that it was translated from
//     fast:     the same check for a second page
//               take the block's steps from kLeft; leave when there are fewer
//     the instructions
//     cold:     what is seldom run: calls of the slow path, exits
//
// An instruction is either host code, or a call of the slow path, which runs the interpreter's handler. Host code that
// cannot go on (no translation in the Tlb, misaligned, SSE disabled) has changed nothing of the guest and calls the slow
// path, too. So the guest's state is exact wherever the slow path is called: registers in their homes, status flags in
// kFlags, and the slow point says RIP and the steps.
//
// Status flags are in the host's flags while nothing destroys them, and are saved to kFlags before an access of memory, a
// call and the end of the block. Blocks begin and end with the flags in kFlags.
#pragma once

#include <Zydis/Zydis.h>

#include <optional>
#include <span>
#include <vector>

#include "engine/soft/block_cache.h"
#include "engine/soft/translate/emitter.h"
#include "engine/soft/translate/flag_effects.h"
#include "engine/soft/translate/state_fields.h"

namespace dejavm::soft {

/// Where and by what a block was entered; the key of a block.
struct BlockKey {
  uint64_t rip = 0;
  uint64_t offset = 0;  ///< of the backing
  TranslationMode mode;
  bool operator==(const BlockKey&) const = default;
};

struct TranslatedBlock {
  BlockKey key;
  CodePages::Pieces pieces = 0;  ///< of the page that it begins in
  uint64_t second_page = 0;
  CodePages::Pieces second_pieces = 0;  ///< 0: there is no second page
  uint64_t last_byte = 0;               ///< linear address
  CodeOffset checked = 0;
  CodeOffset fast = 0;
  CodeOffset refetch = 0;  ///< where the entries lead when the block must not run: looks for it anew
  bool stale = false;      ///< its entries lead elsewhere
};

/// An instruction that the slow path may be called for.
struct SlowPoint {
  const Instruction* insn = nullptr;
  uint64_t rip = 0;
  uint32_t steps_behind = 0;  ///< of the block's steps, this instruction's and those behind it
  LazyFlags lazy_flags = kLazyUnknown;
  bool lazy_flags_kept = true;  ///< they are as the frame has them
};

/// A jump to a known address: `place` is its distance, which leads to an exit until the target is translated.
struct Link {
  uint64_t target = 0;
  CodeOffset place = 0;
  BlockKey from;
};

/// What blocks of one arena share.
struct Shared {
  CodeOffset leave = 0;    ///< stores the registers and returns to C++
  CodeOffset refetch = 0;  ///< goes on at RIP, whose translation or bytes have changed
  CodeOffset slow = 0;     ///< runs the slow point whose number is in kScratch's lower half
  CodeOffset follow = 0;   ///< goes where the link leads whose number is in kScratch's lower half
  std::vector<SlowPoint> points;
  std::vector<Link> links;
};

/// Translates blocks, one after the other.
class BlockTranslator {
 public:
  /// Enough for any block.
  static constexpr size_t kMaxCode = size_t{64} << 10;

  BlockTranslator(Core& core, Emitter& out, Shared& shared, HostFlags host_flags);

  /// `count` instructions of the block are translated.
  TranslatedBlock translate(const Block& block, size_t count, const BlockKey& key);

  /// A part that the stubs of the arena use, too.
  static void restore_flags(Emitter& out);

 private:
  /// An instruction of the block.
  struct Site {
    const Instruction* insn = nullptr;
    ZydisDecodedInstruction decoded{};
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT_VISIBLE];
    uint8_t bytes[ZYDIS_MAX_INSTRUCTION_LENGTH]{};
    uint64_t rip = 0;
    uint64_t behind = 0;  ///< the address after it
    unsigned number = 0;
    bool flags_live = true;  ///< somebody may see the flags that it leaves
    std::optional<FlagEffect> effect;
    bool is_vector = false;
    std::optional<LazyFlags> lazy_flags;  ///< before it, with CpuKind::tcg; nothing: as at the block's start
  };
  /// A general register operand: where it is encoded, and the host register that takes its place.
  struct RegisterUse {
    bool present = false, high_byte = false, read = false, written = false;
    unsigned guest = 0;
    Host host = Host::rax;
    bool borrowed = false;  ///< the guest's register lives in memory
  };
  struct Operands {
    RegisterUse reg, rm;
    std::optional<unsigned> vector_reg, vector_rm;
    bool vector_reg_written = false, vector_rm_written = false;
    bool memory_written = false;
    bool has_memory = false;
  };
  struct Cold {
    CodeOffset from;
    unsigned site;
    std::optional<CodeOffset> back;  ///< nothing: the slow path does not come back
  };
  struct LinkExit {
    CodeOffset from;
    size_t link;
  };

  // block_translator.cpp: the frame of a block
  void begin(const BlockKey& key);
  void decode_sites(const Block& block, size_t count);
  void find_live_flags();
  void find_lazy_flags();
  void emit_lazy_flags(const Site& site);
  bool depends_on_lazy_flags(const Site& site) const;
  void emit_entry(const Block& block, TranslatedBlock& result);
  void emit_countdown();
  void emit_page_check(uint64_t linear, uint64_t page);
  void add_to_left(int steps);
  void emit_site(const Site& site);
  void emit_exit(CodeOffset to);
  CodeOffset emit_cold();
  bool emit_special(const Site& site);
  bool does_nothing(const Site& site) const;

  // flag_code.cpp
  void save_flags();
  void restore_flags();
  void need_flags(const Site& site, const FlagEffect& effect);
  void destroy_flags() {
    save_flags();
    host_flags_ = false;
  }
  bool emit_clear_interrupts(const Site& site);
  bool emit_push_flags(const Site& site);
  bool flags_are_known(const Site& site, const FlagEffect& effect) const;

  // memory_code.cpp: kAddress becomes a linear address, then a host address
  bool can_address(const Site& site) const;
  void emit_address(const Site& site);
  void emit_stack_address(int32_t below);
  void emit_lookup(const Site& site, Reach reach, unsigned size);
  void leave_if(Condition condition, const Site& site);
  void end_of_slow(size_t first_cold);
  void call_slow(const Site& site);
  void load_slow_point(const Site& site);

  // general_code.cpp: instructions that are encoded anew with other operands
  bool emit_general(const Site& site);
  bool find_operands(const Site& site, Operands& found) const;
  bool add_register(const Site& site, const ZydisDecodedOperand& operand, Operands& found) const;
  bool choose_registers(Operands& found) const;
  void emit_encoded(const Site& site, const Operands& operands);
  void guard_division(const Site& site, const Operands& operands);
  bool needs_impossible_rex(const Site& site, const Operands& operands) const;
  void load_borrowed(const Operands& operands);
  void store_borrowed(const Operands& operands);
  bool emit_lea(const Site& site);
  bool emit_selector_move(const Site& site);

  // vector_code.cpp
  bool is_plain_vector(const Site& site) const;
  void check_sse(const Site& site);
  void check_vector_alignment(const Site& site);
  void move_vector(unsigned host, unsigned guest, bool store);

  // stack_code.cpp
  bool emit_push(const Site& site);
  bool emit_pop(const Site& site);
  bool emit_leave(const Site& site);
  void move_stack(int32_t bytes);
  void store_at_address(Host from);
  void load_from_address(Host to);
  unsigned word_size() const { return mode_.wide ? 8 : 4; }
  void store_constant_at_address(uint64_t value);

  // string_code.cpp
  bool emit_repeated_string(const Site& site);
  void check_repetition(const Site& site);
  void emit_string_lookup(const Site& site, Host pointer, Reach reach, unsigned scale);

  // branch_code.cpp
  bool emit_branch(const Site& site);
  bool emit_jump(const Site& site);
  bool emit_call(const Site& site);
  bool emit_return(const Site& site);
  bool emit_indirect(const Site& site, bool is_call);
  void emit_link(uint64_t target, std::optional<unsigned> condition);
  void emit_jump_lookup(const Site& site);
  uint64_t branch_target(const Site& site) const;
  Host general_in(unsigned guest, Host scratch);

  Core& core_;
  Emitter& out_;
  Shared& shared_;
  StateFields fields_;
  const HostFlags trusted_flags_;

  // Of the present block.
  BlockKey key_;
  TranslationMode mode_;
  std::vector<Site> sites_;
  std::vector<Cold> cold_;
  std::vector<LinkExit> link_exits_;
  std::vector<CodeOffset> stale_exits_;
  CodeOffset limit_exit_ = 0;
  bool host_flags_ = false;  // the host's flags are the guest's
  bool saved_flags_ = true;  // kFlags is
  bool sse_checked_ = false;
  bool ended_ = false;  // the last instruction has left the block
};

}  // namespace dejavm::soft
