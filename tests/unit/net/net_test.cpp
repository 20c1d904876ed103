#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>

#include "net/frame_input.h"
#include "net/frame_queue.h"
#include "net/pcap.h"
#include "net/user_network.h"
#include "temp_folder.h"

namespace dejavm::net {
namespace {

using testing::HasSubstr;

bool readable(int fd) {
  pollfd polled{fd, POLLIN, 0};
  return ::poll(&polled, 1, 0) > 0;
}

/// Keeps what is sent; gives what the test puts there.
class FakeBackend final : public Backend {
 public:
  void send(ByteSpan frame) override { sent.emplace_back(frame.begin(), frame.end()); }
  int descriptor() const override { return -1; }
  std::optional<Bytes> take() override {
    if (waiting.empty()) return std::nullopt;
    Bytes frame = waiting.back();
    waiting.pop_back();
    return frame;
  }
  std::vector<Bytes> sent, waiting;
};

class FakeCard final : public vm::FrameReceiver {
 public:
  bool ready() const override { return received.size() < room; }
  void receive(ByteSpan frame) override { received.emplace_back(frame.begin(), frame.end()); }
  size_t room = 2;
  std::vector<Bytes> received;
};

TEST(FrameQueue, IsReadableWhileItHoldsAFrame) {
  FrameQueue queue = FrameQueue::create().value();
  EXPECT_FALSE(readable(queue.descriptor()));
  EXPECT_TRUE(queue.push(Bytes{1}));
  EXPECT_TRUE(queue.push(Bytes{2}));
  EXPECT_EQ(queue.take(), Bytes{1});
  EXPECT_TRUE(readable(queue.descriptor()));
  EXPECT_EQ(queue.take(), Bytes{2});
  EXPECT_FALSE(readable(queue.descriptor()));
  EXPECT_EQ(queue.take(), std::nullopt);
}

TEST(FrameQueue, IsBounded) {
  FrameQueue queue = FrameQueue::create().value();
  for (size_t i = 0; i < FrameQueue::kMaxFrames; ++i) EXPECT_TRUE(queue.push(Bytes{1}));
  EXPECT_FALSE(queue.push(Bytes{1}));
  FrameQueue other = FrameQueue::create().value();
  EXPECT_TRUE(other.push(Bytes(FrameQueue::kMaxBytes)));
  EXPECT_FALSE(other.push(Bytes{1}));
}

TEST(FrameInput, StopsWhenTheCardIsFull) {
  FakeBackend network;
  network.waiting.assign(5, Bytes{7});
  FakeCard card;
  FrameInput input(network, card);
  EXPECT_TRUE(input.has_room());

  input.transfer();

  EXPECT_EQ(card.received.size(), 2u);
  EXPECT_EQ(network.waiting.size(), 3u);
  EXPECT_FALSE(input.has_room());
}

TEST(UserOptions, AreReadAsQemuSpellsThem) {
  UserOptions options =
      parse_user("user,id=n,net=192.168.7.0/24,tftp=/srv,bootfile=a.ipxe,restrict=on,hostfwd=tcp:127.0.0.1:2222-:22")
          .value();

  EXPECT_EQ(options.id, "n");
  EXPECT_EQ(options.at(0x0202), 0xc0a80702u);
  EXPECT_EQ(options.tftp, "/srv");
  EXPECT_EQ(options.bootfile, "a.ipxe");
  EXPECT_TRUE(options.restricted);
  ASSERT_EQ(options.forwards.size(), 1u);
  EXPECT_EQ(options.forwards[0].host_address, 0x7f000001u);
  EXPECT_EQ(options.forwards[0].host_port, 2222);
  EXPECT_EQ(options.forwards[0].guest_port, 22);
}

TEST(UserOptions, WrongOnesAreNamed) {
  for (const char* text :
       {"tap,id=n", "user", "user,id=n,smb=/srv", "user,id=n,net=10.0.2.0/31", "user,id=n,net=10.0.2",
        "user,id=n,hostfwd=tcp::0-:22", "user,id=n,hostfwd=2222-22", "user,id=n,restrict=maybe", "user,id=n,"}) {
    SCOPED_TRACE(text);
    auto options = parse_user(text);
    ASSERT_FALSE(options.has_value());
    EXPECT_EQ(options.error().kind, ErrorKind::usage);
    EXPECT_FALSE(options.error().what.empty());
  }
}

TEST(Dump, WritesBothDirections) {
  TempFolder folder;
  std::string path = folder.file("net.pcap");
  auto fake = std::make_unique<FakeBackend>();
  fake->waiting = {Bytes{9, 9}};
  auto dump = Dump::create(std::move(fake), {.id = "d", .netdev = "n", .file = path, .max_length = 3}, [] {
                return uint64_t{5'000'007'000};
              }).value();

  dump->send(Bytes{1, 2, 3, 4});
  EXPECT_EQ(dump->take(), (Bytes{9, 9}));

  Bytes file = read_file(path, 1000).value();
  ASSERT_EQ(file.size(), 24u + 16 + 3 + 16 + 2);
  EXPECT_EQ(load_le<uint32_t>(&file[0]), 0xa1b2c3d4u);
  EXPECT_EQ(load_le<uint32_t>(&file[24]), 5u);
  EXPECT_EQ(load_le<uint32_t>(&file[28]), 7u);
  EXPECT_EQ(load_le<uint32_t>(&file[32]), 3u) << "cut off";
  EXPECT_EQ(load_le<uint32_t>(&file[36]), 4u);
  EXPECT_EQ(file[59], 9);
}

TEST(Dump, WrongOptionsAreNamed) {
  EXPECT_FALSE(parse_dump("rng-random,id=x").has_value());
  EXPECT_FALSE(parse_dump("filter-dump,id=x,file=a").has_value());
  EXPECT_FALSE(parse_dump("filter-dump,netdev=n,file=a,maxlen=0").has_value());
  EXPECT_TRUE(parse_dump("filter-dump,id=x,netdev=n,file=a,maxlen=96").has_value());
}

TEST(UserNetwork, TheGatewayAnswersArp) {
  auto network = UserNetwork::create(parse_user("user,id=n").value()).value();
  Bytes request = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 0x12, 0x34, 0x56, 8, 6, 0, 1, 8, 0,  6, 4, 0,
                   1,    0x52, 0x54, 0,    0x12, 0x34, 0x56, 10,   0, 2,    15,   0,    0, 0, 0, 0, 0, 10, 0, 2, 2};
  request.resize(60);

  network->send(request);
  std::optional<Bytes> reply;
  for (bool found = false; !found;) {
    pollfd polled{network->descriptor(), POLLIN, 0};
    ASSERT_EQ(::poll(&polled, 1, 20'000), 1) << "the gateway does not answer";
    reply = network->take();
    found = reply && (*reply)[12] == 8 && (*reply)[13] == 6;
  }

  EXPECT_EQ((*reply)[21], 2) << "a reply";
  EXPECT_EQ(Bytes(reply->begin() + 28, reply->begin() + 32), (Bytes{10, 0, 2, 2}));
}

TEST(UserNetwork, AFolderThatIsNotThereIsNamed) {
  auto network = UserNetwork::create(parse_user("user,id=n,tftp=/nonexistent").value());
  ASSERT_FALSE(network.has_value());
  EXPECT_THAT(network.error().what, HasSubstr("tftp=/nonexistent"));
}

}  // namespace
}  // namespace dejavm::net
