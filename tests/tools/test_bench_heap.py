"""The benchmark of heaps: it measures everything, a wrong allocator gets no figures, and what a
program asks of its heap is recorded as it was."""

import csv
import os
import re
import struct
import subprocess
import zlib

import pytest

from plat import platqemu

ROOT = platqemu.ROOT
# One worker builds the benchmark, once.
pytestmark = pytest.mark.xdist_group("bench-heap")

# Synthetic traces are these bytes, everywhere and for ever: (name, operations, CRC).
TRACES = [
    ("uniform-1e3", 1001000, "82f9b540"),
    ("uniform-1e4", 1010000, "bc78d71c"),
    ("uniform-1e5", 2100000, "2d07a5bb"),
    ("uniform-1e6", 5000000, "39187a1f"),
    ("power-1e3", 1001000, "8fee4d4a"),
    ("power-1e4", 1010000, "f5d8e7a3"),
    ("power-1e5", 2100000, "bc8db336"),
    ("power-1e6", 5000000, "ae0c16f9"),
    ("lifo-1e5", 1000000, "2d2182a8"),
    ("fifo-1e5", 1100000, "0b1ea1a1"),
    ("adversary-1e5", 1300016, "140662ac"),
]
THREADED = ["larson-1", "larson-2", "pipe-2"]
VALUES = ["time", "99.99 %", "slowest", "footprint", "inside", "faults", "huge"]
LOOP_VALUES = VALUES[:3]  # that the empty loop has

ALLOC, FREE, REALLOC, ALIGNED = range(4)
HEADER = struct.Struct("<8sIIIIQ")

# Lists of blocks of a power of two, in the arena. Each macro makes it wrong in one way.
SOURCE = r"""
#include <stdlib.h>
#include <string.h>
#include "heap.h"

struct head { struct head *next; size_t class; };
struct heap { char *at, *end, *last; struct head *free[48]; unsigned long n; };
static _Alignas(16) char elsewhere[1 << 20];

static void *open_heap(void *arena, size_t nbytes)
{
    struct heap *h = arena;

    if (nbytes < sizeof(*h)) {
        return NULL;
    }
    memset(h, 0, sizeof(*h));
    h->at = (char *)arena + (sizeof(*h) + 15) / 16 * 16;
    h->end = (char *)arena + nbytes;
    return h;
}

static void *alloc(void *self, size_t nbytes)
{
    struct heap *h = self;
    size_t class = nbytes <= 16 ? 4 : 64 - (size_t)__builtin_clzll(nbytes - 1);
    struct head *b = h->free[class];

    h->n++;
#ifdef CRASH
    if (h->n == 5000) {
        abort();
    }
#endif
#ifdef FOREIGN
    if (h->n == 5000) {
        return elsewhere;
    }
#endif
    if (b != NULL) {
        h->free[class] = b->next;
#ifdef TWICE
        if (h->n % 5000 == 0) {
            h->free[class] = b;
        }
#endif
    } else {
        size_t room = sizeof(*b) + ((size_t)1 << class);

        if ((size_t)(h->end - h->at) < room) {
            return NULL;
        }
        b = (struct head *)h->at;
        b->class = class;
        h->last = (char *)(b + 1);
#ifdef SHORT
        room -= nbytes == 1024 ? 32 : 0;
#endif
        h->at += room;
    }
#ifdef MISALIGNED
    if (h->n == 5000) {
        return (char *)(b + 1) + 8;
    }
#endif
    return b + 1;
}

static void give(void *self, void *ptr)
{
    struct heap *h = self;
    struct head *b = (struct head *)ptr - 1;

#ifndef LEAK
    b->next = h->free[b->class];
    h->free[b->class] = b;
#endif
#ifdef SCRIBBLE
    if (h->n % 100 == 0) {
        *h->last ^= 1;
    }
#endif
}

static void *resize(void *self, void *ptr, size_t nbytes)
{
    struct head *b = (struct head *)ptr - 1;
    size_t old = (size_t)1 << b->class;
    void *p = alloc(self, nbytes);

    if (p != NULL) {
#ifndef FORGETS
        memcpy(p, ptr, old < nbytes ? old : nbytes);
#endif
        give(self, ptr);
    }
    return p;
}

static size_t usable(void *self, void *ptr)
{
#ifdef MODEST
    return 8;
#endif
    return (size_t)1 << ((struct head *)ptr - 1)->class;
}

const struct heap_allocator heap_allocator = {
#ifdef OTHER_VERSION
    .version = HEAP_VERSION + 1,
#else
    .version = HEAP_VERSION,
#endif
    .align = HEAP_ALIGN,
    .arena = true,
    .name = "other",
    .open = open_heap,
    .alloc = alloc,
    .free = give,
    .realloc = resize,
    .usable = usable,
};
"""


def run(*command, **options):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False,
                          timeout=300, **options)


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A folder with the program and the recorder, built as `make bench-heap` builds them."""
    build = tmp_path_factory.mktemp("bench-heap")
    env = {k: v for k, v in os.environ.items() if k != "MAKEFLAGS"}
    done = run("make", f"B={build}", build / "bench/gcc/bench_heap", build / "bench/heap_record.so",
               cwd=ROOT, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    return build / "bench"


@pytest.fixture(scope="module")
def bench(build):
    return build / "gcc/bench_heap"


def shared_object(directory, *defines):
    source, out = directory / "other.c", directory / "other.so"
    source.write_text(SOURCE)
    done = run("gcc", "-O2", "-fPIC", "-shared", f"-I{ROOT}/tests/bench",
               *(f"-D{d}" for d in defines), "-o", out, source)
    assert done.returncode == 0, done.stderr
    return out


def table(output):
    """{(trace, value): {allocator: line}} of --csv."""
    rows = {}
    for line in csv.DictReader(row for row in output.splitlines() if not row.startswith("#")):
        rows.setdefault((line["trace"], line["value"]), {})[line["allocator"]] = line
    return rows


def make_trace(ops, nids=None, **header):
    """The bytes of a trace file with these (kind, align, block, bytes)."""
    data = b"".join(struct.pack("<II", kind << 30 | align << 25 | block, nbytes)
                    for kind, align, block, nbytes in ops)
    fields = {"magic": b"PLATHEAP", "version": 1, "crc": zlib.crc32(data), "nbuild": 0,
              "nids": 1 + max(op[2] for op in ops) if nids is None else nids, "nops": len(ops), **header}
    return HEADER.pack(*(fields[f] for f in ("magic", "version", "crc", "nids", "nbuild", "nops"))) + data


def read_trace(path):
    data = path.read_bytes()
    magic, version, crc, nids, nbuild, nops = HEADER.unpack(data[:HEADER.size])
    assert (magic, version, nbuild) == (b"PLATHEAP", 1, 0)
    assert crc == zlib.crc32(data[HEADER.size:])
    ops = [(what >> 30, what >> 25 & 31, what & (1 << 25) - 1, nbytes)
           for what, nbytes in struct.iter_unpack("<II", data[HEADER.size:])]
    assert len(ops) == nops and all(op[2] < nids for op in ops)
    return ops


# ---- the program ---------------------------------------------------------------------------------


def test_traces_are_the_same_everywhere(bench):
    done = run(bench, "--list")
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.splitlines()[1:]]
    assert [(name, int(nops), crc) for name, nops, _, _, _, crc in lines] == TRACES


def test_table_is_complete(bench, tmp_path):
    """Each trace, each value, each allocator; a small trace of a program among them."""
    ops = [(ALLOC, 0, 0, 100), (ALIGNED, 12, 1, 5000), (REALLOC, 0, 0, 300000), (FREE, 0, 1, 0)]
    (tmp_path / "tiny.trace").write_bytes(make_trace(ops))
    done = run(bench, "--quick", "--csv", "--recorded", tmp_path, "--base", "other",
               "--so", shared_object(tmp_path), "--only", "loop,list,glibc,other")
    assert done.returncode == 0, done.stdout + done.stderr
    rows = table(done.stdout)
    traces = ["tiny", *(f"{name}-small" for name, _, _ in TRACES)]
    assert set(rows) == {(t, v) for t in traces for v in VALUES} | {(t, "time") for t in THREADED}
    for (trace, value), cells in rows.items():
        assert list(cells) == ["loop", "list", "glibc", "other"]
        for name, cell in cells.items():
            where = f"{trace}, {value}, {name}: {cell}"
            if name == "loop" and (value not in LOOP_VALUES or trace in THREADED) or \
                    name in ("list", "other") and trace in THREADED and trace != "larson-1" or \
                    value == "faults" and cell["rounds"] == "0":
                assert cell["median"] == "-", where
                continue
            if value == "huge" and cell["rounds"] == "0":  # cut before the peak
                continue
            assert float(cell["median"]) >= 0, where
            assert float(cell["min"]) <= float(cell["median"]), where
            assert (cell["mark"] == "~") == (int(cell["operations"]) > 0), where
            if value in ("footprint", "inside"):
                assert float(cell["median"]) >= (1 if name != "glibc" or value == "inside" else 0), where
            if name == "other" and value not in ("faults", "huge") and float(cell["median"]) > 0:
                assert cell["ratio to other"] == "1.00", where
    # The smallest arena of a trace that can be done by hand: 300000 bytes beside 100 and 5000 and
    # the alignment, each to a power of two with a head of 16, and the heap's own 424.
    tiny = rows["tiny", "footprint"]["other"]
    assert abs(float(tiny["median"]) * 305000 - (424 + (128 + 16) + (16384 + 16) + (524288 + 16))) < 1000
    assert done.stdout.splitlines()[-1].startswith(f"# again: {bench} --quick --csv")


def test_table_for_people(bench):
    done = run(bench, "--quick", "--only", "loop,glibc", "--traces", "fifo,larson-1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^Time of an operation, ns\n +n +loop +glibc *\n"
                     r"fifo-1e5-small +1 +[\d.]+ +[\d.]+ +1\.00x\nlarson-1 +1 +- +[\d.]+~? +1\.00x\n",
                     done.stdout, re.M), done.stdout
    assert "uniform" not in done.stdout
    assert done.stdout.endswith(f"again: {bench} --quick --only loop,glibc --traces fifo,larson-1\n")


@pytest.mark.parametrize("fault, says", [
    ("TWICE", "overlap"),
    ("SHORT", "overlap"),
    ("FOREIGN", "outside of its arena"),
    ("MISALIGNED", "not aligned to 16"),
    ("MODEST", "less than the"),
    ("SCRIBBLE", "another byte"),
    ("FORGETS", "another byte"),
    ("LEAK", "refuses"),
    ("CRASH", "ends by signal 6"),
])
def test_wrong_allocator_is_caught(bench, tmp_path, fault, says):
    ops = [(ALLOC, 0, 0, 100), (REALLOC, 0, 0, 30000)]
    (tmp_path / "tiny.trace").write_bytes(make_trace(ops))
    done = run(bench, "--quick", "--csv", "--recorded", tmp_path, "--traces", "tiny,uniform-1e5",
               "--so", shared_object(tmp_path, fault), "--only", "other")
    assert done.returncode == 1, done.stdout + done.stderr
    verdict = done.stdout.splitlines()[-2]
    assert verdict.startswith("# other is WRONG: ")
    assert says in verdict
    cells = [row["other"]["median"] for row in table(done.stdout).values()]
    assert cells and set(cells) == {"WRONG"}


def test_preloaded_library_is_the_one_measured(bench, tmp_path):
    """Of a library that gives glibc's blocks with a page more, footprints tell."""
    source, out = tmp_path / "more.c", tmp_path / "libmore.so"
    source.write_text(r"""
#include <stddef.h>
extern void *__libc_malloc(size_t), *__libc_realloc(void *, size_t);
void *malloc(size_t n) { char *p = __libc_malloc(n + 8192); p[n + 8191] = 1; return p; }
""")
    assert run("gcc", "-O2", "-fPIC", "-shared", "-o", out, source).returncode == 0
    done = run(bench, "--quick", "--csv", "--traces", "fifo", "--preload", out, "--only", "glibc,more")
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(table(done.stdout)["fifo-1e5-small", "footprint"]["more"]["ratio to glibc"]) > 3


def test_command_line(bench, tmp_path):
    done = run(bench, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage:")
    source, out = tmp_path / "none.c", tmp_path / "none.so"
    source.write_text("int none;\n")
    assert run("gcc", "-shared", "-fPIC", "-o", out, source).returncode == 0
    for wrong in (["--only", "nobody"], ["--traces", "none"], ["--so", "/nowhere.so"], ["--so", out],
                  ["--preload", "/nowhere.so"], ["--preload", out], ["--recorded", "/nowhere"],
                  ["--so", shared_object(tmp_path, "OTHER_VERSION")], ["--seconds", "0"], ["--what"],
                  ["what"]):
        done = run(bench, "--quick", "--traces", "lifo", *wrong)
        assert done.returncode == 2 and done.stderr, wrong


GOOD = [(ALLOC, 0, 0, 10), (FREE, 0, 0, 0)]


@pytest.mark.parametrize("data, says", [
    (b"", "not a trace"),
    (make_trace(GOOD)[:HEADER.size - 1], "not a trace"),
    (make_trace(GOOD, magic=b"PLATHEAQ"), "not a trace"),
    (make_trace(GOOD, version=2), "another version"),
    (make_trace(GOOD)[:-1], "its length"),
    (make_trace(GOOD) + b"\0", "its length"),
    (make_trace(GOOD, nops=1 << 61), "its length"),
    (make_trace(GOOD, crc=1), "checksum"),
    (make_trace(GOOD, nbuild=2), "makes no sense"),
    (make_trace(GOOD, nids=0), "makes no sense"),
    (make_trace(GOOD, nids=1 << 26), "makes no sense"),
    (make_trace([(ALLOC, 0, 7, 10)], nids=7), "operation 0: a block whose number"),
    (make_trace([(FREE, 0, 0, 0)]), "operation 0: a block is freed"),
    (make_trace([(REALLOC, 0, 0, 5)]), "operation 0: a block is freed or resized"),
    (make_trace(GOOD[:1] * 2), "operation 1: a block is allocated"),
    (make_trace(GOOD + [(FREE, 0, 0, 0)]), "operation 2: a block is freed"),
    (make_trace([(ALLOC, 0, 0, 0)]), "a size of 0"),
    (make_trace([GOOD[0], (FREE, 0, 0, 1)]), "a free with a size"),
    (make_trace([(ALIGNED, 21, 0, 8)]), "an alignment"),
    (make_trace([(ALIGNED, 0, 0, 8)]), "an alignment"),
    (make_trace([(ALLOC, 5, 0, 8)]), "an alignment"),
], ids=range(21))
def test_damaged_trace_is_refused(bench, tmp_path, data, says):
    (tmp_path / "bad.trace").write_bytes(data)
    done = run(bench, "--recorded", tmp_path, "--list")
    assert done.returncode == 2 and says in done.stderr, done.stderr
    (tmp_path / "bad.trace").write_bytes(make_trace(GOOD))
    assert run(bench, "--recorded", tmp_path, "--traces", "bad", "--list").returncode == 0


# ---- the recorder --------------------------------------------------------------------------------

PROGRAM = r"""
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *thread(void *arg)
{
    for (unsigned i = 0; i < 20000; i++) {
        char *p = malloc(30000 + i % 7);
        p = realloc(p, 31000);
        p[0] = (char)i;
        free(p);
    }
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t threads[2];
    void *p, *q;

    if (argc > 1) { /* the child after its exec: less than the parent does */
        free(malloc(50001));
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        pthread_create(&threads[i], NULL, thread, NULL);
    }
    pid_t child = fork(); /* while they allocate */
    if (child == 0) {
        free(malloc(50002));
        execl(argv[0], argv[0], "child", NULL);
        _exit(1);
    }
    int status;
    waitpid(child, &status, 0);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
    }
    p = calloc(3, 40001);
    p = realloc(p, 40002);
    p = reallocarray(p, 2, 40003);
    q = realloc(NULL, 40004);
    q = realloc(q, 0);
    free(NULL);
    if (posix_memalign(&q, 256, 40005) != 0 || posix_memalign(&q, 3, 1) == 0) {
        return 1;
    }
    q = memalign(4096, 40006);
    q = aligned_alloc(64, 40064);
    q = valloc(40007);
    q = pvalloc(40008);
    q = malloc(0);
    _exit(status); /* as a program that is killed */
}
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    (folder / "p.c").write_text(PROGRAM)
    done = run("gcc", "-O0", "-fno-builtin", "-w", "-pthread", "-o", folder / "p", folder / "p.c")
    assert done.returncode == 0, done.stderr
    return folder / "p"


def test_recorder(build, bench, program, tmp_path):
    traces = ROOT / "scripts/heap-traces"
    done = run(traces, "--recorder", build / "heap_record.so", tmp_path, "--as", "mine", "--", program)
    assert done.returncode == 0, done.stderr
    assert [f.name for f in tmp_path.iterdir()] == ["mine.trace"]
    ops = read_trace(tmp_path / "mine.trace")
    sizes = [op[3] for op in ops]
    # The parent's, both threads, and nobody else's.
    assert sum(op[0] == ALLOC and 30000 <= op[3] < 30007 for op in ops) == 40000
    assert sum(op[0] == REALLOC and op[3] == 31000 for op in ops) == 40000
    assert 50001 not in sizes and 50002 not in sizes
    last = [op for op in ops if op[3] not in (31000, *range(30000, 30007))]
    at = next(i for i, op in enumerate(last) if op[3] == 120003)
    wanted = [(ALLOC, 0, 120003), (REALLOC, 0, 40002), (REALLOC, 0, 80006), (ALLOC, 0, 40004), (FREE, 0, 0),
              (ALIGNED, 8, 40005), (ALIGNED, 12, 40006), (ALIGNED, 6, 40064), (ALIGNED, 12, 40007),
              (ALIGNED, 12, 40960), (ALLOC, 0, 1)]
    assert [(k, a, n) for k, a, _, n in last[at:]] == wanted

    done = run(bench, "--quick", "--csv", "--recorded", tmp_path, "--traces", "mine", "--only", "list,glibc")
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(table(done.stdout)["mine", "time"]["list"]["median"]) > 0


def test_recorder_of_a_known_program(build, bench, tmp_path):
    """sqlite3, as the benchmark records it when it is first run; not again when it is there."""
    command = [ROOT / "scripts/heap-traces", "--recorder", build / "heap_record.so", tmp_path, "sqlite3"]
    done = run(*command)
    assert done.returncode == 0, done.stderr
    assert len(read_trace(tmp_path / "sqlite3.trace")) > 50000
    for name in ("clang", "git", "jq", "perl", "python3"):
        (tmp_path / f"{name}.trace").write_bytes(b"kept")
    done = run(*command[:-1])
    assert done.returncode == 0 and done.stdout + done.stderr == ""
    assert (tmp_path / "jq.trace").read_bytes() == b"kept"


def test_recorder_says_what_is_wrong(build, tmp_path):
    traces = ROOT / "scripts/heap-traces"
    assert "usage:" in run(traces, "--help").stdout
    recorder = ["--recorder", build / "heap_record.so"]
    for wrong in (["--recorder", tmp_path / "none", tmp_path], [*recorder, tmp_path, "emacs"],
                  [*recorder, tmp_path, "--as", "x"], [*recorder, tmp_path, "--", "true"],
                  [*recorder, tmp_path, "--as", "x", "--", "false"],
                  [*recorder, tmp_path, "--as", "x", "--", "/nowhere"]):
        done = run(traces, *wrong)
        assert done.returncode != 0 and done.stderr and "Traceback" not in done.stderr, wrong
    assert not list(tmp_path.glob("*.trace"))


# ---- what the kernel asked for, as text ----------------------------------------------------------

EVENTS = ["0 +0:40 +1000:12345@c -7", "3 0>20:0 -1000", "5 8>8:64 -20"]


def kernel_text(lines, nevents=7, nlost=0, form=1, crc=None):
    crc = zlib.crc32("".join(line + "\n" for line in lines).encode()) if crc is None else crc
    return "\n".join([f"heap trace {form}: {nevents} events, {nlost} lost", *lines,
                      f"heap trace ends: {crc:08x}", ""])


def convert_text(tmp_path, text):
    (tmp_path / "log").write_text(text)
    return run(ROOT / "scripts/heap-traces", "--text", tmp_path / "log", tmp_path, "--as", "plat")


def test_kernel_text(bench, tmp_path):
    """Of a log of a serial line, with other things in it, the last trace is taken."""
    log = "plat> heap trace show\r\n" + kernel_text(["0 -0"], 1).replace("\n", "\r\n")
    log += "plat> \x1b[1mheap trace show\x1b[0m\r\n" + kernel_text(EVENTS, nlost=3).replace(
        "\n3", "\n[    3.141593] \x1b[33mwarning\x1b[0m: a line between\n3").replace("\n", "\r\n")
    done = convert_text(tmp_path, log + "plat> ")
    assert done.returncode == 0, done.stderr
    assert "3 more events were lost" in done.stderr and "2 times a block" in done.stderr
    assert read_trace(tmp_path / "plat.trace") == [
        (ALLOC, 0, 0, 0x40), (ALIGNED, 12, 1, 0x12345), (REALLOC, 0, 0, 1), (FREE, 0, 1, 0),
        (ALLOC, 0, 1, 0x64), (FREE, 0, 0, 0)]
    done = run(bench, "--quick", "--csv", "--recorded", tmp_path, "--traces", "plat", "--only", "ff,list")
    assert done.returncode == 0, done.stdout + done.stderr
    assert float(table(done.stdout)["plat", "time"]["ff"]["median"]) > 0


@pytest.mark.parametrize("text, says", [
    ("nothing", "no \"heap trace show\""),
    (kernel_text(EVENTS, form=2), "form 2"),
    (kernel_text(EVENTS).rsplit("heap", 1)[0], "without an end"),
    (kernel_text(EVENTS, crc=0x12345678), "checksum"),
    (kernel_text(EVENTS).replace("-7", "-8"), "checksum"),
    (kernel_text(EVENTS).replace(EVENTS[1] + "\n", ""), "checksum"),
    (kernel_text([EVENTS[0], EVENTS[2]]), "event 3 is missing"),
    (kernel_text(EVENTS, nevents=8), "7 events of 8"),
    (kernel_text(["0 +0:40 +0:40"], 2), "allocated twice"),
    (kernel_text(["0 -0"], 1), "nothing in it"),
])
def test_damaged_kernel_text_is_refused(tmp_path, text, says):
    done = convert_text(tmp_path, text)
    assert done.returncode != 0 and says in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert not list(tmp_path.glob("*.trace"))


def test_kernel_text_command_line(tmp_path):
    (tmp_path / "log").write_text(kernel_text(EVENTS))
    for wrong in (["--text", tmp_path / "log", tmp_path], ["--text", tmp_path / "none", tmp_path, "--as", "x"],
                  ["--text", tmp_path / "log", tmp_path, "--as", "x", "--", "true"], [tmp_path, "--as", "x"],
                  ["--text", tmp_path / "log", tmp_path, "jq", "--as", "x"]):
        done = run(ROOT / "scripts/heap-traces", *wrong)
        assert done.returncode != 0 and done.stderr and "Traceback" not in done.stderr, wrong
    assert not list(tmp_path.glob("*.trace"))
