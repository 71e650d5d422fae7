/*
 * heap_ff.h - first fit in address order.
 *
 * Model:    a heap owns arenas, ranges of memory that it was given or fetched from its backing. A
 *           request gets the lowest-addressed free block that fits, exactly; what is freed merges
 *           with its free neighbours at once, but never across two arenas. Requests are rounded up
 *           to 16 bytes and every pointer is at least 16-byte aligned.
 *
 * Locking:  one lock per heap, rank MM_RANK_HEAP, taken inside; the backing is called with it held.
 *           None of these calls sleeps.
 *
 * Memory:   block headers lie in the arenas. `struct heap_ff` is the caller's, outlives its blocks
 *           and stays where it is: headers are sealed with its address.
 *
 * Errors:   out of memory is NULL. Freeing, resizing or measuring what was not given, was freed
 *           already, or whose header was damaged stops the machine, saying which and who asked; so
 *           does any call that meets a damaged header on its way.
 */
#ifndef MM_HEAP_FF_H
#define MM_HEAP_FF_H

#include "mm/lock.h"
#include "mm/types.h"

#define HEAP_FF_ALIGN 16u
#define HEAP_FF_MAX   (UINT64_C(1) << 46) /* a larger request fails at once */

/* Where a heap fetches arenas from, and gives empty ones back to. */
struct mm_backing {
    /* A range of at least `nbytes`, 16-byte aligned, any contents; its true length in *got. NULL if
     * there is none. */
    void *(*get)(void *ctx, size_t nbytes, size_t *got);
    /* Take back one whole range that `get` returned. */
    void (*put)(void *ctx, void *base, size_t nbytes);
    void *ctx;
};

/* Locking: (l) lock   (const) set by heap_ff_init */
struct heap_ff {
    struct mm_lock lock;
    struct mm_backing backing;    /* (const) all NULL: fixed arenas only */
    struct heap_ff_arena *arenas; /* (l) sorted by address */
    struct heap_ff_block *free;   /* (l) free blocks, sorted by address */
    size_t arena_bytes;           /* (l) in all arenas, headers included */
    size_t used_bytes;            /* (l) in used blocks, headers included */
    size_t nused;                 /* (l) used blocks */
};

struct heap_ff_stats {
    size_t arena_bytes;
    size_t used_bytes;   /* headers included */
    size_t free_bytes;   /* headers included */
    size_t largest_free; /* largest request that would succeed without growing */
    size_t nused, nfree, narenas;
};

/* One block, as heap_ff_for_each() shows it. */
struct heap_ff_view {
    const void *ptr; /* what the caller of heap_ff_alloc() has, or would get */
    size_t nbytes;   /* usable */
    bool used;
    bool first_in_arena;
};

/* `backing` may be NULL; it is copied. */
void heap_ff_init(struct heap_ff *h, const struct mm_backing *backing);

/*
 * Add [base, base + nbytes) as an arena that stays for ever; any alignment.
 * Errors: MM_EINVAL (too small, more than 128 TiB, wraps, or overlaps an arena).
 */
MM_MUST_CHECK mm_err_t heap_ff_add_arena(struct heap_ff *h, void *base, size_t nbytes);

/* `nbytes` of 0 gets a block of the smallest size. NULL when out of memory. Contents undefined. */
MM_MUST_CHECK void *heap_ff_alloc(struct heap_ff *h, size_t nbytes);

/* As heap_ff_alloc(), at a multiple of `align`, a power of two up to HEAP_FF_MAX (else NULL). */
MM_MUST_CHECK void *heap_ff_alloc_aligned(struct heap_ff *h, size_t nbytes, size_t align);

/* As heap_ff_alloc(), count * nbytes zero bytes; NULL if the product overflows. */
MM_MUST_CHECK void *heap_ff_alloc_zeroed(struct heap_ff *h, size_t count, size_t nbytes);

/*
 * Change the size of a block, in place when its upper neighbour allows; NULL `ptr` allocates. On
 * NULL the old block is as it was. A size of 0 shrinks to the smallest block. Alignment beyond 16
 * is kept only if the block does not move.
 */
MM_MUST_CHECK void *heap_ff_realloc(struct heap_ff *h, void *ptr, size_t nbytes);

/* NULL is fine. An arena from the backing that is empty afterwards goes back to it. */
void heap_ff_free(struct heap_ff *h, void *ptr);

/* Usable bytes at `ptr`, which the heap gave. */
size_t heap_ff_size(struct heap_ff *h, const void *ptr);

void heap_ff_get_stats(struct heap_ff *h, struct heap_ff_stats *s);

/* Call `fn` for each block in order of address, with the lock held; stop when it returns false.
 * `fn` may not call the heap. */
void heap_ff_for_each(struct heap_ff *h, bool (*fn)(void *ctx, const struct heap_ff_view *b),
                      void *ctx);

/* NULL if the invariants of ff.c hold, else the first broken one as text. Reads only. O(blocks). */
const char *heap_ff_check(struct heap_ff *h);

#endif
