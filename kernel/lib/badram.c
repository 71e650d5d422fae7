/*
 * badram.c - frames that failed, and the words that keep other systems off them.
 *
 * A pair of address and mask is a cube: a set of frame numbers with some bits fixed and the others
 * free. To say a set of frames with the fewest cubes is the minimisation of two-level logic, which
 * is NP-hard. What is done here is the usual approximation: cut the ranges into aligned blocks
 * (cubes already); then, block by block, free one more bit at a time as long as no good frame gets
 * in, until none can be freed (a prime cube, which may overlap others), and drop the blocks that it
 * covers whole. Bits are tried from below and from above, and the prime that covers more is kept.
 * tests/unit/test_badram.c compares it with the true minimum for all sets of 16 frames.
 *
 * If that takes too many pairs, ranges are rounded outwards to 2, 4, 8, ... frames until it does
 * not: good memory is lost then, and how much is told.
 */
#include "lib/badram.h"

#include "lib/fmt.h"

#define FRAME_BITS 52u /* of a frame number */
#define MAX_BLOCKS 256u

/* Frames f with (f & ~free) == fixed. */
struct cube {
    uint64_t fixed, free;
};

/* A set of frames as disjoint cubes. */
struct blocks {
    struct cube cube[MAX_BLOCKS];
    unsigned n;
};

static unsigned count_bits(uint64_t v)
{
    unsigned n = 0;

    for (; v != 0; v &= v - 1) {
        n++;
    }
    return n;
}

static uint64_t cube_frames(const struct cube *c)
{
    return UINT64_C(1) << count_bits(c->free);
}

static uint64_t common_frames(const struct cube *a, const struct cube *b)
{
    const struct cube both = { 0, a->free & b->free };

    return ((a->fixed ^ b->fixed) & ~a->free & ~b->free) != 0 ? 0 : cube_frames(&both);
}

/* Is `inner` part of `outer`? */
static bool is_part(const struct cube *inner, const struct cube *outer)
{
    return (inner->free & ~outer->free) == 0 && common_frames(inner, outer) != 0;
}

static bool has_only_bad(const struct blocks *set, const struct cube *c)
{
    uint64_t bad = 0;

    for (unsigned i = 0; i < set->n; i++) {
        bad += common_frames(&set->cube[i], c);
    }
    return bad == cube_frames(c);
}

/* `c`, grown as far as it can. */
static struct cube prime_of(const struct blocks *set, struct cube c, bool from_above)
{
    for (unsigned i = 0; i < FRAME_BITS; i++) {
        uint64_t bit = UINT64_C(1) << (from_above ? FRAME_BITS - 1 - i : i);
        const struct cube wider = { c.fixed & ~bit, c.free | bit };

        if ((c.free & bit) == 0 && has_only_bad(set, &wider)) {
            c = wider;
        }
    }
    return c;
}

/* How many of the blocks that are not `covered` yet are part of `c`; `mark` notes that they are. */
static unsigned gain(const struct blocks *set, const struct cube *c, bool covered[MAX_BLOCKS],
                     bool mark)
{
    unsigned n = 0;

    for (unsigned i = 0; i < set->n; i++) {
        if (!covered[i] && is_part(&set->cube[i], c)) {
            n++;
            covered[i] = mark;
        }
    }
    return n;
}

/* The ranges, rounded outwards to 2^order frames; returns their frames. */
static uint64_t round_out(const struct badram *b, unsigned order, struct badram *wide)
{
    uint64_t unit = UINT64_C(1) << order;

    wide->n = 0;
    for (unsigned i = 0; i < b->n; i++) {
        uint64_t base = mm_align_down(b->range[i].base, unit);
        uint64_t end = mm_align_up(b->range[i].base + b->range[i].count, unit);
        struct badram_range *last = wide->n != 0 ? &wide->range[wide->n - 1] : NULL;

        if (last != NULL && last->base + last->count >= base) {
            last->count = end - last->base;
        } else {
            wide->range[wide->n++] = (struct badram_range){ base, end - base };
        }
    }
    return badram_frames(wide);
}

/* False if there are too many. */
static bool cut_into_blocks(const struct badram *b, struct blocks *set)
{
    set->n = 0;
    for (unsigned i = 0; i < b->n; i++) {
        uint64_t at = b->range[i].base, end = at + b->range[i].count;

        while (at < end) {
            uint64_t size = 1;

            while ((at & size) == 0 && size * 2 <= end - at) {
                size *= 2;
            }
            if (set->n == MAX_BLOCKS) {
                return false;
            }
            set->cube[set->n++] = (struct cube){ at, size - 1 };
            at += size;
        }
    }
    return true;
}

/* The pairs for exactly the frames of `b`; 0 if there are more than BADRAM_MAX_PAIRS. */
static unsigned cover_exactly(const struct badram *b, struct badram_pair *pair)
{
    struct blocks set;
    bool covered[MAX_BLOCKS] = { false };
    unsigned n = 0;

    if (!cut_into_blocks(b, &set)) {
        return 0;
    }
    for (unsigned i = 0; i < set.n; i++) {
        struct cube low, high;

        if (covered[i]) {
            continue;
        }
        if (n == BADRAM_MAX_PAIRS) {
            return 0;
        }
        low = prime_of(&set, set.cube[i], false);
        high = prime_of(&set, set.cube[i], true);
        if (gain(&set, &high, covered, false) > gain(&set, &low, covered, false)) {
            low = high;
        }
        gain(&set, &low, covered, true);
        pair[n++] = (struct badram_pair){ low.fixed << MM_PAGE_SHIFT, ~low.free << MM_PAGE_SHIFT };
    }
    return n;
}

bool badram_add(struct badram *b, uint64_t base, uint64_t count)
{
    uint64_t end = base + count;
    unsigned first = 0, last;

    if (count == 0 || end < base || end > UINT64_C(1) << FRAME_BITS) {
        return false;
    }
    while (first < b->n && b->range[first].base + b->range[first].count < base) {
        first++;
    }
    /* Ranges [first, last) touch the new one, and merge with it. */
    for (last = first; last < b->n && b->range[last].base <= end; last++) {
        base = mm_min(base, b->range[last].base);
        end = mm_max(end, b->range[last].base + b->range[last].count);
    }
    if (first == last) {
        if (b->n == BADRAM_MAX) {
            return false;
        }
        for (unsigned i = b->n++; i > first; i--) {
            b->range[i] = b->range[i - 1];
        }
    } else {
        for (unsigned i = last; i < b->n; i++) {
            b->range[first + 1 + i - last] = b->range[i];
        }
        b->n -= last - first - 1;
    }
    b->range[first] = (struct badram_range){ base, end - base };
    return true;
}

bool badram_add_frame(struct badram *b, uint64_t frame)
{
    unsigned near = 0;
    uint64_t base, end;
    bool exact = badram_add(b, frame, 1);

    if (!exact) {
        while (near + 1 < b->n && b->range[near + 1].base < frame) {
            near++;
        }
        base = mm_min(b->range[near].base, frame);
        end = mm_max(b->range[near].base + b->range[near].count, frame + 1);
        b->range[near] = (struct badram_range){ base, end - base };
    }
    return exact;
}

uint64_t badram_frames(const struct badram *b)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < b->n; i++) {
        n += b->range[i].count;
    }
    return n;
}

unsigned badram_cover(const struct badram *b, struct badram_pair pair[BADRAM_MAX_PAIRS],
                      uint64_t *extra)
{
    struct badram wide;
    unsigned order = 0, n;

    *extra = 0;
    if (b->n == 0) {
        return 0;
    }
    do { /* it ends: rounded to half of all there is, no more than two pairs are left */
        *extra = round_out(b, order++, &wide) - badram_frames(b);
        n = cover_exactly(&wide, pair);
    } while (n == 0);
    return n;
}

char *badram_memmap_word(char buf[BADRAM_WORD_MAX], const struct badram_range *r)
{
    fmt_s(buf, BADRAM_WORD_MAX, "memmap=0x%llx$0x%llx",
          (unsigned long long)(r->count << MM_PAGE_SHIFT),
          (unsigned long long)(r->base << MM_PAGE_SHIFT));
    return buf;
}

char *badram_pair_text(char buf[BADRAM_WORD_MAX], const struct badram_pair *p)
{
    fmt_s(buf, BADRAM_WORD_MAX, "0x%llx,0x%llx", (unsigned long long)p->addr,
          (unsigned long long)p->mask);
    return buf;
}

const char *badram_check(const struct badram *b)
{
    if (b->n > BADRAM_MAX) {
        return "badram: more ranges than there is room for";
    }
    for (unsigned i = 0; i < b->n; i++) {
        const struct badram_range *r = &b->range[i];

        if (r->count == 0 || r->count > (UINT64_C(1) << FRAME_BITS) - r->base) {
            return "badram: a range is empty, or runs past the last frame";
        }
        if (i > 0 && r[-1].base + r[-1].count >= r->base) {
            return "badram: two ranges touch, or are out of order";
        }
    }
    return NULL;
}
