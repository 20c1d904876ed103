// Debuggers that misbehave or vanish: the guest runs on, and the next debugger is served.
#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "support/gdb.h"

namespace dejavm::integration {
namespace {

using testing::HasSubstr;

class GdbFaultsTest : public GdbTest {
 protected:
  /// A connection that sends bytes and reads nothing.
  Fd connection(const std::string& bytes) {
    Fd client(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    socket().copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_TRUE(write_all(client.get(), {reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()}, "the stub"));
    return client;
  }
};

TEST_F(GdbFaultsTest, MalformedPacketsDoNotHurtTheGuest) {
  serve_live("spin");
  for (const std::string& bytes :
       {std::string("$g#00"), std::string("$mffffffffffffffffffffffffffff,zz#33+"), std::string("$m0,ffffffffffffffff#aa"),
        std::string("$vCont;s:-1;c:zz#00"), std::string("$Xffff,10:\x7d#00"), std::string(100000, '$'),
        std::string("$") + std::string(200000, 'A') + "#00", std::string(64, '\0'), std::string("+-+-$#00$##$#$#"),
        std::string("$qRcmd,6#ff$qRcmd,zz#00$Z9,0,0#00$Hg-0x#00")}) {
    connection(bytes);
  }

  ASSERT_TRUE(server().wait_for_text("spin: no exits from here on"));  // the first one that left let the guest go
  std::string output = gdb("spin", {"info registers rip", "p spin_counter > 0", "kill"});
  Finished end = finish();

  EXPECT_THAT(output, HasSubstr("rip            0x100"));
  EXPECT_THAT(output, HasSubstr("$1 = 1"));
  EXPECT_EQ(end.status, kDone) << end.err;
}

TEST_F(GdbFaultsTest, ADebuggerThatStopsReadingIsLetGo) {
  serve_live("spin");
  std::string many;
  for (int i = 0; i < 500; ++i) many += "$m100000,7ffd#21+";
  for (const std::string& bytes :
       {many, std::string("$m100000,7f"), std::string("$Z0,100000,1;Xffffffff,27#8c"),
        std::string("$qSearch:memory:0;ffffffff;\x7d"), std::string("$x0,0#04$x0,ffffffff#04$bc#c5")}) {
    connection(bytes);  // and goes without having read an answer
  }

  std::string output = gdb("spin", {"info registers rip", "kill"});
  Finished end = finish();

  EXPECT_THAT(output, HasSubstr("rip            0x"));
  EXPECT_EQ(end.status, kDone) << end.err;
}

TEST_F(GdbFaultsTest, SigtermEndsAGuestWhoseDebuggerDoesNotRead) {
  serve_live("spin");
  std::string many;
  for (int i = 0; i < 500; ++i) many += "$m100000,7ffd#21+";
  Fd stuck = connection(many);

  server().signal(SIGTERM);

  EXPECT_EQ(finish().status, kDone);
}

TEST_F(GdbFaultsTest, AKilledGdbLeavesTheGuestRunning) {
  serve_live("spin");
  {
    Process debugger(interactive_gdb("spin"));
    debugger.write_input("break main\ncontinue\n");
    ASSERT_TRUE(debugger.wait_for_text("Breakpoint 1, main")) << debugger.out() << debugger.err();
    debugger.signal(SIGKILL);
  }

  EXPECT_TRUE(server().wait_for_text("spin: no exits from here on"));
  EXPECT_THAT(gdb("spin", {"info registers rip", "kill"}), HasSubstr("rip            0x100"));
  EXPECT_EQ(finish().status, kDone);
}

TEST_F(GdbFaultsTest, AKilledGdbLeavesARecordingFaithful) {
  serve(Words{"record", "-o", path("left.dvt"), "-S"} + guest_options("edu_irq_dma_short"));
  {
    Process debugger(interactive_gdb("edu_irq_dma_short"));
    debugger.write_input("break check_raise\ncontinue\n");
    ASSERT_TRUE(debugger.wait_for_text("Breakpoint 1, check_raise")) << debugger.out() << debugger.err();
    debugger.signal(SIGKILL);
  }
  Finished recording = finish();

  EXPECT_EQ(recording.status, kDone) << recording.err;
  EXPECT_THAT(recording.out, HasSubstr("edu_irq_dma: data "));
  expect_faithful_replay(path("left.dvt"), recording);
}

TEST_F(GdbFaultsTest, AKilledGdbLeavesAReplayRunning) {
  serve_replay(recorded("buggy_dma"));
  {
    Process debugger(interactive_gdb("buggy_dma"));
    debugger.write_input("break self_test\ncontinue\n");
    ASSERT_TRUE(debugger.wait_for_text("Breakpoint 1, self_test")) << debugger.out() << debugger.err();
    debugger.signal(SIGKILL);
  }
  Finished end = finish();

  EXPECT_EQ(end.status, kDone) << end.err;
  EXPECT_THAT(end.err, HasSubstr(" 0 divergences, "));
}

TEST_F(GdbFaultsTest, ASocketInUseIsRefused) {
  serve_live("spin");

  Finished second = run(dejavm(Words{"run", "-S", "-gdb", "unix:" + socket()} + guest_options("spin")));

  EXPECT_EQ(second.status, kFailed) << second.err;
  EXPECT_THAT(second.err, HasSubstr(socket()));
}

TEST_F(GdbFaultsTest, WaitingForNobodyIsRefused) {
  Finished refused = run(dejavm(Words{"run", "-S"} + guest_options("spin")));

  EXPECT_EQ(refused.status, kUsage);
  EXPECT_THAT(refused.err, HasSubstr("-S waits for a debugger"));
}

TEST_F(GdbFaultsTest, SigtermEndsAGuestThatWaitsForGdb) {
  serve_live("spin");

  server().signal(SIGTERM);
  Finished end = finish();

  EXPECT_EQ(end.status, kDone) << end.err;
}

}  // namespace
}  // namespace dejavm::integration
