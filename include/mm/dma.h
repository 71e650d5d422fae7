/*
 * dma.h - memory for devices: physically contiguous, aligned, and below a limit.
 *
 * Model:    blocks of up to half a page come from buddies, one for each class of limits, over runs
 *           of frames below that limit; whatever is larger is frames, exactly as many as it takes.
 *           A limit between those of two classes is served by the lower one; if there is nothing
 *           below, by frames below the limit itself. So a request is refused only if no frame meets
 *           it.
 *
 *           Memory is ordinary, cached memory of the direct map. No block shares a line of 64 bytes
 *           with another.
 *
 * Locking:  one lock of rank MM_RANK_DMA, taken inside; kmalloc and the frame pool are called under
 *           it. None of these calls sleeps. Not for interrupt handlers: who has the lock may have
 * to wait, in the frame pool, for what a handler has interrupted (docs/locking.md).
 *
 * Errors:   out of memory is NULL. Giving back what was not given, or was given back already, stops
 *           the machine.
 */
#ifndef MM_DMA_H
#define MM_DMA_H

#include "mm/buddy.h"
#include "mm/pmm.h"

#define DMA_NO_LIMIT PMM_NO_LIMIT

enum dma_class {
    DMA_ANYWHERE,
    DMA_BELOW_4G,  /* 32 bits of address */
    DMA_BELOW_16M, /* 24 */
    DMA_CLASSES
};

struct dma_stats {
    struct {
        uint64_t limit;
        struct buddy_stats blocks;
    } small[DMA_CLASSES];
    uint64_t nlarge; /* blocks that are frames of their own, */
    uint64_t frames; /* and how many these are together */
};

/* Frames come from `p` from now on. kmalloc_init() comes before. Context: boot, one CPU. */
void dma_init(struct pmm *p);

/*
 * `nbytes` at a physical multiple of `align`, a power of two (else NULL), so that every byte lies
 * below `limit`. *pa is its physical address, written on success only; the pointer is for the
 * processor. `nbytes` of 0 gets a block of the smallest size. Contents undefined.
 */
MM_MUST_CHECK void *dma_alloc(size_t nbytes, size_t align, uint64_t limit, pa_t *pa);

/* Give back what dma_alloc(nbytes, ..., &pa) gave. */
void dma_free(pa_t pa, size_t nbytes);

void dma_get_stats(struct dma_stats *s);

/* NULL if the buddies are sound, else the first broken invariant as text. */
const char *dma_check(void);

#endif
