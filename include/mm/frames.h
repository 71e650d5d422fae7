/*
 * frames.h - the frame table: who uses a frame, and how often.
 *
 * Model:    an array of 16 bytes a frame, indexed by frame number, in a window of addresses behind
 *           which there is no memory at first. A GiB of frames gets its entries as a whole, when
 *           frames_populate() first asks for one of them: as much memory as describes frames of the
 *           pools, 4 MiB if they cover all of it, and none for holes. It stays for good.
 *
 *           An entry of zeros says nothing about its frame: it is free, or its user does not count.
 *           Who wants to share a frame, or to find its users again, gives it a first reference and
 *           an owner by frame_adopt(). Whoever drops the last reference gives the frame back to its
 *           pool. A block that is used as one (a large page) is counted at its first frame.
 *
 * Owners:   a kind, a link and an index, which the table keeps and never follows. They are what
 *           leads from a frame back to the page-table entries that show it:
 *
 *               kind          link to                             index
 *               FRAME_ANON    what the sharers of anonymous       page of it
 *                             memory have in common
 *               FRAME_FILE    the cached pages of a file          page of the file
 *               FRAME_TABLE   the address space                   level of the table
 *               FRAME_STORE   the compressed store of swap        as the store likes
 *
 *           2^32 pages are 16 TiB: what is larger needs several owners. State that is not here has
 *           another home: accessed and dirty in page-table entries, swap slots with the owner.
 *
 * Locking:  none inside; references are atomic. Kind, link and index are changed by holders of a
 *           reference that keep each other out by a lock of theirs; who reads them without it has
 *           a hint, and may see the link of one owner with the index of another.
 *
 * Memory:   the caller owns the window, gives and takes what is behind it (struct frames_backing),
 *           and lends a little storage for ever.
 */
#ifndef MM_FRAMES_H
#define MM_FRAMES_H

#include <stdatomic.h>

#include "mm/pmm.h"

#define FRAMES_SECTION_SHIFT  18 /* frames in a GiB */
#define FRAMES_GROUP_SECTIONS 8192u
#define FRAMES_MAX_GROUPS     512u /* of 8 TiB: 52 bits of physical address, as many as there are */
#define FRAME_MAX_REFS        UINT32_C(0x7fffffff)

enum frame_kind { FRAME_UNOWNED, FRAME_ANON, FRAME_FILE, FRAME_TABLE, FRAME_STORE, FRAME_KINDS };

struct frame {
    _Atomic uint32_t refs;
    _Atomic uint32_t index;
    _Atomic uint64_t owner; /* enum frame_kind in bits 2 to 0, the link above */
};
_Static_assert(sizeof(struct frame) == 16, "16 bytes a frame");

struct frame_owner {
    enum frame_kind kind;
    uint32_t index;
    uint64_t link; /* a multiple of 8 */
};

/* What the memory behind the window comes from. Called without a lock of the table's, but never for
 * the same bytes at the same time. Offsets and sizes are whole pages. */
struct frames_backing {
    /* Zeroed memory behind [offset, offset + nbytes), all or nothing: MM_OK or MM_ENOMEM. */
    mm_err_t (*back)(void *ctx, uint64_t offset, uint64_t nbytes);
    /* Undo that: nobody has seen it yet. */
    void (*drop)(void *ctx, uint64_t offset, uint64_t nbytes);
    void *ctx;
};

/* One bit for each GiB of 8 TiB. */
struct frames_group {
    _Atomic uint64_t made[FRAMES_GROUP_SECTIONS / 64]; /* its entries are there, for ever */
    _Atomic uint64_t busy[FRAMES_GROUP_SECTIONS / 64]; /* somebody is making them */
};

/* All but `backed_pages` is set by frames_init(). */
struct frame_table {
    struct frame *entries;                         /* the window: entries[frame number] */
    struct frames_group *group[FRAMES_MAX_GROUPS]; /* NULL where the pools have nothing */
    struct pmm *pool[PMM_KINDS];
    unsigned npools;
    struct frames_backing backing;
    _Atomic uint64_t backed_pages;
};

struct frames_stats {
    uint64_t sections;     /* GiB that have their entries */
    uint64_t backed_bytes; /* of memory behind the window */
};

/* Bytes of the window, from frame 0 to the last one that any of `pools` covers: whole pages. In
 * this and the next two, entries of `pools` may be NULL: kinds of memory that the machine has not.
 */
uint64_t frames_window_bytes(struct pmm *const *pools, unsigned npools);

/* Bytes of storage: 2 KiB for each 8 TiB in which the pools have memory. */
uint64_t frames_storage_bytes(struct pmm *const *pools, unsigned npools);

/*
 * Make a table, without entries yet, for the frames of `npools` <= PMM_KINDS pools. `window` is
 * page aligned and frames_window_bytes() long; `storage` is aligned to 8, contents ignored.
 * Errors: MM_EINVAL (`npools`, no frames at all, `window` misaligned), MM_ENOSPC.
 * Context: boot, one CPU.
 */
MM_MUST_CHECK mm_err_t frames_init(struct frame_table *t, void *window, struct pmm *const *pools,
                                   unsigned npools, const struct frames_backing *backing,
                                   void *storage, uint64_t nbytes);

/*
 * See to it that frames [base, base + count) have their entries: each GiB all or nothing, for ever.
 * Waits, if another processor is at work on one.
 * Errors: MM_EINVAL (0, wraps), MM_ENOENT (not all of it is in the pools), MM_ENOMEM: the GiB at
 * which memory ran out has got nothing, those below it have their entries.
 * Context: the caller holds no lock; not from interrupt handlers.
 * Cost: O(GiB) where they are there, else that of clearing 4 MiB for each.
 */
MM_MUST_CHECK mm_err_t frames_populate(struct frame_table *t, pfn_t base, uint64_t count);

/* The entry of a frame that is in the pools; NULL if it has none yet. Of another frame, what is
 * returned may not be touched. Any context. O(1). */
static inline struct frame *frame_entry(const struct frame_table *t, pfn_t pfn)
{
    uint64_t section = pfn.v >> FRAMES_SECTION_SHIFT;
    uint64_t n = section / FRAMES_GROUP_SECTIONS, i = section % FRAMES_GROUP_SECTIONS;
    const struct frames_group *g = n < FRAMES_MAX_GROUPS ? t->group[n] : NULL;

    if (g == NULL ||
        (atomic_load_explicit(&g->made[i / 64], memory_order_acquire) >> (i & 63) & 1) == 0) {
        return NULL;
    }
    return &t->entries[pfn.v];
}

/* Is the frame in one of the pools? O(log regions). */
bool frames_cover(const struct frame_table *t, pfn_t pfn);

/* Is there memory behind byte `offset` of the window? O(log regions). */
bool frames_is_backed(const struct frame_table *t, uint64_t offset);

/*
 * Give the frame of `f`, just taken from its pool, its first reference, and an owner. Stops the
 * machine if it has one.
 */
void frame_adopt(struct frame *f, struct frame_owner o);

/*
 * One reference more. The caller holds one, or keeps those that do from dropping it; none, or more
 * than FRAME_MAX_REFS, stops the machine.
 */
void frame_ref(struct frame *f);

/*
 * One reference more, unless there is none or there are FRAME_MAX_REFS: false then. For who comes
 * by a frame that may just be given back, and for references of which programs decide how many
 * there are: copy instead.
 */
MM_MUST_CHECK bool frame_try_ref(struct frame *f);

/*
 * One reference less: the caller's. True if it was the last: the entry is zeros again then, and the
 * frame is the caller's to give back. None left stops the machine.
 */
MM_MUST_CHECK bool frame_unref(struct frame *f);

/* How many there are; a hint, unless the caller keeps others from changing it. */
static inline uint32_t frame_refs(const struct frame *f)
{
    return atomic_load_explicit(&f->refs, memory_order_acquire);
}

/* Change the owner of a frame to which the caller holds a reference; to none stops the machine. */
void frame_set_owner(struct frame *f, struct frame_owner o);

/* FRAME_UNOWNED if there are no references. */
struct frame_owner frame_get_owner(const struct frame *f);

/* "anonymous memory", ... Never NULL. */
const char *frame_kind_name(enum frame_kind kind);

void frames_get_stats(const struct frame_table *t, struct frames_stats *s);

/*
 * NULL if the invariants of frames.c hold, else the first broken one as text. Reads every entry
 * that is there. Exact while no other processor changes the table or the pools.
 */
const char *frames_check(const struct frame_table *t);

#endif
