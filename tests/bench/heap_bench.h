/*
 * heap_bench.h - what the program (bench_heap.c) and the measurements (heap_replay.c,
 * heap_threads.c) share. Each measurement is a process, which runs the program anew so that a
 * library can be preloaded; what it is to do and what came of it lie in memory that both map.
 */
#ifndef BENCH_HEAP_BENCH_H
#define BENCH_HEAP_BENCH_H

#include <limits.h>

#include "common.h"
#include "heap_builtin.h"
#include "heap_trace.h"

enum job_kind {
    JOB_PROBE,  /* is it there at all? */
    JOB_VERIFY, /* is it right? */
    JOB_SPEED,
    JOB_LATENCY,
    JOB_FOOTPRINT,
    JOB_LARSON, /* these two verify what they get, too */
    JOB_PIPE,
};

/* What is measured. */
enum value {
    VALUE_TIME,      /* ns */
    VALUE_9999,      /* ns that 99.99 % of the operations stay within */
    VALUE_SLOWEST,   /* ns */
    VALUE_FOOTPRINT, /* to what is live, both at their peaks; by a JOB_FOOTPRINT without arena:
                        bytes */
    VALUE_INSIDE,    /* bytes of the blocks to bytes asked for, at the peak */
    VALUE_FAULTS,    /* page faults in 1000 operations */
    VALUE_HUGE,      /* % of the memory that is in huge pages */
    NVALUES,
};

enum outcome { DIED, DONE, SLOW, ABSENT, WRONG };

struct job {
    enum job_kind kind;
    char builtin[16];       /* which of the allocators linked in, or */
    char object[PATH_MAX];  /* where the allocator is; empty: linked in */
    char preload[PATH_MAX]; /* where malloc must have come from; empty: from anywhere */
    int trace_fd;           /* of jobs that replay one */
    uint64_t peak_bytes;    /* as the trace has */
    uint64_t peak_at;
    unsigned nthreads;
    double limit; /* ns that a pass may run */

    enum outcome outcome;
    double v[NVALUES];
    bool has[NVALUES];
    uint64_t cut; /* not 0: only so many operations were done, for time, and the first time */
    char why[160];
};

/* In the process that was started for it; does not return. */
_Noreturn void job_run(struct job *j);

/* The allocator is wrong: say so and end the process. Any thread. */
_Noreturn __attribute__((format(printf, 2, 3))) void job_wrong(struct job *j, const char *fmt, ...);

void job_set(struct job *j, enum value which, double v);

/* JOB_LARSON and JOB_PIPE: operations of a thread, and how they are done. */
uint64_t threads_nops(enum job_kind kind);
void run_threads(struct job *j, const struct heap_allocator *a, void *self);

#endif
