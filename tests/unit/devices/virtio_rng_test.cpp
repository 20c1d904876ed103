#include "devices/virtio_rng.h"

#include "virtio_fakes.h"

namespace dejavm::devices {
namespace {

class VirtioRngTest : public testing::Test, public VirtioFixture {
 protected:
  VirtioRngTest() {
    place(rng);
    start(kVersion1);
  }

  size_t asked = 0;
  bool empty = false;
  VirtioRng rng{"virtio-rng", board(), devfn(2, 0), [this](MutableByteSpan to) {
                  asked = to.size();
                  std::fill(to.begin(), to.end(), uint8_t{0xa5});
                  return !empty;
                }};
};

TEST_F(VirtioRngTest, FillsBuffers) {
  describe(kTable, 0, {0x5000, 64, kWritable, 0});
  offer(0);
  EXPECT_EQ(peek(0x5000, 64), Bytes(64, 0xa5));
  EXPECT_EQ(used_length(), 64u);
}

TEST_F(VirtioRngTest, HugeBufferGetsALittle) {
  describe(kTable, 0, {0x5000, 0xffffffff, kWritable, 0});
  offer(0);
  EXPECT_EQ(asked, VirtioRng::kMaxRequest);
}

TEST_F(VirtioRngTest, NothingToWriteToIsMalformed) {
  describe(kTable, 0, {0x5000, 64, 0, 0});
  offer(0);
  EXPECT_TRUE(needs_reset());
}

TEST(HostEntropy, DiffersFromCallToCall) {
  Bytes first(32), second(32);
  EXPECT_TRUE(host_entropy(first));
  EXPECT_TRUE(host_entropy(second));
  EXPECT_NE(first, second);
}

}  // namespace
}  // namespace dejavm::devices
