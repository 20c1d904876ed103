// Ctrl-C and SIGTERM as something that a session can wait for.
#pragma once

#include <csignal>
#include <functional>
#include <initializer_list>
#include <memory>
#include <thread>

#include "base/fd.h"
#include "base/result.h"

namespace dejavm::cli {

/// Blocks signals (SIGINT and SIGTERM, if not told otherwise) in the calling thread (and those that it starts later) and
/// takes them on a thread of its own. Create it before any other thread.
class StopSignals {
 public:
  static Result<std::unique_ptr<StopSignals>> create(std::initializer_list<int> signals = {SIGINT, SIGTERM});
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  /// Readable once a signal came, and from then on.
  int fd() const { return stop_.get(); }
  /// Called on the signal thread at each signal. Set it before the session runs.
  void on_signal(std::function<void()> callback) { callback_ = std::move(callback); }

 private:
  StopSignals(Fd signals, Fd stop, Fd quit) : signals_(std::move(signals)), stop_(std::move(stop)), quit_(std::move(quit)) {}
  void loop();

  Fd signals_, stop_, quit_;
  std::function<void()> callback_;
  std::thread thread_;
};

}  // namespace dejavm::cli
