// An interrupt message on its way to a local APIC, from an IOAPIC, a device (MSI) or another APIC. Source: Intel SDM volume
// 3, sections 10.6.1 (ICR) and 10.11 (MSI).
#pragma once

#include <cstdint>
#include <functional>

namespace dejavm::devices {

enum class DeliveryMode : uint8_t { fixed, lowest_priority, smi, reserved, nmi, init, startup, external };

struct ApicMessage {
  uint8_t destination = 0;
  bool logical = false;  ///< the destination is a set of logical ids
  DeliveryMode mode = DeliveryMode::fixed;
  uint8_t vector = 0;
  bool level = false;  ///< trigger mode: its end is told to the IOAPICs
};
using ApicMessageSink = std::function<void(const ApicMessage&)>;

/// The write of `data` to `address` (0xfee00000 to 0xfeefffff) as a message. Other addresses are no messages: the caller's
/// part.
constexpr ApicMessage message_of_msi(uint64_t address, uint32_t data) {
  return {.destination = static_cast<uint8_t>(address >> 12),
          .logical = (address >> 2 & 1) != 0,
          .mode = static_cast<DeliveryMode>(data >> 8 & 7),
          .vector = static_cast<uint8_t>(data),
          .level = (data >> 15 & 1) != 0};
}

}  // namespace dejavm::devices
