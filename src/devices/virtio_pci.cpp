#include "devices/virtio_pci.h"

#include <bit>

#include "base/check.h"

namespace dejavm::devices {
namespace {

// BAR 4, as QEMU lays it out: four areas of 4 KiB.
constexpr unsigned kMsixBar = 1, kRegisterBar = 4;
constexpr uint32_t kAreaSize = 0x1000;
constexpr uint64_t kCommon = 0x0000, kIsr = 0x1000, kDevice = 0x2000, kNotify = 0x3000, kEnd = 0x4000;
constexpr uint32_t kNotifyMultiplier = 4;

// Capabilities, at QEMU's places.
constexpr uint8_t kVendorSpecific = 0x09, kMsixCapability = 0x11;
constexpr unsigned kCommonCap = 0x40, kIsrCap = 0x50, kDeviceCap = 0x60, kNotifyCap = 0x70, kConfigCap = 0x84,
                   kMsixCap = 0x98;
constexpr unsigned kConfigBar = kConfigCap + 4, kConfigOffset = kConfigCap + 8, kConfigData = kConfigCap + 16;
constexpr unsigned kMsixVectors = 2;
constexpr uint8_t kMsixEnable = 0x80, kMsixFunctionMask = 0x40;  // in the high byte of the message control

// Registers of the common configuration.
constexpr uint64_t kDeviceSelect = 0x00, kDeviceFeatures = 0x04, kDriverSelect = 0x08, kDriverFeatures = 0x0c,
                   kConfigVector = 0x10, kQueues = 0x12, kStatus = 0x14, kQueueSelect = 0x16, kQueueSize = 0x18,
                   kQueueVector = 0x1a, kQueueEnable = 0x1c, kDescriptors = 0x20, kAvailable = 0x28, kUsed = 0x30,
                   kQueueReset = 0x3a;

constexpr uint8_t kDriverOk = 0x04, kFeaturesOk = 0x08, kNeedsReset = 0x40;
constexpr uint8_t kQueueCause = 1, kConfigCause = 2;
constexpr unsigned kIndirect = 28, kEventIndex = 29, kVersion1 = 32, kRingReset = 40;
constexpr uint64_t kTransportFeatures =
    uint64_t{1} << kIndirect | uint64_t{1} << kEventIndex | uint64_t{1} << kVersion1 | uint64_t{1} << kRingReset;
constexpr uint16_t kNoVector = 0xffff;
constexpr uint64_t kPauseNs = 1000;
constexpr uint64_t kWorkOfRequest = 4096;  // what a request costs however small it is

uint64_t with_low(uint64_t whole, uint32_t half) { return (whole & ~uint64_t{UINT32_MAX}) | half; }
uint64_t with_high(uint64_t whole, uint32_t half) { return (whole & UINT32_MAX) | uint64_t{half} << 32; }

}  // namespace

VirtioPci::VirtioPci(std::string name, const VirtioBoard& board, unsigned devfn, VirtioConfig config)
    : PciDevice(board.bus, devfn,
                {.vendor = 0x1af4,
                 .device = static_cast<uint16_t>(0x1040 + config.device),
                 .revision = 1,
                 .class_code = config.class_code,
                 .interrupt_pin = 1}),
      name_(std::move(name)),
      board_(board),
      config_(std::move(config)),
      offered_(config_.features | kTransportFeatures),
      msix_(board_.msi ? std::make_unique<Msix>(kMsixVectors,
                                                [this](uint64_t address, uint32_t data) {
                                                  if (bus_master()) board_.msi(address, data);  // a write like any other
                                                })
                       : nullptr),
      queue_(config_.queue_size),
      registers_(config_.registers) {
  add_bar64(kRegisterBar, kEnd, 4);
  add_capabilities();
}

VirtioPci::~VirtioPci() { board_.timers.cancel(timer_); }

void VirtioPci::add_capabilities() {
  auto area = [this](unsigned at, uint8_t kind, uint32_t offset, uint8_t length) {
    uint8_t body[18] = {length, kind, kRegisterBar};
    store_le(body + 6, offset);
    store_le(body + 10, kAreaSize);
    store_le(body + 14, kNotifyMultiplier);
    add_capability(at, kVendorSpecific, {body, length - 2u});
  };
  area(kCommonCap, 1, kCommon, 16);
  area(kIsrCap, 3, kIsr, 16);
  area(kDeviceCap, 4, kDevice, 16);
  area(kNotifyCap, 2, kNotify, 20);
  const uint8_t config_access[18] = {20, 5};
  add_capability(kConfigCap, kVendorSpecific, config_access);
  set_writable(kConfigBar, 1, 0xff);
  set_writable(kConfigOffset, 12, 0xff);
  if (msix_ == nullptr) return;
  add_bar(kMsixBar, vm::Space::mmio, kAreaSize, 4);
  uint8_t body[10] = {kMsixVectors - 1};
  store_le(body + 2, uint32_t{kMsixBar});
  store_le(body + 6, static_cast<uint32_t>(Msix::kPendingOffset | kMsixBar));
  add_capability(kMsixCap, kMsixCapability, body);
  set_writable(kMsixCap + 3, 1, kMsixEnable | kMsixFunctionMask);
}

void VirtioPci::device_reset() {
  if (msix_ != nullptr) msix_->reset();
  reset_virtio();
}

void VirtioPci::reset_virtio() {
  board_.timers.cancel(timer_);
  timer_ = 0;
  queue_.reset();
  registers_ = config_.registers;
  driver_features_ = 0;
  device_select_ = driver_select_ = 0;
  queue_select_ = 0;
  config_vector_ = kNoVector;
  status_ = isr_ = 0;
  drive();
  virtio_reset();
}

// The window to BAR 4 in the configuration space, for firmware that cannot reach a BAR above 4 GiB.

bool VirtioPci::config_access(uint64_t& offset, unsigned& size) const {
  uint8_t fields[8];
  for (unsigned i = 0; i < 8; ++i) fields[i] = config(kConfigOffset + i);
  offset = load_le<uint32_t>(fields);
  auto length = load_le<uint32_t>(fields + 4);
  if (config(kConfigBar) != kRegisterBar || (length != 1 && length != 2 && length != 4)) return false;
  size = length;
  return offset % length == 0 && offset < kEnd;
}

void VirtioPci::config_written(unsigned offset, unsigned size) {
  if (msix_ != nullptr) {
    uint8_t control = config(kMsixCap + 3);
    msix_->set_control((control & kMsixEnable) != 0, (control & kMsixFunctionMask) != 0);
    drive();
  }
  uint64_t at = 0;
  unsigned length = 0;
  if (offset >= kConfigData + 4 || offset + size <= kConfigData || !config_access(at, length)) return;
  uint8_t data[4];
  for (unsigned i = 0; i < 4; ++i) data[i] = config(kConfigData + i);
  write(kRegisterBar, at, length, low_bytes(load_le<uint32_t>(data), length));
}

void VirtioPci::config_reading(unsigned offset, unsigned size) {
  uint64_t at = 0;
  unsigned length = 0;
  if (offset >= kConfigData + 4 || offset + size <= kConfigData || !config_access(at, length)) return;
  uint64_t value = read(kRegisterBar, at, length);
  for (unsigned i = 0; i < length; ++i) store_config(kConfigData + i, static_cast<uint8_t>(value >> (8 * i)));
}

uint64_t VirtioPci::read(unsigned region, uint64_t offset, unsigned size) {
  if (region == kMsixBar && msix_ != nullptr) return msix_->read(offset, size);
  if (offset < kIsr) return low_bytes(read_common(offset), size);
  if (offset >= kNotify) return 0;
  if (offset >= kDevice) return read_registers(offset - kDevice, size);
  uint8_t cause = std::exchange(isr_, uint8_t{0});
  drive();
  return cause;
}

void VirtioPci::write(unsigned region, uint64_t offset, unsigned size, uint64_t value) {
  if (region == kMsixBar) {
    if (msix_ != nullptr) msix_->write(offset, size, static_cast<uint32_t>(value));
  } else if (offset < kIsr) {
    write_common(offset, static_cast<uint32_t>(low_bytes(value, size)));
  } else if (offset >= kNotify) {
    if ((offset - kNotify) / kNotifyMultiplier == 0) notify();
  } else if (offset >= kDevice) {
    for (unsigned i = 0; i < size; ++i) registers_written(offset - kDevice + i, static_cast<uint8_t>(value >> (8 * i)));
  }
}

void VirtioPci::registers_written(uint64_t, uint8_t) {}

uint64_t VirtioPci::read_registers(uint64_t offset, unsigned size) const {
  if (offset + size > registers_.size()) return low_bytes(UINT64_MAX, size);
  uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) value |= uint64_t{registers_[offset + i]} << (8 * i);
  return value;
}

uint32_t VirtioPci::read_common(uint64_t offset) const {
  switch (offset) {
    case kDeviceSelect:
      return device_select_;
    case kDeviceFeatures:
      return device_select_ < 2 ? static_cast<uint32_t>(offered_ >> (32 * device_select_)) : 0;
    case kDriverSelect:
      return driver_select_;
    case kDriverFeatures:
      return driver_select_ < 2 ? static_cast<uint32_t>(driver_features_ >> (32 * driver_select_)) : 0;
    case kConfigVector:
      return config_vector_;
    case kQueues:
      return 1;
    case kStatus:
      return status_;
    case kQueueSelect:
      return queue_select_;
    default:
      return queue_select_ == 0 ? read_queue_register(offset) : offset == kQueueVector ? kNoVector : 0;
  }
}

uint32_t VirtioPci::read_queue_register(uint64_t offset) const {
  const VirtioQueue::Registers& queue = queue_.registers();
  switch (offset) {
    case kQueueSize:
      return queue.size;
    case kQueueVector:
      return queue.vector;
    case kQueueEnable:
      return queue.enabled ? 1 : 0;
    case kDescriptors:
      return static_cast<uint32_t>(queue.descriptors);
    case kDescriptors + 4:
      return static_cast<uint32_t>(queue.descriptors >> 32);
    case kAvailable:
      return static_cast<uint32_t>(queue.available);
    case kAvailable + 4:
      return static_cast<uint32_t>(queue.available >> 32);
    case kUsed:
      return static_cast<uint32_t>(queue.used);
    case kUsed + 4:
      return static_cast<uint32_t>(queue.used >> 32);
    default:
      return 0;  // the queue's place among the notifications and whether it is being reset, too
  }
}

uint16_t VirtioPci::valid_vector(uint32_t vector) const {
  return msix_ != nullptr && vector < kMsixVectors ? static_cast<uint16_t>(vector) : kNoVector;
}

void VirtioPci::write_common(uint64_t offset, uint32_t value) {
  switch (offset) {
    case kDeviceSelect:
      device_select_ = value;
      break;
    case kDriverSelect:
      driver_select_ = value;
      break;
    case kDriverFeatures:
      if ((status_ & kFeaturesOk) != 0 || driver_select_ > 1) break;
      driver_features_ = driver_select_ == 0 ? with_low(driver_features_, value) : with_high(driver_features_, value);
      break;
    case kConfigVector:
      config_vector_ = valid_vector(value);
      break;
    case kStatus:
      write_status(static_cast<uint8_t>(value));
      break;
    case kQueueSelect:
      queue_select_ = static_cast<uint16_t>(value);
      break;
    default:
      if (queue_select_ == 0) write_queue_register(offset, value);
      break;
  }
}

void VirtioPci::write_queue_register(uint64_t offset, uint32_t value) {
  VirtioQueue::Registers& queue = queue_.registers();
  if (offset == kQueueVector) {
    queue.vector = valid_vector(value);
    return;
  }
  if (offset == kQueueReset) {
    if (value == 1 && negotiated(kRingReset)) queue_.reset();
    return;
  }
  if (queue.enabled) return;  // its place is fixed while it works
  switch (offset) {
    case kQueueSize:
      if (std::has_single_bit(value) && value <= queue_.max_size()) queue.size = static_cast<uint16_t>(value);
      break;
    case kQueueEnable:
      queue.enabled = value == 1;
      queue_.use(negotiated(kIndirect), negotiated(kEventIndex));
      break;
    case kDescriptors:
      queue.descriptors = with_low(queue.descriptors, value);
      break;
    case kDescriptors + 4:
      queue.descriptors = with_high(queue.descriptors, value);
      break;
    case kAvailable:
      queue.available = with_low(queue.available, value);
      break;
    case kAvailable + 4:
      queue.available = with_high(queue.available, value);
      break;
    case kUsed:
      queue.used = with_low(queue.used, value);
      break;
    case kUsed + 4:
      queue.used = with_high(queue.used, value);
      break;
    default:
      break;
  }
}

void VirtioPci::write_status(uint8_t value) {
  if (value == 0) {
    reset_virtio();
    return;
  }
  bool acceptable = (driver_features_ & ~offered_) == 0 && negotiated(kVersion1);
  if ((status_ & kFeaturesOk) == 0 && !acceptable) value = static_cast<uint8_t>(value & ~kFeaturesOk);
  status_ = static_cast<uint8_t>((status_ & kNeedsReset) | value);
}

// Serving the queue.

void VirtioPci::notify() {
  if (notified_) return;
  notified_ = true;
  board_.deferred.post([this] {
    notified_ = false;
    work();
  });
}

bool VirtioPci::may_work() const {
  return queue_.registers().enabled && (status_ & (kDriverOk | kNeedsReset)) == kDriverOk && bus_master();
}

void VirtioPci::work() {
  if (!may_work() || timer_ != 0) return;  // with a timer, the rest of what waits is due anyway
  uint64_t work = 0;
  while (work < kWorkAtOnce) {
    VirtioChain chain;
    VirtioQueue::Pop popped = queue_.pop(board_.dma, chain);
    if (popped == VirtioQueue::Pop::empty) return finish(false, false);
    std::optional<Served> served;
    if (popped == VirtioQueue::Pop::chain) served = serve(chain);
    if (!served || !queue_.push(board_.dma, chain.head, served->written)) return finish(true, false);
    work += kWorkOfRequest + served->moved;
  }
  finish(false, true);
}

void VirtioPci::finish(bool broken, bool more) {
  broken = !queue_.publish(board_.dma) || broken;
  if (queue_.wants_interrupt(board_.dma)) interrupt(kQueueCause, queue_.registers().vector);
  if (broken) {
    status_ |= kNeedsReset;
    interrupt(kQueueCause | kConfigCause, config_vector_);
  } else if (more) {
    timer_ = board_.timers.arm(board_.timers.now_ns() + kPauseNs, [this] {
      timer_ = 0;
      work();
    });
  }
}

void VirtioPci::interrupt(uint8_t cause, uint16_t vector) {
  isr_ |= cause;
  if (msix_ != nullptr) msix_->raise(vector);
  drive();
}

void VirtioPci::drive() { set_intx(isr_ != 0 && (msix_ == nullptr || !msix_->enabled())); }

}  // namespace dejavm::devices
