"""The screen: what a QEMU screendump shows, read back with the font that the kernel was linked with."""

import pytest

from plat import screen_text


def wait_for_screen(g, line):
    """The screen is drawn before the prompt goes out over serial, but after its last character."""
    for _ in range(50):
        lines = screen_text(g)
        if line in lines:
            return lines
        g.cmd("")
    pytest.fail(f"no line {line!r} on the screen:\n" + "\n".join(lines))


@pytest.mark.quick
def test_screen_shows_what_serial_shows(boot):
    g = boot(mem="256M", conf="nokaslr")
    g.wait_prompt()
    output = g.cmd("memmap -s").rstrip("\n").split("\n")
    lines = wait_for_screen(g, "plat> memmap -s")
    at = lines.index("plat> memmap -s")
    assert lines[at + 1:at + 1 + len(output)] == [line.rstrip() for line in output]
    assert "\ufffd" not in "".join(lines)


def test_screen_scrolls(boot):
    """Far more lines than rows: the last ones are there, in order, whole."""
    g = boot(mem="256M")
    g.wait_prompt()
    output = g.cmd("memmap -r").rstrip("\n").split("\n")
    assert len(output) > 100
    g.cmd("echo end of the map")
    lines = wait_for_screen(g, "end of the map")
    at = lines.index("plat> echo end of the map")
    assert at > 20
    shown = [line.rstrip() for line in output if line.strip()][-20:]
    assert [line for line in lines[:at] if line][-20:] == shown


def test_boot_log_is_on_the_screen(boot):
    g = boot(mem="256M")
    g.wait_prompt()
    text = "\n".join(screen_text(g))
    for words in ("4-level paging", "firmware: ", "memory map: ", "write-combining"):
        assert words in text
