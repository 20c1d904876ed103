// Small machines, runs and files for the tests of the trace.
#pragma once

#include <string>
#include <vector>

#include "base/temporary.h"
#include "trace/description.h"
#include "trace/event.h"
#include "trace/reader.h"
#include "trace/writer.h"

namespace dejavm::trace {

/// A file name in a fresh folder that is removed at the end.
class TempPath {
 public:
  std::string file(const std::string& name = "t.dvt") const { return folder_.file(name); }
  const std::string& folder() const { return folder_.path(); }

 private:
  TemporaryDirectory folder_ = TemporaryDirectory::create("dejavm-trace").value();
};

/// 16 pages of RAM, 2 of ROM; with some contents.
vm::GuestMemory sample_memory();
vm::CpuState sample_cpu();
Description sample_description(bool has_time = true);
/// One event of every kind and every optional part.
std::vector<Event> sample_events();
/// `count` accesses of a driver that polls, with times a microsecond apart.
std::vector<Event> driver_events(size_t count);
End sample_end(uint64_t events);

/// Texts by which events are compared: everything they hold.
std::string describe(const Event& event);
std::vector<std::string> describe(const std::vector<Event>& events);
/// All events that a cursor gives.
std::vector<Event> all_events(const Reader& reader);

/// Writes and seals a trace.
void write_trace(const std::string& path, const std::vector<Event>& events, bool has_time = true,
                 WriterOptions options = {});
Bytes file_bytes(const std::string& path);

}  // namespace dejavm::trace
