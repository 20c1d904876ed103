// Opens bytes as a trace and reads all there is. Corpus: tests/golden/*.dvt and what a run finds
// (`trace_reader_fuzzer CORPUS_FOLDER tests/golden`). Checksums are repaired first, so that mutations reach the parts behind
// them.
#include <xxhash.h>

#include <cstdint>

#include "base/check.h"
#include "trace/frame.h"
#include "trace/reader.h"

namespace {

using namespace dejavm;
using namespace dejavm::trace;

/// Makes the file header and every frame header that follows it valid, as far as their lengths lead.
void repair(Bytes& file) {
  if (file.size() < kFileHeaderBytes) return;
  std::copy(kFileMagic.begin(), kFileMagic.end(), file.begin());
  store_le(&file[kFileCheckAt], static_cast<uint64_t>(XXH3_64bits(file.data(), kJournalTableAt)));
  uint64_t sequence = 0;
  for (uint64_t offset = kFileHeaderBytes; file.size() - offset >= kFrameHeaderBytes;) {
    uint64_t room = file.size() - offset - kFrameHeaderBytes;
    Frame frame{.type = static_cast<FrameType>(load_le<uint16_t>(&file[offset + 4])),
                .offset = offset,
                .stored_length = load_le<uint64_t>(&file[offset + 8]),
                .raw_length = load_le<uint64_t>(&file[offset + 16]),
                .sequence = sequence++,
                .first_event = load_le<uint64_t>(&file[offset + 32]),
                .events = load_le<uint32_t>(&file[offset + 40]),
                .records = load_le<uint32_t>(&file[offset + 44])};
    if (frame.stored_length > room) return;
    frame.payload_hash = payload_hash(ByteSpan(file).subspan(frame.payload_at(), frame.stored_length));
    auto header = frame_header(frame);
    std::copy(header.begin(), header.end(), file.begin() + static_cast<ptrdiff_t>(offset));
    offset = frame.end();
  }
}

void read_all(ByteSpan file) {
  auto reader = Reader::open(file);
  if (!reader) return;
  EventCursor cursor(**reader);
  for (auto event = cursor.next(); event && *event != nullptr; event = cursor.next()) {
  }
  static_cast<void>(cursor.seek((*reader)->event_count() / 2));
  static_cast<void>((*reader)->verify());
  const Description& description = (*reader)->description();
  if (description.ram_size > 1 << 20 || description.rom_size > 1 << 20) return;
  auto memory = vm::GuestMemory::create(description.ram_size, description.rom_size);
  CHECK(memory.has_value());
  static_cast<void>((*reader)->load_initial_memory(*memory));
  if ((*reader)->keyframe_count() > 0) static_cast<void>((*reader)->load_keyframe_memory(0, *memory));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  read_all({data, size});
  Bytes repaired(data, data + size);
  repair(repaired);
  read_all(repaired);
  return 0;
}
