// dejavm gdb: a replay and a gdb that is connected to it, in one command.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

#include "base/fd.h"
#include "base/temporary.h"
#include "cli/command_line.h"
#include "cli/commands.h"
#include "cli/gdb_extension.h"
#include "cli/messages.h"

namespace dejavm::cli {
namespace {

constexpr const char* kListening = "gdb: listening on ";

struct GdbCommand {
  std::string file, accel = "soft", symbols, program = "gdb";
  Words maps, gdb_words;
  bool help = false;
};

std::vector<Option> option_list(GdbCommand& c) {
  return {
      {"symbols", "ELF", "the guest's program with its symbols, such as vmlinux", set_text(c.symbols)},
      {"accel", "soft|kvm|auto", "the engine (default soft, which goes backward)", set_text(c.accel)},
      {"svd", "FILE@DEVICE", "names of a device's registers, CMSIS-SVD XML",
       [&c](std::string_view value) -> Status {
         c.maps.insert(c.maps.end(), {"--svd", std::string(value)});
         return {};
       }},
      {"debugger", "PROGRAM", "another gdb than the one in PATH", set_text(c.program)},
      {"help", "", "this text", set_flag(c.help)},
  };
}

/// A child process; ended by force when it still runs at the end.
class Child {
 public:
  /// `prepare` runs in the child before the program does.
  template <typename Prepare>
  static Result<Child> start(const char* program, const Words& words, Prepare prepare) {
    std::vector<char*> arguments;
    for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    std::fflush(nullptr);
    pid_t pid = ::fork();
    if (pid < 0) return fail_errno("cannot start a process");
    if (pid > 0) return Child(pid);
    prepare();
    ::execvp(program, arguments.data());
    std::perror(program);
    ::_exit(127);
  }
  Child(Child&& other) noexcept : pid_(std::exchange(other.pid_, -1)) {}
  Child& operator=(Child&&) = delete;
  ~Child() {
    if (pid_ < 0) return;
    ::kill(pid_, SIGKILL);
    wait();
  }
  bool running() {
    int status = 0;
    if (pid_ < 0 || ::waitpid(pid_, &status, WNOHANG) != pid_) return pid_ >= 0;
    note(status);
    return false;
  }
  /// The exit status, 128 + N when signal N ended it.
  int wait() {
    int status = 0;
    while (pid_ >= 0) {
      if (::waitpid(pid_, &status, 0) == pid_) note(status);
    }
    return status_;
  }
  int status() const { return status_; }

 private:
  explicit Child(pid_t pid) : pid_(pid) {}
  void note(int status) {
    pid_ = -1;
    status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  }
  pid_t pid_;
  int status_ = 0;
};

std::string text_of(const Fd& file) {
  std::string text(65536, '\0');
  ssize_t got = ::pread(file.get(), text.data(), text.size(), 0);
  text.resize(got > 0 ? static_cast<size_t>(got) : 0);
  return text;
}

/// The replay, which says what it has to say into `messages`, and hears nothing of the terminal's Ctrl-C.
Result<Child> start_replay(const GdbCommand& c, const std::string& socket, const Fd& messages) {
  Words words = {"dejavm", "replay", c.file, "-accel", c.accel, "-S", "-gdb", "unix:" + socket};
  words.insert(words.end(), c.maps.begin(), c.maps.end());
  TRY_ASSIGN(Child replay, Child::start("/proc/self/exe", words, [&messages] {
               ::prctl(PR_SET_PDEATHSIG, SIGKILL);
               ::setpgid(0, 0);
               ::dup2(::open("/dev/null", O_RDWR | O_CLOEXEC), STDIN_FILENO);
               ::dup2(messages.get(), STDOUT_FILENO);
               ::dup2(messages.get(), STDERR_FILENO);
             }));
  while (replay.running() && text_of(messages).find(kListening) == std::string::npos) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return replay;
}

Words gdb_words(const GdbCommand& c, const std::string& extension, const std::string& socket) {
  Words words = {c.program, "-q", "-ex", "set confirm off"};
  for (const std::string& command : {"source " + extension, "target remote " + socket}) {
    words.insert(words.end(), {"-ex", command});
  }
  if (!c.symbols.empty()) words.insert(words.begin() + 2, c.symbols);
  words.insert(words.end(), c.gdb_words.begin(), c.gdb_words.end());
  return words;
}

Result<int> debug(const GdbCommand& c) {
  if (!c.symbols.empty() && ::access(c.symbols.c_str(), R_OK) != 0) return fail_errno("cannot read " + c.symbols);
  TRY_ASSIGN(TemporaryDirectory directory, TemporaryDirectory::create("dejavm-gdb"));
  const std::string extension = directory.file("dejavm.py"), socket = directory.file("socket");
  {
    TRY_ASSIGN(Fd file, open_file(extension, O_WRONLY | O_CREAT | O_EXCL, 0600));
    std::string_view text = kGdbExtension;
    TRY(write_all(file.get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, extension));
  }
  Fd messages(::memfd_create("dejavm-messages", MFD_CLOEXEC));
  if (!messages || ::fcntl(messages.get(), F_SETFL, O_APPEND) != 0) return fail_errno("cannot keep the replay's messages");
  TRY_ASSIGN(Child replay, start_replay(c, socket, messages));
  if (!replay.running()) {
    fmt::print(stderr, "{}", text_of(messages));
    return replay.status() != 0 ? replay.status() : kFailed;
  }
  // GDB does with Ctrl-C what it does.
  std::signal(SIGINT, SIG_IGN);
  TRY_ASSIGN(Child gdb,
             Child::start(c.program.c_str(), gdb_words(c, extension, socket), [] { std::signal(SIGINT, SIG_DFL); }));
  int status = gdb.wait();
  if (status == 127) return fail(fmt::format("cannot run {}", c.program), "apt-get install gdb, or --debugger PROGRAM.");
  // Where gdb left the replay is of no more use; that it ended with a divergence is.
  if (!replay.running() && replay.status() == kDiverged) {
    fmt::print(stderr, "{}", text_of(messages));
    return kDiverged;
  }
  return status == 0 ? kDone : kFailed;
}

}  // namespace

Result<int> gdb_command(const Words& words) {
  GdbCommand c;
  auto dashes = std::ranges::find(words, "--");
  TRY(parse_options(Words(words.begin(), dashes), option_list(c), one_trace(c.file)));
  if (dashes != words.end()) c.gdb_words.assign(dashes + 1, words.end());
  if (c.help) {
    fmt::print(
        "Usage: dejavm gdb FILE [options] [-- GDB ARGS]\nReplays a recording with gdb attached, ready to go backward. In "
        "gdb, seek, "
        "when, mmio,\nwho-wrote and the other words of `monitor help` are commands of their own.\n\n{}\n"
        "Example:\n  dejavm gdb guest.dvt --symbols guest.elf\n  dejavm gdb linux.dvt --symbols vmlinux -- -ex 'seek end'\n",
        help_text(option_list(c)));
    return kDone;
  }
  if (c.file.empty()) return fail_usage("gdb wants a trace", "For example: dejavm gdb guest.dvt --symbols guest.elf");
  return debug(c);
}

}  // namespace dejavm::cli
