#include "trace/reader.h"

#include "trace/description_message.h"
#include "trace/pages.h"
#include "trace/scan.h"
#include "trace/storage.h"

namespace dejavm::trace {
namespace {

class FileReader final : public Reader {
 public:
  FileReader(std::unique_ptr<Storage> file, Scan scan) : file_(std::move(file)), scan_(std::move(scan)) {
    for (const ChunkSource& source : scan_.chunks) chunks_.push_back(source.info);
  }

  const Description& description() const override { return scan_.description; }
  Status load_initial_memory(vm::GuestMemory& memory) const override { return load_frames(scan_.memory, memory); }

  const std::vector<ChunkInfo>& chunks() const override { return chunks_; }
  Result<std::vector<Event>> read_chunk(size_t index) const override {
    if (index >= chunks_.size()) return fail(fmt::format("there is no chunk {}; the trace has {}", index, chunks_.size()));
    return read_chunk_source(*file_, scan_.chunks[index]);
  }
  uint64_t event_count() const override { return scan_.events; }

  size_t keyframe_count() const override { return scan_.keyframes.size(); }
  Result<Keyframe> read_keyframe(size_t index) const override {
    TRY(check_keyframe(index));
    TRY_ASSIGN(Words message, frame_message(*file_, scan_.keyframes[index].frame));
    return read_keyframe_message(message);
  }
  Status load_keyframe_memory(size_t index, vm::GuestMemory& memory) const override {
    TRY(check_keyframe(index));
    for (size_t i = 0; i <= index; ++i) TRY(load_frames(scan_.keyframes[i].pages, memory));
    return {};
  }

  const End* end() const override { return scan_.end ? &*scan_.end : nullptr; }
  bool sealed() const override { return scan_.end.has_value(); }
  const std::string& damage() const override { return scan_.damage; }
  uint64_t file_size() const override { return file_->size(); }
  Status verify() const override;

 private:
  Status check_keyframe(size_t index) const {
    if (index < keyframe_count()) return {};
    return fail(fmt::format("there is no keyframe {}; the trace has {}", index, keyframe_count()));
  }
  Status load_frames(const std::vector<Frame>& frames, vm::GuestMemory& memory) const {
    if (memory.ram_size() != description().ram_size || memory.rom_size() != description().rom_size) {
      return fail("the guest memory has other sizes than the trace");
    }
    for (const Frame& frame : frames) {
      TRY_ASSIGN(Words message, frame_message(*file_, frame));
      TRY(load_pages(message, memory));
    }
    return {};
  }

  std::unique_ptr<Storage> file_;
  Scan scan_;
  std::vector<ChunkInfo> chunks_;
};

Status FileReader::verify() const {
  if (!damage().empty()) return fail_damaged(damage(), "The events before it can be read.");
  for (const Frame& frame : scan_.frames) {
    TRY_ASSIGN(uint64_t hash, file_->hash(frame.payload_at(), frame.stored_length));
    if (hash != frame.payload_hash) {
      return fail_damaged(fmt::format("damaged at byte {}: the file changed since it was opened", frame.offset));
    }
    TRY(frame_message(*file_, frame));
  }
  for (size_t i = 0; i < chunks_.size(); ++i) TRY(read_chunk(i));
  for (size_t i = 0; i < keyframe_count(); ++i) TRY(read_keyframe(i));
  return {};
}

}  // namespace

Result<std::unique_ptr<Reader>> Reader::open(const std::string& path) {
  TRY_ASSIGN(auto file, Storage::open(path));
  TRY_ASSIGN(Scan scan, scan_file(*file, path));
  return std::make_unique<FileReader>(std::move(file), std::move(scan));
}

Result<std::unique_ptr<Reader>> Reader::open(ByteSpan bytes) {
  auto file = Storage::borrow(bytes);
  TRY_ASSIGN(Scan scan, scan_file(*file, "the trace"));
  return std::make_unique<FileReader>(std::move(file), std::move(scan));
}

}  // namespace dejavm::trace
