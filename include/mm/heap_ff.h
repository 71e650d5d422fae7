/*
 * heap_ff.h - first fit in address order, exact, in a bounded number of steps.
 *
 * Model:    a heap owns arenas, ranges of memory that it was given or fetched from its backing. A
 *           request gets the lowest-addressed free block that fits, exactly; what is freed merges
 *           with its free neighbours at once, but never across two arenas. Sizes are rounded up to
 *           16 bytes, and every pointer is a multiple of 16. Blocks have no headers: what is where
 *           stands in bitmaps and an index at the start of each arena, about 1.75 % of it.
 *
 * Cost:     alloc, free and a resize in place take O(log8 of the arena's length) steps, whatever
 *           the number of blocks, their sizes and where they lie; with `a` arenas O(log a) more. A
 *           call that fetches, lengthens or gives back an arena takes O(a) more, what the backing
 *           takes, and the time to clear 1/57 of the memory that is new.
 *
 * Locking:  none inside: the caller serialises the calls on one heap. The backing is called within.
 *
 * Memory:   `struct heap_ff` is the caller's and outlives its blocks. The heap writes to no free
 *           memory but the starts of its arenas, so that pages never asked for are never touched.
 *
 * Errors:   out of memory is NULL. Freeing, resizing or measuring what was not given, was freed
 *           already or lies inside a block stops the machine (port_panic), saying which, why, and
 *           who asked; so does a bitmap or index that a call finds damaged on its way.
 */
#ifndef MM_HEAP_FF_H
#define MM_HEAP_FF_H

#include "mm/backing.h"
#include "mm/types.h"

#define HEAP_FF_ALIGN 16u
#define HEAP_FF_MAX   (UINT64_C(1) << 35) /* bytes: a larger request, or alignment, fails at once */
#define HEAP_FF_ARENA (UINT64_C(1) << 36) /* bytes: of longer arenas the rest stays unused */

struct heap_ff_arena;

struct heap_ff {
    struct heap_ff_arena *root; /* of the tree of arenas, ordered by address */
    size_t narenas;
    size_t keep;
    size_t used_bytes;
    size_t peak_used_bytes;
    size_t arena_bytes; /* in all arenas, what they keep for themselves included */
    size_t peak_arena_bytes;
    struct heap_ff_arena *lowest; /* of the list of arenas, ordered by address */
    struct mm_backing backing;    /* get is NULL: fixed arenas only */
};

struct heap_ff_stats {
    size_t arena_bytes;
    size_t meta_bytes;   /* of arena_bytes: bitmaps and index */
    size_t used_bytes;   /* in blocks, sizes rounded up */
    size_t free_bytes;   /* arena_bytes is the sum of these three and what alignment cut off */
    size_t largest_free; /* the largest request that would succeed without more memory */
    size_t nused, nfree, narenas;
    size_t peak_used_bytes, peak_arena_bytes;
};

/* One block, as heap_ff_for_each() shows it. */
struct heap_ff_view {
    const void *ptr;
    size_t nbytes;
    bool used;
    bool first_in_arena;
};

/*
 * `backing` may be NULL; it is copied. An arena that grows (reach > 0) gives free memory at its end
 * back when more than `keep` bytes and a grain have gathered there, and keeps `keep`; one that is
 * empty goes back as a whole.
 */
void heap_ff_init(struct heap_ff *h, const struct mm_backing *backing, size_t keep);

/*
 * Add [base, base + nbytes) as an arena that stays for ever; any alignment.
 * Errors: MM_EINVAL (too small, wraps, or overlaps an arena).
 */
MM_MUST_CHECK mm_err_t heap_ff_add_arena(struct heap_ff *h, void *base, size_t nbytes);

/* `nbytes` of 0 gets a block of the smallest size. NULL when out of memory. Contents undefined. */
MM_MUST_CHECK void *heap_ff_alloc(struct heap_ff *h, size_t nbytes);

/*
 * As heap_ff_alloc(), at a multiple of `align`, a power of two (else NULL): in the lowest free
 * block that has `nbytes` whichever way it is aligned, `align` - 16 bytes more, and there as low as
 * it can. What is left in front and behind stays free.
 */
MM_MUST_CHECK void *heap_ff_alloc_aligned(struct heap_ff *h, size_t nbytes, size_t align);

/* As heap_ff_alloc(), count * nbytes zero bytes; NULL if the product overflows. */
MM_MUST_CHECK void *heap_ff_alloc_zeroed(struct heap_ff *h, size_t count, size_t nbytes);

/*
 * Change the size of a block where it is: smaller always, larger if a free block behind it has the
 * room. A size of 0 shrinks to the smallest block. False: it is as it was.
 */
MM_MUST_CHECK bool heap_ff_resize(struct heap_ff *h, void *ptr, size_t nbytes);

/*
 * heap_ff_resize(), or else a new block, the contents copied, and the old one freed; the new one
 * keeps no alignment beyond 16. NULL `ptr` allocates. On NULL the old block is as it was.
 */
MM_MUST_CHECK void *heap_ff_realloc(struct heap_ff *h, void *ptr, size_t nbytes);

/* NULL is fine. */
void heap_ff_free(struct heap_ff *h, void *ptr);

/* Usable bytes at `ptr`, which the heap gave. */
size_t heap_ff_size(const struct heap_ff *h, const void *ptr);

/* Give back all free memory at the ends of arenas that the backing takes. */
void heap_ff_trim(struct heap_ff *h);

/* O(bytes in arenas / 1 KiB). */
void heap_ff_get_stats(const struct heap_ff *h, struct heap_ff_stats *s);

/* Call `fn` for each block in order of address; stop when it returns false. `fn` may not call the
 * heap. */
void heap_ff_for_each(const struct heap_ff *h, bool (*fn)(void *ctx, const struct heap_ff_view *b),
                      void *ctx);

/* NULL if the invariants of ff_check.c hold, else the first broken one as text. Reads only. O(bytes
 * in arenas / 1 KiB). */
const char *heap_ff_check(const struct heap_ff *h);

#endif
