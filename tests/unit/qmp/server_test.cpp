// QMP clients that come, go, and break the rules.
#include "qmp/server.h"

#include <gmock/gmock.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/temporary.h"
#include "fake_guest.h"
#include "qmp/json_framer.h"

namespace dejavm::qmp {
namespace {

using testing::HasSubstr;
using Standing = Attendant::Standing;
using Wish = Attendant::Wish;

class QmpServerTest : public testing::Test {
 protected:
  Fd connect() {
    Fd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    path_.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
  static void send(const Fd& fd, std::string_view text) {
    EXPECT_EQ(::send(fd.get(), text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
  }
  static std::string receive(const Fd& fd) {
    std::string text(1 << 20, '\0');
    ssize_t count = ::read(fd.get(), text.data(), text.size());
    text.resize(count > 0 ? static_cast<size_t>(count) : 0);
    return text;
  }
  bool ready() const {
    pollfd entry = server_.interest();
    return ::poll(&entry, 1, 0) > 0;
  }
  Wish serve_all(Standing standing = Standing::stands) {
    Wish wish = Wish::none;
    while (ready()) {
      Wish next = server_.serve(standing);
      if (next != Wish::none) wish = next;
    }
    return wish;
  }
  Fd negotiated() {
    Fd fd = connect();
    serve_all();
    send(fd, R"({"execute": "qmp_capabilities"})");
    serve_all();
    EXPECT_THAT(receive(fd), HasSubstr("\"return\""));
    return fd;
  }

  TemporaryDirectory directory_ = TemporaryDirectory::create("dejavm-qmp").value();
  const std::string path_ = directory_.file("qmp");
  FakeGuest guest_;
  Server server_{Listener::open("unix:" + path_ + ",server=on,wait=off", "qmp").value(), guest_};
};

TEST_F(QmpServerTest, GreetsWhoConnectsAndServesTheNextOneAfterwards) {
  EXPECT_FALSE(server_.is_attached());
  for (int i = 0; i < 2; ++i) {
    Fd fd = connect();
    serve_all();
    EXPECT_TRUE(server_.is_attached());
    EXPECT_THAT(receive(fd), HasSubstr("\"QMP\""));
    fd = Fd();
    serve_all();
    EXPECT_FALSE(server_.is_attached());
  }
}

TEST_F(QmpServerTest, WishesComeOut) {
  Fd fd = negotiated();
  send(fd, R"({"execute": "cont"})");
  EXPECT_EQ(serve_all(), Wish::run);
  server_.guest_runs();
  server_.guest_stands(Attendant::Why::debug);
  server_.guest_gone();
  std::string text = receive(fd);
  for (const char* event : {"RESUME", "STOP", "SHUTDOWN"}) {
    size_t at = text.find(fmt::format("\"event\":\"{}\"", event));
    ASSERT_NE(at, std::string::npos) << event;
    EXPECT_EQ(text.find(fmt::format("\"event\":\"{}\"", event), at + 1), std::string::npos) << event << " once";
  }
  send(fd, R"({"execute": "query-status"})");
  serve_all();
  EXPECT_THAT(receive(fd), HasSubstr("\"status\":\"debug\""));
}

TEST_F(QmpServerTest, TheStateOutlivesTheClient) {
  server_.guest_runs();
  Fd fd = negotiated();
  send(fd, R"({"execute": "query-status"})");
  serve_all(Standing::runs);
  EXPECT_THAT(receive(fd), HasSubstr("\"status\":\"running\""));
}

TEST_F(QmpServerTest, AStreamThatIsNoJsonEndsTheConnection) {
  Fd fd = negotiated();
  send(fd, "{" + std::string(JsonFramer::kDeepest + 1, '['));
  serve_all();
  EXPECT_FALSE(server_.is_attached());
  EXPECT_THAT(receive(fd), HasSubstr("too long or too deep"));
}

TEST_F(QmpServerTest, AClientThatDoesNotReadIsDroppedBeforeItTakesAllMemory) {
  Fd fd = negotiated();
  const std::string id(16000, 'x');
  const std::string request = fmt::format("{{\"execute\": \"query-status\", \"id\": \"{}\"}}", id);
  size_t sent = 0;
  while (server_.is_attached() && sent < 4 * Server::kMostOutput) {
    ssize_t count = ::send(fd.get(), request.data(), request.size(), MSG_NOSIGNAL);
    if (count != static_cast<ssize_t>(request.size())) break;
    sent += request.size();
    server_.serve(Standing::stands);
  }
  EXPECT_FALSE(server_.is_attached());
  EXPECT_GT(sent, Server::kMostOutput);
}

}  // namespace
}  // namespace dejavm::qmp
