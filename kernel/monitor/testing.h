/*
 * testing.h - what alloc, selftest and bench share: random numbers, patterns in memory, a place to
 * map things.
 */
#ifndef MONITOR_TESTING_H
#define MONITOR_TESTING_H

#include "mm/types.h"

/* SplitMix64 (lib/mix.h): one word of state, any seed is as good as any other. */
struct rng {
    uint64_t state;
};

uint64_t rng_next(struct rng *r);

/* In [0, bound), `bound` > 0. */
static inline uint64_t rng_below(struct rng *r, uint64_t bound)
{
    return rng_next(r) % bound;
}

/* Fill [p, p + nbytes) with bytes that depend on `seed` and their place. */
void pattern_fill(void *p, size_t nbytes, uint64_t seed);

/* The first byte that is not as pattern_fill() left it; `nbytes` if all are. */
size_t pattern_verify(const void *p, size_t nbytes, uint64_t seed);

/*
 * Kernel addresses that nobody uses: TESTING_WINDOW_BYTES behind the end of the vmalloc window,
 * aligned to that much. Who maps something there unmaps it.
 */
#define TESTING_WINDOW_BYTES UINT64_C(0x40000000)
uint64_t testing_window(void);

#endif
