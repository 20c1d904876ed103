#include "qmp/conversation.h"

#include <algorithm>
#include <chrono>
#include <cstring>

namespace dejavm::qmp {
namespace {

using Json = nlohmann::json;
using Wish = Attendant::Wish;

constexpr const char* kGeneric = "GenericError";
constexpr const char* kNotFound = "CommandNotFound";

Json version_json() {
  return {{"qemu", {{"major", kSchemaMajor}, {"minor", kSchemaMinor}, {"micro", 0}}}, {"package", "dejavm"}};
}

std::optional<uint64_t> count_in(const Json& arguments, const char* name) {
  const Json& value = arguments[name];
  if (value.is_number_unsigned()) return value.get<uint64_t>();
  return std::nullopt;
}

}  // namespace

Conversation::Conversation(Guest& guest, RunState& state) : guest_(guest), state_(state) {
  send({{"QMP", {{"version", version_json()}, {"capabilities", Json::array()}}}});
}

const std::vector<Conversation::Command>& Conversation::commands() {
  static const std::vector<Command> kCommands = {
      {"qmp_capabilities", {}, {"enable"}, &Conversation::capabilities},
      {"query-commands", {}, {}, &Conversation::list_commands},
      {"query-version", {}, {}, &Conversation::version},
      {"query-status", {}, {}, &Conversation::status},
      {"query-replay", {}, {}, &Conversation::replay},
      {"replay-break", {"icount"}, {}, &Conversation::replay_break},
      {"replay-delete-break", {}, {}, &Conversation::replay_delete_break},
      {"replay-seek", {"icount"}, {}, &Conversation::replay_seek},
      {"stop", {}, {}, &Conversation::stop},
      {"cont", {}, {}, &Conversation::go_on},
      {"quit", {}, {}, &Conversation::quit},
      {"human-monitor-command", {"command-line"}, {"cpu-index"}, &Conversation::monitor},
  };
  return kCommands;
}

// ---- The stream

void Conversation::send(const Json& document) {
  output_ += document.dump(-1, ' ', false, Json::error_handler_t::replace) + "\r\n";
}

Wish Conversation::receive(ByteSpan bytes, Attendant::Standing guest) {
  now_ = guest;
  wish_ = Wish::none;
  framer_.append(bytes);
  while (auto text = framer_.next()) handle(*text);
  if (framer_.broken()) send({{"error", {{"class", kGeneric}, {"desc", "JSON parse error, it is too long or too deep"}}}});
  return wish_;
}

void Conversation::handle(const std::string& text) {
  Json request = Json::parse(text, nullptr, false);
  Json reply;
  Answer answer;
  if (request.is_discarded()) {
    answer.refusal = Refusal{kGeneric, "JSON parse error"};
  } else if (!request.is_object()) {
    answer.refusal = Refusal{kGeneric, "QMP input must be a JSON object"};
  } else {
    if (request.contains("id")) reply["id"] = request["id"];
    answer = execute(request);
  }
  if (answer.refusal) {
    reply["error"] = {{"class", answer.refusal->error_class}, {"desc", answer.refusal->text}};
  } else {
    reply["return"] = std::move(answer.value);
  }
  send(reply);
}

Conversation::Answer Conversation::execute(const Json& request) {
  for (const auto& [name, value] : request.items()) {
    if (name != "execute" && name != "arguments" && name != "id")
      return {{}, Refusal{kGeneric, fmt::format("QMP input member '{}' is unexpected", name)}};
  }
  if (!request.contains("execute")) return {{}, Refusal{kGeneric, "QMP input lacks member 'execute'"}};
  if (!request["execute"].is_string()) return {{}, Refusal{kGeneric, "QMP input member 'execute' must be a string"}};
  const auto name = request["execute"].get<std::string>();
  auto command = std::ranges::find_if(commands(), [&](const Command& one) { return name == one.name; });
  bool negotiates = name == "qmp_capabilities";
  if (!negotiated_ && !negotiates)
    return {{}, Refusal{kNotFound, "Expecting capabilities negotiation with 'qmp_capabilities'"}};
  if (negotiated_ && negotiates)
    return {{}, Refusal{kNotFound, "Capabilities negotiation is already complete, command ignored"}};
  if (command == commands().end()) return {{}, Refusal{kNotFound, fmt::format("The command {} has not been found", name)}};
  const Json arguments = request.value("arguments", Json::object());
  if (!arguments.is_object()) return {{}, Refusal{kGeneric, "QMP input member 'arguments' must be an object"}};
  if (auto refusal = check_arguments(*command, arguments)) return {{}, refusal};
  return (this->*command->execute)(arguments);
}

std::optional<Conversation::Refusal> Conversation::check_arguments(const Command& command, const Json& arguments) {
  for (const char* name : command.required) {
    if (!arguments.contains(name)) return Refusal{kGeneric, fmt::format("Parameter '{}' is missing", name)};
  }
  for (const auto& argument : arguments.items()) {
    const std::string& name = argument.key();
    const Json& value = argument.value();
    auto is_it = [&name](const char* known) { return name == known; };
    if (std::ranges::none_of(command.required, is_it) && std::ranges::none_of(command.optional, is_it))
      return Refusal{kGeneric, fmt::format("Parameter '{}' is unexpected", name)};
    if (name == "icount" && !count_in(arguments, "icount"))
      return Refusal{kGeneric, "Invalid parameter type for 'icount', expected: integer"};
    if (name == "command-line" && !value.is_string())
      return Refusal{kGeneric, "Invalid parameter type for 'command-line', expected: string"};
  }
  return std::nullopt;
}

// ---- Events

void Conversation::event(const char* name, const Json& data) {
  if (!negotiated_) return;
  auto since = std::chrono::system_clock::now().time_since_epoch();
  auto us = std::chrono::duration_cast<std::chrono::microseconds>(since).count();
  Json document = {{"event", name}, {"timestamp", {{"seconds", us / 1'000'000}, {"microseconds", us % 1'000'000}}}};
  if (!data.is_null()) document["data"] = data;
  send(document);
}

void Conversation::note_running(bool running) {
  if (state_.running == running) return;
  state_.note(running);
  event(running ? "RESUME" : "STOP");
}

void Conversation::note_gone() { event("SHUTDOWN", {{"guest", true}, {"reason", "guest-shutdown"}}); }

// ---- Commands

Conversation::Answer Conversation::capabilities(const Json& arguments) {
  if (arguments.contains("enable") && !(arguments["enable"].is_array() && arguments["enable"].empty()))
    return {{}, Refusal{kGeneric, "there are no capabilities to enable"}};
  negotiated_ = true;
  return {};
}

Conversation::Answer Conversation::list_commands(const Json&) {
  Json list = Json::array();
  for (const Command& command : commands()) list.push_back({{"name", command.name}});
  return {list, {}};
}

Conversation::Answer Conversation::version(const Json&) { return {version_json(), {}}; }

Conversation::Answer Conversation::status(const Json&) {
  return {{{"running", state_.running}, {"singlestep", false}, {"status", status_word(state_)}}, {}};
}

Conversation::Answer Conversation::replay(const Json&) {
  static constexpr const char* kModes[] = {"none", "record", "play"};
  Json info = {{"mode", kModes[static_cast<unsigned>(guest_.mode())]}, {"icount", guest_.instructions().value_or(0)}};
  if (guest_.mode() != Guest::Mode::none) info["filename"] = guest_.file();
  return {info, {}};
}

Conversation::Answer Conversation::replay_break(const Json& arguments) {
  if (auto done = guest_.set_break(count_in(arguments, "icount")); !done) return {{}, Refusal{kGeneric, done.error().what}};
  return {};
}

Conversation::Answer Conversation::replay_delete_break(const Json&) {
  if (auto done = guest_.set_break(std::nullopt); !done) return {{}, Refusal{kGeneric, done.error().what}};
  return {};
}

Conversation::Answer Conversation::replay_seek(const Json& arguments) {
  if (now_ == Attendant::Standing::held) return {{}, Refusal{kGeneric, "a debugger holds the guest"}};
  auto done = guest_.seek(*count_in(arguments, "icount"));
  if (!done) return {{}, Refusal{kGeneric, done.error().what}};
  stop({});
  state_.started = true;
  state_.why = Attendant::Why::debug;
  return {};
}

Conversation::Answer Conversation::stop(const Json&) {
  if (state_.running) state_.why = Attendant::Why::paused;
  note_running(false);
  wish_ = Wish::stop;
  return {};
}

Conversation::Answer Conversation::go_on(const Json&) {
  if (now_ == Attendant::Standing::held) return {{}, Refusal{kGeneric, "a debugger holds the guest"}};
  note_running(true);
  wish_ = Wish::run;
  return {};
}

Conversation::Answer Conversation::quit(const Json&) {
  wish_ = Wish::quit;
  return {};
}

Conversation::Answer Conversation::monitor(const Json& arguments) {
  return {with_crlf(guest_.monitor(arguments["command-line"].get<std::string>())), {}};
}

}  // namespace dejavm::qmp
