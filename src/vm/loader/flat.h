// Raw images (`-device loader,file=,addr=`): bytes at an address, and perhaps the start.
#pragma once

#include "vm/loader/boot_plan.h"

namespace dejavm::loader {

/// The plan of a guest without a kernel: the raw images, and real mode at the start of the one that has `start`; without
/// one, the state after reset, for the firmware.
Result<BootPlan> plan_flat(const BootRequest& request);

}  // namespace dejavm::loader
