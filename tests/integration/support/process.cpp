#include "support/process.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <thread>

#include "base/check.h"

namespace dejavm::integration {
namespace {

constexpr std::chrono::milliseconds kPollEvery{5};

std::string contents(const Fd& file) {
  std::string text;
  char buffer[65536];
  for (ssize_t got = 0; (got = ::pread(file.get(), buffer, sizeof buffer, static_cast<off_t>(text.size()))) > 0;) {
    text.append(buffer, static_cast<size_t>(got));
  }
  return text;
}

Fd unnamed_file(const char* name) {
  // O_APPEND: children of the child share the file without overwriting each other.
  Fd file(::memfd_create(name, MFD_CLOEXEC));
  CHECK(file);
  CHECK(::fcntl(file.get(), F_SETFL, O_APPEND) == 0);
  return file;
}

}  // namespace

Process::Process(const Words& command) : out_(unnamed_file("out")), err_(unnamed_file("err")) {
  int ends[2];
  CHECK(::pipe2(ends, O_CLOEXEC) == 0);
  Fd reading(ends[0]);
  input_ = Fd(ends[1]);
  std::vector<char*> arguments;
  for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_ = ::fork();
  CHECK(pid_ >= 0);
  if (pid_ > 0) return;
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  ::dup2(reading.get(), STDIN_FILENO);
  ::dup2(out_.get(), STDOUT_FILENO);
  ::dup2(err_.get(), STDERR_FILENO);
  ::execvp(arguments[0], arguments.data());
  std::perror(arguments[0]);
  ::_exit(127);
}

Process::~Process() {
  if (ended_) return;
  ::kill(pid_, SIGKILL);
  reap(0);
}

bool Process::reap(int flags) {
  if (ended_) return true;
  int status = 0;
  if (::waitpid(pid_, &status, flags) != pid_) return false;
  ended_ = true;
  status_ = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  return true;
}

bool Process::running() { return !reap(WNOHANG); }

void Process::write_input(std::string_view text) {
  // A child that has ended already does not read; its test looks at the exit status.
  std::signal(SIGPIPE, SIG_IGN);
  static_cast<void>(
      write_all(input_.get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "the child's input"));
}

std::string Process::status_line(std::string_view name) const {
  std::ifstream status("/proc/" + std::to_string(pid_) + "/status");
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(name) && line.substr(name.size(), 2) == ":\t") return line.substr(name.size() + 2);
  }
  return {};
}

void Process::signal(int number) const {
  if (!ended_) ::kill(pid_, number);  // else its number may be another process's
}

bool Process::wait_for_text(std::string_view text, std::string_view behind, std::chrono::seconds limit) {
  auto has_both = [&](const std::string& output) {
    size_t at = output.find(behind);
    return at != std::string::npos && output.find(text, at + behind.size()) != std::string::npos;
  };
  auto deadline = std::chrono::steady_clock::now() + limit;
  for (;;) {
    bool alive = running();
    if (has_both(out()) || has_both(err())) return true;
    if (!alive || std::chrono::steady_clock::now() >= deadline) return false;
    std::this_thread::sleep_for(kPollEvery);
  }
}

Finished Process::wait(std::chrono::seconds limit) {
  close_input();
  auto deadline = std::chrono::steady_clock::now() + limit;
  bool late = false;
  while (!reap(WNOHANG)) {
    if (std::chrono::steady_clock::now() >= deadline) {
      late = true;
      ::kill(pid_, SIGKILL);
      reap(0);
      break;
    }
    std::this_thread::sleep_for(kPollEvery);
  }
  return {late ? kTimedOut : status_, out(), err()};
}

std::string Process::out() const { return contents(out_); }
std::string Process::err() const { return contents(err_); }

Finished run(const Words& command, std::string_view input, std::chrono::seconds limit) {
  Process process(command);
  if (!input.empty()) process.write_input(input);
  return process.wait(limit);
}

}  // namespace dejavm::integration
