// The monitor's words that travel through a replay, or ask where something happened.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "replay/timeline.h"
#include "trace/reader.h"
#include "vm/register_map.h"

namespace dejavm::cli {

/// Commands on a timeline. Names and meanings of QEMU's are QEMU's (its monitor's replay commands).
class TravelMonitor {
 public:
  using Arguments = std::vector<std::string_view>;

  /// Borrows everything.
  TravelMonitor(replay::Timeline& timeline, const trace::Reader& reader, const vm::RegisterMaps& registers)
      : timeline_(timeline), reader_(reader), registers_(registers) {}

  /// The text to show.
  Result<std::string> execute(const Arguments& words);
  /// "at 12+345, instruction 6789"
  std::string when() const;

  static const std::vector<std::string>& words();
  static std::string help();

 private:
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

  replay::Timeline& timeline_;
  const trace::Reader& reader_;
  const vm::RegisterMaps& registers_;
};

}  // namespace dejavm::cli
