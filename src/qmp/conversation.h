// One client's QMP: bytes in, bytes out (QEMU, docs/interop/qmp-spec.rst; commands and events of qapi/*.json).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/attendant.h"
#include "qmp/guest.h"
#include "qmp/json_framer.h"

namespace dejavm::qmp {

/// QEMU's schema of this version is followed where a command exists here.
inline constexpr int kSchemaMajor = 7, kSchemaMinor = 2;

/// Whether the guest runs, and why not: for all clients one after the other.
struct RunState {
  bool running = false;
  bool started = false;  ///< it ran before
  Attendant::Why why = Attendant::Why::paused;
};

/// Borrows both. One thread.
class Conversation {
 public:
  /// The greeting is the first output.
  Conversation(Guest& guest, RunState& state);

  /// Executes what came whole; what the commands together wish.
  Attendant::Wish receive(ByteSpan bytes, Attendant::Standing guest);
  std::string take_output() { return std::exchange(output_, {}); }
  /// The client breaks the rules of the stream: say no more.
  bool broken() const { return framer_.broken(); }

  /// Tells the client, once it has negotiated.
  void event(const char* name, const nlohmann::json& data = nullptr);
  /// STOP or RESUME, where that is news.
  void note_running(bool running);

 private:
  using Json = nlohmann::json;
  struct Refusal {
    const char* error_class;
    std::string text;
  };
  struct Answer {
    Json value = Json::object();
    std::optional<Refusal> refusal;
  };
  struct Command {
    const char* name;
    std::vector<const char*> required, optional;
    Answer (Conversation::*execute)(const Json& arguments);
  };
  static const std::vector<Command>& commands();

  void handle(const std::string& text);
  Answer execute(const Json& request);
  static std::optional<Refusal> check_arguments(const Command& command, const Json& arguments);
  void send(const Json& document);

  Answer capabilities(const Json& arguments);
  Answer list_commands(const Json& arguments);
  Answer version(const Json& arguments);
  Answer status(const Json& arguments);
  Answer replay(const Json& arguments);
  Answer replay_break(const Json& arguments);
  Answer replay_delete_break(const Json& arguments);
  Answer replay_seek(const Json& arguments);
  Answer stop(const Json& arguments);
  Answer go_on(const Json& arguments);
  Answer quit(const Json& arguments);
  Answer monitor(const Json& arguments);

  Guest& guest_;
  RunState& state_;
  JsonFramer framer_;
  std::string output_;
  bool negotiated_ = false;
  Attendant::Standing now_ = Attendant::Standing::stands;
  Attendant::Wish wish_ = Attendant::Wish::none;
};

}  // namespace dejavm::qmp
