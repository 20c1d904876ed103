// The one binary: picks a subcommand and turns its result into an exit status.
#include <cerrno>
#include <csignal>
#include <exception>
#include <system_error>

#include "cli/commands.h"
#include "cli/messages.h"

namespace dejavm::cli {

namespace {

struct Command {
  const char* name;
  const char* help;
  Result<int> (*run)(const Words&);
};

constexpr Command kCommands[] = {
    {"run", "run a guest", run_command},
    {"record", "run a guest and record it: record -o FILE [VM options]", record_command},
    {"replay", "replay a recording without its devices, with or without gdb", replay_command},
    {"gdb", "replay a recording with gdb attached, ready to go backward", gdb_command},
    {"info", "what a recording is", info_command},
    {"dump", "the events of a recording", dump_command},
    {"shell", "browse a recording and drive its replay", shell_command},
};

void print_usage(FILE* to) {
  fmt::print(to, "{}: records and replays virtual machines.\n\n", version());
  for (const Command& command : kCommands) fmt::print(to, "  dejavm {:<8} {}\n", command.name, command.help);
  fmt::print(to, "\n`dejavm COMMAND --help` says more.\n");
}

int dispatch(const Words& words) {
  if (words.empty()) {
    print_usage(stderr);
    return kUsage;
  }
  if (words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    print_usage(stdout);
    return kDone;
  }
  if (words[0] == "--version") {
    fmt::print("{}\n", version());
    return kDone;
  }
  for (const Command& command : kCommands) {
    if (words[0] != command.name) continue;
    auto status = command.run(Words(words.begin() + 1, words.end()));
    if (status) return *status;
    say_error(status.error());
    return exit_status(status.error());
  }
  say_error(
      Error{fmt::format("there is no command '{}'", words[0]), "`dejavm --help` lists the commands.", ErrorKind::usage});
  return kUsage;
}

}  // namespace
}  // namespace dejavm::cli

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // a vanished reader of our output is an error of write()
  std::signal(SIGXFSZ, SIG_IGN);  // so is a file that may not grow
  try {
    return dejavm::cli::dispatch(dejavm::cli::Words(argv + 1, argv + argc));
  } catch (const std::system_error& error) {
    if (error.code().value() == EPIPE) return dejavm::cli::kDone;  // whoever read our stdout has seen enough
    dejavm::cli::say_error(dejavm::Error{error.what(), {}, dejavm::ErrorKind::failed});
    return dejavm::cli::kFailed;
  } catch (const std::exception& error) {  // out of memory
    dejavm::cli::say_error(dejavm::Error{error.what(), {}, dejavm::ErrorKind::failed});
    return dejavm::cli::kFailed;
  }
}
