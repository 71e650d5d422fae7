/*
 * check.c - do the invariants of a frame pool hold?
 *
 * pmm.c explains what the structures mean; here is what must be true of them, whatever happened
 * before. P1 to P9 are looked at with the pool stopped, when no cache holds anything; P10, about
 * the cache of the caller's own processor, just before. No hit is under way, unless the caller is a
 * handler that came upon one: what that may not have changed yet, marked * below, is left out then.
 *
 *  P1  ranges are not empty, sorted, do not overlap, and keep to their kind: frame 0 is in none,
 *      and those of a PMM_GENERAL pool lie above 1 MiB, of a PMM_LOW one below it
 *  P2  sections are sorted; every frame of every range is in one, and none is without such a
 *      frame; directory and zones point to the sections that they should
 *  P3  a section is closed or open, and not both; a closed one is covered by free ranges wholly
 *  P4  a block is in one of five states; free frames and whole blocks are shown: a SPLIT block with
 *      free frames has `some`, and its section is in `some_free`, or `some_whole` for whole blocks*
 *  P5  a frame that no range covers is not FREE and not given; a BODY frame follows a HEAD, a BODY
 *      frame or a GIVEN block, and a GIVEN block that is `kin` likewise
 *  P6  no block has an owner, none is full that is not whole, and no word is marked as in a hand*
 *  P7  the counts are those of the frames: `total`, `held` and `records`, and the sum of `taken`*;
 *      the planes that lie in frames of the pool lie in HELD ones, and are as many as `records`
 *  P8  if a bit of `none` is set, there is no free block of that order*
 *  P9  bad ranges are sorted, apart from each other, covered, and hold nothing that is free;
 *      `leaving` counts what is in use there, and each section with such frames says so
 *  P10 an owned block is SPLIT, has its `owned` bit set, and is in one place only; the frames of a
 *      slot are in such a block, those of GIVE in any that is SPLIT, and neither free in the plane
 *      nor part of a larger allocation
 *
 * The walk is bounded by the number of ranges and sections, which are (const), and follows nothing
 * that P1 or P2 has not found right: so it ends whatever the rest holds.
 */
#include "mm/pmm.h"

#include "mm/port.h"
#include "pool.h"

/* A walk through all frames, by rising address. */
struct walk {
    const struct pmm *p;
    bool amid_hit;  /* what is marked * above may not be so */
    uint64_t range; /* index of the first range that may cover what comes next */
    uint64_t nfree, nheld, nused;

    /* Of the frame just passed: */
    bool goes_on; /* may the next one be part of its allocation? */
    bool is_top;  /* it counted as HELD, but is a HEAD if it is */
};

/* ---- P10: the cache of this processor -------------------------------------------------------- */

static const char *check_owned(const struct pmm *p, const struct pmm_cpu *c)
{
    for (unsigned i = 0; i < OWNED_BLOCKS; i++) {
        uint64_t b = c->block[i];
        const struct book *book;

        if (b == NO_BLOCK) {
            continue;
        }
        if (b >= p->nsections * SECTION_BLOCKS || !p->sections[b / SECTION_BLOCKS].open) {
            return "P10: a cache owns a block that there is not";
        }
        book = book_of(p, b);
        b %= SECTION_BLOCKS;
        if (!test_bit(book->owned, b) || !test_bit(book->split, b) || test_bit(book->kin, b)) {
            return "P10: a cache's block is not owned, or not split";
        }
        for (unsigned k = 0; k < i; k++) {
            if (c->block[k] == c->block[i]) {
                return "P10: a cache owns a block twice";
            }
        }
    }
    return NULL;
}

static const char *check_slot(const struct pmm *p, const struct pmm_cpu *c, unsigned i)
{
    const struct slot *slot = &c->slot[i];
    uint64_t mask = load(&slot->mask);
    uint64_t w = slot->first % BLOCK_FRAMES / WORD_FRAMES;

    if (mask == 0) {
        return NULL;
    }
    if (section_of(p, slot->first) == NO_SECTION) {
        return "P10: frames in a cache are none of this pool";
    }
    uint64_t b = block_of(p, slot->first);
    if ((i == GIVE ? !is_split(p, b) : b != c->block[i]) ||
        slot->first != block_base(p, b) + w * WORD_FRAMES || slot->free != &block_free(p, b)[w] ||
        (block_multi(p, b) != NULL && slot->multi != &block_multi(p, b)[w])) {
        return "P10: frames in a cache are not in a block that it owns";
    }
    if ((load(&block_free(p, b)[w]) & mask) != 0) {
        return "P10: a frame in a cache is free in the plane, too";
    }
    if ((load(slot->multi) & mask) != 0) {
        return "P10: a frame in a cache belongs to a larger allocation";
    }
    return NULL;
}

static const char *check_cache(struct pmm *p)
{
    struct turn t;
    const char *broken;

    begin_turn(p, &t);
    broken = check_owned(p, t.c);
    for (unsigned i = 0; i < SLOTS && broken == NULL && t.upon != SHAKEN; i++) {
        broken = check_slot(p, t.c, i);
    }
    end_turn(&t);
    return broken;
}

/* ---- P1, P2: what does not change ------------------------------------------------------------ */

static const char *check_ranges(const struct pmm *p)
{
    uint64_t lo = p->kind == PMM_GENERAL ? LOW_END : 1;
    uint64_t hi = p->kind == PMM_LOW ? LOW_END : NO_FRAME;
    uint64_t total = 0;

    for (uint64_t i = 0; i < p->nranges; i++) {
        const struct range *r = &p->ranges[i];

        if (r->base >= r->end) {
            return "P1: a range is empty";
        }
        if (i > 0 && r->base < p->ranges[i - 1].end) {
            return "P1: ranges are not sorted, or overlap";
        }
        if (r->base < lo || r->end > hi) {
            return "P1: a range is not of the pool's kind";
        }
        total += r->end - r->base;
    }
    return total != p->total ? "P7: `total` is not what the ranges cover" : NULL;
}

/* Every section has a frame of a range, and every frame has its section. */
static const char *check_sections(const struct pmm *p)
{
    uint64_t s = 0;     /* sections below have been found right */
    uint64_t shown = 0; /* number of the last of them, and one */

    for (uint64_t i = 0; i < p->nranges; i++) {
        uint64_t first = p->ranges[i].base >> SECTION_SHIFT;
        uint64_t last = (p->ranges[i].end - 1) >> SECTION_SHIFT;

        for (uint64_t number = mm_max(first, shown); number <= last; number++) {
            if (s == p->nsections || p->sections[s].number != number) {
                return "P2: sections are not those of the ranges";
            }
            s++;
            shown = number + 1;
        }
    }
    return s != p->nsections ? "P2: a section without memory" : NULL;
}

static const char *check_directory(const struct pmm *p)
{
    uint64_t first = p->sections[0].number;
    uint64_t last = p->sections[p->nsections - 1].number;
    uint64_t s = 0;

    if (p->dir_first != first || p->dir_shift > 31 ||
        p->ndir != ((last - first) >> p->dir_shift) + 1 || p->dir[p->ndir] != p->nsections) {
        return "P2: the directory does not begin and end with the sections";
    }
    for (uint64_t i = 0; i < p->ndir; i++) {
        while (p->sections[s].number < first + (i << p->dir_shift)) {
            s++;
        }
        if (p->dir[i] != s) {
            return "P2: an entry of the directory is wrong";
        }
    }
    if (p->zone_begin[ZONE_BELOW_4G] != 0 || p->zone_begin[ZONES] != p->nsections ||
        p->zone_begin[ZONE_ABOVE_4G] != section_from(p, HIGH >> SECTION_SHIFT)) {
        return "P2: a zone does not begin where it should";
    }
    return NULL;
}

/* ---- P3 to P6: sections, blocks, frames ------------------------------------------------------ */

/* Frames of [base, end) that are covered, or covered by ranges that were free. */
static uint64_t covered(struct walk *k, uint64_t base, uint64_t end, bool only_free)
{
    const struct pmm *p = k->p;
    uint64_t n = 0;

    while (k->range < p->nranges && p->ranges[k->range].end <= base) {
        k->range++;
    }
    for (uint64_t i = k->range; i < p->nranges && p->ranges[i].base < end; i++) {
        if (p->ranges[i].free || !only_free) {
            n += mm_min(p->ranges[i].end, end) - mm_max(p->ranges[i].base, base);
        }
    }
    return n;
}

/* The same for a word of frames, as bits. */
static uint64_t covered_word(struct walk *k, uint64_t base)
{
    const struct pmm *p = k->p;
    uint64_t bits = 0;

    if (covered(k, base, base + WORD_FRAMES, false) == WORD_FRAMES) {
        return ALL;
    }
    for (uint64_t i = k->range; i < p->nranges && p->ranges[i].base < base + WORD_FRAMES; i++) {
        bits |= word_mask(mm_max(p->ranges[i].base, base) - base,
                          mm_min(p->ranges[i].end - base, WORD_FRAMES));
    }
    return bits;
}

/* P4: is what is free shown in this summary? */
static bool shows(const struct walk *k, const aword *plane, uint64_t i)
{
    return k->amid_hit || test_bit(plane, i);
}

static const char *check_split(struct walk *k, uint64_t b)
{
    const struct pmm *p = k->p;
    const aword *multi = block_multi(p, b);
    uint64_t before = k->nfree;

    for (unsigned w = 0; w < BLOCK_WORDS; w++) {
        uint64_t ours = covered_word(k, block_base(p, b) + w * WORD_FRAMES);
        uint64_t f = load(&block_free(p, b)[w]);
        uint64_t m = multi != NULL ? load(&multi[w]) : 0;
        uint64_t top = f & m;
        uint64_t body = ~f & m;
        uint64_t single = ~f & ~m;
        uint64_t may_go_on = ours & (top | body);
        uint64_t heads = count_bits(body & (top << 1 | k->is_top));

        if ((~ours & ~top) != 0) {
            return "P5: a frame outside the ranges is not HELD";
        }
        if ((body & ~(may_go_on << 1 | k->goes_on)) != 0) {
            return "P5: a body frame without a head";
        }
        k->nfree += count_bits(f & ~m);
        k->nheld += count_bits(ours & top) - heads;
        k->nused += count_bits(single | body) + heads;
        k->goes_on = may_go_on >> 63 != 0;
        k->is_top = top >> 63 != 0;
    }
    if (k->nfree - before == BLOCK_FRAMES) {
        return "P6: a block is full, but not whole";
    }
    if (k->nfree != before && !shows(k, book_of(p, b)->some, b % SECTION_BLOCKS)) {
        return "P4: a block does not show that it has free frames";
    }
    return NULL;
}

/* Block `b` is not SPLIT. */
static const char *check_unsplit(struct walk *k, uint64_t b, bool whole, bool held, bool kin)
{
    uint64_t base = block_base(k->p, b);
    uint64_t ours = covered(k, base, base + BLOCK_FRAMES, false);

    if (held) {
        k->nheld += ours;
    } else if (ours != BLOCK_FRAMES) {
        return whole ? "P5: a free block outside the ranges"
                     : "P5: a given block outside the ranges";
    } else if (whole) {
        k->nfree += ours;
    } else {
        if (kin && !k->goes_on) {
            return "P5: a block goes on with no allocation";
        }
        k->nheld -= kin && k->is_top;
        k->nused += ours + (kin && k->is_top);
    }
    k->goes_on = !held && !whole;
    k->is_top = false;
    return NULL;
}

/* The 64 blocks of an open section from `b` on. */
static const char *check_blocks(struct walk *k, uint64_t b)
{
    const struct pmm *p = k->p;
    const struct book *book = book_of(p, b);
    uint64_t s = b / SECTION_BLOCKS;
    uint64_t i = b % SECTION_BLOCKS / 64;
    uint64_t whole = load(&book->whole[i]);
    uint64_t split = load(&book->split[i]);
    uint64_t kin = load(&book->kin[i]);
    const char *broken = NULL;

    if ((whole & (split | kin)) != 0) {
        return "P4: a block is in none of the five states";
    }
    if (load(&book->owned[i]) != 0) {
        return "P6: a block has an owner";
    }
    if (whole != 0 && !shows(k, p->some_whole, s)) {
        return "P4: a section does not show that it has whole blocks";
    }
    if ((split & ~kin & load(&book->some[i])) != 0 && !shows(k, p->some_free, s)) {
        return "P4: a section does not show that it has free frames";
    }
    for (unsigned n = 0; n < 64 && broken == NULL; n++) {
        bool is_split = (split & bit(n)) != 0;
        bool is_kin = (kin & bit(n)) != 0;

        broken = is_split && !is_kin
                     ? check_split(k, b + n)
                     : check_unsplit(k, b + n, (whole & bit(n)) != 0, is_split, is_kin);
    }
    return broken;
}

static const char *check_frames(struct walk *k)
{
    const struct pmm *p = k->p;
    const char *broken = NULL;

    for (uint64_t s = 0; s < p->nsections && broken == NULL; s++) {
        uint64_t base = section_base(p, s);

        if (test_bit(p->closed, s) == p->sections[s].open) {
            return "P3: a section is both closed and open, or neither";
        }
        if (s == 0 || section_base(p, s - 1) + SECTION_FRAMES != base) {
            k->goes_on = k->is_top = false;
        }
        if (p->sections[s].open) {
            for (unsigned i = 0; i < SECTION_BLOCKS && broken == NULL; i += 64) {
                broken = check_blocks(k, s * SECTION_BLOCKS + i);
            }
            continue;
        }
        if (covered(k, base, base + SECTION_FRAMES, true) != SECTION_FRAMES) {
            return "P3: a closed section is not free wholly";
        }
        k->nfree += SECTION_FRAMES;
        k->goes_on = k->is_top = false;
    }
    for (uint64_t s = p->nsections; s < p->nsum * 64 && broken == NULL; s++) {
        if (test_bit(p->closed, s) || test_bit(p->some_whole, s) || test_bit(p->some_free, s)) {
            broken = "P3: a summary shows a section that there is not";
        }
    }
    return broken;
}

/* ---- P7 to P9: counts, and what is out of service -------------------------------------------- */

static const char *check_counts(const struct walk *k)
{
    const struct pmm *p = k->p;
    int64_t taken = 0;

    for (unsigned i = 0; i < p->ncpus; i++) {
        taken += p->cpus[i].taken + p->cpus[i].hit_taken;
    }
    if ((int64_t)k->nheld != p->held + (int64_t)p->records) {
        return "P7: `held` and `records` are not the frames that are HELD";
    }
    if ((int64_t)k->nused != taken && !k->amid_hit) {
        return "P7: `taken` is not the number of frames that are in use";
    }
    return NULL;
}

static const char *check_records(const struct pmm *p)
{
    uint64_t records = 0;

    for (uint64_t s = 0; s < p->nsections; s++) {
        uint64_t base = p->sections[s].records;

        if (base == 0) {
            continue;
        }
        for (uint64_t i = 0; i < UINT64_C(1) << MULTI_ORDER; i++) {
            if (frame_is(p, base + i) != IS_HELD) {
                return "P7: a plane is not in HELD frames";
            }
        }
        records += UINT64_C(1) << MULTI_ORDER;
    }
    return records != p->records ? "P7: `records` is not what planes take" : NULL;
}

static const char *check_none(const struct walk *k)
{
    const struct pmm *p = k->p;
    struct scan sc;
    uint32_t exist = 0; /* orders of which there are free blocks */

    scan_free(p, &sc);
    for (unsigned i = 0; i < NORDERS; i++) {
        if (sc.blocks[i] != 0) {
            exist |= (UINT32_C(2) << i) - 1;
        }
    }
    return (exist & p->none) != 0 && !k->amid_hit
               ? "P8: a block is free of an order that is noted to have none"
               : NULL;
}

static const char *check_hands(const struct walk *k)
{
    const struct pmm *p = k->p;
    uint64_t any = 0;

    for (uint64_t i = 0; i <= p->hand_mask; i++) {
        any |= load(&p->hands[i]);
    }
    return any != 0 && !k->amid_hit ? "P6: a word is marked as being in a hand" : NULL;
}

/* Does each section say that it has frames in use in [base, end)? */
static bool leaving_shows(const struct pmm *p, uint64_t base, uint64_t end)
{
    for (uint64_t s = section_from(p, base >> SECTION_SHIFT);
         s < p->nsections && section_base(p, s) < end; s++) {
        uint64_t nfree;
        uint64_t nused;

        count_frames(p, mm_max(base, section_base(p, s)),
                     mm_min(end, section_base(p, s) + SECTION_FRAMES), &nfree, &nused);
        if (nused != 0 && !p->sections[s].leaving) {
            return false;
        }
    }
    return true;
}

static const char *check_bad(const struct pmm *p)
{
    struct walk k = { .p = p };
    uint64_t leaving = 0;
    uint64_t before = 0;

    if (p->nbad > PMM_MAX_BAD) {
        return "P9: more bad ranges than there can be";
    }
    for (unsigned i = 0; i < p->nbad; i++) {
        uint64_t base = p->bad[i].base;
        uint64_t end = base + p->bad[i].count;
        uint64_t nfree;
        uint64_t nused;

        if (end <= base || (i > 0 && base <= before)) {
            return "P9: bad ranges are empty, not sorted, or touch";
        }
        if (covered(&k, base, end, false) != end - base) {
            return "P9: a bad range is not covered";
        }
        count_frames(p, base, end, &nfree, &nused);
        if (nfree != 0) {
            return "P9: a bad frame is free";
        }
        if (!leaving_shows(p, base, end)) {
            return "P9: a section does not show that frames are leaving";
        }
        leaving += nused;
        before = end;
    }
    return leaving != p->leaving ? "P9: `leaving` is not the number of bad frames in use" : NULL;
}

const char *pmm_check(struct pmm *p)
{
    const char *broken = check_cache(p);
    struct walk k = { .p = p, .amid_hit = work_on(this_cpu(p)) != IDLE };
    uint64_t irq;

    if (broken != NULL) {
        return broken; /* to stop the pool would spread it */
    }
    irq = k.amid_hit ? stop_all(p) : stop_at_rest(p);
    broken = check_ranges(p);
    if (broken == NULL) {
        broken = check_sections(p);
    }
    if (broken == NULL) {
        broken = check_directory(p);
    }
    if (broken == NULL) {
        broken = check_frames(&k);
    }
    if (broken == NULL) {
        broken = check_counts(&k);
    }
    if (broken == NULL) {
        broken = check_records(p);
    }
    if (broken == NULL) {
        broken = check_hands(&k);
    }
    if (broken == NULL) {
        broken = check_none(&k);
    }
    if (broken == NULL) {
        broken = check_bad(p);
    }
    go_on(p, irq);
    return broken;
}
