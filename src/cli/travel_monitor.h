// The monitor's words that travel through a replay, or ask where something happened.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/timeline_source.h"
#include "replay/timeline.h"
#include "trace/reader.h"
#include "vm/register_map.h"

namespace dejavm::cli {

/// Commands on a timeline, and those that only ask a trace, which leave a session what it is. Names and meanings of QEMU's
/// are QEMU's (its monitor's replay commands).
class TravelMonitor {
 public:
  using Arguments = std::vector<std::string_view>;

  /// `timelines`: exists, and is the session. Borrows everything.
  TravelMonitor(vm::Session& session, TimelineSource timelines, const trace::Reader& reader,
                const vm::RegisterMaps& registers)
      : session_(session), timelines_(timelines), reader_(reader), registers_(registers) {}

  /// The text to show.
  Result<std::string> execute(const Arguments& words);
  /// Instructions so far; nothing where the session is no timeline yet.
  std::optional<uint64_t> instructions() const;

  static const std::vector<std::string>& words();
  static std::string help();

 private:
  std::string when() const;
  Result<std::string> seek(const Arguments& words);
  Result<std::string> seek_to(const std::optional<replay::Position>& target);
  Result<std::string> info(const Arguments& words);
  Result<std::string> set_break(const Arguments& words);
  Result<std::string> events(const Arguments& words);
  Result<std::string> last_write(const Arguments& words);
  Result<std::string> who_wrote(const Arguments& words);
  Result<std::string> next_access(const Arguments& words);
  Result<std::string> log(const Arguments& words);
  Result<std::string> checkpoint();
  Result<std::string> difference(const Arguments& words);
  Result<std::string> event_line(uint64_t number);

  vm::Session& session_;
  const TimelineSource timelines_;
  const trace::Reader& reader_;
  const vm::RegisterMaps& registers_;
};

}  // namespace dejavm::cli
