"""The debug build: its allocator passes its own tests, and knows who took a frame.

It is another build than that of all other tests: `make test` makes it beside theirs.
"""

import os
import re

import pytest

from plat import platqemu

IMAGE = platqemu.IMAGE if os.environ.get("DEBUG") else platqemu.BUILD / "debug" / "plat.img"


def who(g, physical):
    """The function that took a frame, or what is said instead."""
    text = g.cmd(f"frames who {physical:#x}")
    match = re.search(r"^frame 0x[0-9a-f]+ was taken by 0x[0-9a-f]+, (\S+)\+0x[0-9a-f]+$", text, re.M)
    return match[1] if match else text


def allocate(g, arguments):
    """ID and address of what `alloc` gave."""
    match = re.search(r"^ *(\d+)  ([0-9a-f]{16}) ", g.cmd(f"alloc {arguments}"), re.M)
    return match[1], int(match[2], 16)


def walk(g, address):
    """Where an address lies in physical memory, and the tables on the way there."""
    text = g.cmd(f"walk {address:#x}")
    tables = [int(at, 16) for at in re.findall(r"-> table at 0x([0-9a-f]+)$", text, re.M)]
    return int(re.search(r"^physical 0x([0-9a-f]+)", text, re.M)[1], 16), tables


@pytest.mark.skipif(not IMAGE.exists(), reason="there is no debug build: make test makes it")
def test_debug_build(boot):
    """Names are those of functions that call the pool, or of what they are inlined into."""
    g = boot(image=IMAGE, mem="64M")
    g.wait_prompt()
    assert g.cmd("selftest pmm", timeout=300).endswith(" passed, 0 failed\n")

    block, address = allocate(g, "-f 3")
    physical, _ = walk(g, address)
    for frame in range(8):
        assert who(g, physical + frame * 4096) in ("acquire", "cmd_alloc")
    g.cmd(f"free {block}")
    assert who(g, physical).endswith(": not in use\n")

    for size in ("64", "300k", "20k"):  # of a slab, whole frames, of an arena of the heap
        _, address = allocate(g, size)
        assert who(g, walk(g, address)[0]) in ("frames_get", "kmalloc_init")
    _, address = allocate(g, "-v 3m")  # a large page, and small ones in a table of their own
    physical, _ = walk(g, address)
    assert who(g, physical) in ("populate", "vmalloc")
    assert who(g, physical + (1 << 20)) in ("populate", "vmalloc")
    physical, tables = walk(g, address + (5 << 19))
    assert who(g, physical) in ("populate", "vmalloc")
    assert who(g, tables[-1]) == "table_get"
    assert "failed" not in g.cmd("check")


def site(name):
    """How the monitor says where a call was."""
    return rf"0x[0-9a-f]+, {name}\+0x[0-9a-f]+"


@pytest.mark.skipif(not IMAGE.exists(), reason="there is no debug build: make test makes it")
def test_debug_heap(boot):
    """Who allocated what, what came since when, and what was written where it should not be."""
    g = boot(image=IMAGE, mem="128M", expect_panic=True)
    g.wait_prompt()
    assert g.cmd("selftest heap", timeout=300).endswith(" passed, 0 failed\n")
    assert re.match(r"marked behind block number \d+\n$", g.cmd("heap mark"))
    assert g.cmd("heap leaks").endswith("\n0 blocks, 0 bytes in use that came after the mark\n")

    first, address = allocate(g, "100")
    allocate(g, "70000")
    freed, gone = allocate(g, "2000")
    text = g.cmd("heap leaks")
    assert re.search(rf"^ +3 +72100  {site('acquire')}$", text, re.M), text
    text = g.cmd(f"heap who {address + 7:#x}")
    assert re.match(rf"{address + 7:#x} is byte 7 of the block of 100 bytes at {address:#x}\n"
                    rf"  allocated from {site('acquire')}\n$", text), text
    text = g.cmd(f"heap who {address + 103:#x}")
    assert text.startswith(f"{address + 103:#x} is 3 bytes behind the end of the block of 100 bytes at")
    g.cmd(f"free {freed}")
    text = g.cmd(f"heap who {gone:#x}")
    assert re.search(rf"^  allocated from {site('acquire')}\n  freed from {site('[a-z_]+')}$", text, re.M), text
    assert "is in no block" in g.cmd("heap who 0x1000")
    assert re.search(r"^2 blocks, 70100 bytes in use", g.cmd("heap leaks"), re.M)

    # Guarded: it has a range of its own, and the next page is not there.
    g.cmd("heap guard 150 160")
    guarded, own = allocate(g, "150")
    assert (own + 160) % 4096 == 0 and "guarded kmalloc" in g.cmd("heap")
    assert "can't be read: not mapped" in g.cmd(f"peek {own + 160:#x}")
    assert f"the guarded block of 150 bytes at {own:#x}\n" in g.cmd(f"heap who {own + 160:#x}")
    assert "contents intact" in g.cmd(f"free {guarded}")
    assert "guarded kmalloc" not in g.cmd("heap")
    g.cmd("heap guard off")
    assert "heap guard" not in g.cmd("check") and "BROKEN" not in g.cmd("check")

    # A write after kfree, and it is put right; then one behind the end, and the machine stops.
    g.cmd(f"poke {gone + 500:#x} 0")
    text = g.cmd("check")
    assert re.search(rf"^BROKEN  heap: D2: a block was written after it was freed: {gone:#x}, 2000 bytes, "
                     rf"allocated from {site('acquire')}$", text, re.M), text
    g.cmd(f"poke {gone + 500:#x} 0xdf")
    assert "BROKEN" not in g.cmd("check")
    g.cmd(f"poke {address + 102:#x} 0")
    text = g.cmd("check")
    assert re.search(rf"^BROKEN  heap: D1: a block was written behind its end: {address:#x}, 100 bytes, "
                     rf"allocated from {site('acquire')}$", text, re.M), text
    g.send(f"free {first}\r")
    g.wait_text(r"^PANIC: kmalloc: free called from 0x[0-9a-f]+: the block of 100 bytes at "
                rf"{address:#x}, allocated from 0x[0-9a-f]+, was written 2 bytes behind its end$")
    g.wait_text(r"^  0x[0-9a-f]+ is acquire\+0x[0-9a-f]+$")
    g.wait_text(r"^The machine is stopped\b")


BLOCK = r"the block of \d+ bytes at 0x[0-9a-f]+, allocated from 0x[0-9a-f]+"
FREE = rf"PANIC: kmalloc: free called from 0x[0-9a-f]+: {BLOCK}"
FAULT = r"PANIC: page fault: write of unmapped address (0x[0-9a-f]+)\n\1 is"
GUARDED = r"the guarded block of 96 bytes at 0x[0-9a-f]+\n"


@pytest.mark.parametrize("guard, kind, words", [
    ("off", "heap", rf"{FREE}, was freed already, from 0x"),
    ("off", "overrun", rf"{FREE}, was written 0 bytes behind its end"),
    ("off", "late", rf"PANIC: kmalloc: {BLOCK} and freed from 0x[0-9a-f]+, was written at byte 10 after that"),
    ("96 96", "overrun", rf"{FAULT} 0 bytes behind the end of {GUARDED}"
                         rf"  allocated from {site('crash_overrun')}$"),
    ("96 96", "late", rf"{FAULT} byte 10 of {GUARDED}  allocated from {site('crash_late')}\n"
                      rf"  freed from {site('crash_late')}$"),
])
@pytest.mark.skipif(not IMAGE.exists(), reason="there is no debug build: make test makes it")
def test_debug_heap_stops(boot, guard, kind, words):
    g = boot(image=IMAGE, mem="64M", expect_panic=True)
    g.wait_prompt()
    g.cmd(f"heap guard {guard}")
    g.send(f"crash {kind}\r")
    g.wait_text(words)
    if guard == "off":
        g.wait_text(rf"^  0x[0-9a-f]+ is crash_{kind}\+0x[0-9a-f]+$")
    g.wait_text(r"^The machine is stopped\b")
    assert "PANIC in a panic" not in g.text
