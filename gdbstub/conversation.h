// A debugger's bytes in, the stub's bytes out: framing and acknowledgements around a Session.
#pragma once

#include <string>

#include "base/bytes.h"
#include "gdbstub/packet.h"
#include "gdbstub/session.h"
#include "gdbstub/target.h"

namespace dejavm::gdb {

/// The stub for one debugger, without a socket. The owner feeds what it receives, calls advance() until it wants input, and
/// sends take_output() after each call. The target outlives it. One thread.
class Conversation {
 public:
  explicit Conversation(Target& target) : session_(target) {}

  struct Next {
    enum class Kind : uint8_t {
      input,     ///< everything received is handled
      output,    ///< something was handled; there may be more
      resume,    ///< resume the target as `resume` says and tell how it ended with stopped()
      detached,  ///< the debugger let go
      killed,    ///< the debugger ends the guest
    } kind = Kind::input;
    ResumeRequest resume{};
  };

  void receive(ByteSpan bytes) { input_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size()); }

  /// Handles one packet (or several acknowledgements) of what was received.
  Next advance();

  /// Whether something else than acknowledgements was received and is not handled yet.
  bool has_more_requests() const { return input_.find_first_not_of('+', consumed_) != std::string::npos; }

  /// How the resume that advance() asked for ended.
  void stopped(const Result<Stop>& stop);

  std::string take_output() { return std::exchange(output_, {}); }
  /// The same, where the room of `into`, whose contents go, is of use again.
  void take_output(std::string& into) {
    into.clear();
    into.swap(output_);
  }

 private:
  Next handle_packet();
  void refuse(std::string_view why);
  void send(std::string_view payload);

  Session session_;
  Framer framer_;
  std::string input_;
  size_t consumed_ = 0;  ///< of input_
  std::string output_;
  std::string last_sent_;
  bool ack_mode_ = true;
};

}  // namespace dejavm::gdb
