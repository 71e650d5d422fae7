/*
 * ramtest.h - does memory keep what is written to it?
 *
 * Model:    a pass takes RAMTEST_STEPS steps over some spans of memory. Each step goes over all of
 *           it once, line by line, up or down: it reads the line, compares that with what the step
 *           before wrote, and writes a pattern of its own. A last reading ends the pass. Memory is
 *           reached only through the caller's functions, which see to it that memory is what is
 *           tested, and not a cache.
 * Finds:    ramtest.c says which faults, and why these steps.
 * Contents: of the spans are lost.
 * Locking:  none; one pass may run beside another over other spans.
 */
#ifndef LIB_RAMTEST_H
#define LIB_RAMTEST_H

#include "mm/types.h"

#define RAMTEST_LINE_WORDS 8u
#define RAMTEST_LINE_BYTES (8u * RAMTEST_LINE_WORDS) /* what memory is read and written in */
#define RAMTEST_STEPS      37u                       /* of a pass, before the last reading */

/* Bytes [base, base + nbytes), both multiples of RAMTEST_LINE_BYTES. */
struct ramtest_span {
    uint64_t base, nbytes;
};

struct ramtest_fault {
    uint64_t addr; /* of a word of 8 bytes */
    uint64_t wrote, read;
    const char *pattern; /* what was there: "walking bit" */
};

struct ramtest_progress {
    const char *pattern; /* being written; or, in the last reading, being read */
    uint64_t done, all;  /* lines, in all steps of the pass */
};

/* How the memory is reached, and who is told. */
struct ramtest_ops {
    void (*read)(void *ctx, uint64_t addr, uint64_t line[RAMTEST_LINE_WORDS]);
    void (*write)(void *ctx, uint64_t addr, const uint64_t line[RAMTEST_LINE_WORDS]);
    /* Between two steps: what was written before is in memory when this returns. */
    void (*settle)(void *ctx);
    /* A word is not what it should be. Called for each, each time. */
    void (*fault)(void *ctx, const struct ramtest_fault *f);
    /* Now and then, RAMTEST_REPORT_LINES apart at most; false ends the pass. */
    bool (*progress)(void *ctx, const struct ramtest_progress *p);
};
#define RAMTEST_REPORT_LINES 4096u

/*
 * One pass over spans[0, nspans), by rising address, of at least one line in all. The random
 * patterns follow `seed`. False if progress() ended it.
 */
MM_MUST_CHECK bool ramtest_pass(const struct ramtest_ops *ops, void *ctx,
                                const struct ramtest_span *spans, size_t nspans, uint64_t seed);

#endif
