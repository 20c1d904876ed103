// Somebody beside the debugger who wants the guest's thread now and then: a management connection.
#pragma once

#include <poll.h>

#include <cstdint>

namespace dejavm {

/// Served on the thread that runs the guest, while the guest stands. All calls from that thread, but for interest().
class Attendant {
 public:
  virtual ~Attendant() = default;

  enum class Standing : uint8_t {
    runs,    ///< it goes on after serve()
    stands,  ///< it waits for a wish to run
    held,    ///< by a debugger, which alone lets it go
  };
  enum class Wish : uint8_t { none, run, stop, quit };
  enum class Why : uint8_t {
    paused,  ///< somebody wanted it so
    debug,   ///< a breakpoint of some kind, a position that was asked for
    ended,   ///< a replay has no more events
    failed,  ///< a replay diverged, or the engine gave up
  };

  /// What poll() finds ready when there is something to serve.
  virtual pollfd interest() const = 0;
  /// Does what there is to do, without blocking.
  virtual Wish serve(Standing guest) = 0;
  /// Somebody is connected, who may want to look at a guest that has stopped.
  virtual bool is_attached() const = 0;

  virtual void guest_runs() = 0;
  virtual void guest_stands(Why why) = 0;
  /// The guest is gone: the last call but for the destructor.
  virtual void guest_gone() = 0;
};

}  // namespace dejavm
