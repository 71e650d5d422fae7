"""The screen: what a QEMU screendump shows, read back with the font that the kernel was linked with."""

import pytest

from plat import screen_text

GUEST = dict(mem="256M", conf="nokaslr")


def wait_for_screen(g, line):
    """The screen is drawn before the prompt goes out over serial, but after its last character."""
    for _ in range(50):
        lines = screen_text(g)
        if line in lines:
            return lines
        g.cmd("")
    pytest.fail(f"no line {line!r} on the screen:\n" + "\n".join(lines))


def test_boot_log_is_on_the_screen(guest):
    """The first test, since others write over it."""
    text = "\n".join(screen_text(guest))
    for words in ("4-level paging", "firmware: ", "memory map: ", "write-combining"):
        assert words in text


@pytest.mark.quick
def test_screen_shows_what_serial_shows(guest):
    output = guest.cmd("memmap -s").rstrip("\n").split("\n")
    lines = wait_for_screen(guest, "plat> memmap -s")
    at = lines.index("plat> memmap -s")
    assert lines[at + 1:at + 1 + len(output)] == [line.rstrip() for line in output]
    assert "\ufffd" not in "".join(lines)


def test_screen_scrolls(guest):
    """Far more lines than rows: the last ones are there, in order, whole."""
    output = guest.cmd("memmap -r").rstrip("\n").split("\n")
    assert len(output) > 100
    guest.cmd("echo end of the map")
    lines = wait_for_screen(guest, "end of the map")
    at = lines.index("plat> echo end of the map")
    assert at > 20
    shown = [line.rstrip() for line in output if line.strip()][-20:]
    assert [line for line in lines[:at] if line][-20:] == shown
