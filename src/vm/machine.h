// A board as a session sees it: devices on a bus, an interrupt pin, a power switch.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "vm/bus.h"
#include "vm/deferred_work.h"
#include "vm/guest_memory.h"
#include "vm/timer_queue.h"

namespace dejavm::vm {

/// What the guest asked its board for.
struct PowerEvent {
  enum class Kind : uint8_t { reset, power_off, exit } kind = Kind::reset;
  std::string cause;        ///< "port 0xcf9", "keyboard controller", "ACPI", "isa-debug-exit"
  uint8_t exit_status = 0;  ///< Kind::exit: QEMU's (value << 1) | 1
};

/// Something outside that reaches into the guest: a terminal, a network. Owns or borrows both ends. The session watches the
/// descriptor, and lets in what waits at a consistent point.
class HostInput {
 public:
  virtual ~HostInput() = default;
  /// Readable while something waits. Negative: nothing will come any more.
  virtual int descriptor() const = 0;
  /// Whether the device takes something now.
  virtual bool has_room() const = 0;
  /// Hands the device some of what waits. Called while the descriptor is readable and there is room.
  virtual void transfer() = 0;
};

/// A device that takes bytes of the host, at a consistent point.
class ByteInput {
 public:
  virtual ~ByteInput() = default;
  /// How many bytes the device takes now.
  virtual size_t room() const = 0;
  virtual void receive(ByteSpan bytes) = 0;
};

class Machine {
 public:
  virtual ~Machine() = default;

  virtual Bus& bus() = 0;
  virtual GuestMemory& memory() = 0;
  virtual TimerQueue& timers() = 0;
  virtual DeferredWork& deferred() = 0;

  /// The interrupt pin (INTR) of the vCPU.
  virtual bool interrupt_pending() = 0;
  /// The INTA cycle: the vector of the interrupt that enters now. Call only when it really enters.
  virtual uint8_t acknowledge_interrupt() = 0;

  /// Takes the guest's request, if there is one.
  virtual std::optional<PowerEvent> take_power_event() = 0;
  /// Resets all devices and the memory map; RAM keeps its contents.
  virtual Status reset() = 0;
};

}  // namespace dejavm::vm
