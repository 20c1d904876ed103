// A child process whose output can be looked at while it runs.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "base/fd.h"

namespace dejavm::integration {

using Words = std::vector<std::string>;

/// What a process left: its exit status (128 + N when signal N ended it, kTimedOut when it had to be killed) and its output.
struct Finished {
  int status = 0;
  std::string out;
  std::string err;
};

inline constexpr int kTimedOut = -1;
inline constexpr std::chrono::seconds kLongEnough{240};

/// One child. Its standard input is a pipe that the test writes, its output goes to unnamed files. The child dies with the
/// test: killed by the destructor, or by the kernel when the test itself is killed.
class Process {
 public:
  explicit Process(const Words& command);
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  pid_t pid() const { return pid_; }
  /// A line of /proc/PID/status, e.g. status_line("Seccomp") is "2" under a filter.
  std::string status_line(std::string_view name) const;
  void write_input(std::string_view text);
  void close_input() { input_.close(); }
  void signal(int number) const;
  bool running();
  /// True once standard output or standard error contains `text`, behind the first `behind`; false when the process ended or
  /// `limit` passed without it.
  bool wait_for_text(std::string_view text, std::string_view behind = {},
                     std::chrono::seconds limit = std::chrono::seconds(60));
  /// Closes the input and waits for the end; after `limit` the process is killed.
  Finished wait(std::chrono::seconds limit = kLongEnough);

  std::string out() const;
  std::string err() const;

 private:
  bool reap(int flags);

  pid_t pid_ = -1;
  bool ended_ = false;
  int status_ = 0;
  Fd input_, out_, err_;
};

/// Runs a command to its end.
Finished run(const Words& command, std::string_view input = {}, std::chrono::seconds limit = kLongEnough);

}  // namespace dejavm::integration
