// What the protocols of management connections, QMP and the human monitor, have in common.
#pragma once

#include <string>
#include <string_view>

#include "base/attendant.h"
#include "base/bytes.h"

namespace dejavm::qmp {

/// Whether the guest runs, and why not: for all clients of a socket one after the other.
struct RunState {
  bool running = false;
  bool started = false;  ///< it ran before
  Attendant::Why why = Attendant::Why::paused;

  void note(bool runs) {
    running = runs;
    started = started || runs;
  }
};

/// QEMU's word for it (qapi/run-state.json, RunState).
const char* status_word(const RunState& state);

/// Text whose lines end as QEMU's monitor ends them.
std::string with_crlf(std::string_view text);

/// What one client and the server say to each other: bytes in, bytes out. One thread.
class Dialogue {
 public:
  virtual ~Dialogue() = default;

  /// Executes what came whole; what the commands together wish.
  virtual Attendant::Wish receive(ByteSpan bytes, Attendant::Standing guest) = 0;
  virtual std::string take_output() = 0;
  /// The client breaks the rules of the stream: say no more.
  virtual bool broken() const = 0;
  virtual void note_running(bool running) = 0;
  virtual void note_gone() = 0;
};

}  // namespace dejavm::qmp
