/*
 * verify.c - the verifying run: is an allocator right at all? Nothing is timed.
 *
 * Every block that is given is stamped, frame by frame, while somebody has it; a frame outside of
 * the ranges, misaligned, or given twice ends the run (harness.c). First memory is taken whole in
 * blocks of each order, from the largest that the allocator knows down. Then come random operations
 * of all orders, of batches, and of blocks that one thread took and another gives back. In the end
 * everything is taken in single frames: one that loses what comes back has little to give.
 */
#include <inttypes.h>
#include <stddef.h>

#include "bench.h"

#define HELD               4096
#define OPS                100000
#define BATCH              64
#define MAILBOX            64 /* blocks on their way from one thread to any other */
#define LARGE              64 /* one in so many blocks is larger than 2 MiB, if the allocator knows any */
#define PACKED(pfn, order) ((pfn) << 8 | (order))
#define PFN(packed)        ((packed) >> 8)
#define ORDER(packed)      ((unsigned)((packed)&0xff))

static uint64_t get(struct worker *w, unsigned order)
{
    uint64_t pfn = w->b->a->get(w->b->self, w->cpu, order);

    if (pfn != FRAMES_NONE) {
        stamp(w->b, pfn, order);
    }
    return pfn;
}

static void put(struct worker *w, uint64_t pfn, unsigned order)
{
    unstamp(w->b, pfn, order);
    w->b->a->put(w->b->self, w->cpu, pfn, order);
}

static void put_held(struct worker *w, unsigned order)
{
    for (uint64_t i = 0; i < w->nheld; i++) {
        put(w, w->held[i], order);
    }
    w->nheld = 0;
}

/* All memory in blocks of this order. A quarter may be missing: an allocator may keep some for its
 * records, and ragged ends are no blocks. */
static void take_whole(struct worker *w, unsigned order)
{
    struct bench *b = w->b;
    uint64_t pfn;

    while (w->nheld < w->share && (pfn = get(w, order)) != FRAMES_NONE) {
        w->held[w->nheld++] = pfn;
    }
    atomic_fetch_add(&b->sum, w->nheld << order);
    meet(b);
    if (w->cpu == 0) {
        if (b->nranges == 1 && b->sum < b->total / 4 * 3) {
            wrong(b, "has %" PRIu64 " of %" PRIu64 " frames to give by order %u", (uint64_t)b->sum,
                  b->total, order);
        }
        if (b->nthreads == 1 && order == 0) {
            must_be_free(b, b->total - b->sum);
        }
        b->sum = 0;
    }
    meet(b);
    put_held(w, order);
    meet(b);
}

static void use_batch(struct worker *w)
{
    const struct frames_allocator *a = w->b->a;
    uint64_t pfns[BATCH];
    unsigned want = 1 + (unsigned)rng_below(&w->rng, BATCH);
    unsigned got = a->get_batch(w->b->self, w->cpu, pfns, want);

    if (got > want) {
        wrong(w->b, "gives %u frames when %u are asked for", got, want);
    }
    for (unsigned i = 0; i < got; i++) {
        stamp(w->b, pfns[i], 0);
    }
    for (unsigned i = 0; i < got; i++) {
        unstamp(w->b, pfns[i], 0);
    }
    a->put_batch(w->b->self, w->cpu, pfns, got);
}

static unsigned random_order(struct worker *w)
{
    unsigned max = w->b->a->max_order;

    if (max > HUGE && rng_below(&w->rng, LARGE) == 0) {
        return HUGE + 1 + (unsigned)rng_below(&w->rng, max - HUGE);
    }
    return rng_below(&w->rng, 2) != 0 ? 0 : (unsigned)rng_below(&w->rng, HUGE + 1);
}

static void use_blocks(struct worker *w)
{
    const struct frames_allocator *a = w->b->a;
    _Atomic uint64_t *mailbox = w->b->shared;

    for (unsigned op = 0; op < OPS; op++) {
        if (a->get_batch != NULL && a->put_batch != NULL && rng_below(&w->rng, 8) == 0) {
            use_batch(w);
        } else if (w->nheld < HELD && rng_below(&w->rng, 16) < 9) {
            unsigned order = random_order(w);
            uint64_t pfn = get(w, order);

            if (pfn != FRAMES_NONE) {
                w->held[w->nheld++] = PACKED(pfn, order);
            }
        } else if (w->nheld != 0) {
            uint64_t i = rng_below(&w->rng, w->nheld);
            uint64_t block = w->held[i];

            w->held[i] = w->held[--w->nheld];
            if (rng_below(&w->rng, 2) == 0) { /* somebody else's instead, or none */
                block = atomic_exchange(&mailbox[rng_below(&w->rng, MAILBOX)], block);
            }
            if (block != 0) {
                put(w, PFN(block), ORDER(block));
            }
        }
    }
    meet(w->b);
    for (unsigned i = w->cpu; i < MAILBOX; i += w->b->nthreads) {
        if (mailbox[i] != 0) {
            put(w, PFN(mailbox[i]), ORDER(mailbox[i]));
            mailbox[i] = 0;
        }
    }
    for (uint64_t i = 0; i < w->nheld; i++) {
        put(w, PFN(w->held[i]), ORDER(w->held[i]));
    }
    w->nheld = 0;
}

static void verify_worker(struct worker *w)
{
    struct bench *b = w->b;

    for (unsigned order = b->a->max_order + 1; order-- > 0;) {
        take_whole(w, order);
    }
    use_blocks(w);
    meet(b);
    if (w->cpu == 0) {
        must_be_free(b, b->total);
    }
    meet(b);
    take_whole(w, 0);
}

static void verify(struct bench *b)
{
    open_bench(b);
    b->shared = map_touched(MAILBOX * sizeof(uint64_t), 0);
    run_workers(b, verify_worker);
    close_bench(b, 0);
}

/* With room for one block of the largest order that is not the first. */
void verify_flat(struct bench *b)
{
    set_ranges(b, 1, (struct frames_range[]){ { BASE, 2 * GIB } });
    verify(b);
}

void verify_ragged(struct bench *b)
{
    set_ranges(b, 4,
               (struct frames_range[]){ { BASE + 3, 1000 },
                                        { BASE + 2048, 8192 + 77 },
                                        { BASE + 2048 + 8192 + 79, 1 },
                                        { BASE + GIB + 511, 40000 } });
    verify(b);
}
