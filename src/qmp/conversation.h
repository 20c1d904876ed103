// One client's QMP: bytes in, bytes out (QEMU, docs/interop/qmp-spec.rst; commands and events of qapi/*.json).
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "qmp/guest.h"
#include "qmp/json_framer.h"
#include "qmp/management.h"

namespace dejavm::qmp {

/// QEMU's schema of this version is followed where a command exists here.
inline constexpr int kSchemaMajor = 7, kSchemaMinor = 2;

/// Borrows both.
class Conversation final : public Dialogue {
 public:
  /// The greeting is the first output.
  Conversation(Guest& guest, RunState& state);

  Attendant::Wish receive(ByteSpan bytes, Attendant::Standing guest) override;
  std::string take_output() override { return std::exchange(output_, {}); }
  bool broken() const override { return framer_.broken(); }
  /// STOP or RESUME, where that is news.
  void note_running(bool running) override;
  /// SHUTDOWN.
  void note_gone() override;

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

  /// Tells the client, once it has negotiated.
  void event(const char* name, const Json& data = nullptr);
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
