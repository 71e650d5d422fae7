/*
 * pmm.h - physical frames: who has which, and where the next one comes from.
 *
 * Model:    a pool of frames made from a normalised memory map. Every frame that a pool covers is
 *           FREE, USED, or HELD: kept out (not free yet, or taken out of service). Blocks are given
 *           by order (2^order frames, naturally aligned), or by request: any count of contiguous
 *           frames, at an alignment, below a limit, not across a boundary, or at one given place.
 *           What is given back merges at once with what is free beside it.
 *
 * Processors: each has a cache of its own in the pool (port_cpu() tells which), from which single
 *           frames are given and taken back without a lock. A request is refused only if no free
 *           frames meet it, those in the caches of all processors included.
 *
 * Pools:    one for each kind of memory (enum pmm_kind), so that nothing takes memory below 1 MiB,
 *           special-purpose, unaccepted or persistent memory by accident. Frame 0 is in none.
 *
 * Placement: memory above 4 GiB first; blocks of 2 MiB that are in use already before whole ones;
 *           low addresses before high ones, beginning at a place of each processor's own.
 *
 * Locking:  one lock a pool, rank MM_RANK_PMM, taken inside by whatever is rare. None of these
 * calls sleeps, but for the reclaim hook that PMM_WAIT allows. Interrupt handlers may call all of
 * them but pmm_retire(). A caller is not moved to another processor while a call runs (port.h).
 *
 * Memory:   the caller gives one block of metadata storage, which the pool borrows for ever. No
 * call touches the frames themselves, but for PMM_ZERO, the poison of a debug build, and 8 frames
 * of a GiB in which blocks smaller than 2 MiB are wanted, which a PMM_GENERAL pool keeps for its
 * own records (`record_frames` of the statistics). Start-up costs the number of regions, not of
 * frames.
 *
 * Errors:   out of memory is an error return. Giving back what is not the caller's (free already,
 *           never given, foreign, misaligned, of the wrong order, across two allocations) stops the
 *           machine on the spot, saying what it was.
 */
#ifndef MM_PMM_H
#define MM_PMM_H

#include "mm/lock.h"
#include "mm/memmap.h"
#include "mm/types.h"

#define PMM_MAX_ORDER 18 /* 1 GiB */
#define PMM_NO_LIMIT  UINT64_MAX
#define PMM_MAX_BATCH 512 /* frames in one call */
#define PMM_MAX_CPUS  256
#define PMM_MAX_BAD   64 /* ranges that one pool can take out of service */

struct pmm; /* opaque: lives at the start of its storage */

/* Which memory a pool is made of. */
enum pmm_kind {
    PMM_GENERAL,    /* at or above 1 MiB: free, or free after exit, after ACPI, or ours already */
    PMM_LOW,        /* the same kinds, below 1 MiB */
    PMM_SPECIAL,    /* MEMMAP_SPECIAL */
    PMM_UNACCEPTED, /* MEMMAP_UNACCEPTED: must be accepted before the first touch */
    PMM_PERSISTENT, /* MEMMAP_PERSISTENT */
    PMM_KINDS
};

enum pmm_flags {
    PMM_ZERO = 1,  /* contents are zeros; otherwise they are anything */
    PMM_WAIT = 2,  /* before it refuses, let the reclaim hook make room; the hook may sleep */
    PMM_QUICK = 4, /* refuse rather than disturb other processors: what their caches hold, and what
                      only a search of all memory finds, is not found */
};

/* A request for `count` contiguous frames. Zero-initialise, set `count`, and what else matters. */
struct pmm_want {
    uint64_t count;    /* frames, >= 1 */
    uint64_t align;    /* frames, a power of two; 0 means 1 */
    uint64_t limit;    /* every byte given lies below this address; 0 means no limit */
    uint64_t boundary; /* bytes, a power of two >= a page: the block crosses no multiple of it;
                          0 means none */
    unsigned flags;    /* enum pmm_flags */
};

enum pmm_mark { PMM_LOW_MARK, PMM_CRITICAL_MARK, PMM_REFUSAL };

/*
 * Tells that free memory fell below a mark (once, until it has been above again): a wake-up call,
 * which must not sleep, nor call into the pool. With PMM_REFUSAL it is asked to make room for
 * `count` frames for a caller that may wait: it may sleep, and put frames; the return value says
 * whether trying again makes sense.
 */
typedef bool (*pmm_reclaim_fn)(void *ctx, enum pmm_mark mark, uint64_t count);

enum pmm_state {
    PMM_ABSENT, /* not covered by the pool */
    PMM_FREE,
    PMM_USED, /* given, as an allocation or part of one */
    PMM_HELD, /* not given and not free: until pmm_add(), or the pool's own records */
    PMM_BAD,  /* out of service for ever */
    PMM_STATES
};

struct pmm_tally {
    uint64_t frames[PMM_STATES]; /* sums up to the frames asked about */
};

struct pmm_cpu_stats {
    uint64_t cached_frames; /* free, in the processor's cache */
    uint64_t zeroed_frames; /* of those, known to hold zeros */
    uint64_t refills;       /* words of frames fetched for it */
    uint64_t blocks;        /* 2 MiB blocks it went through */
};

struct pmm_stats {
    uint64_t total_frames;   /* that the pool covers: free, used, held or bad */
    uint64_t free_frames;    /* caches included */
    uint64_t held_frames;    /* the pool's own records not included */
    uint64_t bad_frames;     /* out of service */
    uint64_t leaving_frames; /* in use, out of service as soon as they are given back */
    uint64_t record_frames;  /* kept by the pool for its records */
    uint64_t below_4g_free;  /* frames, of free_frames */
    uint64_t largest_free;   /* frames in the longest free run */
    uint64_t outside_2m;     /* frames, of free_frames, that are in no free aligned 2 MiB block */
    uint64_t free_blocks[PMM_MAX_ORDER + 1]; /* maximal naturally aligned free blocks, by order */
    uint64_t stops;                          /* times that all processors' caches were stopped */
    uint64_t refusals;                       /* requests refused after an exact search */
    uint64_t storage_bytes;                  /* borrowed */
    uint64_t open_sections;                  /* GiB sections whose metadata is in use, */
    uint64_t sections;                       /* of so many */
};

/*
 * Storage, in bytes, for a pool over all that pmm_init() covers of `m`; 0 if that is nothing.
 * `ncpus` is from 1 to PMM_MAX_CPUS.
 */
uint64_t pmm_storage_bytes(const struct memmap *m, enum pmm_kind kind, unsigned ncpus);

/*
 * Make a pool for processors [0, ncpus). It covers the regions of `m` that belong to `kind`; of
 * PMM_GENERAL and PMM_LOW those that are MEMMAP_FREE now are FREE, all others HELD until pmm_add();
 * of the other kinds all are FREE. The map is not kept. `storage` is page aligned and `nbytes`
 * long, contents ignored. On MM_OK, *p is the pool inside it. Errors: MM_EINVAL (no such region,
 * `storage` misaligned, `ncpus` out of range), MM_ENOSPC. Context: boot, one CPU. Cost: O(regions +
 * GiB covered).
 */
MM_MUST_CHECK mm_err_t pmm_init(struct pmm **p, const struct memmap *m, enum pmm_kind kind,
                                unsigned ncpus, void *storage, uint64_t nbytes);

/*
 * Memory that has been HELD since pmm_init(), or has been claimed out of the pool at boot, becomes
 * FREE. Errors: MM_EINVAL if count is 0 or wraps, MM_ENOENT if the pool does not cover all of it,
 * MM_EBUSY if any of it is not HELD; nothing changes then.
 */
MM_MUST_CHECK mm_err_t pmm_add(struct pmm *p, pfn_t base, uint64_t count);

/*
 * Take [base, base + count) out of service for ever: what is FREE or HELD at once, what is USED
 * when it is given back. *in_use, unless NULL, is set to the number of frames of the second sort.
 * Errors: MM_EINVAL, MM_ENOENT as above, MM_ENOSPC (PMM_MAX_BAD ranges are out already), MM_ENOMEM
 * (no room for records); nothing changes then. Ranges that touch count as one.
 * Context: not an interrupt handler.
 */
MM_MUST_CHECK mm_err_t pmm_retire(struct pmm *p, pfn_t base, uint64_t count, uint64_t *in_use);

/*
 * Take a naturally aligned block of 2^order frames; PFN_NONE when there is none (pmm_why() says
 * why), or when `order` is above PMM_MAX_ORDER. The caller owns it until pmm_put().
 * Cost: of one frame a few instructions, mostly; up to order 9 bounded, unless it must be refused.
 */
MM_MUST_CHECK pfn_t pmm_get(struct pmm *p, unsigned order, unsigned flags);

/*
 * Take `n` <= PMM_MAX_BATCH single frames; returns how many there were, which is less than `n` only
 * if there are no more. Each is an allocation of its own.
 */
MM_MUST_CHECK unsigned pmm_get_batch(struct pmm *p, pfn_t *pfns, unsigned n, unsigned flags);

/*
 * Take what `want` says, at the lowest place of those that Placement (above) prefers; but a shape
 * that pmm_get() knows (2^order frames, order at most 9, no more than their own alignment asked
 * for, and no limit) comes from where pmm_get() takes it, and as fast.
 * Errors: MM_EINVAL (a count of 0, an alignment or a boundary out of range), and of those that
 * apply the first: MM_ENOMEM (fewer frames are free), MM_ELIMIT (there is a place, but not below
 * the limit), MM_EFRAG (enough frames are free, but nowhere in that shape). With PMM_QUICK nothing
 * else than such shapes is looked for, and MM_EFRAG says only that none was found.
 */
MM_MUST_CHECK mm_err_t pmm_get_range(struct pmm *p, const struct pmm_want *want, pfn_t *base);

/*
 * Take exactly [base, base + count), all or nothing.
 * Errors: MM_EINVAL (0, wraps), MM_ENOENT (not covered), MM_EBUSY (not all free).
 */
MM_MUST_CHECK mm_err_t pmm_claim(struct pmm *p, pfn_t base, uint64_t count);

/* Give back a whole allocation of 2^order frames, naturally aligned, as pmm_get(p, order) gave. */
void pmm_put(struct pmm *p, pfn_t base, unsigned order);

/* Give back `n` <= PMM_MAX_BATCH single frames, as pmm_get(p, 0) or pmm_get_batch() gave. */
void pmm_put_batch(struct pmm *p, const pfn_t *pfns, unsigned n);

/*
 * Give back `count` frames at `base`: the whole or any part of one allocation, whichever call gave
 * it. What remains of it, on either side, stays the caller's, as an allocation of its own.
 */
void pmm_put_range(struct pmm *p, pfn_t base, uint64_t count);

/*
 * Why a block of 2^order frames would be refused now: MM_ENOMEM or MM_EFRAG as of pmm_get_range(),
 * MM_EINVAL for an order that does not exist, MM_OK if it would not be. O(metadata in use).
 */
mm_err_t pmm_why(struct pmm *p, unsigned order);

/* For a processor with nothing to do: zero frames, at most `n`, ahead of need. Returns how many. */
unsigned pmm_fill_zeroed(struct pmm *p, unsigned n);

/* For a processor that will have nothing to do for long: give back its cache. */
void pmm_idle(struct pmm *p);

/*
 * Call `fn` when fewer than `low` frames are free, again when fewer than `critical` <= low are, and
 * when a caller that may wait would be refused. NULL turns it off. Context: no other call runs.
 */
void pmm_set_reclaim(struct pmm *p, uint64_t low, uint64_t critical, pmm_reclaim_fn fn, void *ctx);

/* Is the frame in the pool? O(log regions). */
bool pmm_covers(const struct pmm *p, pfn_t pfn);

/* Is it free? For display and checks: without a lock it may change any time. */
bool pmm_is_free(const struct pmm *p, pfn_t pfn);

/* Frames free now, caches included; exact when no other processor is at work. O(processors). */
uint64_t pmm_free_frames(const struct pmm *p);

/* What the frames of [base, base + count) are. Stops the pool: O(count / 512 + regions). */
void pmm_get_tally(struct pmm *p, pfn_t base, uint64_t count, struct pmm_tally *t);

/* What one frame is. Stops the pool. */
enum pmm_state pmm_get_state(struct pmm *p, pfn_t pfn);

/* The range [*base, *base + *count) that was taken out of service as number `i`; false if there are
 * not so many. */
bool pmm_get_bad(struct pmm *p, unsigned i, pfn_t *base, uint64_t *count);

unsigned pmm_ncpus(const struct pmm *p);
void pmm_get_cpu_stats(struct pmm *p, unsigned cpu, struct pmm_cpu_stats *s);

/* Everything, counted afresh with the pool stopped. O(metadata in use). */
void pmm_get_stats(struct pmm *p, struct pmm_stats *s);

/*
 * Who took the allocation that `pfn` is in: the return address of the pmm call. False if the frame
 * is not in use, or this is not a build with PMM_DEBUG, which keeps 4 bytes a frame for it.
 */
bool pmm_who(struct pmm *p, pfn_t pfn, uint64_t *site);

/*
 * NULL if the invariants of check.c hold, else the first broken one as text. O(metadata in use).
 * Waits until no other processor is amid an operation. A handler that came upon one of its own
 * processor can't: what that may be about to change is not looked at then.
 */
const char *pmm_check(struct pmm *p);

#endif
