#include "trace/event_text.h"

#include <fmt/format.h>

#include "vm/place.h"

namespace dejavm::trace {
namespace {

struct Describe {
  const std::vector<vm::DeviceRegion>& devices;

  std::string operator()(const AccessEvent& e) const {
    const vm::Access& a = e.access;
    std::string text = fmt::format("{} {} {} {:#x} ({} byte{})", a.space == vm::Space::pio ? "pio" : "mmio",
                                   vm::place_name(a, vm::find_region(devices, a.space, a.addr)), a.is_write() ? "<-" : "->",
                                   a.value, a.size, a.size == 1 ? "" : "s");
    if (e.instruction) text += fmt::format(" rip {:#x}", *e.instruction);
    if (e.joins_previous) text += " (same instruction)";
    return text;
  }
  std::string operator()(const InterruptEvent& e) const {
    return fmt::format("irq {:#x} ({})", e.vector, describe(e.where));
  }
  std::string operator()(const NmiEvent& e) const { return fmt::format("nmi ({})", describe(e.where)); }
  std::string operator()(const MemoryWriteEvent& e) const {
    return fmt::format("dma {} bytes at {:#x} ({})", e.bytes.size(), e.offset, describe(e.where));
  }
  std::string operator()(const CpuStateEvent& e) const {
    return fmt::format("cpu state set, rip {:#x}", e.cpu ? e.cpu->rip : 0);
  }
  std::string operator()(const CpuReadEvent& e) const {
    return fmt::format("{} {:#x} {} {:#x}{}", e.write ? "wrmsr" : "rdmsr", e.msr, e.write ? "<-" : "->", e.value,
                       e.fault ? " (#GP)" : "");
  }
  std::string operator()(const MemoryMapEvent& e) const {
    return fmt::format("map of {} memory ranges and {} device regions ({})", e.memory.size(), e.devices.size(),
                       describe(e.where));
  }
  std::string operator()(const HaltEvent&) const { return "halt"; }
  std::string operator()(const ResetEvent& e) const { return fmt::format("reset ({})", e.cause); }
  std::string operator()(const DigestEvent& e) const {
    return fmt::format("digest cpu {:016x} ram {:016x}, {} pages changed", e.cpu_hash, e.ram_digest, e.pages.size());
  }
  std::string operator()(const KeyframeEvent& e) const { return fmt::format("keyframe {}", e.index); }
  std::string operator()(const AnnotationEvent& e) const { return fmt::format("note: {}", e.text); }
};

}  // namespace

std::string describe(const EventBody& body, const std::vector<vm::DeviceRegion>& devices) {
  return std::visit(Describe{devices}, body);
}

const char* placement_name(Placement placement) {
  switch (placement) {
    case Placement::boundary:
      return "boundary";
    case Placement::window:
      return "window";
    case Placement::steps:
      return "steps";
    case Placement::state:
      return "state";
  }
  return "?";
}

std::string describe(const Where& where) {
  std::string text = placement_name(where.placement);
  if (where.placement == Placement::steps) text += fmt::format(" {}", where.steps);
  if (where.placement == Placement::state && where.state) text += fmt::format(" at rip {:#x}", where.state->cpu.rip);
  return text;
}

const Where* where_of(const EventBody& body) {
  return std::visit(
      [](const auto& event) -> const Where* {
        if constexpr (requires { event.where; }) {
          return &event.where;
        } else {
          return nullptr;
        }
      },
      body);
}

}  // namespace dejavm::trace
