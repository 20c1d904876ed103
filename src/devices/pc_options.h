// What a user asks of the PC: `-device` requests and their properties, checked and typed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/edu.h"

namespace dejavm::devices {

/// `-device NAME,property=value,...` as written.
struct DeviceRequest {
  std::string name;
  std::map<std::string, std::string> properties;
};

struct EduRequest {
  std::optional<unsigned> devfn;  ///< addr=SLOT[.FUNCTION] in hexadecimal, as in QEMU; else the first free slot
  EduConfig config;               ///< dma_mask=, dma_delay_us=
};
struct DebugExitRequest {
  uint16_t iobase = 0x501;
  uint16_t iosize = 2;
};
struct DebugconRequest {
  uint16_t iobase = 0xe9;
};

/// The requests by kind, in the order given.
struct PcDevices {
  std::vector<EduRequest> edu;
  std::vector<DebugExitRequest> debug_exit;
  std::vector<DebugconRequest> debugcon;
};

/// Errors (usage) name the device, the property and what is supported.
Result<PcDevices> parse_devices(const std::vector<DeviceRequest>& requests);

}  // namespace dejavm::devices
