// Where a guest's serial port and debug console go: stdio, null or file:PATH.
#pragma once

#include <unistd.h>

#include <functional>
#include <memory>
#include <string>

#include "base/fd.h"
#include "base/result.h"

namespace dejavm::cli {

/// An open destination of bytes. A destination that cannot take more (a full disk, a closed pipe) is told once and then
/// ignored: the guest goes on.
class Output {
 public:
  /// `option` names the option in errors. "mon:stdio" is stdio. `stdio_fd`: where the output of stdio goes, STDERR_FILENO
  /// where something else has stdout for itself.
  static Result<std::unique_ptr<Output>> open(const std::string& spec, const std::string& option,
                                              int stdio_fd = STDOUT_FILENO);

  bool is_stdio() const { return stdio_fd_ >= 0; }
  bool is_null() const { return !is_stdio() && !file_; }
  std::function<void(uint8_t)> sink();

 private:
  void put(uint8_t byte);

  std::string name_;
  Fd file_;
  int stdio_fd_ = -1;
  bool failed_ = false;
};

/// Puts the terminal on stdin into a mode that suits a guest's console (bytes as typed, no echo; Ctrl-C still ends dejavm)
/// and back.
class TerminalMode {
 public:
  /// No effect when stdin is not a terminal.
  explicit TerminalMode(bool wanted);
  ~TerminalMode();
  TerminalMode(const TerminalMode&) = delete;
  TerminalMode& operator=(const TerminalMode&) = delete;

 private:
  struct Saved;
  std::unique_ptr<Saved> saved_;
};

}  // namespace dejavm::cli
