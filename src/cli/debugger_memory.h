// Guest memory as a debugger reads it: devices show what their last access transferred, and are never touched.
#pragma once

#include "base/bytes.h"
#include "vm/session.h"

namespace dejavm::cli {

/// Both return how many bytes there are from the first on.
size_t read_physical(vm::Session& session, vm::GuestPhys addr, MutableByteSpan to);
/// By the page tables as they are.
size_t read_virtual(vm::Session& session, vm::GuestVirt addr, MutableByteSpan to);

}  // namespace dejavm::cli
