/*
 * kmalloc.h - the kernel's malloc.
 *
 * Model:    one first-fit heap whose arenas are runs of frames seen through the direct map, so
 *           memory is physically contiguous. It fetches 64 frames at least, more when it is large,
 *           fewer when memory is fragmented. Runs that become empty go back, but for one that is
 *           kept for the next time.
 *
 * Locking:  one lock of rank MM_RANK_HEAP, taken inside, and the pmm's under it. Nothing sleeps;
 *           interrupt handlers may call.
 *
 * Errors:   as heap_list.h.
 */
#ifndef MM_KMALLOC_H
#define MM_KMALLOC_H

#include "mm/pmm.h"

/* Frames come from `p` from now on. Context: boot, one CPU. */
void kmalloc_init(struct pmm *p);

#define KMALLOC_ALIGN 16u /* what every pointer is a multiple of, at least */

/* Each is the function of heap_list.h of that name, on one heap; kzalloc() is _alloc_zeroed(). */
MM_MUST_CHECK void *kmalloc(size_t nbytes);
MM_MUST_CHECK void *kmalloc_aligned(size_t nbytes, size_t align);
MM_MUST_CHECK void *kzalloc(size_t count, size_t nbytes);
MM_MUST_CHECK void *krealloc(void *ptr, size_t nbytes);
void kfree(void *ptr);

struct kmalloc_stats {
    size_t arena_bytes;
    size_t used_bytes;   /* what the heap needs for itself included, as in free_bytes */
    size_t free_bytes;   /* in arenas */
    size_t largest_free; /* largest request that would succeed without growing */
    size_t nused, nfree, narenas;
};

/* One block, as kmalloc_for_each() shows it. */
struct kmalloc_view {
    const void *ptr; /* what the caller of kmalloc() has, or would get */
    size_t nbytes;   /* usable */
    bool used;
    bool first_in_arena;
};

void kmalloc_get_stats(struct kmalloc_stats *s);

/* Call `fn` for each block in order of address, with the lock held; stop when it returns false.
 * `fn` may not allocate or free. */
void kmalloc_for_each(bool (*fn)(void *ctx, const struct kmalloc_view *b), void *ctx);

/* NULL if the invariants of the heap hold, else the first broken one as text. O(blocks). */
const char *kmalloc_check(void);

#endif
