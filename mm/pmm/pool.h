/*
 * pool.h - what a frame pool is made of, and the steps its files share; for mm/pmm/ and tests only.
 *
 * pmm.c explains how it all works together. The storage of a pool holds, in this order: struct pmm,
 * the processors' caches, ranges, sections, the directory, three summaries, books, planes of
 * multi-frame allocations for the sections that need one from the start, and the free plane.
 *
 * Units: frames are counted in words (64 frames, one bit each), blocks (2 MiB: 512 frames, 8 words)
 * and sections (1 GiB: 512 blocks). A block's index is its section's index times 512 plus its
 * number there; it has nothing to do with its address.
 */
#ifndef MM_PMM_POOL_H
#define MM_PMM_POOL_H

#include <stdatomic.h>

#include "mm/pmm.h"

#define WORD_FRAMES    UINT64_C(64)
#define BLOCK_SHIFT    9
#define BLOCK_FRAMES   (UINT64_C(1) << BLOCK_SHIFT)
#define BLOCK_WORDS    (BLOCK_FRAMES / 64)
#define SECTION_SHIFT  18 /* 1 GiB, the largest block: so none crosses a section border */
#define SECTION_FRAMES (UINT64_C(1) << SECTION_SHIFT)
#define SECTION_WORDS  (SECTION_FRAMES / 64)
#define SECTION_BLOCKS (SECTION_FRAMES / BLOCK_FRAMES)
#define PLANE_WORDS    (SECTION_BLOCKS / 64) /* of one bit a block */
#define NORDERS        (PMM_MAX_ORDER + 1)
#define LOW_END        UINT64_C(256)       /* first frame at or above 1 MiB */
#define HIGH           (UINT64_C(1) << 20) /* first frame at or above 4 GiB */
#define NO_FRAME       UINT64_MAX
#define NO_BLOCK       UINT64_MAX
#define NO_SECTION     UINT64_MAX
#define MULTI_ORDER    3 /* the plane of multi-frame allocations of one section: 32 KiB */
#define ALL            (~UINT64_C(0))

_Static_assert(SECTION_SHIFT == PMM_MAX_ORDER,
               "a section holds exactly one block of the top order");
_Static_assert(SECTION_WORDS * 8 == MM_PAGE_SIZE << MULTI_ORDER, "a plane is a block of frames");

typedef _Atomic uint64_t aword; /* 64 bits of a plane */

/* Frames [base, end) that the pool covers, as they were at pmm_init(). (const) */
struct range {
    uint64_t base;
    uint64_t end;
    bool free; /* else HELD */
};

/* One GiB with memory of ours in it. */
struct section {
    uint32_t number;   /* (const) frame number >> SECTION_SHIFT */
    _Atomic bool open; /* its book is written; else it is one free block of 1 GiB, or being cut */
    bool leaving;      /* (s) frames of it in use are to be HELD when they are given back */
    bool lax;          /* (s) some multi-frame allocation is not recorded (essay, "Records") */
    aword *multi;      /* (s) its second plane, or NULL; shared with readers that run beside it */
    uint64_t records; /* (s) first of the frames that `multi` lies in; 0: in the storage, or none */
};

/*
 * State of each block of an open section, one bit of each. See pmm.c, "Blocks".
 *
 *     whole split kin
 *       1     0    0   FREE, all of it; the free plane says nothing about it
 *       0     1    0   SPLIT: the frames tell
 *       0     0    0   GIVEN as a whole, the first block of its allocation
 *       0     0    1   GIVEN as a whole, going on with the allocation of the block before
 *       0     1    1   HELD as a whole, or not covered
 */
struct book {
    aword whole[PLANE_WORDS];
    aword split[PLANE_WORDS];
    aword kin[PLANE_WORDS];
    aword some[PLANE_WORDS];  /* a SPLIT block that has free frames has this set (not vice versa) */
    aword owned[PLANE_WORDS]; /* frames may be taken from the block by its owner only */
};

/* Free frames of one word, in a processor's hands. */
struct slot {
    aword mask;             /* which of them */
    _Atomic uint64_t first; /* number of the first frame of the word; NO_FRAME: the slot has none */
    const aword *free;      /* the word in the free plane */
    const aword *multi;     /* the word in the second plane, or one of zeros */
    uint64_t lost;          /* of a SHAKEN hit: what the mask was when the slot was emptied */
    _Atomic uint32_t moves; /* the slot has got another word so often */
};

enum slot_use {
    TAKE, /* from which frames are taken, and put back into: in a block of ours */
    ZERO, /* frames that hold zeros: in another */
    GIVE, /* into which frames are put, and taken again, that are from a word of anybody's */
    SLOTS,
    RUNS = GIVE, /* no slot, only a block: where blocks of 2..256 frames are taken from */
    OWNED_BLOCKS
};

/* What is at work on a processor's cache (stop.c). */
enum work {
    IDLE,
    HIT,    /* a cache hit: interrupts are on */
    SHAKEN, /* a hit, and the slots were emptied under its hands: what they say does not count */
    TURN,   /* any other operation: interrupts are off */
};

/*
 * One processor's cache. Whoever runs on that processor writes it, with `busy` set, or somebody who
 * has stopped it (stop.c).
 */
struct pmm_cpu {
    _Atomic uint32_t busy;   /* enum work */
    _Atomic uint32_t stop;   /* (p) operations must not start */
    _Atomic uint32_t parked; /* an interrupt handler waits, having come upon this: HIT or SHAKEN */
    struct slot slot[SLOTS];

    /* Read by other processors now and then. */
    _Alignas(64) _Atomic uint64_t block[OWNED_BLOCKS]; /* or NO_BLOCK: of TAKE, ZERO, RUNS */
    /* Frames that this processor took out of the planes, less those put: in turns and in hits, as
     * one may come amid the other. */
    _Atomic int64_t taken, hit_taken;

    uint64_t home;   /* (const) section index: where searches begin */
    uint64_t cursor; /* block index: the search for one in use goes on here */
    uint64_t left;   /* frames to take until it begins at `home` again */
    uint64_t swept;  /* blocks since then */
    uint64_t runs;   /* block index: the same for blocks of 2..256 frames */
    aword *hand;     /* the entry that GIVE has marked; `no_hand` if none */
    aword no_hand;
    uint64_t last;    /* number of the word into which the last single frame was put */
    aword *spot;      /* of a plane of whole blocks: the word from which the last was taken, */
    uint64_t spot_at; /* and the number of its first frame; NULL if it is not to be used again */
    _Atomic uint64_t refills;
    _Atomic uint64_t nblocks;
} __attribute__((aligned(128)));

enum zone { ZONE_BELOW_4G, ZONE_ABOVE_4G, ZONES };

/* A range out of service, or leaving it. */
struct bad {
    uint64_t base;
    uint64_t count;
};

/* Locking: (const) set by pmm_init   (s) with the pool stopped   (p) pool lock */
struct pmm {
    struct mm_lock lock;
    enum pmm_kind kind;       /* (const) */
    unsigned ncpus;           /* (const) */
    uint64_t nsections;       /* (const) */
    struct section *sections; /* by number; the array is (const) */
    struct book *books;       /* one a section */
    aword *frames;            /* the free plane: SECTION_WORDS a section */
    aword *hands;             /* words that GIVE slots have, where hand_of() says */
    uint64_t hand_mask;       /* (const) entries there, less one */

    /* (const) The directory: dir[(number - dir_first) >> dir_shift] is the index of the first
     * section whose number is not below that of the entry. One entry more ends it. */
    uint32_t *dir;
    uint64_t dir_first, ndir;
    unsigned dir_shift;

    /* One bit a section. */
    aword *closed;     /* free as one, not open */
    aword *some_whole; /* open, and some block is whole (not vice versa) */
    aword *some_free;  /* open, and some block has `some` (not vice versa) */
    uint64_t nsum;     /* (const) words in each */

    uint64_t zone_begin[ZONES + 1]; /* (const) sections of zone z: [zone_begin[z], [z + 1]) */
    struct pmm_cpu *cpus;
    _Atomic uint32_t none; /* bit n: no block of order n is free; set (s), cleared by who puts */
    uint64_t stretch;      /* (const) frames to take before a search begins at home again */

    struct range *ranges; /* (const) by address */
    uint64_t nranges;     /* (const) */
    uint64_t total;       /* (const) frames covered */

    _Atomic int64_t held;     /* (s) frames HELD, but for the pool's records; BAD ones included */
    _Atomic uint64_t records; /* (s) frames that hold planes of ours */
    struct bad bad[PMM_MAX_BAD]; /* (s) */
    unsigned nbad;               /* (s) */
    uint64_t leaving;            /* (s) frames in use that are in `bad` */

    pmm_reclaim_fn reclaim; /* (const) from pmm_set_reclaim() on, like the next three */
    void *reclaim_ctx;
    uint64_t low, critical;
    _Atomic uint32_t below; /* marks that free memory is below, as told to `reclaim` */

    bool hit_waits;         /* (s) a processor was stopped amid a hit */
    uint64_t stops;         /* (s) */
    uint64_t refusals;      /* (s) */
    uint64_t storage_bytes; /* (const) */
#ifdef PMM_DEBUG
    _Atomic uint32_t *sites; /* by frame, SECTION_FRAMES a section: who took it */
#endif
};

/* ---- planes ---------------------------------------------------------------------------------- */

/* In one order with the changes of bits: who makes one and then looks sees what came before. */
static inline uint64_t load(const aword *w)
{
    return atomic_load_explicit(w, memory_order_seq_cst);
}

static inline void store(aword *w, uint64_t v)
{
    atomic_store_explicit(w, v, memory_order_release);
}

static inline uint64_t set_bits(aword *w, uint64_t mask)
{
    return atomic_fetch_or_explicit(w, mask, memory_order_seq_cst);
}

static inline uint64_t clear_bits(aword *w, uint64_t mask)
{
    return atomic_fetch_and_explicit(w, ~mask, memory_order_seq_cst);
}

static inline uint64_t bit(uint64_t i)
{
    return UINT64_C(1) << (i & 63);
}

/* Of a plane with one bit a block (of a section) or a section (of the pool). */
static inline bool test_bit(const aword *plane, uint64_t i)
{
    return (load(&plane[i / 64]) & bit(i)) != 0;
}

static inline bool set_bit(aword *plane, uint64_t i) /* was it set? */
{
    return (set_bits(&plane[i / 64], bit(i)) & bit(i)) != 0;
}

static inline bool clear_bit(aword *plane, uint64_t i) /* was it set? */
{
    return (clear_bits(&plane[i / 64], bit(i)) & bit(i)) != 0;
}

/* Set bits that are set already more often than not: a line that is only read stays shared. */
static inline void want_bits(aword *w, uint64_t mask)
{
    if ((load(w) & mask) != mask) {
        set_bits(w, mask);
    }
}

static inline void want_bit(aword *plane, uint64_t i)
{
    want_bits(&plane[i / 64], bit(i));
}

static inline unsigned count_bits(uint64_t v)
{
    v -= v >> 1 & UINT64_C(0x5555555555555555);
    v = (v & UINT64_C(0x3333333333333333)) + (v >> 2 & UINT64_C(0x3333333333333333));
    v = (v + (v >> 4)) & UINT64_C(0x0f0f0f0f0f0f0f0f);
    return (unsigned)(v * UINT64_C(0x0101010101010101) >> 56);
}

/* Bits [off, end) of the word that holds bit `off`. */
static inline uint64_t word_mask(uint64_t off, uint64_t end)
{
    uint64_t mask = ALL << (off & 63);

    if (end < (off | 63) + 1) {
        mask &= ~(ALL << (end & 63));
    }
    return mask;
}

/* ---- places ---------------------------------------------------------------------------------- */

static inline uint64_t section_base(const struct pmm *p, uint64_t s)
{
    return (uint64_t)p->sections[s].number << SECTION_SHIFT;
}

static inline uint64_t block_base(const struct pmm *p, uint64_t b)
{
    return section_base(p, b / SECTION_BLOCKS) + b % SECTION_BLOCKS * BLOCK_FRAMES;
}

static inline struct book *book_of(const struct pmm *p, uint64_t b)
{
    return &p->books[b / SECTION_BLOCKS];
}

/* The BLOCK_WORDS words of block `b` in the free plane. */
static inline aword *block_free(const struct pmm *p, uint64_t b)
{
    return &p->frames[b * BLOCK_WORDS];
}

/* The same in the plane of multi-frame allocations; NULL where there is none. */
static inline aword *block_multi(const struct pmm *p, uint64_t b)
{
    aword *multi = p->sections[b / SECTION_BLOCKS].multi;

    return multi != NULL ? &multi[b % SECTION_BLOCKS * BLOCK_WORDS] : NULL;
}

static inline enum zone zone_of(const struct pmm *p, uint64_t s)
{
    return s >= p->zone_begin[ZONE_ABOVE_4G] ? ZONE_ABOVE_4G : ZONE_BELOW_4G;
}

/* Index of the first range that ends after `pfn`; nranges if there is none. */
uint64_t range_ending_after(const struct pmm *p, uint64_t pfn);

/* Index of the first section whose number is not below `number`; nsections if there is none. */
uint64_t section_from(const struct pmm *p, uint64_t number);

/* Index of the section that holds `pfn`, if it is the first that its entry of the directory stands
 * for; else, or if the pool has none there, NO_SECTION. */
static inline uint64_t section_first(const struct pmm *p, uint64_t pfn)
{
    uint64_t number = pfn >> SECTION_SHIFT;
    uint64_t at = (number - p->dir_first) >> p->dir_shift; /* huge if below the first */

    if (at >= p->ndir) {
        return NO_SECTION;
    }
    uint64_t s = p->dir[at]; /* exists: the last entry's is the last section */
    return p->sections[s].number == number ? s : NO_SECTION;
}

/* Index of the section that holds `pfn`; NO_SECTION if the pool has none there. O(1), but where
 * sections are so far apart that they share entries of the directory: O(log). */
static inline uint64_t section_of(const struct pmm *p, uint64_t pfn)
{
    uint64_t number = pfn >> SECTION_SHIFT;
    uint64_t s = section_first(p, pfn);

    if (s != NO_SECTION || p->dir_shift == 0) {
        return s;
    }
    s = section_from(p, number);
    return s < p->nsections && p->sections[s].number == number ? s : NO_SECTION;
}

/* The block of a frame in a section of ours. */
static inline uint64_t block_of(const struct pmm *p, uint64_t pfn)
{
    return section_of(p, pfn) * SECTION_BLOCKS + pfn % SECTION_FRAMES / BLOCK_FRAMES;
}

/* ---- operations (pmm.c) ---------------------------------------------------------------------- */

/* Stop the machine: [pfn, pfn + count) was put, and `culprit` among them is what `what` says. */
_Noreturn void bad_put(uint64_t pfn, uint64_t count, const void *site, uint64_t culprit,
                       const char *what);

/* pmm_get() and pmm_put() for `site`, but for what is done at once. Poison is put before. */
pfn_t get_block(struct pmm *p, unsigned order, unsigned flags, const void *site);
void put_block(struct pmm *p, uint64_t pfn, unsigned order, const void *site);

/* Give what a slot holds back to the planes, as empty_cache() does; returns what that was. */
uint64_t empty_slot(struct pmm *p, struct pmm_cpu *c, enum slot_use use);

/* Which frames of the word of `first`, of block `b`, are free, in the hands of processors? Only a
 * block with an owner, or a word that is marked, has such. */
uint64_t frames_in_hand(const struct pmm *p, uint64_t b, uint64_t first);

static inline bool frame_is_in_hand(const struct pmm *p, uint64_t pfn)
{
    return (frames_in_hand(p, block_of(p, pfn), pfn & ~UINT64_C(63)) & bit(pfn)) != 0;
}

/* Where it says which word with this remainder is in a GIVE slot: its first frame, and bit 0; or 0.
 */
static inline aword *hand_of(const struct pmm *p, uint64_t first)
{
    return &p->hands[first / WORD_FRAMES & p->hand_mask];
}

static inline bool is_marked(const struct pmm *p, uint64_t first)
{
    return load(hand_of(p, first)) == (first | 1);
}

/* Frames left the planes, or came back (n < 0). */
static inline void count_taken(_Atomic int64_t *taken, int64_t n)
{
    atomic_store_explicit(taken, atomic_load_explicit(taken, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

/* Fill frames with zeros. */
void zero_frames(uint64_t pfn, uint64_t count);

/* Something is free that was not: what was refused before may be there now. */
static inline void forget_refusals(struct pmm *p)
{
    if (atomic_load_explicit(&p->none, memory_order_relaxed) != 0) {
        atomic_store_explicit(&p->none, 0, memory_order_relaxed);
    }
}

/* The caller may wait: ask for room for `count` frames. Is it worth trying again? */
bool ask_reclaim(struct pmm *p, uint64_t count);

/* Tell who reclaims when free memory went below a mark. In no turn, the pool not stopped. */
void check_marks(struct pmm *p);

#ifdef PMM_DEBUG
/* Keep who took the frames, for each of them: parts of an allocation may stay when others go. */
void note_site(struct pmm *p, uint64_t pfn, uint64_t count, const void *site);

/* Before a block, or any part of an allocation, is put: check that it may be, and fill it so that
 * use after put shows. */
void poison_put(struct pmm *p, uint64_t pfn, unsigned order, const void *site);
void poison_put_range(struct pmm *p, uint64_t pfn, uint64_t count, const void *site);

/* Fill frames so that use before the first write shows. */
void poison_get(struct pmm *p, uint64_t pfn, uint64_t count);
#else
#define note_site(p, pfn, count, site)        ((void)(site))
#define poison_put(p, pfn, order, site)       ((void)(site))
#define poison_put_range(p, pfn, count, site) ((void)(site))
#define poison_get(p, pfn, count)             ((void)0)
#endif

/* ---- blocks (block.c) ------------------------------------------------------------------------ */

/* What a frame is; a frame of an open section or not. */
enum frame_is {
    IS_ABSENT, /* its section is none of ours */
    IS_FREE,
    IS_SINGLE, /* given alone */
    IS_HEAD,   /* the first frame of an allocation of several */
    IS_BODY,   /* any other frame of it */
    IS_HELD,   /* not given; or not covered */
};

/*
 * True to the moment for a frame that the caller owns, and for any with the pool stopped; else it
 * may be out of date. Free frames in a processor's slot are IS_SINGLE here.
 */
enum frame_is frame_is(const struct pmm *p, uint64_t pfn);

/* Does the frame go on with the allocation of the one before it? */
bool frame_is_body(const struct pmm *p, uint64_t pfn);

/* Write the book of section `s`, which is not open, from the ranges; its blocks are not for others
 * to see until then: it is either not in use yet, or the caller has cleared its bit in `closed`. */
void open_section(struct pmm *p, uint64_t s);

/*
 * Make a block that the caller owns as a whole (it has cleared `whole`, or is given to it) a SPLIT
 * one with all frames free, or with those free that `free_words` says and the others IS_SINGLE.
 */
void split_block(struct pmm *p, uint64_t b, const uint64_t *free_words);

bool is_split(const struct pmm *p, uint64_t b);

/* Become the owner of SPLIT block `b`; false if it has one or is no more SPLIT. */
bool try_own(struct pmm *p, uint64_t b);

/* Cease to be the owner; the block becomes whole if all of its frames are free. */
void disown(struct pmm *p, uint64_t b);

/* Frames were put into `b`, by who need not own it: it becomes whole if all are free. */
void merge_if_full(struct pmm *p, uint64_t b);

/* Frames of word `w` of block `b` that are free in the plane. */
static inline uint64_t free_in_word(const struct pmm *p, uint64_t b, unsigned w)
{
    const aword *multi = block_multi(p, b);
    uint64_t taken = multi != NULL ? load(&multi[w]) : 0; /* before the free plane */

    return load(&block_free(p, b)[w]) & ~taken;
}

/* A SPLIT block has free frames: let searches find it. */
static inline void show_free(struct pmm *p, uint64_t b)
{
    want_bit(book_of(p, b)->some, b % SECTION_BLOCKS);
    want_bit(p->some_free, b / SECTION_BLOCKS);
}

/* Own a SPLIT block of zone `z` that has, or had, free frames: the first from block `from` on, then
 * from the beginning of the zone; NO_BLOCK if there is none to be seen without an owner. */
uint64_t own_some(struct pmm *p, enum zone z, uint64_t from);

/* Take a whole block off the plane in zone `z`, looking from section `home` on; NO_BLOCK if there
 * is none to be seen. It is GIVEN then. Opens a section if need be. */
uint64_t take_whole(struct pmm *p, enum zone z, uint64_t home);

/* ---- stopping (stop.c) ----------------------------------------------------------------------- */

static inline enum work work_on(const struct pmm_cpu *c)
{
    return (enum work)atomic_load_explicit(&c->busy, memory_order_acquire);
}

static inline void set_work(struct pmm_cpu *c, enum work work)
{
    atomic_store_explicit(&c->busy, work, memory_order_release);
    atomic_signal_fence(memory_order_seq_cst); /* before `stop`: the barrier is the other side's */
}

static inline bool must_wait(const struct pmm_cpu *c)
{
    return __builtin_expect(atomic_load_explicit(&c->stop, memory_order_acquire) != 0, 0);
}

/* The caller's. */
static inline struct pmm_cpu *this_cpu(const struct pmm *p)
{
    unsigned cpu = port_cpu();

    MM_ASSERT(cpu < p->ncpus);
    return &p->cpus[cpu];
}

/* An operation that is no hit: interrupts are off while it lasts. */
struct turn {
    struct pmm_cpu *c; /* the caller's */
    enum work upon;    /* what it came upon: a hit's slots are not to be touched */
    uint64_t irq;
};

static inline bool is_nested(const struct turn *t)
{
    return t->upon != IDLE;
}

/* Wait while `c`, the caller's, is stopped. */
void wait_turn(struct turn *t);

static inline void begin_turn(struct pmm *p, struct turn *t)
{
    t->c = this_cpu(p);
    t->irq = port_irq_save();
    t->upon = work_on(t->c);
    set_work(t->c, TURN);
    if (must_wait(t->c)) {
        wait_turn(t);
    }
}

static inline void end_turn(struct turn *t)
{
    set_work(t->c, t->upon);
    port_irq_restore(t->irq);
}

/*
 * Keep every other operation out, empty all caches into the planes, and merge what can be merged.
 * The caller is in no operation. Between stop_all() and go_on() everything in the pool is the
 * caller's alone.
 */
uint64_t stop_all(struct pmm *p);

/* As stop_all(), at a moment when no other processor is stopped amid a hit. The caller is no
 * handler that came upon one. */
uint64_t stop_at_rest(struct pmm *p);

void go_on(struct pmm *p, uint64_t irq);

/*
 * Give what the cache of `c` holds back to the planes, and its blocks. For its own processor, or
 * stopped. `upon` is the work found there, without turns that are the caller's or wait; returns
 * what it is now: a HIT is SHAKEN.
 */
enum work empty_cache(struct pmm *p, struct pmm_cpu *c, enum work upon);

/* ---- with the pool stopped (exact.c) --------------------------------------------------------- */

/* The lowest block of 2^order frames by placement, taken; NO_FRAME if there is none at all. */
uint64_t exact_get(struct pmm *p, unsigned order);

/* Give a section its second plane. If none can be had, it is lax from now on. */
void exact_attach(struct pmm *p, uint64_t s);

/* Take frames that are all free / give back part of one allocation; any length. */
void exact_take(struct pmm *p, uint64_t base, uint64_t count);
void exact_put(struct pmm *p, uint64_t base, uint64_t count, const void *site);

/* What is wrong with giving back [base, base + count) as one whole block (`whole`) or as part
 * of an allocation, and of which frame; NULL if nothing is. */
const char *exact_blame(const struct pmm *p, uint64_t base, uint64_t count, bool whole,
                        uint64_t *culprit);

/* ---- searching, with the pool stopped (search.c) --------------------------------------------- */

/* A shape of contiguous frames. */
struct wish {
    uint64_t count;
    uint64_t align;    /* a power of two */
    uint64_t boundary; /* frames, a power of two; 0: none */
};

/* The best place by placement of those in [lo, hi) that are free; NO_FRAME if there is none. */
uint64_t find_place(const struct pmm *p, const struct wish *w, uint64_t lo, uint64_t hi);

/* ---- counting, with the pool stopped (stats.c) ----------------------------------------------- */

/* All that is free. */
struct scan {
    uint64_t free;            /* frames */
    uint64_t below_4g;        /* of them */
    uint64_t largest;         /* frames in the longest run */
    uint64_t blocks[NORDERS]; /* maximal naturally aligned ones, by order */
    uint64_t run, run_end;    /* the run that the walk is in: its length, and where it ends */
};

void scan_free(const struct pmm *p, struct scan *sc);

/* How many of the frames [base, end) are free, how many in use. O(count / 512 + open sections). */
void count_frames(const struct pmm *p, uint64_t base, uint64_t end, uint64_t *nfree,
                  uint64_t *nused);

#endif
