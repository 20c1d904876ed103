// Message-signalled interrupts. Source: PCI Local Bus Specification 3.0, section 6.8.
#pragma once

#include <cstdint>
#include <functional>

namespace dejavm::devices {

/// Takes a message: the write of `data` to `address` that an interrupt is. It may set interrupt lines, but must not touch
/// guest memory.
using MsiSink = std::function<void(uint64_t address, uint32_t data)>;

}  // namespace dejavm::devices
