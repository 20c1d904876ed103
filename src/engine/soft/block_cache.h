// Decoded instructions, kept by where their bytes stand in the backing.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/soft/code_pages.h"
#include "engine/soft/features.h"
#include "engine/soft/instruction.h"
#include "engine/soft/linear_memory.h"

namespace dejavm::soft {

class ExecutablePool;
class NativeArena;

/// A straight run of instructions of one page (the last one may reach into the next page; it is alone in its block then).
struct Block {
  uint64_t offset = UINT64_MAX;  ///< backing offset of its first byte
  CodePages::Pieces pieces = 0;  ///< of that page
  uint32_t generation = 0;       ///< theirs when it was decoded
  uint8_t code_bits = 0;
  uint8_t page_count = 1;
  uint64_t second_page = 0;  ///< backing page, where page_count is 2
  CodePages::Pieces second_pieces = 0;
  uint32_t second_generation = 0;
  std::span<const Instruction> instructions;
  // Notes of the Translator's, for itself.
  mutable uint32_t translation = 0;
  mutable uint8_t visits = 0;
};

/// Bounded: when it is full, everything is thrown away and decoded anew. A Block stays valid until the next lookup().
class BlockCache {
 public:
  static constexpr size_t kMaxInstructions = 48;  ///< of one block

  /// `pool`: where executable memory comes from; null: from the host.
  BlockCache(LinearMemory& memory, const Features& features, ExecutablePool* pool = nullptr);
  ~BlockCache();

  /// The block that starts at a linear address, decoding it if need be; at least one instruction. Throws GuestFault when the
  /// first instruction cannot be fetched.
  const Block& lookup(uint64_t linear, unsigned code_bits);

  /// Throws all decoded code away.
  void clear();
  /// How often that has happened: instructions of a Block stay where they are until then.
  uint64_t clears() const { return clears_; }

 private:
  struct Storage;

  bool is_current(const Block& block, uint64_t linear);
  const Block& decode_block(uint64_t linear, uint64_t offset, unsigned code_bits);
  size_t decode_in_page(uint64_t offset, Block& block);
  void decode_across_pages(uint64_t linear, Block& block);

  LinearMemory& memory_;
  const Features& features_;
  std::unique_ptr<Storage> storage_;
  uint64_t clears_ = 0;
};

}  // namespace dejavm::soft
