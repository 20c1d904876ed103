#include "trace/limits.h"
#include "trace/message.h"
#include "trace/state_message.h"

namespace dejavm::trace {

void write_where(schema::Where::Builder to, const Where& where) {
  to.setPlacement(static_cast<uint8_t>(where.placement));
  to.setSteps(where.steps);
  if (where.state == nullptr) return;
  auto state = to.initState();
  write_cpu(state.initCpu(), where.state->cpu);
  state.setRamDigest(where.state->ram_digest);
}

Result<Where> read_where(schema::Where::Reader from) {
  if (from.getPlacement() > static_cast<uint8_t>(Placement::state)) {
    return fail_damaged(fmt::format("an event has the unknown placement {}", from.getPlacement()));
  }
  Where where{.placement = static_cast<Placement>(from.getPlacement()), .steps = from.getSteps(), .state = nullptr};
  if (where.placement == Placement::state) {
    TRY_ASSIGN(vm::CpuState cpu, read_cpu(from.getState().getCpu()));
    where.state = std::make_shared<MatchedState>(MatchedState{cpu, from.getState().getRamDigest()});
  }
  return where;
}

void write_memory(capnp::List<schema::MemoryRange>::Builder to, const std::vector<vm::MemoryRange>& memory) {
  for (unsigned i = 0; i < memory.size(); ++i) {
    to[i].setBase(memory[i].base.value);
    to[i].setSize(memory[i].size);
    to[i].setOffset(memory[i].offset);
    to[i].setWritable(memory[i].writable);
  }
}

Result<std::vector<vm::MemoryRange>> read_memory(capnp::List<schema::MemoryRange>::Reader from) {
  if (from.size() > kMaxMapRanges) {
    return fail_damaged(fmt::format("a memory map has {} ranges; at most {} are allowed", from.size(), kMaxMapRanges));
  }
  std::vector<vm::MemoryRange> memory;
  for (auto range : from) memory.push_back({{range.getBase()}, range.getSize(), range.getOffset(), range.getWritable()});
  return memory;
}

void write_devices(capnp::List<schema::DeviceRegion>::Builder to, const std::vector<vm::DeviceRegion>& devices) {
  for (unsigned i = 0; i < devices.size(); ++i) {
    to[i].setDevice(devices[i].device);
    to[i].setRegion(devices[i].region);
    to[i].setSpace(devices[i].space == vm::Space::pio ? schema::Space::PIO : schema::Space::MMIO);
    to[i].setBase(devices[i].base);
    to[i].setSize(devices[i].size);
    to[i].setOffset(devices[i].offset);
  }
}

Result<std::vector<vm::DeviceRegion>> read_devices(capnp::List<schema::DeviceRegion>::Reader from) {
  std::vector<vm::DeviceRegion> devices;
  for (auto region : from) {
    if (region.getSpace() != schema::Space::MMIO && region.getSpace() != schema::Space::PIO) {
      return fail_damaged("a device region lies in an unknown space");
    }
    devices.push_back({text_of(region.getDevice()), region.getRegion(),
                       region.getSpace() == schema::Space::PIO ? vm::Space::pio : vm::Space::mmio, region.getBase(),
                       region.getSize(), region.getOffset()});
  }
  return devices;
}

}  // namespace dejavm::trace
