// What a user asks of the PC: `-device` requests and their properties, checked and typed.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "devices/e1000.h"
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
struct E1000Request {
  std::optional<unsigned> devfn;       ///< addr=, as for edu
  std::optional<MacAddress> mac;       ///< mac=; else QEMU's: 52:54:00:12:34:56 for the first card, :57 for the second
  std::string netdev;                  ///< netdev=ID; empty: nobody is at the other end
  std::optional<std::string> romfile;  ///< the image of the expansion ROM, empty for none; not given: the machine's own
};
struct DebugExitRequest {
  uint16_t iobase = 0x501;
  uint16_t iosize = 2;
};
struct DebugconRequest {
  uint16_t iobase = 0xe9;
};

struct VirtioRequest {
  enum class Kind { block, entropy } kind = Kind::block;
  std::optional<unsigned> devfn;
  std::string drive;   ///< block: the id of a -drive
  std::string serial;  ///< block: at most 20 characters
};

/// The requests by kind, in the order given.
struct PcDevices {
  std::vector<EduRequest> edu;
  std::vector<E1000Request> e1000;
  std::vector<DebugExitRequest> debug_exit;
  std::vector<DebugconRequest> debugcon;
  std::vector<VirtioRequest> virtio;
};

/// Errors (usage) name the device, the property and what is supported.
Result<PcDevices> parse_devices(const std::vector<DeviceRequest>& requests);

}  // namespace dejavm::devices
