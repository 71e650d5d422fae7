/*
 * heaptrace.h - what is asked of a heap, recorded, and as text that a serial line carries.
 *
 * Model:    events are added until there is no room, and are counted then: what was recorded stays
 *           without gaps, from the start. The text is read by scripts/heap-traces --text, which
 * makes a trace for bench_heap of it; heaptrace.c has its form. Locking:  none; heaptrace_add() may
 * be called by several processors and interrupt handlers at once. Nobody adds while the text is
 * made.
 */
#ifndef LIB_HEAPTRACE_H
#define LIB_HEAPTRACE_H

#include <stdatomic.h>

#include "mm/types.h"

/* As that of tests/bench/heap_record.c. */
struct heaptrace_event {
    uint64_t was, now; /* addresses; 0: there is none */
    uint64_t size;     /* bytes that `now` was asked with; log2 of its alignment in 63:56 */
};

struct heaptrace {
    struct heaptrace_event *events; /* the caller's */
    size_t room;                    /* events */
    _Atomic size_t n;               /* that came; those beyond `room` are lost */
};

/* Start with nothing, and room for `room` events at `events`. */
void heaptrace_init(struct heaptrace *t, struct heaptrace_event *events, size_t room);

/* A block came (`was` is NULL), went (`now` is NULL) or was resized. `align` is a power of two, or
 * 0. Any context. O(1). */
void heaptrace_add(struct heaptrace *t, const void *was, const void *now, size_t nbytes,
                   size_t align);

size_t heaptrace_count(const struct heaptrace *t);
size_t heaptrace_lost(const struct heaptrace *t);

/* All of it, a line after the other, each without its end and of less than 80 characters. False if
 * `line` returned false, which ends it. */
bool heaptrace_text(const struct heaptrace *t, bool (*line)(void *ctx, const char *text),
                    void *ctx);

#endif
