// A board for tests: RAM, a bus, one device whose registers do what the test says, and an interrupt pin.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "vm/machine.h"

namespace dejavm::vm {

inline constexpr uint64_t kDevice = 0xf0000000;  ///< 4 KiB of registers of "dev"
inline constexpr uint16_t kPort = 0x500;         ///< 16 ports of "dev"; a region of its own (1)
inline constexpr uint64_t kRamSize = 32 * kPageSize;

/// Registers are what was written to them, but for those that the test answers.
class FakeDevice final : public Device {
 public:
  explicit FakeDevice(std::string name) : name_(std::move(name)) {}

  std::string_view name() const override { return name_; }
  uint64_t read(unsigned region, uint64_t offset, unsigned size) override {
    log.push_back(fmt::format("read {}+{:#x} {}", region, offset, size));
    return on_read ? on_read(region, offset) : registers[offset];
  }
  void write(unsigned region, uint64_t offset, unsigned size, uint64_t value) override {
    log.push_back(fmt::format("write {}+{:#x} {} {:#x}", region, offset, size, value));
    registers[offset] = value;
    if (on_write) on_write(region, offset, value);
  }
  void reset() override {}

  std::map<uint64_t, uint64_t> registers;
  std::function<uint64_t(unsigned region, uint64_t offset)> on_read;
  std::function<void(unsigned region, uint64_t offset, uint64_t value)> on_write;
  std::vector<std::string> log;

 private:
  std::string name_;
};

class FakeInput final : public ByteInput {
 public:
  size_t room() const override { return free; }
  void receive(ByteSpan bytes) override {
    free -= bytes.size();
    received.append(bytes.begin(), bytes.end());
    if (on_receive) on_receive();
  }

  size_t free = 16;
  std::string received;
  std::function<void()> on_receive;
};

class FakeMachine final : public Machine {
 public:
  explicit FakeMachine(const Clock& clock) : timers_(clock) {
    CHECK(memory_.set_map({{{0}, kRamSize, 0, true}}).has_value());
    CHECK(bus_.map(device, 0, Space::mmio, kDevice, 0x1000, 8).has_value());
    CHECK(bus_.map(device, 1, Space::pio, kPort, 16, 4).has_value());
  }

  Bus& bus() override { return bus_; }
  GuestMemory& memory() override { return memory_; }
  TimerQueue& timers() override { return timers_; }
  DeferredWork& deferred() override { return deferred_; }
  bool interrupt_pending() override { return !vectors.empty(); }
  uint8_t acknowledge_interrupt() override {
    uint8_t vector = vectors.front();
    vectors.pop_front();
    return vector;
  }
  std::optional<PowerEvent> take_power_event() override { return std::exchange(power, std::nullopt); }
  Status reset() override {
    ++resets;
    return {};
  }

  /// Writes guest memory as a device does, when the accessing instruction has completed.
  void post_dma(uint64_t gpa, Bytes bytes) {
    deferred_.post([this, gpa, bytes = std::move(bytes)] { CHECK(Dma(memory_).write(gpa, bytes)); });
  }

  FakeDevice device{"dev"};
  std::deque<uint8_t> vectors;  ///< interrupts that wait, in order
  std::optional<PowerEvent> power;
  int resets = 0;
  FakeInput input;

 private:
  GuestMemory memory_ = GuestMemory::create(kRamSize, 0).value();
  Bus bus_;
  TimerQueue timers_;
  DeferredWork deferred_;
};

}  // namespace dejavm::vm
