// Traces that say something else than what happened.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "trace/reader.h"
#include "trace/writer.h"

namespace dejavm::integration {

using Events = std::vector<trace::Event>;

/// All events of a trace; the test fails when it cannot be read.
Events read_events(const std::string& path);
/// Writes the trace `from` again as `to` with other events. Everything else, the end too, stays as it is.
void rewrite_trace(const std::string& from, const std::string& to, const Events& events,
                   const trace::WriterOptions& options = {});
/// Writes the trace `from` again as `to`, as that of a guest that saw another CPU's undefined flags.
void rewrite_cpu_kind(const std::string& from, const std::string& to, vm::CpuKind kind);
/// Makes nonsense of the payload of a chunk and gives its frame the checksum of that: what opens the trace finds no damage,
/// what decodes the chunk does.
void break_chunk(const std::string& path, size_t index);

/// The number of the event at an index, counting numbered events only.
uint64_t number_of(const Events& events, size_t index);
/// The index of the first event from `start` on for which `matches` says yes.
std::optional<size_t> find_event(const Events& events, const std::function<bool(const trace::EventBody&)>& matches,
                                 size_t start = 0);
/// The index of the first access from `start` on to an address.
std::optional<size_t> find_access(const Events& events, vm::Direction direction, uint64_t addr, size_t start = 0);
/// Without the digests: what remains to differ are accesses.
Events without_digests(Events events);

}  // namespace dejavm::integration
