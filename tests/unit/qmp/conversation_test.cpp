// QMP as a client sees it; QEMU's documents have the expected answers.
#include "qmp/conversation.h"

#include <gmock/gmock.h>

#include "fake_guest.h"

namespace dejavm::qmp {
namespace {

using Json = nlohmann::json;
using Standing = Attendant::Standing;
using Wish = Attendant::Wish;

class QmpTest : public testing::Test {
 protected:
  QmpTest() {
    greeting_ = lines().front();
    ask(R"({"execute": "qmp_capabilities"})");
  }
  std::vector<Json> lines(Conversation& conversation) {
    std::vector<Json> all;
    std::string text = conversation.take_output();
    for (size_t end; (end = text.find("\r\n")) != std::string::npos; text.erase(0, end + 2))
      all.push_back(Json::parse(text.substr(0, end)));
    EXPECT_EQ(text, "");
    return all;
  }
  std::vector<Json> lines() { return lines(conversation_); }
  std::vector<Json> say(std::string_view text, Standing standing = Standing::stands) {
    wish_ = conversation_.receive({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, standing);
    return lines();
  }
  Json ask(std::string_view text, Standing standing = Standing::stands) {
    auto all = say(text, standing);
    return all.empty() ? Json() : all.back();
  }
  std::string error(std::string_view text) {
    Json reply = ask(text);
    return reply.contains("error") ? reply["error"]["desc"].get<std::string>() : "";
  }

  FakeGuest guest_;
  RunState state_;
  Conversation conversation_{guest_, state_};
  Json greeting_;
  Wish wish_ = Wish::none;
};

TEST_F(QmpTest, GreetsAndNegotiatesFirst) {
  EXPECT_EQ(greeting_["QMP"]["version"]["qemu"]["major"], 7);
  EXPECT_EQ(greeting_["QMP"]["capabilities"], Json::array());

  Conversation fresh(guest_, state_);
  std::string_view early = R"({"execute": "query-status", "id": 7})";
  fresh.receive({reinterpret_cast<const uint8_t*>(early.data()), early.size()}, Standing::stands);
  fresh.note_gone();
  auto all = lines(fresh);
  ASSERT_EQ(all.size(), 2u) << "no event before the negotiation";
  EXPECT_EQ(all[1]["error"]["class"], "CommandNotFound");
  EXPECT_EQ(all[1]["id"], 7);
  EXPECT_EQ(ask(R"({"execute": "qmp_capabilities"})")["error"]["class"], "CommandNotFound");
}

TEST_F(QmpTest, StatusFollowsTheGuest) {
  EXPECT_EQ(ask(R"({"execute": "query-status"})")["return"],
            Json({{"running", false}, {"singlestep", false}, {"status", "prelaunch"}}));

  auto replies = say(R"({"execute": "cont"}{"execute": "query-status"})");
  ASSERT_EQ(replies.size(), 3u);
  EXPECT_EQ(replies[0]["event"], "RESUME");
  EXPECT_TRUE(replies[0]["timestamp"]["seconds"].is_number());
  EXPECT_EQ(replies[1]["return"], Json::object());
  EXPECT_EQ(replies[2]["return"]["status"], "running");
  EXPECT_EQ(wish_, Wish::run);

  replies = say(R"({"execute": "stop"})", Standing::runs);
  ASSERT_EQ(replies.size(), 2u);
  EXPECT_EQ(replies[0]["event"], "STOP");
  EXPECT_EQ(wish_, Wish::stop);
  EXPECT_EQ(say(R"({"execute": "stop"})").size(), 1u) << "no event where nothing changed";
  EXPECT_EQ(ask(R"({"execute": "query-status"})")["return"]["status"], "paused");
  state_.why = Attendant::Why::failed;
  EXPECT_EQ(ask(R"({"execute": "query-status"})")["return"]["status"], "internal-error");
}

TEST_F(QmpTest, ADebuggerHoldsTheGuest) {
  EXPECT_EQ(ask(R"({"execute": "cont"})", Standing::held)["error"]["desc"], "a debugger holds the guest");
  EXPECT_EQ(wish_, Wish::none);
  EXPECT_EQ(ask(R"({"execute": "replay-seek", "arguments": {"icount": 1}})", Standing::held)["error"]["class"],
            "GenericError");
}

TEST_F(QmpTest, Replay) {
  EXPECT_EQ(ask(R"({"execute": "query-replay"})")["return"], Json({{"mode", "play"}, {"filename", "a.dvt"}, {"icount", 5}}));
  EXPECT_EQ(ask(R"({"execute": "replay-seek", "arguments": {"icount": 12}})")["return"], Json::object());
  EXPECT_EQ(guest_.at, 12u);
  EXPECT_EQ(wish_, Wish::stop);
  EXPECT_EQ(error(R"({"execute": "replay-seek", "arguments": {"icount": 2000}})"), "the recording ends at instruction 1000");
  ask(R"({"execute": "replay-break", "arguments": {"icount": 99}})");
  ask(R"({"execute": "replay-delete-break"})");
  EXPECT_THAT(guest_.breaks, testing::ElementsAre(std::optional<uint64_t>(99), std::nullopt));
  guest_.is = Guest::Mode::none;
  guest_.at.reset();
  EXPECT_EQ(ask(R"({"execute": "query-replay"})")["return"], Json({{"mode", "none"}, {"icount", 0}}));
}

TEST_F(QmpTest, HumansCommandsEndTheirLinesAsQemus) {
  EXPECT_EQ(ask(R"({"execute": "human-monitor-command", "arguments": {"command-line": "info mem"}})")["return"],
            "a\r\nb\r\n");
  EXPECT_THAT(guest_.lines, testing::ElementsAre("info mem"));
}

TEST_F(QmpTest, ListsWhatItKnowsAndQuits) {
  Json commands = ask(R"({"execute": "query-commands"})")["return"];
  for (const Json& command : commands) {
    Json reply = ask(Json({{"execute", command["name"]}, {"arguments", {{"frob", 1}}}}).dump());
    EXPECT_TRUE(reply.contains("error")) << command;
  }
  EXPECT_EQ(commands.size(), 12u);
  EXPECT_EQ(ask(R"({"execute": "quit", "id": {"a": [1]}})"), Json::parse(R"({"return": {}, "id": {"a": [1]}})"));
  EXPECT_EQ(wish_, Wish::quit);
}

TEST_F(QmpTest, MistakesAreNamed) {
  EXPECT_EQ(error("{]}"), "JSON parse error");
  EXPECT_EQ(error("hello\n"), "JSON parse error");
  EXPECT_EQ(error("12\n"), "QMP input must be a JSON object");
  EXPECT_EQ(error("{}"), "QMP input lacks member 'execute'");
  EXPECT_EQ(error(R"({"execute": 1})"), "QMP input member 'execute' must be a string");
  EXPECT_EQ(error(R"({"execute": "stop", "arguments": []})"), "QMP input member 'arguments' must be an object");
  EXPECT_EQ(error(R"({"exec": "stop"})"), "QMP input member 'exec' is unexpected");
  EXPECT_EQ(error(R"({"execute": "frob"})"), "The command frob has not been found");
  EXPECT_EQ(error(R"({"execute": "replay-break"})"), "Parameter 'icount' is missing");
  EXPECT_EQ(error(R"({"execute": "replay-break", "arguments": {"icount": -1}})"),
            "Invalid parameter type for 'icount', expected: integer");
  EXPECT_EQ(error(R"({"execute": "stop", "arguments": {"now": true}})"), "Parameter 'now' is unexpected");
  EXPECT_EQ(error(R"({"execute": "human-monitor-command", "arguments": {"command-line": 1}})"),
            "Invalid parameter type for 'command-line', expected: string");
  EXPECT_TRUE(guest_.breaks.empty());
}

}  // namespace
}  // namespace dejavm::qmp
