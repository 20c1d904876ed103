#include "devices/pit.h"

namespace dejavm::devices {
namespace {

constexpr uint64_t kControl = 0x43;
constexpr uint64_t kPortB = 0x61;
// Port 0x61 bit 4 toggles with every DRAM refresh request, 15.085 us apart.
constexpr uint64_t kRefreshNs = 15085;

}  // namespace

Pit::Pit(vm::TimerQueue& timers, vm::IrqLine irq) : timers_(timers), irq_(irq) { reset(); }

Pit::~Pit() { timers_.cancel(timer_); }

Status Pit::attach(vm::Bus& bus) {
  TRY(bus.map(*this, 0, vm::Space::pio, 0x40, 4, 1, 0x40));
  return bus.map(*this, 0, vm::Space::pio, kPortB, 1, 1, kPortB);
}

void Pit::reset() {
  channels_ = {PitChannel(true), PitChannel(true), PitChannel(false)};
  port_b_ = 0;
  // The counters' state after power-on is undefined; as in QEMU, all run in mode 3 with the longest count.
  for (PitChannel& channel : channels_) {
    channel.control(0x36, now());
    channel.write(0, now());
    channel.write(0, now());
  }
  irq_.set(false);
  schedule();
}

uint8_t Pit::read_port_b() {
  bool refresh = (timers_.now_ns() / kRefreshNs & 1) != 0;
  return static_cast<uint8_t>(port_b_ | (refresh ? 0x10 : 0) | (channels_[2].out(now()) ? 0x20 : 0));
}

uint64_t Pit::read(unsigned, uint64_t port, unsigned) {
  if (port == kPortB) return read_port_b();
  if (port == kControl) return 0;  // write-only
  return channels_[port & 3].read(now());
}

void Pit::write(unsigned, uint64_t port, unsigned, uint64_t value) {
  auto byte = static_cast<uint8_t>(value);
  if (port == kPortB) {
    port_b_ = byte & 0x0f;
    channels_[2].set_gate((byte & 1) != 0, now());
  } else if (port == kControl) {
    write_control(byte);
  } else {
    channels_[port & 3].write(byte, now());
    if ((port & 3) == 0) schedule();
  }
}

void Pit::write_control(uint8_t word) {
  unsigned counter = word >> 6;
  if (counter == 3) {  // read-back: both latch bits are active low
    for (unsigned i = 0; i < channels_.size(); ++i) {
      if ((word >> (i + 1) & 1) == 0) continue;
      if ((word & 0x20) == 0) channels_[i].latch_count(now());
      if ((word & 0x10) == 0) channels_[i].latch_status(now());
    }
    return;
  }
  if ((word & 0x30) == 0) {
    channels_[counter].latch_count(now());
    return;
  }
  channels_[counter].control(word, now());
  if (counter != 0) return;
  if (channels_[0].mode() == 0) irq_.set(false);  // OUT is low until the count ends
  schedule();
}

void Pit::schedule() {
  timers_.cancel(timer_);
  timer_ = 0;
  if (std::optional<uint64_t> tick = channels_[0].next_rise(now())) {
    timer_ = timers_.arm(rate_.ns(*tick), [this] { rise(); });
  }
}

void Pit::rise() {
  // The low phase before the rise cannot be seen by an edge-triggered input: both edges are made here.
  irq_.set(false);
  irq_.set(true);
  schedule();
}

}  // namespace dejavm::devices
