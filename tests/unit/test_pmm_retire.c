/*
 * test_pmm_retire.c - memory that joins a frame pool and memory that leaves it; and who is asked to
 * give memory back when there is little.
 */
#include "pmm_calls.h"

/* ---- memory that comes and goes -------------------------------------------------------------- */

static void test_add(void **state)
{
    static const struct part parts[] = {
        { 0, 600, GIVEN },           { 600, 100, LATER },
        { 5 * GiB, 512 * 7, GIVEN }, { 5 * GiB + 512 * 7, GiB - 512 * 7, LATER },
        { 7 * GiB, GiB, LATER },
    };
    struct fixture f;
    const uint64_t given = 600 - 256 + 512 * 7;

    (void)state;
    open_pool(&f, parts, 2);
    assert_int_equal(stats_of(f.p).held_frames, 100 + GiB - 512 * 7 + GiB);
    assert_int_equal(pmm_add(f.p, pfn_make(600), 0), MM_EINVAL);
    assert_int_equal(pmm_add(f.p, pfn_make(600), UINT64_MAX), MM_EINVAL);
    assert_int_equal(pmm_add(f.p, pfn_make(600), 101), MM_ENOENT);
    assert_int_equal(pmm_add(f.p, pfn_make(0), 1), MM_ENOENT);
    assert_int_equal(pmm_add(f.p, pfn_make(100), 1), MM_ENOENT);
    assert_int_equal(pmm_add(f.p, pfn_make(599), 2), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(300), 1), MM_EBUSY);
    assert_int_equal(pmm_free_frames(f.p), given);
    assert_int_equal(drain(f.p), given);
    assert_int_equal(get(f.p, 0), NO_BASE);
    assert_int_equal(pmm_add(f.p, pfn_make(300), 1), MM_EBUSY);

    /* It is there for every processor at once, in parts and as a whole. */
    assert_int_equal(pmm_add(f.p, pfn_make(650), 1), MM_OK);
    host_set_cpu(1);
    assert_int_equal(get(f.p, 0), 650);
    assert_int_equal(pmm_add(f.p, pfn_make(600), 51), MM_EBUSY);
    assert_int_equal(state_of(f.p, 600), PMM_HELD); /* nothing has changed */
    assert_int_equal(pmm_add(f.p, pfn_make(600), 50), MM_OK);
    assert_int_equal(pmm_add(f.p, pfn_make(651), 49), MM_OK);
    assert_int_equal(pmm_free_frames(f.p), 99);
    put(f.p, 650, 0);
    assert_int_equal(get_range(f.p, 100, 0, 0, 0), 600);

    assert_int_equal(get(f.p, 18), NO_BASE);
    assert_int_equal(pmm_add(f.p, pfn_make(7 * GiB), GiB), MM_OK);
    assert_int_equal(get(f.p, 18), 7 * GiB);
    assert_int_equal(pmm_add(f.p, pfn_make(5 * GiB + 512 * 7), GiB - 512 * 7), MM_OK);
    assert_sound(pmm_check(f.p));
    assert_int_equal(get(f.p, 18), NO_BASE);
    for (uint64_t pfn = 5 * GiB; pfn < 5 * GiB + 512 * 7; pfn++) {
        put(f.p, pfn, 0);
    }
    assert_int_equal(get(f.p, 18), 5 * GiB);
    assert_int_equal(stats_of(f.p).held_frames, 0);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static void test_retire(void **state)
{
    static const struct part parts[] = {
        { 5 * GiB, 2048, GIVEN },
        { 5 * GiB + 2048, 100, LATER },
    };
    const uint64_t a = 5 * GiB;
    struct fixture f;
    struct pmm_stats s;
    uint64_t in_use;
    uint64_t count;
    pfn_t base;

    (void)state;
    open_pool(&f, parts, 2);
    assert_int_equal(retire(f.p, a, 0, &in_use), MM_EINVAL);
    assert_int_equal(retire(f.p, a, UINT64_MAX, &in_use), MM_EINVAL);
    assert_int_equal(retire(f.p, a - 1, 1, &in_use), MM_ENOENT);
    assert_int_equal(retire(f.p, a + 2000, 149, &in_use), MM_ENOENT);
    assert_int_equal(in_use, 777);
    assert_false(pmm_get_bad(f.p, 0, &base, &count));

    /* Free, and in the cache of another. */
    host_set_cpu(1);
    base = pmm_get(f.p, 0, 0);
    put(f.p, base.v, 0);
    host_set_cpu(0);
    assert_int_equal(retire(f.p, base.v, 1, &in_use), MM_OK);
    assert_int_equal(in_use, 0);
    assert_int_equal(state_of(f.p, base.v), PMM_BAD);
    assert_false(pmm_is_free(f.p, base));
    assert_true(pmm_covers(f.p, base));
    assert_int_equal(pmm_free_frames(f.p), 2047);
    assert_int_equal(claim(f.p, base.v, 1), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, base, 1), MM_EBUSY);
    assert_sound(pmm_check(f.p));
    close_pool(&f);

    /* Free, in use, and held at once: what is in use goes when it comes back. */
    open_pool(&f, parts, 2);
    assert_int_equal(claim(f.p, a + 1000, 1000), MM_OK);
    assert_int_equal(retire(f.p, a + 990, 20, &in_use), MM_OK);
    assert_int_equal(in_use, 10);
    assert_int_equal(retire(f.p, a + 1999, 60, &in_use), MM_OK);
    assert_int_equal(in_use, 1);
    s = stats_of(f.p);
    assert_int_equal(s.bad_frames, 10 + 48 + 11);
    assert_int_equal(s.leaving_frames, 11);
    assert_int_equal(s.held_frames, 89);
    assert_int_equal(s.free_frames, 1048 - 10 - 48);
    assert_int_equal(state_of(f.p, a + 990), PMM_BAD);
    assert_int_equal(state_of(f.p, a + 1000), PMM_USED);
    assert_int_equal(state_of(f.p, a + 2048), PMM_BAD);
    assert_int_equal(state_of(f.p, a + 2059), PMM_HELD);
    assert_sound(pmm_check(f.p));
    put_range(f.p, a + 1005, 15);
    assert_int_equal(state_of(f.p, a + 1004), PMM_USED);
    assert_int_equal(state_of(f.p, a + 1005), PMM_BAD);
    assert_int_equal(state_of(f.p, a + 1009), PMM_BAD);
    assert_int_equal(state_of(f.p, a + 1010), PMM_FREE);
    assert_int_equal(stats_of(f.p).leaving_frames, 6);
    put_range(f.p, a + 1020, 980);
    put_range(f.p, a + 1000, 5);
    s = stats_of(f.p);
    assert_int_equal(s.leaving_frames, 0);
    assert_int_equal(s.bad_frames, 80);
    assert_int_equal(s.free_frames, 2048 - 20 - 49);
    assert_sound(pmm_check(f.p));

    /* What is out stays out, and asking for it again changes nothing. */
    assert_int_equal(retire(f.p, a + 990, 20, &in_use), MM_OK);
    assert_int_equal(in_use, 0);
    assert_int_equal(drain(f.p), 2048 - 20 - 49);
    assert_int_equal(get(f.p, 0), NO_BASE);
    assert_int_equal(pmm_add(f.p, pfn_make(a + 2048), 1), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(a + 2058), 2), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(a + 2059), 89), MM_OK);
    assert_int_equal(drain(f.p), 89);
    for (uint64_t pfn = a; pfn < a + 2148; pfn++) {
        bool out = (pfn >= a + 990 && pfn < a + 1010) || (pfn >= a + 1999 && pfn < a + 2059);

        assert_int_equal(state_of(f.p, pfn), out ? PMM_BAD : PMM_USED);
        if (!out) {
            host_set_cpu((unsigned)pfn % 2);
            put(f.p, pfn, 0);
        }
    }
    s = stats_of(f.p);
    assert_int_equal(s.free_frames, 2148 - 80);
    assert_int_equal(s.largest_free, 990); /* it did not merge over the gap */
    assert_true(pmm_get_bad(f.p, 0, &base, &count) && pmm_get_bad(f.p, 1, &base, &count));
    assert_false(pmm_get_bad(f.p, 2, &base, &count));
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Frames of every size of allocation leave when they come back, by whichever call. */
static void test_retire_in_use(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 2 * GiB, GIVEN } };
    struct fixture f;
    uint64_t in_use;

    (void)state;
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        const uint64_t count = UINT64_C(1) << order;
        uint64_t base;
        uint64_t out;

        open_pool(&f, parts, 2);
        base = get(f.p, order);
        out = base + count / 3;
        assert_int_equal(retire(f.p, out, 1, &in_use), MM_OK);
        assert_int_equal(in_use, 1);
        assert_int_equal(state_of(f.p, out), PMM_USED);
        assert_sound(pmm_check(f.p));
        host_set_cpu(1);
        put(f.p, base, order);
        assert_int_equal(state_of(f.p, out), PMM_BAD);
        assert_sound(pmm_check(f.p));
        assert_int_equal(pmm_free_frames(f.p), 2 * GiB - 1 - stats_of(f.p).record_frames);
        /* The other GiB is whole, unless there was nothing but it to keep records in. */
        assert_int_equal(get(f.p, 18) != NO_BASE, order < 18);
        assert_int_equal(get(f.p, 18), NO_BASE);
        assert_int_equal(stats_of(f.p).bad_frames, 1);
        assert_int_equal(stats_of(f.p).leaving_frames, 0);
        close_pool(&f);
    }
    open_pool(&f, parts, 2);
    for (unsigned i = 0; i < 3; i++) { /* in a batch */
        pfn_t pfns[100];

        assert_int_equal(pmm_get_batch(f.p, pfns, 100, 0), 100);
        assert_int_equal(retire(f.p, pfns[i * 40].v, 1, &in_use), MM_OK);
        assert_int_equal(in_use, 1);
        pmm_put_batch(f.p, pfns, 100);
        assert_int_equal(state_of(f.p, pfns[i * 40].v), PMM_BAD);
    }
    assert_int_equal(pmm_free_frames(f.p), 2 * GiB - 3 - stats_of(f.p).record_frames);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static void test_retire_limit(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 2047, GIVEN } };
    struct fixture f;
    uint64_t in_use;
    uint64_t frames = 0;
    uint64_t count;
    pfn_t base;

    (void)state;
    open_pool(&f, parts, 2);
    for (uint64_t i = 0; i < PMM_MAX_BAD; i++) {
        assert_int_equal(retire(f.p, 5 * GiB + i * 5 % PMM_MAX_BAD * 8, 2, &in_use), MM_OK);
    }
    assert_int_equal(retire(f.p, 5 * GiB + 4, 1, &in_use), MM_ENOSPC);
    assert_int_equal(in_use, 777);
    assert_int_equal(state_of(f.p, 5 * GiB + 4), PMM_FREE);
    assert_int_equal(retire(f.p, 5 * GiB, 2, &in_use), MM_OK);     /* is out already */
    assert_int_equal(retire(f.p, 5 * GiB + 2, 1, &in_use), MM_OK); /* goes with a neighbour */
    assert_int_equal(retire(f.p, 5 * GiB + 7, 1, &in_use), MM_OK);
    assert_int_equal(retire(f.p, 5 * GiB + 3, 4, &in_use), MM_OK);  /* joins two */
    assert_int_equal(retire(f.p, 5 * GiB + 12, 1, &in_use), MM_OK); /* which makes room for one */
    assert_int_equal(retire(f.p, 5 * GiB + 20, 1, &in_use), MM_ENOSPC);
    for (unsigned i = 0; i < PMM_MAX_BAD; i++) {
        assert_true(pmm_get_bad(f.p, i, &base, &count));
        frames += count;
    }
    assert_false(pmm_get_bad(f.p, PMM_MAX_BAD, &base, &count));
    assert_int_equal(frames, 2 * PMM_MAX_BAD + 6 + 1);
    assert_int_equal(stats_of(f.p).bad_frames, frames);
    assert_int_equal(retire(f.p, 5 * GiB, 2047, &in_use), MM_OK); /* all in one */
    assert_true(pmm_get_bad(f.p, 0, &base, &count) && base.v == 5 * GiB && count == 2047);
    assert_false(pmm_get_bad(f.p, 1, &base, &count));
    assert_int_equal(pmm_free_frames(f.p), 0);
    assert_int_equal(get(f.p, 0), NO_BASE);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Whole blocks and GiB, free or given: only what has to be told from its neighbours needs records.
 */
static void test_retire_blocks(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 3 * GiB, GIVEN } };
    struct fixture f;
    uint64_t in_use;
    uint64_t block;

    (void)state;
    SKIP_IF_POISONED();
    open_pool(&f, parts, 2);
    assert_int_equal(retire(f.p, 8 * GiB + 3 * 512, 512, &in_use), MM_OK);
    assert_int_equal(retire(f.p, 10 * GiB, GiB, &in_use), MM_OK);
    assert_int_equal(stats_of(f.p).record_frames, 0);
    assert_int_equal(stats_of(f.p).bad_frames, 512 + GiB);
    assert_int_equal(get(f.p, 18), 9 * GiB);
    assert_int_equal(get(f.p, 18), NO_BASE);
    assert_sound(pmm_check(f.p));

    /* The GiB that is given leaves in the middle of its allocation, by parts. */
    assert_int_equal(retire(f.p, 9 * GiB + 512, 1024, &in_use), MM_OK);
    assert_int_equal(in_use, 1024);
    put_range(f.p, 9 * GiB, 1000);
    assert_int_equal(stats_of(f.p).leaving_frames, 1024 - 488);
    assert_sound(pmm_check(f.p));
    put_range(f.p, 9 * GiB + 1000, GiB - 1000);
    assert_int_equal(stats_of(f.p).leaving_frames, 0);
    assert_int_equal(state_of(f.p, 9 * GiB + 511), PMM_FREE);
    assert_int_equal(state_of(f.p, 9 * GiB + 512), PMM_BAD);
    assert_int_equal(state_of(f.p, 9 * GiB + 1535), PMM_BAD);
    assert_int_equal(state_of(f.p, 9 * GiB + 1536), PMM_FREE);
    assert_sound(pmm_check(f.p));

    block = get(f.p, 9);
    assert_int_equal(retire(f.p, block, 512, &in_use), MM_OK);
    assert_int_equal(in_use, 512);
    put(f.p, block, 9);
    assert_int_equal(state_of(f.p, block + 77), PMM_BAD);
    assert_int_equal(stats_of(f.p).bad_frames, 512 + GiB + 1024 + 512);
    assert_sound(pmm_check(f.p));
    while ((block = get(f.p, 9)) != NO_BASE) {
        assert_true(block != 8 * GiB + 3 * 512 && block < 10 * GiB);
    }
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Frames that hold the pool's records can go as well: the records move, if there is room. */
static void test_retire_records(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 1024, GIVEN } };
    struct fixture f;
    uint64_t block;
    uint64_t at = 8 * GiB;
    uint64_t in_use;

    (void)state;
    open_pool(&f, parts, 2);
    block = get(f.p, 4);
    for (unsigned round = 0; round < 50; round++) {
        for (at = 8 * GiB; state_of(f.p, at) != PMM_HELD; at++) {
        }
        assert_int_equal(retire(f.p, at + round % 8, 1, &in_use), MM_OK);
        assert_int_equal(in_use, 0);
        assert_int_equal(state_of(f.p, at + round % 8), PMM_BAD);
        assert_int_equal(state_of(f.p, at + (round + 1) % 8), PMM_FREE);
        assert_int_equal(stats_of(f.p).record_frames, 8);
        assert_int_equal(pmm_free_frames(f.p), 1024 - 16 - 8 - 1 - round);
        assert_sound(pmm_check(f.p));
        put_range(f.p, block + 1, 1); /* what was recorded is so still */
        put_range(f.p, block + 2, 14);
        put(f.p, block, 0);
        block = get(f.p, 4);
    }
    for (at = 8 * GiB; state_of(f.p, at) != PMM_HELD; at++) {
    }
    assert_true(drain(f.p) > 0);
    assert_int_equal(retire(f.p, at + 3, 1, &in_use), MM_ENOMEM);
    assert_int_equal(in_use, 777);
    assert_int_equal(state_of(f.p, at + 3), PMM_HELD);
    assert_int_equal(retire(f.p, 8 * GiB, 1024, &in_use), MM_ENOMEM);
    assert_int_equal(stats_of(f.p).bad_frames, 50);
    assert_sound(pmm_check(f.p));
    put_range(f.p, block, 16);
    assert_int_equal(pmm_free_frames(f.p), 16);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* ---- reclaim --------------------------------------------------------------------------------- */

/* What the hook saw, and what it is to do. */
struct reclaim {
    struct pmm *p;
    uint64_t free; /* frames, after the request at work */
    unsigned calls[3];
    uint64_t free_at[3]; /* at the last call */
    uint64_t count;      /* asked for */
    uint64_t base;       /* frames to put, one a call, from here on */
    unsigned nputs;      /* as many */
    unsigned lies;       /* then so many calls promise room that was not made */
};

static bool on_reclaim(void *ctx, enum pmm_mark mark, uint64_t count)
{
    struct reclaim *r = ctx;

    r->calls[mark]++;
    r->free_at[mark] = r->free;
    if (mark != PMM_REFUSAL) {
        return false;
    }
    r->count = count;
    if (r->nputs > 0) {
        r->nputs--;
        put(r->p, r->base++, 0);
        return true;
    }
    if (r->lies > 0) {
        r->lies--;
        return true;
    }
    return false;
}

/* The marks are seen when a cache is filled: a word of frames at once. */
#define LATE 64

static void test_marks(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 4096, GIVEN } };
    struct fixture f;
    struct reclaim r = { .free = 4096 };
    uint64_t got[4096];

    (void)state;
    open_pool(&f, parts, 2);
    r.p = f.p;
    pmm_set_reclaim(f.p, 2000, 1000, on_reclaim, &r);
    for (unsigned round = 1; round <= 3; round++) {
        uint64_t *next = got;

        while (r.free > 1500) {
            r.free--;
            *next++ = get(f.p, 0);
            assert_int_equal(r.calls[PMM_LOW_MARK], r.free >= 2000 ? round - 1
                                                    : r.free <= 2000 - LATE
                                                        ? round
                                                        : r.calls[PMM_LOW_MARK]);
        }
        assert_true(r.free_at[PMM_LOW_MARK] < 2000);
        assert_int_equal(r.calls[PMM_CRITICAL_MARK], round - 1);
        while (r.free > 0) {
            r.free--;
            *next++ = get(f.p, 0);
        }
        assert_true(r.free_at[PMM_CRITICAL_MARK] < 1000);
        assert_true(r.free_at[PMM_CRITICAL_MARK] >= 1000 - LATE);
        assert_int_equal(r.calls[PMM_LOW_MARK], round);
        assert_int_equal(r.calls[PMM_CRITICAL_MARK], round);
        while (r.free < 3000) { /* above both: armed again */
            r.free++;
            put(f.p, *--next, 0);
        }
        while (r.free > 2200) {
            r.free--;
            *next++ = get(f.p, 0);
        }
        while (r.free < 4096) {
            r.free++;
            put(f.p, *--next, 0);
        }
    }
    assert_int_equal(r.calls[PMM_REFUSAL], 0);

    /* Large requests tell at once, and one that crosses both tells both. */
    memset(r.calls, 0, sizeof(r.calls));
    r.free = 0;
    got[0] = get_range(f.p, 3500, 0, 0, 0);
    assert_int_equal(r.calls[PMM_LOW_MARK], 1);
    assert_int_equal(r.calls[PMM_CRITICAL_MARK], 1);
    put_range(f.p, got[0], 3500);
    r.free = pmm_free_frames(f.p); /* less than at first: there are records now */
    assert_int_equal(get_range(f.p, r.free - 2000, 0, 0, 0), got[0]); /* at the mark: not below */
    assert_int_equal(r.calls[PMM_LOW_MARK], 1);
    assert_int_not_equal(get(f.p, 9), NO_BASE);
    assert_int_equal(r.calls[PMM_LOW_MARK], 2);
    assert_int_equal(r.calls[PMM_CRITICAL_MARK], 1);
    assert_int_not_equal(get(f.p, 9), NO_BASE);
    assert_int_equal(r.calls[PMM_LOW_MARK], 2); /* once */

    /* Turned off. */
    put_range(f.p, got[0], r.free - 2000);
    memset(r.calls, 0, sizeof(r.calls));
    pmm_set_reclaim(f.p, 0, 0, NULL, NULL);
    assert_true(drain(f.p) > 0);
    assert_true(pfn_is_none(pmm_get(f.p, 0, PMM_WAIT)));
    assert_int_equal(r.calls[0] + r.calls[1] + r.calls[2], 0);
    close_pool(&f);
}

/* Whatever makes free memory less tells of it. */
static void test_marks_of_all(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 4000, GIVEN } };
    struct fixture f;
    struct reclaim r = { .free = 0 };
    struct pmm_want want = { .count = 100 };
    pfn_t pfns[100] = { 0 };
    uint64_t in_use;

    (void)state;
    for (unsigned how = 0; how < 5; how++) {
        open_pool(&f, parts, 2);
        assert_int_equal(claim(f.p, 5 * GiB, 2000), MM_OK);
        pmm_set_reclaim(f.p, 2000, 0, on_reclaim, &r);
        memset(r.calls, 0, sizeof(r.calls));
        switch (how) {
        case 0:
            assert_int_not_equal(get(f.p, 5), NO_BASE);
            break;
        case 1:
            assert_int_equal(pmm_get_batch(f.p, pfns, 100, 0), 100);
            break;
        case 2:
            assert_int_equal(pmm_get_range(f.p, &want, &pfns[0]), MM_OK);
            break;
        case 3:
            assert_int_equal(claim(f.p, 5 * GiB + 3000, 100), MM_OK);
            break;
        default:
            assert_int_equal(retire(f.p, 5 * GiB + 3000, 100, &in_use), MM_OK);
            break;
        }
        assert_int_equal(r.calls[PMM_LOW_MARK], 1);
        assert_int_equal(r.calls[PMM_CRITICAL_MARK], 0);
        close_pool(&f);
    }
}

static void test_wait(void **state)
{
    static const struct part parts[] = { { 5 * GiB, 1024, GIVEN } };
    const uint64_t a = 5 * GiB;
    struct fixture f;
    struct reclaim r = { 0 };
    struct pmm_want want = { .count = 5, .flags = PMM_WAIT };
    pfn_t pfns[16];
    pfn_t base;

    (void)state;
    open_pool(&f, parts, 2);
    r.p = f.p;
    pmm_set_reclaim(f.p, 0, 0, on_reclaim, &r);
    assert_int_equal(drain(f.p), 1024);
    assert_int_equal(get(f.p, 0), NO_BASE); /* who does not wait is refused at once */
    assert_int_equal(r.calls[PMM_REFUSAL], 0);

    /* No room: refused, as the hook says that trying again makes no sense. */
    assert_true(pfn_is_none(pmm_get(f.p, 0, PMM_WAIT)));
    assert_int_equal(r.calls[PMM_REFUSAL], 1);
    assert_int_equal(r.count, 1);

    /* Room after one call, or after the fourth; or none though it was promised. */
    r.base = a + 64;
    r.nputs = 1;
    assert_int_equal(pmm_get(f.p, 0, PMM_WAIT).v, a + 64);
    assert_int_equal(r.calls[PMM_REFUSAL], 2);
    r.base = a + 128;
    r.nputs = 4;
    assert_int_equal(pmm_get(f.p, 2, PMM_WAIT).v, a + 128);
    assert_int_equal(r.calls[PMM_REFUSAL], 6);
    assert_int_equal(r.count, 4);
    r.lies = 3;
    assert_true(pfn_is_none(pmm_get(f.p, 9, PMM_WAIT)));
    assert_int_equal(r.calls[PMM_REFUSAL], 10);
    assert_int_equal(r.count, 512);

    r.base = a + 200;
    r.nputs = 5;
    assert_int_equal(pmm_get_range(f.p, &want, &base), MM_OK);
    assert_int_equal(base.v, a + 200);
    assert_int_equal(r.count, 5);
    assert_int_equal(pmm_get_range(f.p, &want, &base), MM_ENOMEM);
    assert_int_equal(r.calls[PMM_REFUSAL], 16);

    r.base = a + 300;
    r.nputs = 9;
    assert_int_equal(pmm_get_batch(f.p, pfns, 9, PMM_WAIT), 9);
    r.nputs = 2;
    assert_int_equal(pmm_get_batch(f.p, pfns, 9, PMM_WAIT), 2);
    assert_int_equal(r.count, 7);

    /* An order that does not exist is not worth waiting for; in a hurry one may wait as well. */
    r.calls[PMM_REFUSAL] = 0;
    assert_true(pfn_is_none(pmm_get(f.p, PMM_MAX_ORDER + 1, PMM_WAIT)));
    want.count = 0;
    assert_int_equal(pmm_get_range(f.p, &want, &base), MM_EINVAL);
    assert_int_equal(r.calls[PMM_REFUSAL], 0);
    assert_int_equal(pmm_free_frames(f.p), 0);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_add),           cmocka_unit_test(test_retire),
        cmocka_unit_test(test_retire_in_use), cmocka_unit_test(test_retire_limit),
        cmocka_unit_test(test_retire_blocks), cmocka_unit_test(test_retire_records),
        cmocka_unit_test(test_marks),         cmocka_unit_test(test_marks_of_all),
        cmocka_unit_test(test_wait),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
