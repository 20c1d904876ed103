#include "cli/output.h"

#include <fcntl.h>
#include <termios.h>
#include <unistd.h>

#include "cli/messages.h"

namespace dejavm::cli {

Result<std::unique_ptr<Output>> Output::open(const std::string& spec, const std::string& option, int stdio_fd) {
  auto output = std::make_unique<Output>();
  output->name_ = spec;
  if (spec == "stdio" || spec == "mon:stdio") {
    output->stdio_fd_ = stdio_fd;
  } else if (spec.starts_with("file:") && spec.size() > 5) {
    output->name_ = spec.substr(5);
    TRY_ASSIGN(output->file_, open_file(output->name_, O_WRONLY | O_CREAT | O_TRUNC));
  } else if (spec != "null" && spec != "none" && !spec.empty()) {
    return fail_usage(fmt::format("{} {} is not supported", option, spec), "Use stdio, null or file:PATH.");
  }
  return output;
}

std::function<void(uint8_t)> Output::sink() {
  return [this](uint8_t byte) { put(byte); };
}

void Output::put(uint8_t byte) {
  if (is_null() || failed_) return;
  auto status = write_all(is_stdio() ? stdio_fd_ : file_.get(), {&byte, 1}, name_);
  if (status) return;
  failed_ = true;
  say(status.error().what + "; the guest's output is dropped from here on");
}

struct TerminalMode::Saved {
  termios mode;
};

TerminalMode::TerminalMode(bool wanted) {
  termios mode{};
  if (!wanted || ::isatty(STDIN_FILENO) == 0 || ::tcgetattr(STDIN_FILENO, &mode) != 0) return;
  saved_ = std::make_unique<Saved>(Saved{mode});
  mode.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO);
  mode.c_iflag &= ~static_cast<tcflag_t>(ICRNL);
  ::tcsetattr(STDIN_FILENO, TCSANOW, &mode);
}

TerminalMode::~TerminalMode() {
  if (saved_) ::tcsetattr(STDIN_FILENO, TCSANOW, &saved_->mode);
}

}  // namespace dejavm::cli
