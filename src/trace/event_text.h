// Events as one line of text: dump, divergence reports and the shell.
#pragma once

#include <string>
#include <vector>

#include "trace/event.h"
#include "vm/device.h"

namespace dejavm::trace {

/// "mmio edu+0x80 <- 0x1 (4 bytes)", "irq 0x20 (boundary)", "dma 64 bytes at 0x101000", ...; no event number, no time.
std::string describe(const EventBody& body, const std::vector<vm::DeviceRegion>& devices);

/// "boundary", "window", "steps 12" or "state at rip 0x1234".
std::string describe(const Where& where);

/// How the placement is called: boundary window steps state.
const char* placement_name(Placement placement);

/// The placement of an event that has one, else null.
const Where* where_of(const EventBody& body);

}  // namespace dejavm::trace
