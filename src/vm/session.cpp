#include "vm/session.h"

#include "vm/instruction.h"

namespace dejavm::vm {

std::string Session::stop_line(SeenAccess seen) {
  if (!seen.instruction && static_cast<int64_t>(seen.event) == last_event()) {
    auto cpu = vcpu().state();
    auto found = cpu ? find_accessing_instruction(*cpu, memory(), seen.access) : std::nullopt;
    if (found) seen.instruction = found->value;
  }
  return vm::stop_line(seen, find_region(devices(), seen.access.space, seen.access.addr));
}

}  // namespace dejavm::vm
