#include "devices/e1000_phy.h"

namespace dejavm::devices::e1000 {
namespace {

constexpr unsigned kControl = 0, kPhyStatus = 1, kPartner = 5;
constexpr uint16_t kControlReset = 0x8000, kControlLoopback = 0x4000, kControlNegotiate = 0x1000, kControlRestart = 0x0200;
constexpr uint16_t kControlReserved = 0x003f;
constexpr uint16_t kLinkUp = 0x0004, kNegotiated = 0x0020;  // status
constexpr uint16_t kAcknowledged = 0x4000;                  // link partner
constexpr uint64_t kNegotiationNs = 500'000'000;

constexpr uint32_t kMdicRead = 1u << 27, kMdicWrite = 1u << 26, kMdicReady = 1u << 28, kMdicInterrupt = 1u << 29;
constexpr uint32_t kMdicError = 1u << 30;
constexpr uint32_t kPhyAddress = 1;

struct Entry {
  unsigned number;
  uint16_t value;
  bool writable;
};
constexpr Entry kEntries[] = {
    {kControl, 0x1140, true},  {kPhyStatus, 0x794d, false}, {2, 0x0141, false},  {3, 0x0c20, false},  {4, 0x0de1, true},
    {kPartner, 0x01e0, false}, {6, 0x0000, false},          {9, 0x0e00, true},   {10, 0x3c00, false}, {16, 0x0360, true},
    {17, 0xac00, false},       {20, 0x0d60, true},          {21, 0x0000, false},
};

const Entry* find(unsigned number) {
  for (const Entry& entry : kEntries) {
    if (entry.number == number) return &entry;
  }
  return nullptr;
}

}  // namespace

Phy::Phy(Registers& registers, Interrupts& interrupts, vm::TimerQueue& timers)
    : registers_(registers), interrupts_(interrupts), timers_(timers) {
  reset();
}

void Phy::reset() {
  timers_.cancel(negotiation_);
  negotiation_ = 0;
  values_.fill(0);
  for (const Entry& entry : kEntries) values_[entry.number] = entry.value;
}

bool Phy::loopback() const { return (values_[kControl] & kControlLoopback) != 0; }
bool Phy::link_up() const { return (values_[kPhyStatus] & kLinkUp) != 0; }

void Phy::mdic_written(uint32_t value) {
  unsigned number = value >> 16 & 0x1f;
  const Entry* entry = find(number);
  uint32_t& mdic = registers_[kMdic];
  if ((value >> 21 & 0x1f) != kPhyAddress) {
    mdic |= kMdicError | kMdicReady;
  } else {
    mdic = value | kMdicReady;
    if (entry == nullptr) {
      mdic |= kMdicError;
    } else if ((value & kMdicRead) != 0) {
      mdic = (mdic & ~0xffffu) | values_[number];
    } else if ((value & kMdicWrite) != 0) {
      if (entry->writable) {
        write(number, static_cast<uint16_t>(value));
      } else {
        mdic |= kMdicError;
      }
    }
  }
  if ((value & kMdicInterrupt) != 0) interrupts_.raise(kCauseMdio);
}

void Phy::write(unsigned number, uint16_t value) {
  if (number != kControl) {
    values_[number] = value;
    return;
  }
  values_[kControl] = static_cast<uint16_t>(value & ~(kControlReserved | kControlReset | kControlRestart));
  if ((value & kControlRestart) != 0 && (value & kControlNegotiate) != 0) restart_negotiation();
}

void Phy::restart_negotiation() {
  timers_.cancel(negotiation_);
  registers_[kStatus] &= ~kStatusLinkUp;
  values_[kPhyStatus] &= static_cast<uint16_t>(~(kLinkUp | kNegotiated));
  values_[kPartner] &= static_cast<uint16_t>(~kAcknowledged);
  negotiation_ = timers_.arm(timers_.now_ns() + kNegotiationNs, [this] { finish_negotiation(); });
}

void Phy::finish_negotiation() {
  negotiation_ = 0;
  registers_[kStatus] |= kStatusLinkUp;
  values_[kPhyStatus] |= kLinkUp | kNegotiated;
  values_[kPartner] |= kAcknowledged;
  interrupts_.raise(kCauseLinkChange);
}

}  // namespace dejavm::devices::e1000
