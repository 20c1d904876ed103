// The memory map that GDB reads (GDB manual, "Memory Map Format").
#pragma once

#include <string>
#include <vector>

#include "gdbstub/target.h"

namespace dejavm::gdb {

/// The map of the whole address space, in which RAM, ROM and devices are regions of their own, a device with its name in a
/// comment. GDB takes the addresses of a map for linear ones, and refuses to read where the map has nothing: so all that is
/// not ROM is called RAM, and nothing is left out. `regions` ascend and do not overlap.
std::string memory_map_xml(const std::vector<PhysicalRegion>& regions);

}  // namespace dejavm::gdb
