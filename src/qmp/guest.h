// What the QMP server asks a guest or a replay for.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace dejavm::qmp {

/// All calls while the guest stands, on its thread.
class Guest {
 public:
  virtual ~Guest() = default;

  /// QEMU's ReplayMode, and what goes with it (QEMU, qapi/replay.json).
  enum class Mode : uint8_t { none, record, play };
  virtual Mode mode() const = 0;
  /// The trace; empty where there is none.
  virtual std::string file() const = 0;
  /// Instructions so far; nothing on an engine that does not count them.
  virtual std::optional<uint64_t> instructions() = 0;

  /// Goes there and stays. Fails where the guest cannot.
  virtual Status seek(uint64_t instructions) = 0;
  /// Stops the next run forward there, instead of where an earlier call said; nothing: nowhere.
  virtual Status set_break(std::optional<uint64_t> instructions) = 0;

  /// A line of the monitor, and its answer.
  virtual std::string monitor(std::string_view line) = 0;
};

}  // namespace dejavm::qmp
