#include "cli/gdb_extension.h"

namespace dejavm::cli {

// A command that travels has GDB forget the registers and memory that it read, and shows the new place.
const char* const kGdbExtension = R"python(import gdb
import re
import struct

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


class Kaslr(gdb.Command):
    """kaslr [VMLINUX]: moves the kernel's symbols to where the guest's KASLR put the kernel.

    The interrupt table's gate for page faults leads to a function whose linked address the symbols know."""

    ALIGNMENT, LARGEST = 0x200000, 0x40000000  # of Linux: CONFIG_PHYSICAL_ALIGN, RANDOMIZE_BASE_MAX

    def __init__(self):
        super().__init__("kaslr", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def handler(self):
        text, _ = monitor("info registers")
        table = int(re.search(r"^IDT= +([0-9a-f]+)", text, re.MULTILINE).group(1), 16)
        try:
            gate = bytes(gdb.selected_inferior().read_memory(table + 14 * 16, 16))
        except gdb.MemoryError:
            raise gdb.GdbError("the guest has no 64-bit interrupt table here: go on, or seek, to where its kernel runs")
        low, _, _, _, middle, high, _ = struct.unpack("<HHBBHII", gate)
        return low | middle << 16 | high << 32

    def linked(self):
        for name in ("asm_exc_page_fault", "page_fault", "async_page_fault"):
            try:
                return int(gdb.parse_and_eval("(unsigned long)&" + name))
            except gdb.error:
                pass
        raise gdb.GdbError("no symbols of a Linux kernel: kaslr VMLINUX, or dejavm gdb --symbols VMLINUX")

    def invoke(self, argument, from_tty):
        file = argument.strip() or gdb.current_progspace().filename
        if argument.strip():
            gdb.execute("symbol-file " + file, to_string=True)
        handler, linked = self.handler(), self.linked()
        offset = (handler - linked) % (1 << 64)
        if offset == 0:
            gdb.write("kaslr: the symbols are where the kernel is\n")
            return
        if offset >= self.LARGEST or offset % self.ALIGNMENT:
            raise gdb.GdbError("page faults lead to %#x here, the symbols say %#x: another kernel, or it has not set up its "
                               "interrupt table yet" % (handler, linked))
        gdb.execute("symbol-file -o %#x %s" % (offset, file), to_string=True)
        gdb.write("kaslr: the kernel is %#x above its linked address\n" % offset)


for word in ("when", "seek", "mmio", "who-wrote", "last-write", "events", "diff-state", "checkpoint", "devices", "dma",
             "xp"):
    MonitorCommand(word)
LastAccess()
Kaslr()
)python";

}  // namespace dejavm::cli
