// Guests that start without firmware: -kernel, -initrd, -append and -device loader.
#pragma once

#include "cli/vm_options.h"
#include "vm/cpu_state.h"
#include "vm/guest_memory.h"

namespace dejavm::cli {

/// How a guest starts.
struct GuestStart {
  vm::CpuState cpu;
  std::string description;  ///< what was loaded, for the user; empty: nothing
};

/// The name of the device that loads raw images.
inline constexpr const char* kLoaderDevice = "loader";

/// True when the options ask for a start without firmware. A reset ends such a guest: nobody could load it again.
bool starts_without_firmware(const VmOptions& options);

/// Reads the files that the options name and writes them into RAM. With firmware, the start is the state after reset.
Result<GuestStart> load_guest(const VmOptions& options, vm::GuestMemory& memory);

}  // namespace dejavm::cli
