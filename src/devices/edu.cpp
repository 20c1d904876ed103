#include "devices/edu.h"

namespace dejavm::devices {
namespace {

constexpr uint32_t kIdentification = 0x010000ed;
constexpr uint64_t kLiveness = 0x04, kFactorial = 0x08, kStatus = 0x20, kInterruptStatus = 0x24, kRaise = 0x60,
                   kAcknowledge = 0x64;
constexpr uint64_t kDmaSource = 0x80, kDmaDestination = 0x88, kDmaCount = 0x90, kDmaCommand = 0x98;
constexpr uint32_t kComputing = 0x01, kFactorialInterrupts = 0x80;
constexpr uint64_t kDmaStart = 0x01, kDmaToGuest = 0x02, kDmaInterrupts = 0x04;
constexpr uint32_t kFactorialDone = 0x001, kDmaDone = 0x100;
constexpr uint64_t kUs = 1000;

uint32_t factorial_of(uint32_t n) {
  uint32_t product = 1;
  // From 34 on the product is a multiple of 2^32: it stays 0, however large n is.
  while (n > 1 && product != 0) product *= n--;
  return product;
}

bool size_is_valid(uint64_t offset, unsigned size) { return size == 4 || (size == 8 && offset >= 0x80); }

// QEMU's bus answers accesses below four bytes with zero, its device wide ones with all ones.
uint64_t wrong_size_value(unsigned size) { return size < 4 ? 0 : UINT64_MAX; }

}  // namespace

Edu::Edu(std::string name, vm::Bus& bus, unsigned devfn, vm::TimerQueue& timers, vm::Dma& dma, const EduConfig& config)
    : PciDevice(bus, devfn,
                {.vendor = 0x1234, .device = 0x11e8, .revision = 0x10, .class_code = 0x00ff00, .interrupt_pin = 1}),
      name_(std::move(name)),
      timers_(timers),
      dma_(dma),
      config_(config) {
  add_bar(0, vm::Space::mmio, 1u << 20, 8);
  add_msi(0x40);
}

Edu::~Edu() {
  timers_.cancel(factorial_timer_);
  timers_.cancel(dma_timer_);
}

void Edu::device_reset() {
  timers_.cancel(factorial_timer_);
  timers_.cancel(dma_timer_);
  factorial_timer_ = dma_timer_ = 0;
  liveness_ = factorial_ = status_ = interrupts_ = 0;
  registers_ = {};
  buffer_.fill(0);
}

uint64_t Edu::read(unsigned, uint64_t offset, unsigned size) {
  if (!size_is_valid(offset, size)) return wrong_size_value(size);
  switch (offset) {
    case 0x00:
      return kIdentification;
    case kLiveness:
      return liveness_;
    case kFactorial:
      return factorial_;
    case kStatus:
      return status_;
    case kInterruptStatus:
      return interrupts_;
    default:
      break;
  }
  const uint64_t* dma = dma_register(offset);
  return dma != nullptr ? *dma : UINT64_MAX;
}

void Edu::write(unsigned, uint64_t offset, unsigned size, uint64_t value) {
  if (!size_is_valid(offset, size)) return;
  auto word = static_cast<uint32_t>(value);
  switch (offset) {
    case kLiveness:
      liveness_ = ~word;
      break;
    case kFactorial:
      start_factorial(word);
      break;
    case kStatus:
      status_ = (status_ & ~kFactorialInterrupts) | (word & kFactorialInterrupts);
      break;
    case kRaise:
      raise(word);
      break;
    case kAcknowledge:
      interrupts_ &= ~word;
      set_intx(interrupts_ != 0);
      break;
    default:
      write_dma(offset, size, value);
      break;
  }
}

void Edu::start_factorial(uint32_t operand) {
  if ((status_ & kComputing) != 0) return;
  factorial_ = operand;
  status_ |= kComputing;
  factorial_timer_ = timers_.arm(timers_.now_ns() + config_.factorial_delay_us * kUs, [this] { finish_factorial(); });
}

void Edu::finish_factorial() {
  factorial_ = factorial_of(factorial_);
  status_ &= ~kComputing;
  if ((status_ & kFactorialInterrupts) != 0) raise(kFactorialDone);
}

uint64_t* Edu::dma_register(uint64_t offset) {
  switch (offset) {
    case kDmaSource:
      return &registers_.source;
    case kDmaDestination:
      return &registers_.destination;
    case kDmaCount:
      return &registers_.count;
    case kDmaCommand:
      return &registers_.command;
    default:
      return nullptr;
  }
}

void Edu::write_dma(uint64_t offset, unsigned size, uint64_t value) {
  uint64_t* target = dma_register(offset);
  bool running = (registers_.command & kDmaStart) != 0;
  if (target == nullptr || running) return;
  if (target == &registers_.command && (value & kDmaStart) == 0) return;
  *target = low_bytes(value, size);
  if (target == &registers_.command) {
    dma_timer_ = timers_.arm(timers_.now_ns() + config_.dma_delay_us * kUs, [this] { finish_dma(); });
  }
}

void Edu::finish_dma() {
  bool to_guest = (registers_.command & kDmaToGuest) != 0;
  uint64_t device_address = to_guest ? registers_.source : registers_.destination;
  uint64_t guest_address = (to_guest ? registers_.destination : registers_.source) & config_.dma_mask;
  registers_.command &= ~kDmaStart;
  uint64_t offset = device_address - kBufferStart;
  if (device_address < kBufferStart || offset > kBufferSize || registers_.count > kBufferSize - offset) return;
  if (bus_master()) transfer(offset, guest_address, to_guest);
  if ((registers_.command & kDmaInterrupts) != 0) raise(kDmaDone);
}

void Edu::transfer(uint64_t offset, uint64_t guest_address, bool to_guest) {
  MutableByteSpan bytes(buffer_.data() + offset, registers_.count);
  // False means that nothing was copied; the device has no register that would tell.
  if (to_guest) {
    static_cast<void>(dma_.write(guest_address, bytes));
  } else {
    static_cast<void>(dma_.read(guest_address, bytes));
  }
}

void Edu::raise(uint32_t bits) {
  interrupts_ |= bits;
  set_intx(interrupts_ != 0);
  if (interrupts_ != 0) send_msi();
}

}  // namespace dejavm::devices
