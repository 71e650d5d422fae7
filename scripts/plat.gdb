# Attach gdb to a Plat that make debug started, and load the kernel's symbols where it really lies.
#
#   PLAT_GDB=HOST:PORT PLAT_ELF=FILE gdb -x scripts/plat.gdb
#
# The kernel's address is chosen at boot, so symbols can only be loaded when it runs. With gdb=wait
# it spins on `gdb_wait` as soon as it has read its options. The script lets the machine run until
# the instruction pointer is in the kernel, looks for the image around it, loads the symbols, and
# leaves the machine stopped there: set breakpoints and continue. `plat-symbols` does the middle
# part alone, for a kernel that runs already and is stopped anywhere.

set pagination off
set confirm off

python
import os
import signal
import threading

import gdb

IMAGE_BASE = 0xffffffff80000000  # PLAT_IMAGE_BASE: where kernel.elf is linked
IMAGE_ALIGN = 0x200000  # PLAT_IMAGE_ALIGN: it slides in steps of this
IMAGE_MAX = 64 << 20  # no kernel is larger


def plat_rip():
    return int(gdb.parse_and_eval("(unsigned long long)$pc"))


def plat_find_base(rip):
    """The image begins with its ELF header, at the next multiple of IMAGE_ALIGN below code or, in
    a large image, at one further down. Pages that are not mapped are passed over."""
    base = rip & ~(IMAGE_ALIGN - 1)
    while base >= max(IMAGE_BASE, rip - IMAGE_MAX):
        try:
            if bytes(gdb.selected_inferior().read_memory(base, 4)) == b"\x7fELF":
                return base
        except gdb.MemoryError:
            pass
        base -= IMAGE_ALIGN
    raise gdb.GdbError("no ELF header below $pc = %#x; is this the kernel?" % rip)


class PlatSymbols(gdb.Command):
    """Load the symbols of the kernel at the address it runs at.

The processor must be stopped inside the kernel. Usage: plat-symbols [ELF-FILE]"""

    loaded = None

    def __init__(self):
        super().__init__("plat-symbols", gdb.COMMAND_FILES, gdb.COMPLETE_FILENAME)

    def invoke(self, argument, from_tty):
        elf = argument or os.environ.get("PLAT_ELF", "build/kernel.elf")
        rip = plat_rip()
        if rip < IMAGE_BASE:
            raise gdb.GdbError("$pc = %#x is not in the kernel; continue, and stop again" % rip)
        offset = plat_find_base(rip) - IMAGE_BASE
        if PlatSymbols.loaded is not None:
            gdb.execute("remove-symbol-file -a %#x" % PlatSymbols.loaded)
            PlatSymbols.loaded = None
        gdb.execute('add-symbol-file "%s" -o %#x' % (elf, offset), to_string=True)
        PlatSymbols.loaded = int(gdb.parse_and_eval("(unsigned long long)&kmain"))
        print("kernel at %#x, slid by %#x; symbols from %s" % (IMAGE_BASE + offset, offset, elf))


class PlatAttach(gdb.Command):
    """Connect to a machine that make debug started, load symbols, stop. Usage: plat-attach"""

    def __init__(self):
        super().__init__("plat-attach", gdb.COMMAND_RUNNING)

    def run_for(self, seconds):
        """Let the machine run, and interrupt it as Ctrl-C would."""
        timer = threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()
        gdb.execute("continue", to_string=True)
        timer.cancel()

    def invoke(self, argument, from_tty):
        gdb.execute("target remote " + os.environ.get("PLAT_GDB", "localhost:1234"),
                    to_string=True)
        print("waiting for firmware to start the kernel; a SIGINT is each look at how far it is")
        for _ in range(150):
            self.run_for(2)
            if plat_rip() < IMAGE_BASE:
                continue
            if PlatSymbols.loaded is None:
                gdb.execute("plat-symbols")
            # Earlier than the wait it would be set again.
            if gdb.parse_and_eval("gdb_wait") != 0:
                break
        else:
            raise gdb.GdbError("the kernel did not come to wait in five minutes")
        gdb.execute("set variable gdb_wait = 0")
        gdb.execute("backtrace 3")
        print("stopped early in the kernel: set breakpoints, then continue")


PlatSymbols()
PlatAttach()
end

plat-attach
