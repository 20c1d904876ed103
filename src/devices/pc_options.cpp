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
    } else if (request.name == "isa-debug-exit") {
      TRY_ASSIGN(DebugExitRequest debug_exit, parse_debug_exit(request));
      devices.debug_exit.push_back(debug_exit);
    } else if (request.name == "isa-debugcon") {
      TRY_ASSIGN(DebugconRequest debugcon, parse_debugcon(request));
      devices.debugcon.push_back(debugcon);
    } else {
      return fail_usage(fmt::format("-device {} is not supported", request.name),
                        "Supported devices: edu, isa-debug-exit, isa-debugcon.");
    }
  }
  return devices;
}

}  // namespace dejavm::devices
