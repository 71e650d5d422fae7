/*
 * pmm.c - the frame pool: getting and putting.
 *
 * What is kept. A bit a frame, five bits a block of 2 MiB, one a section of 1 GiB that is free as a
 * whole; no lists, no counters, no record of a frame. A free block is whatever aligned run of
 * frames is free, so that coalescing cannot be late. What a frame is, its block tells first:
 *
 *     whole split kin    the block is
 *       1     0    0     FREE as a whole; its bits in the free plane say nothing
 *       0     0    0     GIVEN as a whole, and the first block of its allocation
 *       0     0    1     GIVEN as a whole, going on with the allocation of the block before
 *       0     1    1     HELD as a whole, or not covered
 *       0     1    0     SPLIT: ask the planes of frames
 *
 *     free multi         the frame, of a SPLIT block, is
 *       1     0          FREE
 *       0     0          SINGLE: given alone. Or it is in a processor's hand
 *       1     1          HEAD, the first of an allocation of several, if a BODY follows; else HELD
 *       0     1          BODY, going on with the allocation of the frame before
 *
 * Most memory is given frame by frame, or by whole blocks. So the second plane, `multi`, is there
 * for sections only in which it says something; where it is not, it counts as zeros. A section gets
 * it at pmm_init(), or, when the first run of frames is to be taken from one of its blocks, out of
 * the pool: 8 frames for a GiB. That is what keeps metadata at one bit a frame, and still lets
 * every put be checked, always: that the frames are in use, that they are one allocation, that they
 * were given at all.
 *
 * Who may do what at the same time is said in block.c: frames are taken from a block by its owner
 * only, and put by anybody. How an operation is kept from another's on the same cache, in stop.c.
 *
 * Single frames. A processor owns the block that it takes frames from, and takes them a word of 64
 * at a time: one atomic instruction, and the rest are hits in its slot TAKE, with plain ones. A
 * frame that is put goes into a slot that has its word, which is a hit again. If the slot GIVE is
 * empty it gets the word, whoever owns the block: frames are then put and taken in turns without a
 * change to what is shared. Else the frame goes into the plane, with one atomic instruction; but
 * two in a row from one word make it GIVE's, and the rest of the word is gathered there.
 *
 * A frame in somebody's hand looks, in the planes, like one that was given. Which words to ask
 * about, when one is put, say the block's owner, for TAKE, and a table of marks, for GIVE: words
 * in GIVE slots, by the low bits of their numbers. A word whose entry is taken is not gathered. So
 * mostly two looks tell a frame that is put twice, whoever has it.
 *
 * Which block. The one with the lowest address of those in use that have free frames, so that those
 * at the other end have time to become whole; only then one that is whole. But to look for the
 * lowest again for each block finds blocks with one free frame each, when frames are put at random.
 * So a search goes on where the last one ended, for a stretch of frames, an eighth of the pool, or
 * until it comes to where more than half of a block is free; there it begins again, if blocks had
 * enough frames since it did so last. Processors begin at sections far from each other.
 *
 * Runs of 2 to 256 frames come from blocks of their own, which a processor owns as it does the
 * others. If some blocks in use have no such run, a whole one is cut. Order 9 is one bit. All
 * beyond that, and whatever these quick ways do not find, is looked for with the pool stopped
 * (exact.c).
 *
 * Refusals. What the quick ways do not find may be in the hands of another processor, or move while
 * we look. So nothing is refused before the pool has been stopped, all caches emptied and all of it
 * searched. That is remembered in `none`, by order, until something is put.
 *
 * Rejected: free lists threaded through frames (each put writes to a frame; a stray write breaks
 * the pool); a record for each frame, as Linux has (16 GiB for a TiB, written at start-up);
 * counters of free frames by block (one more cache line to share, and to be kept right); magazines
 * of frames (a put cannot be checked without writing to something shared); a GIVE slot that owns
 * its block (two more atomic instructions where frames are put at random).
 *
 * Invariants: check.c has them, numbered.
 */
#include "mm/pmm.h"

#include "pool.h"

/* Blocks that are searched for a run of 2..256 frames before a whole one is cut. */
#define RUN_TRIES 16

/* Frames that a block must have had, on average since a search began at home, to begin there again.
 */
#define WORTHWHILE 24

/* ---- small things ---------------------------------------------------------------------------- */

void bad_put(uint64_t pfn, uint64_t count, const void *site, uint64_t culprit, const char *what)
{
    port_panic("pmm: put of %#llx (%llu frame%s) by %p: frame %#llx %s",
               (unsigned long long)pa_of_pfn(pfn_make(pfn)).v, (unsigned long long)count,
               count == 1 ? "" : "s", site, (unsigned long long)pa_of_pfn(pfn_make(culprit)).v,
               what);
}

/* One more of what only this processor counts. */
static void bump(_Atomic uint64_t *count)
{
    atomic_store_explicit(count, atomic_load_explicit(count, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static bool is_refused(const struct pmm *p, unsigned order)
{
    return (atomic_load_explicit(&p->none, memory_order_relaxed) >> order & 1) != 0;
}

static uint64_t owned(const struct pmm_cpu *c, unsigned use)
{
    return atomic_load_explicit(&c->block[use], memory_order_acquire);
}

static void set_owned(struct pmm_cpu *c, unsigned use, uint64_t b)
{
    atomic_store_explicit(&c->block[use], b, memory_order_release);
}

/* A word of frames of an open section. */
struct word {
    uint64_t first;     /* frame */
    uint64_t b;         /* its block */
    aword *avail;       /* in the free plane */
    const aword *multi; /* in the second plane, or one of zeros */
};

static inline struct word word_at(const struct pmm *p, uint64_t s, uint64_t pfn)
{
    static const aword no_multi;
    const aword *multi = p->sections[s].multi;
    uint64_t w = pfn % SECTION_FRAMES / 64;

    return (struct word){
        .first = pfn & ~UINT64_C(63),
        .b = s * SECTION_BLOCKS + w / BLOCK_WORDS,
        .avail = &p->frames[s * SECTION_WORDS + w],
        .multi = multi != NULL ? &multi[w] : &no_multi,
    };
}

/* Frames of the word that were not given alone. */
static inline uint64_t not_single(const struct word *at)
{
    uint64_t multi = load(at->multi); /* before the free plane */

    return multi | load(at->avail);
}

static _Noreturn __attribute__((noinline)) void blame_word(uint64_t first, uint64_t mask,
                                                           uint64_t was, const void *site)
{
    bad_put(first + (unsigned)__builtin_ctzll(mask), count_bits(mask), site,
            first + (unsigned)__builtin_ctzll(was & mask), "is free already");
}

/*
 * Put the `count` frames of `mask` into the plane, for who counts what is `taken`; interrupts are
 * off, or the caller merges the block if it says that the word is full. (Pointers are made before
 * they are used: an atomic access has the compiler load all of *p anew.)
 */
static inline bool put_bits(struct pmm *p, _Atomic int64_t *taken, const struct word *at,
                            uint64_t mask, unsigned count, const void *site)
{
    aword *some = &book_of(p, at->b)->some[at->b % SECTION_BLOCKS / 64];
    aword *sum = &p->some_free[at->b / SECTION_BLOCKS / 64];
    uint64_t was = set_bits(at->avail, mask);

    if ((was & mask) != 0) {
        blame_word(at->first, mask, was, site);
    }
    count_taken(taken, -(int64_t)count);
    want_bits(some, bit(at->b));
    want_bits(sum, bit(at->b / SECTION_BLOCKS));
    forget_refusals(p);
    return (was | mask) == ALL;
}

static inline void put_word(struct pmm *p, _Atomic int64_t *taken, const struct word *at,
                            uint64_t mask, unsigned count, const void *site)
{
    if (put_bits(p, taken, at, mask, count, site)) {
        merge_if_full(p, at->b);
    }
}

/* ---- slots ----------------------------------------------------------------------------------- */

/* Give an empty slot a word. */
static inline void set_word(struct slot *s, const struct word *at)
{
    /* For frames_in_hand(): who reads `moves` twice alike has read word and mask of one time. */
    atomic_store_explicit(&s->moves, atomic_load_explicit(&s->moves, memory_order_relaxed) + 1,
                          memory_order_release);
    atomic_store_explicit(&s->first, at->first, memory_order_release);
    s->free = at->avail;
    s->multi = at->multi;
    s->lost = 0; /* of this word: a hit that was shaken before may have come here */
}

/* GIVE has the word of `first` from now on. Two that say so of one entry at one instant lose one of
 * the marks: who puts that frame once more meanwhile is not caught (docs/pmm.md, "Limits"). */
static inline void mark(struct pmm_cpu *c, aword *hand, uint64_t first)
{
    store(c->hand, 0);
    c->hand = hand;
    store(hand, first | 1);
}

static inline void unmark(struct pmm_cpu *c)
{
    store(c->hand, 0);
    c->hand = &c->no_hand; /* the entry is anybody's now */
}

uint64_t empty_slot(struct pmm *p, struct pmm_cpu *c, enum slot_use use)
{
    struct slot *s = &c->slot[use];
    uint64_t first = atomic_load_explicit(&s->first, memory_order_relaxed);
    uint64_t mask = load(&s->mask);

    if (mask != 0) {
        struct word at = word_at(p, section_of(p, first), first);

        store(&s->mask, 0);
        put_word(p, &c->taken, &at, mask, count_bits(mask), NULL);
    }
    atomic_store_explicit(&s->first, NO_FRAME, memory_order_relaxed);
    if (use == GIVE) {
        unmark(c);
    }
    return mask;
}

uint64_t frames_in_hand(const struct pmm *p, uint64_t b, uint64_t first)
{
    bool marked = is_marked(p, first);
    uint64_t in_hand = 0;

    for (unsigned i = 0; i < p->ncpus; i++) {
        const struct pmm_cpu *c = &p->cpus[i];

        for (unsigned use = 0; use < SLOTS; use++) {
            const struct slot *s = &c->slot[use];

            if (use == GIVE ? !marked : owned(c, use) != b) {
                continue;
            }
            uint32_t moves = atomic_load_explicit(&s->moves, memory_order_acquire);
            uint64_t mask = load(&s->mask); /* before `first`: it is written after */
            if (atomic_load_explicit(&s->first, memory_order_acquire) == first &&
                atomic_load_explicit(&s->moves, memory_order_acquire) == moves) {
                in_hand |= mask;
            }
        }
    }
    return in_hand;
}

/* ---- one frame ------------------------------------------------------------------------------- */

/*
 * A cache hit: `busy` keeps those out who stop the pool; interrupts are welcome (stop.c). False if
 * it cannot be one.
 */
static inline bool begin_hit(struct pmm_cpu *c)
{
    if (work_on(c) != IDLE) {
        return false;
    }
    set_work(c, HIT);
    if (must_wait(c)) {
        set_work(c, IDLE);
        return false;
    }
    return true;
}

static inline void end_hit(struct pmm_cpu *c)
{
    set_work(c, IDLE);
}

/* Write the slot's mask. False if it was emptied amid the hit: then `lost` tells what was in it. */
static inline bool hit_slot(struct pmm_cpu *c, struct slot *s, uint64_t mask)
{
    store(&s->mask, mask);
    atomic_signal_fence(memory_order_seq_cst);
    if (__builtin_expect(work_on(c) == SHAKEN, 0)) {
        store(&s->mask, 0);
        return false;
    }
    return true;
}

/* A frame from the slots; NO_FRAME if that takes more. */
static inline uint64_t hit_get(struct pmm *p)
{
    struct pmm_cpu *c = this_cpu(p);
    struct slot *s = &c->slot[GIVE];
    uint64_t pfn = NO_FRAME;

    if (!begin_hit(c)) {
        return NO_FRAME;
    }
    uint64_t mask = load(&s->mask);
    if (mask == 0) {
        s = &c->slot[TAKE];
        mask = load(&s->mask);
    }
    if (mask != 0) {
        pfn =
            atomic_load_explicit(&s->first, memory_order_relaxed) + (unsigned)__builtin_ctzll(mask);
        if (!hit_slot(c, s, mask & (mask - 1)) && (s->lost & mask & -mask) != 0) {
            pfn = NO_FRAME;
        }
    }
    end_hit(c);
    return pfn;
}

/* As a hit, put a frame into a slot that has its word. False if it has not, or if the frame was not
 * given alone, for others to say what it is. */
static inline bool hit_slot_put(struct pmm_cpu *c, struct slot *s, uint64_t pfn)
{
    if (atomic_load_explicit(&s->first, memory_order_relaxed) != (pfn & ~UINT64_C(63))) {
        return false;
    }
    uint64_t mask = load(&s->mask);
    return ((mask | load(s->multi) | load(s->free)) & bit(pfn)) == 0 &&
           (hit_slot(c, s, mask | bit(pfn)) || (s->lost & bit(pfn)) != 0);
}

/*
 * Is `pfn` in a block that, to all appearances, holds frames that were given alone, are in no hand
 * if no mark says so, and are not to leave? Then `at` is its word, and can be put into as it is. Of
 * sections that share an entry of the directory, all but the first are not looked for here.
 */
static inline bool find_plain(const struct pmm *p, uint64_t pfn, struct word *at)
{
    uint64_t s = section_first(p, pfn);
    uint64_t i = pfn % SECTION_FRAMES / BLOCK_FRAMES;

    if (s == NO_SECTION || !atomic_load_explicit(&p->sections[s].open, memory_order_acquire) ||
        p->sections[s].leaving) {
        return false;
    }
    const struct book *k = &p->books[s];
    uint64_t not_plain = load(&k->kin[i / 64]) | load(&k->owned[i / 64]);
    if (((load(&k->split[i / 64]) & ~not_plain) >> (i & 63) & 1) == 0) {
        return false;
    }
    *at = word_at(p, s, pfn);
    return true;
}

static void put_in_turn(struct pmm *p, struct pmm_cpu *c, uint64_t pfn, const void *site)
{
    end_hit(c);
    put_block(p, pfn, 0, site);
}

/* Into the plane, as a hit, which it ends. Two of a word in a row take a turn: GIVE is to have the
 * word then (put_frames()). */
static __attribute__((noinline)) void put_plane(struct pmm *p, struct pmm_cpu *c, uint64_t pfn,
                                                uint64_t s, const void *site)
{
    struct word at = word_at(p, s, pfn);

    if (c->last == pfn / 64) {
        put_in_turn(p, c, pfn, site);
        return;
    }
    c->last = pfn / 64; /* before: who shakes the hit merges the block */
    if (put_bits(p, &c->hit_taken, &at, bit(pfn), 1, site)) {
        uint64_t irq = port_irq_save(); /* no handler is to come upon a block half merged */

        merge_if_full(p, at.b);
        port_irq_restore(irq);
    }
    end_hit(c);
}

/* GIVE was emptied while it got the word of `pfn`, and that was marked before or after. */
static __attribute__((noinline)) void give_shaken(struct pmm *p, struct pmm_cpu *c, uint64_t pfn,
                                                  const void *site)
{
    struct slot *give = &c->slot[GIVE];
    bool done = (give->lost & bit(pfn)) != 0;

    atomic_store_explicit(&give->first, NO_FRAME, memory_order_relaxed);
    c->hand = hand_of(p, pfn);
    unmark(c);
    if (done) {
        end_hit(c);
    } else {
        put_in_turn(p, c, pfn, site);
    }
}

/*
 * A hit that found no slot with the frame's word. (It ends here, and in those above, what begins in
 * pmm_put(): each step has but one way to go on, and that makes it the shorter.)
 *
 * If GIVE is empty it gets the word, and the frame is at hand for who wants one next: to put and to
 * take in turns changes nothing that is shared, but the mark. Else the frame goes into the plane.
 * What else there may be to do takes a turn.
 */
static __attribute__((noinline)) void put_loose(struct pmm *p, struct pmm_cpu *c, uint64_t pfn,
                                                const void *site)
{
    uint64_t first = pfn & ~UINT64_C(63);
    struct slot *give = &c->slot[GIVE];
    aword *hand = hand_of(p, first);
    uint64_t in_hand = load(hand);
    struct word at;

    if (!find_plain(p, pfn, &at) || (not_single(&at) >> (pfn & 63) & 1) != 0 ||
        in_hand == (first | 1)) {
        put_in_turn(p, c, pfn, site);
        return;
    }
    if ((in_hand | load(&give->mask)) != 0) {
        put_plane(p, c, pfn, at.b / SECTION_BLOCKS, site);
        return;
    }
    set_word(give, &at);
    mark(c, hand, first);
    if (!hit_slot(c, give, bit(pfn))) {
        give_shaken(p, c, pfn, site);
        return;
    }
    forget_refusals(p);
    end_hit(c);
}

static bool is_sparse(const struct pmm *p, uint64_t b)
{
    unsigned nfree = 0;

    for (unsigned w = 0; w < BLOCK_WORDS; w++) {
        nfree += count_bits(free_in_word(p, b, w));
    }
    return nfree > BLOCK_FRAMES / 2;
}

static void search_from_home(const struct pmm *p, struct pmm_cpu *c)
{
    c->left = p->stretch;
    c->cursor = c->home * SECTION_BLOCKS;
    c->swept = 0;
}

/* An owned block of zone `z` that is in use: the next by address, or the first again (essay, "Which
 * block"). */
static uint64_t own_used(struct pmm *p, struct pmm_cpu *c, enum zone z)
{
    if (c->left == 0) {
        search_from_home(p, c);
        return own_some(p, z, c->cursor);
    }
    uint64_t b = own_some(p, z, c->cursor);
    if (b != NO_BLOCK && p->stretch - c->left >= c->swept * WORTHWHILE && is_sparse(p, b)) {
        disown(p, b);
        search_from_home(p, c);
        b = own_some(p, z, c->cursor);
    }
    return b;
}

/* A block to take single frames from: one in use, or else a whole one; high memory before low. */
static uint64_t own_block(struct pmm *p, struct pmm_cpu *c)
{
    for (int z = ZONES - 1; z >= 0; z--) {
        uint64_t b;

        while ((b = own_used(p, c, (enum zone)z)) == NO_BLOCK) {
            b = take_whole(p, (enum zone)z, c->home);
            if (b == NO_BLOCK) {
                break;
            }
            split_block(p, b, NULL);
            if (try_own(p, b)) {
                break;
            }
        }
        if (b != NO_BLOCK) {
            c->cursor = b + 1;
            c->swept++;
            bump(&c->nblocks);
            return b;
        }
    }
    return NO_BLOCK;
}

/* Take the `count` frames of `mask`, which are free: of a word of an owned block, from which nobody
 * else takes. */
static inline void take_word(struct pmm *p, struct pmm_cpu *c, uint64_t b, uint64_t w,
                             uint64_t mask, unsigned count)
{
    clear_bits(&block_free(p, b)[w], mask);
    count_taken(&c->taken, count);
}

/* Let an empty slot have the frames of `mask`, of a word in a block that this processor owns. */
static void fill_slot(struct pmm *p, struct pmm_cpu *c, enum slot_use use, uint64_t first,
                      uint64_t mask)
{
    struct word at = word_at(p, owned(c, use) / SECTION_BLOCKS, first);

    set_word(&c->slot[use], &at);
    store(&c->slot[use].mask, mask);
}

/*
 * One frame from the planes; of a block that is TAKE's with all that is free beside it in the word,
 * which is for the slot. But not if GIVE of some processor has that word: who puts a frame of it
 * would look into one of the two. NO_FRAME if there is none in the block. It begins with the word
 * after the one that the slot had last: mostly the ones before are used up.
 */
static uint64_t take_from(struct pmm *p, struct pmm_cpu *c, uint64_t b, bool for_slot)
{
    const aword *avail = block_free(p, b);
    const aword *multi = block_multi(p, b);
    uint64_t base = block_base(p, b);
    uint64_t from = c->slot[TAKE].first / 64 + 1;

    for (uint64_t i = 0; i < BLOCK_WORDS; i++) {
        uint64_t w = (from + i) % BLOCK_WORDS;
        uint64_t taken = multi != NULL ? load(&multi[w]) : 0; /* before the free plane */
        uint64_t mask = load(&avail[w]) & ~taken;

        if (mask == 0) {
            continue;
        }
        uint64_t pfn = base + w * 64 + (unsigned)__builtin_ctzll(mask);
        if (!for_slot || is_marked(p, base + w * 64)) {
            take_word(p, c, b, w, mask & -mask, 1);
            return pfn;
        }
        unsigned count = count_bits(mask);
        c->left -= mm_min(c->left, count);
        bump(&c->refills);
        take_word(p, c, b, w, mask, count);
        fill_slot(p, c, TAKE, base + w * 64, mask & (mask - 1));
        return pfn;
    }
    return NO_FRAME;
}

/* A frame for an interrupt handler that came upon a hit, or from a section that is being left. */
static uint64_t take_aside(struct pmm *p, struct pmm_cpu *c)
{
    for (;;) {
        uint64_t b = own_block(p, c);

        if (b == NO_BLOCK) {
            return NO_FRAME;
        }
        uint64_t pfn = take_from(p, c, b, false);
        disown(p, b);
        if (pfn != NO_FRAME) {
            return pfn;
        }
    }
}

static bool is_left(const struct pmm *p, uint64_t b)
{
    return p->sections[b / SECTION_BLOCKS].leaving;
}

/* The lowest frame of a slot; NO_FRAME if it has none. The caller's turn is not nested, unless it
 * is ZERO, which hits leave alone. */
static uint64_t take_from_slot(struct slot *s)
{
    uint64_t mask = load(&s->mask);

    store(&s->mask, mask & (mask - 1));
    return mask != 0 ? s->first + (unsigned)__builtin_ctzll(mask) : NO_FRAME;
}

static uint64_t get_single(struct pmm *p, const struct turn *t)
{
    struct pmm_cpu *c = t->c;
    uint64_t pfn;

    if (is_nested(t)) {
        return take_aside(p, c);
    }
    for (unsigned use = 0; use < SLOTS; use++) {
        if (use != ZERO && (pfn = take_from_slot(&c->slot[use])) != NO_FRAME) {
            return pfn;
        }
    }
    empty_slot(p, c, GIVE); /* its word may be the next to take from */
    for (;;) {
        uint64_t b = owned(c, TAKE);

        if (b == NO_BLOCK) {
            b = own_block(p, c);
            if (b == NO_BLOCK) {
                return NO_FRAME;
            }
            if (is_left(p, b)) { /* what is put there must not meet a slot */
                disown(p, b);
                return take_aside(p, c);
            }
            set_owned(c, TAKE, b);
        }
        pfn = take_from(p, c, b, true);
        if (pfn != NO_FRAME) {
            return pfn;
        }
        empty_slot(p, c, TAKE); /* of its word */
        set_owned(c, TAKE, NO_BLOCK);
        disown(p, b);
    }
}

/* The same, to be looked at in a turn. */
struct word_state {
    struct word at;
    uint64_t wrong; /* frames that were not given alone */
    uint64_t owner; /* not 0: frames of the block may be in hand */
    bool leaving;
};

static struct word_state look_at(const struct pmm *p, uint64_t first)
{
    struct word_state is = { .wrong = ALL };
    uint64_t s = section_of(p, first);

    if (s == NO_SECTION || !atomic_load_explicit(&p->sections[s].open, memory_order_acquire)) {
        return is;
    }
    const struct book *k = &p->books[s];
    is.at = word_at(p, s, first);
    uint64_t i = is.at.b % SECTION_BLOCKS;
    if ((load(&k->split[i / 64]) & ~load(&k->kin[i / 64]) & bit(i)) != 0) {
        is.wrong = not_single(&is.at);
    }
    is.owner = load(&k->owned[i / 64]) & bit(i);
    is.leaving = p->sections[s].leaving;
    return is;
}

/* The slot that has the word of `first`, or GIVE if it can have it, for one frame of it, put in a
 * turn that is not nested; NULL if none. */
static struct slot *slot_for(struct pmm *p, struct pmm_cpu *c, uint64_t first,
                             const struct word_state *is)
{
    struct slot *give = &c->slot[GIVE];

    if (c->slot[TAKE].first == first) {
        return &c->slot[TAKE];
    }
    if (give->first == first) {
        return give;
    }
    if ((load(&give->mask) != 0 && c->last != first / 64) || load(hand_of(p, first)) != 0 ||
        (is->owner != 0 && owned(c, TAKE) != is->at.b)) {
        return NULL;
    }
    empty_slot(p, c, GIVE);
    set_word(give, &is->at);
    mark(c, hand_of(p, first), first);
    return give;
}

static _Noreturn __attribute__((noinline)) void blame_put(struct pmm *p, uint64_t pfn,
                                                          const void *site)
{
    uint64_t culprit = pfn;
    const char *what = exact_blame(p, pfn, 1, true, &culprit);

    bad_put(pfn, 1, site, culprit, what != NULL ? what : "is free already");
}

/*
 * The `count` frames of `mask`, of the word of `first`, come back, each given alone. False if it
 * takes a stop to put them (retired frames).
 *
 * They go into the plane. But who puts two frames of a word, one after the other, is likely to go
 * on so: then they are gathered, and a word costs what a frame costs otherwise.
 */
static bool put_frames(struct pmm *p, const struct turn *t, uint64_t first, uint64_t mask,
                       unsigned count, const void *site)
{
    struct pmm_cpu *c = t->c;
    struct word_state is = look_at(p, first);

    if (is.owner != 0 || is_marked(p, first)) {
        is.wrong |= frames_in_hand(p, is.at.b, first);
    }
    if ((is.wrong & mask) != 0) {
        blame_put(p, first + (unsigned)__builtin_ctzll(is.wrong & mask), site);
    }
    if (is.leaving) {
        return false;
    }
    if (count == 1 && !is_nested(t)) {
        struct slot *s = slot_for(p, c, first, &is);

        if (s != NULL) {
            store(&s->mask, load(&s->mask) | mask);
            forget_refusals(p);
            return true;
        }
        c->last = first / 64;
    }
    put_word(p, &c->taken, &is.at, mask, count, site);
    return true;
}

static bool put_single(struct pmm *p, const struct turn *t, uint64_t pfn, const void *site)
{
    return put_frames(p, t, pfn & ~UINT64_C(63), bit(pfn), 1, site);
}

/* ---- blocks of 2 to 256 frames --------------------------------------------------------------- */

/* The first naturally aligned run of 2^order free frames in a block; BLOCK_FRAMES if none. */
static unsigned find_run(const struct pmm *p, uint64_t b, unsigned order)
{
    static const uint64_t starts[6] = { ALL,
                                        UINT64_C(0x5555555555555555),
                                        UINT64_C(0x1111111111111111),
                                        UINT64_C(0x0101010101010101),
                                        UINT64_C(0x0001000100010001),
                                        UINT64_C(0x0000000100000001) };
    unsigned full = 0; /* words in a row, ending here, that are free */

    for (unsigned w = 0; w < BLOCK_WORDS; w++) {
        uint64_t v = free_in_word(p, b, w);

        if (order < 6) {
            for (unsigned k = 0; k < order; k++) {
                v &= v >> (1u << k);
            }
            v &= starts[order];
            if (v != 0) {
                return w * 64 + (unsigned)__builtin_ctzll(v);
            }
            continue;
        }
        unsigned nwords = 1u << (order - 6);
        full = w % nwords == 0 ? 0 : full;
        full += v == ALL;
        if (full == nwords) {
            return (w + 1 - nwords) * 64;
        }
    }
    return BLOCK_FRAMES;
}

/* Visit the words of frames [off, off + 2^order) of a block. */
#define FOR_WORDS(w, mask, off, order)                                                             \
    for (uint64_t w = (off) / 64, mask = word_mask((off), (off) + (UINT64_C(1) << (order)));       \
         w * 64 < (off) + (UINT64_C(1) << (order));                                                \
         w++, mask = word_mask(w * 64, (off) + (UINT64_C(1) << (order))))

static void take_run(struct pmm *p, struct pmm_cpu *c, uint64_t b, uint64_t off, unsigned order)
{
    aword *avail = block_free(p, b);
    aword *multi = block_multi(p, b);

    FOR_WORDS(w, mask, off, order)
    {
        clear_bits(&avail[w], mask);
        if (multi != NULL) {
            set_bits(&multi[w], mask);
        }
    }
    if (multi != NULL) {
        set_bits(&avail[off / 64], bit(off)); /* HEAD */
    }
    count_taken(&c->taken, INT64_C(1) << order);
}

/* Own a block with such a run, cutting a whole one if some blocks in use have none. */
static uint64_t own_run(struct pmm *p, struct pmm_cpu *c, unsigned order)
{
    for (int z = ZONES - 1; z >= 0; z--) {
        uint64_t b;

        for (unsigned tries = 0; tries < RUN_TRIES; tries++) {
            b = own_some(p, (enum zone)z, c->runs);
            if (b == NO_BLOCK) {
                break;
            }
            if (find_run(p, b, order) < BLOCK_FRAMES) {
                return b;
            }
            disown(p, b);
            c->runs = b + 1;
        }
        while ((b = take_whole(p, (enum zone)z, c->home)) != NO_BLOCK) {
            split_block(p, b, NULL);
            if (try_own(p, b)) {
                if (find_run(p, b, order) < BLOCK_FRAMES) {
                    return b;
                }
                disown(p, b); /* another processor had it meanwhile */
            }
        }
    }
    return NO_BLOCK;
}

/* NO_FRAME if there is none to be seen, or if section *unplanned needs its second plane first. */
static uint64_t get_run(struct pmm *p, const struct turn *t, unsigned order, uint64_t *unplanned)
{
    struct pmm_cpu *c = t->c;
    uint64_t b = owned(c, RUNS);
    unsigned off = b != NO_BLOCK ? find_run(p, b, order) : BLOCK_FRAMES;

    if (off == BLOCK_FRAMES) {
        if (b != NO_BLOCK) {
            set_owned(c, RUNS, NO_BLOCK);
            disown(p, b);
        }
        b = own_run(p, c, order);
        if (b == NO_BLOCK) {
            return NO_FRAME;
        }
        set_owned(c, RUNS, b);
        off = find_run(p, b, order);
    }
    const struct section *s = &p->sections[b / SECTION_BLOCKS];
    if (s->multi == NULL && !s->lax) {
        *unplanned = b / SECTION_BLOCKS;
        return NO_FRAME;
    }
    take_run(p, c, b, off, order);
    return block_base(p, b) + off;
}

/* Are frames [off, off + 2^order) of SPLIT block `b` one allocation? */
static bool is_run(const struct pmm *p, uint64_t b, uint64_t off, unsigned order)
{
    const aword *avail = block_free(p, b);
    const aword *multi = block_multi(p, b);
    uint64_t end = off + (UINT64_C(1) << order);

    if (multi == NULL) {
        return false;
    }
    FOR_WORDS(w, mask, off, order)
    {
        uint64_t heads = w == off / 64 ? bit(off) : 0;

        if ((load(&multi[w]) & mask) != mask || (load(&avail[w]) & mask) != heads) {
            return false;
        }
    }
    return end == BLOCK_FRAMES ? !frame_is_body(p, block_base(p, b) + end)
                               : (load(&multi[end / 64]) & ~load(&avail[end / 64]) & bit(end)) == 0;
}

/* False if it takes a stop to put it, or to say what is wrong with it. */
static bool put_run(struct pmm *p, const struct turn *t, uint64_t pfn, unsigned order,
                    const void *site)
{
    uint64_t s = section_of(p, pfn);
    uint64_t off = pfn % BLOCK_FRAMES;
    bool full = true;

    if (s == NO_SECTION || !p->sections[s].open || p->sections[s].leaving) {
        return false;
    }
    uint64_t b = s * SECTION_BLOCKS + pfn % SECTION_FRAMES / BLOCK_FRAMES;
    if (!is_split(p, b) || !is_run(p, b, off, order)) {
        return false;
    }
    aword *multi = block_multi(p, b);
    clear_bits(&block_free(p, b)[off / 64], bit(off)); /* HEAD becomes BODY */
    FOR_WORDS(w, mask, off, order)
    {
        struct word at = word_at(p, s, block_base(p, b) + w * 64);

        clear_bits(&multi[w], mask);
        full &= put_bits(p, &t->c->taken, &at, mask, count_bits(mask), site);
    }
    if (full) {
        merge_if_full(p, b);
    }
    return true;
}

/* ---- blocks of 2 MiB ------------------------------------------------------------------------- */

/* Memory below 4 GiB is for who finds none above: nobody takes from there out of habit. */
static void remember_spot(struct pmm *p, struct pmm_cpu *c, uint64_t b)
{
    bool again = zone_of(p, b / SECTION_BLOCKS) == ZONE_ABOVE_4G ||
                 p->zone_begin[ZONE_ABOVE_4G] == p->nsections;

    c->spot = again ? &book_of(p, b)->whole[b % SECTION_BLOCKS / 64] : NULL;
    c->spot_at = block_base(p, b - b % 64);
}

static uint64_t get_whole(struct pmm *p, const struct turn *t)
{
    for (int z = ZONES - 1; z >= 0; z--) {
        uint64_t b = take_whole(p, (enum zone)z, t->c->home);

        if (b != NO_BLOCK) {
            count_taken(&t->c->taken, (int64_t)BLOCK_FRAMES);
            if (!is_nested(t)) {
                remember_spot(p, t->c, b);
            }
            return block_base(p, b);
        }
    }
    return NO_FRAME;
}

/* The lowest whole block of the word that the last one came from, as a hit; NO_FRAME if it has
 * none. */
static inline uint64_t hit_get_whole(struct pmm *p)
{
    struct pmm_cpu *c = this_cpu(p);
    uint64_t pfn = NO_FRAME;

    if (!begin_hit(c)) {
        return NO_FRAME;
    }
    aword *spot = c->spot;
    uint64_t v = spot != NULL ? load(spot) : 0;
    if (v != 0 && (clear_bits(spot, v & -v) & v & -v) != 0) {
        count_taken(&c->hit_taken, (int64_t)BLOCK_FRAMES);
        pfn = c->spot_at + (unsigned)__builtin_ctzll(v) * BLOCK_FRAMES;
    }
    end_hit(c);
    return pfn;
}

/* Does what comes after block `i` of section `s` go on with its allocation? */
static inline bool goes_on(const struct pmm *p, uint64_t s, uint64_t i)
{
    const struct book *k = &p->books[s];
    uint64_t next = i + 1;

    if (next < SECTION_BLOCKS && !test_bit(k->kin, next) &&
        (p->sections[s].multi == NULL || !test_bit(k->split, next))) {
        return false; /* mostly */
    }
    return frame_is_body(p, section_base(p, s) + next * BLOCK_FRAMES);
}

/*
 * A block of 2 MiB that was given as such, put as a hit: what it changes is shared with other
 * processors anyway. False if it takes a stop to put it, or to say what is wrong with it.
 */
static inline bool hit_put_whole(struct pmm *p, uint64_t pfn, const void *site)
{
    struct pmm_cpu *c = this_cpu(p);
    uint64_t s = section_of(p, pfn);

    if (s == NO_SECTION || pfn % BLOCK_FRAMES != 0 || !begin_hit(c)) {
        return false;
    }
    const struct section *sec = &p->sections[s];
    uint64_t i = pfn % SECTION_FRAMES / BLOCK_FRAMES;
    struct book *k = &p->books[s];
    aword *some = &p->some_whole[s / 64];
    uint64_t other = load(&k->whole[i / 64]) | load(&k->split[i / 64]) | load(&k->kin[i / 64]);
    if (!atomic_load_explicit(&sec->open, memory_order_acquire) || sec->leaving ||
        (other >> (i & 63) & 1) != 0 || goes_on(p, s, i)) {
        end_hit(c);
        return false;
    }
    if ((set_bits(&k->whole[i / 64], bit(i)) & bit(i)) != 0) {
        bad_put(pfn, BLOCK_FRAMES, site, pfn, "is free already");
    }
    want_bits(some, bit(s));
    count_taken(&c->hit_taken, -(int64_t)BLOCK_FRAMES);
    forget_refusals(p);
    end_hit(c);
    return true;
}

/* ---- reclaim --------------------------------------------------------------------------------- */

bool ask_reclaim(struct pmm *p, uint64_t count)
{
    return p->reclaim != NULL && p->reclaim(p->reclaim_ctx, PMM_REFUSAL, count);
}

void check_marks(struct pmm *p)
{
    if (p->reclaim == NULL) {
        return;
    }
    uint64_t nfree = pmm_free_frames(p);
    uint32_t is = (nfree < p->low ? 1u << PMM_LOW_MARK : 0) |
                  (nfree < p->critical ? 1u << PMM_CRITICAL_MARK : 0);
    uint32_t was = atomic_exchange_explicit(&p->below, is, memory_order_relaxed);
    if ((is & ~was & 1u << PMM_LOW_MARK) != 0) {
        p->reclaim(p->reclaim_ctx, PMM_LOW_MARK, p->low - nfree);
    }
    if ((is & ~was & 1u << PMM_CRITICAL_MARK) != 0) {
        p->reclaim(p->reclaim_ctx, PMM_CRITICAL_MARK, p->critical - nfree);
    }
}

void pmm_set_reclaim(struct pmm *p, uint64_t low, uint64_t critical, pmm_reclaim_fn fn, void *ctx)
{
    p->reclaim = fn;
    p->reclaim_ctx = ctx;
    p->low = low;
    p->critical = critical;
    atomic_store_explicit(&p->below, 0, memory_order_relaxed);
}

/* ---- getting --------------------------------------------------------------------------------- */

void zero_frames(uint64_t pfn, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        __builtin_memset(port_ptr(pa_of_pfn(pfn_make(pfn + i))), 0, MM_PAGE_SIZE);
    }
}

/* What is to be had without a stop, but for one when a section gets its second plane; NO_FRAME if
 * that is nothing. */
static uint64_t try_get(struct pmm *p, unsigned order)
{
    uint64_t unplanned = NO_SECTION;
    uint64_t pfn = NO_FRAME;
    struct turn t;

    begin_turn(p, &t);
    if (order == 0) {
        pfn = get_single(p, &t);
    } else if (order < BLOCK_SHIFT) {
        pfn = get_run(p, &t, order, &unplanned);
    } else if (order == BLOCK_SHIFT) {
        pfn = get_whole(p, &t);
    }
    end_turn(&t);
    if (unplanned != NO_SECTION) { /* the plane after the block: its frames may be the last ones */
        uint64_t irq = stop_all(p);

        pfn = exact_get(p, order);
        if (pfn != NO_FRAME) {
            exact_attach(p, unplanned);
        }
        go_on(p, irq);
    }
    return pfn;
}

/* With the pool stopped: the answer, whatever it is. */
static uint64_t get_stopped(struct pmm *p, unsigned order)
{
    uint64_t pfn = exact_get(p, order);

    if (pfn == NO_FRAME) {
        uint32_t orders = ~UINT32_C(0) << order; /* no larger one either */

        atomic_store_explicit(&p->none, atomic_load(&p->none) | orders, memory_order_relaxed);
        p->refusals++;
    }
    return pfn;
}

static uint64_t get_once(struct pmm *p, unsigned order, unsigned flags)
{
    uint64_t pfn;

    if (is_refused(p, order)) {
        return NO_FRAME;
    }
    pfn = try_get(p, order);
    if (pfn == NO_FRAME && (flags & PMM_QUICK) == 0) {
        uint64_t irq = stop_all(p);

        pfn = get_stopped(p, order);
        go_on(p, irq);
    }
    return pfn;
}

/* A frame known to hold zeros, if this processor has one. */
static uint64_t get_zeroed(struct pmm *p)
{
    uint64_t pfn;
    struct turn t;

    begin_turn(p, &t);
    pfn = take_from_slot(&t.c->slot[ZERO]);
    end_turn(&t);
    return pfn;
}

/* All that is no hit. */
__attribute__((noinline)) pfn_t get_block(struct pmm *p, unsigned order, unsigned flags,
                                          const void *site)
{
    uint64_t pfn = NO_FRAME;
    bool dirty = true;

    if (order > PMM_MAX_ORDER) {
        return PFN_NONE;
    }
    if (order == 0 && (flags & PMM_ZERO) != 0) {
        pfn = get_zeroed(p);
        dirty = pfn == NO_FRAME;
    }
    while (pfn == NO_FRAME) {
        pfn = get_once(p, order, flags);
        if (pfn == NO_FRAME && ((flags & PMM_WAIT) == 0 || !ask_reclaim(p, UINT64_C(1) << order))) {
            return PFN_NONE;
        }
    }
    check_marks(p);
    note_site(p, pfn, UINT64_C(1) << order, site);
    if ((flags & PMM_ZERO) == 0) {
        poison_get(p, pfn, UINT64_C(1) << order);
    } else if (dirty) {
        zero_frames(pfn, UINT64_C(1) << order);
    }
    return pfn_make(pfn);
}

/* All that is not a single frame, or no hit. */
static __attribute__((noinline)) pfn_t get_other(struct pmm *p, unsigned order, unsigned flags,
                                                 const void *site)
{
    uint64_t pfn = NO_FRAME;

    if (order == BLOCK_SHIFT && (flags & PMM_ZERO) == 0 && p->reclaim == NULL) {
        pfn = hit_get_whole(p); /* marks are seen in turns */
    }
    if (pfn == NO_FRAME) {
        return get_block(p, order, flags, site);
    }
    note_site(p, pfn, BLOCK_FRAMES, site);
    poison_get(p, pfn, BLOCK_FRAMES);
    return pfn_make(pfn);
}

pfn_t pmm_get(struct pmm *p, unsigned order, unsigned flags)
{
    uint64_t pfn = order == 0 && (flags & PMM_ZERO) == 0 ? hit_get(p) : NO_FRAME;

    if (pfn == NO_FRAME) {
        return get_other(p, order, flags, __builtin_return_address(0));
    }
    note_site(p, pfn, 1, __builtin_return_address(0));
    poison_get(p, pfn, 1);
    return pfn_make(pfn);
}

/* The lowest frames of a slot, at most `n`; returns how many. */
static unsigned empty_into(struct slot *s, pfn_t *pfns, unsigned n)
{
    uint64_t mask = load(&s->mask);
    uint64_t first = s->first;
    unsigned got = 0;

    for (; mask != 0 && got < n; mask &= mask - 1) {
        pfns[got++] = pfn_make(first + (unsigned)__builtin_ctzll(mask));
    }
    store(&s->mask, mask);
    return got;
}

unsigned pmm_get_batch(struct pmm *p, pfn_t *pfns, unsigned n, unsigned flags)
{
    const void *site = __builtin_return_address(0);
    unsigned got = 0;

    MM_ASSERT(n <= PMM_MAX_BATCH);
    while (got < n) {
        struct turn t;

        begin_turn(p, &t);
        while (got < n && !is_refused(p, 0)) {
            uint64_t pfn = get_single(p, &t);

            if (pfn == NO_FRAME) {
                break;
            }
            pfns[got++] = pfn_make(pfn);
            if (!is_nested(&t)) {
                got += empty_into(&t.c->slot[GIVE], &pfns[got], n - got);
                got += empty_into(&t.c->slot[TAKE], &pfns[got], n - got);
            }
        }
        end_turn(&t);
        if (got < n && (flags & PMM_QUICK) == 0 && !is_refused(p, 0)) {
            uint64_t irq = stop_all(p);

            for (uint64_t pfn; got < n && (pfn = get_stopped(p, 0)) != NO_FRAME;) {
                pfns[got++] = pfn_make(pfn);
            }
            go_on(p, irq);
        }
        if (got < n && ((flags & PMM_WAIT) == 0 || !ask_reclaim(p, n - got))) {
            break;
        }
    }
    check_marks(p);
    for (unsigned i = 0; i < got; i++) {
        note_site(p, pfns[i].v, 1, site);
        if ((flags & PMM_ZERO) != 0) {
            zero_frames(pfns[i].v, 1);
        } else {
            poison_get(p, pfns[i].v, 1);
        }
    }
    return got;
}

/* ---- putting --------------------------------------------------------------------------------- */

static void put_stopped(struct pmm *p, uint64_t pfn, unsigned order, const void *site)
{
    uint64_t count = UINT64_C(1) << order;
    uint64_t irq = stop_all(p);
    uint64_t culprit = pfn;
    const char *what = exact_blame(p, pfn, count, true, &culprit);

    if (what != NULL) {
        bad_put(pfn, count, site, culprit, what);
    }
    exact_put(p, pfn, count, site);
    go_on(p, irq);
}

__attribute__((noinline)) void put_block(struct pmm *p, uint64_t pfn, unsigned order,
                                         const void *site)
{
    bool done = false;
    struct turn t;

    MM_ASSERT(order <= PMM_MAX_ORDER);
    begin_turn(p, &t);
    if (order == 0) {
        done = put_single(p, &t, pfn, site);
    } else if (order < BLOCK_SHIFT && mm_is_aligned(pfn, UINT64_C(1) << order)) {
        done = put_run(p, &t, pfn, order, site);
    }
    end_turn(&t);
    if (!done) {
        put_stopped(p, pfn, order, site);
    }
}

static __attribute__((noinline)) void put_other(struct pmm *p, uint64_t pfn, unsigned order,
                                                const void *site)
{
    if (order != BLOCK_SHIFT || !hit_put_whole(p, pfn, site)) {
        put_block(p, pfn, order, site);
    }
}

void pmm_put(struct pmm *p, pfn_t base, unsigned order)
{
    poison_put(p, base.v, order, __builtin_return_address(0));
    struct pmm_cpu *c = this_cpu(p);
    if (order != 0 || !begin_hit(c)) {
        put_other(p, base.v, order, __builtin_return_address(0));
        return;
    }
    if (!hit_slot_put(c, &c->slot[TAKE], base.v) && !hit_slot_put(c, &c->slot[GIVE], base.v)) {
        put_loose(p, c, base.v, __builtin_return_address(0));
        return;
    }
    forget_refusals(p);
    end_hit(c);
}

/* Put the first frames of a batch, as many as lie in one word; returns how many, 0 if it takes a
 * stop, or there are none. */
static unsigned put_word_of(struct pmm *p, const struct turn *t, const pfn_t *pfns, unsigned n,
                            const void *site)
{
    uint64_t first = n != 0 ? pfns[0].v & ~UINT64_C(63) : 0;
    uint64_t mask = 0;
    unsigned count = 0;
    struct word at;

    while (count < n && (pfns[count].v & ~UINT64_C(63)) == first) {
        uint64_t m = bit(pfns[count].v);

        if ((mask & m) != 0) {
            bad_put(pfns[count].v, 1, site, pfns[count].v, "is free already");
        }
        mask |= m;
        count++;
    }
    if (count != 0 && find_plain(p, first, &at) && (not_single(&at) & mask) == 0 &&
        !is_marked(p, first)) {
        put_word(p, &t->c->taken, &at, mask, count, site); /* what comes below, in few steps */
        return count;
    }
    return count != 0 && put_frames(p, t, first, mask, count, site) ? count : 0;
}

/* The word of a frame, which is to be put, into the cache: all of a batch at a time, as one miss
 * after the other would take longer. */
static inline void fetch_word(const struct pmm *p, uint64_t pfn)
{
    uint64_t s = section_first(p, pfn);

    if (s != NO_SECTION) {
        __builtin_prefetch(&p->frames[s * SECTION_WORDS + pfn % SECTION_FRAMES / 64], 1);
    }
}

void pmm_put_batch(struct pmm *p, const pfn_t *pfns, unsigned n)
{
    const void *site = __builtin_return_address(0);

    MM_ASSERT(n <= PMM_MAX_BATCH);
    for (unsigned i = 0; i < n; i++) {
        poison_put(p, pfns[i].v, 0, site);
        if (i == 0 || pfns[i].v / 64 != pfns[i - 1].v / 64) {
            fetch_word(p, pfns[i].v);
        }
    }
    for (unsigned done = 0; done < n;) {
        unsigned count = 0;
        struct turn t;

        begin_turn(p, &t);
        do {
            done += count;
            count = put_word_of(p, &t, &pfns[done], n - done, site);
        } while (count != 0);
        end_turn(&t);
        if (done < n) {
            put_stopped(p, pfns[done++].v, 0, site);
        }
    }
}

/* ---- idle processors ------------------------------------------------------------------------- */

/* Zero one frame more of the ZERO slot's word, or begin another word; false if it is full. */
static bool zero_one(struct pmm *p, const struct turn *t)
{
    struct pmm_cpu *c = t->c;
    struct slot *s = &c->slot[ZERO];
    uint64_t b = owned(c, ZERO);
    uint64_t has = load(&s->mask);
    uint64_t mask = 0;
    unsigned w = 0;

    if (b == NO_BLOCK) {
        b = own_block(p, c);
        if (b == NO_BLOCK) {
            return false;
        }
        if (is_left(p, b)) {
            disown(p, b);
            return false;
        }
        set_owned(c, ZERO, b);
    }
    if (has != 0) {
        w = (unsigned)(s->first % BLOCK_FRAMES / 64);
        mask = free_in_word(p, b, w);
    } else {
        while (w < BLOCK_WORDS && (mask = free_in_word(p, b, w)) == 0) {
            w++;
        }
    }
    if (mask == 0) {
        if (has == 0) { /* the block is used up: begin another the next time */
            set_owned(c, ZERO, NO_BLOCK);
            disown(p, b);
        }
        return false;
    }
    mask &= -mask;
    take_word(p, c, b, w, mask, 1);
    zero_frames(block_base(p, b) + w * 64 + (unsigned)__builtin_ctzll(mask), 1);
    if (has == 0) {
        fill_slot(p, c, ZERO, block_base(p, b) + w * 64, mask);
    } else {
        store(&s->mask, has | mask);
    }
    return true;
}

unsigned pmm_fill_zeroed(struct pmm *p, unsigned n)
{
    unsigned done = 0;

    for (bool more = true; more && done < n;) { /* one a turn: interrupts are off in it */
        struct turn t;

        begin_turn(p, &t);
        more = zero_one(p, &t);
        end_turn(&t);
        done += more;
    }
    return done;
}

void pmm_idle(struct pmm *p)
{
    struct turn t;

    begin_turn(p, &t);
    t.upon = empty_cache(p, t.c, t.upon);
    end_turn(&t);
}

/* ---- the debug build ------------------------------------------------------------------------- */

#ifdef PMM_DEBUG

/* Not a pointer to anything, not a small number, odd; 0xd0 was put, 0xa0 was got. */
#define POISON_PUT 0xd1
#define POISON_GET 0xa1

/* A site is kept as a distance from here, in 32 bits: an image is smaller than 2 GiB. */
static const unsigned char *anchor(void)
{
    return (const unsigned char *)(uintptr_t)pmm_get;
}

static _Atomic uint32_t *site_of(struct pmm *p, uint64_t pfn)
{
    return &p->sites[section_of(p, pfn) * SECTION_FRAMES + pfn % SECTION_FRAMES];
}

void note_site(struct pmm *p, uint64_t pfn, uint64_t count, const void *site)
{
    uint32_t distance = (uint32_t)((const unsigned char *)site - anchor());

    for (uint64_t i = 0; i < count; i++) {
        atomic_store_explicit(site_of(p, pfn + i), distance, memory_order_relaxed);
    }
}

static void fill(uint64_t pfn, uint64_t count, int with)
{
    for (uint64_t i = 0; i < count; i++) {
        __builtin_memset(port_ptr(pa_of_pfn(pfn_make(pfn + i))), with, MM_PAGE_SIZE);
    }
}

/* Free frames in a processor's hand look like those that were given. */
static bool some_in_hand(const struct pmm *p, uint64_t pfn, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        if (frame_is_in_hand(p, pfn + i)) {
            return true;
        }
    }
    return false;
}

/*
 * Stop the machine if the put is a bad one, before somebody else's memory is overwritten. Beside
 * others at work a good one may look bad, a run behind it being taken: the verdict takes a stop.
 */
static void check_put(struct pmm *p, uint64_t pfn, uint64_t count, bool whole, const void *site)
{
    uint64_t culprit;
    const char *what;
    uint64_t irq;

    if (exact_blame(p, pfn, count, whole, &culprit) == NULL && !some_in_hand(p, pfn, count)) {
        return;
    }
    irq = stop_all(p);
    what = exact_blame(p, pfn, count, whole, &culprit);
    if (what != NULL) {
        bad_put(pfn, count, site, culprit, what);
    }
    go_on(p, irq);
}

void poison_put(struct pmm *p, uint64_t pfn, unsigned order, const void *site)
{
    MM_ASSERT(order <= PMM_MAX_ORDER);
    if (p->kind == PMM_GENERAL) { /* others are not ours to touch */
        check_put(p, pfn, UINT64_C(1) << order, true, site);
        fill(pfn, UINT64_C(1) << order, POISON_PUT);
    }
}

void poison_put_range(struct pmm *p, uint64_t pfn, uint64_t count, const void *site)
{
    if (p->kind == PMM_GENERAL) {
        check_put(p, pfn, count, false, site);
        fill(pfn, count, POISON_PUT);
    }
}

void poison_get(struct pmm *p, uint64_t pfn, uint64_t count)
{
    if (p->kind == PMM_GENERAL) {
        fill(pfn, count, POISON_GET);
    }
}

bool pmm_who(struct pmm *p, pfn_t pfn, uint64_t *site)
{
    uint64_t irq = stop_all(p);
    enum frame_is is = frame_is(p, pfn.v);

    go_on(p, irq);
    if (is != IS_SINGLE && is != IS_HEAD && is != IS_BODY) {
        return false;
    }
    *site = (uint64_t)(uintptr_t)(anchor() + (int32_t)atomic_load(site_of(p, pfn.v)));
    return true;
}

#else

bool pmm_who(struct pmm *p, pfn_t pfn, uint64_t *site)
{
    (void)p;
    (void)pfn;
    (void)site;
    return false;
}

#endif
