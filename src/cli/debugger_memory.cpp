#include "cli/debugger_memory.h"

#include <algorithm>

#include "vm/translate.h"

namespace dejavm::cli {
namespace {

size_t read_device(vm::Session& session, vm::GuestPhys addr, MutableByteSpan to) {
  for (size_t done = 0; done < to.size(); ++done) {
    if (session.memory().find(addr + done) != nullptr) return done;
    auto byte = session.device_byte(addr + done);
    if (!byte && vm::find_region(session.devices(), vm::Space::mmio, addr.value + done) == nullptr) return done;
    to[done] = byte.value_or(0);  // a register that was never accessed
  }
  return to.size();
}

/// Reads by pages, until one gives less than all of it.
template <typename ReadPiece>
size_t read_pieces(uint64_t addr, MutableByteSpan to, ReadPiece read_piece) {
  size_t done = 0;
  while (done < to.size()) {
    uint64_t at = addr + done;
    size_t length = std::min<size_t>(to.size() - done, vm::kPageSize - at % vm::kPageSize);
    size_t got = read_piece(at, to.subspan(done, length));
    done += got;
    if (got < length) break;
  }
  return done;
}

}  // namespace

size_t read_physical(vm::Session& session, vm::GuestPhys addr, MutableByteSpan to) {
  return read_pieces(addr.value, to, [&](uint64_t at, MutableByteSpan piece) {
    return session.memory().read({at}, piece) ? piece.size() : read_device(session, {at}, piece);
  });
}

size_t read_virtual(vm::Session& session, vm::GuestVirt addr, MutableByteSpan to) {
  auto cpu = session.vcpu().state();
  if (!cpu) return 0;
  return read_pieces(addr.value, to, [&](uint64_t at, MutableByteSpan piece) {
    auto gpa = vm::translate(*cpu, session.memory(), {at});
    return gpa ? read_physical(session, *gpa, piece) : 0;
  });
}

}  // namespace dejavm::cli
