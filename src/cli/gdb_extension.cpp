#include "cli/gdb_extension.h"

namespace dejavm::cli {

// A command that travels has GDB forget the registers and memory that it read, and shows the new place.
const char* const kGdbExtension = R"python(import gdb
import re

HINT = "gdb still shows the place before"


def monitor(line):
    text = gdb.execute("monitor " + line, to_string=True)
    travelled = HINT in text
    shown = [part for part in text.splitlines() if not part.startswith(HINT)]
    return "\n".join(shown), travelled


class MonitorCommand(gdb.Command):
    """A word of dejavm's monitor; `monitor help` explains it."""

    def __init__(self, name):
        super().__init__(name, gdb.COMMAND_RUNNING)
        self.name = name

    def invoke(self, argument, from_tty):
        text, travelled = monitor(self.name + " " + argument)
        gdb.write(text + "\n")
        if travelled:
            gdb.execute("maintenance flush register-cache", to_string=True)
            gdb.execute("maintenance flush dcache", to_string=True)
            gdb.execute("frame")


class LastAccess(gdb.Function):
    """$_mmio("edu+0x90"): what the last access to this device register transferred."""

    def __init__(self):
        super().__init__("_mmio")

    def invoke(self, place):
        text, _ = monitor("mmio last " + place.string())
        found = re.search(r" (?:<-|->) (0x[0-9a-f]+|[0-9]+) ", text)
        if not found:
            raise gdb.GdbError(text)
        return int(found.group(1), 0)


for word in ("when", "seek", "mmio", "who-wrote", "last-write", "events", "diff-state", "checkpoint", "devices", "dma"):
    MonitorCommand(word)
LastAccess()
)python";

}  // namespace dejavm::cli
