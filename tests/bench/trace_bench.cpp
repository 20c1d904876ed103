// How small and how fast the chunk codec is, measured on the recorded accesses of /work/shared/corpora (its README.md says
// what they are). `trace_bench` prints the sizes, then the rates.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>
#include <zstd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <sstream>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/fd.h"
#include "trace/chunk_codec.h"
#include "trace/limits.h"
#include "trace/record.h"
#include "trace/writer.h"

namespace dejavm::trace {
namespace {

constexpr const char* kFiles[] = {"ahci", "boot-microvm", "boot-pc", "e1000-net", "virtio-pci"};
constexpr double kTargetBytes = 0.25;

std::string corpora_folder() {
  const char* given = std::getenv("DEJAVM_CORPORA");
  return given != nullptr ? given : DEJAVM_CORPORA_DEFAULT;
}

/// The text of a corpus; empty where the file is not there.
std::string corpus_text(const std::string& name) {
  auto packed = read_file(fmt::format("{}/{}.txt.zst", corpora_folder(), name), 64u << 20);
  if (!packed) return {};
  std::string text;
  std::vector<char> buffer(ZSTD_DStreamOutSize());
  ZSTD_DStream* stream = ZSTD_createDStream();
  ZSTD_inBuffer in{packed->data(), packed->size(), 0};
  while (in.pos < in.size) {
    ZSTD_outBuffer out{buffer.data(), buffer.size(), 0};
    CHECK(!ZSTD_isError(ZSTD_decompressStream(stream, &out, &in)));
    text.append(buffer.data(), out.pos);
  }
  ZSTD_freeDStream(stream);
  return text;
}

/// The accesses that exit with the interrupt controller in userspace: classes M (devices) and L (local APIC).
std::vector<Event> corpus_events(const std::string& name) {
  std::vector<Event> events;
  std::istringstream lines(corpus_text(name));
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string direction, kind;
    unsigned size = 0;
    AccessEvent event;
    fields >> direction >> kind >> size >> std::hex >> event.access.addr >> event.access.value;
    if (kind != "M" && kind != "L") continue;
    event.access.direction = direction == "W" ? vm::Direction::write : vm::Direction::read;
    event.access.size = static_cast<uint8_t>(size);
    events.push_back({event, 0});
  }
  return events;
}

/// Bytes of all the chunks that hold the events.
uint64_t encoded_bytes(std::span<const Event> events) {
  uint64_t bytes = 0;
  for (size_t at = 0; at < events.size(); at += kMaxChunkRecords) {
    auto chunk = encode_chunk(events.subspan(at, std::min<size_t>(kMaxChunkRecords, events.size() - at)), false);
    CHECK(chunk.has_value());
    bytes += chunk->stored.size();
  }
  return bytes;
}

/// Prints the bytes an event of each corpus. False where the target is missed.
bool print_sizes() {
  uint64_t all_events = 0, all_bytes = 0;
  for (const char* name : kFiles) {
    std::vector<Event> events = corpus_events(name);
    if (events.empty()) {
      fmt::print("SKIPPED: {}/{}.txt.zst is not there (set DEJAVM_CORPORA)\n", corpora_folder(), name);
      continue;
    }
    uint64_t bytes = encoded_bytes(events);
    fmt::print("{:<14} {:>7} events {:>7} bytes {:.4f} bytes/event\n", name, events.size(), bytes,
               static_cast<double>(bytes) / static_cast<double>(events.size()));
    all_events += events.size();
    all_bytes += bytes;
  }
  if (all_events == 0) return true;
  double overall = static_cast<double>(all_bytes) / static_cast<double>(all_events);
  fmt::print("{:<14} {:>7} events {:>7} bytes {:.4f} bytes/event (target {})\n", "overall", all_events, all_bytes, overall,
             kTargetBytes);
  return overall <= kTargetBytes;
}

/// The events repeated until they fill one chunk.
std::vector<Event> full_chunk(const std::string& name) {
  std::vector<Event> events = corpus_events(name);
  for (size_t i = 0; !events.empty() && events.size() < kMaxChunkRecords; ++i) events.push_back(events[i]);
  events.resize(std::min<size_t>(events.size(), kMaxChunkRecords));
  return events;
}

void encode(benchmark::State& state, const std::string& name) {
  std::vector<Event> events = full_chunk(name);
  if (events.empty()) return state.SkipWithError("the corpora are not there");
  Words log = records_of(events, 0);
  ChunkEncoder encoder(false, 3);
  for (auto _ : state) benchmark::DoNotOptimize(encoder.encode(log, 0));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * events.size()));
}

void decode(benchmark::State& state, const std::string& name) {
  std::vector<Event> events = full_chunk(name);
  if (events.empty()) return state.SkipWithError("the corpora are not there");
  auto chunk = encode_chunk(events, false);
  CHECK(chunk.has_value());
  for (auto _ : state) benchmark::DoNotOptimize(decode_chunk(chunk->stored, chunk->raw_length));
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * events.size()));
}

/// What the vCPU thread pays: append_access() into a file, with the writer's thread compressing beside it.
void append(benchmark::State& state, const std::string& name) {
  std::vector<Event> events = full_chunk(name);
  if (events.empty()) return state.SkipWithError("the corpora are not there");
  std::string path =
      fmt::format("{}/dejavm-trace-bench-{}.dvt", std::filesystem::temp_directory_path().string(), ::getpid());
  auto memory = vm::GuestMemory::create(vm::kPageSize, 0);
  auto writer = Writer::create(path, {.ram_size = vm::kPageSize, .has_time = false}, *memory);
  CHECK(memory.has_value() && writer.has_value());
  for (auto _ : state) {
    for (const Event& event : events) CHECK((*writer)->append_access(std::get<AccessEvent>(event.body), 0));
  }
  std::filesystem::remove(path);
  state.SetItemsProcessed(static_cast<int64_t>(state.iterations() * events.size()));
}

}  // namespace
}  // namespace dejavm::trace

int main(int argc, char** argv) {
  using namespace dejavm::trace;
  benchmark::Initialize(&argc, argv);
  bool small_enough = print_sizes();
  for (const char* name : kFiles) {
    benchmark::RegisterBenchmark(fmt::format("encode/{}", name).c_str(), encode, std::string(name));
    benchmark::RegisterBenchmark(fmt::format("decode/{}", name).c_str(), decode, std::string(name));
    benchmark::RegisterBenchmark(fmt::format("append/{}", name).c_str(), append, std::string(name));
  }
  benchmark::RunSpecifiedBenchmarks();
  if (!small_enough) fmt::print(stderr, "trace_bench: more than {} bytes/event\n", kTargetBytes);
  return small_enough ? 0 : 1;
}
