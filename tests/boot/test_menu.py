"""The inspector's screens before exit, over serial and on the graphical console.

A terminal emulator (pyte) makes a screen of what the serial port says; firmware shows the same on
both consoles. Its font is not ours, so what the graphical one shows is not read, but that it takes
keys and shows something is.
"""

import os
import re
import subprocess
import time

import pyte
import pytest

from plat import GuestError, platqemu, read_ppm

COLUMNS, ROWS = 200, 70  # more than firmware's console has: it does not depend on where rows end


class Terminal:
    """The screen at the other end of the serial line, from the menu's first one on."""

    def __init__(self, guest):
        self.guest = guest
        self.screen = pyte.Screen(COLUMNS, ROWS)
        self.stream = pyte.ByteStream(self.screen)
        self.fed = 0

    def text(self):
        raw = bytes(self.guest.raw)
        self.stream.feed(raw[self.fed:])
        self.fed = len(raw)
        return "\n".join(line.rstrip() for line in self.screen.display)

    def wait(self, *words, timeout=60):
        """Until all the words are on the screen; returns its text."""
        deadline = time.monotonic() + timeout
        while True:
            text = self.text()
            if all(word in text for word in words):
                return text
            if time.monotonic() > deadline:
                raise GuestError(f"{words} is not on the screen:\n{text.rstrip()}")
            self.guest.qmp("query-status")  # which takes in what QEMU has said
            time.sleep(0.05)

    def type(self, keys, *words):
        """Type, and wait for the words."""
        self.guest.send(keys)
        return self.wait(*words)


@pytest.fixture
def menu(boot):
    def start(**options):
        g = boot(**options)
        t = Terminal(g)
        t.wait("[1 Overview]", "7 Boot the kernel", timeout=g.patience)
        return g, t
    return start


def reports(image):
    listing = subprocess.run(
        ["mdir", "-b", "-i", f"{image}@@{platqemu.ESP_OFFSET}", "::/plat/reports/"],
        env={**os.environ, "MTOOLSRC": "/dev/null", "MTOOLS_SKIP_CHECK": "1"},
        capture_output=True, text=True, check=True)
    return sorted(line.rsplit("/", 1)[1] for line in listing.stdout.split())


@pytest.mark.quick
def test_every_screen_over_serial(menu):
    """As a new user would: look at all of it, save, compare, boot."""
    g, t = menu(mem="256M", conf="inspect=menu save=off")
    screen = t.wait("Machine", "Physical memory", "By use", "By type", "? help")
    assert "QEMU" in screen and "EDK II" in screen and "Secure Boot off" in screen

    t.type("?", "[1 Overview]", "The bar is all of memory", "Keys")
    t.type("2", "[2 Map]", "regions, as made of the descriptors", "BootServicesData")
    t.type("j", ">   1 0x00001000")
    t.type("\x1b[B", ">   2 0x00100000")
    t.type("\x1b[6~", "BootServicesCode")
    t.type("g", ">   0 0x00000000")
    t.type("r", "descriptors as firmware gave them")
    t.type("f", "only Reserved")
    t.type("F", "descriptors as firmware gave them\n")
    t.type("/", "Address, hexadecimal")
    t.type("1m", "4g: 1m_")
    t.type("\r", "0x100000: free", "Around it", "in no region")
    t.type("q", "descriptors as firmware gave them")
    t.type("/4g\r", "0x100000000: in no region")
    t.type("q3", "[3 Findings]", "page 0 is usable memory")
    t.type("\r", "Consequence", "Advice", "Source")
    t.type("q\t", "[4 Tables]", "ACPI 2.0", "FACP", "DSDT", "memory attributes")
    t.type("G", "Frame buffers", "1280x800")
    t.type("5", "[5 Compare]", "There are no saved reports")
    t.type("6", "[6 Save]", "Press Enter to save")
    screen = t.type("\r", "Saved as \\plat\\reports\\")
    t.type("5", "[5 Compare]", "1/1", ".json")
    t.type("\r", "Compared with", "The maps are the same")
    t.type("9", "Restart the machine? y or n")
    t.type("n", "7 Boot the kernel")
    g.send("7")
    g.wait_prompt()
    assert "RuntimeServicesData" in g.cmd("memmap -s")
    g.send("poweroff\r")
    assert g.wait_exit() == "guest-shutdown"
    name = re.search(r"Saved as \\plat\\reports\\(\S+)\.json", screen)[1]
    assert reports(g.image) == [f"{name}.json", f"{name}.txt"]


def test_keyboard_and_screen(menu, tmp_path):
    """The same by the PS/2 keyboard, with its function keys; the graphical console shows it."""
    g, t = menu(mem="256M", conf="inspect=menu save=off nokaslr")

    def picture():
        g.screendump(tmp_path / "screen.ppm")
        return read_ppm((tmp_path / "screen.ppm").read_bytes())

    width, height, before = picture()
    assert (width, height) == (1280, 800)
    colours = {before[i:i + 3] for i in range(0, len(before), 3)}
    assert len(colours) >= 5  # title, tab, headings, text, the bar
    g.press("tab")
    t.wait("[2 Map]")
    g.press("pgdn")
    g.press("pgdn")
    t.wait("BootServicesCode")
    g.press("end")
    t.wait("MMIO")
    g.press("home")
    t.wait(">   0 0x00000000")
    g.press("f1")
    t.wait("The memory map as a table", "Keys")
    g.press("esc")
    t.wait("regions, as made of")
    assert picture()[2] != before
    g.press("esc")
    t.wait("[1 Overview]")
    g.press("down")
    g.press("up")
    g.press("7")
    g.wait_prompt()


def test_firmware_set_up(menu):
    g, t = menu(mem="256M", conf="inspect=menu save=off")
    t.wait("0 Firmware set-up")
    t.type("0", "Restart into firmware's set-up screens? y or n")
    g.send("y")
    assert g.wait_exit() == "guest-reset"


def test_a_key_opens_it(boot):
    """In the time-out, and only then; what a terminal says by itself is no key."""
    g = boot(mem="256M", conf="inspect=5 save=off")
    g.wait_text(r"Press a key for the inspector \(5\)")
    g.send("\x1b[24;80R\x1b[?1;2c")
    g.wait_text(r"Press a key for the inspector \(4\)")
    g.send(" ")
    Terminal(g).wait("[1 Overview]")
    g.send("8")
    g.wait_text("BdsDxe: ")

    g = boot(mem="256M", conf="inspect=1 save=off")
    g.wait_text(r"Press a key for the inspector \(1\)")
    g.wait_prompt()
    assert "[1 Overview]" not in g.text
