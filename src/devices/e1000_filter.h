// Which frames the 82540EM accepts, and what it counts. Source: Intel 317453, sections 3.2.1, 9.3, 13.5, 13.7.
#pragma once

#include "base/bytes.h"
#include "devices/e1000_registers.h"

namespace dejavm::devices::e1000 {

/// The type field of a VLAN tag behind the addresses, as VET names it.
bool has_vlan_tag(const Registers& registers, ByteSpan frame);

/// Whether the address and VLAN filters let a frame of at least 14 bytes in.
bool accepts(const Registers& registers, ByteSpan frame);

/// Statistics of a frame that was received or sent; `size` without the frame check sequence.
void count_received(Registers& registers, ByteSpan frame, uint32_t size);
void count_sent(Registers& registers, ByteSpan frame, uint32_t size);
/// Adds one to a counter that sticks at its maximum.
void count(Registers& registers, uint32_t counter);

}  // namespace dejavm::devices::e1000
