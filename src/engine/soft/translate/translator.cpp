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
constexpr uint64_t kTooFewSteps = 64;     // for most of what may run from here
constexpr uint64_t kStepsAtOnce = 20000;  // so that a kick is seen within microseconds
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
  HostFlags host_flags = options.trust_host_flags ? HostFlags::of_this_host() : HostFlags{};
  return std::unique_ptr<Translator>(new Translator(core, std::move(memory), host_flags));
}

Translator::Translator(Core& core, ExecutableMemory memory, HostFlags host_flags)
    : core_(core), memory_(std::move(memory)), out_(memory_), fields_(core), host_flags_(host_flags) {
  for (auto& jumps : jumps_) jumps.resize(kJumpTargets);
  flush();
}

void Translator::flush() {
  blocks_.clear();
  shared_.points.clear();
  shared_.links.assign(1, {});  // number 0 means no link
  for (auto& jumps : jumps_) std::ranges::fill(jumps, JumpTarget{});
  pending_link_ = 0;
  emit_stubs();
}

// ---- Blocks

bool Translator::is_current(const TranslatedBlock& translated, const Block& block) const {
  if (translated.generation != block.generation) return false;
  return block.page_count == 1 ||
         (translated.second_page == block.second_page && translated.second_generation == block.second_generation);
}

/// Null: the block begins with a breakpoint.
const TranslatedBlock* Translator::find(const Block& block, const BlockKey& key) {
  auto found = blocks_.find(key);
  if (found != blocks_.end() && is_current(found->second, block)) return &found->second;
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
  TranslatedBlock made = BlockTranslator(core_, out_, shared_, host_flags_).translate(block, count, key);
  auto [place, is_new] = blocks_.try_emplace(key, made);
  if (!is_new) {
    redirect(place->second, made.fast, made.checked);
    place->second = made;
  }
  return place->second;
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
  std::erase_if(blocks_, [&](const auto& entry) {
    const TranslatedBlock& block = entry.second;
    auto first = std::ranges::lower_bound(added, block.key.rip);
    if (first == added.end() || *first > block.last_byte) return false;
    redirect(block, block.leave, block.leave);
    return true;
  });
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

Translator::Outcome Translator::run(const Block& block, uint64_t stop_at) {
  if (block.instructions.size() > stop_at - core_.steps) return Outcome::declined;
  if (core_.block_cache_clears() != cache_clears_) {
    cache_clears_ = core_.block_cache_clears();
    flush();
  }
  BlockKey key{
      .rip = core_.cpu.rip, .offset = block.offset, .mode = {.user = core_.memory.is_user(), .wide = block.code_bits == 64}};
  const TranslatedBlock* translated = find(block, key);
  if (translated == nullptr) return Outcome::declined;
  connect(*translated);
  jumps_[key.mode.number()][jump_slot(key.rip)] = {key.rip, out_.address(translated->checked)};
  return enter(out_.address(translated->fast), key.mode, stop_at);
}

Translator::Outcome Translator::resume(uint64_t stop_at) {
  if (pending_link_ != 0 || stop_at - core_.steps < kTooFewSteps || core_.block_cache_clears() != cache_clears_) {
    return Outcome::declined;
  }
  TranslationMode mode{.user = core_.memory.is_user(), .wide = core_.code_bits() == 64};
  const JumpTarget& target = jumps_[mode.number()][jump_slot(core_.cpu.rip)];
  return target.rip == core_.cpu.rip ? enter(target.code, mode, stop_at) : Outcome::declined;
}

Translator::Outcome Translator::enter(const uint8_t* code, TranslationMode mode, uint64_t stop_at) {
  core_.frame.jumps = jumps_[mode.number()].data();
  auto steps = static_cast<int64_t>(std::min(stop_at - core_.steps, kStepsAtOnce));
  core_.frame.left = steps;
  until_ = core_.steps + static_cast<uint64_t>(steps);
  execute(code);
  if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
  if (fault_) return Outcome::faulted;
  if (left_) return Outcome::left;
  bool nothing = ended_ == Ended::by_code && core_.frame.left == steps;
  return nothing ? Outcome::declined : Outcome::ran;
}

void Translator::execute(const uint8_t* code) {
  bool sse = (core_.cpu.cr0 & (kCr0Em | kCr0Ts)) == 0 && (core_.cpu.cr4 & kCr4Osfxsr) != 0;
  core_.frame.sse_blocked = sse ? 0 : 1;
  core_.frame.generations = core_.memory.code().generation_address(0);
  ended_ = Ended::by_code;
  fault_.reset();
  left_ = false;
  keep_flags_in_frame();
  uint32_t link = enter_(code, fields_.state());
  if (ended_ == Ended::by_slow_path) return;
  keep_flags_in_state();
  core_.steps = until_ - static_cast<uint64_t>(core_.frame.left);
  pending_link_ = link;
  if (link != 0) core_.cpu.rip = shared_.links[link].target;
}

/// Called by translated code; not 0: run() shall end. No exception may leave it: there is host code above that no unwinder
/// knows.
uint32_t Translator::run_slowly(Translator* translator, uint32_t point) noexcept {
  return translator->run_point(translator->shared_.points[point]);
}

uint32_t Translator::run_point(const SlowPoint& point) {
  keep_flags_in_state();
  core_.cpu.rip = point.rip;
  core_.steps = until_ - static_cast<uint64_t>(core_.frame.left) - point.steps_behind;
  uint64_t changes = core_.memory.code().changes();
  ended_ = Ended::by_slow_path;
  try {
    core_.execute_one(*point.insn);
  } catch (const GuestFault& fault) {
    fault_ = fault;
    return 1;
  } catch (const LeaveForAnswer&) {
    left_ = true;
    return 1;
  } catch (...) {
    failure_ = std::current_exception();
    return 1;
  }
  if (point.insn->ends_block || core_.memory.code().changes() != changes) return 1;
  ended_ = Ended::by_code;
  keep_flags_in_frame();
  return 0;
}

}  // namespace dejavm::soft
