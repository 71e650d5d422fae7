/*
 * kmalloc_map.h - what kmalloc uses a frame for: an entry for each, found by frame number.
 *
 * Model:    a tree of pages over all frame numbers there can be. Its leaves are made when something
 *           of theirs is first set, and stay: 4 KiB for each 4 MiB in which kmalloc ever had a
 *           frame, nothing for the rest of memory.
 *
 * Locking:  none. Who sets or clears the entry of a frame has the frame; who reads that of another
 *           frame has a hint.
 */
#ifndef KMALLOC_MAP_H
#define KMALLOC_MAP_H

#include <stdatomic.h>

#include "mm/pmm.h"

/* An entry: a kind, and a number that goes with it. */
enum kmap_kind {
    KMAP_NONE,
    KMAP_SLAB,  /* of a slab; the order of the slab */
    KMAP_ARENA, /* of an arena of the first-fit heap */
    KMAP_BLOCK, /* the first one of a block of whole frames; how many */
};

#define KMAP_KIND_BITS  2
#define KMAP_MAX_NUMBER (UINT32_MAX >> KMAP_KIND_BITS)

struct kmap_entry {
    enum kmap_kind kind;
    uint32_t number;
};

#define KMAP_ROOT 4096u /* of 1 TiB each: 52 bits of physical address */

struct kmap {
    struct pmm *pmm; /* (const) where the pages of the tree come from */
    void *_Atomic root[KMAP_ROOT];
    _Atomic uint64_t npages; /* of the tree */
};

void kmap_init(struct kmap *m, struct pmm *p);

/* Set the entries of frames [base, base + count), which had none; false if there is no memory for
 * them, nothing is set then. */
MM_MUST_CHECK bool kmap_set(struct kmap *m, pfn_t base, uint64_t count, struct kmap_entry e);

/* Clear them. */
void kmap_clear(struct kmap *m, pfn_t base, uint64_t count);

/* KMAP_NONE for any number that has no entry. O(1). */
struct kmap_entry kmap_get(const struct kmap *m, pfn_t pfn);

/* Call `fn` for each frame that has an entry, by number, until it returns false. O(leaves). */
void kmap_for_each(const struct kmap *m, bool (*fn)(void *ctx, pfn_t pfn, struct kmap_entry e),
                   void *ctx);

#endif
