/*
 * exact.c - taking and giving back with the pool stopped: any count, any place, any part.
 *
 * While the pool is stopped no cache holds anything, no block has an owner, and every block that is
 * free as a whole is `whole`, or its section closed. So this is plain code over the planes, of one
 * thread; that it leaves them so again is all that the rest of the pool asks of it.
 *
 * Everything is done piece by piece, a piece being what lies in one block. A block that a piece
 * covers is a matter of three bits, so that a TiB is taken at the rate of blocks, not of frames.
 * One that is covered in part is split first.
 *
 * An allocation is taken in two steps. First its frames stop being free: blocks that it covers
 * become GIVEN, the frames of the others SINGLE. Then they are named, as one allocation: HEAD and
 * BODY, `kin` for blocks that go on with it. In between, the sections where its ends lie get their
 * second plane if they have none, out of frames that are free: which those of the allocation, by
 * then, are not. What is given back goes the same way: first the frames become free, then what
 * remains on either side is named. So even the frames just put can serve as the plane that tells
 * what remains.
 *
 * Records. Frames that hold a plane are HELD, and so not to be put or added by anybody; HELD needs
 * a plane. If the frames found for the plane of section A lie in section B, and B has no plane, B
 * gets the plane, and marks its own frames there; then another 8 frames are looked for. As B has a
 * plane now, that ends, mostly the next time.
 *
 * When there are not 8 frames left in a row for a plane, the section becomes lax: frames of it
 * that are to be named remain SINGLE. Then nobody can tell where one allocation ends and the next
 * begins, and no put is refused for that. Which frames are free is known all the same.
 *
 * Out of service. Ranges that were retired are kept as a list. Their frames are HELD; those that
 * are in use become so when they are put, and until then their sections are marked as `leaving`,
 * which sends every put there to exact_put(). A section that has such frames, or frames HELD in a
 * block that is not HELD as a whole, has its second plane since before, so that no put needs one to
 * be right. If frames to be retired hold a plane, it moves.
 *
 * Rejected: a mark for each frame that holds records (all four codes of a frame are taken, and
 * records are few: a search through the sections that have them, in the rare calls that must
 * know, does); to move a plane to make room for a large allocation (32 KiB copied with everybody
 * stopped, for one block of 2 MiB that is whole again).
 */
#include "mm/pmm.h"

#include "mm/port.h"
#include "pool.h"

#define RECORD_FRAMES (UINT64_C(1) << MULTI_ORDER) /* of one plane */

/* The part of a range of frames that lies in one block. */
struct piece {
    uint64_t b;        /* the block */
    uint64_t off, end; /* frames [off, end) of it */
};

typedef void (*piece_fn)(struct pmm *p, const struct piece *at);

/* Frames [base, end). */
struct span {
    uint64_t base, end;
};

/* ---- blocks ---------------------------------------------------------------------------------- */

enum block_is { BLOCK_FREE, BLOCK_SPLIT, BLOCK_GIVEN, BLOCK_HELD };

/* Of an open section. */
static enum block_is block_is(const struct pmm *p, uint64_t b)
{
    const struct book *book = book_of(p, b);
    uint64_t i = b % SECTION_BLOCKS;

    if (test_bit(book->whole, i)) {
        return BLOCK_FREE;
    }
    if (!test_bit(book->split, i)) {
        return BLOCK_GIVEN;
    }
    return test_bit(book->kin, i) ? BLOCK_HELD : BLOCK_SPLIT;
}

static void put_bit(aword *plane, uint64_t i, bool on)
{
    if (test_bit(plane, i) == on) {
        return; /* as mostly: to look is cheaper */
    }
    if (on) {
        set_bit(plane, i);
    } else {
        clear_bit(plane, i);
    }
}

/* The block becomes FREE, GIVEN or HELD as a whole. */
static void make_block(struct pmm *p, uint64_t b, enum block_is is)
{
    struct book *book = book_of(p, b);
    uint64_t i = b % SECTION_BLOCKS;

    put_bit(book->whole, i, is == BLOCK_FREE);
    put_bit(book->split, i, is == BLOCK_HELD);
    put_bit(book->kin, i, is == BLOCK_HELD);
    if (is == BLOCK_FREE) {
        want_bit(p->some_whole, b / SECTION_BLOCKS);
    }
}

/*
 * Frames of SPLIT block `b` were put, or taken: it may be free as a whole, or have none free. Only
 * a hit that was interrupted, and that the caller is in the interrupt of, may own the block; it
 * will look at the block itself.
 */
static void settle(struct pmm *p, uint64_t b)
{
    show_free(p, b);
    if (try_own(p, b)) {
        disown(p, b);
    }
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static struct piece piece_at(const struct pmm *p, uint64_t pfn, uint64_t end)
{
    uint64_t off = pfn % BLOCK_FRAMES;

    return (struct piece){ block_of(p, pfn), off, mm_min(end - (pfn - off), BLOCK_FRAMES) };
}

static bool is_entire(const struct piece *at)
{
    return at->end - at->off == BLOCK_FRAMES;
}

/* Which frames of word `w` of its block are in the piece? */
static uint64_t piece_mask(const struct piece *at, uint64_t w)
{
    uint64_t lo = mm_max(at->off, w * WORD_FRAMES);
    uint64_t hi = mm_min(at->end, (w + 1) * WORD_FRAMES);

    return lo < hi ? word_mask(lo, hi) : 0;
}

static void each_piece(struct pmm *p, uint64_t base, uint64_t end, piece_fn fn)
{
    for (uint64_t pfn = base; pfn < end;) {
        struct piece at = piece_at(p, pfn, end);

        fn(p, &at);
        pfn += at.end - at.off;
    }
}

/* Split a block; its frames stay what they are, but for the names of those that are given. */
static void cut_block(struct pmm *p, uint64_t b)
{
    static const uint64_t none[BLOCK_WORDS];

    switch (block_is(p, b)) {
    case BLOCK_FREE:
        clear_bit(book_of(p, b)->whole, b % SECTION_BLOCKS);
        split_block(p, b, NULL);
        break;
    case BLOCK_GIVEN:
        split_block(p, b, none);
        break;
    case BLOCK_HELD: /* not but where there is a second plane */
        split_block(p, b, NULL);
        for (unsigned w = 0; w < BLOCK_WORDS; w++) {
            store(&block_multi(p, b)[w], ALL);
        }
        break;
    case BLOCK_SPLIT:
        break;
    }
}

static void open_closed(struct pmm *p, uint64_t b)
{
    uint64_t s = b / SECTION_BLOCKS;

    if (test_bit(p->closed, s)) {
        clear_bit(p->closed, s);
        open_section(p, s);
    }
}

/* Frames that are all free are in use from now on, and have no names. */
static void occupy(struct pmm *p, const struct piece *at)
{
    open_closed(p, at->b);
    if (is_entire(at) && block_is(p, at->b) == BLOCK_FREE) {
        make_block(p, at->b, BLOCK_GIVEN);
        return;
    }
    cut_block(p, at->b);
    for (uint64_t w = at->off / WORD_FRAMES; w * WORD_FRAMES < at->end; w++) {
        clear_bits(&block_free(p, at->b)[w], piece_mask(at, w));
    }
    settle(p, at->b);
}

/* Frames that are all in use become free. */
static void release(struct pmm *p, const struct piece *at)
{
    aword *multi = block_multi(p, at->b);

    if (is_entire(at) && block_is(p, at->b) == BLOCK_GIVEN) {
        make_block(p, at->b, BLOCK_FREE);
        return;
    }
    cut_block(p, at->b);
    for (uint64_t w = at->off / WORD_FRAMES; w * WORD_FRAMES < at->end; w++) {
        if (multi != NULL) {
            clear_bits(&multi[w], piece_mask(at, w));
        }
        set_bits(&block_free(p, at->b)[w], piece_mask(at, w));
    }
    settle(p, at->b);
}

/* Those that are free become HELD; others stay what they are. */
static void hold(struct pmm *p, const struct piece *at)
{
    open_closed(p, at->b);
    switch (block_is(p, at->b)) {
    case BLOCK_FREE:
        if (is_entire(at)) {
            make_block(p, at->b, BLOCK_HELD);
            return;
        }
        cut_block(p, at->b);
        break;
    case BLOCK_SPLIT:
        break;
    default:
        return;
    }
    for (uint64_t w = at->off / WORD_FRAMES; w * WORD_FRAMES < at->end; w++) {
        uint64_t mask = piece_mask(at, w) & free_in_word(p, at->b, (unsigned)w);

        set_bits(&block_multi(p, at->b)[w], mask);
    }
    settle(p, at->b);
}

/* Frames that are all HELD become free. */
static void unhold(struct pmm *p, const struct piece *at)
{
    if (is_entire(at) && block_is(p, at->b) == BLOCK_HELD) {
        make_block(p, at->b, BLOCK_FREE);
        return;
    }
    cut_block(p, at->b);
    for (uint64_t w = at->off / WORD_FRAMES; w * WORD_FRAMES < at->end; w++) {
        clear_bits(&block_multi(p, at->b)[w], piece_mask(at, w));
    }
    settle(p, at->b);
}

/* ---- what a range is ------------------------------------------------------------------------- */

/* Are all frames of it in the pool? */
static bool covers(const struct pmm *p, uint64_t base, uint64_t end)
{
    for (uint64_t i = range_ending_after(p, base); i < p->nranges && p->ranges[i].base <= base;
         i++) {
        if (p->ranges[i].end >= end) {
            return true;
        }
        base = p->ranges[i].end;
    }
    return false;
}

/* What bad range `i` and [base, end) have in common. */
static struct span bad_part(const struct pmm *p, unsigned i, uint64_t base, uint64_t end)
{
    struct span part = { mm_max(p->bad[i].base, base),
                         mm_min(p->bad[i].base + p->bad[i].count, end) };

    return part.base < part.end ? part : (struct span){ 0 };
}

static bool has_bad(const struct pmm *p, uint64_t base, uint64_t end)
{
    for (unsigned i = 0; i < p->nbad; i++) {
        if (bad_part(p, i, base, end).end != 0) {
            return true;
        }
    }
    return false;
}

/* A section whose second plane lies in the range, at least in part; NO_SECTION if there is none. */
static uint64_t section_with_records(const struct pmm *p, uint64_t base, uint64_t end)
{
    for (uint64_t s = 0; p->records != 0 && s < p->nsections; s++) {
        uint64_t at = p->sections[s].records;

        if (at != 0 && at < end && at + RECORD_FRAMES > base) {
            return s;
        }
    }
    return NO_SECTION;
}

/* Frames of [base, end) that are in use. */
static uint64_t count_used(const struct pmm *p, uint64_t base, uint64_t end)
{
    uint64_t nfree;
    uint64_t nused;

    count_frames(p, base, end, &nfree, &nused);
    return nused;
}

/* ---- second planes --------------------------------------------------------------------------- */

/* Put the second plane of section `s`, empty or as it is, into the frames at `at`. */
static void place_plane(struct pmm *p, uint64_t s, uint64_t at)
{
    struct section *sec = &p->sections[s];
    aword *plane = port_ptr(pa_of_pfn(pfn_make(at)));

    for (uint64_t w = 0; w < SECTION_WORDS; w++) {
        store(&plane[w], sec->multi != NULL ? load(&sec->multi[w]) : 0);
    }
    __atomic_store_n(&sec->multi, plane, __ATOMIC_RELEASE);
    sec->records = at;
}

/*
 * Frames for a second plane for section `s`, out of none of `avoid`. If it has one, of frames of
 * the pool, that moves. False if there are none.
 */
static bool give_plane(struct pmm *p, uint64_t s, const struct span *avoid)
{
    static const struct wish wish = { .count = RECORD_FRAMES, .align = RECORD_FRAMES };
    uint64_t old = p->sections[s].records;
    uint64_t host, user;

    MM_ASSERT(p->kind == PMM_GENERAL); /* others have had theirs from the start */
    do {
        uint64_t at = find_place(p, &wish, avoid->end, NO_FRAME);

        if (at == NO_FRAME) {
            at = find_place(p, &wish, 0, avoid->base);
        }
        if (at == NO_FRAME) {
            return false;
        }
        host = section_of(p, at);
        user = p->sections[host].multi != NULL ? s : host;
        place_plane(p, user, at);
        each_piece(p, at, at + RECORD_FRAMES, hold);
        p->records += RECORD_FRAMES;
    } while (user != s);
    if (old != 0) {
        each_piece(p, old, old + RECORD_FRAMES, unhold);
        p->records -= RECORD_FRAMES;
        forget_refusals(p);
    }
    return true;
}

void exact_attach(struct pmm *p, uint64_t s)
{
    static const struct span none;

    if (p->sections[s].multi == NULL && !give_plane(p, s, &none)) {
        p->sections[s].lax = true;
    }
}

/* ---- names ----------------------------------------------------------------------------------- */

/* Is there a way to tell which allocation a frame in use of block `b` belongs to? */
static bool is_recorded(const struct pmm *p, uint64_t b)
{
    return block_is(p, b) == BLOCK_GIVEN || block_multi(p, b) != NULL;
}

/* `pfn`, a BODY, is the first frame of an allocation from now on. */
static void begin_at(struct pmm *p, uint64_t pfn)
{
    uint64_t b = block_of(p, pfn);
    uint64_t w = pfn % BLOCK_FRAMES / WORD_FRAMES;

    if (block_is(p, b) == BLOCK_GIVEN) {
        clear_bit(book_of(p, b)->kin, b % SECTION_BLOCKS);
    } else if (frame_is_body(p, pfn + 1)) {
        set_bits(&block_free(p, b)[w], bit(pfn));
    } else {
        clear_bits(&block_multi(p, b)[w], bit(pfn));
    }
}

/* `pfn`, a HEAD or a BODY, is the last frame of its allocation from now on. */
static void end_at(struct pmm *p, uint64_t pfn)
{
    uint64_t b = block_of(p, pfn);
    uint64_t w = pfn % BLOCK_FRAMES / WORD_FRAMES;

    if (block_is(p, b) == BLOCK_SPLIT && (load(&block_free(p, b)[w]) & bit(pfn)) != 0) {
        clear_bits(&block_free(p, b)[w], bit(pfn));
        clear_bits(&block_multi(p, b)[w], bit(pfn));
    }
}

/* A piece of an allocation, the first one of it unless it `goes_on`. */
static void name_piece(struct pmm *p, const struct piece *at, bool goes_on)
{
    if (block_is(p, at->b) == BLOCK_GIVEN) {
        put_bit(book_of(p, at->b)->kin, at->b % SECTION_BLOCKS, goes_on);
        return;
    }
    for (uint64_t w = at->off / WORD_FRAMES; w * WORD_FRAMES < at->end; w++) {
        set_bits(&block_multi(p, at->b)[w], piece_mask(at, w));
    }
    if (!goes_on) {
        set_bits(&block_free(p, at->b)[at->off / WORD_FRAMES], bit(at->off));
    }
}

static void attach_at(struct pmm *p, const struct piece *at)
{
    if (!is_recorded(p, at->b)) {
        exact_attach(p, at->b / SECTION_BLOCKS);
    }
}

/*
 * Frames [base, end), in use and without names, are one allocation, or the part of one that
 * `goes_on` from the frame before and goes `further` than `end`. Where that can't be told, it falls
 * into several. The range may be empty.
 */
static void name(struct pmm *p, uint64_t base, uint64_t end, bool goes_on, bool further)
{
    if (end - base > 1 || goes_on || further) {
        each_piece(p, base, end, attach_at);
    }
    for (uint64_t pfn = base; pfn < end;) {
        struct piece at = piece_at(p, pfn, end);

        if (is_recorded(p, at.b)) {
            name_piece(p, &at, goes_on);
            goes_on = true;
        } else if (goes_on) {
            end_at(p, pfn - 1);
            goes_on = false;
        }
        pfn += at.end - at.off;
    }
    if (goes_on && !further) {
        end_at(p, end - 1);
    } else if (!goes_on && further) {
        begin_at(p, end);
    }
}

/* ---- what is wrong --------------------------------------------------------------------------- */

/* The first frame in [pfn, end) that does not go on with the one before; `end` if there is none. */
static uint64_t first_not_body(const struct pmm *p, uint64_t pfn, uint64_t end)
{
    while (pfn < end && frame_is_body(p, pfn)) {
        struct piece at = piece_at(p, pfn, end);
        const aword *avail = block_free(p, at.b);

        for (unsigned w = 0; block_is(p, at.b) == BLOCK_SPLIT && w < BLOCK_WORDS; w++) {
            uint64_t body = load(&block_multi(p, at.b)[w]) & ~load(&avail[w]);
            uint64_t other = piece_mask(&at, w) & ~body;

            if (other != 0) {
                return pfn - at.off + w * WORD_FRAMES + (unsigned)__builtin_ctzll(other);
            }
        }
        pfn += at.end - at.off;
    }
    return pfn;
}

/* Words for a frame that can't be given back at all; NULL if it is in use. */
static const char *not_in_use(const struct pmm *p, uint64_t pfn)
{
    if (!covers(p, pfn, pfn + 1)) {
        return "is not in this pool";
    }
    switch (frame_is(p, pfn)) {
    case IS_FREE:
        return "is free already";
    case IS_HELD:
        return has_bad(p, pfn, pfn + 1)                              ? "is out of service"
               : section_with_records(p, pfn, pfn + 1) != NO_SECTION ? "holds the pool's records"
                                                                     : "was never given";
    default:
        return NULL;
    }
}

static bool is_lax(const struct pmm *p, uint64_t pfn)
{
    return p->sections[section_of(p, pfn)].lax;
}

const char *exact_blame(const struct pmm *p, uint64_t base, uint64_t count, bool whole,
                        uint64_t *culprit)
{
    uint64_t end = base + count;
    const char *what;

    *culprit = base;
    if (count == 0 || end < base) {
        return "is given back with a count of 0, or one that wraps";
    }
    if (whole && !mm_is_aligned(base, count)) {
        return "is not aligned to its order";
    }
    what = not_in_use(p, base);
    if (what == NULL && whole && frame_is_body(p, base)) {
        what = "is not the start of an allocation";
    }
    for (uint64_t pfn = base + 1; what == NULL && pfn < end; pfn++) {
        pfn = first_not_body(p, pfn, end);
        if (pfn == end) {
            break;
        }
        *culprit = pfn;
        what = not_in_use(p, pfn);
        if (what == NULL && !is_lax(p, pfn - 1) && !is_lax(p, pfn)) {
            what = "is the start of another allocation";
        }
    }
    if (what == NULL && whole && frame_is_body(p, end)) {
        *culprit = base;
        what = "is the start of a larger allocation";
    }
    return what;
}

/* ---- taking and giving back ------------------------------------------------------------------ */

void exact_take(struct pmm *p, uint64_t base, uint64_t count)
{
    each_piece(p, base, base + count, occupy);
    count_taken(&this_cpu(p)->taken, (int64_t)count);
    name(p, base, base + count, false, false);
}

uint64_t exact_get(struct pmm *p, unsigned order)
{
    uint64_t count = UINT64_C(1) << order;
    const struct wish w = { .count = count, .align = count };
    uint64_t pfn = find_place(p, &w, 0, NO_FRAME);

    if (pfn != NO_FRAME) {
        exact_take(p, pfn, count);
    }
    return pfn;
}

/* Are frames of the section in use that are to be HELD? */
static bool has_leaving(const struct pmm *p, uint64_t s)
{
    for (unsigned i = 0; i < p->nbad; i++) {
        struct span part = bad_part(p, i, section_base(p, s), section_base(p, s) + SECTION_FRAMES);

        if (part.end != 0 && count_used(p, part.base, part.end) != 0) {
            return true;
        }
    }
    return false;
}

/* Of frames that have just become free, those that are out of service go. */
static void hold_leaving(struct pmm *p, uint64_t base, uint64_t end)
{
    for (unsigned i = 0; p->leaving != 0 && i < p->nbad; i++) {
        struct span part = bad_part(p, i, base, end);

        each_piece(p, part.base, part.end, hold);
        p->held += (int64_t)(part.end - part.base);
        p->leaving -= part.end - part.base;
    }
}

/* Sections of [base, end) from which all have gone now. What is in use has its name. */
static void forget_leaving(struct pmm *p, uint64_t base, uint64_t end)
{
    for (uint64_t s = section_of(p, base); s <= section_of(p, end - 1); s++) {
        if (p->sections[s].leaving) {
            p->sections[s].leaving = has_leaving(p, s);
        }
    }
}

/* Does a put that begins or ends at `pfn` cut a GIVEN block in two? */
static bool cuts_given(const struct pmm *p, uint64_t pfn)
{
    return pfn % BLOCK_FRAMES != 0 && frame_is_body(p, pfn) &&
           block_is(p, block_of(p, pfn)) == BLOCK_GIVEN;
}

void exact_put(struct pmm *p, uint64_t base, uint64_t count, const void *site)
{
    uint64_t end = base + count;
    uint64_t culprit;
    const char *what = exact_blame(p, base, count, false, &culprit);

    if (what != NULL) {
        bad_put(base, count, site, culprit, what);
    }
    /* GIVEN blocks that are cut lose their names: so far out, what remains needs new ones. */
    uint64_t left = cuts_given(p, base) ? mm_align_down(base, BLOCK_FRAMES) : base;
    uint64_t right = cuts_given(p, end) ? mm_align_up(end, BLOCK_FRAMES) : end;
    bool goes_on = frame_is_body(p, left);
    bool further = frame_is_body(p, right);

    each_piece(p, base, end, release);
    count_taken(&this_cpu(p)->taken, -(int64_t)count);
    forget_refusals(p);
    hold_leaving(p, base, end);
    name(p, left, base, goes_on, false);
    name(p, end, right, false, further);
    forget_leaving(p, base, end);
}

/* ---- by request ------------------------------------------------------------------------------ */

/* `hi`: the limit, as a frame. */
static mm_err_t take_wish(struct pmm *p, const struct wish *w, uint64_t hi, uint64_t *pfn)
{
    mm_err_t err = MM_EFRAG;

    *pfn = NO_FRAME;
    if (pmm_free_frames(p) < w->count) {
        err = MM_ENOMEM;
    } else {
        *pfn = find_place(p, w, 0, hi);
    }
    if (*pfn != NO_FRAME) {
        exact_take(p, *pfn, w->count);
        return MM_OK;
    }
    p->refusals++;
    return err == MM_EFRAG && find_place(p, w, 0, NO_FRAME) != NO_FRAME ? MM_ELIMIT : err;
}

/* The order of a block that pmm_get() could give for the request, without a stop in most cases;
 * NORDERS if it could not. */
static unsigned natural_order(const struct pmm *p, const struct wish *w, uint64_t hi)
{
    unsigned order = (unsigned)__builtin_ctzll(w->count);

    return order <= BLOCK_SHIFT && w->count == UINT64_C(1) << order && w->align <= w->count &&
                   hi >= p->ranges[p->nranges - 1].end &&
                   (w->boundary == 0 || w->boundary >= w->count)
               ? order
               : NORDERS;
}

mm_err_t pmm_get_range(struct pmm *p, const struct pmm_want *want, pfn_t *base)
{
    const void *site = __builtin_return_address(0);
    const struct wish w = {
        .count = want->count,
        .align = want->align != 0 ? want->align : 1,
        .boundary = want->boundary >> MM_PAGE_SHIFT,
    };
    uint64_t hi = want->limit != 0 ? want->limit >> MM_PAGE_SHIFT : NO_FRAME;
    mm_err_t err;
    uint64_t pfn;

    if (w.count == 0 || !mm_is_pow2(w.align) ||
        (want->boundary != 0 && (!mm_is_pow2(want->boundary) || w.boundary == 0))) {
        return MM_EINVAL;
    }
    unsigned order = natural_order(p, &w, hi);
    if (order < NORDERS) {
        unsigned flags = (want->flags | PMM_QUICK) & ~(unsigned)PMM_WAIT;
        pfn_t block = get_block(p, order, flags, site);

        if (!pfn_is_none(block)) {
            *base = block;
            return MM_OK;
        }
    }
    if ((want->flags & PMM_QUICK) != 0) {
        return pmm_free_frames(p) < w.count ? MM_ENOMEM : MM_EFRAG;
    }
    do {
        uint64_t irq = stop_all(p);

        err = take_wish(p, &w, hi, &pfn);
        go_on(p, irq);
    } while (err != MM_OK && (want->flags & PMM_WAIT) != 0 && ask_reclaim(p, w.count));
    if (err != MM_OK) {
        return err;
    }
    check_marks(p);
    note_site(p, pfn, w.count, site);
    if ((want->flags & PMM_ZERO) != 0) {
        zero_frames(pfn, w.count);
    } else {
        poison_get(p, pfn, w.count);
    }
    *base = pfn_make(pfn);
    return MM_OK;
}

/* MM_OK for a range that the pool covers. */
static mm_err_t check_covered(const struct pmm *p, uint64_t base, uint64_t count)
{
    if (count == 0 || base + count < base) {
        return MM_EINVAL;
    }
    return covers(p, base, base + count) ? MM_OK : MM_ENOENT;
}

mm_err_t pmm_claim(struct pmm *p, pfn_t base, uint64_t count)
{
    mm_err_t err = check_covered(p, base.v, count);
    uint64_t nfree, nused;
    uint64_t irq;

    if (err != MM_OK) {
        return err;
    }
    irq = stop_all(p);
    count_frames(p, base.v, base.v + count, &nfree, &nused);
    if (nfree == count) {
        exact_take(p, base.v, count);
    } else {
        err = MM_EBUSY;
    }
    go_on(p, irq);
    if (err == MM_OK) {
        check_marks(p);
        note_site(p, base.v, count, __builtin_return_address(0));
    }
    return err;
}

/* Is it, to all appearances, one natural block and all of an allocation? The caller owns it. */
static bool is_natural(const struct pmm *p, uint64_t base, uint64_t count)
{
    return mm_is_pow2(count) && count <= BLOCK_FRAMES && mm_is_aligned(base, count) &&
           frame_is(p, base) == (count == 1 ? IS_SINGLE : IS_HEAD) &&
           !frame_is_body(p, base + count);
}

void pmm_put_range(struct pmm *p, pfn_t base, uint64_t count)
{
    const void *site = __builtin_return_address(0);

    poison_put_range(p, base.v, count, site);
    if (is_natural(p, base.v, count)) {
        put_block(p, base.v, (unsigned)__builtin_ctzll(count), site);
    } else {
        uint64_t irq = stop_all(p);

        exact_put(p, base.v, count, site);
        go_on(p, irq);
    }
}

/* ---- memory that comes, and memory that goes ------------------------------------------------- */

mm_err_t pmm_add(struct pmm *p, pfn_t base, uint64_t count)
{
    mm_err_t err = check_covered(p, base.v, count);
    uint64_t end = base.v + count;
    uint64_t nfree, nused;
    uint64_t irq;

    if (err != MM_OK) {
        return err;
    }
    irq = stop_all(p);
    count_frames(p, base.v, end, &nfree, &nused);
    if (nfree != 0 || nused != 0 || has_bad(p, base.v, end) ||
        section_with_records(p, base.v, end) != NO_SECTION) {
        err = MM_EBUSY;
    } else {
        each_piece(p, base.v, end, unhold);
        p->held -= (int64_t)count;
        forget_refusals(p);
    }
    go_on(p, irq);
    return err;
}

/* Will frames of the section have to be told from others of their block, now or when they are put,
 * if [base, end) goes? */
static bool needs_plane(const struct pmm *p, uint64_t s, uint64_t base, uint64_t end)
{
    uint64_t lo = mm_max(base, section_base(p, s));
    uint64_t hi = mm_min(end, section_base(p, s) + SECTION_FRAMES);

    if (!mm_is_aligned(lo | hi, BLOCK_FRAMES)) {
        return true;
    }
    if (test_bit(p->closed, s)) {
        return false;
    }
    for (uint64_t pfn = lo; pfn < hi; pfn += BLOCK_FRAMES) {
        enum block_is is = block_is(p, block_of(p, pfn));

        if (is == BLOCK_SPLIT || is == BLOCK_GIVEN) {
            return true;
        }
    }
    return false;
}

/* Second planes where they are needed, and none in what goes. */
static bool prepare(struct pmm *p, const struct span *gone)
{
    uint64_t s;

    for (s = section_of(p, gone->base); s <= section_of(p, gone->end - 1); s++) {
        if (p->sections[s].multi == NULL && needs_plane(p, s, gone->base, gone->end) &&
            !give_plane(p, s, gone)) {
            return false;
        }
    }
    while ((s = section_with_records(p, gone->base, gone->end)) != NO_SECTION) {
        if (!give_plane(p, s, gone)) {
            return false;
        }
    }
    return true;
}

/* Bad ranges [*first, *last) overlap `gone`, or touch it. */
static void find_bad(const struct pmm *p, const struct span *gone, unsigned *first, unsigned *last)
{
    *first = 0;
    while (*first < p->nbad && p->bad[*first].base + p->bad[*first].count < gone->base) {
        ++*first;
    }
    *last = *first;
    while (*last < p->nbad && p->bad[*last].base <= gone->end) {
        ++*last;
    }
}

/* The bad ranges [first, last) and `gone` are one from now on. */
static void note_bad(struct pmm *p, struct span gone, unsigned first, unsigned last)
{
    if (first < last) {
        gone.base = mm_min(gone.base, p->bad[first].base);
        gone.end = mm_max(gone.end, p->bad[last - 1].base + p->bad[last - 1].count);
    }
    __builtin_memmove(&p->bad[first + 1], &p->bad[last], (p->nbad - last) * sizeof(p->bad[0]));
    p->nbad = p->nbad - (last - first) + 1;
    p->bad[first] = (struct bad){ gone.base, gone.end - gone.base };
}

static mm_err_t retire(struct pmm *p, const struct span *gone, uint64_t *in_use)
{
    unsigned first, last;
    uint64_t nfree;

    find_bad(p, gone, &first, &last);
    if (first == last && p->nbad == PMM_MAX_BAD) {
        return MM_ENOSPC;
    }
    if (!prepare(p, gone)) {
        return MM_ENOMEM;
    }
    count_frames(p, gone->base, gone->end, &nfree, in_use);
    p->held += (int64_t)nfree;
    p->leaving += *in_use;
    for (unsigned i = first; i < last; i++) { /* what was leaving already */
        struct span part = bad_part(p, i, gone->base, gone->end);

        p->leaving -= count_used(p, part.base, part.end);
    }
    each_piece(p, gone->base, gone->end, hold);
    note_bad(p, *gone, first, last);
    for (uint64_t s = section_of(p, gone->base); s <= section_of(p, gone->end - 1); s++) {
        p->sections[s].leaving = has_leaving(p, s);
    }
    return MM_OK;
}

mm_err_t pmm_retire(struct pmm *p, pfn_t base, uint64_t count, uint64_t *in_use)
{
    const struct span gone = { base.v, base.v + count };
    mm_err_t err = check_covered(p, base.v, count);
    uint64_t leaving;
    uint64_t irq;

    if (err != MM_OK) {
        return err;
    }
    irq = stop_at_rest(p); /* a hit under way did not see `leaving` */
    err = retire(p, &gone, &leaving);
    go_on(p, irq);
    if (err != MM_OK) {
        return err;
    }
    check_marks(p);
    if (in_use != NULL) {
        *in_use = leaving;
    }
    return MM_OK;
}
