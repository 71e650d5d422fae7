/*
 * heap_list.h - first fit in address order, over a linked list.
 *
 * Model:    a heap owns arenas, ranges of memory that it was given or fetched from its backing. A
 *           request gets the lowest-addressed free block that fits, exactly; what is freed merges
 *           with its free neighbours at once, but never across two arenas. Requests are rounded up
 *           to 16 bytes and every pointer is at least 16-byte aligned.
 *
 * Locking:  none inside: the caller serialises the calls on one heap. The backing is called within;
 *           of it only get and put. None of these calls sleeps.
 *
 * Memory:   block headers lie in the arenas. `struct heap_list` is the caller's, outlives its
 * blocks and stays where it is: headers are sealed with its address.
 *
 * Errors:   out of memory is NULL. Freeing, resizing or measuring what was not given, was freed
 *           already, or whose header was damaged stops the machine, saying which and who asked; so
 *           does any call that meets a damaged header on its way.
 */
#ifndef MM_HEAP_LIST_H
#define MM_HEAP_LIST_H

#include "mm/backing.h"
#include "mm/types.h"

#define HEAP_LIST_ALIGN 16u
#define HEAP_LIST_MAX   (UINT64_C(1) << 46) /* a larger request fails at once */

struct heap_list {
    struct mm_backing backing;      /* all NULL: fixed arenas only */
    struct heap_list_arena *arenas; /* sorted by address */
    struct heap_list_block *free;   /* free blocks, sorted by address */
    size_t arena_bytes;             /* in all arenas, headers included */
    size_t used_bytes;              /* in used blocks, headers included */
    size_t nused;                   /* used blocks */
};

struct heap_list_stats {
    size_t arena_bytes;
    size_t used_bytes;   /* headers included */
    size_t free_bytes;   /* headers included */
    size_t largest_free; /* largest request that would succeed without growing */
    size_t nused, nfree, narenas;
};

/* One block, as heap_list_for_each() shows it. */
struct heap_list_view {
    const void *ptr; /* what the caller of heap_list_alloc() has, or would get */
    size_t nbytes;   /* usable */
    bool used;
    bool first_in_arena;
};

/* `backing` may be NULL; it is copied. */
void heap_list_init(struct heap_list *h, const struct mm_backing *backing);

/*
 * Add [base, base + nbytes) as an arena that stays for ever; any alignment.
 * Errors: MM_EINVAL (too small, more than 128 TiB, wraps, or overlaps an arena).
 */
MM_MUST_CHECK mm_err_t heap_list_add_arena(struct heap_list *h, void *base, size_t nbytes);

/* `nbytes` of 0 gets a block of the smallest size. NULL when out of memory. Contents undefined. */
MM_MUST_CHECK void *heap_list_alloc(struct heap_list *h, size_t nbytes);

/* As heap_list_alloc(), at a multiple of `align`, a power of two up to HEAP_LIST_MAX, else NULL. */
MM_MUST_CHECK void *heap_list_alloc_aligned(struct heap_list *h, size_t nbytes, size_t align);

/* As heap_list_alloc(), count * nbytes zero bytes; NULL if the product overflows. */
MM_MUST_CHECK void *heap_list_alloc_zeroed(struct heap_list *h, size_t count, size_t nbytes);

/*
 * Change the size of a block, in place when its upper neighbour allows; NULL `ptr` allocates. On
 * NULL the old block is as it was. A size of 0 shrinks to the smallest block. Alignment beyond 16
 * is kept only if the block does not move.
 */
MM_MUST_CHECK void *heap_list_realloc(struct heap_list *h, void *ptr, size_t nbytes);

/* NULL is fine. An arena from the backing that is empty afterwards goes back to it. */
void heap_list_free(struct heap_list *h, void *ptr);

/* Usable bytes at `ptr`, which the heap gave. */
size_t heap_list_size(const struct heap_list *h, const void *ptr);

void heap_list_get_stats(const struct heap_list *h, struct heap_list_stats *s);

/* Call `fn`, which may not call the heap, for each block by address, until it returns false. */
void heap_list_for_each(const struct heap_list *h,
                        bool (*fn)(void *ctx, const struct heap_list_view *b), void *ctx);

/* NULL if the invariants of list.c hold, else the first broken one as text. O(blocks). */
const char *heap_list_check(const struct heap_list *h);

#endif
