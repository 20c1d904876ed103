// The commands of `dejavm shell`, apart from where lines come from.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "cli/engine.h"
#include "cli/monitor.h"
#include "replay/replayer.h"
#include "trace/reader.h"

namespace dejavm::cli {

/// One open trace and, from the first command that runs it, its replay.
class Shell {
 public:
  Shell();
  ~Shell();

  /// Executes a line; the text to show ends with \n or is empty.
  std::string execute(std::string_view line);
  /// Whether the last command was an error.
  bool failed() const { return failed_; }
  bool wants_to_quit() const { return quit_; }
  /// Words that may come next: commands, device names.
  std::vector<std::string> candidates() const;
  static std::string help();

 private:
  struct Replay;
  using Arguments = std::vector<std::string_view>;

  Result<std::string> dispatch(const Arguments& words, std::string_view line);
  Result<std::string> open(const Arguments& words);
  Result<std::string> info() const;
  Result<std::string> events(const Arguments& words) const;
  Result<std::string> run(const Arguments& words);
  Result<std::string> step(const Arguments& words);
  Result<std::string> goto_event(const Arguments& words);
  Result<std::string> memory(const Arguments& words);
  Result<std::string> disassemble(const Arguments& words);
  Result<std::string> breakpoint(const Arguments& words);
  Result<Replay*> replay();
  Result<std::string> stop_text(const vm::SessionStop& stop);

  std::string file_;
  std::unique_ptr<trace::Reader> reader_;
  std::unique_ptr<Replay> replay_;
  bool failed_ = false;
  bool quit_ = false;
};

}  // namespace dejavm::cli
