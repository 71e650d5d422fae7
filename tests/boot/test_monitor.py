"""The monitor over serial: what its commands say is checked against each other, and against facts.

One machine serves all tests but two of the last ones; the very last switches it off.
"""

import collections
import re
import struct
import subprocess
import time

import pytest

from plat import platqemu

GUEST = dict(mem="256M")

COMMANDS = ("alloc audit bench boot check clear cpu crash demo echo frames free heap help lint "
            "log memmap pagetables peek poke poweroff reboot report runtime selftest walk").split()
PAGE = 4096
CTRL_A, CTRL_C, CTRL_D, CTRL_E, CTRL_K, CTRL_U, CTRL_W = "\x01", "\x03", "\x04", "\x05", "\x0b", \
    "\x15", "\x17"
UP, DOWN, RIGHT, LEFT = "\x1b[A", "\x1b[B", "\x1b[C", "\x1b[D"


def rows(text, pattern):
    """The groups of each line that matches `pattern` as a whole."""
    return [m.groups() for m in re.finditer(f"^{pattern}$", text, re.M)]


def number(text, pattern, base=10):
    match = re.search(pattern, text, re.M)
    assert match, f"no {pattern!r} in:\n{text}"
    return int(match[1], base)


def size_text(nbytes):
    """As the monitor says a size: one digit behind the point, cut off."""
    unit = 0
    while nbytes >> 10 * unit >= 1024:
        unit += 1
    if unit == 0:
        return f"{nbytes} B"
    tenths = nbytes * 10 >> 10 * unit
    return f"{tenths // 10}.{tenths % 10} {'KMGTPE'[unit - 1]}iB"


def descriptors(text):
    """(index, start, pages, type, attributes) of each line of `memmap -r`."""
    return rows(text, r" *(\d+)  ([0-9a-f]{12}) +(\d+) +\S+ \S+  (\S+) +(\S+)")


def regions(g):
    """(base, end, kind) of each region."""
    found = rows(g.cmd("memmap"), r"([0-9a-f]{12}) ([0-9a-f]{12}) +\S+ \S+  (.{15})  .*")
    return [(int(base, 16), int(end, 16), kind.strip()) for base, end, kind in found]


# ---- the shell -----------------------------------------------------------------------------------


@pytest.mark.quick
def test_greets_and_lists_all_commands(guest):
    assert re.search(r'^Plat: \S+ MiB of memory, \S+ MiB free\. "help" lists the commands\.$',
                     guest.text, re.M)
    listed = [name for name, in rows(guest.cmd("help"), r"  ([a-z]+) +\S.*")]
    assert listed == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_help_explains(guest, command):
    text = guest.cmd(f"help {command}")
    assert re.match(rf"usage: {command}( .+)?\n\S.*\.\n", text), text
    assert all(len(line) <= 80 for line in text.splitlines())


def test_lists_and_helps_fit_80_columns(guest):
    for line in ["help", "memmap", "memmap -s", "lint m24", "frames", "frames map", "frames map 0 1m",
                 "frames at 0x1000", "frames drain", "bench pmm", "pagetables", "audit", "heap", "cpu",
                 "check", "crash", "walk kfree", "peek kfree", "peek kfree -q", "bench walk"]:
        wide = [row for row in guest.cmd(line).splitlines() if len(row) > 80]
        assert not wide, f"{line}: {wide}"


def test_unknown_command(guest):
    assert 'frobnicate: there is no such command; "help" lists them all' in guest.cmd(
        "frobnicate 1 2")
    assert 'there is no command "frobnicate"' in guest.cmd("help frobnicate")


def test_words_quotes_and_sequences(guest):
    assert guest.cmd("") == ""
    assert guest.cmd("   ") == ""
    assert guest.cmd('echo  a   b "c  d" e"f;g"h') == "a b c  d ef;gh\n"
    assert guest.cmd("echo a; echo b ;; echo c") == "a\nb\nc\n"
    assert guest.cmd("echo a; walk; echo b").startswith("a\nwalk: ")
    assert "b\n" not in guest.cmd("echo a; walk; echo b")
    assert "a double quote is not closed" in guest.cmd('echo "a b')
    assert "more than 32 words" in guest.cmd("echo " + "w " * 40)
    assert guest.cmd("echo " + "w " * 31) == " ".join("w" * 31) + "\n"


def test_clear_clears(guest):
    assert guest.cmd("clear") == ""
    assert b"\x1b[2J" in guest.last_raw


BAD = {
    "memmap": ["-x", "-rs", "-r -s", "-f", "x", "1 2", "-r 5", "-s 5", "0x10000000000000000"],
    "lint": ["-x", "M99", "m", "M01 M02"],
    "report": ["-x", "1", "-d 1", "-t -d"],
    "frames": ["5", "-a", "at", "at x", "at 1 2", "at 0x10000000000000", "who", "map x",
               "map 0 0", "map 1 2 3", "drain 1"],
    "walk": ["", "1 2", "-x", "nosuchfunction", "12q", "0x", "kfree+", "kfree+z"],
    "pagetables": ["-x", "1"],
    "audit": ["1"],
    "heap": ["-v", "1", "trace nosuchword", "trace on 0", "trace on x", "trace off 1", "trace on 1 2",
             "-b trace", "who", "who 1 2", "mark 1", "leaks 1", "guard", "guard 1 2 3"],
    "alloc": ["x", "-a 3 100", "-a", "-a 0 100", "100 -v -a 16", "-f 19", "-f 2 100", "-v", "1 2",
              "99999999999999999999", "0xfffffffffffffffffk", "-f 1 -v"],
    "free": ["", "0", "65", "x", "1 2", "-a 1"],
    "peek": ["", "nosuchfunction", "0 0", "0 1t", "0 1 2", "0 -b -q", "-z 0",
             "0xffffffffffffffff 8", "-p 0xfffffffffffff000"],
    "poke": ["", "0", "0 256", "0 0x10000 -w", "0 1 2", "0 1 -w -l"],
    "log": ["-l", "-l loud", "x", "1 2"],
    "cpu": ["1"],
    "boot": ["-q"],
    "runtime": ["-q", "1"],
    "selftest": ["nosuchtest", "-s", "-s x", "a b"],
    "bench": ["nosuchbench", "-x"],
    "crash": ["nosuchkind", "null nx"],
    "reboot": ["now"],
    "poweroff": ["-f"],
    "check": ["1"],
    "clear": ["1"],
    "help": ["a b"],
}


@pytest.mark.parametrize("command", BAD)
def test_bad_arguments_answer_with_the_usage(guest, command):
    for arguments in BAD[command]:
        text = guest.cmd(f"{command} {arguments}")
        assert re.match(rf"{command}: .+\nusage: {command}\b.*\n$", text), f"{arguments}: {text}"


def test_editing_keys(guest):
    assert guest.cmd("xecho ab" + CTRL_A + CTRL_D + CTRL_E + "c") == "abc\n"
    assert guest.cmd("echo axc" + LEFT + "\x7f" + "b") == "abc\n"
    assert guest.cmd("echo abc" + LEFT * 3 + RIGHT + CTRL_K) == "a\n"
    assert guest.cmd("nonsense" + CTRL_U + "echo one two" + CTRL_W + "three") == "one three\n"
    guest.send("walk kfree" + CTRL_C)
    guest.wait_text(r"^plat> $")
    assert guest.cmd("echo dropped") == "dropped\n"


def test_tab_completes_commands(guest):
    assert guest.cmd("ech\t hello").endswith("hello\n")
    assert guest.cmd("help aud\t").startswith("usage: audit\n")
    assert guest.cmd("echo a; aud\t").endswith("audit: 9 rules hold, 0 broken\n")


def test_history(guest):
    guest.cmd("echo first")
    guest.cmd("echo second")
    assert guest.cmd(UP) == "second\n"
    assert guest.cmd(UP + UP) == "first\n"
    assert guest.cmd("echo typed" + UP + UP + DOWN + DOWN) == "typed\n"
    assert guest.cmd(UP + " and more") == "typed and more\n"


def test_keyboard(guest):
    guest.type_keys('echo "A-b_3"; echo')
    guest.press("left")  # a key that PS/2 and serial say differently
    guest.press("end")
    before = len(guest.text)
    guest.press("ret")
    guest.wait_prompt()
    assert guest.text[before:].split("\n")[1:3] == ["A-b_3", ""]


# ---- the map and the frames ----------------------------------------------------------------------


@pytest.mark.quick
def test_memmap_regions_and_totals_agree(guest):
    found = regions(guest)
    assert len(found) > 10
    assert all(base < end and base % PAGE == 0 and end % PAGE == 0 for base, end, _ in found)
    assert all(a[1] <= b[0] for a, b in zip(found, found[1:]))

    # To the byte: test_report.py.
    sums = guest.cmd("memmap -s")
    kinds = dict(rows(sums[sums.index("by use"):], r"  (\S.*?) +([\d.]+ \w+)"))
    assert kinds == {kind: size_text(sum(end - base for base, end, k in found if k == kind))
                     for kind in {k for _, _, k in found}}
    # OVMF has all of these, and says so in each boot.
    assert {"free", "free after exit", "kernel", "runtime code", "runtime data",
            "ACPI NVS"} <= set(kinds)

    raw = guest.cmd("memmap -r")
    found_raw = descriptors(raw)
    assert [int(d[0]) for d in found_raw] == list(range(len(found_raw)))
    assert number(raw, r"^(\d+) descriptors of 48 bytes, version 1") == len(found_raw)
    assert rows(sums, r"descriptors +(\d+), in (\d+) regions") == [(str(len(found_raw)),
                                                                    str(len(found)))]
    types = dict(rows(sums[sums.index("by type"):sums.index("by use")], r"  (\S+) +([\d.]+ \w+)"))
    assert types.pop("claimed") != "0 B"
    for name in {d[3] for d in found_raw}:
        given = size_text(sum(int(d[2]) for d in found_raw if d[3] == name) * PAGE)
        # What we claim is not there any more.
        assert types[name] == given or name in ("LoaderCode", "LoaderData", "Conventional"), name
    assert any("RUNTIME" in d[4] for d in found_raw if d[3].startswith("RuntimeServices"))
    assert all("WB" in d[4] for d in found_raw if d[3] == "Conventional")


def test_memmap_draws_a_bar(guest):
    bar, legend, empty = guest.cmd("memmap -s").split("\n")[:3]
    names = dict(re.findall(r"  (\S) ((?: ?\S)+)", legend))
    assert len(bar) == 79 and empty == ""
    assert names["."] == "free" and names["K"] == "kernel" and set(bar) == set(names)
    assert bar.count(".") > 79 / 2
    assert b"\x1b[30;42m." in guest.last_raw


def test_memmap_at_an_address(guest):
    """Every region's first and last byte, and what lies between regions."""
    found = regions(guest)
    for base, end, kind in found[::7] + found[-1:]:
        for addr in (base, end - 1):
            assert guest.cmd(f"memmap {addr:#x}").startswith(
                f"{addr:#x}: {kind}, {addr - base:#x} into {base:#x}-{end - 1:#x} (")
    assert guest.cmd("memmap 0x1234").endswith(
        ", Conventional, attributes UC|WC|WT|WB\n"
        "descriptor 1: Conventional at 0x1000, 159 pages, attributes UC|WC|WT|WB\n")
    assert "info M24 at 0x0-0xfff, descriptor 0: " in guest.cmd("memmap 0xfff")
    base = next(base for base, _, kind in found if kind == "kernel")
    assert ", claimed by the kernel\ndescriptor " in guest.cmd(f"memmap {base:#x}")
    (end, base), *_ = [(a[1], b[0]) for a, b in zip(found, found[1:]) if a[1] != b[0]]
    said = f": in no region; the map says nothing about {end:#x}-{base - 1:#x}\n"
    assert guest.cmd(f"memmap {end}") == f"{end:#x}{said}"
    assert guest.cmd("memmap 0xffffffffffffffff").endswith("-0xffffffffffffffff\n")


def test_lint(guest):
    *findings, count, _ = guest.cmd("lint").split("\n")
    severities = [re.match(r"(error|warning|info) [MA]\d\d(?: at 0x[0-9a-f]+.*)?: \S", line)[1]
                  for line in findings]
    assert count == ", ".join(f"{severities.count(word)} {word}{'s'[severities.count(word) == 1:]}"
                              for word in ("error", "warning", "info"))
    assert findings and severities == sorted(severities, key=["error", "warning", "info"].index)
    assert "error" not in severities


def test_lint_explains(guest):
    text = guest.cmd("lint m04")
    assert re.match(r"M04 +a descriptor has no pages; it is left out\nSeverity +error\n", text)
    for word in ("Consequence", "Advice", "Source"):
        assert f"\n{word} " in text
    assert all(len(line) <= 79 for line in text.splitlines())


SIZE = r"([\d.]+ [KMGT]?i?B|-)"
UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


def nbytes(text):
    """About as many bytes as a size says; it has one digit behind the point."""
    return 0 if text == "-" else float(text.split()[0]) * UNITS[text.split()[1]]


def near(a, b, n=1):
    """Are these sums of `n` sizes, each cut off, the same?"""
    return abs(a - b) <= n * 0.11 * (1 << 20)


def frames(g):
    text = g.cmd("frames")
    general = re.search(rf"^general +{SIZE} +{SIZE} +{SIZE} +{SIZE} +{SIZE} +{SIZE}$", text, re.M)
    assert general, text
    values = dict(zip(["total", "free", "used", "held", "bad", "run"],
                      map(nbytes, general.groups())))
    table = text[text.index("general: free blocks"):text.index("in no free 2 MiB block")]
    values["orders"] = {int(order): int(n) for order, n in
                        re.findall(r"(\d+) +[\d.]+ [KMG]iB +(\d+) +(?:[\d.]+ [KMG]iB|-)", table)}
    values["frames"] = sum(n << order for order, n in values["orders"].items())
    values["text"] = text
    return values


def test_frames_add_up(guest):
    f = frames(guest)
    assert sorted(f["orders"]) == list(range(19))
    assert near(f["free"], f["frames"] * PAGE)
    assert near(f["total"], f["free"] + f["used"] + f["held"], 3)
    assert 240 << 20 < f["total"] <= 256 << 20 and f["free"] > f["total"] / 2
    assert 0 < f["run"] <= f["free"] and f["bad"] == 0
    assert "\nout of service: nothing\n" in f["text"]
    assert re.search(r"^  0  general +\d+ +\d+ +\d+ +\d+$", f["text"], re.M)
    assert re.search(rf"^low +{SIZE}", f["text"], re.M)


def test_frames_know_what_they_were(guest):
    """What became of each type adds up to what firmware gave of it, and to what the pools have."""
    text = frames(guest)["text"]
    fates = {name: list(map(nbytes, sizes)) for name, *sizes in
             rows(text[text.index("firmware's type"):], rf"(\S.*?) +{SIZE} +{SIZE} +{SIZE} +{SIZE} +{SIZE}")}
    for name, (total, *parts) in fates.items():
        assert near(total, sum(parts), 5), name
    given = collections.Counter()
    for _, _, pages, name, _ in descriptors(guest.cmd("memmap -r")):
        given[name] += int(pages) * PAGE
    for name, pages in given.items():
        assert near(pages, fates[name][0]), name
    assert fates["RuntimeServicesData"][4] == fates["RuntimeServicesData"][0] > 0
    assert fates["ACPIReclaim"][3] == fates["ACPIReclaim"][0] > 0
    assert fates["BootServicesData"][1] > 0.9 * fates["BootServicesData"][0]
    general, low = (nbytes(re.search(rf"^{pool} +{SIZE}", text, re.M)[1])
                    for pool in ("general", "low"))
    assert near(general + low, sum(sum(f[1:4]) for f in fates.values()), 3 * len(fates))


def test_frames_at(guest):
    text = guest.cmd("frames at 0")
    assert text.startswith("frame 0x0, 0x0..0x1000\n") and text.endswith("pool:     none\n")
    text = guest.cmd("frames at 0x5123")
    assert "frame 0x5, 0x5000..0x6000\nfirmware: Conventional, descriptor #" in text
    assert "region:   free, " in text and "pool:     low\nstate:    free\n" in text
    assert "region:   none\npool:     none\n" in guest.cmd("frames at 0xfffffffffffff")
    physical = number(guest.cmd("walk kfree"), r"^physical 0x([0-9a-f]+)", 16)
    text = guest.cmd(f"frames at {physical:#x}")
    assert "firmware: LoaderData, descriptor #" in text  # the stub's arena, claimed since
    assert "claimed by Plat\npool:     general\nstate:    held\n" in text
    (identity, address), = rows(guest.cmd("alloc -f 3"), r" *(\d+)  ([0-9a-f]{16}) .*")
    physical = number(guest.cmd(f"walk 0x{address}"), r"^physical 0x([0-9a-f]+)", 16)
    assert "state:    in use\n" in guest.cmd(f"frames at {physical + 5 * PAGE:#x}")
    said = guest.cmd(f"frames who {physical:#x}")  # by a debug build, too: test_debug.py
    assert "does not note who takes frames" in said or " was taken by " in said
    guest.cmd(f"free {identity}")
    assert "state:    free\n" in guest.cmd(f"frames at {physical:#x}")


def drawing(text):
    """{address of a line: its 64 characters}, and the bytes that a character stands for."""
    cell = nbytes(re.match(rf"a character is {SIZE}, a line {SIZE}\n", text)[1])
    lines = {int(at, 16): cells for at, cells in rows(text, r"([0-9a-f]{12}) (.{64})")}
    return int(cell), lines


def test_frames_map_draws_all_memory(guest):
    text = guest.cmd("frames map")
    cell, lines = drawing(text)
    assert cell == 256 << 10 and 10 < len(lines) <= 16
    assert all(at % (64 * cell) == 0 for at in lines)
    everything = "".join(lines.values())
    assert everything.count(".") > len(everything) / 2
    for letter, name in [(".", "free"), ("#", "in use"), ("K", "kernel's own"),
                         ("R", "runtime services"), ("N", "ACPI NVS")]:
        assert letter in everything and f"{letter} {name}" in text, name
    assert b"\x1b[30;42m" in guest.last_raw
    # Each region of a whole character or more is where it should be.
    letters = {"runtime data": "R", "runtime code": "R", "ACPI NVS": "N"}
    for base, end, kind in regions(guest):
        for at in range(-(-base // cell) * cell, end - cell + 1, cell):
            line = at // (64 * cell) * 64 * cell
            if kind in letters and line in lines:
                assert lines[line][(at - line) // cell] == letters[kind], hex(at)


def test_frames_map_of_a_part(guest):
    (identity, address), = rows(guest.cmd("alloc -f 6"), r" *(\d+)  ([0-9a-f]{16}) .*")
    physical = number(guest.cmd(f"walk 0x{address}"), r"^physical 0x([0-9a-f]+)", 16)
    cell, lines = drawing(guest.cmd(f"frames map {physical:#x} 256k"))
    assert (cell, lines) == (PAGE, {physical: "#" * 64})
    guest.cmd(f"free {identity}")
    assert drawing(guest.cmd(f"frames map {physical:#x} 256k"))[1] == {physical: "." * 64}
    cell, lines = drawing(guest.cmd(f"frames map {physical:#x}"))
    assert cell == PAGE and list(lines) == [physical + i * 64 * PAGE for i in range(16)]
    text = guest.cmd("frames map 0 1024t")
    assert drawing(text) == drawing(guest.cmd("frames map"))
    assert re.search(r"^ +: \d+\.\d TiB without memory$", text, re.M)
    text = guest.cmd("frames map 0xfee00000 64k")
    assert text == "a character is 4.0 KiB, a line 256.0 KiB\n           : 64.0 KiB without memory\n"


def test_frames_drain(guest):
    guest.cmd("alloc -f 0; free -a")
    given = number(guest.cmd("frames drain"), r"^general +CPU 0 gave (\d+) frames back$")
    assert given > 0  # those that were zeroed ahead while we typed, if no others
    assert "BROKEN" not in guest.cmd("check")


def test_idle_processor_keeps_no_frames(guest):
    """A second after the last key the cache goes back; the next key finds it empty and fills it."""
    blocks = r"^  0  general +\d+ +\d+ +\d+ +(\d+)$"
    before = number(guest.cmd("frames"), blocks)  # which empties it, too
    guest.cmd("echo")
    time.sleep(3)
    guest.cmd("echo")
    assert number(guest.cmd("frames"), blocks) >= before + 2
    assert "BROKEN" not in guest.cmd("check")


def test_frames_given_and_returned_show(guest):
    before = frames(guest)["frames"]
    held = guest.cmd("alloc -f 9")
    identity = number(held, r"^ *(\d+)  ")
    assert frames(guest)["frames"] == before - 512
    assert f"{identity}: 2.0 MiB given back, contents intact" in guest.cmd(f"free {identity}")
    assert frames(guest)["frames"] == before


# ---- translations --------------------------------------------------------------------------------


@pytest.mark.quick
def test_walk_of_kernel_text(guest):
    text = guest.cmd("walk kfree")
    assert re.search(r"^0x[0-9a-f]+: kernel text, kfree\+0x0$", text, re.M)
    assert [int(level) for level, in rows(text, r"level (\d), entry .*")] == [4, 3, 2, 1]
    assert re.search(r"^physical 0x[0-9a-f]+, 4 KiB page, r-x  *g wb$", text, re.M), text
    assert "read-only, supervisor, executable" in text
    assert re.search(r"^kernel \(.*\) 0x[0-9a-f]+\.\.0x[0-9a-f]+; frame is in use$", text, re.M)


def test_walk_agrees_with_the_bytes_of_the_tables(guest):
    """Each entry that walk shows is what lies in physical memory at the place it names."""
    text = guest.cmd("walk cmd_help+0x10")
    steps = rows(text, r"level \d, entry +\d+ at (0x[0-9a-f]+): ([0-9a-f]{16}) -> \S.*")
    assert len(steps) == 4
    for place, entry in steps:
        assert entry in guest.cmd(f"peek -p {place} 8 -q")


def test_walk_of_the_direct_map(guest):
    base = number(guest.cmd("boot"), r"^  direct map +([0-9a-f]{16})", 16)
    text = guest.cmd(f"walk {base + 0x345678:#x}")
    assert "direct map of physical 0x345678" in text
    assert re.search(r"^physical 0x345678, .* page, rw-  *g wb$", text, re.M), text


def test_walk_of_nothing(guest):
    text = guest.cmd("walk 0")
    assert "not present" in text
    assert re.search(r"^not mapped, and nothing else in 0x0\.\.0x[0-9a-f]+$", text, re.M)
    assert "is not canonical: with 4 levels bits 63 to 47 must be equal" in guest.cmd(
        "walk 0x1234567890abcdef")
    assert "level 4" not in guest.cmd("walk 0x8000000000000000")


def test_pagetables_rights_and_totals(guest):
    text = guest.cmd("pagetables")
    row = (r"([0-9a-f]{16}) ([0-9a-f]{12}) +([\d.]+) (\w+)  (\d) (KiB|MiB|GiB) +"
           r"(r[w-][x-][u-]?) *(g?) +(wb|uc|wc) +(\S.*)")
    found = rows(text, row)
    assert number(text, r"^(\d+) ranges") == len(found)
    bases = [int(r[0], 16) for r in found]
    assert bases == sorted(bases) and bases[0] >= 1 << 63
    assert not [r for r in found if "w" in r[6] and "x" in r[6]]
    assert {r[9] for r in found if "x" in r[6]} == {"kernel text"}
    whats = {r[9] for r in found}
    assert {"direct map", "kernel text", "kernel read-only data", "kernel data", "stack: main",
            "vmalloc: local APIC", "vmalloc: frame buffer"} <= whats
    assert {r[8] for r in found if r[9] == "vmalloc: frame buffer"} == {"wc"}
    assert {r[8] for r in found if r[9] == "vmalloc: local APIC"} == {"uc"}
    # The direct map covers what memmap says it shall, no more and no less.
    ram = sum(end - base for base, end, kind in regions(guest)
              if kind.startswith("free") or kind == "kernel" or kind == "special purpose")
    pages = {size: int(n) for n, size in rows(text, r" +(\d+) pages of (\d \w+) +.*")}
    mapped = pages["4 KiB"] * PAGE + (pages["2 MiB"] << 21) + (pages["1 GiB"] << 30)
    assert ram < mapped < ram + (64 << 20)
    assert re.search(r"^ +\d+ table frames +\S+ \w+  level 1: \d+, 2: \d+, 3: \d+, 4: 1$", text,
                     re.M)


def test_pagetables_of_runtime_services(guest):
    text = guest.cmd("pagetables -r")
    found = rows(text, r"([0-9a-f]{16}) ([0-9a-f]{12}) .* to 0x([0-9a-f]+)")
    assert found and all(int(va, 16) == int(pa, 16) == int(to, 16) for va, pa, to in found)


@pytest.mark.quick
def test_audit_is_clean(guest):
    text = guest.cmd("audit")
    assert text.endswith("audit: 9 rules hold, 0 broken\n")
    assert len(rows(text, r"(ok) +[1-9]\d*  \S.+")) == 9
    assert "BROKEN" not in text


def test_frame_table(guest):
    """Nothing of it is there until an entry is wanted; then what is mapped is what it says."""
    text = guest.cmd("frames at 0x200000")
    if "entry:    none" in text:  # else another test has run `selftest`
        assert "frame table: nobody has wanted" in guest.cmd("frames")
        assert "frame table" not in guest.cmd("pagetables")
    assert guest.cmd("selftest frames").endswith("3 passed, 0 failed\n")
    entry = number(guest.cmd("frames at 0x200000"), r"^entry:    0x([0-9a-f]+), 0 references$", 16)
    assert entry == number(guest.cmd("frames at 0x201000"), r"^entry:    0x([0-9a-f]+),", 16) - 16
    assert f"0x{entry:x}: frame table, entry of frame 0x200\n" in guest.cmd(f"walk {entry:#x}")
    pages = rows(guest.cmd("pagetables"),
                 r"[0-9a-f]{16} [0-9a-f]{12} +([\d.]+ \w+)  \d \w+  rw- g wb  frame table")
    said = re.search(rf"^frame table: {SIZE}, the entries of 1 GiB$", guest.cmd("frames"), re.M)
    assert near(sum(nbytes(size) for size, in pages), nbytes(said[1]), 1 + len(pages))
    assert near(nbytes(said[1]), 1 << 20)  # of a machine with 256 MiB, holes apart
    assert "entry:" not in guest.cmd("frames at 0xfffffffff000")


# ---- allocations ---------------------------------------------------------------------------------


def test_alloc_and_free(guest):
    assert "0 allocations held" in guest.cmd("alloc")
    for line, nbytes, what in [("alloc 100", 100, "kmalloc"), ("alloc 3m -v", 3 << 20, "vmalloc"),
                               ("alloc -f 3", 32768, "frames, order 3"),
                               ("alloc 64k -a 0x10000", 65536, "kmalloc"),
                               ("alloc 5000", 5000, "kmalloc"),
                               ("alloc 0", 0, "kmalloc")]:
        (address, got, kind), = rows(guest.cmd(line),
                                     r" *\d+  ([0-9a-f]{16}) +(\d+) +[\d.]+ \w+  (.*)")
        assert (int(got), kind) == (nbytes, what)
        if "-a" in line:
            assert int(address, 16) % 65536 == 0
    assert "6 allocations held" in guest.cmd("alloc")
    assert "vmalloc: alloc" in guest.cmd("pagetables")
    assert len(re.findall("contents intact", guest.cmd("free -a"))) == 6
    assert "0 allocations held" in guest.cmd("alloc")
    assert "ok" in guest.cmd("check") and "vmalloc: alloc" not in guest.cmd("pagetables")


def test_alloc_takes_the_lowest_fit(guest):
    first, = rows(guest.cmd("alloc 10000"), r" *(\d+)  ([0-9a-f]{16}) .*")
    second, = rows(guest.cmd("alloc 10000"), r" *(\d+)  ([0-9a-f]{16}) .*")
    guest.cmd(f"free {first[0]}")
    again, = rows(guest.cmd("alloc 9000"), r" *(\d+)  ([0-9a-f]{16}) .*")
    assert again == first
    guest.cmd("free -a")


def test_alloc_too_much(guest):
    for line in ["alloc 1t", "alloc 1t -v", "alloc 0xffffffffffffffff", "alloc -f 18"]:
        assert guest.cmd(line).startswith("alloc: out of memory"), line
    assert "BROKEN" not in guest.cmd("check")


def test_free_sees_damage(guest):
    (identity, address), = rows(guest.cmd("alloc 4096"), r" *(\d+)  ([0-9a-f]{16}) .*")
    at = int(address, 16) + 1000
    old = int(rows(guest.cmd(f"peek {at:#x} 1"), r"[0-9a-f]{16} +([0-9a-f]{2}) .*")[0][0], 16)
    guest.cmd(f"poke {at:#x} {old ^ 1}")
    assert f"ID {identity} was damaged: byte 1000, at {at:#x}" in guest.cmd(f"free {identity}")
    assert "nothing is held under ID" in guest.cmd(f"free {identity}")


def test_heap(guest):
    for line in ("alloc 100", "alloc 12345", "alloc 300k"):
        guest.cmd(line)
    text = guest.cmd("heap -b")
    assert re.search(r"^slabs, from frames: ", text, re.M)
    assert re.search(r"^first fit, from runs of frames: 1 arena, ", text, re.M)
    objects = number(text, r"^  used +\S+ \w+ in (\d+) objects$")
    caches = rows(text, r"  (kmalloc-\d+) +(\d+) +[\d.]+ \w+ +(\d+) +(\d+) +(\d+)")
    assert sum(int(c[2]) for c in caches) == objects
    assert all(c[0] == f"kmalloc-{c[1]}" for c in caches)
    assert [int(c[1]) for c in caches] == sorted(int(c[1]) for c in caches)
    assert int(dict((c[0], c[2]) for c in caches)["kmalloc-112"]) >= 1

    used = number(text, r"^  used +\S+ \w+ in (\d+) blocks$")
    free = number(text, r"^  free +\S+ \w+ in (\d+) blocks,")
    frames = number(text, r"^whole frames: \S+ \w+ in (\d+) blocks;")
    blocks, large = (rows(part, r"  ([0-9a-f]{16}) +(\d+) +[\d.]+ \w+  (used|free)")
                     for part in text.split("\nwhole frames\n"))
    assert [b[2] for b in blocks].count("used") == used
    assert [b[2] for b in blocks].count("free") == free
    assert "12352" in [b[1] for b in blocks]  # 12345, in granules of 16
    assert len(large) == frames and "307200" in [b[1] for b in large]
    for part in (blocks, large):
        addresses = [int(b[0], 16) for b in part]
        assert addresses == sorted(addresses)
    only_free = rows(guest.cmd("heap"), r"  ([0-9a-f]{16}) +(\d+) +[\d.]+ \w+  (used|free)")
    assert only_free == [b for b in blocks if b[2] == "free"]
    assert "local APIC (physical 0xfee00000)" in text
    guest.cmd("free -a")


def test_heap_is_drawn(guest):
    """The strip is of the blocks listed below it: as many characters, and the same in each."""
    for size in ("20k", "9k", "5000"):
        guest.cmd(f"alloc {size}")
    text = guest.cmd("heap -b")
    assert all(len(line) <= 80 for line in text.splitlines())
    listed = rows(text.split("\nwhole frames\n")[0],
                  r"  ([0-9a-f]{16}) +(\d+) +[\d.]+ \w+  (used|free)")
    blocks = [(int(at, 16) % 2**48, int(nbytes), what) for at, nbytes, what in listed]
    unit, scale = re.search(r"^a character is (\d+)(?:\.0)? (B|KiB), a line ", text, re.M).groups()
    cell = int(unit) << (10 if scale == "KiB" else 0)
    drawn = {int(row, 16) + i * cell: letter for row, cells in
             re.findall(r"^([0-9a-f]{12}) ([.#_0-9 ]{1,64})$", text, re.M) for i, letter in enumerate(cells)}
    for at, letter in drawn.items():
        inside = {what: sum(max(0, min(end, at + cell) - max(base, at)) for base, end, what2 in
                            ((b, b + n, w) for b, n, w in blocks) if what2 == what)
                  for what in ("used", "free")}
        if letter == " ":
            assert inside == {"used": 0, "free": 0}
        elif letter in "._":
            assert inside["used"] == 0 and inside["free"] > 0
        elif letter == "#":
            assert inside["used"] > 0 and inside["free"] == 0
        else:
            assert int(letter) == max(1, inside["used"] * 10 // sum(inside.values()))
    assert all(at // cell * cell in drawn for at, _, _ in blocks)
    assert "_ free to the end" in text
    used, peak = (number(text, p) for p in (r"^  used +\S+ \w+ in (\d+) blocks$",
                                            r"^  peak: arenas / used is (\d+)\.\d\d \("))
    assert used >= 3 and peak >= 1
    largest = re.search(r"^  fragmentation: largest / free is (\d)\.(\d\d)$", text, re.M)
    free = [n for _, n, what in blocks if what == "free"]
    assert int(largest[1] + largest[2]) == max(free) * 100 // sum(free)
    guest.cmd("free -a")


def test_heap_of_another_build(guest):
    for line in ("who 0", "mark", "leaks", "guard 1 2"):
        assert guest.cmd(f"heap {line}") == \
            "heap: this build does not note who allocates; one made with DEBUG=1 does\n"


def test_heap_trace(guest, tmp_path):
    """What was recorded, as the benchmark would replay it."""
    assert "nothing is recorded" in guest.cmd("heap trace")
    assert guest.cmd("heap trace show").startswith("heap: nothing is recorded")
    before, = rows(guest.cmd("alloc 333"), r" *(\d+)  .*")
    assert "heap trace is on: 0 events of at most 16384" in guest.cmd("heap trace on")
    for line in ("alloc 100", "alloc 70000", "alloc 50 -a 0x2000", "alloc 0", "alloc -v 4k"):
        assert "out of memory" not in guest.cmd(line)
    guest.cmd(f"free {before[0]}")
    guest.cmd("free -a")
    text = guest.cmd("heap trace show")
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "heap trace is off: 11 events" in guest.cmd("heap trace")
    (tmp_path / "log").write_bytes(guest.last_raw + b"\r\n" + bytes(guest.raw))
    subprocess.run([platqemu.ROOT / "scripts/heap-traces", "--text", tmp_path / "log", tmp_path,
                    "--as", "plat"], check=True)
    data = (tmp_path / "plat.trace").read_bytes()[32:]
    ops = [(what >> 30, what >> 25 & 31, nbytes) for what, nbytes in struct.iter_unpack("<II", data)]
    alloc, free, aligned = 0, 1, 3
    assert ops[:4] == [(alloc, 0, 100), (alloc, 0, 70000), (aligned, 13, 50), (alloc, 0, 1)]
    assert [op[0] for op in ops] == [alloc, alloc, aligned, alloc, alloc] + [free] * 5

    guest.cmd("heap trace on 3")
    guest.cmd("selftest heap.random")
    assert re.search(r"^heap trace is off: 3 events of at most 3 \(72 B\), \d{3,} lost$",
                     guest.cmd("heap trace off"), re.M)
    assert re.match(r"heap trace 1: 3 events, \d{3,} lost\n0( \S+){3}\nheap trace ends: [0-9a-f]{8}\n$",
                    guest.cmd("heap trace show"))
    assert "nothing is recorded" in guest.cmd("heap trace drop")
    assert "heap trace" not in guest.cmd("heap")


# ---- memory at any address -----------------------------------------------------------------------


def test_peek_shows_the_same_bytes_in_all_widths(guest):
    def units(line):
        return [word for row in rows(guest.cmd(line), r"[0-9a-f]{16}  ?((?:[0-9a-f]+ +)+) .*")
                for word in row[0].split()]

    plain = units("peek kfree 32 -b")  # in pairs, as they lie in memory
    assert len(plain) == 16
    expected = b"".join(map(bytes.fromhex, plain))
    for width, n in {"-w": 16, "-l": 8, "-q": 4}.items():
        words = units(f"peek kfree 32 {width}")
        assert len(words) == n
        assert b"".join(bytes.fromhex(w)[::-1] for w in words) == expected


def test_peek_of_bad_addresses_answers(guest):
    assert "0x0 can't be read: not mapped: the walk ends at level" in guest.cmd("peek 0")
    assert "not canonical: bits 63 to 47 are not all equal" in guest.cmd("peek 0x8000000000000000")
    stack = re.search(r"^([0-9a-f]{16}) .* stack: main$", guest.cmd("pagetables"), re.M)
    bottom = int(stack[1], 16)
    text = guest.cmd(f"peek {bottom - 8:#x}")
    assert f"{bottom - 8:#x} can't be read: not mapped: the walk ends at level 1" in text
    text = guest.cmd(f"peek {bottom - 8:#x} 8 -q -p")
    assert "bits of physical address" in text
    # Up to the last byte of a mapping, then words.
    (identity, address), = rows(guest.cmd("alloc -v 4k"), r" *(\d+)  ([0-9a-f]{16}) .*")
    text = guest.cmd(f"peek {int(address, 16) + 4080:#x} 32")
    assert re.match(rf"{int(address, 16) + 4080:016x} .*\n", text)
    assert f"{int(address, 16) + 4096:#x} can't be read: not mapped" in text
    guest.cmd(f"free {identity}")


def test_poke(guest):
    (identity, address), = rows(guest.cmd("alloc 64"), r" *(\d+)  ([0-9a-f]{16}) .*")
    guest.cmd(f"poke 0x{address} 0x1122334455667788 -q")
    assert "1122334455667788" in guest.cmd(f"peek 0x{address} 8 -q")
    assert "8877 6655 4433 2211" in guest.cmd(f"peek 0x{address} 8")
    guest.cmd(f"poke 0x{address} 0xaabb -w")
    assert "112233445566aabb" in guest.cmd(f"peek 0x{address} 8 -q")
    physical = number(guest.cmd(f"walk 0x{address}"), r"^physical 0x([0-9a-f]+)", 16)
    guest.cmd(f"poke {physical:#x} 0x77 -p")
    assert "112233445566aa77" in guest.cmd(f"peek {physical:#x} 8 -q -p")
    assert "damaged" in guest.cmd(f"free {identity}")


def test_poke_of_read_only_memory_answers(guest):
    assert "can't be written: it is mapped read-only" in guest.cmd("poke kfree 0x90")
    assert "can't be written: not mapped" in guest.cmd("poke 0x10 1")
    assert guest.cmd("audit").endswith("0 broken\n")


def test_peek_physical_beyond_the_direct_map(guest):
    # The local APIC's version register: a fixed address, and never zero.
    assert number(guest.cmd("peek -p 0xfee00030 4 -l"), r"^[0-9a-f]{16}  ([0-9a-f]{8}) ", 16) != 0
    assert "peek or poke" not in guest.cmd("heap")


# ---- the machine ---------------------------------------------------------------------------------


def test_log(guest):
    everything = guest.cmd("log")
    lines = rows(everything, r"\[ *([\d.]+)\] (.+)")
    assert len(lines) > 5
    stamps = [float(stamp) for stamp, _ in lines]
    assert stamps == sorted(stamps)
    assert guest.cmd("log 3") == "".join(everything.splitlines(True)[-3:])
    assert guest.cmd("log 0") == ""
    assert len(guest.cmd("log -l warn").splitlines()) <= len(lines)


def test_cpu(guest):
    text = guest.cmd("cpu")
    assert re.search(r"^addresses: \d+ bits physical, \d+ bits virtual, 4 levels of tables$", text,
                     re.M)
    for feature in ["NX", "1 GiB pages", "PGE", "PAT", "SMEP", "SMAP", "UMIP"]:
        assert re.search(rf"^  {feature} +in use ", text, re.M), feature
    assert re.search(r"^CR0 +[0-9a-f]{16}  PE .*WP.* PG$", text, re.M)
    assert re.search(r"^CR4 +[0-9a-f]{16}  .*PAE.*PGE.*SMEP SMAP$", text, re.M)
    assert re.search(r"^EFER +[0-9a-f]{16}  LME LMA NXE", text, re.M)
    assert re.search(r"^PAT +0007010600070106  WB WC UC- UC WB WC UC- UC$", text, re.M)


def test_boot(guest):
    text = guest.cmd("boot")
    total = number(text, r"^entry to prompt +([0-9]+) cycles")
    assert re.search(r"^exit tries +[1-9]\d*$", text, re.M)
    assert re.search(r"^firmware +\S.*, revision 0x[0-9a-f]+, UEFI 2\.\d+$", text, re.M)
    stages = [(name, int(n)) for name, n in rows(text, r"(\S.*?) +(\d+) cycles +\d+ us")]
    inner = [n for name, n in stages
             if name != "entry to prompt" and name not in ("stub, until ExitBootServices",
                                                           "from there to the kernel")]
    assert len(inner) >= 5
    assert 0.9 * total < sum(inner) <= total
    assert number(text, r"^  image +([0-9a-f]{16})", 16) % (2 << 20) == 0


def test_runtime(guest):
    assert re.match(r"firmware's clock: 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d(, | UTC).*\n$",
                    guest.cmd("runtime -t"))
    text = guest.cmd("runtime")
    guid = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
    variables = rows(text, rf"({guid}) +(\d+)  (\S+) +(\S+)")
    assert number(text, r"^(\d+) variables, ") == len(variables)
    assert number(text, r"variables, (\d+) bytes") == sum(int(v[1]) for v in variables)
    names = {v[3]: v for v in variables}
    guid, _, attributes, _ = names["BootOrder"]
    assert (guid, attributes) == ("8be4df61-93ca-11d2-aa0d-00e098032b8c", "NV|BS|RT")


# ---- judgements ----------------------------------------------------------------------------------


def test_check(guest):
    text = guest.cmd("check")
    assert [name for name, in rows(text, r"ok      (.+)")] == [
        "memmap", "frames", "frame table", "pagetables", "runtime tables", "heap", "dma",
        "vmalloc"]
    assert "BROKEN" not in text


@pytest.mark.quick
def test_selftest(guest):
    text = guest.cmd("selftest")
    passed = rows(text, r"ok (\S+) +\d+ us")
    assert text.endswith(f"\nselftest: {len(passed)} passed, 0 failed\n"), text
    groups = {name.split(".")[0] for name, in passed}
    assert groups == {"memmap", "pmm", "frames", "paging", "heap", "vmalloc", "kernel"}
    assert guest.cmd("audit").endswith("0 broken\n")


def test_selftest_takes_a_group_and_a_seed(guest):
    text = guest.cmd("selftest -s 42 paging")
    assert text.startswith("seed 42\n")
    assert {name.split(".")[0] for name, in rows(text, r"ok (\S+) +\d+ us")} == {"paging"}
    assert guest.cmd("selftest heap.random").endswith("selftest: 1 passed, 0 failed\n")


def test_bench(guest):
    text = guest.cmd("bench")
    figures = rows(text, r"(\w+) +\S.*? +(\d+) +(\d+) +(\d+)")
    assert len(figures) == 10
    assert all(int(cycles) > 0 and int(times) >= 1000 for _, cycles, _, times in figures)
    assert "under QEMU with -icount shift=0 these\nare instructions" in text
    row = r"(\S.*?) {2,}(\d+) +(\d+)(?: +[\d.]+)?"
    pmm, heap = ({name: (int(ours), int(other)) for name, ours, other in rows(part, row)} for part in
                 text[text.index("\nframes of "):].split("\nheaps, an operation "))
    assert len(heap) == 7 and all(a > 0 and b > 0 for a, b in heap.values())
    assert len(pmm) == 10 and all(a > 0 and b > 0 for a, b in pmm.values())
    assert len({*pmm["2 MiB, half of them pinned: blocks found"]}) == 1  # all of them, by both
    assert "BROKEN" not in guest.cmd("check")


# ---- run=, and the ways out ----------------------------------------------------------------------


def test_run_option_shows_each_command(boot):
    g = boot(mem="256M", conf='run="echo one;audit; walk; echo never"\n')
    g.wait_text(r"^Plat: .* of memory, ")  # behind what run= does, which looks like commands at a prompt
    g.wait_prompt()
    assert "plat> echo one\none\nplat> audit\n" in g.text
    assert "plat> walk\nwalk: an argument is missing\nusage: walk ADDR\n" in g.text
    assert "never\n" not in g.text.split("plat> walk\n", 1)[1]


def test_reboot(boot):
    g = boot(mem="256M")
    g.wait_prompt()
    g.send("reboot\r")
    assert g.wait_exit() == "guest-reset"


def test_poweroff(guest):
    guest.send("poweroff\r")
    assert guest.wait_exit() == "guest-shutdown"
