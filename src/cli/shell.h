// The commands of `dejavm shell`, apart from where lines come from.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "cli/commands.h"
#include "cli/engine.h"
#include "cli/monitor.h"
#include "replay/timeline.h"
#include "trace/reader.h"

namespace dejavm::cli {

/// One open trace and, from the first command that runs it, its replay. The trace is somebody else's: with the first replay
/// the process enters the sandbox, and opens no other file from then on. One thread, but for interrupt().
class Shell {
 public:
  /// `registers`: the names of devices' registers.
  explicit Shell(vm::RegisterMaps registers = {});
  ~Shell();

  /// Executes a line; the text to show ends with \n or is empty.
  std::string execute(std::string_view line);
  /// The same as the line `open FILE`, for any name.
  std::string open_trace(const std::string& file);
  /// Stops the command that is being executed, if one is: false without. From any thread.
  bool interrupt();
  /// Whether the last command was an error.
  bool failed() const { return failed_; }
  /// Whether the last command was interrupted.
  bool interrupted() const { return interrupted_; }
  /// What a script of the commands so far ends with: a divergence counts most, then a damaged trace, then a failed command.
  ExitStatus exit_status() const;
  bool wants_to_quit() const { return quit_; }
  /// Words that may come next: commands, device names.
  std::vector<std::string> candidates() const;
  static std::string help();

 private:
  struct Replay;
  using Arguments = std::vector<std::string_view>;

  Result<std::string> dispatch(const Arguments& words, std::string_view line);
  Result<std::string> open(const std::string& file);
  Result<std::string> info() const;
  Result<std::string> events(const Arguments& words) const;
  Result<std::string> run(const Arguments& words);
  Result<std::string> step(const Arguments& words);
  Result<std::string> goto_event(const Arguments& words);
  Result<std::string> memory(const Arguments& words);
  Result<std::string> disassemble(const Arguments& words);
  Result<std::string> breakpoint(const Arguments& words);
  Result<Replay*> replay();
  Result<std::string> back(const Arguments& words);
  /// Runs a session, so that interrupt() reaches it.
  Result<vm::SessionStop> interruptibly(const std::function<Result<vm::SessionStop>(vm::Session&)>& run);
  std::string perform(const std::function<Result<std::string>()>& command);
  Result<std::string> stop_text(const vm::SessionStop& stop);

  const vm::RegisterMaps registers_;
  const replay::CheckpointLimits limits_;  // found out before the sandbox
  std::string file_;
  std::unique_ptr<trace::Reader> reader_;
  std::optional<Engine> engine_;  // open from the first replay on
  std::unique_ptr<Replay> replay_;
  bool sandboxed_ = false;
  bool failed_ = false, ever_failed_ = false, damaged_ = false, diverged_ = false;
  bool quit_ = false;

  std::mutex mutex_;  // guards executing_ and running_
  bool executing_ = false;
  vm::Session* running_ = nullptr;
  std::atomic<bool> interrupted_{false};
};

}  // namespace dejavm::cli
