// Ports for debugging: debugcon (QEMU's isa-debugcon), isa-debug-exit (QEMU), and the POST code port 0x80.
#pragma once

#include <cstdint>

#include "devices/power.h"
#include "vm/bus.h"
#include "vm/device.h"

namespace dejavm::devices {

/// Bytes written to a port go to the host; a read gives 0xe9, by which firmware finds it. Listens on any number of ports;
/// registers are numbered by port.
class Debugcon final : public vm::Device {
 public:
  explicit Debugcon(ByteSink output) : output_(std::move(output)) {}

  Status attach(vm::Bus& bus, uint16_t port) { return bus.map(*this, 0, vm::Space::pio, port, 1, 1, port); }

  std::string_view name() const override { return "debugcon"; }
  uint64_t read(unsigned, uint64_t, unsigned) override { return 0xe9; }
  void write(unsigned, uint64_t, unsigned, uint64_t value) override {
    if (output_) output_(static_cast<uint8_t>(value));
  }
  void reset() override {}

 private:
  ByteSink output_;
};

/// A write ends the run with exit status (value << 1) | 1. Reads give 0.
class DebugExit final : public vm::Device {
 public:
  explicit DebugExit(PowerSink power) : power_(std::move(power)) {}

  Status attach(vm::Bus& bus, uint16_t base, uint16_t size) { return bus.map(*this, 0, vm::Space::pio, base, size, 4); }

  std::string_view name() const override { return "isa-debug-exit"; }
  uint64_t read(unsigned, uint64_t, unsigned) override { return 0; }
  void write(unsigned, uint64_t, unsigned, uint64_t value) override {
    power_({vm::PowerEvent::Kind::exit, "isa-debug-exit", static_cast<uint8_t>(value << 1 | 1)});
  }
  void reset() override {}

 private:
  PowerSink power_;
};

/// Port 0x80 takes POST codes and I/O delays; it reads as nobody would answer.
class PostPort final : public vm::Device {
 public:
  Status attach(vm::Bus& bus) { return bus.map(*this, 0, vm::Space::pio, 0x80, 1, 1); }

  std::string_view name() const override { return "post"; }
  uint64_t read(unsigned, uint64_t, unsigned) override { return 0xff; }
  void write(unsigned, uint64_t, unsigned, uint64_t) override {}
  void reset() override {}
};

}  // namespace dejavm::devices
