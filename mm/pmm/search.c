/*
 * search.c - where contiguous frames are free, told exactly. The pool is stopped.
 *
 * One walk by rising address answers every request: for any count, at any alignment, within any
 * limits. It carries the run of free frames that it is in, as the lowest place in that run where
 * the request could begin and the end that the run has reached so far. When the place and `count`
 * fit before that end, it is the answer; when the run breaks first, no later place in it would have
 * done, for places only move up. Nothing is looked at twice, and what begins in one block may end
 * in another, or in the next GiB.
 *
 * It steps over a closed section, a row of whole blocks, and blocks without free frames at once;
 * summaries pass over sections that have nothing to offer. In a block that is cut up, it takes a
 * word of 64 frames at a time: runs at both ends of the word join what lies beside it, and all that
 * fits in the middle is found together, by anding the word with itself shifted. So a refusal costs
 * some nanoseconds for each word of a SPLIT block, and close to nothing for the rest.
 *
 * Placement is a matter of what the walk takes for free. It is sent out for frames of SPLIT blocks
 * only, if a block is more than asked for; then for whole blocks of open sections, too; then for
 * closed sections; first in high memory, then in low. Whoever is in a hurry has been served before
 * by pmm.c; here is what remains, and what it finds must be what there is.
 *
 * Rejected: from free run to free run (millions of runs in a GiB of which every other frame is
 * free, to refuse two); a tree over free runs (would have to be kept by every get and put).
 */
#include "mm/pmm.h"

#include "pool.h"

/* What counts as free. */
enum use {
    USE_SPLIT = 1,  /* free frames of SPLIT blocks */
    USE_WHOLE = 2,  /* whole blocks of open sections */
    USE_CLOSED = 4, /* closed sections */
};

struct walk {
    const struct pmm *p;
    const struct wish *w;
    uint64_t lo, hi; /* only frames of [lo, hi) */
    unsigned use;    /* enum use */
    uint64_t starts; /* bits of a word that are aligned as asked for */
    uint64_t place;  /* the lowest in the run that the walk is in, */
    uint64_t end;    /* which ends here so far */
};

/* The lowest place at or above `pfn` that meets alignment and boundary. Frame numbers are below
 * 2^52, so nothing here wraps. */
static uint64_t lowest_place(const struct wish *w, uint64_t pfn)
{
    uint64_t place = mm_align_up(pfn, w->align);

    /* A place that crosses a multiple of `boundary` is not at one, as count <= boundary. Hence
     * align < boundary, and the next multiple is aligned as well. */
    if (w->boundary != 0 && (place & (w->boundary - 1)) + w->count > w->boundary) {
        place = mm_align_up(place, w->boundary);
    }
    return place;
}

/* [base, end) is free, and nothing between it and what was free before. Found? */
static bool pass_run(struct walk *k, uint64_t base, uint64_t end)
{
    base = mm_max(base, k->lo);
    end = mm_min(end, k->hi);
    if (base >= end) {
        return false;
    }
    if (base != k->end) {
        k->place = lowest_place(k->w, base);
    }
    k->end = end;
    return k->place < end && end - k->place >= k->w->count;
}

/* Is there a place within a word? `v`: its free frames. */
static bool fits_in_word(struct walk *k, uint64_t base, uint64_t v)
{
    uint64_t have = 1; /* bit i of v: so many frames from i on are free */

    while (have < k->w->count && v != 0) {
        uint64_t more = mm_min(have, k->w->count - have);

        v &= v >> more;
        have += more;
    }
    for (v &= k->starts; v != 0;) {
        uint64_t first = base + (unsigned)__builtin_ctzll(v);
        uint64_t place = lowest_place(k->w, first);

        if (place == first) {
            k->place = place;
            return true;
        }
        if (place - base >= WORD_FRAMES) { /* the next that is aligned lies beyond the word */
            return false;
        }
        v &= ALL << (place - base);
    }
    return false;
}

/* The same for frames [base, base + 64), of which those of `v` are free. */
static bool pass_word(struct walk *k, uint64_t base, uint64_t v)
{
    if (base < k->lo) {
        v = k->lo - base < WORD_FRAMES ? v & ALL << (k->lo - base) : 0;
    }
    if (k->hi - base < WORD_FRAMES) {
        v &= ~(ALL << (k->hi - base));
    }
    if (v == 0) {
        return false;
    }
    if (v == ALL) {
        return pass_run(k, base, base + WORD_FRAMES);
    }
    unsigned low = (unsigned)__builtin_ctzll(~v);
    unsigned high = (unsigned)__builtin_clzll(~v);

    return (low > 0 && pass_run(k, base, base + low)) ||
           (k->w->count < WORD_FRAMES && fits_in_word(k, base, v)) ||
           (high > 0 && pass_run(k, base + WORD_FRAMES - high, base + WORD_FRAMES));
}

static bool pass_block(struct walk *k, uint64_t b)
{
    uint64_t base = block_base(k->p, b);

    for (unsigned w = 0; w < BLOCK_WORDS && base < k->hi; w++, base += WORD_FRAMES) {
        if (pass_word(k, base, free_in_word(k->p, b, w))) {
            return true;
        }
    }
    return false;
}

static bool pass_section(struct walk *k, uint64_t s)
{
    const struct book *book = &k->p->books[s];
    uint64_t base = section_base(k->p, s);
    uint64_t i = (mm_max(k->lo, base) - base) / BLOCK_FRAMES;

    if (test_bit(k->p->closed, s)) {
        return pass_run(k, base, base + SECTION_FRAMES);
    }
    while (i < SECTION_BLOCKS && base + i * BLOCK_FRAMES < k->hi) {
        uint64_t whole = (k->use & USE_WHOLE) != 0 ? load(&book->whole[i / 64]) : 0;
        uint64_t some =
            (k->use & USE_SPLIT) != 0 ? load(&book->some[i / 64]) & load(&book->split[i / 64]) : 0;
        uint64_t left = (whole | some) & ALL << (i & 63);

        if (left == 0) {
            i = (i | 63) + 1;
            continue;
        }
        i = i / 64 * 64 + (unsigned)__builtin_ctzll(left);
        if ((whole & bit(i)) == 0) {
            if (pass_block(k, s * SECTION_BLOCKS + i)) {
                return true;
            }
            i++;
            continue;
        }
        uint64_t other = ~whole & ALL << (i & 63);
        uint64_t end = i / 64 * 64 + (other != 0 ? (unsigned)__builtin_ctzll(other) : 64);
        if (pass_run(k, base + i * BLOCK_FRAMES, base + end * BLOCK_FRAMES)) {
            return true;
        }
        i = end;
    }
    return false;
}

/* The first section from `s` on that may have what counts as free; nsections if there is none. */
static uint64_t next_section(const struct pmm *p, uint64_t s, unsigned use)
{
    while (s < p->nsections) {
        uint64_t i = s / 64;
        uint64_t v = ((use & USE_SPLIT) != 0 ? load(&p->some_free[i]) : 0) |
                     ((use & USE_WHOLE) != 0 ? load(&p->some_whole[i]) : 0) |
                     ((use & USE_CLOSED) != 0 ? load(&p->closed[i]) : 0);

        v &= ALL << (s & 63);
        if (v != 0) {
            return i * 64 + (unsigned)__builtin_ctzll(v);
        }
        s = (s | 63) + 1;
    }
    return p->nsections;
}

/* The first section that ends above `lo`, of those. */
static uint64_t first_section(const struct pmm *p, uint64_t lo, unsigned use)
{
    return next_section(p, section_from(p, lo >> SECTION_SHIFT), use);
}

static bool begins_below(const struct pmm *p, uint64_t s, uint64_t hi)
{
    return s < p->nsections && section_base(p, s) < hi;
}

/* The lowest place in [lo, hi) in what counts as free; NO_FRAME if there is none. */
static uint64_t walk(const struct pmm *p, const struct wish *w, uint64_t lo, uint64_t hi,
                     unsigned use)
{
    struct walk k = { .p = p, .w = w, .lo = lo, .hi = hi, .use = use, .end = NO_FRAME };

    k.starts = w->align < WORD_FRAMES ? ALL / ((UINT64_C(1) << w->align) - 1) : 1;
    if (mm_is_aligned(w->align | w->count, BLOCK_FRAMES)) {
        k.use &= ~(unsigned)USE_SPLIT; /* of no use for blocks only */
    }
    for (uint64_t s = first_section(p, lo, k.use); begins_below(p, s, hi);
         s = next_section(p, s + 1, k.use)) {
        if (pass_section(&k, s)) {
            return k.place;
        }
    }
    return NO_FRAME;
}

static uint64_t find_in_zone(const struct pmm *p, const struct wish *w, uint64_t lo, uint64_t hi)
{
    unsigned use = 0;
    unsigned added = 0; /* since the last walk: if there is none of it, neither is there a place */
    uint64_t found = NO_FRAME;

    if (lo >= hi || hi - lo < w->count) {
        return NO_FRAME;
    }
    for (unsigned more = USE_SPLIT; more <= USE_CLOSED && found == NO_FRAME; more <<= 1) {
        use |= more;
        added |= more;
        if (more == USE_SPLIT && w->count >= BLOCK_FRAMES) {
            continue;
        }
        if (begins_below(p, first_section(p, lo, added), hi)) {
            found = walk(p, w, lo, hi, use);
        }
        added = 0;
    }
    return found;
}

uint64_t find_place(const struct pmm *p, const struct wish *w, uint64_t lo, uint64_t hi)
{
    if (w->boundary != 0 && w->count > w->boundary) {
        return NO_FRAME; /* it crosses one wherever it begins */
    }
    uint64_t found = find_in_zone(p, w, mm_max(lo, HIGH), hi);
    if (found == NO_FRAME) { /* what begins in low memory may end in high */
        found = find_in_zone(p, w, lo, mm_min(hi, HIGH + w->count - 1));
    }
    return found;
}
