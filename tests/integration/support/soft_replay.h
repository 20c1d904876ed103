// A replay of a trace on soft with what it borrows, for the programs that travel.
#pragma once

#include <memory>

#include "base/clock.h"
#include "engine/soft/soft_vcpu.h"
#include "replay/replayer.h"

namespace dejavm::integration {

struct SoftReplay {
  SoftReplay(const trace::Reader& from, vm::GuestMemory ram) : reader(from), memory(std::move(ram)) {}
  static Result<std::unique_ptr<SoftReplay>> create(const trace::Reader& reader) {
    TRY_ASSIGN(vm::GuestMemory memory, replay::load_memory(reader));
    auto r = std::make_unique<SoftReplay>(reader, std::move(memory));
    TRY_ASSIGN(r->vcpu, soft::create_vcpu(r->memory, reader.description().cpu_model));
    TRY_ASSIGN(r->replayer, replay::Replayer::create(reader, *r->vcpu, r->memory, r->clock, {}));
    return r;
  }

  const trace::Reader& reader;
  vm::GuestMemory memory;
  MonotonicClock clock;
  std::unique_ptr<vm::Vcpu> vcpu;
  std::unique_ptr<replay::Replayer> replayer;
};

}  // namespace dejavm::integration
