/*
 * backing.h - where an allocator has its memory from: the one interface through which they chain.
 *
 * Model:    whoever has memory to give (frames, another allocator, a host's mmap) offers a struct
 *           mm_backing; whoever deals it out in smaller pieces (heap_ff, slab, buddy) is given one
 *           and copies it. The consumer calls it with its own lock held, if it has one; the
 *           backing's locks rank above that (mm/lock.h). None of the calls sleeps.
 */
#ifndef MM_BACKING_H
#define MM_BACKING_H

#include "mm/types.h"

struct mm_backing {
    const char *name; /* what it is, for people; kept, not copied */
    void *ctx;        /* handed to each call */
    size_t grain;     /* ranges begin, end, grow and shrink at multiples of it: a power of two, 16
                       * at least */
    size_t reach;     /* how many bytes a range may grow beyond what get() gave, a multiple of
                       * `grain`; 0: ranges have the length they have */

    /*
     * A range of at least `nbytes` > 0, at a multiple of `align`, a power of two; any contents. Its
     * true length in *got. NULL if there is none.
     */
    void *(*get)(void *ctx, size_t nbytes, size_t align, size_t *got);

    /* Take back [base, base + nbytes): one whole range or, where `reach` is not 0, the tail of one. */
    void (*put)(void *ctx, void *base, size_t nbytes);

    /*
     * Make the range that ends at `end` longer by at least `nbytes`, a multiple of `grain`. Returns
     * by how much, 0 if that can't be. NULL where `reach` is 0.
     */
    size_t (*grow)(void *ctx, void *end, size_t nbytes);
};

#endif
