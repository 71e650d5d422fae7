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
