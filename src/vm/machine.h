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

/// Serial input and other bytes from the host enter here, at a consistent point.
class HostInput {
 public:
  virtual ~HostInput() = default;
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

  /// The serial port that -serial connects; null where there is none.
  virtual HostInput* serial_input() = 0;
};

}  // namespace dejavm::vm
