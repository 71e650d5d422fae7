"""The benchmark of frame allocators: it measures everything, and a wrong allocator gets no figures."""

import csv
import os
import subprocess

import pytest

from plat import platqemu

ROOT = platqemu.ROOT
# One worker builds the benchmark, once.
pytestmark = pytest.mark.xdist_group("bench")

# With --quick, which manages 64 MiB.
VALUES = [
    ("all frames, 1 thread", "get"),
    ("all frames, 1 thread", "put"),
    ("all frames, 2 threads", "get"),
    ("all frames, 2 threads", "put"),
    ("all frames, batches of 64", "get"),
    ("all frames, batches of 64", "put"),
    ("all frames, batches of 512", "get"),
    ("all frames, batches of 512", "put"),
    ("one frame repeated, 1 thread", "get+put"),
    ("one frame repeated, 2 threads", "get+put"),
    ("from one thread to another", "get, put"),
    ("random at 90 % full, 64 MiB", "put+get"),
    ("random at 90 % full, 64 MiB", "put+get, batches of 64"),
    ("random at 90 % full, 2 threads", "put+get"),
    ("random at 90 % full, 2 threads", "put+get, batches of 64"),
    ("random at 90 % full, 1 GiB", "put+get"),
    ("random at 90 % full, 1 GiB", "put+get, batches of 64"),
    ("random at 90 % full, 1 GiB", "put+get, to that at 64 MiB"),
    ("random at 90 % full, 16 GiB", "put+get"),
    ("random at 90 % full, 16 GiB", "put+get, batches of 64"),
    ("random at 90 % full, 16 GiB", "put+get, to that at 64 MiB"),
    ("random at 90 % full, worn, 1 thread", "put+get"),
    ("random at 90 % full, worn, 2 threads", "put+get"),
    ("orders 1 to 8 at random, 1 thread", "put+get"),
    ("orders 1 to 8 at random, 2 threads", "put+get"),
    ("order 9, fresh, 1 thread", "get"),
    ("order 9, fresh, 1 thread", "put"),
    ("order 9, fresh, 2 threads", "get"),
    ("order 9, fresh, 2 threads", "put"),
    ("order 9, half the blocks pinned", "found"),
    ("order 9, half the blocks pinned", "get"),
    ("order 9, half the blocks pinned", "refuse"),
    ("order 9, half the blocks pinned", "get+put of a frame, refuse"),
    ("half freed, 100 rounds of churn", "whole 2 MiB"),
    ("false refusals, 2 threads", "of 2 MiB"),
    ("false refusals, 2 threads", "of a frame"),
    ("1 TiB, flat", "start-up"),
    ("1 TiB, flat", "touched before use"),
    ("1 TiB, flat", "metadata"),
    ("1 TiB with 2 x 32 GiB in it", "start-up"),
    ("1 TiB with 2 x 32 GiB in it", "touched before use"),
    ("1 TiB with 2 x 32 GiB in it", "metadata"),
]
# What the empty loop has no figure for.
NO_LOOP = ("blocks", "frames", "us", "KiB", "MB")

# Next fit over a byte a frame, with storage of its own and of the smallest adapter that there can
# be. Each macro makes it wrong in one way.
SOURCE = r"""
#include <pthread.h>
#include <stdlib.h>
#include <sys/mman.h>
#include "frames.h"

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct frames_range range;
static unsigned char *used;
static uint64_t cursor, gets;

static void *create(const struct frames_range *ranges, unsigned nranges, unsigned ncpus,
                    void *storage, uint64_t nbytes)
{
    (void)ncpus, (void)storage, (void)nbytes;
    if (nranges != 1) {
        return NULL;
    }
    range = ranges[0];
    cursor = 0;
    used = mmap(NULL, range.count, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return used;
}

static uint64_t get(void *self, unsigned cpu, unsigned order)
{
    uint64_t n = UINT64_C(1) << order, blocks = range.count >> order, found = FRAMES_NONE;

    (void)self, (void)cpu;
    pthread_mutex_lock(&lock);
    for (uint64_t tried = 0; tried < blocks && found == FRAMES_NONE; tried++) {
        uint64_t at = ((cursor >> order) + tried) % blocks << order, i = 0;

        while (i < n && !used[at + i]) {
            i++;
        }
        if (i == n) {
            found = at;
        }
    }
#ifdef FORGETS
    if (order == 3) {
        found = FRAMES_NONE;
    }
#endif
    if (found != FRAMES_NONE) {
        for (uint64_t i = 0; i < n; i++) {
            used[found + i] = 1;
        }
        cursor = found + n;
#ifdef TWICE
        if (++gets % 1000 == 0) {
            used[found] = 0;
            cursor = found;
        }
#endif
        found += range.base;
#ifdef FOREIGN
        found += ++gets == 1000 ? range.count : 0;
#endif
#ifdef MISALIGNED
        found += order == 3;
#endif
#ifdef CRASH
        if (++gets == 1000) {
            abort();
        }
#endif
    }
    pthread_mutex_unlock(&lock);
    return found;
}

static void put(void *self, unsigned cpu, uint64_t pfn, unsigned order)
{
    (void)self, (void)cpu;
    pthread_mutex_lock(&lock);
#ifndef LEAK
    for (uint64_t i = 0; i < UINT64_C(1) << order; i++) {
        used[pfn - range.base + i] = 0;
    }
#endif
    pthread_mutex_unlock(&lock);
}

static uint64_t free_frames(void *self)
{
    uint64_t n = 0;

    (void)self;
    for (uint64_t i = 0; i < range.count; i++) {
        n += !used[i];
    }
#ifdef MISCOUNT
    n -= 1;
#endif
    return n;
}

static uint64_t meta_bytes(void *self)
{
    (void)self;
    return range.count;
}

static void destroy(void *self)
{
    munmap(self, range.count);
}

const struct frames_allocator frames_allocator = {
    .version = FRAMES_VERSION,
#ifdef SMALL
    .max_order = 8,
#else
    .max_order = FRAMES_MAX_ORDER,
#endif
    .name = "other",
    .create = create,
    .get = get,
    .put = put,
#ifndef LEAK
    .free_frames = free_frames,
#endif
    .meta_bytes = meta_bytes,
    .destroy = destroy,
};
"""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """The program, built as `make bench-pmm` builds it, by gcc."""
    build = tmp_path_factory.mktemp("bench")
    program = build / "bench/gcc/bench_frames"
    env = {k: v for k, v in os.environ.items() if k != "MAKEFLAGS"}
    done = subprocess.run(["make", f"B={build}", program], cwd=ROOT, env=env, check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return program


def run(*command):
    return subprocess.run([str(c) for c in command], capture_output=True, text=True, check=False,
                          timeout=300)


def shared_object(directory, *defines):
    source, out = directory / "other.c", directory / "other.so"
    source.write_text(SOURCE)
    done = run("gcc", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", f"-I{ROOT}/tests/bench",
               *(f"-D{d}" for d in defines), "-o", out, source)
    assert done.returncode == 0, done.stderr
    return out


def table(output):
    """{(work, value): {allocator: line}} of --csv."""
    rows = {}
    for line in csv.DictReader(row for row in output.splitlines() if not row.startswith("#")):
        rows.setdefault((line["work"], line["value"]), {})[line["allocator"]] = line
    return rows


def test_table_is_complete(bench, tmp_path):
    done = run(bench, "--quick", "--csv", "--so", shared_object(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    rows = table(done.stdout)
    assert list(rows) == VALUES
    for work, cells in rows.items():
        assert list(cells) == ["loop", "bitmap", "buddy", "plat", "other"]
        for name, cell in cells.items():
            if name == "other" and work[0] == "1 TiB with 2 x 32 GiB in it":
                assert cell["median"] == "cannot"
            elif name == "loop" and (cell["unit"] in NO_LOOP or "refuse" in work[1]):
                assert cell["median"] == "-"
            else:
                assert float(cell["median"]) >= 0, work
                assert cell["refused"] == "0", work
                if cell["min"]:
                    assert float(cell["min"]) <= float(cell["median"]), work
        if float(cells["bitmap"]["median"]) > 0 and cells["bitmap"]["unit"] != "times":
            assert cells["bitmap"]["ratio to bitmap"] == "1.0"
            assert float(cells["plat"]["ratio to bitmap"]) >= 0
    pinned = rows["order 9, half the blocks pinned", "found"]
    assert {c["median"] for n, c in pinned.items() if n != "loop"} == {"16"}
    for value in ("of 2 MiB", "of a frame"):
        refused = rows["false refusals, 2 threads", value]
        assert {c["median"] for n, c in refused.items() if n != "loop"} == {"0"}, value


def test_table_for_people(bench):
    done = run(bench, "--quick", "--only", "loop,bitmap", "--seed", "0x1234", "--threads", "1",
               "--rows", "order 9")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "seed 0x1234" in done.stdout
    assert "order 9, half the blocks pinned: refuse" in done.stdout
    assert "random" not in done.stdout


@pytest.mark.parametrize("fault, says", [
    ("TWICE", "twice"),
    ("FOREIGN", "which is not its"),
    ("MISALIGNED", "misaligned"),
    ("LEAK", "frames to give by order"),
    ("FORGETS", "has 0 of 524288 frames to give by order 3"),
    ("MISCOUNT", "frames free, but"),
    ("CRASH", "ends by signal 6"),
])
def test_wrong_allocator_is_caught(bench, tmp_path, fault, says):
    done = run(bench, "--quick", "--csv", "--so", shared_object(tmp_path, fault), "--only", "other")
    assert done.returncode == 1
    verdict = done.stdout.splitlines()[-1]
    assert verdict.startswith("# other is WRONG: ")
    assert says in verdict
    rows = table(done.stdout)
    assert list(rows) == VALUES
    assert all(cells["other"]["median"] == "WRONG" for cells in rows.values())


def test_command_line(bench, tmp_path):
    done = run(bench, "--help")
    assert done.returncode == 0 and done.stdout.startswith("usage:")
    for wrong in (["--size", "5"], ["--size", "65G"], ["--threads", "0"], ["--only", "nobody"],
                  ["--rows", "no such row"], ["--so", "/nowhere.so"],
                  ["--so", shared_object(tmp_path, "SMALL")], ["--what"], ["what"]):
        done = run(bench, *wrong)
        assert done.returncode == 2 and done.stderr, wrong
