// One client of the human monitor: lines in, text out (QEMU, docs/system/monitor.rst).
#pragma once

#include <utility>

#include "qmp/guest.h"
#include "qmp/management.h"

namespace dejavm::qmp {

/// `stop`, `cont`, `quit` and `info status` are its own; all other words are Guest::monitor()'s. Borrows both.
class MonitorConversation final : public Dialogue {
 public:
  static constexpr size_t kLongestLine = size_t{64} << 10;

  /// The greeting and a prompt are the first output.
  MonitorConversation(Guest& guest, RunState& state);

  Attendant::Wish receive(ByteSpan bytes, Attendant::Standing guest) override;
  std::string take_output() override { return std::exchange(output_, {}); }
  bool broken() const override { return broken_; }
  void note_running(bool running) override { state_.note(running); }
  void note_gone() override {}

 private:
  Attendant::Wish handle(std::string_view line, Attendant::Standing guest);
  void say(std::string_view text);

  Guest& guest_;
  RunState& state_;
  std::string input_, output_;
  bool broken_ = false;
};

}  // namespace dejavm::qmp
