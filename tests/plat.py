"""A Plat that runs in QEMU, as the boot tests see it: Guest, and screen_text() for its screen.

A Guest starts its own copy of the disk image through scripts/platqemu.py, so the machine is that of
`make run`, and a page of memory that keeps firmware from waiting. The monitor is driven over the
serial port, which is QEMU's standard input and output; QMP, QEMU's control channel, on a socket
pair, serves keys, screens and the reason of an exit. The guest gives the verdicts; the time limits
here only notice a hang, and are generous.

    with Guest(log, conf='run="memmap"', mem="256M", disk="nvme") as g:
        g.wait_prompt()
        assert "BootServicesData" in g.cmd("memmap -s")
"""

import codecs
import fcntl
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scripts"))
import platqemu  # noqa: E402

PROMPT = "plat> "
# Linux's default limit. QEMU writes single bytes: in a pipe they share pages, and a megabyte fits;
# a socket has room for a few hundred, and then the guest's serial port stops while we are busy.
PIPE_BYTES = 1 << 20
PANIC = re.compile(r"^PANIC\b", re.M)
PANIC_END = re.compile(r"^The machine is stopped\b", re.M)
TPM_BASE = 0xfed40000
ONES_SLOT = 30  # on bus 0; free on each machine type

_ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[^\[])")
_UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*)?|\r+)\Z")


class GuestError(Exception):
    """The guest did not do what the test waited for."""


class GuestHang(GuestError):
    """Nothing that was waited for came within the time limit."""


class GuestExited(GuestError):
    """QEMU ended, or the machine was reset."""


class GuestPanic(GuestError):
    """The kernel panicked, and the test did not expect it."""


class TextStream:
    """Bytes of a terminal as text: no escape sequences, \\n for \\r\\n. A lone \\r stays."""

    def __init__(self):
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""

    def feed(self, data):
        self._pending += self._decoder.decode(data)
        tail = _UNFINISHED.search(self._pending)
        end = tail.start() if tail else len(self._pending)
        self.text += re.sub(r"\r+\n", "\n", _ESCAPE.sub("", self._pending[:end]))
        self._pending = self._pending[end:]


class Guest:
    """One machine. start() or `with` starts it; stop() always ends it.

    log          - file that gets every byte of the serial port
    conf         - text of plat.conf; None leaves the image's own. Unless it says otherwise, the
                   inspector does not wait for a key
    expect_panic - a panic is what the test wants: do not raise GuestPanic
    no_reboot    - a reset ends QEMU, so that a triple fault is no endless loop
    options      - fields of platqemu.Machine: mem, cpu, machine, disk, firmware, fb, icount, ...

    text is the serial output so far, without escape sequences; raw has its bytes.
    """

    def __init__(self, log, conf="", expect_panic=False, no_reboot=True, **options):
        self.log = Path(log)
        self.conf = "inspect=off\n" + conf if conf is not None and "inspect=" not in conf else conf
        self.expect_panic = expect_panic
        self.no_reboot = no_reboot
        self.machine = platqemu.Machine(**options)
        self.events = []  # of QMP
        self.raw = bytearray()
        self.last_raw = b""  # serial bytes of the last cmd()
        self.boot_seconds = None  # from start() to the first prompt
        self._stream = TextStream()
        self._seen = 0  # up to here of text, waiting is over
        self._replies = []
        self._qmp_text = b""
        self._process = None
        self._exited = False
        # OVMF reaches the stub in 3 s on a quiet machine, in 10 s with 1 TiB.
        limit = 90 + (150 if platqemu.parse_size(self.machine.mem) > 256 * platqemu.GIB else 0)
        self.patience = limit * (5 if self.machine.icount else 1)

    # ---- life ------------------------------------------------------------------------------------

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *exc):
        self.stop()

    def start(self):
        self._dir = tempfile.TemporaryDirectory(prefix="plat-guest.")
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        self.image = platqemu.copy_image(self.machine.image, Path(self._dir.name) / "disk.img",
                                         self.conf)
        self.machine.image = self.image
        self._qmp, control = socket.socketpair()
        console = ["-chardev", "stdio,id=com1,signal=off", "-serial", "chardev:com1",
                   "-chardev", f"socket,id=qmp,fd={control.fileno()}",
                   "-mon", "chardev=qmp,mode=control", "-display", "none", "-S",
                   *self._ones()]
        if self.no_reboot:
            console.append("-no-reboot")
        command = self.machine.command(self.machine.copy_variables(self._dir.name), console)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self._log = open(self.log, "wb", buffering=0)
        self._errors = open(Path(self._dir.name) / "qemu.txt", "w+b")
        self._started = time.monotonic()
        with control:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors,
                bufsize=0, pass_fds=(control.fileno(),))
        self._serial = self._process.stdout
        fcntl.fcntl(self._serial, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.qmp("qmp_capabilities")
        self._hide_tpm()
        self.qmp("cont")

    def _ones(self):
        """The arguments for a PCI device whose memory, in BAR 2, is a page of ones."""
        page = Path(self._dir.name) / "ones"
        page.write_bytes(b"\xff" * 4096)
        return ["-device", f"ivshmem-plain,addr={ONES_SLOT:#x},memdev=ones", "-object",
                f"memory-backend-file,id=ones,size=4096,share=off,mem-path={platqemu.comma(page)}"]

    def _hide_tpm(self):
        """Move the page of ones to where a TPM would be.

        With nothing there, QEMU reads zeros where a real machine reads ones, and OVMF takes them
        for a TPM that is not ready. It waits for it, and under TCG its 0.75 s last 2 s, which is
        nearly half of a boot. Later it assigns the page another place, as it does all BARs.
        """
        for register, value in [(0x18, TPM_BASE), (0x04, 2)]:  # BAR 2, and decoding of memory
            self.hmp(f"o /w 0xcf8 {1 << 31 | ONES_SLOT << 11 | register:#x}")
            self.hmp(f"o /w 0xcfc {value:#x}")

    def stop(self):
        """End QEMU, whatever it is doing, and drop its files. May be called twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._exited = True
            self._serial.close()
            self._process.stdin.close()
            self._process = None
            self._qmp.close()
            self._log.close()
            self._errors.close()
        self._dir.cleanup()

    @property
    def alive(self):
        return not self._exited and self._process is not None and self._process.poll() is None

    @property
    def panicked(self):
        return PANIC.search(self.text) is not None

    # ---- waiting ---------------------------------------------------------------------------------

    @property
    def text(self):
        return self._stream.text

    def wait_text(self, pattern, timeout=None):
        """Wait until `pattern` occurs behind what earlier waits consumed; returns the match."""
        regex = re.compile(pattern, re.M)
        match = self._wait(lambda: regex.search(self.text, self._seen), f"{pattern!r}", timeout)
        self._seen = match.end()
        return match

    def wait_prompt(self, timeout=None):
        """Wait for the monitor's prompt at the end of the output."""
        self._wait(self._at_prompt, f"the prompt {PROMPT!r}", timeout)
        if self.boot_seconds is None:
            self.boot_seconds = time.monotonic() - self._started
        self._seen = len(self.text)

    def cmd(self, line, timeout=None):
        """Run one monitor command at the prompt; returns its output without the echoed line."""
        raw_from, text_from = len(self.raw), len(self.text)
        self._seen = text_from
        self.send(line + "\r")
        self._wait(lambda: "\n" in self.text[text_from:] and self._at_prompt(),
                   f"the prompt after {line!r}", timeout)
        self._seen = len(self.text)
        self.last_raw = bytes(self.raw[raw_from:])
        echo_and_output = self.text[text_from:len(self.text) - len(PROMPT)]
        return echo_and_output.split("\n", 1)[1]

    def wait_exit(self, timeout=None):
        """Wait until QEMU ends; returns why: "guest-shutdown", "guest-reset", ..."""
        deadline = time.monotonic() + (timeout or self.patience)
        while not self._exited:
            self._read(deadline, "the end of QEMU")
            self._stop_on_panic()
        reasons = [e["data"]["reason"] for e in self.events if e["event"] == "SHUTDOWN"]
        return reasons[-1] if reasons else "unknown"

    def send(self, text):
        """Type on the serial port."""
        self._process.stdin.write(text.encode())

    def _at_prompt(self):
        """Does the output end in a prompt at the start of a line that no wait consumed yet?"""
        at = len(self.text) - len(PROMPT)
        return (at >= self._seen and self.text.endswith(PROMPT)
                and (at == 0 or self.text[at - 1] == "\n"))

    def _wait(self, test, what, timeout):
        deadline = time.monotonic() + (timeout or self.patience)
        while True:
            self._stop_on_panic()
            result = test()
            if result:
                return result
            if self._exited:
                raise GuestExited(f"QEMU ended while waiting for {what}\n{self._diagnosis()}")
            self._read(deadline, what)

    def _stop_on_panic(self):
        panic = None if self.expect_panic else PANIC.search(self.text)
        if not panic:
            return
        # Let it finish its report, but do not insist.
        deadline = time.monotonic() + 10
        while not self._exited and not PANIC_END.search(self.text, panic.end()):
            try:
                self._read(deadline, "the end of the panic")
            except GuestHang:
                break
        raise GuestPanic("the kernel panicked:\n" + self.text[panic.start():])

    def _read(self, deadline, what):
        """Take in what QEMU says next; GuestHang when the deadline passes first."""
        ready, _, _ = select.select([self._serial, self._qmp], [], [],
                                    max(0, deadline - time.monotonic()))
        if not ready:
            raise GuestHang(f"no sign of {what}\n{self._diagnosis()}")
        if self._qmp in ready:
            self._read_qmp()
        if self._serial in ready:
            data = self._serial.read(65536)
            self.raw += data
            self._log.write(data)
            self._stream.feed(data)
            if not data:
                self._finish()

    def _finish(self):
        """The serial port was closed: QEMU is ending. Collect what it still has to say."""
        self._exited = True
        self._process.wait()
        while self._read_qmp():
            pass

    def _read_qmp(self):
        try:
            data = self._qmp.recv(65536)
        except ConnectionResetError:
            data = b""
        *lines, self._qmp_text = (self._qmp_text + data).split(b"\n")
        for message in map(json.loads, filter(bytes.strip, lines)):
            if "event" in message:
                self.events.append(message)
            elif "QMP" not in message:
                self._replies.append(message)
        if not data:
            self._exited = True
            self._process.wait()
        return data

    def _diagnosis(self):
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace").strip()
        last = "\n".join(self.text.rstrip("\n").split("\n")[-25:])
        return (f"after {time.monotonic() - self._started:.0f} s; last serial output:\n{last}"
                + (f"\nQEMU said:\n{errors}" if errors else ""))

    # ---- QMP -------------------------------------------------------------------------------------

    def qmp(self, command, **arguments):
        """Execute a QMP command; returns what it returns."""
        self._qmp.sendall(json.dumps({"execute": command, "arguments": arguments}).encode())
        deadline = time.monotonic() + 60
        while not self._replies:
            if self._exited:
                raise GuestExited(f"QEMU ended during {command}\n{self._diagnosis()}")
            self._read(deadline, f"an answer to {command}")
        reply = self._replies.pop(0)
        if "error" in reply:
            raise GuestError(f"QMP {command}: {reply['error']['desc']}")
        return reply["return"]

    def hmp(self, line):
        """Execute a command of QEMU's monitor for people; returns what it prints."""
        return self.qmp("human-monitor-command", **{"command-line": line})

    def screendump(self, path, fmt="ppm"):
        """Save the screen as a "ppm" or "png" file."""
        self.qmp("screendump", filename=str(path), format=fmt)

    def type_keys(self, text):
        """Type on the PS/2 keyboard, a key at a time. US layout."""
        for char in text:
            self.press(*keys_of(char))

    def press(self, *keys):
        """Press keys together and let them go; QEMU's names: "ret", "shift", "up", "a"."""
        self.qmp("send-key", keys=[{"type": "qcode", "data": k} for k in keys], **{"hold-time": 20})
        time.sleep(0.05)  # QEMU lets go after hold-time, and drops what comes meanwhile


_PLAIN = {"\n": "ret", " ": "spc", "-": "minus", "=": "equal", "[": "bracket_left",
          "]": "bracket_right", ";": "semicolon", "'": "apostrophe", "`": "grave_accent",
          "\\": "backslash", ",": "comma", ".": "dot", "/": "slash", "\t": "tab",
          "\b": "backspace", "\x1b": "esc"}
_SHIFTED = dict(zip('!@#$%^&*()_+{}|:"~<>?', "1234567890-=[]\\;'`,./"))


def keys_of(char):
    """QEMU's names of the keys that type `char` on a US keyboard."""
    if char in _SHIFTED:
        return ("shift",) + keys_of(_SHIFTED[char])
    if char.isascii() and char.isupper():
        return ("shift", char.lower())
    if char in _PLAIN:
        return (_PLAIN[char],)
    if char.isascii() and char.isalnum():
        return (char,)
    raise ValueError(f"no key types {char!r}")


# ---- screens -------------------------------------------------------------------------------------


class Font:
    """Glyphs of a PSF file, version 1 or 2, found by their bitmaps."""

    def __init__(self, data):
        if data[:2] == b"\x36\x04":
            mode, nbytes = data[2], data[3]
            count, header, self.width, self.height = (512 if mode & 1 else 256), 4, 8, nbytes
            has_table, utf8 = bool(mode & 6), False
        elif data[:4] == b"\x72\xb5\x4a\x86":
            header, flags, count, nbytes, self.height, self.width = (
                int.from_bytes(data[i:i + 4], "little") for i in range(8, 32, 4))
            has_table, utf8 = bool(flags & 1), True
        else:
            raise ValueError("not a PSF font")
        glyphs = [data[header + i * nbytes:header + (i + 1) * nbytes] for i in range(count)]
        table = data[header + count * nbytes:]
        if not has_table:
            chars = [chr(i) for i in range(count)]
        elif utf8:
            chars = [self._first(entry.split(b"\xfe")[0].decode()) for entry in
                     table.split(b"\xff")[:count]]
        else:
            units = [int.from_bytes(table[i:i + 2], "little") for i in range(0, len(table), 2)]
            chars, entry = [], []
            for unit in units:
                if unit != 0xffff:
                    entry.append(unit)
                    continue
                singles = entry[:entry.index(0xfffe)] if 0xfffe in entry else entry
                chars.append(self._first(map(chr, singles)))
                entry = []
        # Rows of '0' and '1'. Of glyphs that look the same, the lowest character wins: ASCII.
        self.chars = {}
        for glyph, char in sorted(zip(glyphs, chars), key=lambda pair: pair[1], reverse=True):
            self.chars[self._bits(glyph)] = char
        self.chars[(0,) * self.height] = " "

    @staticmethod
    def _first(characters):
        return min(characters, default="\ufffd")

    def _bits(self, glyph):
        row_bytes = (self.width + 7) // 8
        return tuple(int.from_bytes(glyph[y * row_bytes:(y + 1) * row_bytes], "big")
                     >> (row_bytes * 8 - self.width) for y in range(self.height))


def read_ppm(data):
    """(width, height, pixels) of a binary PPM, three bytes a pixel."""
    head = re.match(rb"P6\s+(\d+)\s+(\d+)\s+255\s", data)
    if not head:
        raise ValueError("not a binary PPM of 8 bits a colour")
    return int(head[1]), int(head[2]), data[head.end():]


def text_of_screen(ppm, font):
    """The lines of text on a screen, right-trimmed; see screen_text()."""
    width, height, pixels = read_ppm(ppm)
    full = (1 << font.width) - 1
    lines = []
    for top in range(0, height - font.height + 1, font.height):
        rows = [pixels[y * width * 3:(y + 1) * width * 3] for y in range(top, top + font.height)]
        line = ""
        for left in range(0, width - font.width + 1, font.width):
            cell = [row[left * 3:(left + font.width) * 3] for row in rows]
            background = cell[0][:3]
            if all(row == background * font.width for row in cell):
                line += " "
                continue
            colours = {row[x:x + 3] for row in cell for x in range(0, font.width * 3, 3)}
            bits = tuple(
                sum(1 << (font.width - 1 - x) for x in range(font.width)
                    if row[x * 3:x * 3 + 3] != background) for row in cell)
            inverse = tuple(b ^ full for b in bits)
            char = font.chars.get(bits) or font.chars.get(inverse)
            line += char if char and len(colours) == 2 else "\ufffd"
        lines.append(line.rstrip())
    return lines


def screen_text(guest, font_path=None):
    """What the guest's screen says, as a list of lines.

    The screen is cut into cells of the font's size from pixel 0,0, and each cell's bitmap is looked
    up in the font that the kernel was linked with, whatever its two colours. A cell that matches
    no glyph reads as U+FFFD; one of a single colour as a space.
    """
    font = Font(Path(font_path or platqemu.BUILD / "font.psf").read_bytes())
    handle, path = tempfile.mkstemp(suffix=".ppm")
    os.close(handle)
    try:
        guest.screendump(path)
        return text_of_screen(Path(path).read_bytes(), font)
    finally:
        os.unlink(path)
