// An e1000 with 64 KiB of memory and a driver's hands.
#pragma once

#include <gtest/gtest.h>

#include <numeric>

#include "devices/e1000.h"
#include "fakes.h"

namespace dejavm::devices {

class E1000Test : public testing::Test, public DeviceFixture {
 protected:
  static constexpr uint64_t kBar = 0xfea00000, kPorts = 0xc000;
  static constexpr uint64_t kTxRing = 0x1000, kRxRing = 0x2000, kTxData = 0x3000, kRxData = 0x8000;
  static constexpr uint64_t kThrottleNs = 128'000;
  static constexpr uint32_t kRingBytes = 128;  // 8 descriptors

  E1000Test() {
    EXPECT_TRUE(memory.set_map({{{0}, 0x10000, 0, true}}).has_value());
    card.connect(irq.line());
    card.reset();
    card.config_write(0x10, 4, kBar);
    card.config_write(0x14, 4, kPorts);
    card.config_write(0x04, 2, 0x07);
    card.map_windows();
    deferred.run();
  }

  uint32_t get(uint64_t offset) { return static_cast<uint32_t>(load(kBar + offset, 4)); }
  /// Writes a register, and lets what it started happen.
  void set(uint64_t offset, uint32_t value) {
    store(kBar + offset, value, 4);
    deferred.run();
  }
  Bytes ram(uint64_t gpa, size_t size) {
    Bytes bytes(size);
    EXPECT_TRUE(memory.read({gpa}, bytes).has_value());
    return bytes;
  }
  void put(uint64_t gpa, const Bytes& bytes) { EXPECT_TRUE(memory.write({gpa}, bytes, vm::Writer::loader).has_value()); }
  void put_descriptor(uint64_t ring, unsigned number, uint64_t low, uint64_t high) {
    Bytes bytes(16);
    store_le(&bytes[0], low);
    store_le(&bytes[8], high);
    put(ring + number * 16, bytes);
  }
  void start_transmitter(uint32_t ring_bytes = kRingBytes) {
    set(0x3800, kTxRing);
    set(0x3808, ring_bytes);
    set(0x0400, 1u << 1);
  }
  void start_receiver(uint32_t rctl, uint32_t tail = 7) {
    for (unsigned i = 0; i < 8; ++i) put_descriptor(kRxRing, i, kRxData + i * 0x800, 0);
    set(0x2800, kRxRing);
    set(0x2808, kRingBytes);
    set(0x2818, tail);
    set(0x0100, rctl);
  }
  /// A frame of `size` bytes, counted up behind its header.
  static Bytes frame(const MacAddress& to, size_t size, uint16_t type = 0x0800) {
    Bytes bytes(size);
    std::iota(bytes.begin(), bytes.end(), uint8_t{0});
    std::copy(to.begin(), to.end(), bytes.begin());
    const uint8_t header[] = {0x52, 0x55, 0x0a, 0, 2, 2, static_cast<uint8_t>(type >> 8), static_cast<uint8_t>(type)};
    std::copy(std::begin(header), std::end(header), bytes.begin() + 6);
    return bytes;
  }

  static constexpr MacAddress kOwn = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};
  static constexpr MacAddress kBroadcast = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

  std::vector<Bytes> sent;
  unsigned rom_moves = 0;
  vm::GuestMemory memory = vm::GuestMemory::create(0x10000, 0).value();
  vm::Dma dma{memory};
  vm::DeferredWork deferred;
  FakeIrq irq;
  E1000 card{"e1000",
             bus,
             devfn(2, 0),
             timers,
             deferred,
             dma,
             {.mac = kOwn,
              .rom_size = 0x1000,
              .rom_moved = [this] { ++rom_moves; },
              .send = [this](ByteSpan bytes) { sent.emplace_back(bytes.begin(), bytes.end()); }}};
};

}  // namespace dejavm::devices
