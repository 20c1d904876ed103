#include "engine/soft/translate/translator.h"

#include <cpuid.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "engine/soft/core.h"
#include "engine/soft/flags.h"
#include "engine/soft/native_ops.h"
#include "vm/address.h"

namespace dejavm::soft {
namespace {

constexpr size_t kMinCodeSize = size_t{256} << 10;
constexpr uint64_t kTooFewSteps = 8;       // for most of what may run from here
constexpr uint64_t kStepsAtOnce = 100000;  // so that a kick is seen within microseconds
constexpr size_t kExpectedBlocks = size_t{1} << 16;
constexpr size_t kMaxPoints = size_t{1} << 21, kMaxLinks = size_t{1} << 20;

uint64_t page_of(uint64_t offset) { return offset / vm::kPageSize; }

}  // namespace

bool Translator::host_can_translate() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  return __get_cpuid(0x80000001, &eax, &ebx, &ecx, &edx) != 0 && (ecx & 1) != 0;
}

Result<std::unique_ptr<Translator>> Translator::create(Core& core, const TranslatorOptions& options) {
  CHECK(options.code_size >= kMinCodeSize);
  TRY_ASSIGN(ExecutableMemory memory, ExecutableMemory::create(options.code_size, core.executable_pool));
  HostFlags host_flags = options.trust_host_flags ? HostFlags::of_this_host(core.features) : HostFlags{};
  return std::unique_ptr<Translator>(new Translator(core, std::move(memory), host_flags, options.visits));
}

Translator::Translator(Core& core, ExecutableMemory memory, HostFlags host_flags, unsigned visits)
    : core_(core),
      visits_(visits),
      memory_(std::move(memory)),
      out_(memory_),
      fields_(core),
      block_translator_(core, out_, shared_, host_flags) {
  for (auto& jumps : jumps_) jumps.resize(kJumpTargets);
  core_.memory.code().set_listener([this](uint64_t page, CodePages::Pieces pieces) { code_changed(page, pieces); });
  flush();
}

void Translator::flush() {
  blocks_.clear();
  numbers_.clear();
  numbers_.reserve(kExpectedBlocks);
  numbers_in_page_.clear();
  shared_.points.clear();
  shared_.links.assign(1, {});  // number 0 means no link
  for (auto& jumps : jumps_) std::ranges::fill(jumps, JumpTarget{});
  pending_link_ = 0;
  emit_stubs();
}

// ---- Blocks

/// Null: the block begins with a breakpoint, or has not come up often enough.
const TranslatedBlock* Translator::find(const Block& block, const BlockKey& key) {
  auto is_it = [&](uint32_t number) {
    const TranslatedBlock& known = blocks_[number];
    return known.key == key && !known.stale && known.second_page == (block.page_count == 2 ? block.second_page : 0);
  };
  if (block.visits + 1u < visits_) {
    ++block.visits;
    return nullptr;
  }
  if (block.translation < blocks_.size() && is_it(block.translation)) return &blocks_[block.translation];
  auto known = numbers_.find(key);
  if (known != numbers_.end() && is_it(known->second)) {
    block.translation = known->second;
    return &blocks_[known->second];
  }
  size_t count = 0;
  uint64_t rip = key.rip;
  for (const Instruction& insn : block.instructions) {
    if (!breakpoints_.empty() && std::ranges::binary_search(breakpoints_, rip)) break;
    rip += insn.length;
    ++count;
  }
  return count == 0 ? nullptr : &translate(block, count, key);
}

const TranslatedBlock& Translator::translate(const Block& block, size_t count, const BlockKey& key) {
  bool has_room =
      out_.has_room(BlockTranslator::kMaxCode) && shared_.points.size() < kMaxPoints && shared_.links.size() < kMaxLinks;
  if (!has_room) flush();
  TranslatedBlock made = block_translator_.translate(block, count, key);
  auto [known, is_new] = numbers_.try_emplace(key, static_cast<uint32_t>(blocks_.size()));
  uint32_t number = block.translation = known->second;
  bool first_time = is_new;
  auto note_in = [&](uint64_t page) {
    std::vector<uint32_t>& numbers = numbers_in_page_[page];
    if (first_time || std::ranges::find(numbers, number) == numbers.end()) numbers.push_back(number);
  };
  if (is_new) {
    blocks_.push_back(made);
  } else {
    redirect(blocks_[number], made.fast, made.checked);
    blocks_[number] = made;
  }
  note_in(page_of(key.offset));
  if (made.second_pieces != 0) note_in(made.second_page);
  return blocks_[number];
}

void Translator::make_stale(TranslatedBlock& block) {
  if (std::exchange(block.stale, true)) return;
  redirect(block, block.refetch, block.refetch);
  JumpTarget& target = jumps_[block.key.mode.number()][jump_slot(block.key.rip)];
  if (target.rip == block.key.rip) target = {};
}

/// Bytes of a page of the backing were written: what was made of them must not run again.
void Translator::code_changed(uint64_t page, CodePages::Pieces pieces) {
  auto found = numbers_in_page_.find(page);
  if (found == numbers_in_page_.end()) return;
  std::erase_if(found->second, [&](uint32_t number) {
    TranslatedBlock& block = blocks_[number];
    CodePages::Pieces first = page_of(block.key.offset) == page ? block.pieces : 0;
    CodePages::Pieces second = block.second_pieces != 0 && block.second_page == page ? block.second_pieces : 0;
    if (((first | second) & pieces) != 0) make_stale(block);
    return block.stale;
  });
}

/// Whoever still jumps to the code of a block gets elsewhere.
void Translator::redirect(const TranslatedBlock& from, CodeOffset fast, CodeOffset checked) {
  CodeOffset end = out_.here();
  out_.move_to(from.fast);
  out_.jump_to(fast);
  out_.move_to(from.checked);
  out_.jump_to(checked);
  out_.move_to(end);
}

/// The jump that the last run ended with leads to `to` from now on, if that is where the guest went.
void Translator::connect(const TranslatedBlock& to) {
  uint32_t number = std::exchange(pending_link_, 0);
  if (number == 0) return;
  const Link& link = shared_.links[number];
  if (link.target != to.key.rip || link.from.mode != to.key.mode) return;
  bool same_page = page_of(link.from.rip) == page_of(to.key.rip) && page_of(link.from.offset) == page_of(to.key.offset);
  out_.bind(link.place, same_page ? to.fast : to.checked);
}

void Translator::set_breakpoints(const std::vector<uint64_t>& breakpoints) {
  std::vector<uint64_t> added;
  std::ranges::set_difference(breakpoints, breakpoints_, std::back_inserter(added));
  breakpoints_ = breakpoints;
  if (added.empty()) return;
  for (TranslatedBlock& block : blocks_) {
    auto first = std::ranges::lower_bound(added, block.key.rip);
    if (first != added.end() && *first <= block.last_byte) make_stale(block);
  }
}

// ---- Runs

void Translator::keep_flags_in_frame() {
  uint64_t flags = core_.cpu.rflags;
  constexpr uint64_t kInAh = kSf | kZf | kAf | kPf | kCf;
  core_.frame.flags = static_cast<uint16_t>(((flags & kInAh) | 2) << 8 | ((flags & kOf) != 0 ? 1 : 0));
}

void Translator::keep_flags_in_state() {
  constexpr uint64_t kInAh = kSf | kZf | kAf | kPf | kCf;
  uint64_t flags = (uint64_t{core_.frame.flags} >> 8 & kInAh) | ((core_.frame.flags & 1) != 0 ? kOf : 0);
  core_.cpu.rflags = (core_.cpu.rflags & ~kStatusFlags) | flags;
}

/// From the frame, between two instructions.
void Translator::keep_all_in_core() {
  keep_flags_in_state();
  core_.steps = until_ - static_cast<uint64_t>(core_.frame.left);
}

TranslationMode Translator::mode_here() const { return {.user = core_.memory.is_user(), .wide = core_.code_bits() == 64}; }

/// The code for cpu.rip, made if need be; null: the interpreter is wanted. Throws what Core::block_here() throws.
const uint8_t* Translator::code_here() {
  TranslationMode mode = mode_here();
  JumpTarget& target = jumps_[mode.number()][jump_slot(core_.cpu.rip)];
  bool usable = pending_link_ == 0 && core_.block_cache_clears() == cache_clears_;
  if (usable && target.rip == core_.cpu.rip) return target.code;
  const Block& block = core_.block_here();
  if (core_.block_cache_clears() != cache_clears_) {
    cache_clears_ = core_.block_cache_clears();
    flush();
  }
  const TranslatedBlock* translated = find(block, {.rip = core_.cpu.rip, .offset = block.offset, .mode = mode});
  if (translated == nullptr) return nullptr;
  connect(*translated);
  target = {core_.cpu.rip, out_.address(translated->checked)};
  return out_.address(translated->fast);
}

Translator::Outcome Translator::run(uint64_t stop_at) {
  if (stop_at - core_.steps < kTooFewSteps) return Outcome::declined;
  const uint8_t* code = code_here();
  if (code == nullptr) return Outcome::declined;
  uint64_t begun = core_.steps;
  until_ = begun + std::min(stop_at - begun, kStepsAtOnce);
  fault_.reset();
  left_ = false;
  prepare();
  ended_by_code_ = true;
  enter_(code, fields_.state());
  if (ended_by_code_) keep_all_in_core();
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (fault_) return Outcome::faulted;
  if (left_) return Outcome::left;
  return core_.steps == begun ? Outcome::declined : Outcome::ran;
}

/// Between two instructions, before code runs: the frame becomes what the Core is.
void Translator::prepare() {
  bool sse = (core_.cpu.cr0 & (kCr0Em | kCr0Ts)) == 0 && (core_.cpu.cr4 & kCr4Osfxsr) != 0;
  core_.frame.sse_blocked = sse ? 0 : 1;
  core_.frame.cli_blocked = core_.cpl() > (core_.cpu.rflags & kIopl) >> 12 ? 1 : 0;
  core_.frame.jumps = jumps_[mode_here().number()].data();
  core_.frame.left = static_cast<int64_t>(until_ - core_.steps);
  keep_flags_in_frame();
}

/// Called by translated code where a jump leads to no code yet. Where to go on. As run_slowly(), throws nothing.
const uint8_t* Translator::follow(Translator* translator, uint32_t link) noexcept {
  translator->keep_all_in_core();
  translator->core_.cpu.rip = translator->shared_.links[link].target;
  translator->pending_link_ = link;
  return translator->go_on();
}

/// Called by translated code at a block that must not run: the Tlb does not have its page (any more), or not as that which
/// it was translated from, or its bytes were written. As follow().
const uint8_t* Translator::refetch(Translator* translator, uint32_t) noexcept {
  translator->keep_all_in_core();
  uint64_t rip = translator->core_.cpu.rip;
  translator->jumps_[translator->mode_here().number()][jump_slot(rip)] = {};
  return translator->go_on();
}

/// Called by translated code. Where to go on: null behind the call, else there. No exception may leave it: there is host
/// code above that no unwinder knows.
const uint8_t* Translator::run_slowly(Translator* translator, uint32_t point) noexcept {
  const SlowPoint& slow = translator->shared_.points[point];
  uint64_t changes = translator->core_.memory.code().changes();
  if (!translator->run_point(slow)) return translator->quit();
  if (slow.insn->ends_block || translator->core_.memory.code().changes() != changes) return translator->go_on();
  translator->keep_flags_in_frame();
  return nullptr;
}

/// False: the instruction has not happened.
bool Translator::run_point(const SlowPoint& point) {
  keep_flags_in_state();
  core_.cpu.rip = point.rip;
  if (!point.lazy_flags_kept) core_.frame.lazy_flags = point.lazy_flags;
  core_.steps = until_ - static_cast<uint64_t>(core_.frame.left) - point.steps_behind;
  try {
    if (core_.execute_one(*point.insn)) return true;
    left_ = true;
  } catch (const GuestFault& fault) {
    fault_ = fault;
  } catch (const LeaveForAnswer&) {
    left_ = true;
  } catch (...) {
    failure_ = std::current_exception();
  }
  return false;
}

/// Between two instructions: the code for RIP, if Core has nothing to look at before.
const uint8_t* Translator::go_on() noexcept {
  if (core_.steps >= until_ || !core_.can_go_on()) return quit();
  const uint8_t* code = nullptr;
  uint64_t cr2 = core_.cpu.cr2;
  try {
    code = code_here();
  } catch (...) {
    core_.cpu.cr2 = cr2;  // it cannot be fetched: Core tries again, when nothing else comes first
  }
  if (code == nullptr) return quit();
  prepare();
  return code;
}

/// The way out when everything is in the Core already.
const uint8_t* Translator::quit() {
  ended_by_code_ = false;
  return out_.address(quit_);
}

}  // namespace dejavm::soft
