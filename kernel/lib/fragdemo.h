/*
 * fragdemo.h - the textbook case of external fragmentation, played on two allocators and drawn.
 *
 * Model:    sixteen frames; A takes 2, B, C and D take 4 each, A gives back, E wants 4. One
 *           allocator is the textbook's, the lowest run of free frames that is long enough; the
 *           other is a real pool of mm/pmm over sixteen frames. What is drawn after every step is
 *           what the allocator says, frame by frame.
 * Locking:  none, one play at a time for each allocator. Memory: the caller's.
 */
#ifndef LIB_FRAGDEMO_H
#define LIB_FRAGDEMO_H

#include "lib/demo.h"
#include "mm/pmm.h"

#define FRAGDEMO_FRAMES 16u
#define FRAGDEMO_ORDER  4u

/* Who places the requests. Frames are counted from 0. */
struct fragdemo_allocator {
    bool (*take)(void *ctx, unsigned count, unsigned *first);
    void (*give)(void *ctx, unsigned first, unsigned count);
    bool (*is_free)(void *ctx, unsigned frame);
    void *ctx;
};

/* The textbook's. All zeros: all is free. */
struct fragdemo_textbook {
    bool used[FRAGDEMO_FRAMES];
};
struct fragdemo_allocator fragdemo_textbook(struct fragdemo_textbook *t);

/* Ours. */
struct fragdemo_pool {
    struct pmm *pmm;
    uint64_t base; /* frame number of frame 0 */
};

/* Storage for the pool, in bytes. */
uint64_t fragdemo_pool_bytes(uint64_t base, unsigned ncpus);

/*
 * Make a pool of frames [base, base + FRAGDEMO_FRAMES), `base` a multiple of that and above 1 MiB.
 * They are the caller's, and may be written by a pool that poisons; `storage` as of pmm_init().
 */
MM_MUST_CHECK mm_err_t fragdemo_pool_init(struct fragdemo_pool *p, uint64_t base, unsigned ncpus,
                                          void *storage, uint64_t nbytes);
struct fragdemo_allocator fragdemo_pool(struct fragdemo_pool *p);

/* How it ended: with the last request, E's. */
struct fragdemo_end {
    bool refused;
    unsigned free;        /* frames before it */
    unsigned longest_run; /* of them side by side */
};

/* Play it. False if pause() ended it; what was taken stays taken then. */
bool fragdemo_play(const struct fragdemo_allocator *a, const struct demo_screen *s,
                   struct fragdemo_end *end);

#endif
