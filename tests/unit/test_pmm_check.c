/*
 * test_pmm_check.c - what a frame pool says of itself: its statistics against a count of every
 * frame, and its checker against damage of every kind.
 *
 * The count is of bytes, one a frame, and knows nothing of planes and blocks. The damage is done by
 * hand, in structures that are right otherwise; each sort must be reported under its number.
 */
#include "pmm_fixture.h"

#include <inttypes.h>
#include <time.h>

#include "../../mm/pmm/pool.h"

#define MAX_ALLOCS 4096
#define MAX_PARTS  16

/* ---- the count ------------------------------------------------------------------------------- */

#define LEAVING 0x80 /* beside PMM_USED: to be PMM_BAD when given back */
#define RECORD  0x40 /* beside PMM_HELD: the pool keeps something there */

struct alloc {
    uint64_t base;
    uint64_t count;
};

struct model {
    const struct part *parts;
    size_t nparts;
    unsigned char *state[MAX_PARTS]; /* enum pmm_state and flags; a byte a frame */
    struct alloc allocs[MAX_ALLOCS];
    size_t nallocs;
    uint64_t records; /* of the pool, when last seen */
    bool retired;     /* something, since then */
};

static void model_init(struct model *w, const struct part *parts, size_t nparts)
{
    w->parts = parts;
    w->nparts = nparts;
    w->nallocs = 0;
    w->records = 0;
    w->retired = false;
    assert_true(nparts <= MAX_PARTS);
    for (size_t i = 0; i < nparts; i++) {
        w->state[i] = malloc(parts[i].count);
        assert_non_null(w->state[i]);
        memset(w->state[i], parts[i].is == GIVEN ? PMM_FREE : PMM_HELD, parts[i].count);
    }
}

static void model_drop(struct model *w)
{
    for (size_t i = 0; i < w->nparts; i++) {
        free(w->state[i]);
    }
}

/* The byte of a frame; NULL if it is in no part. */
static unsigned char *at(const struct model *w, uint64_t pfn)
{
    for (size_t i = 0; i < w->nparts; i++) {
        if (pfn - w->parts[i].base < w->parts[i].count) {
            return &w->state[i][pfn - w->parts[i].base];
        }
    }
    return NULL;
}

static enum pmm_state state_at(const struct model *w, uint64_t pfn)
{
    const unsigned char *s = at(w, pfn);

    return s != NULL ? (enum pmm_state)(*s & 0xf) : PMM_ABSENT;
}

static void took(struct model *w, uint64_t base, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        unsigned char *s = at(w, base + i);

        assert_non_null(s);
        assert_int_equal(*s, PMM_FREE);
        *s = PMM_USED;
    }
    assert_true(w->nallocs < MAX_ALLOCS);
    w->allocs[w->nallocs++] = (struct alloc){ base, count };
}

static void gave(struct model *w, uint64_t base, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        unsigned char *s = at(w, base + i);

        *s = *s == PMM_USED ? PMM_FREE : PMM_BAD;
    }
}

static void add_naive_run(struct pmm_stats *s, uint64_t base, uint64_t end)
{
    s->largest_free = mm_max(s->largest_free, end - base);
    while (base < end) {
        unsigned order = 0;

        while (order < 18 && base % (UINT64_C(2) << order) == 0 &&
               end - base >= UINT64_C(2) << order) {
            order++;
        }
        s->free_blocks[order]++;
        s->outside_2m += order < 9 ? UINT64_C(1) << order : 0;
        base += UINT64_C(1) << order;
    }
}

static struct pmm_stats naive_stats(const struct model *w)
{
    struct pmm_stats s = { 0 };
    uint64_t run = 0; /* frames of it */
    uint64_t end = 0;

    for (size_t i = 0; i < w->nparts; i++) {
        for (uint64_t k = 0; k < w->parts[i].count; k++) {
            uint64_t pfn = w->parts[i].base + k;
            unsigned char state = w->state[i][k];

            s.total_frames++;
            s.free_frames += state == PMM_FREE;
            s.held_frames += state == PMM_HELD;
            s.record_frames += state == (PMM_HELD | RECORD);
            s.bad_frames += state == PMM_BAD;
            s.leaving_frames += (state & LEAVING) != 0;
            s.below_4g_free += state == PMM_FREE && pfn < 4 * GiB;
            if (run != 0 && (state != PMM_FREE || pfn != end)) {
                add_naive_run(&s, end - run, end);
                run = 0;
            }
            if (state == PMM_FREE) {
                run++;
                end = pfn + 1;
            }
        }
    }
    add_naive_run(&s, end - run, end);
    return s;
}

static void assert_stats(struct pmm *p, const struct model *w)
{
    struct pmm_stats want = naive_stats(w);
    struct pmm_stats s = stats_of(p);
    bool exists = false;

    assert_int_equal(s.total_frames, want.total_frames);
    assert_int_equal(s.free_frames, want.free_frames);
    assert_int_equal(s.held_frames, want.held_frames);
    assert_int_equal(s.bad_frames, want.bad_frames);
    assert_int_equal(s.leaving_frames, want.leaving_frames);
    assert_int_equal(s.record_frames, want.record_frames);
    assert_int_equal(s.below_4g_free, want.below_4g_free);
    assert_int_equal(s.largest_free, want.largest_free);
    assert_int_equal(s.outside_2m, want.outside_2m);
    assert_memory_equal(s.free_blocks, want.free_blocks, sizeof(s.free_blocks));
    assert_true(s.open_sections <= s.sections);
    assert_int_equal(pmm_free_frames(p), want.free_frames);
    for (unsigned order = 18; order <= 18; order--) {
        mm_err_t why = want.free_frames < UINT64_C(1) << order ? MM_ENOMEM : MM_EFRAG;

        exists = exists || want.free_blocks[order] != 0;
        assert_int_equal(pmm_why(p, order), exists ? MM_OK : why);
    }
    assert_int_equal(pmm_why(p, 19), MM_EINVAL);
    assert_int_equal(pmm_why(p, UINT32_MAX), MM_EINVAL);
}

static void assert_tally(struct pmm *p, const struct model *w, uint64_t base, uint64_t count)
{
    struct pmm_tally want = { { 0 } };
    struct pmm_tally t;

    for (uint64_t i = 0; i < count; i++) {
        want.frames[state_at(w, base + i)]++;
    }
    pmm_get_tally(p, pfn_make(base), count, &t);
    assert_memory_equal(&t, &want, sizeof(t));
}

/* ---- random operations ----------------------------------------------------------------------- */

static uint64_t random_frame(const struct model *w, struct host_rng *r)
{
    const struct part *part = &w->parts[host_rng_below(r, w->nparts)];

    return part->base + host_rng_below(r, part->count);
}

static void do_put(struct pmm *p, struct model *w, struct host_rng *r)
{
    if (w->nallocs != 0) {
        size_t i = host_rng_below(r, w->nallocs);
        struct alloc a = w->allocs[i];
        uint64_t off = host_rng_below(r, 3) == 0 ? host_rng_below(r, a.count) : 0;
        uint64_t count = off != 0 ? 1 + host_rng_below(r, a.count - off) : a.count;

        w->allocs[i] = w->allocs[--w->nallocs];
        pmm_put_range(p, pfn_make(a.base + off), count);
        gave(w, a.base + off, count);
        if (off != 0) {
            w->allocs[w->nallocs++] = (struct alloc){ a.base, off };
        }
        if (off + count < a.count) {
            w->allocs[w->nallocs++] = (struct alloc){ a.base + off + count, a.count - off - count };
        }
    }
}

static void do_get(struct pmm *p, struct model *w, struct host_rng *r)
{
    unsigned order = (unsigned)host_rng_below(r, 1 + host_rng_below(r, 19));
    pfn_t pfn = pmm_get(p, order, 0);

    if (!pfn_is_none(pfn)) {
        took(w, pfn.v, UINT64_C(1) << order);
    }
}

static void do_get_batch(struct pmm *p, struct model *w, struct host_rng *r)
{
    pfn_t pfns[100];
    unsigned n = pmm_get_batch(p, pfns, (unsigned)host_rng_below(r, 100), 0);

    for (unsigned i = 0; i < n; i++) {
        took(w, pfns[i].v, 1);
    }
}

static void do_claim(struct pmm *p, struct model *w, struct host_rng *r)
{
    uint64_t base = random_frame(w, r);
    uint64_t count = 1 + (host_rng_below(r, GiB) >> host_rng_below(r, 18));

    if (pmm_claim(p, pfn_make(base), count) == MM_OK) {
        took(w, base, count);
    }
}

static void do_add(struct pmm *p, struct model *w, struct host_rng *r)
{
    uint64_t base = random_frame(w, r);
    uint64_t count = 1 + host_rng_below(r, 100);

    if (pmm_add(p, pfn_make(base), count) == MM_OK) {
        for (uint64_t i = 0; i < count; i++) {
            assert_int_equal(*at(w, base + i), PMM_HELD);
            *at(w, base + i) = PMM_FREE;
        }
    }
}

static void do_retire(struct pmm *p, struct model *w, struct host_rng *r)
{
    uint64_t base = random_frame(w, r);
    uint64_t count = 1 + host_rng_below(r, 5);

    if (pmm_retire(p, pfn_make(base), count, NULL) == MM_OK) {
        w->retired = true;
        for (uint64_t i = 0; i < count; i++) {
            unsigned char *s = at(w, base + i);

            assert_non_null(s);
            *s = (*s & 0xf) == PMM_USED ? PMM_USED | LEAVING : PMM_BAD;
        }
    }
}

static void do_something(struct pmm *p, struct model *w, struct host_rng *r)
{
    host_set_cpu((unsigned)host_rng_below(r, pmm_ncpus(p)));
    switch (host_rng_below(r, 8)) {
    case 0:
        do_get(p, w, r);
        break;
    case 1:
        do_get_batch(p, w, r);
        break;
    case 2:
        do_claim(p, w, r);
        break;
    case 3:
        do_add(p, w, r);
        break;
    case 4:
        if (host_rng_below(r, 8) == 0) {
            do_retire(p, w, r);
        }
        break;
    default:
        do_put(p, w, r);
        break;
    }
    while (w->nallocs > MAX_ALLOCS - 200) {
        do_put(p, w, r);
    }
}

/* The pool takes frames for its own records in the midst of things, and moves them when theirs are
 * retired: they are HELD, and the model still thinks that they are free; or the other way round. */
static void note_records(struct pmm *p, struct model *w)
{
    uint64_t found = 0;

    if (p->records == w->records && !w->retired) {
        return;
    }
    for (size_t i = 0; i < w->nparts; i++) {
        for (uint64_t k = 0; k < w->parts[i].count; k++) {
            unsigned char *s = &w->state[i][k];

            if (*s == PMM_FREE || *s == (PMM_HELD | RECORD)) {
                bool is_record = frame_is(p, w->parts[i].base + k) == IS_HELD;

                *s = is_record ? PMM_HELD | RECORD : PMM_FREE;
                found += is_record;
            }
        }
    }
    w->records = p->records;
    w->retired = false;
    assert_int_equal(found, p->records);
}

/* ---- statistics ------------------------------------------------------------------------------ */

/* Small islands, at every kind of place where a walk may have a seam. */
static const struct part islands[] = {
    { 256, 100, GIVEN },              /* from 1 MiB on */
    { 356, 20, LATER },               /* touches it */
    { 400, 700, GIVEN },              /* across a 2 MiB border */
    { GiB - 300, 700, GIVEN },        /* across a 1 GiB border */
    { GiB + 400, 50, GIVEN },         /* touches it: another descriptor */
    { 2 * GiB - 1, 1, GIVEN },        /* the last frame of a GiB, alone */
    { 3 * GiB + 77, 1, GIVEN },       /* a frame alone in its GiB */
    { 4 * GiB - 600, 1300, GIVEN },   /* across 4 GiB */
    { 4 * GiB + 800, 60, LATER },     /* held */
    { 2 * TiB + 512, 512, GIVEN },    /* an aligned 2 MiB, terabytes away */
    { 2 * TiB + 3 * GiB, 40, LATER }, /* a GiB with held memory only */
    { 3 * TiB + 5, 300, GIVEN },      /* far */
};

/* Whole GiB, and what is cut off from one. */
static const struct part plains[] = {
    { 256, 2 * GiB, GIVEN },
    { 3 * GiB + 1024, 3 * GiB, GIVEN },
    { 7 * GiB, 70000, LATER },
};

/* Ranges of frames to ask about: small, large, and beyond the pool. */
static void assert_tallies(struct pmm *p, const struct model *w, struct host_rng *r, uint64_t most)
{
    for (unsigned i = 0; i < 5; i++) {
        uint64_t base = random_frame(w, r) - host_rng_below(r, 300);
        uint64_t pfn = base + host_rng_below(r, 600);

        assert_tally(p, w, base, host_rng_below(r, most) >> host_rng_below(r, 18));
        assert_int_equal(pmm_get_state(p, pfn_make(pfn)), state_at(w, pfn));
        assert_int_equal(pmm_covers(p, pfn_make(pfn)), state_at(w, pfn) != PMM_ABSENT);
        assert_int_equal(pmm_is_free(p, pfn_make(pfn)), state_at(w, pfn) == PMM_FREE);
    }
}

static void against_model(const struct part *parts, size_t nparts, unsigned steps, unsigned every)
{
    struct host_rng r = host_rng_make("statistics");
    static struct model w;
    struct fixture f;

    open_kind(&f, parts, nparts, PMM_GENERAL, 3);
    model_init(&w, parts, nparts);
    assert_stats(f.p, &w);
    for (unsigned step = 0; step < steps; step++) {
        do_something(f.p, &w, &r);
        note_records(f.p, &w);
        assert_int_equal(pmm_is_free(f.p, pfn_make(parts[0].base)),
                         state_at(&w, parts[0].base) == PMM_FREE);
        if (step % every == 0) {
            assert_tallies(f.p, &w, &r, parts[0].count);
            assert_stats(f.p, &w);
        }
        assert_sound(pmm_check(f.p));
    }
    while (w.nallocs != 0) {
        do_put(f.p, &w, &r);
        note_records(f.p, &w);
        assert_sound(pmm_check(f.p));
    }
    assert_stats(f.p, &w);
    model_drop(&w);
    close_pool(&f);
}

static void test_stats_islands(void **state)
{
    (void)state;
    against_model(islands, MM_COUNTOF(islands), 4000, 4);
}

static void test_stats_plains(void **state)
{
    (void)state;
    against_model(plains, MM_COUNTOF(plains), 600, 40);
}

/* Ranges that wrap, that reach to the end of all numbers, that are empty. */
static void test_tally_bounds(void **state)
{
    struct pmm_tally t;
    struct fixture f;

    (void)state;
    open_pool(&f, islands, 1);
    pmm_get_tally(f.p, pfn_make(256), 0, &t);
    for (unsigned i = 0; i < PMM_STATES; i++) {
        assert_int_equal(t.frames[i], 0);
    }
    pmm_get_tally(f.p, pfn_make(0), UINT64_MAX, &t);
    assert_int_equal(t.frames[PMM_FREE], 100 + 700 + 700 + 50 + 1 + 1 + 1300 + 512 + 300);
    assert_int_equal(t.frames[PMM_HELD], 20 + 60 + 40);
    assert_int_equal(t.frames[PMM_USED] + t.frames[PMM_BAD], 0);
    assert_int_equal(t.frames[PMM_ABSENT], UINT64_MAX - t.frames[PMM_FREE] - t.frames[PMM_HELD]);
    pmm_get_tally(f.p, pfn_make(3 * TiB + 5), UINT64_MAX, &t);
    assert_int_equal(t.frames[PMM_FREE], 300);
    assert_int_equal(t.frames[PMM_ABSENT], UINT64_MAX - 300);
    assert_int_equal(pmm_get_state(f.p, PFN_NONE), PMM_ABSENT);
    assert_int_equal(pmm_get_state(f.p, pfn_make(0)), PMM_ABSENT);
    assert_false(pmm_covers(f.p, PFN_NONE));
    assert_false(pmm_is_free(f.p, PFN_NONE));
    close_pool(&f);
}

static void test_bad_ranges(void **state)
{
    struct fixture f;
    uint64_t in_use = 99;
    uint64_t count = 0;
    pfn_t base = { 0 };
    struct pmm_stats s;

    (void)state;
    open_pool(&f, islands, 1);
    assert_false(pmm_get_bad(f.p, 0, &base, &count));
    assert_int_equal(pmm_claim(f.p, pfn_make(500), 8), MM_OK);
    assert_int_equal(pmm_retire(f.p, pfn_make(506), 4, &in_use), MM_OK);
    assert_int_equal(in_use, 2);
    assert_int_equal(pmm_retire(f.p, pfn_make(360), 1, NULL), MM_OK);
    assert_true(pmm_get_bad(f.p, 0, &base, &count));
    assert_int_equal(base.v, 360);
    assert_int_equal(count, 1);
    assert_true(pmm_get_bad(f.p, 1, &base, &count));
    assert_int_equal(base.v, 506);
    assert_int_equal(count, 4);
    assert_false(pmm_get_bad(f.p, 2, &base, &count));
    s = stats_of(f.p);
    assert_int_equal(s.bad_frames, 3);
    assert_int_equal(s.leaving_frames, 2);
    assert_int_equal(s.held_frames, 20 + 60 + 40 - 1);
    assert_int_equal(pmm_get_state(f.p, pfn_make(506)), PMM_USED);
    assert_int_equal(pmm_get_state(f.p, pfn_make(508)), PMM_BAD);
    assert_sound(pmm_check(f.p));
    pmm_put_range(f.p, pfn_make(500), 8);
    s = stats_of(f.p);
    assert_int_equal(s.bad_frames, 5);
    assert_int_equal(s.leaving_frames, 0);
    assert_int_equal(pmm_get_state(f.p, pfn_make(506)), PMM_BAD);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static void test_cpu_stats(void **state)
{
    static const struct part parts[] = { { 4 * GiB, 2 * GiB, GIVEN } };
    struct pmm_cpu_stats s;
    struct fixture f;
    pfn_t pfn;

    (void)state;
    open_pool(&f, parts, 3);
    assert_int_equal(pmm_ncpus(f.p), 3);
    host_set_cpu(1);
    pfn = pmm_get(f.p, 0, 0);
    pmm_get_cpu_stats(f.p, 0, &s);
    assert_int_equal(s.cached_frames + s.refills + s.blocks, 0);
    pmm_get_cpu_stats(f.p, 1, &s);
    assert_int_equal(s.cached_frames, 63);
    assert_int_equal(s.zeroed_frames, 0);
    assert_int_equal(s.refills, 1);
    assert_int_equal(s.blocks, 1);
    assert_int_equal(pmm_free_frames(f.p), 2 * GiB - 1);
    assert_true(pmm_is_free(f.p, pfn_make(pfn.v ^ 1)));
    assert_false(pmm_is_free(f.p, pfn));
    assert_int_equal(pmm_fill_zeroed(f.p, 5), 5);
    pmm_get_cpu_stats(f.p, 1, &s);
    assert_int_equal(s.cached_frames, 63 + 5);
    assert_int_equal(s.zeroed_frames, 5);
    assert_int_equal(pmm_free_frames(f.p), 2 * GiB - 1);
    assert_int_equal(stats_of(f.p).free_frames, 2 * GiB - 1); /* stopping empties all caches */
    pmm_get_cpu_stats(f.p, 1, &s);
    assert_int_equal(s.cached_frames + s.zeroed_frames, 0);
    assert_sound(pmm_check(f.p));
    assert_panics(pmm_get_cpu_stats(f.p, 3, &s), "cpu < p->ncpus");
    close_pool(&f);
}

/* Of processor time, so that what else the machine does is left out. */
static double now_us(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

/* What counting costs, told; the limits are those of a slow day, with sanitizers. */
static void test_cost(void **state)
{
    static const struct part vast[] = { { 4 * GiB, TiB, GIVEN } };
    static const struct part small[] = { { 4 * GiB, 4 * GiB, GIVEN } };
    static pfn_t pfns[PMM_MAX_BATCH];
    struct pmm_tally t;
    struct fixture f;
    double us[5];

    (void)state;
    open_pool(&f, vast, 4);
    assert_false(pfn_is_none(pmm_get(f.p, 0, 0)));
    us[0] = now_us();
    assert_int_equal(stats_of(f.p).free_frames, TiB - 1);
    us[1] = now_us();
    assert_sound(pmm_check(f.p));
    us[2] = now_us();
    pmm_get_tally(f.p, pfn_make(0), 2 * TiB, &t);
    us[3] = now_us();
    assert_int_equal(t.frames[PMM_FREE], TiB - 1);
    printf("1 TiB, closed but for one GiB: statistics %.0f us, check %.0f us, tally %.0f us\n",
           us[1] - us[0], us[2] - us[1], us[3] - us[2]);
    assert_true(us[3] - us[0] < 20000);
    close_pool(&f);

    open_pool(&f, small, 1); /* every second frame free */
    for (uint64_t i = 0; i < 4 * GiB / PMM_MAX_BATCH; i++) {
        assert_int_equal(pmm_get_batch(f.p, pfns, PMM_MAX_BATCH, 0), PMM_MAX_BATCH);
    }
    for (uint64_t i = 4 * GiB; i < 8 * GiB; i += 2) {
        pmm_put(f.p, pfn_make(i), 0);
    }
    us[0] = now_us();
    assert_int_equal(stats_of(f.p).free_blocks[0], 2 * GiB);
    us[1] = now_us();
    assert_sound(pmm_check(f.p));
    us[2] = now_us();
    pmm_get_tally(f.p, pfn_make(4 * GiB), 4 * GiB, &t);
    us[3] = now_us();
    assert_int_equal(t.frames[PMM_FREE], 2 * GiB);
    assert_int_equal(t.frames[PMM_USED], 2 * GiB);
    pmm_get_tally(f.p, pfn_make(4 * GiB), MiB, &t);
    us[4] = now_us();
    printf("4 GiB, every second frame free: statistics %.0f us, check %.0f us, tally %.0f us, "
           "of 1 MiB %.1f us\n",
           us[1] - us[0], us[2] - us[1], us[3] - us[2], us[4] - us[3]);
    assert_true(us[4] - us[0] < 500000);
    close_pool(&f);
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Two sections that stay closed are at the end; what is done in the others is in rich_pool(). */
static const struct part rich[] = {
    { 256, 344, GIVEN },
    { 600, 100, LATER },
    { 700, 2000, GIVEN },
    { GiB, GiB, GIVEN },
    { 4 * GiB - 1536, 4608, GIVEN },
    { 9 * GiB, 3 * GiB, GIVEN },
};

#define SINGLE_FRAME  1000             /* given alone, nothing beside it */
#define MULTI_FRAME   1100             /* 37 frames */
#define LONG_FRAME    (GiB + 5620)     /* 12 frames of one block, two blocks, 5 frames of another */
#define GIVEN_FRAME   (GiB + 20 * 512) /* a block */
#define LEAVING_FRAME (GiB + 30 * 512 + 7)
#define BAD_FRAME     (GiB + 40 * 512 + 3) /* 5 frames that were free */
#define BAD_HELD      650                  /* 2 frames that were HELD */
#define WHOLE_FRAME   (GiB + 50 * 512)     /* a block that is free */
#define OUTSIDE_FRAME 2750                 /* not covered, in a SPLIT block */
#define NOWHERE_FRAME (6 * 512)            /* not covered, nor is anything of its block */

static struct fixture rich_pool(void)
{
    struct fixture f;

    open_pool(&f, rich, 2);
    assert_int_equal(pmm_claim(f.p, pfn_make(SINGLE_FRAME), 1), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(MULTI_FRAME), 37), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(LONG_FRAME), 12 + 2 * 512 + 5), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(GIVEN_FRAME), 512), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(LEAVING_FRAME), 1), MM_OK);
    assert_int_equal(pmm_retire(f.p, pfn_make(LEAVING_FRAME), 1, NULL), MM_OK);
    assert_int_equal(pmm_retire(f.p, pfn_make(BAD_FRAME), 5, NULL), MM_OK);
    assert_int_equal(pmm_retire(f.p, pfn_make(BAD_HELD), 2, NULL), MM_OK);
    assert_sound(pmm_check(f.p)); /* and no cache holds anything now */
    return f;
}

static uint64_t in_section(uint64_t pfn)
{
    return pfn % SECTION_FRAMES / BLOCK_FRAMES;
}

static struct book *book_at(struct pmm *p, uint64_t pfn)
{
    return &p->books[section_of(p, pfn)];
}

static void set_block(struct pmm *p, uint64_t pfn, bool whole, bool split, bool kin)
{
    struct book *book = book_at(p, pfn);
    uint64_t i = in_section(pfn);

    (whole ? set_bit : clear_bit)(book->whole, i);
    (split ? set_bit : clear_bit)(book->split, i);
    (kin ? set_bit : clear_bit)(book->kin, i);
}

static void set_frame(struct pmm *p, uint64_t pfn, bool avail, bool multi)
{
    uint64_t s = section_of(p, pfn);

    (avail ? set_bit : clear_bit)(&p->frames[s * SECTION_WORDS], pfn % SECTION_FRAMES);
    (multi ? set_bit : clear_bit)(p->sections[s].multi, pfn % SECTION_FRAMES);
}

#define AS_FREE   true, false
#define AS_SINGLE false, false
#define AS_BODY   false, true
#define AS_HELD   true, true

/* Make a free block SPLIT, with all of its frames free. */
static void split_up(struct pmm *p, uint64_t pfn)
{
    set_block(p, pfn, false, true, false);
    for (unsigned i = 0; i < 512; i++) {
        set_frame(p, pfn + i, AS_FREE);
    }
}

/* Each kind of damage has a function that does it to a rich pool. */
#define DAMAGE(name, ...)                                                                          \
    static void name(struct pmm *p)                                                                \
    {                                                                                              \
        __VA_ARGS__                                                                                \
    }

DAMAGE(range_empty, p->ranges[1].end = p->ranges[1].base;)
DAMAGE(ranges_swapped, struct range r = p->ranges[1]; p->ranges[1] = p->ranges[2];
       p->ranges[2] = r;)
DAMAGE(ranges_overlap, p->ranges[1].base--;)
DAMAGE(range_low, p->ranges[0].base = 255;)
DAMAGE(range_not_low, p->kind = PMM_LOW;)
DAMAGE(range_zero, p->kind = PMM_SPECIAL; p->ranges[0].base = 0;)
DAMAGE(section_wrong, p->sections[1].number = 2;)
DAMAGE(section_idle, p->sections[p->nsections - 1].number++;)
DAMAGE(section_lost, p->nsections--;)
DAMAGE(section_more, p->ranges[p->nranges - 1].end -= GiB; p->total -= GiB;)
DAMAGE(dir_entry, p->dir[1]++;)
DAMAGE(dir_last, p->dir[p->ndir]--;)
DAMAGE(dir_begin, p->dir_first++;)
DAMAGE(dir_short, p->ndir--;)
DAMAGE(dir_shift, p->dir_shift++;)
DAMAGE(zone_middle, p->zone_begin[ZONE_ABOVE_4G]--;)
DAMAGE(zone_end, p->zone_begin[ZONES]--;)
DAMAGE(zone_start, p->zone_begin[0]++;)
DAMAGE(closed_and_open, set_bit(p->closed, section_of(p, SINGLE_FRAME));)
DAMAGE(not_closed, clear_bit(p->closed, p->nsections - 1);)
DAMAGE(open_and_closed, p->sections[p->nsections - 1].open = true;)
DAMAGE(closed_not_free, p->ranges[p->nranges - 1].free = false;)
DAMAGE(closed_too_many, set_bit(p->closed, p->nsections);)
DAMAGE(some_whole_too_many, set_bit(p->some_whole, p->nsections);)
DAMAGE(some_free_too_many, set_bit(p->some_free, 63);)
DAMAGE(whole_and_split, set_block(p, WHOLE_FRAME, true, true, false);)
DAMAGE(whole_and_kin, set_block(p, WHOLE_FRAME, true, false, true);)
DAMAGE(all_three, set_block(p, NOWHERE_FRAME, true, true, true);)
DAMAGE(hides_frames, clear_bit(book_at(p, SINGLE_FRAME)->some, in_section(SINGLE_FRAME));)
DAMAGE(hides_blocks, clear_bit(p->some_free, section_of(p, LONG_FRAME));)
DAMAGE(hides_whole, clear_bit(p->some_whole, section_of(p, WHOLE_FRAME));)
DAMAGE(outside_free, set_frame(p, OUTSIDE_FRAME, AS_FREE);)
DAMAGE(outside_given, set_frame(p, OUTSIDE_FRAME, AS_SINGLE);)
DAMAGE(outside_body, set_frame(p, OUTSIDE_FRAME, AS_BODY);)
DAMAGE(outside_no_plane, p->sections[0].multi = NULL;)
DAMAGE(outside_whole, set_block(p, NOWHERE_FRAME, true, false, false);)
DAMAGE(outside_block, set_block(p, NOWHERE_FRAME, false, false, false);)
DAMAGE(outside_part_whole, set_block(p, OUTSIDE_FRAME, true, false, false);
       clear_bit(book_at(p, OUTSIDE_FRAME)->some, in_section(OUTSIDE_FRAME));)
DAMAGE(outside_part_given, set_block(p, OUTSIDE_FRAME, false, false, false);
       clear_bit(book_at(p, OUTSIDE_FRAME)->some, in_section(OUTSIDE_FRAME));)
DAMAGE(body_alone, set_frame(p, SINGLE_FRAME, AS_BODY);)
DAMAGE(body_after_single, set_frame(p, SINGLE_FRAME + 1, AS_BODY);)
DAMAGE(body_of_nothing, set_frame(p, MULTI_FRAME, AS_FREE);)
DAMAGE(body_after_outside, split_up(p, GiB); set_frame(p, GiB, AS_BODY);)
DAMAGE(kin_after_whole, set_block(p, GIVEN_FRAME, false, false, true);)
DAMAGE(kin_after_single, set_frame(p, LONG_FRAME + 11, AS_SINGLE);)
DAMAGE(kin_after_held, set_block(p, LONG_FRAME + 12, false, true, true);)
DAMAGE(tail_after_whole, set_block(p, LONG_FRAME + 12 + 512, true, false, false);)
DAMAGE(owned, set_bit(book_at(p, SINGLE_FRAME)->owned, in_section(SINGLE_FRAME));)
DAMAGE(full, split_up(p, WHOLE_FRAME);)
DAMAGE(marked, store(&p->hands[p->hand_mask], WHOLE_FRAME | 1);)
DAMAGE(total_drifts, p->total++;)
DAMAGE(held_drifts, p->held--;)
DAMAGE(records_drift, p->records += 8;)
DAMAGE(records_are_held, p->records += 8; p->held -= 8;)
DAMAGE(records_elsewhere, p->sections[section_of(p, LONG_FRAME)].records += 4;)
DAMAGE(records_forgotten, p->sections[section_of(p, LONG_FRAME)].records = 0;)
DAMAGE(taken_drifts, p->cpus[1].taken++;)
DAMAGE(single_lost, set_frame(p, SINGLE_FRAME, AS_FREE);)
DAMAGE(single_made, set_frame(p, SINGLE_FRAME + 1, AS_SINGLE);)
DAMAGE(single_held, set_frame(p, SINGLE_FRAME, AS_HELD);)
DAMAGE(body_free, set_frame(p, MULTI_FRAME + 36, AS_FREE);)
DAMAGE(held_free, set_frame(p, BAD_HELD + 20, AS_FREE);)
DAMAGE(block_lost, set_block(p, GIVEN_FRAME, true, false, false);)
DAMAGE(block_made, set_block(p, WHOLE_FRAME, false, false, false);)
DAMAGE(block_held, set_block(p, WHOLE_FRAME, false, true, true);)
DAMAGE(none_of_0, p->none = 1 << 0;)
DAMAGE(none_of_9, p->none = 1 << 9;)
DAMAGE(none_of_18, p->none = 1 << 18;)
DAMAGE(bad_swapped, struct bad b = p->bad[0]; p->bad[0] = p->bad[1]; p->bad[1] = b;)
DAMAGE(bad_empty, p->bad[0].count = 0;)
DAMAGE(bad_wraps, p->bad[2].count = UINT64_MAX - 5;)
DAMAGE(bad_touches, p->bad[1].count = p->bad[2].base - p->bad[1].base;)
DAMAGE(bad_outside, p->bad[0].base = OUTSIDE_FRAME; p->bad[0].count = 1; p->nbad = 1;)
DAMAGE(bad_partly, p->bad[0].base = 2690; p->bad[0].count = 20; p->nbad = 1;)
DAMAGE(bad_closed, p->bad[3] = (struct bad){ 11 * GiB + 5, 1 }; p->nbad = 4;)
DAMAGE(bad_whole, p->bad[2].base = WHOLE_FRAME;)
DAMAGE(bad_free, set_frame(p, BAD_FRAME + 4, AS_FREE); p->held--;)
DAMAGE(bad_count, p->nbad = PMM_MAX_BAD + 1;)
DAMAGE(leaving_drifts, p->leaving++;)
DAMAGE(leaving_hidden, p->sections[section_of(p, LEAVING_FRAME)].leaving = false;)

static void test_damage(void **state)
{
    static const struct {
        void (*plant)(struct pmm *p);
        const char *what;
        const char *number;
    } damages[] = {
#define CASE(number, name) { name, #name, number }
        CASE("P1: ", range_empty),
        CASE("P1: ", ranges_swapped),
        CASE("P1: ", ranges_overlap),
        CASE("P1: ", range_low),
        CASE("P1: ", range_not_low),
        CASE("P1: ", range_zero),
        CASE("P2: ", section_wrong),
        CASE("P2: ", section_idle),
        CASE("P2: ", section_lost),
        CASE("P2: ", section_more),
        CASE("P2: ", dir_entry),
        CASE("P2: ", dir_last),
        CASE("P2: ", dir_begin),
        CASE("P2: ", dir_short),
        CASE("P2: ", dir_shift),
        CASE("P2: ", zone_middle),
        CASE("P2: ", zone_end),
        CASE("P2: ", zone_start),
        CASE("P3: ", closed_and_open),
        CASE("P3: ", not_closed),
        CASE("P3: ", open_and_closed),
        CASE("P3: ", closed_not_free),
        CASE("P3: ", closed_too_many),
        CASE("P3: ", some_whole_too_many),
        CASE("P3: ", some_free_too_many),
        CASE("P4: ", whole_and_split),
        CASE("P4: ", whole_and_kin),
        CASE("P4: ", all_three),
        CASE("P4: ", hides_frames),
        CASE("P4: ", hides_blocks),
        CASE("P4: ", hides_whole),
        CASE("P5: ", outside_free),
        CASE("P5: ", outside_given),
        CASE("P5: ", outside_body),
        CASE("P5: ", outside_no_plane),
        CASE("P5: ", outside_whole),
        CASE("P5: ", outside_block),
        CASE("P5: ", outside_part_whole),
        CASE("P5: ", outside_part_given),
        CASE("P5: ", body_alone),
        CASE("P5: ", body_after_single),
        CASE("P5: ", body_of_nothing),
        CASE("P5: ", body_after_outside),
        CASE("P5: ", kin_after_whole),
        CASE("P5: ", kin_after_single),
        CASE("P5: ", kin_after_held),
        CASE("P5: ", tail_after_whole),
        CASE("P6: ", owned),
        CASE("P6: ", full),
        CASE("P6: ", marked),
        CASE("P7: ", total_drifts),
        CASE("P7: ", held_drifts),
        CASE("P7: ", records_drift),
        CASE("P7: ", records_are_held),
        CASE("P7: ", records_elsewhere),
        CASE("P7: ", records_forgotten),
        CASE("P7: ", taken_drifts),
        CASE("P7: ", single_lost),
        CASE("P7: ", single_made),
        CASE("P7: ", single_held),
        CASE("P7: ", body_free),
        CASE("P7: ", held_free),
        CASE("P7: ", block_lost),
        CASE("P7: ", block_made),
        CASE("P7: ", block_held),
        CASE("P8: ", none_of_0),
        CASE("P8: ", none_of_9),
        CASE("P8: ", none_of_18),
        CASE("P9: ", bad_swapped),
        CASE("P9: ", bad_empty),
        CASE("P9: ", bad_wraps),
        CASE("P9: ", bad_touches),
        CASE("P9: ", bad_outside),
        CASE("P9: ", bad_partly),
        CASE("P9: ", bad_closed),
        CASE("P9: ", bad_whole),
        CASE("P9: ", bad_free),
        CASE("P9: ", bad_count),
        CASE("P9: ", leaving_drifts),
        CASE("P9: ", leaving_hidden),
#undef CASE
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(damages); i++) {
        struct fixture f = rich_pool();
        const char *broken;

        damages[i].plant(f.p);
        broken = pmm_check(f.p);
        if (broken == NULL || strncmp(broken, damages[i].number, 4) != 0) {
            fail_msg("%s: \"%s\", not %s", damages[i].what, broken != NULL ? broken : "sound",
                     damages[i].number);
        }
        close_pool(&f);
    }
}

/* Damage to what a cache holds is found before the pool is stopped, which would spread it. */

static uint64_t cached_word(const struct pmm *p)
{
    return p->cpus[0].slot[TAKE].first % BLOCK_FRAMES / 64;
}

/* The bit of a frame in the slot. */
static uint64_t cached_frame(const struct pmm *p)
{
    uint64_t mask = p->cpus[0].slot[TAKE].mask;

    return mask & -mask;
}

DAMAGE(cached_is_free,
       set_bits(&block_free(p, p->cpus[0].block[TAKE])[cached_word(p)], cached_frame(p));)
DAMAGE(cached_is_body,
       set_bits(&block_multi(p, p->cpus[0].block[TAKE])[cached_word(p)], cached_frame(p));)
DAMAGE(slot_elsewhere, p->cpus[0].slot[TAKE].first += BLOCK_FRAMES;)
DAMAGE(slot_other_plane, p->cpus[0].slot[TAKE].free++;)
DAMAGE(slot_no_block, p->cpus[0].block[TAKE] = NO_BLOCK;)
DAMAGE(slot_other_block, p->cpus[0].block[TAKE] = p->cpus[0].block[RUNS];
       p->cpus[0].block[RUNS] = NO_BLOCK;)
DAMAGE(block_too_far, p->cpus[0].block[RUNS] = p->nsections * SECTION_BLOCKS;)
DAMAGE(block_closed, p->cpus[0].block[RUNS] = p->nsections * SECTION_BLOCKS - 1;)
DAMAGE(block_twice, p->cpus[0].block[RUNS] = p->cpus[0].block[TAKE];)
DAMAGE(block_not_owned, clear_bit(book_of(p, p->cpus[0].block[RUNS])->owned,
                                  p->cpus[0].block[RUNS] % SECTION_BLOCKS);)
DAMAGE(block_not_split, clear_bit(book_of(p, p->cpus[0].block[TAKE])->split,
                                  p->cpus[0].block[TAKE] % SECTION_BLOCKS);)
DAMAGE(give_is_free,
       set_bits(&block_free(p,
                            block_of(p, p->cpus[0].slot[GIVE].first))[p->cpus[0].slot[GIVE].first %
                                                                      BLOCK_FRAMES / 64],
                p->cpus[0].slot[GIVE].mask);)
DAMAGE(give_is_run,
       set_bits(&block_multi(p,
                             block_of(p, p->cpus[0].slot[GIVE].first))[p->cpus[0].slot[GIVE].first %
                                                                       BLOCK_FRAMES / 64],
                p->cpus[0].slot[GIVE].mask);)
DAMAGE(give_nowhere, p->cpus[0].slot[GIVE].first = 0;)
DAMAGE(give_other_plane, p->cpus[0].slot[GIVE].free++;)
DAMAGE(block_is_held,
       set_bit(book_of(p, p->cpus[0].block[TAKE])->kin, p->cpus[0].block[TAKE] % SECTION_BLOCKS);)

static void test_damage_in_cache(void **state)
{
    static const struct {
        void (*plant)(struct pmm *p);
        const char *what;
    } damages[] = {
#define CASE(name) { name, #name }
        CASE(cached_is_free), CASE(cached_is_body),   CASE(slot_elsewhere),  CASE(slot_other_plane),
        CASE(slot_no_block),  CASE(slot_other_block), CASE(block_too_far),   CASE(block_closed),
        CASE(block_twice),    CASE(block_not_owned),  CASE(block_not_split), CASE(block_is_held),
        CASE(give_is_free),   CASE(give_is_run),      CASE(give_nowhere),    CASE(give_other_plane),
#undef CASE
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(damages); i++) {
        struct fixture f = rich_pool();
        uint64_t stops = f.p->stops;
        const char *broken;

        assert_false(pfn_is_none(pmm_get(f.p, 3, 0)));
        assert_false(pfn_is_none(pmm_get(f.p, 0, 0)));
        pfn_t early = pmm_get(f.p, 0, 0);
        while (pmm_get(f.p, 0, 0).v / 64 == early.v / 64) { /* TAKE is to have another word */
        }
        pmm_put(f.p, early, 0);
        assert_true(f.p->cpus[0].slot[TAKE].mask != 0 && f.p->cpus[0].slot[GIVE].mask != 0 &&
                    f.p->cpus[0].block[RUNS] != NO_BLOCK);
        stops = f.p->stops;
        damages[i].plant(f.p);
        broken = pmm_check(f.p);
        if (broken == NULL || strncmp(broken, "P10: ", 5) != 0) {
            fail_msg("%s: \"%s\", not P10", damages[i].what, broken != NULL ? broken : "sound");
        }
        assert_int_equal(f.p->stops, stops);
        close_pool(&f);
    }
}

/* A note that there is no block of an order is right where there is none. */
static void test_none_is_right(void **state)
{
    static const struct part parts[] = { { 300, 100, GIVEN } }; /* orders up to 6 */
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    f.p->none = 0x7ff80;
    assert_sound(pmm_check(f.p));
    f.p->none = 0x7ffc0;
    assert_non_null(strstr(pmm_check(f.p), "P8: "));
    close_pool(&f);
}

/*
 * Bits flipped at random, several at a time: the check comes back, whatever they mean. One bit of
 * the free plane alone is found each time, where frames are FREE, SINGLE or HELD.
 */
static void test_random_damage(void **state)
{
    struct host_rng r = host_rng_make("damage");
    struct fixture f = rich_pool();
    uint64_t nbytes = f.storage_bytes - ((unsigned char *)f.p->books - (unsigned char *)f.p);
    aword *words = (aword *)f.p->books; /* books, planes: to the end of the storage */
    unsigned found = 0;

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        uint64_t at[8];
        unsigned n = 1 + (unsigned)host_rng_below(&r, 8);

        for (unsigned i = 0; i < n; i++) {
            uint64_t among =
                host_rng_below(&r, 2) == 0 ? sizeof(struct book) * f.p->nsections : nbytes;

            at[i] = host_rng_below(&r, among * 8);
            words[at[i] / 64] ^= bit(at[i]);
        }
        found += pmm_check(f.p) != NULL;
        for (unsigned i = 0; i < n; i++) {
            words[at[i] / 64] ^= bit(at[i]);
        }
        assert_sound(pmm_check(f.p));
    }
    printf("random damage: %u of 300 found\n", found);
    assert_true(found > 100);
    for (unsigned round = 0; round < 300; round++) {
        uint64_t pfn = 512 + host_rng_below(&r, 512); /* a SPLIT block */
        aword *w = &f.p->frames[pfn / 64];

        *w ^= bit(pfn);
        assert_non_null(pmm_check(f.p));
        *w ^= bit(pfn);
        assert_sound(pmm_check(f.p));
    }
    close_pool(&f);
}

/* Where memory ran out before there was a plane to tell runs by, nothing is wrong with that. */
static void test_lax(void **state)
{
    static const struct part parts[] = { { 4 * GiB, GiB, GIVEN } };
    const uint64_t base = 4 * GiB + 5 * 512 + 400;
    const uint64_t count = 112 + 2 * 512 + 50; /* of one block, two blocks, of another */
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    for (uint64_t i = 0; i < GiB; i++) {
        assert_false(pfn_is_none(pmm_get(f.p, 0, 0)));
    }
    for (uint64_t i = 0; i < count; i++) {
        pmm_put(f.p, pfn_make(base + i), 0);
    }
    assert_int_equal(stats_of(f.p).free_blocks[10], 1);
    assert_int_equal(pmm_claim(f.p, pfn_make(base), count), MM_OK);
    assert_true(f.p->sections[0].lax && f.p->sections[0].multi == NULL);
    assert_sound(pmm_check(f.p));
    assert_int_equal(stats_of(f.p).free_frames, 0);
    pmm_put_range(f.p, pfn_make(base + 100), count - 120);
    assert_sound(pmm_check(f.p));
    assert_int_equal(stats_of(f.p).free_frames, count - 120);
    assert_int_equal(stats_of(f.p).largest_free, count - 120);
    pmm_put_range(f.p, pfn_make(base), 100);
    pmm_put_range(f.p, pfn_make(base + count - 20), 20);
    assert_sound(pmm_check(f.p));
    assert_int_equal(stats_of(f.p).largest_free, count);
    close_pool(&f);
}

static struct pmm *interrupted;
static const char *found_in_interrupt;
static volatile unsigned nchecks;

static void check_in_interrupt(void)
{
    const char *broken = pmm_check(interrupted);

    if (broken != NULL && found_in_interrupt == NULL) {
        found_in_interrupt = broken;
    }
    nchecks++;
}

/* An interrupt handler may check the pool in the midst of what it interrupted. */
static void test_check_in_interrupt(void **state)
{
    static const struct part parts[] = { { 5000, 600, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    interrupted = f.p;
    nchecks = 0;
    host_interrupts(check_in_interrupt, 100000);
    while (nchecks < 2000) {
        pfn_t a = pmm_get(f.p, 0, 0);
        pfn_t b = pmm_get(f.p, 0, 0);
        pfn_t c = pmm_get(f.p, 2, 0);

        pmm_put(f.p, a, 0);
        pmm_put(f.p, b, 0);
        pmm_put(f.p, c, 2);
    }
    host_interrupts(NULL, 0);
    assert_sound(found_in_interrupt);
    assert_sound(pmm_check(f.p));
    assert_int_equal(pmm_free_frames(f.p), 600);
    close_pool(&f);
}

/* Every kind of pool, with memory where it may be, is sound from the start, used and unused. */
static void test_kinds(void **state)
{
    static const struct part parts[] = {
        { 0, 100, GIVEN },       { 120, 30, LATER },           { 256, 100, GIVEN },
        { 1000, 5000, SPECIAL }, { GiB + 3, GiB, UNACCEPTED }, { 5 * GiB - 1, 2 * GiB, PERSISTENT },
    };

    (void)state;
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        struct fixture f;
        uint64_t total;
        pfn_t a;
        pfn_t b;

        open_kind(&f, parts, MM_COUNTOF(parts), (enum pmm_kind)kind, 1);
        total = pmm_free_frames(f.p);
        a = pmm_get(f.p, 0, 0);
        b = pmm_get(f.p, 4, 0);
        assert_false(pfn_is_none(a) || pfn_is_none(b));
        assert_sound(pmm_check(f.p));
        assert_int_equal(stats_of(f.p).free_frames, total - 17);
        pmm_put(f.p, a, 0);
        pmm_put(f.p, b, 4);
        assert_sound(pmm_check(f.p));
        assert_int_equal(stats_of(f.p).free_frames, total);
        close_pool(&f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats_islands), cmocka_unit_test(test_stats_plains),
        cmocka_unit_test(test_tally_bounds),  cmocka_unit_test(test_bad_ranges),
        cmocka_unit_test(test_cpu_stats),     cmocka_unit_test(test_cost),
        cmocka_unit_test(test_damage),        cmocka_unit_test(test_damage_in_cache),
        cmocka_unit_test(test_none_is_right), cmocka_unit_test(test_random_damage),
        cmocka_unit_test(test_lax),           cmocka_unit_test(test_check_in_interrupt),
        cmocka_unit_test(test_kinds),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
