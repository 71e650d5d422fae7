/*
 * stats.c - what there is, counted.
 *
 * A pool keeps no counts of its free frames but the one that pmm_free_frames() adds up: everything
 * else is counted when somebody asks, with the pool stopped. Two walks do it, both over the planes
 * and not over the frames: scan_free() goes through all free memory once, and count_frames() looks
 * at one range. A closed section, 64 blocks that are whole, and a block that is not SPLIT cost them
 * one step each, so that a TiB of which little is in use takes microseconds, and a machine whose
 * every second frame is free a few nanoseconds for each word of 64.
 *
 * Blocks by order are counted a word at a time as well. A natural block of 2^n is free if its
 * halves are, so anding a word with itself shifted by one, and keeping every second bit, leaves a
 * bit for each pair; the same again for each four; and so on. Words that are full are the bits of
 * the next level: words of a block, blocks of a section.
 *
 * Rejected: to keep the counts with every operation (each would be one more line that all
 * processors write); to walk from free run to free run and cut each into blocks (8 million runs in
 * 64 GiB).
 */
#include "mm/pmm.h"

#include "mm/port.h"
#include "pool.h"

/* ---- all free memory ------------------------------------------------------------------------- */

/* Frames [base, base + count) are free. Called by rising address. */
static void add_run(struct scan *sc, uint64_t base, uint64_t count)
{
    sc->run = base == sc->run_end ? sc->run + count : count;
    sc->run_end = base + count;
    sc->largest = mm_max(sc->largest, sc->run);
}

/* Are there `n` bits in a row in `v`? */
static bool has_run(uint64_t v, uint64_t n)
{
    while (n > 1 && v != 0) { /* v shifted by 0, 1 .. n - 1, anded: half of them at a time */
        uint64_t half = n / 2;

        v &= half < 64 ? v >> half : 0;
        n -= half;
    }
    return v != 0;
}

/* Frames [base, base + 64) are free where `v`, which is not ALL, has bits. */
static void add_word(struct scan *sc, uint64_t base, uint64_t v)
{
    unsigned low = (unsigned)__builtin_ctzll(~v);
    unsigned high = (unsigned)__builtin_clzll(~v);

    if (low > 0) {
        add_run(sc, base, low);
    }
    while (has_run(v, sc->largest + 1)) {
        sc->largest++;
    }
    if (high > 0) {
        add_run(sc, base + 64 - high, high);
    }
}

/*
 * Bits of `v`, which is not ALL, are free blocks of `order`, bit 0 the first of a block of
 * 2^(order + 6) frames: count those that are in no larger one.
 */
static void add_blocks(struct scan *sc, unsigned order, uint64_t v)
{
    static const uint64_t firsts[] = {
        UINT64_C(0x5555555555555555), UINT64_C(0x1111111111111111), UINT64_C(0x0101010101010101),
        UINT64_C(0x0001000100010001), UINT64_C(0x0000000100000001), 0,
    };

    for (unsigned i = 0; v != 0; i++) {
        uint64_t n = count_bits(v);

        sc->blocks[order + i] += n;
        if (i > 0) {
            sc->blocks[order + i - 1] -= 2 * n;
        }
        v &= v >> (1 << i) & firsts[i];
    }
}

static void scan_block(const struct pmm *p, struct scan *sc, uint64_t b)
{
    uint64_t base = block_base(p, b);
    uint64_t full = 0; /* words of it */

    for (unsigned w = 0; w < BLOCK_WORDS; w++) {
        uint64_t v = free_in_word(p, b, w);

        sc->free += count_bits(v);
        if (v == ALL) {
            full |= bit(w);
            add_run(sc, base + w * WORD_FRAMES, WORD_FRAMES);
        } else if (v != 0) {
            add_blocks(sc, 0, v);
            add_word(sc, base + w * WORD_FRAMES, v);
        }
    }
    add_blocks(sc, 6, full);
}

static void scan_section(const struct pmm *p, struct scan *sc, uint64_t s)
{
    const struct book *book = &p->books[s];
    uint64_t base = section_base(p, s);
    uint64_t full = 0; /* words of book->whole */

    if (test_bit(p->closed, s)) {
        sc->free += SECTION_FRAMES;
        sc->blocks[SECTION_SHIFT]++;
        add_run(sc, base, SECTION_FRAMES);
        return;
    }
    for (unsigned i = 0; i < PLANE_WORDS; i++) {
        uint64_t first = s * SECTION_BLOCKS + i * 64;
        uint64_t whole = load(&book->whole[i]);
        uint64_t some = load(&book->split[i]) & load(&book->some[i]);

        sc->free += count_bits(whole) * BLOCK_FRAMES;
        if (whole == ALL) {
            full |= bit(i);
            add_run(sc, block_base(p, first), 64 * BLOCK_FRAMES);
            continue;
        }
        add_blocks(sc, BLOCK_SHIFT, whole);
        for (uint64_t left = whole | some; left != 0; left &= left - 1) {
            unsigned n = (unsigned)__builtin_ctzll(left);

            if ((whole & bit(n)) != 0) {
                add_run(sc, block_base(p, first + n), BLOCK_FRAMES);
            } else {
                scan_block(p, sc, first + n);
            }
        }
    }
    add_blocks(sc, BLOCK_SHIFT + 6, full);
}

void scan_free(const struct pmm *p, struct scan *sc)
{
    *sc = (struct scan){ .run_end = NO_FRAME };
    for (uint64_t s = 0; s < p->nsections; s++) {
        scan_section(p, sc, s);
        if (section_base(p, s) < HIGH) {
            sc->below_4g = sc->free;
        }
    }
}

/* ---- part of it ------------------------------------------------------------------------------ */

/* Frames of word `w` of SPLIT block `b` that are given. */
static uint64_t used_in_word(const struct pmm *p, uint64_t b, unsigned w)
{
    const aword *multi = block_multi(p, b);
    uint64_t nofree = ~load(&block_free(p, b)[w]);
    uint64_t m = multi != NULL ? load(&multi[w]) : 0;
    uint64_t top = ~nofree & m; /* HEAD or HELD: what comes after tells */
    uint64_t head = top & (nofree & m) >> 1;

    if (top >> 63 != 0 && frame_is(p, block_base(p, b) + w * WORD_FRAMES + 63) == IS_HEAD) {
        head |= bit(63);
    }
    return nofree | head;
}

/* Add frames [lo, hi) of block `b`. */
static void count_block(const struct pmm *p, uint64_t b, uint64_t lo, uint64_t hi, uint64_t *nfree,
                        uint64_t *nused)
{
    const struct book *book = book_of(p, b);
    uint64_t i = b % SECTION_BLOCKS;
    bool split = test_bit(book->split, i);

    if (test_bit(book->whole, i)) {
        *nfree += hi - lo;
    } else if (!split) {
        *nused += hi - lo;
    } else if (!test_bit(book->kin, i)) {
        for (uint64_t off = lo; off < hi; off = (off | 63) + 1) {
            unsigned w = (unsigned)(off / WORD_FRAMES);

            *nfree += count_bits(free_in_word(p, b, w) & word_mask(off, hi));
            *nused += count_bits(used_in_word(p, b, w) & word_mask(off, hi));
        }
    }
}

void count_frames(const struct pmm *p, uint64_t base, uint64_t end, uint64_t *nfree,
                  uint64_t *nused)
{
    *nfree = *nused = 0;
    for (uint64_t s = section_from(p, base >> SECTION_SHIFT);
         s < p->nsections && section_base(p, s) < end; s++) {
        uint64_t lo = mm_max(base, section_base(p, s)) - section_base(p, s);
        uint64_t hi = mm_min(end - section_base(p, s), SECTION_FRAMES);

        if (test_bit(p->closed, s)) {
            *nfree += hi - lo;
            continue;
        }
        for (uint64_t off = lo; off < hi; off = (off | (BLOCK_FRAMES - 1)) + 1) {
            uint64_t first = mm_align_down(off, BLOCK_FRAMES);

            count_block(p, s * SECTION_BLOCKS + off / BLOCK_FRAMES, off - first,
                        mm_min(hi - first, BLOCK_FRAMES), nfree, nused);
        }
    }
}

static void tally(const struct pmm *p, uint64_t base, uint64_t count, struct pmm_tally *t)
{
    uint64_t end = base + mm_min(count, NO_FRAME - base);
    uint64_t covered = 0;
    uint64_t bad = 0;
    uint64_t nfree;
    uint64_t nused;

    for (uint64_t i = range_ending_after(p, base); i < p->nranges && p->ranges[i].base < end; i++) {
        covered += mm_min(p->ranges[i].end, end) - mm_max(p->ranges[i].base, base);
    }
    for (unsigned i = 0; i < p->nbad; i++) {
        uint64_t lo = mm_max(p->bad[i].base, base);
        uint64_t hi = mm_min(p->bad[i].base + p->bad[i].count, end);

        if (lo < hi) {
            count_frames(p, lo, hi, &nfree, &nused);
            bad += hi - lo - nused;
        }
    }
    count_frames(p, base, end, &nfree, &nused);
    t->frames[PMM_ABSENT] = count - covered;
    t->frames[PMM_FREE] = nfree;
    t->frames[PMM_USED] = nused;
    t->frames[PMM_HELD] = covered - nfree - nused - bad;
    t->frames[PMM_BAD] = bad;
}

/* ---- public ---------------------------------------------------------------------------------- */

mm_err_t pmm_why(struct pmm *p, unsigned order)
{
    struct scan sc;
    uint64_t irq;

    if (order > PMM_MAX_ORDER) {
        return MM_EINVAL;
    }
    irq = stop_all(p);
    scan_free(p, &sc);
    go_on(p, irq);
    for (unsigned i = order; i < NORDERS; i++) {
        if (sc.blocks[i] != 0) {
            return MM_OK;
        }
    }
    return sc.free < UINT64_C(1) << order ? MM_ENOMEM : MM_EFRAG;
}

bool pmm_covers(const struct pmm *p, pfn_t pfn)
{
    uint64_t i = range_ending_after(p, pfn.v);

    return i < p->nranges && p->ranges[i].base <= pfn.v;
}

bool pmm_is_free(const struct pmm *p, pfn_t pfn)
{
    enum frame_is is = frame_is(p, pfn.v);

    return is == IS_FREE || (is == IS_SINGLE && frame_is_in_hand(p, pfn.v));
}

uint64_t pmm_free_frames(const struct pmm *p)
{
    int64_t nfree = (int64_t)(p->total - p->records) - p->held;

    for (unsigned i = 0; i < p->ncpus; i++) {
        nfree -= p->cpus[i].taken + p->cpus[i].hit_taken;
        for (unsigned k = 0; k < SLOTS; k++) {
            nfree += count_bits(load(&p->cpus[i].slot[k].mask));
        }
    }
    return nfree > 0 ? (uint64_t)nfree : 0; /* below 0: others were at work meanwhile */
}

void pmm_get_tally(struct pmm *p, pfn_t base, uint64_t count, struct pmm_tally *t)
{
    uint64_t irq = stop_all(p);

    tally(p, base.v, count, t);
    go_on(p, irq);
}

enum pmm_state pmm_get_state(struct pmm *p, pfn_t pfn)
{
    unsigned state = PMM_ABSENT;
    struct pmm_tally t;

    pmm_get_tally(p, pfn, 1, &t);
    while (state < PMM_STATES - 1 && t.frames[state] == 0) {
        state++;
    }
    return (enum pmm_state)state;
}

bool pmm_get_bad(struct pmm *p, unsigned i, pfn_t *base, uint64_t *count)
{
    uint64_t irq = mm_lock(&p->lock); /* `bad` changes only while it is held */
    bool exists = i < p->nbad;

    if (exists) {
        *base = pfn_make(p->bad[i].base);
        *count = p->bad[i].count;
    }
    mm_unlock(&p->lock, irq);
    return exists;
}

unsigned pmm_ncpus(const struct pmm *p)
{
    return p->ncpus;
}

void pmm_get_cpu_stats(struct pmm *p, unsigned cpu, struct pmm_cpu_stats *s)
{
    MM_ASSERT(cpu < p->ncpus);
    const struct pmm_cpu *c = &p->cpus[cpu];

    *s = (struct pmm_cpu_stats){ .refills = c->refills, .blocks = c->nblocks };
    for (unsigned i = 0; i < SLOTS; i++) {
        s->cached_frames += count_bits(load(&c->slot[i].mask));
    }
    s->zeroed_frames = count_bits(load(&c->slot[ZERO].mask));
}

void pmm_get_stats(struct pmm *p, struct pmm_stats *s)
{
    uint64_t irq = stop_all(p);
    struct scan sc;
    uint64_t bad = 0;

    scan_free(p, &sc);
    for (unsigned i = 0; i < p->nbad; i++) {
        bad += p->bad[i].count;
    }
    bad -= p->leaving;
    *s = (struct pmm_stats){
        .total_frames = p->total,
        .free_frames = sc.free,
        .held_frames = (uint64_t)p->held - bad,
        .bad_frames = bad,
        .leaving_frames = p->leaving,
        .record_frames = p->records,
        .below_4g_free = sc.below_4g,
        .largest_free = sc.largest,
        .outside_2m = sc.free,
        .stops = p->stops,
        .refusals = p->refusals,
        .storage_bytes = p->storage_bytes,
        .sections = p->nsections,
    };
    for (unsigned i = 0; i < NORDERS; i++) {
        s->free_blocks[i] = sc.blocks[i];
        if (i >= BLOCK_SHIFT) {
            s->outside_2m -= sc.blocks[i] << i;
        }
    }
    for (uint64_t i = 0; i < p->nsections; i++) {
        s->open_sections += p->sections[i].open;
    }
    go_on(p, irq);
}
