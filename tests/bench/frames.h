/*
 * frames.h - what an allocator of page frames offers so that bench_frames can measure it.
 *
 * Model:    an allocator manages the frames of some ranges and gives and takes back naturally
 *           aligned blocks of 2^order of them. Frames are numbers: nobody touches the memory behind
 *           them. A shared object given to `bench_frames --so FILE` exports one symbol,
 *           FRAMES_SYMBOL, a constant struct frames_allocator. This header needs nothing else of
 *           Plat. docs/bench.md has an example.
 *
 * Threads:  get, put and the batch calls come from one thread for each `cpu`, at the same time for
 *           different ones; that thread is pinned and stays. Everything else is called while no
 *           other call runs, by the thread of cpu 0. The allocators run in a process of their own,
 *           forked for each measurement.
 */
#ifndef BENCH_FRAMES_H
#define BENCH_FRAMES_H

#include <stdint.h>

#define FRAMES_VERSION   2
#define FRAMES_SYMBOL    "frames_allocator"
#define FRAMES_NONE      UINT64_MAX
#define FRAMES_MIN_ORDER 9  /* 2 MiB: every allocator must give blocks up to this, */
#define FRAMES_MAX_ORDER 18 /* 1 GiB: and is not asked for larger ones than this */

/* Frames [base, base + count). */
struct frames_range {
    uint64_t base;
    uint64_t count;
};

struct frames_allocator {
    uint32_t version;   /* FRAMES_VERSION */
    uint32_t max_order; /* the largest that get() and put() know */
    const char *name;   /* a word, heads a column */

    /*
     * Bytes of storage that create() wants for these ranges; NULL or 0: it finds its own.
     * The harness touches the storage before it measures speed, so page faults of the host stay
     * out of the figures, and asks the host for huge pages behind it, as a kernel's direct map has.
     * Who brings storage of its own sees to both in create().
     */
    uint64_t (*storage_bytes)(const struct frames_range *ranges, unsigned nranges, unsigned ncpus);

    /*
     * An allocator with all frames of the ranges free. Ranges are sorted and apart; base and count
     * may be any, and the holes between them vast. `storage` is page aligned, borrowed until
     * destroy(), its contents are anything. NULL if it cannot manage such ranges: the row says so.
     */
    void *(*create)(const struct frames_range *ranges, unsigned nranges, unsigned ncpus,
                    void *storage, uint64_t storage_bytes);

    /* The calling thread is the one for `cpu`, before its first call. NULL: need not be told. */
    void (*enter)(void *self, unsigned cpu);

    /* The first frame of a block, for the caller alone until it is put; FRAMES_NONE: refused. */
    uint64_t (*get)(void *self, unsigned cpu, unsigned order);

    /* What a get of this order returned comes back, from any cpu. */
    void (*put)(void *self, unsigned cpu, uint64_t pfn, unsigned order);

    /*
     * Single frames, `n` <= 512 of them; get_batch() returns how many there were, written to
     * pfns[0] on. What it gave may come back by put(), and the other way round. NULL: the harness
     * loops over get and put.
     */
    unsigned (*get_batch)(void *self, unsigned cpu, uint64_t *pfns, unsigned n);
    void (*put_batch)(void *self, unsigned cpu, const uint64_t *pfns, unsigned n);

    /* Frames free, exactly, those in caches included, and those that it took for records of its
     * own, as it would give them if it could. NULL: not checked. */
    uint64_t (*free_frames)(void *self);

    /* All memory that it occupies or has set aside, the storage included. */
    uint64_t (*meta_bytes)(void *self);

    /* NULL: it has nothing but the storage. */
    void (*destroy)(void *self);
};

#endif
