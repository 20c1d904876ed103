// dejavm shell: browses a trace and drives its replay with the words of the monitor.
#include <fcntl.h>
#include <poll.h>
#include <readline/history.h>
#include <readline/readline.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <utility>

#include "base/fd.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/messages.h"
#include "cli/register_options.h"
#include "cli/shell.h"
#include "cli/stop_signals.h"

namespace dejavm::cli {
namespace {

// readline's completion calls plain functions; the candidates are those of the one shell of this process, set around each
// line.
const std::vector<std::string>* completion_candidates = nullptr;

char* next_candidate(const char* prefix, int state) {
  static size_t index;
  if (state == 0) index = 0;
  while (completion_candidates != nullptr && index < completion_candidates->size()) {
    const std::string& candidate = (*completion_candidates)[index++];
    if (candidate.starts_with(prefix)) return ::strdup(candidate.c_str());
  }
  return nullptr;
}

char** complete(const char* prefix, int, int) {
  rl_attempted_completion_over = 1;  // no file names
  return rl_completion_matches(prefix, next_candidate);
}

std::string history_path() {
  const char* state = std::getenv("XDG_STATE_HOME");
  const char* home = std::getenv("HOME");
  if (state != nullptr && *state != '\0') return std::string(state) + "/dejavm_history";
  return home != nullptr ? std::string(home) + "/.dejavm_history" : std::string();
}

/// Asks readline for a key: Ctrl-C arrives on `cancel`, not as a signal, and ends the line, which `cancelled` tells.
struct KeySource {
  int cancel = -1;
  bool cancelled = false;
};
KeySource keys;  // readline calls a plain function here, too

int next_key(FILE* stream) {
  for (;;) {
    pollfd polled[] = {{::fileno(stream), POLLIN, 0}, {keys.cancel, POLLIN, 0}};
    if (::poll(polled, 2, -1) < 0) {
      rl_check_signals();  // a window of another size
      continue;
    }
    if (polled[1].revents == 0) return rl_getc(stream);
    uint64_t count = 0;
    static_cast<void>(!::read(keys.cancel, &count, sizeof count));
    keys.cancelled = true;
    rl_echo_signal_char(SIGINT);
    return '\n';
  }
}

/// The lines of earlier shells, and a file for those of this one: opened now, for a replay enters the sandbox.
Fd open_history() {
  constexpr int kLines = 1000;
  std::string path = history_path();
  if (path.empty()) return {};
  ::history_truncate_file(path.c_str(), kLines);
  ::read_history(path.c_str());
  auto file = open_file(path, O_WRONLY | O_APPEND | O_CREAT, 0600);
  return file ? std::move(*file) : Fd();
}

void remember(const std::string& line, const Fd& history) {
  ::add_history(line.c_str());
  std::string text = line + "\n";
  if (history) static_cast<void>(write_all(history.get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, ""));
}

void interactive(Shell& shell, const Fd& cancel) {
  Fd history = open_history();
  rl_attempted_completion_function = complete;
  rl_basic_word_break_characters = " \t\n";
  keys.cancel = cancel.get();
  rl_getc_function = next_key;
  fmt::print("dejavm shell. `help` lists the commands, Tab completes, Ctrl-C stops a command, `quit` ends.\n");
  while (!shell.wants_to_quit()) {
    std::vector<std::string> candidates = shell.candidates();
    completion_candidates = &candidates;
    std::unique_ptr<char, decltype(&std::free)> line(::readline("(dejavm) "), std::free);
    completion_candidates = nullptr;
    if (line == nullptr) break;
    if (std::exchange(keys.cancelled, false) || *line == '\0') continue;
    remember(line.get(), history);
    fmt::print("{}", shell.execute(line.get()));
    std::fflush(stdout);
  }
}

/// Reads commands that nobody types: each is shown, then what it says. `script`: one that is interrupted ends it.
void scripted(Shell& shell, std::istream& input, bool script) {
  for (std::string line; !shell.wants_to_quit() && std::getline(input, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    fmt::print("(dejavm) {}\n", line);
    std::fflush(stdout);
    fmt::print("{}", shell.execute(line));
    std::fflush(stdout);
    if (script && shell.interrupted()) break;
  }
}

}  // namespace

Result<int> shell_command(const Words& words) {
  std::string file, script;
  vm::RegisterMaps registers = registers::shipped();
  bool help = false;
  std::vector<Option> options = {{"x", "SCRIPT", "reads commands from a file and ends", set_text(script)},
                                 svd_option(registers),
                                 {"help", "", "this text", set_flag(help)}};
  TRY(parse_options(words, options, one_trace(file)));
  if (help) {
    fmt::print(
        "Usage: dejavm shell [FILE] [-x SCRIPT]\nBrowses a trace and drives its replay.\n\n{}\n{}\nExample:\n  dejavm shell "
        "bios.dvt\n",
        help_text(options), Shell::help());
    return kDone;
  }
  Shell shell(std::move(registers));
  Fd cancel(::eventfd(0, EFD_CLOEXEC));
  if (!cancel) return fail_errno("cannot watch for Ctrl-C");
  TRY_ASSIGN(auto signals, StopSignals::create({SIGINT}));
  signals->on_signal([&shell, &cancel] {
    uint64_t one = 1;
    if (!shell.interrupt()) static_cast<void>(!::write(cancel.get(), &one, sizeof one));
  });
  if (!file.empty()) {
    std::string text = shell.open_trace(file);
    if (shell.failed()) {
      fmt::print(stderr, "dejavm: {}", text);
      return shell.exit_status();
    }
    fmt::print("{}", text);
  }
  if (!script.empty()) {
    std::ifstream input(script);
    if (!input) return fail_errno(fmt::format("cannot open {}", script));
    scripted(shell, input, true);
    return shell.interrupted() ? kFailed : shell.exit_status();
  }
  if (::isatty(STDIN_FILENO) == 0) {
    scripted(shell, std::cin, false);
    return shell.exit_status();
  }
  interactive(shell, cancel);
  return kDone;
}

}  // namespace dejavm::cli
