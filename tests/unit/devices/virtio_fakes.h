// A driver of virtio devices, small and obedient until told otherwise, and a disk in memory.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "devices/block_image.h"
#include "devices/virtio_pci.h"
#include "fakes.h"

namespace dejavm::devices {

/// What a test reads of a disk after the device took it.
struct FakeDisk {
  Bytes bytes;
  bool fails = false;
  int flushes = 0;
};

class FakeStore final : public BlockStore {
 public:
  FakeStore(FakeDisk& disk, bool read_only) : disk_(disk), read_only_(read_only) {}

  uint64_t size() const override { return disk_.bytes.size(); }
  bool read_only() const override { return read_only_; }
  bool read(uint64_t offset, MutableByteSpan to) override {
    std::copy_n(disk_.bytes.begin() + static_cast<ptrdiff_t>(offset), to.size(), to.begin());
    return !disk_.fails;
  }
  bool write(uint64_t offset, ByteSpan from) override {
    std::copy(from.begin(), from.end(), disk_.bytes.begin() + static_cast<ptrdiff_t>(offset));
    return !disk_.fails;
  }
  bool write_zeroes(uint64_t offset, uint64_t size) override { return write(offset, Bytes(size)); }
  bool flush() override {
    ++disk_.flushes;
    return !disk_.fails;
  }

 private:
  FakeDisk& disk_;
  bool read_only_;
};

struct FakeDescriptor {
  uint64_t gpa = 0;
  uint32_t size = 0;
  uint16_t flags = 0;
  uint16_t next = 0;
};

/// 64 KiB of RAM, a device whose BAR 4 is at kBar, and a driver's rings for it.
class VirtioFixture : public DeviceFixture {
 protected:
  static constexpr uint64_t kBar = 0xfea00000;
  static constexpr uint64_t kTable = 0x1000, kAvailable = 0x2000, kUsed = 0x3000;
  static constexpr uint16_t kNext = 1, kWritable = 2, kIndirect = 4;
  static constexpr uint64_t kVersion1 = uint64_t{1} << 32;

  VirtioFixture() { EXPECT_TRUE(memory.set_map({{{0}, 0x10000, 0, true}}).has_value()); }

  VirtioBoard board(MsiSink msi = {}) { return {bus, timers, deferred, dma, std::move(msi)}; }

  static void place(VirtioPci& device) {
    device.reset();
    device.config_write(0x20, 4, kBar);
    device.config_write(0x04, 2, 0x06);
    device.map_windows();
  }

  /// What a driver does up to DRIVER_OK. Returns the status then.
  uint64_t start(uint64_t features, uint16_t size = 8) {
    store(kBar + 0x14, 3, 1);
    store(kBar + 0x08, 0, 4);
    store(kBar + 0x0c, features & 0xffffffff, 4);
    store(kBar + 0x08, 1, 4);
    store(kBar + 0x0c, features >> 32, 4);
    store(kBar + 0x14, 0x0b, 1);
    store(kBar + 0x16, 0, 2);
    store(kBar + 0x18, size, 2);
    store(kBar + 0x20, kTable, 4);
    store(kBar + 0x28, kAvailable, 4);
    store(kBar + 0x30, kUsed, 4);
    store(kBar + 0x1c, 1, 2);
    store(kBar + 0x14, 0x0f, 1);
    return load(kBar + 0x14, 1);
  }

  void notify() {
    store(kBar + 0x3000, 0, 2);
    deferred.run();
  }
  /// Makes a chain available and notifies.
  void offer(uint16_t head, uint16_t size = 8) {
    poke16(kAvailable + 4 + 2 * (offered % size), head);
    poke16(kAvailable + 2, ++offered);
    notify();
  }

  void describe(uint64_t table, unsigned index, const FakeDescriptor& descriptor) {
    uint8_t bytes[16];
    store_le(bytes, descriptor.gpa);
    store_le(bytes + 8, descriptor.size);
    store_le(bytes + 12, descriptor.flags);
    store_le(bytes + 14, descriptor.next);
    poke(table + 16 * index, bytes);
  }
  void poke(uint64_t gpa, ByteSpan bytes) { EXPECT_TRUE(memory.write({gpa}, bytes, vm::Writer::loader).has_value()); }
  void poke16(uint64_t gpa, uint16_t value) {
    uint8_t bytes[2];
    store_le(bytes, value);
    poke(gpa, bytes);
  }
  Bytes peek(uint64_t gpa, size_t size) {
    Bytes bytes(size);
    EXPECT_TRUE(memory.read({gpa}, bytes).has_value());
    return bytes;
  }
  uint16_t used_index() { return load_le<uint16_t>(peek(kUsed + 2, 2).data()); }
  /// Of the first element of the used ring.
  uint32_t used_length() { return load_le<uint32_t>(peek(kUsed + 8, 4).data()); }
  bool needs_reset() { return (load(kBar + 0x14, 1) & 0x40) != 0; }

  vm::GuestMemory memory = vm::GuestMemory::create(0x10000, 0).value();
  vm::Dma dma{memory};
  vm::DeferredWork deferred;
  FakeIrq irq;
  uint16_t offered = 0;
};

}  // namespace dejavm::devices
