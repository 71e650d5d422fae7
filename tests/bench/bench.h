/*
 * bench.h - what the rows (rows.c) and the program around them (bench_frames.c) share.
 */
#ifndef BENCH_BENCH_H
#define BENCH_BENCH_H

#include <stdatomic.h>
#include <stdbool.h>

#include "builtin.h"

#define NROWS       12
#define MAX_THREADS 64
#define MAX_VALUES  3                 /* of one row */
#define SLICE       1024              /* operations between two looks at the clock */
#define HUGE_FRAMES UINT64_C(512)     /* of 2 MiB, order HUGE */
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
    struct frames_range ranges[4];
    unsigned nranges;
    uint64_t total; /* frames in the ranges */
    unsigned nthreads;
    uint64_t seed;
    double limit; /* ns that a timed section may take */
    uint64_t npairs;
    struct result *out;

    void *self;
    unsigned char *storage;
    uint64_t storage_bytes;
    uint64_t *held;                /* frames of all workers, each its share */
    _Atomic unsigned char *stamps; /* one a frame of the span: 1 if somebody has it */
    atomic_uint arrived;
    atomic_uint generation;
};

struct row {
    const char *name; /* of the measurement; %s is the size, %u the threads */
    void (*run)(struct bench *b);
    const char *values[MAX_VALUES];
    const char *units[MAX_VALUES];
    bool threaded; /* with --threads, else one */
    bool large;    /* 16 times --size */
    unsigned weight;
};

extern const struct row rows[NROWS];

/* The verifying run, over flat and over ragged memory; run in a child, as the rows are. */
void verify_flat(struct bench *b);
void verify_ragged(struct bench *b);

void set_ranges(struct bench *b, unsigned n, const struct frames_range *ranges);

double now_ns(void);

/* Something is wrong that is not an allocator's fault: status 2. */
_Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *fmt, ...);

#endif
