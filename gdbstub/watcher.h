// Watches descriptors while the guest runs, and interrupts the guest when there is something to see.
#pragma once

#include <poll.h>

#include <functional>
#include <thread>
#include <vector>

#include "gdbstub/signal_fd.h"
#include "gdbstub/target.h"

namespace dejavm::gdb {

/// A descriptor, and whether what is there to see is worth an interruption.
struct Watched {
  pollfd what;
  std::function<bool()> look;
};

/// A thread that lives for one Target::resume(). It blocks every signal, so that signals keep reaching the guest's thread.
/// The target, the flags and what `look` uses are borrowed; `look` runs on the watcher's thread, and the owner leaves its
/// data alone until finish().
class Watcher {
 public:
  /// Calls `look` whenever its descriptor is ready; when it returns true, or `cancel` is raised, interrupts the target until
  /// finish().
  Watcher(Target& target, std::vector<Watched> watched, const SignalFd& cancel, const SignalFd& done);
  Watcher(const Watcher&) = delete;
  Watcher& operator=(const Watcher&) = delete;
  ~Watcher();

  /// Ends the thread; says whether it interrupted the target.
  bool finish();

 private:
  void watch(const std::vector<Watched>& watched, const SignalFd& cancel);
  void interrupt_until_done();

  Target& target_;
  const SignalFd& done_;
  bool interrupted_ = false;
  std::thread thread_;
};

}  // namespace dejavm::gdb
