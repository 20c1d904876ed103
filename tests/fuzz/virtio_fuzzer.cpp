// Feeds random lists of register accesses, descriptors, notifications and resets to the virtio devices, behind a driver that
// knows how to start them. Each action is 8 bytes: what, size or flags, then an address, then a value.
#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/check.h"
#include "base/clock.h"
#include "devices/virtio_blk.h"
#include "devices/virtio_rng.h"

namespace dejavm::devices {
namespace {

constexpr size_t kActionSize = 8;
constexpr size_t kMaxActions = 2000;
constexpr uint64_t kRam = 0x10000;
constexpr uint64_t kBar = 0xfea00000, kMsixBar = 0xfeb00000;
constexpr uint64_t kTable = 0x1000, kAvailable = 0x2000, kUsed = 0x3000;

class MemoryStore final : public BlockStore {
 public:
  uint64_t size() const override { return bytes_.size(); }
  bool read_only() const override { return false; }
  bool read(uint64_t offset, MutableByteSpan to) override {
    CHECK(offset <= bytes_.size() && to.size() <= bytes_.size() - offset);
    std::copy_n(bytes_.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
    return true;
  }
  bool write(uint64_t offset, ByteSpan from) override {
    CHECK(offset <= bytes_.size() && from.size() <= bytes_.size() - offset);
    std::copy(from.begin(), from.end(), bytes_.begin() + static_cast<ptrdiff_t>(offset));
    return true;
  }
  bool write_zeroes(uint64_t offset, uint64_t size) override {
    CHECK(offset <= bytes_.size() && size <= bytes_.size() - offset);
    return write(offset, Bytes(size));
  }
  bool flush() override { return true; }

 private:
  Bytes bytes_ = Bytes(64 * 512);
};

class Bench {
 public:
  explicit Bench(bool block) {
    CHECK(memory_.set_map({{{0}, kRam, 0, true}}).has_value());
    VirtioBoard board{bus_, timers_, deferred_, dma_, [](uint64_t, uint32_t) {}};
    if (block) {
      device_ = std::make_unique<VirtioBlk>("blk", board, devfn(2, 0), std::make_unique<MemoryStore>(), "serial");
    } else {
      device_ = std::make_unique<VirtioRng>("rng", board, devfn(2, 0), [](MutableByteSpan to) {
        std::fill(to.begin(), to.end(), uint8_t{1});
        return true;
      });
    }
    device_->reset();
    start(0x130000000);
  }

  void perform(const uint8_t* action) {
    static constexpr unsigned kSizes[] = {1, 2, 4, 4};
    unsigned size = kSizes[action[1] & 3];
    auto choice = load_le<uint16_t>(action + 2);
    auto value = load_le<uint32_t>(action + 4);
    switch (action[0] % 10) {
      case 0:
        store(kBar + choice % 0x5000, value, size);
        break;
      case 1:
        load((choice & 1) != 0 ? kMsixBar + choice % 0x1000 : kBar + choice % 0x5000, size);
        break;
      case 2:
        configure(choice, size, value);
        break;
      case 3:
        poke(choice, {action + 4, 4});
        break;
      case 4:
        describe(action[1], choice, value);
        break;
      case 5:
        offer(choice);
        break;
      case 6:
        clock_.advance(choice);
        timers_.run_due(timers_.now_ns());
        break;
      case 7:
        request(action[1], choice, value);
        break;
      case 8:
        store((choice & 1) != 0 ? kBar + 0x1a : kMsixBar + choice % 0x1000, value, size);
        break;
      default:
        start(uint64_t{value} << 9 | 0x100000000);
        break;
    }
    deferred_.run();
  }

 private:
  void store(uint64_t gpa, uint64_t value, unsigned size) {
    bus_.access({vm::Space::mmio, vm::Direction::write, static_cast<uint8_t>(size), gpa, value});
  }
  void load(uint64_t gpa, unsigned size) {
    bus_.access({vm::Space::mmio, vm::Direction::read, static_cast<uint8_t>(size), gpa, 0});
  }
  void poke(uint64_t gpa, ByteSpan bytes) {
    // What does not fit is not written.
    static_cast<void>(memory_.write({gpa}, bytes, vm::Writer::loader));
  }
  void configure(uint16_t choice, unsigned size, uint32_t value) {
    unsigned offset = choice % 0x100 & ~(size - 1);
    device_->config_write(offset, size, value);
    device_->config_read(offset, size);
    device_->unmap_stale_windows();
    device_->map_windows();
  }
  void start(uint64_t features) {
    device_->config_write(0x20, 4, kBar);
    device_->config_write(0x24, 4, 0);
    device_->config_write(0x14, 4, kMsixBar);
    device_->config_write(0x04, 2, 6);
    device_->unmap_stale_windows();
    device_->map_windows();
    store(kBar + 0x14, 0, 1);
    for (unsigned half : {0u, 1u}) {
      store(kBar + 0x08, half, 4);
      store(kBar + 0x0c, features >> (32 * half) & 0xffffffff, 4);
    }
    store(kBar + 0x14, 0x0b, 1);
    store(kBar + 0x18, 8, 2);
    store(kBar + 0x20, kTable, 4);
    store(kBar + 0x28, kAvailable, 4);
    store(kBar + 0x30, kUsed, 4);
    store(kBar + 0x1c, 1, 2);
    store(kBar + 0x14, 0x0f, 1);
  }
  /// A descriptor in the table or in the page behind the rings, where an indirect one may point.
  void describe(uint8_t flags, uint16_t choice, uint32_t value) {
    uint8_t bytes[16];
    store_le(bytes, (flags & 0x80) != 0 ? uint64_t{value} << 33 : uint64_t{value & 0xffff});
    store_le(bytes + 8, (flags & 0x40) != 0 ? value : value >> 16 & 0x1fff);
    store_le(bytes + 12, static_cast<uint16_t>(flags & 7));
    store_le(bytes + 14, static_cast<uint16_t>(choice >> 8 & 0xf));
    poke(((flags & 0x20) != 0 ? 0x4000 : kTable) + 16 * (choice & 0xf), bytes);
  }
  /// A request as a disk's driver makes it: header, data, status.
  void request(uint8_t type, uint16_t choice, uint32_t value) {
    uint8_t header[16] = {};
    store_le(header, static_cast<uint32_t>(type & 0x0f));
    store_le(header + 8, uint64_t{choice & 0x7fu});
    poke(0x5000, header);
    uint8_t chain[3 * 16] = {};
    uint32_t size = (value & 0x10000) != 0 ? value & 0xffff : (value & 0xf) * 512 + (type >> 4 & 1) * 16;
    auto flags = static_cast<uint16_t>((type & 1) != 0 ? 1 : 3);
    store_le(chain, uint64_t{0x5000});
    store_le(chain + 8, uint32_t{16});
    store_le(chain + 12, uint16_t{1});
    store_le(chain + 14, uint16_t{1});
    store_le(chain + 16, uint64_t{0x6000});
    store_le(chain + 24, size);
    store_le(chain + 28, flags);
    store_le(chain + 30, uint16_t{2});
    store_le(chain + 32, uint64_t{0x5800});
    store_le(chain + 40, uint32_t{1});
    store_le(chain + 44, uint16_t{2});
    poke(kTable, chain);
    offer(0);
  }
  void offer(uint16_t head) {
    uint8_t bytes[2];
    store_le(bytes, static_cast<uint16_t>(head & 0xf));
    poke(kAvailable + 4 + 2 * (offered_ & 7), bytes);
    store_le(bytes, ++offered_);
    poke(kAvailable + 2, bytes);
    store(kBar + 0x3000, 0, 2);
  }

  ManualClock clock_;
  vm::GuestMemory memory_ = vm::GuestMemory::create(kRam, 0).value();
  vm::TimerQueue timers_{clock_};
  vm::DeferredWork deferred_;
  vm::Dma dma_{memory_};
  vm::Bus bus_;
  std::unique_ptr<VirtioPci> device_;
  uint16_t offered_ = 0;
};

}  // namespace
}  // namespace dejavm::devices

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace dejavm::devices;
  if (size == 0) return 0;
  Bench bench((data[0] & 1) != 0);
  size_t actions = std::min((size - 1) / kActionSize, kMaxActions);
  for (size_t i = 0; i < actions; ++i) bench.perform(data + 1 + i * kActionSize);
  return 0;
}
