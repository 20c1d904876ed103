// What a trace says of the machine, of the run and of its end.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "trace/event.h"
#include "vm/cpu_model.h"
#include "vm/device.h"
#include "vm/guest_memory.h"

namespace dejavm::trace {

/// Everything that stands at the head of a trace.
struct Description {
  std::string tool;                       ///< "dejavm 0.1.0"
  std::vector<std::string> command_line;  ///< as given to record
  std::string host;                       ///< uname of the recording host
  std::string host_cpu;                   ///< model name
  std::string engine;                     ///< "kvm" or "soft", with what the probe found
  uint64_t start_unix_s = 0;
  std::string machine;  ///< "pc"
  vm::CpuModel cpu_model;
  uint64_t ram_size = 0;
  uint64_t rom_size = 0;
  std::vector<vm::MemoryRange> memory;     ///< the initial map
  std::vector<vm::DeviceRegion> devices;   ///< the initial device table
  vm::CpuState cpu;                        ///< the initial state
  std::vector<std::string> replayable_on;  ///< "kvm", "soft"
  std::string replayable_why;              ///< one sentence
  bool has_time = true;
};

/// How a recording ended. A replay ends at the same point and compares.
struct End {
  uint64_t events = 0;  ///< numbered events
  uint64_t ram_digest = 0;
  uint64_t cpu_hash = 0;
  std::string reason;  ///< "guest powered off", "--max-seconds 20", "interrupted", ...
  /// Where: after the last event (boundary), or at this state.
  Where where;
  /// The CPU is in shutdown or reset was asked for and refused (-no-reboot): no state is compared.
  bool cpu_is_dead = false;
};

}  // namespace dejavm::trace
