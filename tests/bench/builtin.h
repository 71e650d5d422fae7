/*
 * builtin.h - the allocators that are linked into bench_frames, and what two of them share.
 */
#ifndef BENCH_BUILTIN_H
#define BENCH_BUILTIN_H

#include <stdatomic.h>

#include "frames.h"

extern const struct frames_allocator frames_loop;
extern const struct frames_allocator frames_bitmap;
extern const struct frames_allocator frames_buddy;
extern const struct frames_allocator frames_plat;

/* Where arrays of the ranges' frames begin, so that the largest block is aligned in them too. */
static inline uint64_t aligned_base(const struct frames_range *ranges)
{
    return ranges[0].base >> FRAMES_MAX_ORDER << FRAMES_MAX_ORDER;
}

/* Inline, because two calls into the C library for each operation cost more than the bitmap does.
 */
typedef atomic_uint spin_lock_t;

static inline void spin_lock(spin_lock_t *l)
{
    while (atomic_exchange_explicit(l, 1, memory_order_acquire) != 0) {
        while (atomic_load_explicit(l, memory_order_relaxed) != 0) {
            __builtin_ia32_pause();
        }
    }
}

static inline void spin_unlock(spin_lock_t *l)
{
    atomic_store_explicit(l, 0, memory_order_release);
}

#endif
