/*
 * block.c - blocks of 2 MiB and sections of 1 GiB: finding, opening, splitting, owning, merging.
 *
 * All of this runs beside itself on other processors. The rules that make it safe:
 *
 *  - Who clears a bit in `closed` has the section, who clears one in `whole` has the block: all 512
 *    frames, and its words in the planes.
 *  - Frames of a SPLIT block are taken by its owner only. So what the owner sees free stays free
 *    until he takes it, and a block that he sees full stays full.
 *  - Anybody may put frames into a SPLIT block. Whoever thereby fills it and finds no owner becomes
 *    the owner and merges; if there is one, he will look before and after he gives the block up.
 *  - `split` is set by who has the block, cleared by the owner. So an owner must look at it after
 *    he has set `owned`, and then can rely on it.
 *  - `some` and the summaries say "perhaps". They are set after what they tell of, and cleared
 *    before looking again.
 *
 * In the planes of frames, the second one (`multi`) is always read first and set last on the way to
 * a HEAD, so that a frame never looks FREE while it is none (frame_is in pool.h; pmm.c, "Records").
 */
#include "pool.h"

uint64_t range_ending_after(const struct pmm *p, uint64_t pfn)
{
    uint64_t lo = 0;
    uint64_t hi = p->nranges;

    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        if (p->ranges[mid].end > pfn) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

uint64_t section_from(const struct pmm *p, uint64_t number)
{
    if (number <= p->dir_first) {
        return 0;
    }
    uint64_t at = (number - p->dir_first) >> p->dir_shift;
    if (at >= p->ndir) {
        return p->nsections;
    }
    uint64_t lo = p->dir[at];
    uint64_t hi = p->dir[at + 1];
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;

        if (p->sections[mid].number >= number) {
            hi = mid;
        } else {
            lo = mid + 1;
        }
    }
    return lo;
}

/* The first set bit in [from, end) of a plane; `end` if there is none. */
static uint64_t next_bit(const aword *plane, uint64_t from, uint64_t end)
{
    while (from < end) {
        uint64_t v = load(&plane[from / 64]) & word_mask(from, end);

        if (v != 0) {
            return from / 64 * 64 + (uint64_t)__builtin_ctzll(v);
        }
        from = (from | 63) + 1;
    }
    return end;
}

static bool plane_is_empty(const aword *plane)
{
    uint64_t any = 0;

    for (unsigned w = 0; w < PLANE_WORDS; w++) {
        any |= load(&plane[w]);
    }
    return any == 0;
}

/* ---- frames ---------------------------------------------------------------------------------- */

static bool block_is_full(const struct pmm *p, uint64_t b)
{
    for (unsigned w = 0; w < BLOCK_WORDS; w++) {
        if (free_in_word(p, b, w) != ALL) {
            return false;
        }
    }
    return true;
}

static bool block_is_empty(const struct pmm *p, uint64_t b)
{
    for (unsigned w = 0; w < BLOCK_WORDS; w++) {
        if (free_in_word(p, b, w) != 0) {
            return false;
        }
    }
    return true;
}

bool frame_is_body(const struct pmm *p, uint64_t pfn)
{
    uint64_t s = section_of(p, pfn);

    if (s == NO_SECTION || !p->sections[s].open) {
        return false;
    }
    uint64_t i = pfn % SECTION_FRAMES / BLOCK_FRAMES;
    const struct book *k = &p->books[s];
    if (test_bit(k->whole, i)) {
        return false;
    }
    bool split = test_bit(k->split, i);
    bool kin = test_bit(k->kin, i);
    if (!split) {
        return kin || pfn % BLOCK_FRAMES != 0;
    }
    const aword *multi = p->sections[s].multi;
    if (kin || multi == NULL) {
        return false;
    }
    uint64_t w = pfn % SECTION_FRAMES / 64;
    return (load(&multi[w]) & ~load(&p->frames[s * SECTION_WORDS + w]) & bit(pfn)) != 0;
}

enum frame_is frame_is(const struct pmm *p, uint64_t pfn)
{
    uint64_t s = section_of(p, pfn);

    if (s == NO_SECTION) {
        return IS_ABSENT;
    }
    if (!p->sections[s].open) {
        return IS_FREE;
    }
    uint64_t i = pfn % SECTION_FRAMES / BLOCK_FRAMES;
    const struct book *k = &p->books[s];
    if (test_bit(k->whole, i)) {
        return IS_FREE;
    }
    if (!test_bit(k->split, i)) {
        return test_bit(k->kin, i) || pfn % BLOCK_FRAMES != 0 ? IS_BODY : IS_HEAD;
    }
    if (test_bit(k->kin, i)) {
        return IS_HELD;
    }
    uint64_t w = pfn % SECTION_FRAMES / 64;
    const aword *plane = p->sections[s].multi;
    bool multi = plane != NULL && (load(&plane[w]) & bit(pfn)) != 0; /* before the free plane */
    bool avail = (load(&p->frames[s * SECTION_WORDS + w]) & bit(pfn)) != 0;
    if (!multi) {
        return avail ? IS_FREE : IS_SINGLE;
    }
    if (!avail) {
        return IS_BODY;
    }
    return frame_is_body(p, pfn + 1) ? IS_HEAD : IS_HELD;
}

/* ---- sections -------------------------------------------------------------------------------- */

/* Blocks [i, end) of a section that is being opened are FREE, all of them. */
static void open_whole(struct book *k, uint64_t i, uint64_t end)
{
    for (; i < end; i = (i | 63) + 1) {
        uint64_t mask = word_mask(i, end);

        store(&k->split[i / 64], load(&k->split[i / 64]) & ~mask);
        store(&k->kin[i / 64], load(&k->kin[i / 64]) & ~mask);
        store(&k->whole[i / 64], load(&k->whole[i / 64]) | mask);
    }
}

/* Frames [off, end), of one block, are free. */
static void open_part(struct pmm *p, uint64_t s, uint64_t off, uint64_t end)
{
    struct book *k = &p->books[s];
    uint64_t i = off / BLOCK_FRAMES;
    aword *avail = block_free(p, s * SECTION_BLOCKS + i);
    aword *multi = block_multi(p, s * SECTION_BLOCKS + i);

    if (test_bit(k->kin, i)) { /* the first part of it that is free: all HELD so far */
        for (unsigned w = 0; w < BLOCK_WORDS; w++) {
            store(&avail[w], ALL);
            store(&multi[w], ALL);
        }
        clear_bit(k->kin, i);
        set_bit(k->some, i);
    }
    for (uint64_t f = off; f < end; f = (f | 63) + 1) {
        clear_bits(&multi[f % BLOCK_FRAMES / 64], word_mask(f, end));
    }
}

/* Frames [off, end) of a section are free. */
static void open_range(struct pmm *p, uint64_t s, uint64_t off, uint64_t end)
{
    uint64_t from = mm_align_up(off, BLOCK_FRAMES);
    uint64_t to = mm_align_down(end, BLOCK_FRAMES);

    if (from > to) { /* both in one block */
        open_part(p, s, off, end);
        return;
    }
    if (off < from) {
        open_part(p, s, off, from);
    }
    open_whole(&p->books[s], from / BLOCK_FRAMES, to / BLOCK_FRAMES);
    if (to < end) {
        open_part(p, s, to, end);
    }
}

void open_section(struct pmm *p, uint64_t s)
{
    struct book *k = &p->books[s];
    uint64_t base = section_base(p, s);

    for (unsigned w = 0; w < PLANE_WORDS; w++) {
        store(&k->whole[w], 0);
        store(&k->split[w], ALL);
        store(&k->kin[w], ALL);
        store(&k->some[w], 0);
        store(&k->owned[w], 0);
    }
    for (uint64_t i = range_ending_after(p, base); i < p->nranges; i++) {
        const struct range *r = &p->ranges[i];

        if (r->base >= base + SECTION_FRAMES) {
            break;
        }
        if (r->free) { /* else as it is: HELD */
            open_range(p, s, mm_max(r->base, base) - base, mm_min(r->end - base, SECTION_FRAMES));
        }
    }
    atomic_store_explicit(&p->sections[s].open, true, memory_order_release);
    if (!plane_is_empty(k->whole)) {
        set_bit(p->some_whole, s);
    }
    if (!plane_is_empty(k->some)) {
        set_bit(p->some_free, s);
    }
}

/* ---- blocks ---------------------------------------------------------------------------------- */

void split_block(struct pmm *p, uint64_t b, const uint64_t *free_words)
{
    struct book *k = book_of(p, b);
    uint64_t i = b % SECTION_BLOCKS;
    aword *avail = block_free(p, b);
    aword *multi = block_multi(p, b);
    uint64_t any = 0;

    for (unsigned w = 0; w < BLOCK_WORDS; w++) {
        uint64_t v = free_words != NULL ? free_words[w] : ALL;

        if (multi != NULL) {
            store(&multi[w], 0);
        }
        store(&avail[w], v);
        any |= v;
    }
    if (test_bit(k->kin, i)) {
        clear_bit(k->kin, i);
    }
    set_bit(k->split, i);
    if (any != 0) {
        show_free(p, b);
    }
}

bool is_split(const struct pmm *p, uint64_t b)
{
    const struct book *k = book_of(p, b);
    uint64_t i = b % SECTION_BLOCKS;

    return test_bit(k->split, i) && !test_bit(k->kin, i);
}

bool try_own(struct pmm *p, uint64_t b)
{
    struct book *k = book_of(p, b);
    uint64_t i = b % SECTION_BLOCKS;

    do {
        if (set_bit(k->owned, i)) {
            return false;
        }
        if (is_split(p, b)) {
            return true;
        }
        clear_bit(k->owned, i); /* it was merged since the caller saw it */
        /* Who split and filled it meanwhile has left it to its owner: to us. */
    } while (is_split(p, b));
    return false;
}

/* The owner of a full block makes it whole. Ownership goes before `whole` shows the block: who
 * takes it may split it and own it at once. */
static void merge(struct pmm *p, uint64_t b)
{
    struct book *k = book_of(p, b);
    uint64_t i = b % SECTION_BLOCKS;

    clear_bit(k->some, i);
    clear_bit(k->split, i);
    clear_bit(k->owned, i);
    set_bit(k->whole, i);
    want_bit(p->some_whole, b / SECTION_BLOCKS);
}

void disown(struct pmm *p, uint64_t b)
{
    struct book *k = book_of(p, b);
    uint64_t i = b % SECTION_BLOCKS;

    do {
        if (block_is_full(p, b)) {
            merge(p, b);
            return;
        }
        if (block_is_empty(p, b)) {
            clear_bit(k->some, i);
            if (!block_is_empty(p, b)) {
                show_free(p, b);
            }
        }
        clear_bit(k->owned, i);
        /* Who filled it meanwhile has left it to its owner: to us. */
    } while (block_is_full(p, b) && try_own(p, b));
}

void merge_if_full(struct pmm *p, uint64_t b)
{
    if (block_is_full(p, b) && try_own(p, b)) {
        disown(p, b);
    }
}

/* The lowest whole block of an open section, taken; NO_BLOCK if there is none. */
static uint64_t take_whole_in(struct pmm *p, uint64_t s)
{
    struct book *k = &p->books[s];

    for (unsigned w = 0; w < PLANE_WORDS; w++) {
        uint64_t v;

        while ((v = load(&k->whole[w])) != 0) {
            if ((clear_bits(&k->whole[w], v & -v) & v & -v) != 0) {
                return s * SECTION_BLOCKS + w * 64 + (unsigned)__builtin_ctzll(v);
            }
        }
    }
    clear_bit(p->some_whole, s);
    if (!plane_is_empty(k->whole)) {
        set_bit(p->some_whole, s);
    }
    return NO_BLOCK;
}

/* A closed section from [from, end), opened; `end` if there is none. */
static uint64_t open_any(struct pmm *p, uint64_t from, uint64_t end)
{
    uint64_t s;

    while ((s = next_bit(p->closed, from, end)) < end) {
        if (clear_bit(p->closed, s)) {
            open_section(p, s);
            return s;
        }
    }
    return end;
}

static uint64_t take_whole_from(struct pmm *p, uint64_t from, uint64_t end)
{
    for (uint64_t s = next_bit(p->some_whole, from, end); s < end;
         s = next_bit(p->some_whole, s + 1, end)) {
        uint64_t b = take_whole_in(p, s);

        if (b != NO_BLOCK) {
            return b;
        }
    }
    return NO_BLOCK;
}

uint64_t take_whole(struct pmm *p, enum zone z, uint64_t home)
{
    uint64_t lo = p->zone_begin[z];
    uint64_t hi = p->zone_begin[z + 1];

    if (home < lo || home >= hi) {
        home = lo;
    }
    if (lo == hi) {
        return NO_BLOCK;
    }
    /* One's own section first, closed or not: processors that share one wait for its lines. */
    if (test_bit(p->closed, home)) {
        open_any(p, home, home + 1);
    }
    if (test_bit(p->some_whole, home)) {
        uint64_t b = take_whole_in(p, home);

        if (b != NO_BLOCK) {
            return b;
        }
    }
    for (;;) {
        uint64_t b = take_whole_from(p, home, hi);

        if (b == NO_BLOCK) {
            b = take_whole_from(p, lo, home);
        }
        if (b != NO_BLOCK) {
            return b;
        }
        if (open_any(p, home, hi) == hi && open_any(p, lo, home) == home) {
            return NO_BLOCK;
        }
    }
}

/* An owned block with free frames in sections [s, end), none below block `from`. */
static uint64_t own_some_from(struct pmm *p, uint64_t from, uint64_t end)
{
    for (uint64_t s = next_bit(p->some_free, from / SECTION_BLOCKS, end); s < end;
         s = next_bit(p->some_free, s + 1, end)) {
        struct book *k = &p->books[s];
        uint64_t i = s == from / SECTION_BLOCKS ? from % SECTION_BLOCKS : 0;

        for (; i < SECTION_BLOCKS; i = (i | 63) + 1) {
            uint64_t v = load(&k->some[i / 64]) & ~load(&k->owned[i / 64]) & ALL << (i & 63);

            for (; v != 0; v &= v - 1) {
                uint64_t b = s * SECTION_BLOCKS + i / 64 * 64 + (unsigned)__builtin_ctzll(v);

                if (try_own(p, b)) {
                    return b;
                }
            }
        }
        if (plane_is_empty(k->some)) {
            clear_bit(p->some_free, s);
            if (!plane_is_empty(k->some)) {
                set_bit(p->some_free, s);
            }
        }
    }
    return NO_BLOCK;
}

uint64_t own_some(struct pmm *p, enum zone z, uint64_t from)
{
    uint64_t lo = p->zone_begin[z];
    uint64_t hi = p->zone_begin[z + 1];

    if (from < lo * SECTION_BLOCKS || from >= hi * SECTION_BLOCKS) {
        from = lo * SECTION_BLOCKS;
    }
    uint64_t b = own_some_from(p, from, hi);
    if (b == NO_BLOCK) { /* what lies below `from` in its own section, too */
        b = own_some_from(p, lo * SECTION_BLOCKS, mm_min(hi, from / SECTION_BLOCKS + 1));
    }
    return b;
}
