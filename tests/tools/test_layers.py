"""What mm/ may lean on: the linker and the compiler's own dependency files say, not a reading of sources."""

import os
import re
import subprocess

import pytest

from plat import platqemu

ROOT = platqemu.ROOT
BUILD = platqemu.BUILD
pytestmark = pytest.mark.quick

# What the compiler calls by itself: C's memory functions, and the stack protector that the
# kernel's flags ask for.
COMPILER = {"memcpy", "memmove", "memset", "memcmp", "__stack_chk_guard", "__stack_chk_fail"}


def names(*flags):
    """Of libmm.a's symbols, those that nm shows with `flags`."""
    out = subprocess.run(["nm", *flags, BUILD / "libmm.a"], check=True, capture_output=True,
                         text=True).stdout
    return {line.split()[-1] for line in out.splitlines() if line and not line.endswith(":")}


# What the kernel gives mm/ inline (MM_PORT_INLINE), and what that leans on.
INLINE = {"kernel/port_inline.h", "kernel/cpu/cpu.h"}


def declared(path):
    return set(re.findall(r"\b(port_\w+)\(", (ROOT / path).read_text()))


def test_libmm_leaves_undefined_what_port_h_declares():
    port, inline = declared("include/mm/port.h"), declared("kernel/port_inline.h")
    undefined = names("-u") - names("--defined-only", "-g")
    assert len(port) >= 7
    assert inline and inline < port
    assert undefined - COMPILER == port - inline


def test_mm_includes_only_its_own_headers():
    seen = 0
    for d in (BUILD / "mm").glob("**/*.d"):
        rule = d.read_text().split("\n\n")[0].replace("\\\n", " ")
        for path in rule.split(":", 1)[1].split():
            assert (path.startswith(("mm/", "include/mm/", "include/x86/")) or
                    os.path.normpath(path) in INLINE), f"{d.name}: {path}"
            seen += 1
    assert seen > 20


def test_layers_of_mm_point_down():
    """memmap, pmm, paging, heap: an object uses functions of its own layer and of those before it."""
    order = ["memmap", "pmm", "paging", "heap"]
    defined = {}
    uses = {}
    for obj in (BUILD / "mm").glob("*/*.o"):
        layer = order.index(obj.parent.name)
        out = subprocess.run(["nm", obj], check=True, capture_output=True, text=True).stdout
        for line in out.splitlines():
            kind, name = line.split()[-2:]
            if kind == "U":
                uses.setdefault(name, set()).add(layer)
            elif kind.isupper():
                defined[name] = layer
    assert defined
    for name, users in uses.items():
        if name in defined:
            assert min(users) >= defined[name], f"{name} is used from {order[min(users)]}"


def test_only_a_few_files_of_the_stub_see_uefi():
    """All decisions of efi/ are made where a host test can play firmware."""
    seen = 0
    for d in (BUILD / "efi").glob("*.d"):
        rule = d.read_text().split("\n\n")[0].replace("\\\n", " ")
        asks = d.stem == "main" or d.stem.startswith("uefi_")
        for path in rule.split(":", 1)[1].split():
            ours = os.path.normpath(path).startswith(("efi/", "include/"))
            assert ours or asks or "/lib/clang/" in path, f"{d.name}: {path}"
            seen += 1
    assert seen > 50
