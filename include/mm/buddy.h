/*
 * buddy.h - power-of-two blocks, naturally aligned, over memory that is never touched.
 *
 * Model:    a buddy owns arenas, ranges of addresses that it was given or fetched from its backing.
 *           A block of order n has 2^n units of 2^shift bytes, at an address that is a multiple of
 *           its size. Two free blocks that make up one of the next order are one at once, but for
 *           the block given back last, which merges with the next call. A request gets that one if
 *           it has its order; else, of the smallest free blocks that will do, the lowest.
 *
 *           What is where stands in metadata apart from the arenas, about 10 bits a unit. The
 * memory itself is not read or written: its addresses may be physical, or those of a device.
 *           Address 0, which means none, is never given.
 *
 * Cost:     to get what was given back last, and to give it back: a few instructions. Else alloc
 *           and free take a step for each order between the block and what it is split from, or
 *           becomes part of, and O(log arenas). One that fetches or gives back an arena takes
 *           O(arenas), what the backings take, and the time to clear the metadata.
 *
 * Locking:  none inside: the caller serialises the calls on one buddy. Backings are called within.
 *
 * Memory:   `struct buddy` and the metadata of arenas that were added are the caller's, and stay
 *           where they are.
 *
 * Errors:   out of memory is NULL. Giving back what was not given, was given back already, lies
 *           inside a block or is of another order stops the machine (port_panic), saying what it is
 *           and who asked; so does damaged metadata that a call meets on its way.
 */
#ifndef MM_BUDDY_H
#define MM_BUDDY_H

#include "mm/backing.h"
#include "mm/types.h"

#define BUDDY_ORDERS     24u                 /* there are orders 0 to 23 */
#define BUDDY_MAX_UNITS  (UINT64_C(1) << 23) /* in one arena */
#define BUDDY_MAX_ARENAS 64u
#define BUDDY_MAX_SHIFT  32u
#define BUDDY_META_ALIGN 16u

struct buddy_arena; /* at the start of its metadata */

struct buddy {
    unsigned shift; /* (const) a block of order 0 has 2^shift bytes */
    unsigned narenas;
    struct buddy_arena *last;    /* that was used last */
    struct buddy_arena *spare;   /* that was empty, and kept */
    struct buddy_arena *kept_in; /* where the block is that was given back last, */
    uint64_t kept;               /* which unit it is there, */
    unsigned kept_order; /* and its order; BUDDY_ORDERS: it has been merged, or used again */
    uint64_t tops;       /* bit n: with[n] is not 0 */
    /* Arenas, by index, whose largest free block is of order n - 1; of n 0: that have none. */
    uint64_t with[BUDDY_ORDERS + 1];
    struct buddy_arena *arenas[BUDDY_MAX_ARENAS]; /* by address */
    struct mm_backing backing, meta;              /* get is NULL: there is none */
    size_t step;
};

struct buddy_stats {
    size_t arena_bytes; /* whole units in arenas */
    size_t meta_bytes;
    size_t used_bytes;
    size_t free_bytes;
    size_t nused, narenas;
    size_t free_blocks[BUDDY_ORDERS]; /* by order */
};

/* One block, as buddy_for_each() shows it. */
struct buddy_view {
    const void *ptr;
    size_t nbytes;
    unsigned order;
    bool used;
    bool first_in_arena;
};

/*
 * No memory yet; units of 2^shift bytes, 0 < shift <= BUDDY_MAX_SHIFT. Arenas are fetched from
 * `backing`, and memory for their metadata from `meta`; both are copied, and NULL if there are to
 * be only arenas that are added. `step` bytes, a power of two, are fetched at least, more when
 * there is much already, but less rather than nothing. Of the arenas that become empty one is kept.
 */
void buddy_init(struct buddy *b, unsigned shift, const struct mm_backing *backing,
                const struct mm_backing *meta, size_t step);

/* Bytes of metadata for the arena [base, base + nbytes); 0 if that can be none: it holds no unit,
 * too many, or wraps. */
size_t buddy_meta_bytes(const void *base, size_t nbytes, unsigned shift);

/*
 * Add [base, base + nbytes), of which whole units are used, as an arena that stays for ever. `meta`
 * is aligned to BUDDY_META_ALIGN and has buddy_meta_bytes().
 * Errors: MM_EINVAL (as there, or it overlaps an arena), MM_ENOSPC (`meta_bytes` are too few, or
 * there are BUDDY_MAX_ARENAS already); nothing changes then.
 */
MM_MUST_CHECK mm_err_t buddy_add_arena(struct buddy *b, void *base, size_t nbytes, void *meta,
                                       size_t meta_bytes);

/* The lowest order whose blocks hold `nbytes`; BUDDY_ORDERS or more if there is none. */
static inline unsigned buddy_order_for(const struct buddy *b, size_t nbytes)
{
    size_t more = (nbytes - (nbytes != 0)) >> b->shift; /* units, less one */

    return more == 0 ? 0 : 64 - (unsigned)__builtin_clzll(more);
}

/* A block of 2^order units; NULL if there is none, or no such order. Contents undefined. */
MM_MUST_CHECK void *buddy_alloc(struct buddy *b, unsigned order);

/* NULL is fine, of any order. */
void buddy_free(struct buddy *b, void *ptr, unsigned order);

/* The order of the block at `ptr`, which buddy_alloc() gave. */
unsigned buddy_order(const struct buddy *b, const void *ptr);

/* Is the address in an arena? */
bool buddy_covers(const struct buddy *b, const void *ptr);

/* Give back the arena that is kept, if it is still empty. */
void buddy_trim(struct buddy *b);

/* This buddy, as the backing of others: ranges are blocks. It stays the caller's to serialise. */
struct mm_backing buddy_backing(struct buddy *b, const char *name);

/* O(metadata). */
void buddy_get_stats(const struct buddy *b, struct buddy_stats *s);

/* Call `fn` for each block, free ones as large as they are, by address; stop when it returns false.
 * `fn` may not call the buddy. */
void buddy_for_each(const struct buddy *b, bool (*fn)(void *ctx, const struct buddy_view *v),
                    void *ctx);

/* NULL if the invariants of buddy.c hold, else the first broken one as text. Reads only.
 * O(metadata). */
const char *buddy_check(const struct buddy *b);

#endif
