// What `dejavm gdb` teaches GDB: the monitor's words as commands of its own (docs/gdb.md).
#pragma once

namespace dejavm::cli {

/// Python, for GDB's `source` (GDB manual, "Extending GDB").
extern const char* const kGdbExtension;

}  // namespace dejavm::cli
