// The words that gdb's `monitor` command and the shell share.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/state_monitor.h"
#include "cli/travel_monitor.h"
#include "trace/reader.h"
#include "vm/register_map.h"
#include "vm/session.h"

namespace dejavm::cli {

/// The lines of an access, and of its register's name where it has one.
std::string access_text(vm::Session& session, const vm::RegisterMaps& registers, const vm::SeenAccess& seen);
/// A place or a register, as users write it, into a filter.
Status parse_place(std::string_view text, vm::Session& session, const vm::RegisterMaps& registers, vm::AccessFilter& filter);

/// Executes monitor commands on a session. `reader`: the trace of a replay, null for a live guest. `timelines`: the session
/// itself.
class Monitor {
 public:
  explicit Monitor(vm::Session& session, vm::RegisterMaps registers = {}, const trace::Reader* reader = nullptr,
                   TimelineSource timelines = {})
      : session_(session), registers_(std::move(registers)), reader_(reader), state_(session_, registers_) {
    if (timelines.exists() && reader != nullptr) travel_.emplace(session, timelines, *reader, registers_);
  }
  Monitor(const Monitor&) = delete;
  Monitor& operator=(const Monitor&) = delete;

  /// The lines of an access: what and where, and the register's name where it has one.
  std::string access_lines(const vm::SeenAccess& seen) const;

  /// The text to show, lines ending with \n. An unknown command answers with what there is.
  std::string execute(std::string_view line);
  bool has_trace() const { return reader_ != nullptr; }

  /// Instructions so far, where the session is a timeline.
  std::optional<uint64_t> instructions() const { return travel_ ? travel_->instructions() : std::nullopt; }

  /// Whether this is a command's first word.
  static bool knows(std::string_view word);
  /// The first words, for completion.
  static const std::vector<std::string>& words();
  static std::string help();

 private:
  using Arguments = std::vector<std::string_view>;
  Result<std::string> dispatch(const Arguments& words);
  Result<std::string> travel(const Arguments& words);
  Result<std::string> mmio(const Arguments& words);
  Result<std::string> mmio_break(const Arguments& words);
  Result<std::string> mmio_delete(const Arguments& words);
  Result<std::string> mmio_last(const Arguments& words);
  std::string mmio_list() const;
  Result<std::string> watch(const Arguments& words);
  Result<std::string> watch_add(const Arguments& words);
  Result<std::string> watch_delete(const Arguments& words);
  std::string watch_list() const;
  std::string devices() const;
  std::string where() const;
  Result<std::string> dma(const Arguments& words);

  vm::Session& session_;
  const vm::RegisterMaps registers_;
  const trace::Reader* reader_;
  StateMonitor state_;
  std::optional<TravelMonitor> travel_;
};

}  // namespace dejavm::cli
