// CPU states, placements, memory maps and device tables to and from their Cap'n Proto form. Reading checks all that the
// types do not: list lengths, enumerations, required parts.
#pragma once

#include <vector>

#include "base/result.h"
#include "trace/event.h"
#include "trace/trace.capnp.h"
#include "vm/cpu_state.h"
#include "vm/device.h"
#include "vm/guest_memory.h"

namespace dejavm::trace {

void write_cpu(schema::CpuState::Builder to, const vm::CpuState& cpu);
Result<vm::CpuState> read_cpu(schema::CpuState::Reader from);

void write_where(schema::Where::Builder to, const Where& where);
Result<Where> read_where(schema::Where::Reader from);

void write_memory(capnp::List<schema::MemoryRange>::Builder to, const std::vector<vm::MemoryRange>& memory);
/// Damaged where there are more than kMaxMapRanges.
Result<std::vector<vm::MemoryRange>> read_memory(capnp::List<schema::MemoryRange>::Reader from);

void write_devices(capnp::List<schema::DeviceRegion>::Builder to, const std::vector<vm::DeviceRegion>& devices);
Result<std::vector<vm::DeviceRegion>> read_devices(capnp::List<schema::DeviceRegion>::Reader from);

}  // namespace dejavm::trace
