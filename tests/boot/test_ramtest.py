"""frames test and demo, over serial: what is tested, what becomes of it, and how it ends.

QEMU's memory is good, so faults are simulated (faulty=); from the reading of a word on, all that
follows is real. The frames that tests take out of service are gone until the machine ends.
"""

import re

import pytest

GUEST = dict(mem="256M")

CTRL_C = "\x03"
PAGE = 4096
MIB = 1 << 20
BASE = 0x5000000  # 80 MiB: free in every boot of this machine


def run(g, arguments, **options):
    """The output of frames test, without the line of progress, which is written over."""
    text = g.cmd(f"frames test {arguments}", **options)
    return re.sub(r"(?:\r *\d+ %, pass \d+ of \d+: [a-z ]+ \(Ctrl-C stops\))*\r", "", text)


def free_there(text):
    return int(re.search(r"^(\d+) frames, \S+ \w+, are free there; seed 0x[0-9a-f]+$", text, re.M)[1])


def free_frames(g):
    """In the general pool, exactly."""
    table = g.cmd("frames").split("general: free blocks\n")[1].split("in no free")[0]
    blocks = re.findall(r" (\d+) +[\d.]+ [KMG]iB +(\d+) +(?:-|[\d.]+ \w+)", table)
    assert [int(order) for order, _ in blocks] == [i // 2 + i % 2 * 10 for i in range(19)]
    return sum(int(n) << int(order) for order, n in blocks)


def state(g, addr):
    return re.search(r"^state: +(.+)$", g.cmd(f"frames at {addr:#x}"), re.M)[1]


def words(text):
    """What memmap= and badram= say, as numbers."""
    ranges = [(int(base, 16), int(size, 16))
              for size, base in re.findall(r"^  memmap=(0x[0-9a-f]+)\$(0x[0-9a-f]+)$", text, re.M)]
    numbers = re.search(r"^  badram=(\S+)$", text, re.M)[1].split(",")
    pairs = [(int(a, 16), int(m, 16)) for a, m in zip(numbers[::2], numbers[1::2])]
    return ranges, pairs


def pages(ranges):
    return {page for base, size in ranges for page in range(base, base + size, PAGE)}


def matched(pairs, end=256 * MIB):
    return {page for page in range(0, end, PAGE) if any(page & m == a & m for a, m in pairs)}


# ---- frames test ---------------------------------------------------------------------------------


@pytest.mark.quick
def test_good_memory_passes(guest):
    text = run(guest, f"{BASE:#x} 2m seed=42")
    assert free_there(text) == 512
    assert text.startswith("512 frames, 2.0 MiB, are free there; seed 0x2a\n")
    assert re.search(r"^2\.0 MiB tested in 1 pass of 37 steps, \d+\.\d s: no fault$", text, re.M)
    assert "memmap" not in text and "SIMULATION" not in text
    again = run(guest, f"{BASE:#x} 2m passes=2")
    assert free_there(again) == 512
    assert "2.0 MiB tested in 2 passes of 37 steps" in again
    assert "BROKEN" not in guest.cmd("check")


def test_range_rounds_to_whole_frames(guest):
    assert free_there(run(guest, f"{BASE + 5:#x} 1")) == 1
    assert free_there(run(guest, f"{BASE + 4095:#x} 2")) == 2


def test_seed_differs_from_run_to_run(guest):
    seeds = {re.search("seed (0x[0-9a-f]+)", run(guest, f"{BASE:#x} 4k"))[1]
             for _ in range(3)}
    assert len(seeds) == 3


def test_what_is_written_follows_the_seed(guest):
    def left(seed):
        assert "no fault" in run(guest, f"{BASE:#x} 4k seed={seed}")
        return guest.cmd(f"peek -p {BASE + 0x100:#x} 64 -q")

    assert left(1) == left(1) != left(2)


@pytest.mark.slow
def test_all_memory_but_what_is_in_use(boot):
    g = boot(mem="64M")
    g.wait_prompt()
    for line in ["alloc -f 9", "alloc 3m -v", "alloc 100000"]:
        g.cmd(line)
    before = free_frames(g)
    text = g.cmd("frames test", timeout=400)
    free = free_there(text)
    assert before - 16 <= free <= before + 160  # the low pool, and the pool's own records
    tested = float(re.search(r"([\d.]+) MiB tested in 1 pass of 37 steps, .* s: no fault$", text)[1])
    assert free - 16 - 26 <= tested * 256 <= free
    percents = [int(n) for n in re.findall(r"\r +(\d+) %, pass 1 of 1: [a-z ]+ \(Ctrl-C stops\)", text)]
    assert percents == sorted(percents) and percents[-1] in range(50, 101)
    assert before - 16 <= free_frames(g) <= before
    assert len(re.findall("contents intact", g.cmd("free -a"))) == 3
    assert "BROKEN" not in g.cmd("check")
    assert g.cmd("selftest pmm").endswith(" 0 failed\n")


def test_ctrl_c_stops(guest):
    run(guest, f"{BASE:#x} 4k")
    before = free_frames(guest)
    start = len(guest.text)
    guest.send(f"frames test {BASE:#x} 64m passes=1000000; echo never\r")
    guest.wait_text(r"\r +0 %, pass 1 of 1000000: solid")
    guest.send(CTRL_C)
    guest.wait_prompt(timeout=30)
    assert re.search(r"\rStopped after \d+\.\d s, with the test of 0 B complete: no fault\n",
                     guest.text[start:])
    assert "\nnever\n" not in guest.text[start:]
    assert free_frames(guest) == before


def test_bad_arguments(guest):
    for arguments in ["x", "0 x", "0 0", "0 1 2", "seed=", "seed=x", "passes=0", "passes=x",
                      "seeds=1", "faulty=", "faulty=1", "faulty=1:", "faulty=:1", "faulty=1:0",
                      "faulty=x:1", "faulty=1:1:1", "-x", "0xfffffffffffff000 0x2000",
                      " ".join(["faulty=1:1"] * 9)]:
        text = run(guest, arguments)
        assert re.match(r"frames: .+\nusage: frames\b.*\n$", text), f"{arguments}: {text}"
    assert run(guest, "0xffffffff0000") == "frames: nothing there is free\n"
    assert run(guest, "0 4k") == "frames: nothing there is free\n"


def test_quarantine(guest):
    """A word that reads wrong: its frame goes out of service, alone, and every word says so."""
    bad = BASE + 0x123 * PAGE
    assert state(guest, bad) == "free"
    text = run(guest, f"{BASE:#x} 2m faulty={bad + 0x7c1:#x}:0x10")
    assert f"SIMULATION: {bad + 0x7c0:#x} is read with the bits 0x10 set\n" in text
    faults = re.findall(r"^fault at (\S+): ([0-9a-f]{16}) written, ([0-9a-f]{16}) read \((.+)\)$",
                        text, re.M)
    assert len(faults) == 8
    for addr, written, read, _ in faults:
        assert int(addr, 16) == bad + 0x7c0
        assert int(read, 16) == int(written, 16) | 0x10 != int(written, 16)
    assert faults[0][1:] == ("0" * 16, "0" * 14 + "10", "solid")
    assert re.search(r"^and \d+ faults more$", text, re.M)
    assert re.search(r"s: \d+ faults in 1 frame\n1 frame is out of service now", text)
    assert words(text) == ([(bad, PAGE)], [(bad, 0xfffffffffffff000)])
    assert "Both say exactly the frames" in text
    assert text.endswith("do not believe them\n")

    assert state(guest, bad) == "out of service"
    assert state(guest, bad - PAGE) == state(guest, bad + PAGE) == "free"
    assert re.search(rf"^{bad:012x} {bad + PAGE:012x} +4\.0 KiB +general ", guest.cmd("frames"), re.M)
    text = run(guest, f"{BASE:#x} 2m")
    assert free_there(text) == 511
    assert "no fault" in text
    assert "BROKEN" not in guest.cmd("check")


def test_frames_of_one_column_are_one_pair(guest):
    """Earlier ones are named again, since all have to be in the other system's list."""
    first = BASE + 4 * MIB
    before = run(guest, f"{first:#x} 4k faulty={first:#x}:1")
    ranges, _ = words(before)
    text = run(guest, f"{first:#x} 4m " + " ".join(
        f"faulty={first + i * MIB:#x}:{1 << i}" for i in range(1, 4)))
    after, pairs = words(text)
    assert pages(after) == pages(ranges) | {first + i * MIB for i in range(4)}
    assert (first, 0xffffffffffcff000) in pairs
    assert matched(pairs) == pages(after)


def test_full_quarantine_keeps_frames(guest):
    """The pool's list holds 64 ranges. What fails beyond that is never given back, either."""
    base = BASE + 16 * MIB
    kept = ""
    for i in range(9):
        at = base + i * 16 * PAGE
        bad = [at + 2 * PAGE * j for j in range(8)]
        kept = run(guest, f"{at:#x} 64k " + " ".join(f"faulty={b:#x}:1" for b in bad))
        states = [state(guest, b) for b in bad]
        if "in use" in states:
            break
        assert set(states) == {"out of service"}
        assert "for ever" not in kept
    n = states.count("in use")
    assert f"{n} frames stay in use for ever: the pool's list of bad ranges is full." in kept
    assert pages(words(kept)[0]) >= set(bad)
    assert all(state(guest, b + PAGE) == "free" for b in bad)
    assert "BROKEN" not in guest.cmd("check")


# ---- demo ----------------------------------------------------------------------------------------

TEXTBOOK = """\
all are free              .  .  .  .   .  .  .  .   .  .  .  .   .  .  .  .
A takes 2                 A  A  .  .   .  .  .  .   .  .  .  .   .  .  .  .
B takes 4                 A  A  B  B   B  B  .  .   .  .  .  .   .  .  .  .
C takes 4                 A  A  B  B   B  B  C  C   C  C  .  .   .  .  .  .
D takes 4                 A  A  B  B   B  B  C  C   C  C  D  D   D  D  .  .
A gives back its 2        .  .  B  B   B  B  C  C   C  C  D  D   D  D  .  .
E wants 4: refused        .  .  B  B   B  B  C  C   C  C  D  D   D  D  .  .
"""
OURS = """\
all are free              .  .  .  .   .  .  .  .   .  .  .  .   .  .  .  .
A takes 2                 A  A  .  .   .  .  .  .   .  .  .  .   .  .  .  .
B takes 4                 A  A  .  .   B  B  B  B   .  .  .  .   .  .  .  .
C takes 4                 A  A  .  .   B  B  B  B   C  C  C  C   .  .  .  .
D takes 4                 A  A  .  .   B  B  B  B   C  C  C  C   D  D  D  D
A gives back its 2        .  .  .  .   B  B  B  B   C  C  C  C   D  D  D  D
E takes 4                 E  E  E  E   B  B  B  B   C  C  C  C   D  D  D  D
"""


@pytest.mark.quick
def test_demo_fragmentation(guest):
    before = free_frames(guest)
    text = guest.cmd("demo fragmentation")
    drawn = re.sub(" +$", "", text, flags=re.M)
    assert TEXTBOOK in drawn and OURS in drawn
    assert drawn.index(TEXTBOOK) < drawn.index("That is external fragmentation.") < drawn.index(OURS)
    assert all(len(line) <= 80 for line in text.splitlines())
    assert b"\x1b[30;42m B \x1b[0m" in guest.last_raw
    assert free_frames(guest) == before
    assert "demo" not in guest.cmd("heap")
    assert "BROKEN" not in guest.cmd("check")


FIRST_FIT = """\
D gives back 768: it has no free neighbour; 768 are free there.
  AAAAAAAA................CCCC............EEEE....................
F asks for 640: 3 of 3 free blocks are large enough; the lowest is at 512.
  AAAAAAAAFFFFFFFFFF......CCCC............EEEE....................
G asks for 512: 2 of 3 free blocks are large enough; the lowest is at 1792.
  AAAAAAAAFFFFFFFFFF......CCCCGGGGGGGG....EEEE....................
H asks for 256: 3 of 3 free blocks are large enough; the lowest is at 1152.
  AAAAAAAAFFFFFFFFFFHHHH..CCCCGGGGGGGG....EEEE....................
C gives back 256: it joins the free block in front; 384 are free there.
  AAAAAAAAFFFFFFFFFFHHHH......GGGGGGGG....EEEE....................
G gives back 512: it joins the free blocks on both sides; 1152 are free there.
  AAAAAAAAFFFFFFFFFFHHHH..................EEEE....................
"""


def test_demo_firstfit(guest):
    """Each step is drawn as it happened."""
    before = free_frames(guest)
    text = guest.cmd("demo firstfit")
    assert FIRST_FIT in text
    assert all(len(line) <= 80 for line in text.splitlines())
    assert b"\x1b[97;41mAAAAAAAA\x1b[0m" in guest.last_raw
    assert free_frames(guest) == before
    assert "demo" not in guest.cmd("heap")
    assert "BROKEN" not in guest.cmd("check")


def test_demo_slow_can_be_stopped(guest):
    guest.send("demo fragmentation slow\r")
    guest.wait_text(r"^B takes 4 ")
    guest.send(CTRL_C)
    guest.wait_prompt(timeout=10)
    assert "D takes 4" not in guest.text[-400:]
    guest.send("demo firstfit slow\r")
    guest.wait_text(r"^B asks for 1024")
    guest.send(CTRL_C)
    guest.wait_prompt(timeout=10)
    assert "D asks for" not in guest.text[-400:]
    assert "demo" not in guest.cmd("heap")


def test_demo_arguments(guest):
    for arguments in ["", "nosuchdemo", "fragmentation fast", "fragmentation slow slow", "-s",
                      "firstfit fast"]:
        text = guest.cmd(f"demo {arguments}")
        assert re.match(r"demo: .+\nusage: demo \(firstfit \| fragmentation\) \[slow\]\n$", text), text
