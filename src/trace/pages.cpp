#include "trace/pages.h"

#include <xxhash.h>

#include <algorithm>
#include <array>

#include "trace/limits.h"
#include "trace/trace.capnp.h"

namespace dejavm::trace {
namespace {

constexpr std::array<uint8_t, vm::kPageSize> kZeroPage{};

/// Collects pages for one message and remembers those of earlier messages, to refer to them.
class PageBatch {
 public:
  explicit PageBatch(const vm::GuestMemory& memory) : memory_(memory) {}

  bool full() const { return numbers_.size() >= kMaxFramePages || zeros_.size() + copies_.size() >= 64 * kMaxFramePages; }

  void add(uint64_t number, bool keep_zeros) {
    ByteSpan page = memory_.page(number);
    if (std::ranges::equal(page, kZeroPage)) {
      if (keep_zeros) zeros_.push_back(number);
      return;
    }
    auto [seen, is_new] = first_with_.try_emplace(XXH3_64bits(page.data(), page.size()), number);
    if (!is_new && std::ranges::equal(page, memory_.page(seen->second))) {
      copies_.emplace_back(number, seen->second);
    } else {
      numbers_.push_back(number);
    }
  }

  /// The message of what was collected; starts the next one.
  Words take() {
    Words message = build_message<schema::Pages>([&](schema::Pages::Builder to) {
      auto numbers = to.initNumbers(static_cast<unsigned>(numbers_.size()));
      auto contents = to.initContents(static_cast<unsigned>(numbers_.size() * vm::kPageSize));
      for (unsigned i = 0; i < numbers_.size(); ++i) {
        numbers.set(i, numbers_[i]);
        std::ranges::copy(memory_.page(numbers_[i]), contents.begin() + i * vm::kPageSize);
      }
      auto zeros = to.initZeros(static_cast<unsigned>(zeros_.size()));
      for (unsigned i = 0; i < zeros_.size(); ++i) zeros.set(i, zeros_[i]);
      auto copies = to.initCopies(static_cast<unsigned>(copies_.size()));
      for (unsigned i = 0; i < copies_.size(); ++i) {
        copies[i].setPage(copies_[i].first);
        copies[i].setSource(copies_[i].second);
      }
    });
    numbers_.clear();
    zeros_.clear();
    copies_.clear();
    return message;
  }

 private:
  const vm::GuestMemory& memory_;
  std::vector<uint64_t> numbers_;
  std::vector<uint64_t> zeros_;
  std::vector<std::pair<uint64_t, uint64_t>> copies_;
  std::unordered_map<uint64_t, uint64_t> first_with_;  // content hash -> page
};

Status load_page(vm::GuestMemory& memory, uint64_t number, ByteSpan contents) {
  if (number >= memory.page_count()) return fail_damaged(fmt::format("page {:#x} lies outside the guest's memory", number));
  return memory.write_backing(number * vm::kPageSize, contents, vm::Writer::replay);
}

Status load(schema::Pages::Reader from, vm::GuestMemory& memory) {
  auto numbers = from.getNumbers();
  ByteSpan contents = span_of(from.getContents());
  if (contents.size() != numbers.size() * vm::kPageSize) return fail_damaged("pages are malformed: contents are missing");
  for (unsigned i = 0; i < numbers.size(); ++i) {
    TRY(load_page(memory, numbers[i], contents.subspan(i * vm::kPageSize, vm::kPageSize)));
  }
  for (uint64_t number : from.getZeros()) TRY(load_page(memory, number, kZeroPage));
  for (auto copy : from.getCopies()) {
    if (copy.getSource() >= memory.page_count()) return fail_damaged("a page copies one outside the guest's memory");
    ByteSpan source = memory.page(copy.getSource());
    Bytes page(source.begin(), source.end());
    TRY(load_page(memory, copy.getPage(), page));
  }
  return {};
}

}  // namespace

Status write_pages(const vm::GuestMemory& memory, const std::vector<uint64_t>& pages, bool keep_zeros,
                   const EmitPages& emit) {
  PageBatch batch(memory);
  for (uint64_t number : pages) {
    if (batch.full()) TRY(emit(batch.take(), false));
    batch.add(number, keep_zeros);
  }
  return emit(batch.take(), true);
}

Status write_initial_pages(const vm::GuestMemory& memory, const EmitPages& emit) {
  return write_pages(memory, memory.dirty(), false, emit);
}

Status load_pages(std::span<const uint64_t> message, vm::GuestMemory& memory) {
  return parse_message<schema::Pages>(message, "a page frame",
                                      [&](schema::Pages::Reader from) { return load(from, memory); });
}

}  // namespace dejavm::trace
