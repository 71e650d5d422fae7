/*
 * pmm.h - physical frames: who has which, and where the next one comes from.
 *
 * Model:    a pool of frames made from a normalised memory map. Every frame that the pool covers is
 *           FREE or USED; which frames it covers is settled by pmm_init(). Blocks are given by
 *           order (2^order frames, naturally aligned), or by request: any count of contiguous
 *           frames, at an alignment, below a limit, not across a boundary, or at one given place.
 *           What is given back merges at once with what is free beside it, and a request is refused
 *           only if no free frames meet it.
 *
 * Placement: memory above 4 GiB first; memory below 1 MiB only for requests whose limit is at most
 *           1 MiB, and by pmm_claim(). Frame 0 is never given.
 *
 * Locking:  one lock per pool, rank MM_RANK_PMM, taken inside. None of these calls sleeps;
 *           interrupt handlers may call them.
 *
 * Memory:   the caller gives one block of metadata storage, which the pool borrows for ever; no
 *           call touches the frames themselves. Metadata of a GiB of memory is first written when a
 *           frame in it first changes state: start-up costs the number of regions, not of frames.
 *
 * Errors:   out of memory is an error return. Giving back what is not the caller's (free already,
 *           never given, foreign, misaligned, across two allocations) stops the machine on the
 *           spot, saying who did it.
 */
#ifndef MM_PMM_H
#define MM_PMM_H

#include "mm/lock.h"
#include "mm/memmap.h"
#include "mm/types.h"

#define PMM_MAX_ORDER 18 /* 1 GiB */
#define PMM_NO_LIMIT  UINT64_MAX

struct pmm; /* opaque: lives at the start of its storage */

/* A request for `count` contiguous frames. Zero-initialise, set `count`, and what else matters. */
struct pmm_want {
    uint64_t count;    /* frames, >= 1 */
    uint64_t align;    /* frames, a power of two; 0 means 1 */
    uint64_t limit;    /* every byte given lies below this address; 0 means no limit */
    uint64_t boundary; /* bytes, a power of two >= a page: the block crosses no multiple of it;
                          0 means none */
};

struct pmm_stats {
    uint64_t total_frames; /* that the pool covers, free or used */
    uint64_t free_frames;
    uint64_t low_frames;                     /* below 1 MiB, of total */
    uint64_t low_free_frames;                /* below 1 MiB, of free */
    uint64_t largest_free;                   /* frames in the longest free run */
    uint64_t free_blocks[PMM_MAX_ORDER + 1]; /* maximal naturally aligned free blocks, by order */
    uint64_t meta_bytes;                     /* storage borrowed */
    uint64_t meta_used_bytes;                /* of it, written so far */
};

/* Storage, in bytes, for a pool over all that pmm_init() covers of `m`; 0 if that is nothing. */
uint64_t pmm_storage_bytes(const struct memmap *m);

/*
 * Make a pool. It covers the regions of `m` that are or may become free (MEMMAP_FREE,
 * FREE_AFTER_EXIT, FREE_AFTER_ACPI, KERNEL); those that are MEMMAP_FREE now are FREE, but for frame
 * 0, and all others USED until pmm_add(). The map is not kept. `storage` is page aligned and
 * `nbytes` long, contents ignored. On MM_OK, *p is the pool inside it.
 * Errors: MM_EINVAL (no such region, `storage` misaligned), MM_ENOSPC. Context: boot, one CPU.
 * Cost: O(regions + GiB covered).
 */
MM_MUST_CHECK mm_err_t pmm_init(struct pmm **p, const struct memmap *m, void *storage,
                                uint64_t nbytes);

/*
 * Memory that has been USED since pmm_init() becomes FREE; frame 0, if it is among it, stays USED.
 * Errors: MM_EINVAL if count is 0 or wraps, MM_ENOENT if the pool does not cover all of it,
 * MM_EBUSY if any of it is FREE or was given out; nothing changes then.
 */
MM_MUST_CHECK mm_err_t pmm_add(struct pmm *p, pfn_t base, uint64_t count);

/*
 * Take a naturally aligned block of 2^order frames; PFN_NONE when there is none, or when `order` is
 * above PMM_MAX_ORDER. Contents are not zeroed. The caller owns it until pmm_put().
 */
MM_MUST_CHECK pfn_t pmm_get(struct pmm *p, unsigned order);

/*
 * Take what `want` says, at the lowest place of those that Placement (above) prefers.
 * Errors: MM_EINVAL (a count of 0, an alignment or a boundary out of range), MM_ENOMEM.
 */
MM_MUST_CHECK mm_err_t pmm_get_range(struct pmm *p, const struct pmm_want *want, pfn_t *base);

/*
 * Take exactly [base, base + count), all or nothing.
 * Errors: MM_EINVAL (0, wraps, holds frame 0), MM_ENOENT (not covered), MM_EBUSY (not all free).
 */
MM_MUST_CHECK mm_err_t pmm_claim(struct pmm *p, pfn_t base, uint64_t count);

/* Give back a whole allocation of 2^order frames, naturally aligned, as pmm_get(p, order) gave. */
void pmm_put(struct pmm *p, pfn_t base, unsigned order);

/*
 * Give back `count` frames at `base`: the whole or any part of one allocation, whichever call gave
 * it. What remains of it, on either side, stays the caller's, as an allocation of its own.
 */
void pmm_put_range(struct pmm *p, pfn_t base, uint64_t count);

/* Is the frame in the pool? Is it free? For display and checks: the second may change any time. */
bool pmm_covers(const struct pmm *p, pfn_t pfn);
bool pmm_is_free(const struct pmm *p, pfn_t pfn);

/* Frames free now. O(1). */
uint64_t pmm_free_frames(const struct pmm *p);

/* Everything, counted afresh under the lock. O(metadata in use). */
void pmm_get_stats(struct pmm *p, struct pmm_stats *s);

/* NULL if the invariants of pmm.c hold, else the first broken one as text. O(metadata in use). */
const char *pmm_check(struct pmm *p);

#endif
