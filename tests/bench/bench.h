/*
 * bench.h - what the program (bench_frames.c), the rows (rows.c), the verifying run (verify.c) and
 * the ground they stand on (harness.c) share.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "builtin.h"
#include "common.h"

#define MAX_ROWS    32
#define MAX_THREADS 64
#define MAX_VALUES  4                 /* of one row */
#define SLICE       1024              /* operations between two looks at the clock */
#define HUGE        9                 /* order of 2 MiB */
#define HUGE_FRAMES UINT64_C(512)     /* in one such block */
#define GIB         UINT64_C(0x40000) /* in frames */
#define BASE        (4 * GIB) /* an allocator may treat lower memory specially; this is above */

/* What a child says, in memory it shares with the parent. */
enum outcome { DIED, DONE, CANNOT, WRONG };
struct result {
    enum outcome outcome;
    double v[MAX_VALUES];
    bool cut[MAX_VALUES]; /* the section was ended for time */
    uint64_t refused;     /* refusals while enough frames were free */
    char why[160];        /* WRONG, DIED */
};

/* One measurement; `self` and what follows it are set in the child. */
struct bench {
    const struct frames_allocator *a;
    bool unverified; /* what it gives: it is the empty loop, or that would take too long */
    struct frames_range ranges[4];
    unsigned nranges;
    uint64_t total; /* frames in the ranges */
    unsigned nthreads;
    unsigned batch; /* of the row */
    uint64_t seed;
    double limit; /* ns that a timed section may take */
    uint64_t npairs;
    struct result *out;

    void *self;
    unsigned char *storage;
    uint64_t storage_bytes;
    uint64_t *held;                /* frames of all workers, each its share */
    _Atomic unsigned char *stamps; /* one a frame of the span: 1 if somebody has it */
    void *shared;                  /* of the row's own */
    struct meeting meeting;
    _Atomic uint64_t sum; /* free for the use of all workers */
};

/* One thread. Only it uses its worker until it has ended. */
struct worker {
    struct bench *b;
    unsigned cpu;
    struct host_rng rng;
    uint64_t *held;
    uint64_t nheld;
    uint64_t share; /* frames that it may hold */
    uint64_t refused;
    double v[MAX_VALUES]; /* most often ns for one operation */
    bool cut[MAX_VALUES];
};

struct value {
    const char *name;
    const char *unit;
    bool loop; /* the empty loop has it too */
};

struct row {
    const char *name; /* %s is the size, %u the threads */
    void (*run)(struct bench *b);
    const struct value *values; /* one without a name ends them */
    bool threaded;              /* with --threads, else one */
    unsigned scale;             /* times --size; 0: ranges of its own */
    unsigned batch;             /* of `run` */
    unsigned weight;            /* share of the time */
    unsigned nrounds;           /* at least; 0: the usual number */
};

extern const struct row rows[];
extern const unsigned nrows;

/* The verifying run, over flat and over ragged memory; run in a child, as the rows are. */
void verify_flat(struct bench *b);
void verify_ragged(struct bench *b);

/* ---- harness.c ------------------------------------------------------------------------------- */

/* The allocator is wrong: say so to the parent and end this child. Any thread. */
_Noreturn __attribute__((format(printf, 2, 3))) void wrong(struct bench *b, const char *fmt, ...);

void set_ranges(struct bench *b, unsigned n, const struct frames_range *ranges);

/* Storage of the allocator with a page behind it that must not be touched; `touched` or fresh. */
void map_storage(struct bench *b, bool touched);

/* create(); ends the child if the allocator cannot. */
void make(struct bench *b);

/* destroy(). */
void drop(struct bench *b);

/* An allocator over the ranges, all that it and the harness need already touched. */
void open_bench(struct bench *b);

/* All has been given back, but for `kept` frames. */
void close_bench(struct bench *b, uint64_t kept);

void must_be_free(struct bench *b, uint64_t frames);

/* A block was given: nobody else may have any frame of it. */
void stamp(struct bench *b, uint64_t pfn, unsigned order);

/* A block is about to be given back. */
void unstamp(struct bench *b, uint64_t pfn, unsigned order);

/* Stamp what a worker holds, and take the stamps off again. */
void stamp_held(struct worker *w, unsigned order);
void unstamp_held(struct worker *w, unsigned order);

/* All workers wait here for the last. Spinning, so that they leave together. */
void meet(struct bench *b);

/* Stamp what all threads hold, outside of any section, and meet before and after. */
void verify_held(struct worker *w, unsigned order);

/* `run` in every thread, this one being cpu 0; the means of their values go to the result. */
void run_workers(struct bench *b, void (*run)(struct worker *w));

#endif
