/*
 * buddy.c - power-of-two blocks: the textbook's policy, on bitmaps and tags.
 *
 * The policy is that of the textbook (Knuth, TAOCP 2.5): a request takes the lowest of the free
 * blocks of the smallest order that will do, and what it does not need of that goes back half by
 * half; what is given back merges with its buddy while that is free.
 *
 * One block waits. To split down to a small order and to merge again costs a step for each order in
 * between, and most who take a block and give it back do so again. So the block given back last is
 * only marked as such (KEPT). Who asks for the same order next gets it; anybody else first has it
 * merged, so nothing is ever refused, or placed higher, on account of it.
 *
 * An arena has a tag for each unit, a byte: that of a block's first unit says its order and whether
 * it is in use, all others are 0. So a glance tells whether what is given back is a block, in use,
 * and of that order; and whether a buddy is free, and as a whole. And it has a set of free blocks
 * for each order, a bitmap under bitmaps that say which words are not 0, 64 to one, so that the
 * lowest member is found by an instruction a tier; where there are no more than 64 blocks, that is
 * one word, beside those of the other orders. `orders` says which sets have members. The same once
 * more for arenas: `with` and `tops`.
 *
 * Tags and sets say the same twice. Each step that relies on one of them changes the other, and
 * looks whether that had been right before: damage is found by the first call that comes near.
 *
 * Blocks are numbered from `origin`, a multiple of the largest block that the arena could have: so
 * the numbers of two buddies differ in one bit, and a block is aligned by its address. What lies
 * between `origin` and the first unit has tags of 0.
 *
 * Rejected: lists of free blocks (they lie in the memory dealt in, or cost two words a unit; and
 * the lowest is not at hand). A word of bits as the state of six orders, where to split is to clear
 * and to merge is to set: 2 bits a unit instead of 10, but then the largest block in each word has
 * to be known, and sets kept of words by that. It took as many instructions as this where three
 * orders are crossed, a fifth fewer where nine are, and did not find the lowest. Merging later, in
 * bulk: then nobody could say what is free.
 *
 * Invariants (buddy_check tests each):
 *  B1  arenas are sorted, do not overlap, and their measures are those of their ranges
 *  B2  blocks lie in the arena, one next to the other, each at a multiple of its size; all units
 *      but their first ones, and what is not ours, have tags of 0
 *  B3  no two buddies are free, but for the one block that is KEPT
 *  B4  the set of an order has exactly the free blocks of that order as members, but for that one
 *  B5  the bitmaps above a set, `orders`, `with` and `tops` say what lies below them
 *  B6  the count of an arena is that of its blocks in use
 */
#include "mm/buddy.h"

#include "mm/port.h"

#define MAX_TIERS 3u           /* below the root of a set: 64^4 members */
#define NONE      BUDDY_ORDERS /* no order */

/* A tag: an order, and one of these. */
#define ORDER 0x1fu
#define KEPT  0x20u
#define FREE  0x40u
#define USED  0x80u

_Static_assert(2 * BUDDY_MAX_UNITS <= UINT64_C(1) << 6 * (MAX_TIERS + 1),
               "a set has room for what may lie in front of the first unit, too");
_Static_assert(BUDDY_MAX_UNITS >> BUDDY_ORDERS == 0, "the largest block has an order");

/* The bitmaps of an order that has more than 64 blocks: its set, but for the root. */
struct tiers {
    uint64_t *tier[MAX_TIERS]; /* (const) the blocks, and words that are not 0, and ... */
    uint64_t ntiers;           /* (const) */
};

/* At the start of its metadata. Bitmaps and tags follow. (const) set when the arena was added. */
struct buddy_arena {
    uint64_t origin;             /* (const) a unit, counted from address 0, as is the next */
    uint64_t first, count;       /* (const) */
    uint8_t *tags;               /* (const) by unit, from `origin` on */
    uint64_t span;               /* (const) how many */
    uint64_t orders;             /* bit n: there are free blocks of order n */
    uint64_t nused;              /* blocks */
    unsigned max_order;          /* (const) of the largest block that it could have */
    unsigned first_plain;        /* (const) orders from this on have no more than 64 blocks */
    unsigned top;                /* order of the largest free block, and one; 0 if there is none */
    unsigned index;              /* in the buddy's array */
    bool fetched;                /* (const) from the backing */
    void *base;                  /* (const) as it was given, or fetched */
    size_t nbytes;               /* (const) */
    size_t meta_bytes;           /* (const) */
    uint64_t root[BUDDY_ORDERS]; /* of the sets: blocks that are free, or words that are not 0 */
    _Alignas(BUDDY_META_ALIGN) struct tiers tiers[]; /* of orders below `first_plain` */
};

static inline uint64_t addr_of(const void *ptr)
{
    return (uintptr_t)ptr;
}

static inline void *ptr_of(const struct buddy *b, uint64_t unit)
{
    return (void *)(uintptr_t)(unit << b->shift);
}

static inline uint64_t bit(uint64_t i)
{
    return UINT64_C(1) << (i & 63);
}

static inline uint64_t units(unsigned order)
{
    return UINT64_C(1) << order;
}

static _Noreturn void damaged(const struct buddy_arena *a, const char *what)
{
    port_panic("buddy: arena 0x%llx: damaged metadata: %s", (unsigned long long)addr_of(a->base),
               what);
}

/* ---- sets of free blocks ---- */

static inline void root_add(struct buddy_arena *a, unsigned order, uint64_t i)
{
    uint64_t root = a->root[order];

    if (__builtin_expect((root >> (i & 63) & 1) != 0, 0)) {
        damaged(a, "a set had a block already");
    }
    a->root[order] = root | bit(i);
}

static inline void root_remove(struct buddy_arena *a, unsigned order, uint64_t i)
{
    uint64_t root = a->root[order];

    if (__builtin_expect((root >> (i & 63) & 1) == 0, 0)) {
        damaged(a, "a set had a free block not");
    }
    root &= ~bit(i);
    a->root[order] = root;
    if (root == 0) {
        a->orders &= ~units(order);
    }
}

/* Of an order that has tiers: its bit of `orders` is for the caller to set. */
static __attribute__((noinline)) void tiers_add(struct buddy_arena *a, unsigned order, uint64_t i)
{
    const struct tiers *s = &a->tiers[order];

    for (unsigned t = 0; t < s->ntiers; t++) {
        uint64_t *w = &s->tier[t][i / 64];
        uint64_t before = *w;

        if (__builtin_expect((before >> (i & 63) & 1) != 0, 0)) {
            damaged(a, "a set had a block already");
        }
        *w = before | bit(i);
        if (before != 0) {
            return;
        }
        i /= 64;
    }
    root_add(a, order, i);
}

static __attribute__((noinline)) void tiers_remove(struct buddy_arena *a, unsigned order,
                                                   uint64_t i)
{
    const struct tiers *s = &a->tiers[order];

    for (unsigned t = 0; t < s->ntiers; t++) {
        uint64_t *w = &s->tier[t][i / 64];
        uint64_t before = *w;

        if (__builtin_expect((before >> (i & 63) & 1) == 0, 0)) {
            damaged(a, "a set had a free block not");
        }
        *w = before & ~bit(i);
        if (*w != 0) {
            return;
        }
        i /= 64;
    }
    root_remove(a, order, i);
}

static inline void set_add(struct buddy_arena *a, unsigned order, uint64_t i)
{
    if (order >= a->first_plain) {
        root_add(a, order, i);
    } else {
        tiers_add(a, order, i);
    }
}

static inline void set_remove(struct buddy_arena *a, unsigned order, uint64_t i)
{
    if (order >= a->first_plain) {
        root_remove(a, order, i);
    } else {
        tiers_remove(a, order, i);
    }
}

/* How many blocks of an order there could be, by their numbers. */
static uint64_t blocks(const struct buddy_arena *a, unsigned order)
{
    return a->span >> order;
}

/* Members that tier `t` of a set could have, the root being the last. */
static uint64_t members(const struct buddy_arena *a, unsigned order, unsigned t)
{
    uint64_t n = blocks(a, order);

    while (t-- > 0) {
        n = (n + 63) / 64;
    }
    return n;
}

/* The lowest of the set of an order with tiers, by what the root says. */
static __attribute__((noinline)) uint64_t tiers_first(const struct buddy_arena *a, unsigned order,
                                                      uint64_t i)
{
    const struct tiers *s = &a->tiers[order];

    for (unsigned t = (unsigned)s->ntiers; t-- > 0;) {
        uint64_t w = i < members(a, order, t + 1) ? s->tier[t][i] : 0;

        if (__builtin_expect(w == 0, 0)) {
            damaged(a, "a set has no members that should have some");
        }
        i = i * 64 + (unsigned)__builtin_ctzll(w);
    }
    return i;
}

/* The lowest of a set that is not empty. */
static inline uint64_t set_first(const struct buddy_arena *a, unsigned order)
{
    uint64_t root = a->root[order];
    uint64_t i;

    if (__builtin_expect(root == 0, 0)) {
        damaged(a, "a set has no members that should have some");
    }
    i = (unsigned)__builtin_ctzll(root);
    return order >= a->first_plain ? i : tiers_first(a, order, i);
}

/* ---- one arena ---- */

/* The unit, from `origin` on, where a block of `order` is in use now; there is one to be had. */
static inline uint64_t arena_alloc(struct buddy_arena *a, unsigned order)
{
    unsigned from = order + (unsigned)__builtin_ctzll(a->orders >> order);
    uint64_t i = set_first(a, from);
    uint64_t unit = i << from;
    uint8_t *tag = &a->tags[unit];

    if (__builtin_expect(unit >= a->span, 0) || __builtin_expect(*tag != (FREE | from), 0)) {
        damaged(a, "a set has a block that is not free");
    }
    set_remove(a, from, i);
    a->orders |= units(from) - units(order); /* halves go back of each order in between */
    for (uint64_t n = units(from); from != order;) {
        n >>= 1;
        i <<= 1;
        from--;
        tag[n] = (uint8_t)(FREE | from);
        set_add(a, from, i + 1);
    }
    *tag = (uint8_t)(USED | order);
    a->nused++;
    return unit;
}

/* Merge the block at `unit`, from `origin` on, with what is free beside it. */
static void arena_merge(struct buddy_arena *a, uint64_t unit, unsigned order)
{
    uint8_t *tags = a->tags;
    uint64_t i = unit >> order;

    for (uint64_t n = units(order); order < a->max_order; n <<= 1) {
        uint64_t buddy = unit ^ n;

        if (buddy >= a->span || tags[buddy] != (FREE | order)) {
            break;
        }
        set_remove(a, order, i ^ 1);
        tags[unit | n] = 0; /* the upper of the two */
        unit &= ~n;
        i >>= 1;
        order++;
    }
    tags[unit] = (uint8_t)(FREE | order);
    set_add(a, order, i);
    a->orders |= units(order);
}

/* ---- measures ---- */

/* The units that lie in the range wholly; count is 0 if it can be no arena. All else is zero. */
static void measure(struct buddy_arena *a, const void *base, size_t nbytes, unsigned shift)
{
    uint64_t size = UINT64_C(1) << shift;
    uint64_t first = (addr_of(base) >> shift) + !mm_is_aligned(addr_of(base), size);
    uint64_t end;

    *a = (struct buddy_arena){ .base = (void *)(uintptr_t)addr_of(base), .nbytes = nbytes };
    if (__builtin_add_overflow(addr_of(base), nbytes, &end)) {
        return;
    }
    end >>= shift;
    a->first = mm_max(first, 1); /* unit 0 would be NULL */
    if (a->first < end && end - a->first <= BUDDY_MAX_UNITS) {
        a->count = end - a->first;
        a->max_order = 63 - (unsigned)__builtin_clzll(a->count);
        a->origin = mm_align_down(a->first, units(a->max_order));
        a->span = end - a->origin;
    }
}

/* The tiers of an order, and where they are; moves *at behind them. */
static struct tiers tiers_of(const struct buddy_arena *a, unsigned order, uintptr_t *at)
{
    struct tiers s = { .ntiers = 0 };

    for (uint64_t n = blocks(a, order); n > 64; n = (n + 63) / 64) {
        s.tier[s.ntiers++] = (uint64_t *)*at;
        *at += (n + 63) / 64 * sizeof(uint64_t);
    }
    return s;
}

/* Say where in `meta` the tags of an arena are that has been measured; returns how long the
 * metadata is. */
static size_t lay_out(struct buddy_arena *a, uintptr_t meta)
{
    uintptr_t at = meta + sizeof(*a);

    while (blocks(a, a->first_plain) > 64) {
        at += sizeof(struct tiers);
        a->first_plain++;
    }
    for (unsigned order = 0; order < a->first_plain; order++) {
        (void)tiers_of(a, order, &at);
    }
    a->tags = (uint8_t *)at;
    return mm_align_up(at - meta + a->span, BUDDY_META_ALIGN);
}

/* Make all of it free, as blocks as large as may be. */
static void arena_clear(struct buddy_arena *a)
{
    uintptr_t at = (uintptr_t)&a->tiers[a->first_plain];
    uint64_t unit = a->first - a->origin;

    __builtin_memset(a->tiers, 0, (uintptr_t)a->tags + a->span - (uintptr_t)a->tiers);
    for (unsigned order = 0; order < a->first_plain; order++) {
        a->tiers[order] = tiers_of(a, order, &at);
    }
    while (unit < a->span) {
        unsigned order = 63 - (unsigned)__builtin_clzll(a->span - unit);

        if (unit != 0) {
            order = (unsigned)mm_min(order, (unsigned)__builtin_ctzll(unit));
        }
        a->tags[unit] = (uint8_t)(FREE | order);
        set_add(a, order, unit >> order);
        a->orders |= units(order);
        unit += units(order);
    }
}

/* ---- arenas ---- */

static inline unsigned top_of(const struct buddy_arena *a)
{
    return 63 - (unsigned)__builtin_clzll(a->orders << 1 | 1);
}

/* The arena's blocks have changed. */
static inline void note_top(struct buddy *b, struct buddy_arena *a)
{
    unsigned now = top_of(a);

    if (__builtin_expect(now == a->top, 1)) {
        return;
    }
    b->with[a->top] &= ~bit(a->index);
    if (b->with[a->top] == 0) {
        b->tops &= ~bit(a->top);
    }
    b->with[now] |= bit(a->index);
    b->tops |= bit(now);
    a->top = now;
}

/* Arenas have got other indices. */
static void renumber(struct buddy *b)
{
    __builtin_memset(b->with, 0, sizeof(b->with));
    b->tops = 0;
    for (unsigned i = 0; i < b->narenas; i++) {
        struct buddy_arena *a = b->arenas[i];

        a->index = i;
        a->top = top_of(a);
        b->with[a->top] |= bit(i);
        b->tops |= bit(a->top);
    }
}

/* Merge the block that is kept, if there is one. */
static void merge_kept(struct buddy *b)
{
    struct buddy_arena *a = b->kept_in;
    unsigned order = b->kept_order;

    if (order == NONE) {
        return;
    }
    if (__builtin_expect(a->tags[b->kept] != (KEPT | order), 0)) {
        damaged(a, "the block that was given back last is not there");
    }
    b->kept_order = NONE;
    arena_merge(a, b->kept, order);
    note_top(b, a);
}

/* Index of the first arena that ends after `unit`. */
static unsigned arena_from(const struct buddy *b, uint64_t unit)
{
    unsigned lo = 0, hi = b->narenas;

    while (lo < hi) {
        unsigned mid = (lo + hi) / 2;

        if (b->arenas[mid]->first + b->arenas[mid]->count <= unit) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static inline bool in_arena(const struct buddy_arena *a, uint64_t unit)
{
    return unit - a->first < a->count;
}

/* The arena of `unit`, or NULL. */
static inline struct buddy_arena *arena_of(const struct buddy *b, uint64_t unit)
{
    unsigned i;

    if (__builtin_expect(b->last != NULL && in_arena(b->last, unit), 1)) {
        return b->last;
    }
    i = arena_from(b, unit);
    return i < b->narenas && in_arena(b->arenas[i], unit) ? b->arenas[i] : NULL;
}

static mm_err_t add_arena(struct buddy *b, void *base, size_t nbytes, void *meta, size_t meta_bytes,
                          bool fetched)
{
    struct buddy_arena *a = meta;
    struct buddy_arena it;
    unsigned at;
    size_t need;

    measure(&it, base, nbytes, b->shift);
    if (it.count == 0) {
        return MM_EINVAL;
    }
    at = arena_from(b, it.first);
    if (at < b->narenas && b->arenas[at]->first < it.first + it.count) {
        return MM_EINVAL;
    }
    need = lay_out(&it, (uintptr_t)meta);
    if (b->narenas == BUDDY_MAX_ARENAS || meta_bytes < need) {
        return MM_ENOSPC;
    }
    it.fetched = fetched;
    it.meta_bytes = meta_bytes;
    *a = it;
    arena_clear(a);
    __builtin_memmove(&b->arenas[at + 1], &b->arenas[at], (b->narenas - at) * sizeof(b->arenas[0]));
    b->arenas[at] = a;
    b->narenas++;
    renumber(b);
    return MM_OK;
}

/* Give an arena, which is empty, back to the backing. */
static void drop_arena(struct buddy *b, struct buddy_arena *a)
{
    void *base = a->base;
    size_t nbytes = a->nbytes;

    merge_kept(b); /* it may be in there */
    b->narenas--;
    __builtin_memmove(&b->arenas[a->index], &b->arenas[a->index + 1],
                      (b->narenas - a->index) * sizeof(b->arenas[0]));
    renumber(b);
    b->last = NULL;
    b->meta.put(b->meta.ctx, a, a->meta_bytes);
    b->backing.put(b->backing.ctx, base, nbytes);
}

/* An arena of at least `nbytes`, aligned to that, a power of two. */
static bool fetch(struct buddy *b, size_t nbytes)
{
    size_t got, need, got_meta;
    mm_err_t err;
    void *base = b->backing.get(b->backing.ctx, nbytes, mm_max(nbytes, b->backing.grain), &got);
    void *meta;

    if (base == NULL) {
        return false;
    }
    need = buddy_meta_bytes(base, got, b->shift);
    meta = need != 0 ? b->meta.get(b->meta.ctx, need, BUDDY_META_ALIGN, &got_meta) : NULL;
    if (meta == NULL) {
        b->backing.put(b->backing.ctx, base, got);
        return false;
    }
    err = add_arena(b, base, got, meta, got_meta, true);
    MM_ASSERT(err == MM_OK); /* the backing gives nothing twice */
    return true;
}

/* Give back the arena that is kept, if it is still empty. */
static bool drop_spare(struct buddy *b)
{
    struct buddy_arena *a = b->spare;

    b->spare = NULL;
    if (a == NULL || a->nused != 0) {
        return false;
    }
    drop_arena(b, a);
    return true;
}

/* Make room for a block of `order`. */
static bool grow(struct buddy *b, unsigned order)
{
    size_t need = (size_t)1 << (b->shift + order);
    size_t step = b->step;

    if (b->backing.get == NULL) {
        return false;
    }
    for (unsigned n = b->narenas; n >= 16; n -= 8) { /* so that 64 go far */
        step *= 2;
    }
    do {
        for (size_t n = mm_max(step, need); n >= need && b->narenas < BUDDY_MAX_ARENAS; n /= 2) {
            if (fetch(b, n)) {
                return true;
            }
        }
    } while (drop_spare(b)); /* it may be part of the only place that is large enough */
    return false;
}

/* An arena is empty now. One is kept: who takes a block, gives it back, and so on, would otherwise
 * fetch and return it each time. */
static void keep_or_drop(struct buddy *b, struct buddy_arena *a)
{
    if (b->spare == NULL || b->spare == a || b->spare->nused != 0) {
        b->spare = a;
    } else {
        drop_arena(b, a);
    }
}

/* ---- what stops the machine ---- */

struct place {
    uint64_t unit; /* where the block begins */
    unsigned order;
    bool used;
};

static _Noreturn void die(const struct buddy *b, const char *verb, const void *ptr,
                          const void *from, const char *what, const struct place *at)
{
    if (at == NULL) {
        port_panic("buddy: %s(0x%llx), called from 0x%llx: %s", verb,
                   (unsigned long long)addr_of(ptr), (unsigned long long)addr_of(from), what);
    }
    port_panic("buddy: %s(0x%llx), called from 0x%llx: %s (0x%llx, order %u)", verb,
               (unsigned long long)addr_of(ptr), (unsigned long long)addr_of(from), what,
               (unsigned long long)addr_of(ptr_of(b, at->unit)), at->order);
}

/* The block that `unit`, from `origin` on, is in. */
static struct place place_of(const struct buddy_arena *a, uint64_t unit)
{
    for (unsigned order = 0; order <= a->max_order; order++) {
        uint64_t start = mm_align_down(unit, units(order));

        if (a->tags[start] != 0 && (a->tags[start] & ORDER) >= order) {
            return (struct place){ .unit = a->origin + start,
                                   .order = a->tags[start] & ORDER,
                                   .used = (a->tags[start] & USED) != 0 };
        }
    }
    damaged(a, "a unit is in no block");
}

/* No block of `order`, or of any if that is BUDDY_ORDERS, in use begins there: say what there is.
 */
static __attribute__((noinline, cold)) _Noreturn void
blame(const struct buddy *b, const char *verb, const void *ptr, unsigned order, const void *from)
{
    uint64_t unit = addr_of(ptr) >> b->shift;
    const struct buddy_arena *a = arena_of(b, unit);
    struct place at;

    if (a == NULL) {
        die(b, verb, ptr, from, "is in no arena", NULL);
    }
    at = place_of(a, unit - a->origin);
    if (!at.used) {
        die(b, verb, ptr, from, "is free already", &at);
    }
    if (addr_of(ptr_of(b, at.unit)) != addr_of(ptr)) {
        die(b, verb, ptr, from, "lies inside a block", &at);
    }
    if (at.order != order) {
        die(b, verb, ptr, from, "is a block of another order", &at);
    }
    damaged(a, "a tag is none");
}

/* ---- public ---- */

void buddy_init(struct buddy *b, unsigned shift, const struct mm_backing *backing,
                const struct mm_backing *meta, size_t step)
{
    MM_ASSERT(shift > 0 && shift <= BUDDY_MAX_SHIFT && (backing == NULL) == (meta == NULL));
    *b = (struct buddy){ .shift = shift, .kept_order = NONE };
    if (backing != NULL) {
        MM_ASSERT(mm_is_pow2(step) && step >> shift != 0);
        b->backing = *backing;
        b->meta = *meta;
        b->step = step;
    }
}

size_t buddy_meta_bytes(const void *base, size_t nbytes, unsigned shift)
{
    struct buddy_arena it;

    measure(&it, base, nbytes, shift);
    return it.count == 0 ? 0 : lay_out(&it, 0);
}

mm_err_t buddy_add_arena(struct buddy *b, void *base, size_t nbytes, void *meta, size_t meta_bytes)
{
    return add_arena(b, base, nbytes, meta, meta_bytes, false);
}

static __attribute__((noinline)) void *alloc_other(struct buddy *b, unsigned order)
{
    struct buddy_arena *a;
    uint64_t unit;
    unsigned top;

    if (order >= BUDDY_ORDERS) {
        return NULL;
    }
    merge_kept(b);
    if (__builtin_expect(b->tops >> (order + 1) == 0, 0) && !grow(b, order)) {
        return NULL;
    }
    top = order + 1 + (unsigned)__builtin_ctzll(b->tops >> (order + 1));
    a = b->arenas[__builtin_ctzll(b->with[top])];
    b->last = a;
    unit = arena_alloc(a, order);
    note_top(b, a);
    return ptr_of(b, a->origin + unit);
}

void *buddy_alloc(struct buddy *b, unsigned order)
{
    struct buddy_arena *a = b->kept_in;
    uint8_t *tag;

    if (order != b->kept_order || order == NONE) {
        return alloc_other(b, order);
    }
    tag = &a->tags[b->kept];
    if (__builtin_expect(*tag != (KEPT | order), 0)) {
        damaged(a, "the block that was given back last is not there");
    }
    *tag = (uint8_t)(USED | order);
    b->kept_order = NONE;
    a->nused++;
    return ptr_of(b, a->origin + b->kept);
}

static inline void free_block(struct buddy *b, void *ptr, unsigned order, const void *from)
{
    uint64_t unit = addr_of(ptr) >> b->shift;
    struct buddy_arena *a = arena_of(b, unit);

    if (__builtin_expect(a == NULL, 0) || __builtin_expect(order >= BUDDY_ORDERS, 0) ||
        __builtin_expect(unit << b->shift != addr_of(ptr), 0) ||
        __builtin_expect(a->tags[unit - a->origin] != (USED | order), 0)) {
        blame(b, "free", ptr, order, from);
    }
    if (b->kept_order != NONE) {
        merge_kept(b);
    }
    unit -= a->origin;
    a->tags[unit] = (uint8_t)(KEPT | order);
    a->nused--;
    b->kept_in = a;
    b->kept = unit;
    b->kept_order = order;
    b->last = a;
    if (__builtin_expect(a->nused == 0, 0) && a->fetched) {
        keep_or_drop(b, a);
    }
}

void buddy_free(struct buddy *b, void *ptr, unsigned order)
{
    if (ptr != NULL) {
        free_block(b, ptr, order, __builtin_return_address(0));
    }
}

unsigned buddy_order(const struct buddy *b, const void *ptr)
{
    uint64_t unit = addr_of(ptr) >> b->shift;
    const struct buddy_arena *a = arena_of(b, unit);

    if (a == NULL || ptr_of(b, unit) != ptr || (a->tags[unit - a->origin] & USED) == 0) {
        blame(b, "order", ptr, BUDDY_ORDERS, __builtin_return_address(0));
    }
    return a->tags[unit - a->origin] & ORDER;
}

bool buddy_covers(const struct buddy *b, const void *ptr)
{
    return arena_of(b, addr_of(ptr) >> b->shift) != NULL;
}

void buddy_trim(struct buddy *b)
{
    (void)drop_spare(b);
}

static void *backing_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    struct buddy *b = ctx;
    unsigned order = buddy_order_for(b, mm_max(nbytes, align));
    void *ptr = buddy_alloc(b, order);

    if (ptr != NULL) {
        *got = (size_t)1 << (b->shift + order);
    }
    return ptr;
}

static void backing_put(void *ctx, void *base, size_t nbytes)
{
    struct buddy *b = ctx;

    if (!mm_is_pow2(nbytes) || nbytes >> b->shift == 0) {
        die(b, "put", base, __builtin_return_address(0), "is not as long as any block", NULL);
    }
    free_block(b, base, buddy_order_for(b, nbytes), __builtin_return_address(0));
}

struct mm_backing buddy_backing(struct buddy *b, const char *name)
{
    MM_ASSERT(b->shift >= 4); /* mm/backing.h: a grain of 16 at least */
    return (struct mm_backing){ .name = name,
                                .ctx = b,
                                .grain = (size_t)1 << b->shift,
                                .get = backing_get,
                                .put = backing_put };
}

/* ---- looking at it ---- */

void buddy_for_each(const struct buddy *b, bool (*fn)(void *ctx, const struct buddy_view *v),
                    void *ctx)
{
    for (unsigned i = 0; i < b->narenas; i++) {
        const struct buddy_arena *a = b->arenas[i];

        for (uint64_t unit = a->first - a->origin; unit < a->span;) {
            unsigned tag = a->tags[unit];
            struct buddy_view v = { .ptr = ptr_of(b, a->origin + unit),
                                    .nbytes = (size_t)1 << (b->shift + (tag & ORDER)),
                                    .order = tag & ORDER,
                                    .used = (tag & USED) != 0,
                                    .first_in_arena = a->origin + unit == a->first };

            if (!fn(ctx, &v)) {
                return;
            }
            unit += units(tag & ORDER);
        }
    }
}

static bool count_block(void *ctx, const struct buddy_view *v)
{
    struct buddy_stats *s = ctx;

    if (v->used) {
        s->used_bytes += v->nbytes;
        s->nused++;
    } else {
        s->free_bytes += v->nbytes;
        s->free_blocks[v->order]++;
    }
    return true;
}

void buddy_get_stats(const struct buddy *b, struct buddy_stats *s)
{
    *s = (struct buddy_stats){ .narenas = b->narenas };
    for (unsigned i = 0; i < b->narenas; i++) {
        s->arena_bytes += b->arenas[i]->count << b->shift;
        s->meta_bytes += b->arenas[i]->meta_bytes;
    }
    buddy_for_each(b, count_block, s);
}

/* ---- the check ---- */

static unsigned ntiers(const struct buddy_arena *a, unsigned order)
{
    return order < a->first_plain ? (unsigned)a->tiers[order].ntiers : 0;
}

static const uint64_t *tier_of(const struct buddy_arena *a, unsigned order, unsigned t)
{
    return t == ntiers(a, order) ? &a->root[order] : a->tiers[order].tier[t];
}

static bool is_free(const struct buddy_arena *a, uint64_t unit, unsigned order)
{
    return unit < a->span && a->tags[unit] == (FREE | order);
}

/* Is it the one block that may be KEPT? */
static bool is_kept(const struct buddy *b, const struct buddy_arena *a, uint64_t unit)
{
    return b->kept_order != NONE && b->kept_in == a && b->kept == unit &&
           a->tags[unit] == (KEPT | b->kept_order);
}

/* B2, B3, B6, and that all free blocks are in their sets. */
static const char *check_blocks(const struct buddy *b, const struct buddy_arena *a)
{
    uint64_t next = a->first - a->origin; /* where the next block begins */
    uint64_t nused = 0;

    for (uint64_t unit = 0; unit < a->span; unit++) {
        unsigned tag = a->tags[unit];
        unsigned order = tag & ORDER;

        if (unit != next) {
            if (tag != 0) {
                return "B2: there is a tag amid a block, or in front of the first";
            }
            continue;
        }
        if ((tag != (FREE | order) && tag != (USED | order) && !is_kept(b, a, unit)) ||
            order > a->max_order || !mm_is_aligned(unit, units(order)) ||
            units(order) > a->span - unit) {
            return "B2: a block is none, or not where it could be";
        }
        next = unit + units(order);
        nused += tag == (USED | order);
        if (tag != (FREE | order)) {
            continue;
        }
        if (is_free(a, unit ^ units(order), order)) {
            return "B3: two buddies are free";
        }
        if ((tier_of(a, order, 0)[(unit >> order) / 64] & bit(unit >> order)) == 0) {
            return "B4: a free block is not in the set of its order";
        }
    }
    return nused != a->nused ? "B6: an arena's count is not that of its blocks" : NULL;
}

static const char *check_set(const struct buddy_arena *a, unsigned order)
{
    for (unsigned t = 0; t <= ntiers(a, order); t++) {
        const uint64_t *w = tier_of(a, order, t);
        uint64_t n = members(a, order, t);

        for (uint64_t i = 0; i < mm_align_up(n, 64); i++) {
            bool is = (w[i / 64] & bit(i)) != 0;

            if (t == 0 && is && !is_free(a, i << order, order)) {
                return "B4: a set has a block that is not free";
            }
            if (t > 0 && is != (i < n && tier_of(a, order, t - 1)[i] != 0)) {
                return "B5: a bitmap does not say what is below it";
            }
        }
    }
    return (a->root[order] != 0) != ((a->orders >> order & 1) != 0)
               ? "B5: `orders` does not say what there is"
               : NULL;
}

/* B1: is the arena what its range makes it? */
static bool fits_range(const struct buddy *b, const struct buddy_arena *a)
{
    uintptr_t at = (uintptr_t)a;
    struct buddy_arena it;
    bool fits;

    measure(&it, a->base, a->nbytes, b->shift);
    fits = it.count != 0 && it.origin == a->origin && it.first == a->first &&
           it.count == a->count && it.span == a->span && it.max_order == a->max_order &&
           lay_out(&it, at) <= a->meta_bytes && it.tags == a->tags &&
           it.first_plain == a->first_plain;
    at += sizeof(it) + it.first_plain * sizeof(struct tiers);
    for (unsigned order = 0; fits && order < it.first_plain; order++) {
        struct tiers as = tiers_of(&it, order, &at);

        fits = as.ntiers == a->tiers[order].ntiers;
        for (unsigned t = 0; fits && t < MAX_TIERS; t++) {
            fits = as.tier[t] == a->tiers[order].tier[t];
        }
    }
    return fits;
}

static const char *check_arena(const struct buddy *b, const struct buddy_arena *a)
{
    const char *broken;

    if (!fits_range(b, a)) {
        return "B1: an arena's measures are not those of its range";
    }
    broken = check_blocks(b, a);
    for (unsigned order = 0; order <= a->max_order && broken == NULL; order++) {
        broken = check_set(a, order);
    }
    for (unsigned order = a->max_order + 1; order < BUDDY_ORDERS && broken == NULL; order++) {
        if (a->root[order] != 0) {
            broken = "B4: a set has a block of an order that there is not";
        }
    }
    if (broken == NULL && a->orders >> (a->max_order + 1) != 0) {
        broken = "B5: `orders` does not say what there is";
    }
    return broken;
}

const char *buddy_check(const struct buddy *b)
{
    uint64_t with[BUDDY_ORDERS + 1] = { 0 };
    bool kept = b->kept_order == NONE;

    if (b->narenas > BUDDY_MAX_ARENAS) {
        return "B1: more arenas than there can be";
    }
    for (unsigned i = 0; i < b->narenas; i++) {
        const struct buddy_arena *a = b->arenas[i];
        const char *broken = check_arena(b, a);

        if (broken != NULL) {
            return broken;
        }
        if (a->index != i ||
            (i > 0 && a->first < b->arenas[i - 1]->first + b->arenas[i - 1]->count)) {
            return "B1: arenas are not sorted, or overlap";
        }
        if (a->top != top_of(a)) {
            return "B5: an arena's largest block is another";
        }
        with[a->top] |= bit(i);
        kept |= b->kept_in == a && b->kept < a->span && is_kept(b, a, b->kept);
    }
    if (!kept) {
        return "B2: the block that is kept is none";
    }
    for (unsigned n = 0; n <= BUDDY_ORDERS; n++) {
        if (b->with[n] != with[n] || (b->tops >> n & 1) != (with[n] != 0)) {
            return "B5: arenas are not said to have the blocks that they have";
        }
    }
    return NULL;
}
