// QEMU's machine protocol on running guests and replays, alone and beside gdb.
#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>

#include "support/gdb.h"
#include "support/unix_socket.h"

namespace dejavm::integration {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

/// A management program: sends commands, keeps the events that come in between.
class QmpClient {
 public:
  explicit QmpClient(const std::string& path) : fd_(connect_to(path)) {
    EXPECT_TRUE(line().contains("QMP"));
    EXPECT_EQ(ask("qmp_capabilities"), Json::object());
  }

  /// What the command returns, or its error.
  Json ask(const std::string& command, const Json& arguments = Json::object()) {
    std::string text = Json({{"execute", command}, {"arguments", arguments}}).dump();
    EXPECT_TRUE(write_all(fd_.get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "QMP"));
    for (;;) {
      Json reply = line();
      if (reply.contains("return")) return reply["return"];
      if (!reply.contains("event")) return reply;
      events.push_back(reply["event"]);
    }
  }
  std::string human(const std::string& command) {
    Json text = ask("human-monitor-command", {{"command-line", command}});
    return text.is_string() ? text.get<std::string>() : text.dump();
  }
  std::string status() { return ask("query-status").value("status", "none"); }
  /// Reads until this event comes; false when the connection ends first.
  bool wait_for(const std::string& event) {
    while (std::ranges::count(events, event) == 0) {
      Json next = line();
      if (next.is_null()) return false;
      if (next.contains("event")) events.push_back(next["event"]);
    }
    return true;
  }

  Words events;

 private:
  Json line() {
    size_t end;
    while ((end = text_.find('\n')) == std::string::npos) {
      char bytes[4096];
      ssize_t count = ::read(fd_.get(), bytes, sizeof bytes);
      if (count <= 0) return nullptr;
      text_.append(bytes, static_cast<size_t>(count));
    }
    Json document = Json::parse(text_.substr(0, end), nullptr, false);
    text_.erase(0, end + 1);
    return document;
  }

  Fd fd_;
  std::string text_;
};

class QmpTest : public GdbTest {
 protected:
  std::string qmp_path() const { return path("qmp.sock"); }
  Words qmp_option() const { return {"-qmp", "unix:" + qmp_path() + ",server=on,wait=off"}; }
  std::unique_ptr<Process> start(const Words& arguments) {
    auto process = std::make_unique<Process>(dejavm(arguments) + qmp_option());
    EXPECT_TRUE(process->wait_for_text("qmp: listening on unix:")) << process->err();
    return process;
  }
  std::string record_edu() {
    std::string trace = path("edu.dvt");
    Finished recorded = run(dejavm(Words{"record", "-o", trace} + guest_options("buggy_dma")));
    EXPECT_EQ(recorded.status, kDone) << recorded.err;
    return trace;
  }
};

TEST_F(QmpTest, ARunningGuestStopsGoesOnAndEnds) {
  auto process = start(Words{"run", "-S"} + guest_options("uart_echo"));
  QmpClient qmp(qmp_path());
  EXPECT_EQ(qmp.status(), "prelaunch");
  EXPECT_EQ(qmp.ask("query-replay")["mode"], "none");
  qmp.ask("cont");
  EXPECT_EQ(qmp.status(), "running");
  ASSERT_TRUE(process->wait_for_text("> ")) << process->err();
  qmp.ask("stop");
  EXPECT_EQ(qmp.status(), "paused");
  EXPECT_THAT(qmp.human("info registers"), HasSubstr("RIP="));
  EXPECT_THAT(qmp.events, testing::ElementsAre("RESUME", "STOP"));
  qmp.ask("cont");
  process->write_input("quit\n");
  EXPECT_TRUE(qmp.wait_for("SHUTDOWN"));

  EXPECT_THAT(process->wait().out, HasSubstr("> QUIT\n"));
}

TEST_F(QmpTest, QuitEndsARecordingThatIsSealed) {
  std::string trace = path("spin.dvt");
  auto process = start(Words{"record", "-o", trace} + guest_options("spin"));
  QmpClient qmp(qmp_path());
  EXPECT_EQ(qmp.ask("query-replay")["mode"], "record");
  EXPECT_EQ(qmp.ask("query-replay")["filename"], trace);
  EXPECT_EQ(qmp.status(), "running");
  qmp.ask("quit");
  Finished end = process->wait();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr("ended by `quit`"));
  EXPECT_EQ(run(dejavm({"replay", trace})).status, kDone);
}

TEST_F(QmpTest, AReplayIsStoppedLookedAtAndRunToItsEnd) {
  auto process = start({"replay", record_edu(), "-S"});
  QmpClient qmp(qmp_path());
  EXPECT_EQ(qmp.ask("query-replay")["mode"], "play");
  EXPECT_THAT(qmp.human("mmio break edu+0x90 w value 0x50"), HasSubstr("mmio breakpoint 1"));
  qmp.ask("cont");
  ASSERT_TRUE(qmp.wait_for("STOP"));
  EXPECT_EQ(qmp.status(), "debug");
  EXPECT_THAT(qmp.human("mmio last"), HasSubstr("edu+0x90 <- 0x50"));
  qmp.events.clear();
  qmp.ask("cont");
  ASSERT_TRUE(qmp.wait_for("STOP")) << "the end of the recording waits for who is connected";
  EXPECT_EQ(qmp.status(), "paused");
  qmp.ask("quit");
  Finished end = process->wait();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr(", 0 divergences"));
}

TEST_F(QmpTest, AClientThatLeavesLetsTheReplayEnd) {
  auto process = start({"replay", record_edu(), "-S"});
  { QmpClient(qmp_path()).ask("cont"); }
  Finished end = process->wait();

  EXPECT_EQ(end.status, kDone) << end.err;
}

TEST_F(QmpTest, SoftReplaysTravel) {
  if (accel() != "soft") GTEST_SKIP() << "positions in instructions are soft's";
  auto process = start({"replay", record_edu(), "-S"});
  QmpClient qmp(qmp_path());
  EXPECT_EQ(qmp.ask("replay-seek", {{"icount", 20000}}), Json::object());
  EXPECT_EQ(qmp.ask("query-replay")["icount"], 20000);
  EXPECT_EQ(qmp.ask("replay-seek", {{"icount", 1000}}), Json::object());
  EXPECT_EQ(qmp.ask("replay-break", {{"icount", 5000}}), Json::object());
  qmp.ask("cont");
  ASSERT_TRUE(qmp.wait_for("STOP"));
  EXPECT_EQ(qmp.ask("query-replay")["icount"], 5000);
  EXPECT_EQ(qmp.ask("replay-break", {{"icount", 5000}})["error"]["desc"], "instruction 5000 is not ahead of here");
  EXPECT_THAT(qmp.ask("replay-seek", {{"icount", 1000000000000}})["error"]["desc"].get<std::string>(),
              HasSubstr("the recording ends at instruction"));
  EXPECT_THAT(qmp.human("info replay"), HasSubstr("Replaying execution: instruction count = "));
  qmp.ask("quit");
  process->wait();
}

TEST_F(QmpTest, BesideGdbItLooksAndStopsButGdbLetsGo) {
  serve_live("spin", qmp_option());
  Process debugger(interactive_gdb("spin"));
  debugger.write_input("break main\ncontinue\n");
  ASSERT_TRUE(debugger.wait_for_text("Breakpoint 1, main")) << debugger.out() << debugger.err();
  QmpClient qmp(qmp_path());
  EXPECT_EQ(qmp.ask("cont")["error"]["desc"], "a debugger holds the guest");
  debugger.write_input("delete\ncontinue\n");
  ASSERT_TRUE(server().wait_for_text("spin: no exits from here on"));
  EXPECT_EQ(qmp.status(), "running");
  EXPECT_THAT(qmp.human("devices"), HasSubstr("serial0"));
  qmp.ask("stop");
  EXPECT_TRUE(debugger.wait_for_text("SIGINT")) << debugger.out() << debugger.err();
  EXPECT_EQ(qmp.status(), "paused");
  debugger.write_input("p spin_counter > 0\nkill\nquit\n");
  EXPECT_THAT(debugger.wait().out, HasSubstr("$1 = 1"));
  EXPECT_EQ(finish().status, kDone);
}

}  // namespace
}  // namespace dejavm::integration
