// The seccomp filter of a replay: a trace comes from somebody else.
#pragma once

#include "base/result.h"

namespace dejavm::cli {

/// From here on this process (all threads that it starts from now) cannot open files, run programs or create sockets: it may
/// use what it has open, allocate, start threads and end. A forbidden call ends the process with SIGSYS. Call when
/// everything is set up.
Status enter_sandbox();

}  // namespace dejavm::cli
