#include "engine/soft/block_cache.h"

#include <algorithm>
#include <array>

#include "base/check.h"
#include "engine/soft/decode.h"
#include "engine/soft/fault.h"
#include "engine/soft/native_arena.h"
#include "engine/soft/native_stub.h"
#include "vm/address.h"

namespace dejavm::soft {
namespace {

constexpr size_t kMaxInstructionLength = 15;
constexpr size_t kWays = 4;
constexpr size_t kSetBits = 14;  // 65536 blocks
constexpr size_t kChunkInstructions = 2048;
constexpr size_t kMaxChunks = 128;  // 262144 instructions, 14 MiB
constexpr size_t kArenaSize = size_t{1} << 20;

uint64_t page_of(uint64_t offset) { return offset / vm::kPageSize; }
uint32_t in_page(uint64_t offset) { return static_cast<uint32_t>(offset % vm::kPageSize); }

/// The linear address of the page behind the one that holds `linear`.
uint64_t next_page(uint64_t linear, unsigned code_bits) {
  uint64_t next = (linear | (vm::kPageSize - 1)) + 1;
  return code_bits == 64 ? next : static_cast<uint32_t>(next);
}

}  // namespace

struct BlockCache::Storage {
  using Set = std::array<Block, kWays>;

  explicit Storage(ExecutablePool* pool) : arena(NativeArena::create(kArenaSize, pool)) {}

  std::vector<Set> sets{size_t{1} << kSetBits};
  // Blocks take their instructions from chunks, which are allocated when they are needed and kept.
  std::vector<std::unique_ptr<Instruction[]>> chunks;
  size_t chunk = 0;
  size_t used = 0;  // of that chunk
  size_t victim = 0;
  Result<std::unique_ptr<NativeArena>> arena;

  Set& set_of(uint64_t offset, unsigned code_bits) {
    return sets[(offset + code_bits) * 0x9e3779b97f4a7c15 >> (64 - kSetBits)];
  }
  bool has_room() const {
    bool chunks_left = chunk + 1 < kMaxChunks || used + kMaxInstructions <= kChunkInstructions;
    return chunks_left && (*arena)->has_room(kMaxInstructions * kMaxStubSize);
  }
  /// Room for the largest block; only what is taken is used up.
  Instruction* room() {
    if (used + kMaxInstructions > kChunkInstructions) {
      ++chunk;
      used = 0;
    }
    if (chunk == chunks.size()) chunks.push_back(std::make_unique<Instruction[]>(kChunkInstructions));
    return &chunks[chunk][used];
  }
  std::span<const Instruction> take(size_t count) {
    std::span<const Instruction> taken(&chunks[chunk][used], count);
    used += count;
    return taken;
  }
};

BlockCache::BlockCache(LinearMemory& memory, const Features& features, ExecutablePool* pool)
    : memory_(memory), features_(features), storage_(std::make_unique<Storage>(pool)) {}

BlockCache::~BlockCache() = default;

bool BlockCache::is_current(const Block& block, uint64_t linear) {
  if (block.generation != memory_.code().generation(page_of(block.offset), block.pieces)) return false;
  if (block.page_count == 1) return true;
  // The guest may have mapped another page behind the first one since.
  return page_of(memory_.code_offset(next_page(linear, block.code_bits))) == block.second_page &&
         block.second_generation == memory_.code().generation(block.second_page, block.second_pieces);
}

const Block& BlockCache::lookup(uint64_t linear, unsigned code_bits) {
  uint64_t offset = memory_.code_offset(linear);
  Storage::Set& set = storage_->set_of(offset, code_bits);
  for (Block& block : set) {
    if (block.offset != offset || block.code_bits != code_bits) continue;
    if (is_current(block, linear)) return block;
    block.offset = UINT64_MAX;
  }
  return decode_block(linear, offset, code_bits);
}

const Block& BlockCache::decode_block(uint64_t linear, uint64_t offset, unsigned code_bits) {
  if (!storage_->arena) throw EngineFailure{storage_->arena.error().what, storage_->arena.error().next};
  if (!storage_->has_room()) clear();
  Block block{.offset = offset, .code_bits = static_cast<uint8_t>(code_bits)};
  size_t count = decode_in_page(offset, block);
  if (count == 0) {
    decode_across_pages(linear, block);
    count = 1;
  }
  block.generation = memory_.code().generation(page_of(offset), block.pieces);
  if (block.page_count == 2) {
    block.second_generation = memory_.code().generation(block.second_page, block.second_pieces);
  }
  block.instructions = storage_->take(count);

  Storage::Set& set = storage_->set_of(offset, code_bits);
  auto slot = std::ranges::find(set, UINT64_MAX, &Block::offset);
  if (slot == set.end()) slot = set.begin() + static_cast<ptrdiff_t>(storage_->victim++ % kWays);
  *slot = block;
  return *slot;
}

size_t BlockCache::decode_in_page(uint64_t offset, Block& block) {
  const uint8_t* bytes = memory_.memory().host(offset);
  size_t left = vm::kPageSize - in_page(offset);
  Instruction* instructions = storage_->room();
  size_t count = 0;
  size_t length = 0;
  while (count < kMaxInstructions && length < left) {
    Instruction& insn = instructions[count];
    size_t available = std::min(left - length, kMaxInstructionLength);
    if (decode(bytes + length, available, block.code_bits, features_, **storage_->arena, insn) != DecodeStatus::ok) break;
    ++count;
    length += insn.length;
    if (insn.ends_block) break;
  }
  if (count != 0) {
    block.pieces = CodePages::pieces(in_page(offset), in_page(offset + length - 1));
    memory_.mark_code(page_of(offset), block.pieces);
  }
  return count;
}

void BlockCache::decode_across_pages(uint64_t linear, Block& block) {
  LinearMemory::Fetched fetched = memory_.fetch(linear);
  Instruction& insn = *storage_->room();
  if (decode(fetched.bytes, fetched.size, block.code_bits, features_, **storage_->arena, insn) != DecodeStatus::ok) {
    memory_.fetch_fault(linear + fetched.size);
  }
  CHECK(fetched.page_count == 2);
  memory_.code_offset(next_page(linear, block.code_bits));  // as is_current() does: fetch() alone sets no accessed bit there
  block.page_count = 2;
  block.second_page = fetched.pages[1];
  uint32_t in_first = static_cast<uint32_t>(vm::kPageSize) - in_page(block.offset);
  block.pieces = CodePages::pieces(in_page(block.offset), static_cast<uint32_t>(vm::kPageSize) - 1);
  block.second_pieces = CodePages::pieces(0, insn.length - in_first - 1);
  memory_.mark_code(fetched.pages[0], block.pieces);
  memory_.mark_code(fetched.pages[1], block.second_pieces);
}

void BlockCache::clear() {
  ++clears_;
  std::ranges::fill(storage_->sets, Storage::Set{});
  storage_->chunk = 0;
  storage_->used = 0;
  if (storage_->arena) (*storage_->arena)->clear();
}

}  // namespace dejavm::soft
