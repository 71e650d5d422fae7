/*
 * test_pmm_exact.c - what a pool does while it is stopped, against a model that has an entry for
 * each frame.
 *
 * The model knows each frame's state, and which allocation it belongs to, and answers every
 * question by looking at all of them. It says which place must be chosen, and by how much a put may
 * differ from what was taken. It learns from the pool what no caller can know: where the records
 * lie, which sections are closed, and which are lax.
 */
#include "../../mm/pmm/pool.h"
#include "pmm_fixture.h"

enum state { OUTSIDE, FREE, HELD, RECORD, USED };

struct frame {
    uint64_t pfn;
    uint32_t id; /* of the allocation, if it is USED */
    uint8_t is;  /* enum state */
    bool bad;
};

struct alloc {
    uint64_t base, count;
};

#define MAX_SECTIONS 16
#define MAX_ALLOCS   4096

struct model {
    struct fixture f;
    struct pmm *p;
    struct host_rng rng;
    struct frame *frames; /* by number: all that the pool covers, and what is next to it */
    uint64_t n;
    bool *may; /* scratch: an entry each */
    struct alloc allocs[MAX_ALLOCS];
    unsigned nallocs;
    uint32_t last_id;
    uint64_t records[MAX_SECTIONS];
};

static uint64_t below(struct model *m, uint64_t bound)
{
    return host_rng_below(&m->rng, bound);
}

/* ---- the model ------------------------------------------------------------------------------- */

/* Index of the first entry that is not below `pfn`. */
static uint64_t index_from(const struct model *m, uint64_t pfn)
{
    uint64_t lo = 0;
    uint64_t hi = m->n;

    while (lo < hi) {
        uint64_t mid = (lo + hi) / 2;

        if (m->frames[mid].pfn < pfn) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

/* NULL if there is none: it is outside, too. */
static struct frame *frame_at(const struct model *m, uint64_t pfn)
{
    uint64_t i = index_from(m, pfn);

    return i < m->n && m->frames[i].pfn == pfn ? &m->frames[i] : NULL;
}

static uint64_t count_state(const struct model *m, uint64_t base, uint64_t end, enum state is)
{
    uint64_t count = 0;

    for (uint64_t i = index_from(m, base); i < m->n && m->frames[i].pfn < end; i++) {
        count += m->frames[i].is == is;
    }
    return count;
}

static uint64_t count_bad(const struct model *m, uint64_t base, uint64_t end)
{
    uint64_t count = 0;

    for (uint64_t i = index_from(m, base); i < m->n && m->frames[i].pfn < end; i++) {
        count += m->frames[i].bad;
    }
    return count;
}

static void set_range(struct model *m, uint64_t base, uint64_t count, enum state is, uint32_t id)
{
    uint64_t i = index_from(m, base);

    for (uint64_t k = 0; k < count; k++, i++) {
        assert_true(i < m->n && m->frames[i].pfn == base + k);
        m->frames[i].is = is == FREE && m->frames[i].bad ? HELD : (uint8_t)is;
        m->frames[i].id = id;
    }
}

static void model_take(struct model *m, uint64_t base, uint64_t count)
{
    assert_int_equal(count_state(m, base, base + count, FREE), count);
    assert_true(m->nallocs < MAX_ALLOCS);
    set_range(m, base, count, USED, ++m->last_id);
    m->allocs[m->nallocs++] = (struct alloc){ base, count };
}

/* Part of an allocation: what is left on either side is one of its own. */
static void model_put(struct model *m, unsigned which, uint64_t base, uint64_t count)
{
    struct alloc a = m->allocs[which];

    m->allocs[which] = m->allocs[--m->nallocs];
    set_range(m, base, count, FREE, 0);
    if (base > a.base) {
        set_range(m, a.base, base - a.base, FREE, 0);
        m->allocs[m->nallocs++] = (struct alloc){ a.base, base - a.base };
        set_range(m, a.base, base - a.base, USED, ++m->last_id);
    }
    if (a.base + a.count > base + count) {
        struct alloc rest = { base + count, a.base + a.count - base - count };

        m->allocs[m->nallocs++] = rest;
        set_range(m, rest.base, rest.count, USED, ++m->last_id);
    }
}

/* Records may have appeared, or moved. */
static void follow_records(struct model *m)
{
    uint64_t held = 0;

    for (uint64_t s = 0; s < m->p->nsections; s++) {
        uint64_t at = m->p->sections[s].records;

        if (at != m->records[s]) {
            if (m->records[s] != 0) {
                set_range(m, m->records[s], 8, FREE, 0);
            }
            assert_true(at != 0 && at % 8 == 0);
            assert_int_equal(count_state(m, at, at + 8, FREE), 8);
            set_range(m, at, 8, RECORD, 0);
            m->records[s] = at;
        }
        held += at != 0 ? 8 : 0;
    }
    assert_int_equal(held, m->p->records);
}

static bool meets(const struct wish *w, uint64_t pfn)
{
    return pfn % w->align == 0 &&
           (w->boundary == 0 || pfn / w->boundary == (pfn + w->count - 1) / w->boundary);
}

/* The lowest place in [lo, hi) that begins in [from, to), of frames that `may` be used. */
static uint64_t lowest(const struct model *m, const struct wish *w, uint64_t from, uint64_t to,
                       uint64_t hi)
{
    uint64_t found = NO_FRAME;
    uint64_t run = 0;

    for (uint64_t i = m->n; i-- > 0;) {
        bool joins = i + 1 < m->n && m->frames[i + 1].pfn == m->frames[i].pfn + 1;
        uint64_t pfn = m->frames[i].pfn;

        run = !m->may[i] ? 0 : joins ? run + 1 : 1;
        if (run >= w->count && pfn >= from && pfn < to && hi - pfn >= w->count && pfn < hi &&
            meets(w, pfn)) {
            found = pfn;
        }
    }
    return found;
}

/* Where must it be, by placement? */
static uint64_t model_place(struct model *m, const struct wish *w, uint64_t hi)
{
    uint64_t found = NO_FRAME;

    for (unsigned zone = 0; zone < 2 && found == NO_FRAME; zone++) {
        for (unsigned class = w->count < 512 ? 0 : 1; class < 3 && found == NO_FRAME; class ++) {
            for (uint64_t i = 0; i < m->n;) {
                uint64_t s = section_of(m->p, m->frames[i].pfn);
                uint64_t end = i;
                uint64_t nfree = 0;

                while (end < m->n && m->frames[end].pfn / 512 == m->frames[i].pfn / 512) {
                    nfree += m->frames[end++].is == FREE;
                }
                for (; i < end; i++) {
                    m->may[i] = m->frames[i].is == FREE && (class > 0 || nfree < 512) &&
                                (class > 1 || m->p->sections[s].open);
                }
            }
            found = zone == 0 ? lowest(m, w, 1 << 20, NO_FRAME, hi) : lowest(m, w, 0, 1 << 20, hi);
        }
    }
    return found;
}

static bool is_lax(const struct model *m, uint64_t pfn)
{
    uint64_t s = section_of(m->p, pfn);

    return s != NO_SECTION && m->p->sections[s].lax;
}

/* Is entry `i` part of the same allocation as the one before? */
static bool goes_on(const struct model *m, uint64_t i)
{
    return i > 0 && m->frames[i].is == USED && m->frames[i - 1].is == USED &&
           m->frames[i].id == m->frames[i - 1].id;
}

static void compare_frame(const struct model *m, uint64_t i)
{
    const struct frame *f = &m->frames[i];
    enum frame_is is = frame_is(m->p, f->pfn);
    enum frame_is want = IS_FREE;
    bool several = goes_on(m, i) || (i + 1 < m->n && goes_on(m, i + 1));

    switch (f->is) {
    case FREE:
        break;
    case HELD:
    case RECORD:
        want = IS_HELD;
        break;
    case USED:
        want = !several ? IS_SINGLE : goes_on(m, i) ? IS_BODY : IS_HEAD;
        if (is_lax(m, f->pfn) || is_lax(m, f->pfn - 1) || is_lax(m, f->pfn + 1)) {
            want = is == IS_SINGLE || is == IS_HEAD || is == IS_BODY ? is : want;
        }
        break;
    default:
        want = is == IS_ABSENT ? IS_ABSENT : IS_HELD;
        break;
    }
    if (is != want) {
        fail_msg("frame 0x%llx is %d, not %d", (unsigned long long)f->pfn, (int)is, (int)want);
    }
}

/* All frames in [base, end). With the pool stopped: what is in a cache looks as if it was given. */
static void compare_range(struct model *m, uint64_t base, uint64_t end)
{
    uint64_t irq = stop_all(m->p);

    for (uint64_t i = index_from(m, base); i < m->n && m->frames[i].pfn < end; i++) {
        compare_frame(m, i);
    }
    go_on(m->p, irq);
    assert_int_equal(pmm_free_frames(m->p), count_state(m, 0, NO_FRAME, FREE));
}

static void compare(struct model *m)
{
    compare_range(m, 0, NO_FRAME);
    assert_sound(pmm_check(m->p));
}

/* What an operation touched, and what is next to it. */
static void compare_near(struct model *m, uint64_t base, uint64_t count)
{
    compare_range(m, base - 2, base + count + 2);
}

static void model_open(struct model *m, const struct part *parts, size_t nparts, enum pmm_kind kind,
                       const char *name, uint64_t salt)
{
    uint64_t most = 0;
    uint64_t seen = 0;

    memset(m, 0, sizeof(*m));
    m->rng = host_rng_make(name);
    m->rng.state += salt;
    open_kind(&m->f, parts, nparts, kind, 2);
    m->p = m->f.p;
    assert_true(m->p->nsections <= MAX_SECTIONS);
    for (size_t i = 0; i < nparts; i++) {
        most += parts[i].count + 4;
    }
    m->frames = calloc(most, sizeof(*m->frames));
    m->may = calloc(most, sizeof(*m->may));
    assert_true(m->frames != NULL && m->may != NULL);
    for (size_t i = 0; i < nparts; i++) {
        uint64_t base = parts[i].base;

        for (uint64_t pfn = base - 2; pfn < base + parts[i].count + 2; pfn++) {
            bool inside = pfn >= base && pfn < base + parts[i].count;

            if (pfn < seen) { /* next to the part before, or in it: known as that */
                if (inside) {
                    frame_at(m, pfn)->is = parts[i].is == LATER ? HELD : FREE;
                }
                continue;
            }
            m->frames[m->n++] = (struct frame){
                .pfn = pfn,
                .is = !inside                ? OUTSIDE
                      : parts[i].is == LATER ? HELD
                                             : FREE,
            };
            seen = pfn + 1;
        }
    }
    compare(m);
}

static void model_close(struct model *m)
{
    close_pool(&m->f);
    free(m->frames);
    free(m->may);
}

/* ---- random operations ----------------------------------------------------------------------- */

static uint64_t random_frame(struct model *m)
{
    return m->frames[below(m, m->n)].pfn;
}

/* Mostly few. */
static uint64_t random_count(struct model *m, uint64_t most)
{
    return 1 + below(m, 1 + below(m, 1 + below(m, most)));
}

static void do_get(struct model *m)
{
    unsigned order = (unsigned)below(m, below(m, 8) == 0 ? NORDERS : 11);
    struct wish w = { UINT64_C(1) << order, UINT64_C(1) << order, 0 };
    uint64_t want = model_place(m, &w, NO_FRAME);
    uint64_t irq = stop_all(m->p);
    uint64_t pfn = exact_get(m->p, order);

    go_on(m->p, irq);
    assert_int_equal(pfn, want);
    if (pfn ==
        NO_FRAME) { /* so that the pool notes it: whatever frees such a block must undo that */
        assert_true(pfn_is_none(pmm_get(m->p, order, 0)));
        return;
    }
    model_take(m, pfn, w.count);
    follow_records(m);
    compare_near(m, pfn, w.count);
}

static void do_get_range(struct model *m, uint64_t most)
{
    struct pmm_want want = { .count = random_count(m, most), .align = below(m, 2) };
    pfn_t base = { 12345 };
    mm_err_t expect = MM_OK;
    mm_err_t err;

    if (below(m, 2) == 0) {
        want.align = UINT64_C(1) << below(m, below(m, 20) == 0 ? 64 : 11);
    }
    if (below(m, 3) == 0) {
        want.limit = (random_frame(m) + below(m, 3)) * PAGE + below(m, PAGE);
    }
    if (below(m, 3) == 0) {
        want.boundary = PAGE << below(m, below(m, 20) == 0 ? 52 : 12);
    }
    struct wish w = { want.count, want.align != 0 ? want.align : 1, want.boundary / PAGE };
    uint64_t hi = want.limit != 0 ? want.limit / PAGE : NO_FRAME;
    uint64_t place = model_place(m, &w, hi);
    if (place == NO_FRAME) {
        expect = count_state(m, 0, NO_FRAME, FREE) < w.count ? MM_ENOMEM
                 : model_place(m, &w, NO_FRAME) != NO_FRAME  ? MM_ELIMIT
                                                             : MM_EFRAG;
    }
    err = pmm_get_range(m->p, &want, &base);
    assert_int_equal(err, expect);
    if (err != MM_OK) {
        assert_int_equal(base.v, 12345);
        return;
    }
    assert_true(meets(&w, base.v) && base.v + w.count <= hi);
    if (base.v != place) { /* a natural block, from where the processor takes those */
        struct wish block = { w.count, w.count, 0 };

        assert_true(mm_is_pow2(w.count) && w.count <= 512 && base.v % w.count == 0);
        place = model_place(m, &block, NO_FRAME);
        assert_true(place != NO_FRAME);
        assert_int_equal(base.v >= 1 << 20, place >= 1 << 20);
    }
    model_take(m, base.v, w.count);
    follow_records(m);
    compare_near(m, base.v, w.count);
}

/* Some frames, or whole blocks. */
static void random_range(struct model *m, uint64_t most, uint64_t *base, uint64_t *end)
{
    *base = random_frame(m);
    *end = *base + random_count(m, most);
    if (below(m, 4) == 0) {
        *base = mm_align_down(*base, 512);
        *end = mm_align_up(*end, 512);
    }
}

static void do_claim(struct model *m, uint64_t most)
{
    mm_err_t expect = MM_OK;
    uint64_t base, end;

    random_range(m, most, &base, &end);
    uint64_t count = end - base;
    if (count_state(m, base, end, OUTSIDE) != 0 || frame_at(m, base) == NULL ||
        index_from(m, end) - index_from(m, base) != count) {
        expect = MM_ENOENT;
    } else if (count_state(m, base, end, FREE) != count) {
        expect = MM_EBUSY;
    }
    assert_int_equal(pmm_claim(m->p, pfn_make(base), count), expect);
    if (expect == MM_OK) {
        model_take(m, base, count);
        follow_records(m);
        compare_near(m, base, count);
    }
}

static void do_put(struct model *m)
{
    unsigned which;
    struct alloc a;
    uint64_t from = 0;
    uint64_t count;

    if (m->nallocs == 0) {
        return;
    }
    which = (unsigned)below(m, m->nallocs);
    a = m->allocs[which];
    count = a.count;
    if (below(m, 3) == 0) { /* a part: at an end, in the middle, a block of it */
        from = below(m, 3) == 0 ? 0 : below(m, a.count);
        count = below(m, 3) == 0 ? a.count - from : 1 + below(m, a.count - from);
        if (below(m, 3) == 0 && a.count >= 1024) {
            from = mm_align_up(a.base, 512) - a.base;
            count = 512;
        }
    }
    if (below(m, 4) == 0) {
        uint64_t irq = stop_all(m->p);

        exact_put(m->p, a.base + from, count, NULL);
        go_on(m->p, irq);
    } else {
        pmm_put_range(m->p, pfn_make(a.base + from), count);
    }
    model_put(m, which, a.base + from, count);
    follow_records(m);
    compare_near(m, a.base, a.count);
}

static void do_add(struct model *m)
{
    mm_err_t expect = MM_OK;
    uint64_t base, end;

    random_range(m, 600, &base, &end);
    uint64_t count = end - base;
    if (count_state(m, base, end, OUTSIDE) != 0 || frame_at(m, base) == NULL ||
        index_from(m, end) - index_from(m, base) != count) {
        expect = MM_ENOENT;
    } else if (count_state(m, base, end, HELD) != count || count_bad(m, base, end) != 0) {
        expect = MM_EBUSY;
    }
    assert_int_equal(pmm_add(m->p, pfn_make(base), count), expect);
    if (expect == MM_OK) {
        set_range(m, base, count, FREE, 0);
        compare_near(m, base, count);
    }
}

/* Is there room for a plane outside [base, end)? */
static bool model_has_room(struct model *m, uint64_t base, uint64_t end)
{
    const struct wish w = { 8, 8, 0 };

    for (uint64_t i = 0; i < m->n; i++) {
        m->may[i] = m->frames[i].is == FREE && (m->frames[i].pfn < base || m->frames[i].pfn >= end);
    }
    return lowest(m, &w, 0, NO_FRAME, NO_FRAME) != NO_FRAME;
}

static void do_retire(struct model *m)
{
    uint64_t in_use = 777;
    uint64_t base, end;

    random_range(m, below(m, 4) == 0 ? 700 : 10, &base, &end);
    uint64_t count = end - base;
    mm_err_t err = pmm_retire(m->p, pfn_make(base), count, &in_use);
    follow_records(m); /* those in the way have moved, even if others found no room */
    if (count_state(m, base, end, OUTSIDE) != 0 || frame_at(m, base) == NULL ||
        index_from(m, end) - index_from(m, base) != count) {
        assert_int_equal(err, MM_ENOENT);
    } else if (err == MM_ENOSPC) {
        assert_int_equal(m->p->nbad, PMM_MAX_BAD);
        assert_int_equal(count_bad(m, base - 1, end + 1), 0);
    } else if (err == MM_ENOMEM) {
        assert_false(model_has_room(m, base, end));
    } else {
        assert_int_equal(err, MM_OK);
        assert_int_equal(count_state(m, base, end, RECORD), 0);
        assert_int_equal(in_use, count_state(m, base, end, USED));
        for (uint64_t i = index_from(m, base); i < m->n && m->frames[i].pfn < end; i++) {
            m->frames[i].bad = true;
            m->frames[i].is = m->frames[i].is == FREE ? HELD : m->frames[i].is;
        }
    }
    assert_true(err == MM_OK || in_use == 777);
    compare_near(m, base, count);
}

/* Anything at all is put: is it found wrong if it is, and at the right frame? */
static void do_blame(struct model *m)
{
    uint64_t base = random_frame(m);
    uint64_t count = random_count(m, 600);
    bool whole = below(m, 2) == 0;
    uint64_t first = index_from(m, base);
    uint64_t culprit = 0;
    uint64_t expect = NO_FRAME;
    const char *what;
    uint64_t irq;

    if (m->nallocs > 0 && below(m, 2) == 0) {
        struct alloc a = m->allocs[below(m, m->nallocs)];

        base = a.base + (below(m, 2) == 0 ? 0 : below(m, a.count));
        count = below(m, 2) == 0 ? a.base + a.count - base : random_count(m, a.count + 2);
        first = index_from(m, base);
    }
    if (whole) { /* what is put as a whole is put by order */
        while (!mm_is_pow2(count)) {
            count &= count - 1;
        }
        expect = base % count != 0 ? base : NO_FRAME;
    }
    for (uint64_t k = 0; k < count && expect == NO_FRAME; k++) {
        uint64_t i = first + k;

        if (i >= m->n || m->frames[i].pfn != base + k || m->frames[i].is != USED ||
            (k > 0 && !goes_on(m, i)) || (k == 0 && whole && goes_on(m, i))) {
            expect = base + k;
        }
    }
    if (expect == NO_FRAME && whole && first + count < m->n &&
        m->frames[first + count].pfn == base + count && goes_on(m, first + count)) {
        expect = base;
    }
    irq = stop_all(m->p);
    what = exact_blame(m->p, base, count, whole, &culprit);
    go_on(m->p, irq);
    for (uint64_t pfn = base - 1; pfn <= base + count; pfn++) {
        if (is_lax(m, pfn)) {
            return;
        }
    }
    assert_int_equal(what == NULL, expect == NO_FRAME);
    if (what != NULL) {
        assert_int_equal(culprit, expect);
    }
}

static void do_tally(struct model *m)
{
    uint64_t base = random_frame(m);
    uint64_t count = random_count(m, 3000);
    struct pmm_tally t;
    uint64_t bad;

    pmm_get_tally(m->p, pfn_make(base), count, &t);
    bad = count_bad(m, base, base + count);
    for (uint64_t i = index_from(m, base); i < m->n && m->frames[i].pfn < base + count; i++) {
        bad -= m->frames[i].bad && m->frames[i].is == USED;
    }
    assert_int_equal(t.frames[PMM_FREE], count_state(m, base, base + count, FREE));
    assert_int_equal(t.frames[PMM_USED], count_state(m, base, base + count, USED));
    assert_int_equal(t.frames[PMM_BAD], bad);
    assert_int_equal(t.frames[PMM_HELD] + bad, count_state(m, base, base + count, HELD) +
                                                   count_state(m, base, base + count, RECORD));
}

/* `most`: frames in one request; `full`: everything is compared after so many steps. */
static void random_steps(struct model *m, unsigned nsteps, uint64_t most, unsigned full,
                         unsigned retire_in)
{
    for (unsigned step = 0; step < nsteps; step++) {
        bool fill = step / 400 % 2 == 0; /* in turn: rather take, rather give back */

        switch (below(m, 8)) {
        case 0:
        case 1:
            (fill ? do_get : do_put)(m);
            break;
        case 2:
            if (fill) {
                do_get_range(m, most);
            } else {
                do_put(m);
            }
            break;
        case 3:
            do_get_range(m, most);
            break;
        case 4:
            do_claim(m, most);
            break;
        case 5:
            do_put(m);
            break;
        case 6:
            do_blame(m);
            break;
        default:
            if (below(m, retire_in) == 0) {
                do_retire(m);
            } else if (below(m, 4) == 0) {
                do_tally(m);
            } else {
                do_add(m);
            }
            break;
        }
        if (step % full == 0) {
            compare(m);
        }
    }
    compare(m);
    while (m->nallocs > 0) { /* what is given back becomes what it was */
        do_put(m);
    }
    compare(m);
}

/* Seams of every kind: of words, blocks, sections, zones, and of parts that are held. */
static const struct part ragged[] = {
    { 3 * GiB + 77, 1, GIVEN },          /* a frame alone in its GiB */
    { 4 * GiB - 690, 600, GIVEN },       /* to 90 below 4 GiB, */
    { 4 * GiB - 90, 190, GIVEN },        /* and across */
    { 4 * GiB + 100, 60, LATER },        /* held, touches it */
    { 4 * GiB + 512, 512 + 130, GIVEN }, /* a block and something */
    { 5 * GiB + 1024, 1024, LATER },     /* two blocks that are held */
    { 5 * GiB + 2048, 37, GIVEN },       /* and touch */
    { 5 * GiB + 2600, 1, LATER },        /* a held frame alone, */
    { 5 * GiB + 2601, 70, GIVEN },       /* with neighbours */
    { 6 * GiB - 700, 1400, GIVEN },      /* across a GiB */
    { 6 * GiB + 700, 900, LATER },       /* held, the most of it */
    { 8 * GiB - 512, 1024, GIVEN },      /* no second planes here at first */
    { 9 * GiB + 4096, 3 * 512, GIVEN },  /* nor here */
    { 11 * GiB - 1, 1, GIVEN },          /* the last frame of a GiB */
};

static void test_ragged(void **state)
{
    static struct model m;

    (void)state;
    model_open(&m, ragged, MM_COUNTOF(ragged), PMM_GENERAL, "ragged", 0);
    random_steps(&m, 5000, 700, 16, 60);
    model_close(&m);
    model_open(&m, ragged, MM_COUNTOF(ragged), PMM_GENERAL, "ragged, nothing retired", 1);
    random_steps(&m, 5000, 1500, 16, 1000000);
    model_close(&m);
}

/* Little memory: planes are hard to get, and sections become lax. */
static void test_tight(void **state)
{
    static const struct part parts[] = {
        { 5 * GiB, 512, GIVEN },
        { 7 * GiB - 512, 1024, GIVEN },
    };
    static struct model m;

    (void)state;
    for (unsigned round = 0; round < 10; round++) {
        model_open(&m, parts, MM_COUNTOF(parts), PMM_GENERAL, "tight", round);
        random_steps(&m, 1000, 600, 10, 200);
        model_close(&m);
    }
}

/* Far from all memory that could be written to. */
static void test_untouched(void **state)
{
    static const struct part parts[] = {
        { 200 * TiB - 1000, 1500, UNACCEPTED },
        { 200 * TiB + 512, 512, UNACCEPTED },
        { 201 * TiB + 4096, 512, UNACCEPTED },
    };
    static struct model m;

    (void)state;
    model_open(&m, parts, MM_COUNTOF(parts), PMM_UNACCEPTED, "untouched", 0);
    random_steps(&m, 4000, 600, 16, 60);
    assert_int_equal(m.p->records, 0);
    model_close(&m);
}

/* Whole GiB, closed at first. */
static void test_closed(void **state)
{
    static const struct part parts[] = {
        { 4 * GiB - 512, 512, GIVEN },
        { 4 * GiB, 2 * GiB, GIVEN },
        { 6 * GiB + 512, 300, GIVEN },
    };
    static const struct part one[] = {
        { 4 * GiB - 512, 512, GIVEN },
        { 5 * GiB, GiB, GIVEN },
        { 6 * GiB, 300, GIVEN },
    };
    static struct model m;

    (void)state;
    model_open(&m, parts, MM_COUNTOF(parts), PMM_GENERAL, "closed", 0);
    random_steps(&m, 120, 600000, 12, 20);
    model_close(&m);
    for (unsigned round = 0; round < 20; round++) { /* it is open soon */
        model_open(&m, one, MM_COUNTOF(one), PMM_GENERAL, "one closed", round);
        random_steps(&m, 6, round < 10 ? 3000 : 400000, 12, 20);
        model_close(&m);
    }
}

/* ---- second planes --------------------------------------------------------------------------- */

static void claim(struct pmm *p, uint64_t base, uint64_t count)
{
    assert_int_equal(pmm_claim(p, pfn_make(base), count), MM_OK);
}

static void put_range(struct pmm *p, uint64_t base, uint64_t count)
{
    pmm_put_range(p, pfn_make(base), count);
}

static uint64_t records_of(const struct pmm *p, uint64_t pfn)
{
    return p->sections[section_of(p, pfn)].records;
}

/*
 * The plane of one section has to lie in another that has none: that one gets the first 8 frames,
 * to tell what they are, and the next 8 are for the one that asked.
 */
static void test_chain(void **state)
{
    static const struct part parts[] = {
        { 5 * GiB, 512, GIVEN },
        { 7 * GiB, 512, GIVEN },
        { 9 * GiB, 1024, GIVEN },
    };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 7 * GiB, 1); /* blocks in use are preferred: the plane is going to lie here */
    claim(f.p, 9 * GiB + 100, 900);
    assert_int_equal(f.p->records, 16);
    assert_int_equal(records_of(f.p, 7 * GiB), 7 * GiB + 8);
    assert_int_equal(records_of(f.p, 9 * GiB), 7 * GiB + 16);
    assert_int_equal(records_of(f.p, 5 * GiB), 0);
    assert_int_equal(pmm_free_frames(f.p), 2048 - 901 - 16);
    for (uint64_t pfn = 7 * GiB; pfn < 7 * GiB + 26; pfn++) {
        enum frame_is want = pfn == 7 * GiB                             ? IS_SINGLE
                             : pfn >= 7 * GiB + 8 && pfn < 7 * GiB + 24 ? IS_HELD
                                                                        : IS_FREE;

        assert_int_equal(frame_is(f.p, pfn), want);
    }
    assert_int_equal(pmm_claim(f.p, pfn_make(7 * GiB + 15), 1), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(7 * GiB + 15), 1), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(7 * GiB + 8), 16), MM_EBUSY);
    assert_sound(pmm_check(f.p));

    /* In their own section is as good. */
    claim(f.p, 5 * GiB, 512 - 16);
    assert_int_equal(f.p->records, 24);
    assert_int_equal(frame_is(f.p, 5 * GiB + 1), IS_BODY);
    put_range(f.p, 5 * GiB, 512 - 16);
    put_range(f.p, 9 * GiB + 100, 900);
    put_range(f.p, 7 * GiB, 1);
    assert_int_equal(pmm_free_frames(f.p), 2048 - 24);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Of the frames just put, some can be the plane that tells what is left. */
static void test_plane_from_put(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 1024, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB, 1024);
    put_range(f.p, 5 * GiB + 500, 30);
    assert_int_equal(f.p->records, 8);
    assert_int_equal(records_of(f.p, 5 * GiB), 5 * GiB + 504);
    assert_int_equal(pmm_free_frames(f.p), 22);
    assert_false(f.p->sections[0].lax);
    assert_int_equal(frame_is(f.p, 5 * GiB), IS_HEAD);
    assert_int_equal(frame_is(f.p, 5 * GiB + 499), IS_BODY);
    assert_int_equal(frame_is(f.p, 5 * GiB + 530), IS_HEAD);
    assert_int_equal(frame_is(f.p, 5 * GiB + 1023), IS_BODY);
    assert_sound(pmm_check(f.p));
    put_range(f.p, 5 * GiB, 500);
    put_range(f.p, 5 * GiB + 530, 494);
    assert_int_equal(pmm_free_frames(f.p), 1024 - 8);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Without a plane nobody tells allocations apart; but what is free is known. */
static void test_lax(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 1024, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB, 1024);
    put_range(f.p, 5 * GiB + 510, 4); /* too few */
    assert_true(f.p->sections[0].lax);
    assert_int_equal(f.p->records, 0);
    assert_sound(pmm_check(f.p));
    claim(f.p, 5 * GiB + 511, 2);
    assert_int_equal(frame_is(f.p, 5 * GiB + 511), IS_SINGLE);
    assert_int_equal(pmm_free_frames(f.p), 2);
    put_range(f.p, 5 * GiB + 300, 210); /* cuts what can't be told */
    put_range(f.p, 5 * GiB + 511, 1);
    put_range(f.p, 5 * GiB, 300);
    put_range(f.p, 5 * GiB + 512, 1);
    put_range(f.p, 5 * GiB + 514, 510);
    assert_int_equal(pmm_free_frames(f.p), 1024);
    assert_sound(pmm_check(f.p));

    /* Now there is room, and what is new is told. */
    claim(f.p, 5 * GiB + 511, 2);
    assert_int_equal(f.p->records, 8);
    assert_int_equal(frame_is(f.p, 5 * GiB + 511), IS_HEAD);
    assert_int_equal(frame_is(f.p, 5 * GiB + 512), IS_BODY);
    put_range(f.p, 5 * GiB + 511, 2);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Blocks that are GIVEN are told; what joins them in a lax section is not. */
static void test_lax_beside_blocks(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 1536, GIVEN } };
    struct fixture f;

    (void)state;
    for (unsigned side = 0; side < 2; side++) {
        uint64_t base = 5 * GiB + (side == 0 ? 512 : 509); /* the block and 3 frames */

        open_pool(&f, parts, 1);
        for (uint64_t pfn = 5 * GiB; pfn < 5 * GiB + 1536; pfn++) {
            if (pfn < base || pfn >= base + 515) {
                claim(f.p, pfn, 1);
            }
        }
        claim(f.p, base, 515);
        assert_true(f.p->sections[0].lax);
        assert_int_equal(frame_is(f.p, 5 * GiB + 512), IS_HEAD);
        assert_int_equal(frame_is(f.p, 5 * GiB + 1023), IS_BODY);
        assert_int_equal(frame_is(f.p, 5 * GiB + (side == 0 ? 1024 : 511)), IS_SINGLE);
        assert_sound(pmm_check(f.p));
        put_range(f.p, base, 515);
        assert_int_equal(pmm_free_frames(f.p), 515);
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }

    /* A block between two is cut when there is no room to tell what is left. */
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB, 1536);
    put_range(f.p, 5 * GiB + 700, 3);
    assert_true(f.p->sections[0].lax);
    assert_int_equal(frame_is(f.p, 5 * GiB + 511), IS_BODY);
    assert_int_equal(frame_is(f.p, 5 * GiB + 699), IS_SINGLE);
    assert_int_equal(frame_is(f.p, 5 * GiB + 703), IS_SINGLE);
    assert_int_equal(frame_is(f.p, 5 * GiB + 1024), IS_HEAD);
    assert_sound(pmm_check(f.p));
    put_range(f.p, 5 * GiB, 700);
    put_range(f.p, 5 * GiB + 703, 833);
    assert_int_equal(pmm_free_frames(f.p), 1536);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* What is not told on one side of a border is not joined to what is told on the other. */
static void test_lax_border(void **state)
{
    static const struct part parts[2][2] = {
        /* The odd frames get their section a plane. */
        { { 6 * GiB - 512, 1024, GIVEN }, { 6 * GiB + 1024, 5, GIVEN } },
        { { 6 * GiB - 1024, 5, GIVEN }, { 6 * GiB - 512, 1024, GIVEN } },
    };
    struct fixture f;

    (void)state;
    for (uint64_t n = 1; n < 8; n++) { /* so many frames, of which some on either side */
        const uint64_t told = n % 2;   /* the section with the plane */
        const uint64_t base = 6 * GiB - 1 - n / 4;
        const uint64_t count = 2 + n / 2;

        open_kind(&f, parts[1 - told], 2, PMM_GENERAL, 1);
        claim(f.p, parts[1 - told][told].base, 5);
        for (uint64_t pfn = 6 * GiB - 512; pfn < 6 * GiB + 512; pfn++) {
            if (pfn < base || pfn >= base + count) {
                claim(f.p, pfn, 1);
            }
        }
        assert_int_equal(pmm_free_frames(f.p), count);
        claim(f.p, base, count);
        assert_int_equal(f.p->records, 0);
        assert_int_equal(f.p->sections[0].lax, told == 1);
        assert_int_equal(f.p->sections[1].lax, told == 0);
        for (uint64_t pfn = base; pfn < base + count; pfn++) {
            uint64_t first = told == 1 ? 6 * GiB : base;
            uint64_t end = told == 1 ? base + count : 6 * GiB;
            enum frame_is want = pfn < first || pfn >= end || end - first == 1 ? IS_SINGLE
                                 : pfn == first                                ? IS_HEAD
                                                                               : IS_BODY;

            assert_int_equal(frame_is(f.p, pfn), want);
        }
        assert_sound(pmm_check(f.p));
        put_range(f.p, base, count);
        assert_int_equal(pmm_free_frames(f.p), count);
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }
}

/* Planes in what goes out of service move, and what they tell is told as before. */
static void test_records_move(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 1024, GIVEN }, { 9 * GiB, 512, GIVEN } };
    struct fixture f;
    uint64_t in_use;
    uint64_t at;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB, 3);
    claim(f.p, 5 * GiB + 700, 20);
    at = records_of(f.p, 5 * GiB);
    assert_int_equal(at, 5 * GiB + 8);
    assert_int_equal(pmm_retire(f.p, pfn_make(at - 1), 1, &in_use), MM_OK);
    assert_int_equal(pmm_retire(f.p, pfn_make(at + 8), 1, &in_use), MM_OK);
    assert_int_equal(records_of(f.p, 5 * GiB), at); /* they are beside it only */
    assert_int_equal(pmm_retire(f.p, pfn_make(at + 3), 2, &in_use), MM_OK);
    assert_int_equal(in_use, 0);
    assert_int_equal(records_of(f.p, 5 * GiB), 5 * GiB + 24);
    assert_int_equal(f.p->records, 8);
    assert_int_equal(pmm_free_frames(f.p), 1536 - 23 - 8 - 4);
    assert_int_equal(frame_is(f.p, at + 2), IS_FREE);
    assert_int_equal(frame_is(f.p, at + 3), IS_HELD);
    assert_int_equal(frame_is(f.p, at + 5), IS_FREE);
    assert_int_equal(frame_is(f.p, 5 * GiB), IS_HEAD);
    assert_int_equal(frame_is(f.p, 5 * GiB + 719), IS_BODY);
    assert_sound(pmm_check(f.p));

    /* Out of the whole section, into one that has no plane itself. */
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB), 1024, &in_use), MM_OK);
    assert_int_equal(in_use, 23);
    assert_int_equal(records_of(f.p, 9 * GiB), 9 * GiB);
    assert_int_equal(records_of(f.p, 5 * GiB), 9 * GiB + 8);
    assert_int_equal(pmm_free_frames(f.p), 512 - 16);
    assert_true(f.p->sections[0].leaving);
    assert_sound(pmm_check(f.p));
    put_range(f.p, 5 * GiB + 700, 20);
    assert_true(f.p->sections[0].leaving);
    put_range(f.p, 5 * GiB, 3);
    assert_false(f.p->sections[0].leaving);
    assert_int_equal(pmm_free_frames(f.p), 512 - 16);
    assert_sound(pmm_check(f.p));

    /* Nowhere to go: nothing happens. */
    assert_int_equal(pmm_retire(f.p, pfn_make(9 * GiB), 512, &in_use), MM_ENOMEM);
    assert_int_equal(pmm_free_frames(f.p), 512 - 16);
    assert_int_equal(f.p->nbad, 1);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* To a lower address, if there is no other room. */
static void test_records_move_down(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 512, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB, 8);
    assert_int_equal(records_of(f.p, 5 * GiB), 5 * GiB + 8);
    claim(f.p, 5 * GiB + 16, 512 - 16);
    put_range(f.p, 5 * GiB, 8);
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB + 8), 8, NULL), MM_OK);
    assert_int_equal(records_of(f.p, 5 * GiB), 5 * GiB);
    assert_int_equal(frame_is(f.p, 5 * GiB + 16), IS_HEAD);
    assert_int_equal(pmm_free_frames(f.p), 0);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* One plane moves, then there is no room for the other: what the first has left behind is free, and
 * found, though it was refused before. */
static void test_records_move_in_vain(void **state)
{
    static const struct part parts[] = {
        { 5 * GiB, 512, GIVEN },
        { 7 * GiB, 512, GIVEN },
        { 9 * GiB, 8, GIVEN },
    };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB + 24, 512 - 24);
    claim(f.p, 5 * GiB + 8, 8);
    claim(f.p, 7 * GiB, 511);
    claim(f.p, 7 * GiB + 511, 1);
    put_range(f.p, 5 * GiB + 8, 8);
    assert_int_equal(records_of(f.p, 5 * GiB), 5 * GiB);
    assert_int_equal(records_of(f.p, 7 * GiB), 5 * GiB + 16);
    assert_true(pfn_is_none(pmm_get(f.p, 4, 0)));
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB), 24, NULL), MM_ENOMEM);
    assert_int_equal(records_of(f.p, 5 * GiB), 9 * GiB);
    assert_int_equal(f.p->nbad, 0);
    assert_int_equal(pmm_free_frames(f.p), 16);
    assert_sound(pmm_check(f.p));
    assert_int_equal(pmm_get(f.p, 4, 0).v, 5 * GiB);
    close_pool(&f);
}

/* ---- by request ------------------------------------------------------------------------------ */

static mm_err_t want_error(struct pmm *p, struct pmm_want want)
{
    pfn_t base = { 12345 };
    mm_err_t err = pmm_get_range(p, &want, &base);

    assert_true(err == MM_OK || base.v == 12345);
    return err;
}

static void test_arguments(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 1024, GIVEN }, { 6 * GiB - 1, 1, LATER } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    assert_int_equal(want_error(f.p, (struct pmm_want){ 0 }), MM_EINVAL);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 3, .align = 3 }), MM_EINVAL);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 1, .boundary = 2048 }), MM_EINVAL);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 1, .boundary = 12288 }),
                     MM_EINVAL);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = UINT64_MAX }), MM_ENOMEM);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 1025 }), MM_ENOMEM);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 3, .boundary = 8192 }), MM_EFRAG);
    assert_int_equal(
        want_error(f.p, (struct pmm_want){ .count = 1, .align = 1 + (UINT64_MAX >> 1) }), MM_EFRAG);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 1, .limit = 1 }), MM_ELIMIT);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 9, .flags = PMM_QUICK }),
                     MM_EFRAG);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 1025, .flags = PMM_QUICK }),
                     MM_ENOMEM);

    assert_int_equal(pmm_claim(f.p, pfn_make(5 * GiB), 0), MM_EINVAL);
    assert_int_equal(pmm_claim(f.p, pfn_make(5 * GiB), UINT64_MAX), MM_EINVAL);
    assert_int_equal(pmm_claim(f.p, pfn_make(0), 1), MM_ENOENT);
    assert_int_equal(pmm_claim(f.p, pfn_make(5 * GiB + 1023), 2), MM_ENOENT);
    assert_int_equal(pmm_claim(f.p, pfn_make(6 * GiB - 1), 1), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(6 * GiB - 1), 0), MM_EINVAL);
    assert_int_equal(pmm_add(f.p, pfn_make(6 * GiB - 2), 2), MM_ENOENT);
    claim(f.p, 5 * GiB, 1024);
    assert_true(pfn_is_none(pmm_get(f.p, 0, 0)));
    assert_int_equal(pmm_add(f.p, pfn_make(6 * GiB - 1), 1), MM_OK);
    assert_int_equal(pmm_get(f.p, 0, 0).v, 6 * GiB - 1); /* no longer refused */
    assert_int_equal(pmm_add(f.p, pfn_make(6 * GiB - 1), 1), MM_EBUSY);
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB), 0, NULL), MM_EINVAL);
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB - 1), 2, NULL), MM_ENOENT);
    put_range(f.p, 5 * GiB, 1024);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 8, .flags = PMM_QUICK }), MM_OK);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static void test_zero(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 64, GIVEN } };
    struct pmm_want want = { .count = 11, .flags = PMM_ZERO };
    struct fixture f;
    pfn_t base;

    (void)state;
    open_pool(&f, parts, 1);
    memset(port_ptr(pa_of_pfn(pfn_make(5 * GiB))), 0xa5, 64 * PAGE);
    assert_int_equal(pmm_get_range(f.p, &want, &base), MM_OK);
    for (uint64_t pfn = 5 * GiB; pfn < 5 * GiB + 64; pfn++) {
        const unsigned char *byte = port_ptr(pa_of_pfn(pfn_make(pfn)));
        bool ours = pfn >= base.v && pfn < base.v + 11;

        if (ours) {
            assert_true(byte[0] == 0 && byte[PAGE - 1] == 0 &&
                        memcmp(byte, byte + 1, PAGE - 1) == 0);
        } else if (frame_is(f.p, pfn) == IS_FREE) {
            assert_int_equal(byte[0], 0xa5);
        }
    }
    close_pool(&f);
}

/* A waiter is asked for until there is room, or no more to be had. */
struct hook {
    struct pmm *p;
    uint64_t next, end; /* frames to put, one a call */
};

static bool make_room(void *ctx, enum pmm_mark mark, uint64_t count)
{
    struct hook *h = ctx;

    assert_int_equal(count, 3);
    if (mark != PMM_REFUSAL || h->next == h->end) {
        return false;
    }
    pmm_put_range(h->p, pfn_make(h->next++), 1);
    return true;
}

static void test_wait(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 64, GIVEN } };
    struct pmm_want want = { .count = 3, .flags = PMM_WAIT };
    struct fixture f;
    struct hook h;
    pfn_t base;

    (void)state;
    open_pool(&f, parts, 1);
    h = (struct hook){ f.p, 5 * GiB + 10, 5 * GiB + 15 };
    claim(f.p, 5 * GiB, 64 - 8);
    claim(f.p, 5 * GiB + 64 - 8, 8);
    pmm_set_reclaim(f.p, 0, 0, make_room, &h);
    assert_int_equal(want_error(f.p, (struct pmm_want){ .count = 3 }), MM_ENOMEM);
    assert_int_equal(h.next, 5 * GiB + 10);
    assert_int_equal(pmm_get_range(f.p, &want, &base), MM_OK);
    assert_int_equal(base.v, 5 * GiB + 10);
    assert_int_equal(h.next, 5 * GiB + 13);
    assert_int_equal(pmm_get_range(f.p, &want, &base), MM_ENOMEM);
    assert_int_equal(h.next, 5 * GiB + 15);
    assert_int_equal(pmm_free_frames(f.p), 2);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static bool count_marks(void *ctx, enum pmm_mark mark, uint64_t count)
{
    unsigned *calls = ctx;

    (void)count;
    *calls += mark == PMM_LOW_MARK;
    return false;
}

/* Whatever takes frames tells when few are left; again, if there have been more since. */
static void test_marks(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 64, GIVEN } };
    struct pmm_want want = { .count = 9 };
    unsigned calls = 0;
    struct fixture f;
    pfn_t base;

    (void)state;
    open_pool(&f, parts, 1);
    pmm_set_reclaim(f.p, 60, 0, count_marks, &calls);
    claim(f.p, 5 * GiB + 10, 9);
    assert_int_equal(calls, 1);
    claim(f.p, 5 * GiB + 19, 1);
    assert_int_equal(calls, 1);
    put_range(f.p, 5 * GiB + 10, 9);
    claim(f.p, 5 * GiB + 20, 1);
    assert_int_equal(pmm_get_range(f.p, &want, &base), MM_OK);
    assert_int_equal(calls, 2);
    put_range(f.p, base.v, 9);
    claim(f.p, 5 * GiB + 21, 1);
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB + 40), 9, NULL), MM_OK);
    assert_int_equal(calls, 3);
    close_pool(&f);
}

/* What is out already, or going, is not counted again. */
static void test_retire_again(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 1000, GIVEN } };
    struct fixture f;
    uint64_t in_use;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB + 100, 50);
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB + 90), 20, &in_use), MM_OK);
    assert_int_equal(in_use, 10);
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB + 140), 20, &in_use), MM_OK);
    assert_int_equal(in_use, 10);
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB + 105), 40, &in_use), MM_OK);
    assert_int_equal(in_use, 40);
    assert_int_equal(f.p->nbad, 1);
    assert_int_equal(f.p->leaving, 50);
    assert_int_equal(pmm_free_frames(f.p), 1000 - 50 - 20);
    assert_sound(pmm_check(f.p));
    put_range(f.p, 5 * GiB + 100, 50);
    assert_int_equal(f.p->leaving, 0);
    assert_int_equal(pmm_free_frames(f.p), 1000 - 70);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* A GiB that is free as one goes as one, and needs no plane; part of it does. */
static void test_retire_closed(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 3 * GiB, GIVEN } };
    struct fixture f;
    uint64_t in_use;

    (void)state;
    open_pool(&f, parts, 1);
    assert_int_equal(pmm_retire(f.p, pfn_make(5 * GiB), GiB, &in_use), MM_OK);
    assert_int_equal(f.p->records, 0);
    assert_int_equal(in_use, 0);
    assert_sound(pmm_check(f.p));
    claim(f.p, 6 * GiB, 512);
    assert_int_equal(pmm_retire(f.p, pfn_make(6 * GiB + 512), 1024, NULL), MM_OK);
    assert_int_equal(f.p->records, 0);
    assert_int_equal(pmm_retire(f.p, pfn_make(6 * GiB), 512, &in_use), MM_OK);
    assert_int_equal(in_use, 512);
    assert_int_equal(f.p->records, 8); /* part of the block may come back first */
    assert_int_equal(f.p->nbad, 1);
    assert_sound(pmm_check(f.p));
    put_range(f.p, 6 * GiB, 512);
    assert_int_equal(pmm_free_frames(f.p), 2 * GiB - 1536 - 8);
    assert_int_equal(frame_is(f.p, 6 * GiB), IS_HELD);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* ---- deaths ---------------------------------------------------------------------------------- */

static const struct part death_parts[] = {
    { 5 * GiB, 4096, GIVEN },
    { 5 * GiB + 4096, 1024, LATER },
    { 5 * GiB + 5120, 8, LATER },
    { 7 * GiB, 512, GIVEN },
};

/* At 5 GiB: [+16, +48) are an allocation, and +48, [+512, +1636), [+2048, +2112), [+3072, +4096);
 * +64 is out of service. */
static void death_open(struct fixture *f)
{
    open_pool(f, death_parts, 1);
    claim(f->p, 5 * GiB + 16, 32);
    claim(f->p, 5 * GiB + 48, 1);
    claim(f->p, 5 * GiB + 512, 1124);
    claim(f->p, 5 * GiB + 2048, 64);
    claim(f->p, 5 * GiB + 3072, 1024);
    assert_int_equal(pmm_retire(f->p, pfn_make(5 * GiB + 64), 1, NULL), MM_OK);
}

static void exact_put_dies(struct pmm *p, uint64_t base, uint64_t count, const char *words)
{
    stop_all(p);
    assert_panics((exact_put(p, base, count, NULL), 0), words);
}

static void test_deaths(void **state)
{
    static const struct {
        uint64_t base, count;
        const char *words;
    } deaths[] = {
        { 100, 1, "put of 0x140064000 (1 frame) by (nil): frame 0x140064000 is free already" },
        { 100, 64, "(64 frames)" },
        { 3000, 1, "frame 0x140bb8000 is free already" },
        { 3071, 2, "frame 0x140bff000 is free already" },
        { 40, 9, "frame 0x140030000 is the start of another allocation" },
        { 40, 24, "frame 0x140030000 is the start of another allocation" },
        { 48, 2, "frame 0x140031000 is free already" },
        { 15, 2, "frame 0x14000f000 is free already" },
        { 64, 1, "frame 0x140040000 is out of service" },
        { 1600, 37, "frame 0x140664000 is free already" },
        { 4100, 1, "frame 0x141004000 was never given" },
        { 5125, 1, "frame 0x141405000 was never given" },
        { 5129, 1, "frame 0x141409000 is not in this pool" },
        { 100000, 1, "frame 0x1586a0000 is not in this pool" },
        { GiB, 1, "frame 0x180000000 is not in this pool" },
        { 0 - 4 * GiB, 1, "frame 0x40000000 is not in this pool" },
        { 2 * GiB, 1, "frame 0x1c0000000 is free already" },
        { 16, 0, "count of 0" },
        { 16, UINT64_MAX - 100, "wraps" },
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(deaths); i++) {
        death_open(&f);
        exact_put_dies(f.p, 5 * GiB + deaths[i].base, deaths[i].count, deaths[i].words);
        close_pool(&f);
    }
}

/* As a whole allocation, which it is not. */
static void test_deaths_of_wholes(void **state)
{
    static const struct {
        uint64_t base, count;
        const char *words;
        uint64_t culprit;
    } wrong[] = {
        { 16, 16, "is the start of a larger allocation", 16 },
        { 16, 1, "is the start of a larger allocation", 16 },
        { 16, 32, "is not aligned to its order", 16 },
        { 24, 8, "is not the start of an allocation", 24 },
        { 47, 1, "is not the start of an allocation", 47 },
        { 512, 512, "is the start of a larger allocation", 512 },
        { 1024, 512, "is not the start of an allocation", 1024 },
        { 1535, 1, "is not the start of an allocation", 1535 },
        { 48, 16, "is free already", 49 },
    };
    struct fixture f;
    uint64_t culprit;

    (void)state;
    death_open(&f);
    stop_all(f.p);
    for (size_t i = 0; i < MM_COUNTOF(wrong); i++) {
        const char *what =
            exact_blame(f.p, 5 * GiB + wrong[i].base, wrong[i].count, true, &culprit);

        assert_non_null(what);
        assert_string_equal(what, wrong[i].words);
        assert_int_equal(culprit, 5 * GiB + wrong[i].culprit);
    }
    assert_null(exact_blame(f.p, 5 * GiB + 48, 1, true, &culprit));
    assert_null(exact_blame(f.p, 5 * GiB + 2048, 64, true, &culprit));
    assert_null(exact_blame(f.p, 5 * GiB + 3072, 1024, true, &culprit));
    assert_null(exact_blame(f.p, 5 * GiB + 16, 32, false, &culprit));
    assert_null(exact_blame(f.p, 5 * GiB + 520, 1116, false, &culprit));
    host_after_panic();
    close_pool(&f);
}

static void test_death_of_records(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 512, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB + 100, 2);
    assert_int_equal(records_of(f.p, 5 * GiB), 5 * GiB);
    exact_put_dies(f.p, 5 * GiB + 7, 1, "frame 0x140007000 holds the pool's records");
    close_pool(&f);
}

/* Where allocations can't be told apart, a double free is found nevertheless. */
static void test_death_in_lax(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 512, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    claim(f.p, 5 * GiB, 512);
    put_range(f.p, 5 * GiB + 100, 2);
    assert_true(f.p->sections[0].lax);
    exact_put_dies(f.p, 5 * GiB + 90, 11, "frame 0x140064000 is free already");
    close_pool(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ragged),
        cmocka_unit_test(test_tight),
        cmocka_unit_test(test_untouched),
        cmocka_unit_test(test_closed),
        cmocka_unit_test(test_chain),
        cmocka_unit_test(test_plane_from_put),
        cmocka_unit_test(test_lax),
        cmocka_unit_test(test_lax_beside_blocks),
        cmocka_unit_test(test_lax_border),
        cmocka_unit_test(test_records_move),
        cmocka_unit_test(test_records_move_down),
        cmocka_unit_test(test_records_move_in_vain),
        cmocka_unit_test(test_arguments),
        cmocka_unit_test(test_zero),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_marks),
        cmocka_unit_test(test_retire_again),
        cmocka_unit_test(test_retire_closed),
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_deaths_of_wholes),
        cmocka_unit_test(test_death_of_records),
        cmocka_unit_test(test_death_in_lax),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
