"""What a person starts: run-qemu on a terminal, and debug-qemu with gdb attached."""

import os
import re
import selectors
import shlex
import shutil
import signal
import subprocess
import time

import pytest

from plat import PROMPT, TextStream, platqemu

SCRIPTS = platqemu.ROOT / "scripts"
SECONDS = 120
QUIT = b"\x01x"  # Ctrl-A x, QEMU's multiplexed console


class Program:
    """A program with its input, output and messages on pipes, in a process group of its own."""

    def __init__(self, *command, **options):
        self.process = subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, bufsize=0, start_new_session=True, **options)
        self.stream = TextStream()

    def wait_for(self, pattern):
        deadline = time.monotonic() + SECONDS
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while not re.search(pattern, self.stream.text, re.M):
                assert selector.select(deadline - time.monotonic()), (
                    f"no {pattern!r} in:\n{self.stream.text}")
                data = self.process.stdout.read(65536)
                assert data, f"ended without {pattern!r}:\n{self.stream.text}"
                self.stream.feed(data)
        return re.search(pattern, self.stream.text, re.M)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


@pytest.mark.quick
def test_run_qemu_ends_at_the_prompt_and_quits(tmp_path):
    image = platqemu.copy_image(platqemu.IMAGE, tmp_path / "disk.img")
    with Program(SCRIPTS / "run-qemu", "--image", image, "--mem", "256M") as run:
        run.wait_for(r"^" + re.escape(PROMPT))
        run.process.stdin.write(QUIT)
        assert run.process.wait(SECONDS) == 0


def test_run_qemu_takes_options_for_once(tmp_path):
    image = platqemu.copy_image(platqemu.IMAGE, tmp_path / "disk.img")
    with Program(SCRIPTS / "run-qemu", "--image", image, "--mem", "256M",
                 "--conf", 'save=off inspect=off run="echo so it is; poweroff"') as run:
        run.wait_for(r"^so it is$")
        assert run.process.wait(SECONDS) == 0
        assert "report" not in run.stream.text
    assert platqemu.get_conf(image) == platqemu.get_conf(platqemu.IMAGE)


def test_gdb_finds_the_kernel_wherever_it_slid():
    if not shutil.which("gdb"):
        pytest.skip("gdb is not installed")
    with Program(SCRIPTS / "debug-qemu", "--mem", "256M", "--no-fb", cwd=platqemu.ROOT) as debug:
        line = debug.wait_for(r"^ +(PLAT_GDB=\S+ PLAT_ELF=\S+) gdb -x (\S+)$")
        settings = dict(word.split("=", 1) for word in shlex.split(line[1]))
        gdb = subprocess.run(
            ["gdb", "-nx", "-batch", "-x", line[2], "-ex", "break monitor_run", "-ex", "continue",
             "-ex", "backtrace", "-ex", "info symbol kmain", "-ex", "kill"],
            cwd=platqemu.ROOT, env={**os.environ, **settings}, capture_output=True, text=True,
            timeout=3 * SECONDS, check=False)
        said = gdb.stdout + gdb.stderr
        found = re.search(r"^kernel at (0x[0-9a-f]+), slid by (0x[0-9a-f]+)", said, re.M)
        assert found, said
        base, slid = int(found[1], 16), int(found[2], 16)
        assert base == 0xffffffff80000000 + slid and slid < 1 << 30 and slid % (2 << 20) == 0
        assert re.search(r"^#\d+ .*\bread_options\b", said, re.M), said
        # Frame 0 may be a function that was inlined into it.
        assert "Breakpoint 1, " in said
        assert re.search(r"^#\d+ +monitor_run\b.*\n#\d+ .*\bin kmain\b", said, re.M), said
        debug.process.wait(SECONDS)
