// The human monitor on a socket: of guests, recordings and replays.
#include <gmock/gmock.h>
#include <unistd.h>

#include <chrono>
#include <thread>

#include "support/gdb.h"
#include "support/unix_socket.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

/// Somebody at the prompt.
class MonitorClient {
 public:
  explicit MonitorClient(const std::string& path) : fd_(connect_to(path)) {
    EXPECT_THAT(to_prompt(), HasSubstr("dejavm monitor"));
  }
  std::string ask(const std::string& line) {
    send(line);
    return to_prompt();
  }
  void send(const std::string& line) {
    const std::string text = line + "\n";
    EXPECT_TRUE(write_all(fd_.get(), {reinterpret_cast<const uint8_t*>(text.data()), text.size()}, "monitor"));
  }

 private:
  /// What comes before the next prompt, or before the end of the connection.
  std::string to_prompt() {
    std::string text;
    char byte;
    while (!text.ends_with("(dejavm) ") && ::read(fd_.get(), &byte, 1) == 1) text += byte;
    return text;
  }

  Fd fd_;
};

class MonitorSocketTest : public GuestTest {
 protected:
  std::string socket_path() const { return path("monitor.sock"); }
  std::unique_ptr<Process> start(const Words& arguments) {
    auto process = std::make_unique<Process>(dejavm(arguments) + Words{"-monitor", "unix:" + socket_path()});
    EXPECT_TRUE(process->wait_for_text("monitor: listening on unix:")) << process->err();
    return process;
  }
};

TEST_F(MonitorSocketTest, ARunningGuest) {
  auto process = start(Words{"run", "-S"} + guest_options("spin"));
  MonitorClient monitor(socket_path());
  EXPECT_THAT(monitor.ask("info status"), HasSubstr("VM status: paused (prelaunch)"));
  monitor.ask("cont");
  ASSERT_TRUE(process->wait_for_text("spin: no exits from here on")) << process->err();
  EXPECT_THAT(monitor.ask("info status"), HasSubstr("VM status: running"));
  EXPECT_THAT(monitor.ask("info registers"), HasSubstr("RIP="));
  monitor.send("quit");

  EXPECT_EQ(process->wait().status, kDone);
}

TEST_F(MonitorSocketTest, ARecordingIsSealedByQuit) {
  std::string trace = path("spin.dvt");
  auto process = start(Words{"record", "-o", trace} + guest_options("spin"));
  ASSERT_TRUE(process->wait_for_text("spin: no exits from here on")) << process->err();
  MonitorClient(socket_path()).send("quit");
  Finished end = process->wait();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr("ended by `quit`"));
  EXPECT_EQ(run(dejavm({"replay", trace})).status, kDone);
}

/// With QMP listening, too.
TEST_F(MonitorSocketTest, AReplayBesideQmp) {
  std::string trace = recorded("buggy_dma");
  auto process = start({"replay", trace, "-S", "-qmp", "unix:" + path("qmp.sock")});
  MonitorClient monitor(socket_path());
  EXPECT_THAT(monitor.ask("mmio break edu+0x90 w value 0x50"), HasSubstr("mmio breakpoint 1"));
  monitor.ask("cont");
  // Each question has the guest stand for a moment; in between it gets on.
  while (monitor.ask("info status").find("VM status: running") != std::string::npos)
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_THAT(monitor.ask("info status"), HasSubstr("VM status: paused (debug)"));
  EXPECT_THAT(monitor.ask("mmio last"), HasSubstr("edu+0x90 <- 0x50"));
  monitor.send("quit");
  Finished end = process->wait();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr(", 0 divergences"));
}

}  // namespace
}  // namespace dejavm::integration
