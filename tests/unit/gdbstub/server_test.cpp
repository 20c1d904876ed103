// The server with real sockets: the test is the debugger, serve() runs on a thread of its own.
#include "gdbstub/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "base/temporary.h"
#include "debugger.h"
#include "fake_target.h"
#include "gdbstub/hex.h"

namespace dejavm::gdb {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

/// serve() on a thread; the destructor cancels it.
class ServerTest : public testing::Test {
 protected:
  void start(bool running, std::string_view spec = "tcp::0") {
    auto server = Server::listen(spec);
    ASSERT_TRUE(server) << server.error().what;
    server_.emplace(std::move(*server));
    thread_ = std::thread([this, running] { end_ = server_->serve(target_, running); });
  }

  Result<ServeEnd>& finish() {
    thread_.join();
    return *end_;
  }

  ~ServerTest() override {
    if (!thread_.joinable()) return;
    server_->cancel();
    thread_.join();
  }

  std::string address() const { return server_->address(); }

  FakeTarget target_;
  std::optional<Server> server_;
  std::optional<Result<ServeEnd>> end_;
  std::thread thread_;
};

TEST_F(ServerTest, PortZeroIsReportedAsTheChosenPort) {
  start(false);

  EXPECT_THAT(address(), StartsWith("tcp:127.0.0.1:"));
  EXPECT_NE(address(), "tcp:127.0.0.1:0");
}

TEST_F(ServerTest, StoppedGuestWaitsForTheDebugger) {
  start(false);
  Debugger debugger(address());

  EXPECT_EQ(debugger.ask("?"), "T05thread:01;");
  EXPECT_EQ(debugger.ask("s"), "T05thread:01;");
  EXPECT_EQ(debugger.ask("p10"), "0110000000000000");
}

TEST_F(ServerTest, ConnectionStopsTheRunningGuest) {
  start(true);
  target_.wait_for_resumes(1);
  Debugger debugger(address());

  EXPECT_EQ(debugger.ask("?"), "T05thread:01;");
}

TEST_F(ServerTest, ControlCInterruptsTheGuest) {
  start(false);
  Debugger debugger(address());
  debugger.send_raw(frame("c"));
  target_.wait_for_resumes(1);

  debugger.send_raw("\x03");

  EXPECT_EQ(debugger.next_packet(), "T02thread:01;");
  EXPECT_EQ(debugger.ask("s"), "T05thread:01;");
}

TEST_F(ServerTest, ControlCInOnePieceWithContinueIsNotLost) {
  start(false);
  Debugger debugger(address());

  debugger.send_raw(frame("c") + "\x03");

  EXPECT_EQ(debugger.next_packet(), "T02thread:01;");
}

TEST_F(ServerTest, AcknowledgementsDoNotStopTheGuest) {
  start(false);
  Debugger debugger(address());
  debugger.send_raw(frame("c"));
  target_.wait_for_resumes(1);
  debugger.send_raw("++++");

  debugger.send_raw("\x03");

  EXPECT_EQ(debugger.next_packet(), "T02thread:01;");
  EXPECT_EQ(debugger.ask("k"), "EOF");
  finish();
  EXPECT_EQ(target_.resumes, 1u);
}

TEST_F(ServerTest, DetachLetsTheGuestRunOnAndTheNextDebuggerAttach) {
  start(false);
  Debugger first(address());
  EXPECT_EQ(first.ask("Z0,2000,1"), "OK");
  EXPECT_EQ(first.ask("D"), "OK");
  first.close();
  target_.wait_for_resumes(1);

  Debugger second(address());

  EXPECT_EQ(second.ask("?"), "T05thread:01;");
  EXPECT_EQ(second.ask("p10"), "0010000000000000");
  EXPECT_EQ(second.ask("k"), "EOF");
  finish();
  EXPECT_EQ(target_.detaches, 1u);
}

TEST_F(ServerTest, SecondDebuggerWaitsForTheFirst) {
  start(false);
  Debugger first(address());
  EXPECT_EQ(first.ask("?"), "T05thread:01;");
  Debugger second(address());
  second.send_raw(frame("qC"));

  EXPECT_EQ(first.ask("s"), "T05thread:01;");
  first.close();

  EXPECT_EQ(second.next_packet(), "QC01");
}

TEST_F(ServerTest, VanishedDebuggerLeavesNoBreakpointsAndTheGuestRuns) {
  start(false);
  Debugger debugger(address());
  EXPECT_EQ(debugger.ask("Z0,2000,1"), "OK");

  debugger.close();
  target_.wait_for_resumes(1);
  target_.end_of_trace();

  const auto& end = finish();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, ServeEnd::Kind::replay_end);
  EXPECT_EQ(target_.detaches, 1u);
  EXPECT_TRUE(target_.breakpoints.empty());
}

TEST_F(ServerTest, DebuggerThatIsResetWhileTheGuestRuns) {
  start(false);
  Debugger debugger(address());
  debugger.send_raw(frame("c"));
  target_.wait_for_resumes(1);

  debugger.reset();
  target_.wait_for_resumes(2);
  target_.end_of_trace();

  EXPECT_EQ(finish()->kind, ServeEnd::Kind::replay_end);
  EXPECT_EQ(target_.detaches, 1u);
}

TEST_F(ServerTest, ExitOfTheGuestIsToldAndEndsServing) {
  Stop exited = FakeTarget::make_stop(Stop::Kind::exited);
  exited.exit_status = 3;
  exited.console = "the guest powered off\n";
  target_.script.push_back(exited);
  start(false);
  Debugger debugger(address());

  EXPECT_EQ(debugger.ask("c"), "O" + to_hex("the guest powered off\n"));
  EXPECT_EQ(debugger.next_packet(), "W03");
  debugger.close();

  const auto& end = finish();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, ServeEnd::Kind::exited);
  EXPECT_EQ(end->exit_status, 3);
}

TEST_F(ServerTest, ExitWithNoDebugger) {
  Stop exited = FakeTarget::make_stop(Stop::Kind::exited);
  exited.exit_status = 9;
  target_.script = {FakeTarget::make_stop(Stop::Kind::device), exited};
  start(true);

  const auto& end = finish();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, ServeEnd::Kind::exited);
  EXPECT_EQ(end->exit_status, 9);
  EXPECT_EQ(target_.resumes, 2u);
}

TEST_F(ServerTest, DivergenceWithNoDebuggerCarriesItsText) {
  Stop diverged = FakeTarget::make_stop(Stop::Kind::diverged);
  diverged.console = "event 7: expected 1, found 2\n";
  target_.script.push_back(diverged);
  start(true);

  const auto& end = finish();
  ASSERT_TRUE(end);
  EXPECT_EQ(end->kind, ServeEnd::Kind::diverged);
  EXPECT_EQ(end->console, "event 7: expected 1, found 2\n");
}

TEST_F(ServerTest, DebuggerAtTheEndOfTheTraceKeepsTheGuest) {
  target_.end_of_trace();
  start(false);
  Debugger debugger(address());

  EXPECT_EQ(debugger.ask("c"), "T05replaylog:end;thread:01;");
  EXPECT_EQ(debugger.ask("qC"), "QC01");
  EXPECT_EQ(debugger.ask("D"), "OK");
  debugger.close();

  EXPECT_EQ(finish()->kind, ServeEnd::Kind::replay_end);
}

TEST_F(ServerTest, FailureOfTheGuestWithNoDebuggerIsAnError) {
  target_.script.push_back(fail("KVM_RUN failed"));
  start(true);

  const auto& end = finish();
  ASSERT_FALSE(end);
  EXPECT_EQ(end.error().what, "KVM_RUN failed");
}

TEST_F(ServerTest, KillEndsServing) {
  start(false);
  Debugger debugger(address());

  EXPECT_EQ(debugger.ask("vKill;1"), "OK");

  EXPECT_EQ(debugger.next_packet(), "EOF");
  EXPECT_EQ(finish()->kind, ServeEnd::Kind::killed);
  EXPECT_TRUE(target_.killed);
}

TEST_F(ServerTest, CancelEndsEveryWait) {
  start(false);
  server_->cancel();
  EXPECT_EQ(finish()->kind, ServeEnd::Kind::cancelled);

  start(true);
  target_.wait_for_resumes(1);
  server_->cancel();
  EXPECT_EQ(finish()->kind, ServeEnd::Kind::cancelled);

  start(false);
  Debugger debugger(address());
  EXPECT_EQ(debugger.ask("qC"), "QC01");
  server_->cancel();
  EXPECT_EQ(finish()->kind, ServeEnd::Kind::cancelled);
  EXPECT_EQ(debugger.next_packet(), "EOF");
}

TEST_F(ServerTest, MalformedBytesDoNotEndTheSession) {
  start(false);
  Debugger debugger(address());

  debugger.send_raw("garbage\xff\x80$$#zz$m0,#12");
  debugger.send_raw(frame("QStartNoAckMode"));

  EXPECT_EQ(debugger.next_packet(), "OK");
}

TEST_F(ServerTest, ManyConnectionsThatCloseAtOnce) {
  start(true);
  for (int i = 0; i < 20; ++i) Debugger(address()).reset();

  Debugger debugger(address());

  EXPECT_EQ(debugger.ask("qC"), "QC01");
}

/// A folder for sockets that goes away with the test.
class UnixSocketTest : public ServerTest {
 protected:
  std::string path() const { return folder_.file("gdb"); }

  const TemporaryDirectory folder_ = TemporaryDirectory::create("dejavm-gdb").value();
};

TEST_F(UnixSocketTest, Serves) {
  start(false, "unix:" + path());
  Debugger debugger(address());

  EXPECT_EQ(address(), "unix:" + path());
  EXPECT_EQ(debugger.ask("qC"), "QC01");
}

TEST_F(UnixSocketTest, StaleSocketIsReplaced) {
  ASSERT_TRUE(Server::listen("unix:" + path()));
  ASSERT_TRUE(std::filesystem::exists(path()));

  EXPECT_TRUE(Server::listen("unix:" + path()));
}

TEST_F(UnixSocketTest, SocketInUseIsLeftAloneAndItsServerNotDisturbed) {
  start(true, "unix:" + path());
  target_.wait_for_resumes(1);

  const auto second = Server::listen("unix:" + path());

  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().what, HasSubstr("another process listens there"));
  server_->cancel();
  finish();
  EXPECT_EQ(target_.resumes, 1u);
}

TEST_F(UnixSocketTest, OrdinaryFileIsNeverReplaced) {
  std::ofstream(path()) << "precious";

  const auto server = Server::listen("unix:" + path());

  ASSERT_FALSE(server);
  EXPECT_THAT(server.error().what, HasSubstr("is not a socket"));
  EXPECT_EQ(std::filesystem::file_size(path()), 8u);
}

TEST(Listen, RefusesWhatItDoesNotUnderstand) {
  for (const char* spec : {"", "tcp", "tcp:", "tcp:1234", "tcp::", "tcp::x", "tcp::65536", "tcp::-1", "unix:", "stdio",
                           "tcp::1234,wait=on", "tcp::0,telnet", "tcp:no such host:0"}) {
    const auto server = Server::listen(spec);
    ASSERT_FALSE(server) << spec;
    EXPECT_FALSE(server.error().what.empty()) << spec;
    EXPECT_FALSE(server.error().next.empty()) << spec;
  }
  EXPECT_FALSE(Server::listen("unix:" + std::string(200, 'x')));
}

TEST(Listen, AcceptsQemusHarmlessOptions) {
  EXPECT_TRUE(Server::listen("tcp::0,server=on,wait=off"));
  EXPECT_TRUE(Server::listen("tcp:localhost:0,server,nowait"));
}

TEST(Listen, BusyPortIsAnError) {
  const auto first = Server::listen("tcp::0");
  ASSERT_TRUE(first);

  const auto second = Server::listen(first->address());

  ASSERT_FALSE(second);
  EXPECT_THAT(second.error().what, HasSubstr("Address already in use"));
}

}  // namespace
}  // namespace dejavm::gdb
