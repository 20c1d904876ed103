#include "trace/journal.h"

#include <xxhash.h>

#include <algorithm>
#include <array>
#include <atomic>

#include "trace/limits.h"

namespace dejavm::trace {
namespace {

constexpr uint64_t kJournalMagic = 0x0a0d4c4e524a5644;  // "DVJRNL\r\n"
// Offsets in a journal header: u64 magic, u64 sequence, u64 first event, u64 check of these, u64 committed, zeros.
constexpr uint64_t kSequenceAt = 8, kFirstEventAt = 16, kCheckAt = 24, kCommittedAt = 32;

uint64_t check_of(const uint8_t* header, uint64_t offset) { return XXH3_64bits_withSeed(header, kCheckAt, offset); }

}  // namespace

Result<std::unique_ptr<Journal>> Journal::create(FrameFile& file, unsigned entry, uint64_t offset, uint64_t size,
                                                 uint64_t sequence, uint64_t first_event) {
  TRY_ASSIGN(Mapping mapping, Mapping::file(file.fd(), offset, size, true, file.path()));
  uint8_t* header = mapping.data();
  std::fill_n(header, kJournalHeaderBytes, uint8_t{0});
  store_le(header, kJournalMagic);
  store_le(header + kSequenceAt, sequence);
  store_le(header + kFirstEventAt, first_event);
  store_le(header + kCheckAt, check_of(header, offset));
  file.set_journal(entry, offset, size);
  return std::unique_ptr<Journal>(new Journal(std::move(mapping), entry, offset, sequence, first_event));
}

void Journal::commit(uint64_t length, uint64_t time_us) {
  if (records_++ == 0) first_time_us_ = time_us;
  used_ += length;
  auto& committed = *reinterpret_cast<uint64_t*>(mapping_.data() + kCommittedAt);
  std::atomic_ref<uint64_t>(committed).store(used_, std::memory_order_release);
}

std::optional<JournalView> find_journal(const Storage& file, unsigned entry) {
  std::array<uint8_t, kJournalEntryBytes> fields{};
  std::array<uint8_t, kJournalHeaderBytes> header{};
  if (!file.read(kJournalTableAt + entry * kJournalEntryBytes, fields)) return std::nullopt;
  auto offset = load_le<uint64_t>(fields.data());
  auto size = load_le<uint64_t>(fields.data() + 8);
  if (offset < kFileHeaderBytes || size < kJournalHeaderBytes || !file.read(offset, header)) return std::nullopt;
  if (load_le<uint64_t>(header.data()) != kJournalMagic ||
      load_le<uint64_t>(header.data() + kCheckAt) != check_of(header.data(), offset)) {
    return std::nullopt;
  }
  JournalView view{.offset = offset,
                   .sequence = load_le<uint64_t>(header.data() + kSequenceAt),
                   .first_event = load_le<uint64_t>(header.data() + kFirstEventAt),
                   .committed = load_le<uint64_t>(header.data() + kCommittedAt),
                   .log = {}};
  uint64_t records_at = offset + kJournalHeaderBytes;
  uint64_t there = std::min({view.committed, size - kJournalHeaderBytes, file.size() - records_at, kMaxJournalBytes});
  view.log.resize(there / 8);
  if (!file.read(records_at, {reinterpret_cast<uint8_t*>(view.log.data()), view.log.size() * 8})) return std::nullopt;
  return view;
}

}  // namespace dejavm::trace
