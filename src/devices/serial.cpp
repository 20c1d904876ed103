#include "devices/serial.h"

namespace dejavm::devices {
namespace {

enum Register : unsigned { kData, kIer, kIirFcr, kLcr, kMcr, kLsr, kMsr, kScratch };

constexpr uint8_t kIerReceive = 0x01, kIerThre = 0x02, kIerLine = 0x04, kIerModem = 0x08;
constexpr uint8_t kIirNone = 0x01, kIirModem = 0x00, kIirThre = 0x02, kIirReceive = 0x04, kIirLine = 0x06,
                  kIirTimeout = 0x0c;
constexpr uint8_t kIirFifos = 0xc0;
constexpr uint8_t kLsrDataReady = 0x01, kLsrOverrun = 0x02, kLsrThre = 0x20, kLsrTemt = 0x40;
constexpr uint8_t kConnected = 0xb0;  // DCD, DSR and CTS

size_t trigger_level(uint8_t fcr) {
  static constexpr size_t kLevels[] = {1, 4, 8, 14};
  return kLevels[fcr >> 6];
}

}  // namespace

Serial::Serial(std::string name, vm::IrqLine irq, ByteSink output)
    : name_(std::move(name)), irq_(irq), output_(std::move(output)) {
  reset();
}

void Serial::reset() {
  received_.clear();
  last_received_ = 0;
  divisor_ = 12;
  ier_ = fcr_ = lcr_ = mcr_ = line_errors_ = scratch_ = 0;
  msr_ = kConnected;
  thr_empty_pending_ = false;
  update_irq();
}

uint64_t Serial::read(unsigned, uint64_t offset, unsigned) {
  switch (offset) {
    case kData:
      return divisor_access() ? divisor_ & 0xff : read_receiver();
    case kIer:
      return divisor_access() ? divisor_ >> 8 : ier_;
    case kIirFcr:
      return read_iir();
    case kLcr:
      return lcr_;
    case kMcr:
      return mcr_;
    case kLsr:
      return read_lsr();
    case kMsr:
      return read_msr();
    default:
      return scratch_;
  }
}

void Serial::write(unsigned, uint64_t offset, unsigned, uint64_t value) {
  auto byte = static_cast<uint8_t>(value);
  switch (offset) {
    case kData:
      if (divisor_access()) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0xff00) | byte);
      } else {
        transmit(byte);
      }
      break;
    case kIer:
      if (divisor_access()) {
        divisor_ = static_cast<uint16_t>((divisor_ & 0x00ff) | byte << 8);
      } else {
        write_ier(byte);
      }
      break;
    case kIirFcr:
      write_fcr(byte);
      break;
    case kLcr:
      lcr_ = byte;
      break;
    case kMcr:
      write_mcr(byte);
      break;
    case kScratch:
      scratch_ = byte;
      break;
    default:  // LSR and MSR: writes are for factory tests only
      break;
  }
}

size_t Serial::room() const {
  if (loopback() || received_.size() >= depth()) return 0;
  return depth() - received_.size();
}

void Serial::receive(ByteSpan bytes) {
  if (loopback()) return;
  for (uint8_t byte : bytes) push(byte);
  update_irq();
}

void Serial::push(uint8_t byte) {
  if (received_.size() >= depth()) {
    line_errors_ |= kLsrOverrun;
    if (fifos()) return;  // the shift register is overwritten, the FIFO keeps
    received_.clear();    // without FIFOs the new byte replaces the old one
  }
  received_.push_back(byte);
}

uint8_t Serial::read_receiver() {
  if (!received_.empty()) {
    last_received_ = received_.front();
    received_.pop_front();
    update_irq();
  }
  return last_received_;
}

void Serial::transmit(uint8_t byte) {
  // Writing THR takes the request back; the empty THR makes a new one, which the interrupt controller sees as an edge.
  thr_empty_pending_ = false;
  update_irq();
  if (loopback()) {
    push(byte);
  } else if (output_) {
    output_(byte);
  }
  thr_empty_pending_ = true;
  update_irq();
}

uint8_t Serial::interrupt_id() const {
  if ((ier_ & kIerLine) != 0 && line_errors_ != 0) return kIirLine;
  if ((ier_ & kIerReceive) != 0 && !received_.empty()) {
    bool below = fifos() && received_.size() < trigger_level(fcr_);
    return below ? kIirTimeout : kIirReceive;
  }
  if ((ier_ & kIerThre) != 0 && thr_empty_pending_) return kIirThre;
  if ((ier_ & kIerModem) != 0 && (msr_ & 0x0f) != 0) return kIirModem;
  return kIirNone;
}

void Serial::update_irq() { irq_.set(interrupt_id() != kIirNone); }

uint8_t Serial::read_iir() {
  uint8_t id = interrupt_id();
  if (id == kIirThre) {  // reading its id answers the THRE interrupt
    thr_empty_pending_ = false;
    update_irq();
  }
  return static_cast<uint8_t>(id | (fifos() ? kIirFifos : 0));
}

uint8_t Serial::read_lsr() {
  auto value = static_cast<uint8_t>(kLsrThre | kLsrTemt | line_errors_ | (received_.empty() ? 0 : kLsrDataReady));
  line_errors_ = 0;
  update_irq();
  return value;
}

uint8_t Serial::read_msr() {
  uint8_t value = msr_;
  msr_ &= 0xf0;
  update_irq();
  return value;
}

void Serial::write_ier(uint8_t value) {
  value &= 0x0f;
  // Enabling the THRE interrupt while THR is empty requests it at once.
  if ((value & ~ier_ & kIerThre) != 0) thr_empty_pending_ = true;
  ier_ = value;
  update_irq();
}

void Serial::write_fcr(uint8_t value) {
  bool toggled = ((value ^ fcr_) & 0x01) != 0;
  if (toggled || (value & 0x02) != 0) received_.clear();
  // Bits other than the enable are taken only together with it.
  fcr_ = (value & 0x01) != 0 ? value & 0xc9 : 0;
  update_irq();
}

void Serial::write_mcr(uint8_t value) {
  mcr_ = value & 0x1f;
  if (!loopback()) {
    set_modem_lines(kConnected);
  } else {
    // DTR to DSR, RTS to CTS, OUT1 to RI, OUT2 to DCD.
    set_modem_lines(static_cast<uint8_t>((mcr_ & 0x01) << 5 | (mcr_ & 0x02) << 3 | (mcr_ & 0x0c) << 4));
  }
  update_irq();
}

void Serial::set_modem_lines(uint8_t lines) {
  uint8_t before = msr_ & 0xf0;
  auto deltas = static_cast<uint8_t>((before ^ lines) >> 4);
  if ((lines & 0x40) != 0) deltas &= static_cast<uint8_t>(~0x04);  // RI reports its trailing edge only
  msr_ = static_cast<uint8_t>(lines | (msr_ & 0x0f) | deltas);
}

}  // namespace dejavm::devices
