// The register maps that dejavm brings along (svd/).
#pragma once

#include "vm/register_map.h"

namespace dejavm::registers {

/// Of the devices of dejavm's and QEMU's pc.
vm::RegisterMaps shipped();

}  // namespace dejavm::registers
