#include "support/trace_edit.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/fd.h"
#include "trace/frame.h"
#include "trace/storage.h"
#include "vm/guest_memory.h"

namespace dejavm::integration {
namespace {

Status rewrite(const std::string& from, const std::string& to, const Events& events, const trace::WriterOptions& options,
               std::optional<vm::CpuKind> kind = std::nullopt) {
  TRY_ASSIGN(auto reader, trace::Reader::open(from));
  trace::Description description = reader->description();
  if (kind) description.cpu_model.kind = *kind;
  TRY_ASSIGN(vm::GuestMemory memory, vm::GuestMemory::create(description.ram_size, description.rom_size));
  TRY(memory.set_map(description.memory));
  TRY(reader->load_initial_memory(memory));
  TRY_ASSIGN(auto writer, trace::Writer::create(to, description, memory, options));
  for (const trace::Event& event : events) TRY(writer->append(event));
  if (reader->end() == nullptr) return fail("the trace to alter has no end");
  trace::End end = *reader->end();
  end.events = writer->events();
  return writer->finish(end);
}

}  // namespace

Events read_events(const std::string& path) {
  Events events;
  auto reader = trace::Reader::open(path);
  EXPECT_TRUE(reader) << (reader ? "" : reader.error().what);
  for (size_t i = 0; reader && i < (*reader)->chunks().size(); ++i) {
    auto chunk = (*reader)->read_chunk(i);
    EXPECT_TRUE(chunk) << (chunk ? "" : chunk.error().what);
    if (chunk) events.insert(events.end(), chunk->begin(), chunk->end());
  }
  return events;
}

void rewrite_trace(const std::string& from, const std::string& to, const Events& events,
                   const trace::WriterOptions& options) {
  Status status = rewrite(from, to, events, options);
  ASSERT_TRUE(status) << status.error().what;
}

void rewrite_cpu_kind(const std::string& from, const std::string& to, vm::CpuKind kind) {
  Status status = rewrite(from, to, read_events(from), {}, kind);
  ASSERT_TRUE(status) << status.error().what;
}

void break_chunk(const std::string& path, size_t index) {
  constexpr uint64_t kSequenceAt = 24;  // docs/trace-format.md, "Frames"
  uint64_t offset = trace::Reader::open(path).value()->chunks().at(index).offset;
  Bytes bytes = read_file(path, UINT64_MAX).value();
  trace::Frame frame =
      trace::parse_frame(*trace::Storage::borrow(bytes), offset, load_le<uint64_t>(&bytes[offset + kSequenceAt])).value();
  MutableByteSpan payload = MutableByteSpan(bytes).subspan(frame.payload_at(), frame.stored_length);
  std::fill(payload.begin(), payload.end(), uint8_t{0xee});
  frame.payload_hash = trace::payload_hash(payload);
  auto header = trace::frame_header(frame);
  std::copy(header.begin(), header.end(), bytes.begin() + static_cast<ptrdiff_t>(offset));
  Fd file = open_file(path, O_WRONLY).value();
  ASSERT_TRUE(write_all(file.get(), bytes, path));
}

uint64_t number_of(const Events& events, size_t index) {
  return static_cast<uint64_t>(std::count_if(events.begin(), events.begin() + static_cast<long>(index),
                                             [](const trace::Event& e) { return trace::is_numbered(e.body); }));
}

std::optional<size_t> find_event(const Events& events, const std::function<bool(const trace::EventBody&)>& matches,
                                 size_t start) {
  for (size_t i = start; i < events.size(); ++i) {
    if (matches(events[i].body)) return i;
  }
  return std::nullopt;
}

std::optional<size_t> find_access(const Events& events, vm::Direction direction, uint64_t addr, size_t start) {
  auto matches = [&](const trace::EventBody& body) {
    const auto* access = std::get_if<trace::AccessEvent>(&body);
    return access != nullptr && access->access.direction == direction && access->access.addr == addr;
  };
  return find_event(events, matches, start);
}

Events without_digests(Events events) {
  std::erase_if(events, [](const trace::Event& e) { return std::holds_alternative<trace::DigestEvent>(e.body); });
  return events;
}

}  // namespace dejavm::integration
