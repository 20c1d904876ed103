#include "qmp/monitor_conversation.h"

#include "base/parse.h"

namespace dejavm::qmp {
namespace {

using Wish = Attendant::Wish;

constexpr std::string_view kPrompt = "(dejavm) ";
constexpr std::string_view kHelp =
    "stop | cont | quit                                           stops the guest, lets it go, ends dejavm\n"
    "info status                                                  whether the guest runs\n";

}  // namespace

MonitorConversation::MonitorConversation(Guest& guest, RunState& state) : guest_(guest), state_(state) {
  say("dejavm monitor - type 'help' for more information\n");
  say(kPrompt);
}

void MonitorConversation::say(std::string_view text) { output_ += with_crlf(text); }

Wish MonitorConversation::receive(ByteSpan bytes, Attendant::Standing guest) {
  Wish wish = Wish::none;
  input_.append(bytes.begin(), bytes.end());
  size_t begin = 0;
  for (size_t end; wish != Wish::quit && (end = input_.find('\n', begin)) != std::string::npos; begin = end + 1) {
    std::string_view line(input_.data() + begin, end - begin);
    if (line.ends_with('\r')) line.remove_suffix(1);
    const Wish next = handle(line, guest);
    if (next != Wish::none) wish = next;
    if (wish != Wish::quit) say(kPrompt);
  }
  input_.erase(0, begin);
  broken_ = input_.size() > kLongestLine;
  if (broken_) say("error: the line is too long\n");
  return wish;
}

Wish MonitorConversation::handle(std::string_view line, Attendant::Standing guest) {
  const auto given = words(line);
  if (given.empty()) return Wish::none;
  const std::string_view verb = given[0];
  if (given.size() == 1 && (verb == "quit" || verb == "q")) return Wish::quit;
  if (given.size() == 1 && verb == "stop") {
    if (state_.running) state_.why = Attendant::Why::paused;
    note_running(false);
    return Wish::stop;
  }
  if (given.size() == 1 && (verb == "cont" || verb == "c")) {
    if (guest == Attendant::Standing::held) {
      say("error: a debugger holds the guest\n");
      return Wish::none;
    }
    note_running(true);
    return Wish::run;
  }
  if (given.size() == 2 && verb == "info" && given[1] == "status") {
    const std::string word = status_word(state_);
    say(word == "running" || word == "paused" ? "VM status: " + word + "\n" : "VM status: paused (" + word + ")\n");
    return Wish::none;
  }
  if (verb == "help") say(kHelp);
  say(guest_.monitor(line));
  return Wish::none;
}

}  // namespace dejavm::qmp
