// Entering a handler: exceptions, external interrupts, NMI, INT n (AMD64 APM volume 2, sections 8.6 to 8.9).
#pragma once

#include <cstdint>
#include <optional>

namespace dejavm::soft {

class Core;

enum class EventKind : uint8_t {
  exception,
  external,
  nmi,
  software
};  // software: INT n, INT3, INTO (checks the gate's DPL)

/// Pushes the frame and goes to the handler: real mode's table, protected mode's gates (interrupt, trap, task; same and
/// inner privilege, from virtual-8086 too), long mode's gates with IST. `return_rip` is what is pushed. Changes cpu (rip
/// too) only when everything succeeded, but for RAM; throws GuestFault (with the EXT bit of error codes set unless software)
/// and LeaveForAnswer. Whoever calls it (Core) does the double- and triple-fault rules.
void deliver(Core& core, EventKind kind, uint8_t vector, std::optional<uint32_t> error_code, uint64_t return_rip);

}  // namespace dejavm::soft
