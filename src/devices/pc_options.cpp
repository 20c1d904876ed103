#include "devices/pc_options.h"

#include <algorithm>
#include <charconv>

#include "base/parse.h"

namespace dejavm::devices {
namespace {

/// Takes properties by name; what is left at the end is unknown to the device.
class Properties {
 public:
  explicit Properties(const DeviceRequest& request) : request_(request), left_(request.properties) {}

  /// The number of a property, `fallback` where it is not given.
  Result<uint64_t> number(const std::string& name, uint64_t fallback, uint64_t least, uint64_t most) {
    supported_ += (supported_.empty() ? "" : ", ") + name;
    auto found = left_.find(name);
    if (found == left_.end()) return fallback;
    std::string text = found->second;
    left_.erase(found);
    std::optional<uint64_t> value = parse_u64(text);
    if (!value || *value < least || *value > most) {
      return fail_usage(
          fmt::format("-device {}: {}={} is not a number from {:#x} to {:#x}", request_.name, name, text, least, most));
    }
    return *value;
  }

  std::optional<std::string> text(const std::string& name) {
    supported_ += (supported_.empty() ? "" : ", ") + name;
    auto found = left_.find(name);
    if (found == left_.end()) return std::nullopt;
    std::string text = found->second;
    left_.erase(found);
    return text;
  }

  Status finish() const {
    if (left_.empty()) return {};
    return fail_usage(fmt::format("-device {} has no property '{}'", request_.name, left_.begin()->first),
                      fmt::format("Its properties are {}.", supported_));
  }

 private:
  const DeviceRequest& request_;
  std::map<std::string, std::string> left_;
  std::string supported_;
};

std::optional<unsigned> parse_hex(std::string_view text) {
  if (text.starts_with("0x")) text.remove_prefix(2);
  unsigned value = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value, 16);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Result<unsigned> parse_addr(const std::string& device, const std::string& text) {
  std::vector<std::string_view> parts = split(text, '.');
  std::optional<unsigned> slot = parse_hex(parts[0]);
  std::optional<unsigned> function = parts.size() == 2 ? parse_hex(parts[1]) : 0;
  if (parts.size() > 2 || !slot || !function || *slot > 31 || *function > 7) {
    return fail_usage(fmt::format("-device {}: addr={} is not a PCI address", device, text),
                      "Write SLOT or SLOT.FUNCTION in hexadecimal, e.g. addr=04.0; slots reach to 1f.");
  }
  return devfn(*slot, *function);
}

Result<EduRequest> parse_edu(const DeviceRequest& request) {
  constexpr uint64_t kMaxDelayUs = 3'600'000'000;
  Properties properties(request);
  EduRequest edu;
  if (std::optional<std::string> addr = properties.text("addr")) {
    TRY_ASSIGN(edu.devfn, parse_addr(request.name, *addr));
  }
  TRY_ASSIGN(edu.config.dma_mask, properties.number("dma_mask", edu.config.dma_mask, 0, UINT64_MAX));
  TRY_ASSIGN(edu.config.dma_delay_us, properties.number("dma_delay_us", edu.config.dma_delay_us, 0, kMaxDelayUs));
  TRY(properties.finish());
  return edu;
}

Result<MacAddress> parse_mac(const std::string& device, const std::string& text) {
  MacAddress mac{};
  std::vector<std::string_view> parts = split(text, ':');
  bool good = parts.size() == mac.size();
  for (size_t i = 0; good && i < mac.size(); ++i) {
    std::optional<unsigned> byte = parts[i].size() <= 2 ? parse_hex(parts[i]) : std::nullopt;
    good = byte && *byte <= 0xff;
    if (good) mac[i] = static_cast<uint8_t>(*byte);
  }
  if (!good || (mac[0] & 1) != 0) {
    return fail_usage(fmt::format("-device {}: mac={} is not the address of a card", device, text),
                      "Write six bytes in hexadecimal, the first one even, e.g. mac=52:54:00:12:34:56.");
  }
  return mac;
}

Result<E1000Request> parse_e1000(const DeviceRequest& request) {
  Properties properties(request);
  E1000Request e1000;
  if (std::optional<std::string> addr = properties.text("addr")) {
    TRY_ASSIGN(e1000.devfn, parse_addr(request.name, *addr));
  }
  if (std::optional<std::string> mac = properties.text("mac")) {
    TRY_ASSIGN(e1000.mac, parse_mac(request.name, *mac));
  }
  e1000.netdev = properties.text("netdev").value_or("");
  e1000.romfile = properties.text("romfile");
  TRY(properties.finish());
  return e1000;
}

Result<VirtioRequest> parse_virtio(const DeviceRequest& request, VirtioRequest::Kind kind) {
  constexpr size_t kMaxSerial = 20;
  Properties properties(request);
  VirtioRequest virtio{kind, {}, {}, {}};
  if (std::optional<std::string> addr = properties.text("addr")) {
    TRY_ASSIGN(virtio.devfn, parse_addr(request.name, *addr));
  }
  if (properties.text("disable-legacy").value_or("on") != "on") {
    return fail_usage(fmt::format("-device {}: only disable-legacy=on is supported", request.name),
                      "Its guests need drivers of virtio 1.0 or later.");
  }
  if (kind == VirtioRequest::Kind::block) {
    virtio.drive = properties.text("drive").value_or("");
    virtio.serial = properties.text("serial").value_or("");
    if (virtio.serial.size() > kMaxSerial) {
      return fail_usage(fmt::format("-device {}: serial={} is longer than 20 characters", request.name, virtio.serial));
    }
  }
  TRY(properties.finish());
  return virtio;
}

Result<DebugExitRequest> parse_debug_exit(const DeviceRequest& request) {
  Properties properties(request);
  TRY_ASSIGN(uint64_t base, properties.number("iobase", DebugExitRequest{}.iobase, 0, 0xffff));
  TRY_ASSIGN(uint64_t size, properties.number("iosize", DebugExitRequest{}.iosize, 1, 0x10000 - base));
  TRY(properties.finish());
  return DebugExitRequest{static_cast<uint16_t>(base), static_cast<uint16_t>(std::min<uint64_t>(size, 0xffff))};
}

Result<DebugconRequest> parse_debugcon(const DeviceRequest& request) {
  Properties properties(request);
  TRY_ASSIGN(uint64_t base, properties.number("iobase", DebugconRequest{}.iobase, 0, 0xffff));
  TRY(properties.finish());
  return DebugconRequest{static_cast<uint16_t>(base)};
}

}  // namespace

Result<PcDevices> parse_devices(const std::vector<DeviceRequest>& requests) {
  PcDevices devices;
  for (const DeviceRequest& request : requests) {
    if (request.name == "edu") {
      TRY_ASSIGN(EduRequest edu, parse_edu(request));
      devices.edu.push_back(edu);
    } else if (request.name == "e1000") {
      TRY_ASSIGN(E1000Request e1000, parse_e1000(request));
      devices.e1000.push_back(std::move(e1000));
    } else if (request.name == "virtio-blk-pci" || request.name == "virtio-rng-pci") {
      bool block = request.name == "virtio-blk-pci";
      TRY_ASSIGN(VirtioRequest virtio,
                 parse_virtio(request, block ? VirtioRequest::Kind::block : VirtioRequest::Kind::entropy));
      devices.virtio.push_back(std::move(virtio));
    } else if (request.name == "isa-debug-exit") {
      TRY_ASSIGN(DebugExitRequest debug_exit, parse_debug_exit(request));
      devices.debug_exit.push_back(debug_exit);
    } else if (request.name == "isa-debugcon") {
      TRY_ASSIGN(DebugconRequest debugcon, parse_debugcon(request));
      devices.debugcon.push_back(debugcon);
    } else {
      return fail_usage(fmt::format("-device {} is not supported", request.name),
                        "Supported devices: e1000, edu, isa-debug-exit, isa-debugcon, virtio-blk-pci, virtio-rng-pci.");
    }
  }
  return devices;
}

}  // namespace dejavm::devices
