/*
 * The debug build of the frame allocator: who took a frame is kept for each, and frames are filled
 * when they are taken and before they are put.
 *
 * Built without PMM_DEBUG, this only tries that nobody is said to have taken anything.
 *
 * A site is a return address. To tell which function it is in, all that take frames here are listed
 * in `takers`: it is the one that begins last of those that begin before the site.
 */
#include "pmm_fixture.h"

#include <pthread.h>

#include "../../mm/pmm/pool.h"

static uint64_t got(pfn_t pfn)
{
    assert_false(pfn_is_none(pfn));
    return pfn.v;
}

static bool is_known(struct pmm *p, uint64_t pfn)
{
    uint64_t site;

    return pmm_who(p, pfn_make(pfn), &site);
}

#ifndef PMM_DEBUG

static void test_nobody(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 2048, GIVEN } };
    struct fixture f;
    uint64_t site = 12345;

    (void)state;
    open_pool(&f, parts, 1);
    uint64_t single = got(pmm_get(f.p, 0, 0));
    uint64_t run = got(pmm_get(f.p, 3, 0));
    assert_int_equal(pmm_claim(f.p, pfn_make(8 * GiB + 1024), 700), MM_OK);
    assert_false(pmm_who(f.p, pfn_make(single), &site));
    assert_false(is_known(f.p, run));
    assert_false(is_known(f.p, run + 7));
    assert_false(is_known(f.p, 8 * GiB + 1024));
    assert_false(is_known(f.p, 8 * GiB + 2047));
    assert_int_equal(site, 12345);
    close_pool(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(test_nobody) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

#define PUT     0xd1 /* what frames are filled with */
#define GOT     0xa1
#define MINE    0x5a /* what tests write */
#define THREADS 2

static const struct part small[] = { { 8 * GiB, 4096, GIVEN }, { 9 * GiB, 1024, LATER } };

/* ---- who takes ------------------------------------------------------------------------------- */

typedef uint64_t (*taker_fn)(struct pmm *p);

#define TAKER static __attribute__((noinline)) uint64_t

TAKER take_single(struct pmm *p)
{
    return got(pmm_get(p, 0, 0));
}

TAKER take_zeroed(struct pmm *p)
{
    return got(pmm_get(p, 0, PMM_ZERO));
}

TAKER take_order_1(struct pmm *p)
{
    return got(pmm_get(p, 1, 0));
}

TAKER take_order_5(struct pmm *p)
{
    return got(pmm_get(p, 5, PMM_WAIT));
}

TAKER take_order_9(struct pmm *p)
{
    return got(pmm_get(p, 9, 0));
}

TAKER take_order_10(struct pmm *p)
{
    return got(pmm_get(p, 10, PMM_ZERO));
}

TAKER take_batch(struct pmm *p)
{
    pfn_t pfns[PMM_MAX_BATCH];

    assert_int_equal(pmm_get_batch(p, pfns, 300, 0), 300);
    for (unsigned i = 1; i < 300; i++) {
        assert_int_equal(pfns[i].v, pfns[0].v + i); /* of a fresh pool */
    }
    return pfns[0].v;
}

TAKER take_range(struct pmm *p)
{
    const struct pmm_want want = { .count = 1300 };
    pfn_t base = PFN_NONE;

    assert_int_equal(pmm_get_range(p, &want, &base), MM_OK);
    return base.v;
}

/* A shape that pmm_get() could have given. */
TAKER take_natural_range(struct pmm *p)
{
    const struct pmm_want want = { .count = 16, .align = 16, .flags = PMM_ZERO };
    pfn_t base = PFN_NONE;

    assert_int_equal(pmm_get_range(p, &want, &base), MM_OK);
    return base.v;
}

TAKER take_claim(struct pmm *p)
{
    assert_int_equal(pmm_claim(p, pfn_make(8 * GiB + 777), 1000), MM_OK);
    return 8 * GiB + 777;
}

static const struct {
    taker_fn fn;
    uint64_t count; /* of frames in a row, taken as one or one by one */
    bool one;       /* one allocation */
    int filled;     /* with this; -1: not touched */
} takers[] = {
    { take_single, 1, true, GOT },       { take_zeroed, 1, true, 0 },
    { take_order_1, 2, true, GOT },      { take_order_5, 32, true, GOT },
    { take_order_9, 512, true, GOT },    { take_order_10, 1024, true, 0 },
    { take_batch, 300, false, GOT },     { take_range, 1300, true, GOT },
    { take_natural_range, 16, true, 0 }, { take_claim, 1000, true, -1 },
};

/* Which of `takers` has the frame; NULL if it is not in use. */
static taker_fn who(struct pmm *p, uint64_t pfn)
{
    taker_fn best = NULL;
    uint64_t site;

    if (!pmm_who(p, pfn_make(pfn), &site)) {
        return NULL;
    }
    for (size_t i = 0; i < MM_COUNTOF(takers); i++) {
        if ((uintptr_t)takers[i].fn < site && (uintptr_t)takers[i].fn > (uintptr_t)best) {
            best = takers[i].fn;
        }
    }
    assert_non_null(best);
    return best;
}

static void assert_who(struct pmm *p, uint64_t base, uint64_t count, taker_fn fn)
{
    for (uint64_t i = 0; i < count; i++) {
        if (who(p, base + i) != fn) {
            fail_msg("frame %llu of %llu at %#llx is not whose it was", (unsigned long long)i,
                     (unsigned long long)count, (unsigned long long)base);
        }
    }
}

/* ---- contents -------------------------------------------------------------------------------- */

static void write_frames(uint64_t pfn, uint64_t count, int with)
{
    memset(port_ptr(pa_of_pfn(pfn_make(pfn))), with, count * PAGE);
}

static bool is_filled(uint64_t pfn, uint64_t count, int with)
{
    const unsigned char *at = port_ptr(pa_of_pfn(pfn_make(pfn)));

    return at[0] == with && memcmp(at, at + 1, count * PAGE - 1) == 0;
}

/* ---- sites ----------------------------------------------------------------------------------- */

static void test_sites(void **state)
{
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(takers); i++) {
        open_pool(&f, small, 1);
        uint64_t count = takers[i].count;
        uint64_t base = takers[i].fn(f.p);

        assert_who(f.p, base, count, takers[i].fn);
        assert_null(who(f.p, base - 1));
        assert_null(who(f.p, base + count));
        if (takers[i].one) {
            pmm_put_range(f.p, pfn_make(base), count);
        } else {
            for (uint64_t k = 0; k < count; k++) {
                pmm_put(f.p, pfn_make(base + k), 0);
            }
        }
        assert_who(f.p, base, count, NULL);
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }
}

/* Two calls in one function are two sites. */
static void test_calls_apart(void **state)
{
    struct fixture f;
    uint64_t first, second, third, again;
    pfn_t a, b, c;

    (void)state;
    open_pool(&f, small, 1);
    a = pmm_get(f.p, 0, 0);
    b = pmm_get(f.p, 0, 0);
    assert_int_equal(pmm_get_batch(f.p, &c, 1, 0), 1);
    assert_true(pmm_who(f.p, a, &first));
    assert_true(pmm_who(f.p, b, &second));
    assert_true(pmm_who(f.p, c, &third));
    assert_true(first > (uintptr_t)test_calls_apart && first < second && second < third);
    assert_true(pmm_who(f.p, a, &again));
    assert_int_equal(first, again);
    close_pool(&f);
}

/* What nobody took. */
static void test_sites_of_others(void **state)
{
    struct fixture f;
    uint64_t site = 12345;

    (void)state;
    open_pool(&f, small, 1);
    assert_false(pmm_who(f.p, pfn_make(8 * GiB), &site));          /* free, never opened */
    assert_false(pmm_who(f.p, pfn_make(9 * GiB), &site));          /* not given yet */
    assert_false(pmm_who(f.p, pfn_make(8 * GiB + 4096), &site));   /* not covered */
    assert_false(pmm_who(f.p, pfn_make(5), &site));                /* in no section */
    assert_false(pmm_who(f.p, pfn_make(UINT64_MAX >> 12), &site)); /* nowhere */
    uint64_t run = take_order_1(f.p);
    assert_int_equal(stats_of(f.p).record_frames, 8);
    uint64_t nused = 0;
    for (uint64_t pfn = 8 * GiB; pfn < 8 * GiB + 4096; pfn++) {
        nused += pmm_who(f.p, pfn_make(pfn), &site);
    }
    assert_int_equal(nused, 2); /* the records are the pool's own */
    assert_true(is_known(f.p, run) && is_known(f.p, run + 1));
    close_pool(&f);
}

/* What remains of an allocation stays whose it was, on the left, on the right, and in blocks that
 * are cut; what is taken anew is not. */
static void test_sites_of_parts(void **state)
{
    struct fixture f;

    (void)state;
    open_pool(&f, small, 1);
    uint64_t range = take_range(f.p);
    pmm_put_range(f.p, pfn_make(range + 600), 5);
    assert_who(f.p, range, 600, take_range);
    assert_who(f.p, range + 600, 5, NULL);
    assert_who(f.p, range + 605, 1300 - 605, take_range);
    pmm_put_range(f.p, pfn_make(range), 7);
    pmm_put_range(f.p, pfn_make(range + 1299), 1);
    pmm_put_range(f.p, pfn_make(range + 605), 1); /* the first of what remained */
    assert_who(f.p, range + 7, 593, take_range);
    assert_who(f.p, range + 606, 1299 - 606, take_range);
    assert_int_equal(pmm_claim(f.p, pfn_make(range + 601), 3), MM_OK);
    assert_who(f.p, range + 7, 593, take_range);
    assert_null(who(f.p, range + 600));
    assert_null(who(f.p, range + 604));
    uint64_t site;
    assert_true(pmm_who(f.p, pfn_make(range + 602), &site));
    assert_true(site > (uintptr_t)test_sites_of_parts);

    uint64_t whole = take_order_9(f.p);
    pmm_put_range(f.p, pfn_make(whole + 100), 300);
    assert_who(f.p, whole, 100, take_order_9);
    assert_who(f.p, whole + 100, 300, NULL);
    assert_who(f.p, whole + 400, 112, take_order_9);
    pmm_put_range(f.p, pfn_make(whole + 400), 112);
    pmm_put_range(f.p, pfn_make(whole), 100);
    assert_who(f.p, whole, 512, NULL);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Where runs are not told apart, it is known who took each frame all the same. */
static void test_sites_without_records(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 512, GIVEN } };
    struct fixture f;
    pfn_t pfns[512];

    (void)state;
    open_pool(&f, parts, 1);
    assert_int_equal(pmm_get_batch(f.p, pfns, 512, 0), 512);
    pmm_put_batch(f.p, (pfn_t[]){ pfn_make(8 * GiB + 40), pfn_make(8 * GiB + 41) }, 2);
    uint64_t run = take_order_1(f.p);
    assert_int_equal(run, 8 * GiB + 40);
    assert_int_equal(stats_of(f.p).record_frames, 0);
    assert_who(f.p, run, 2, take_order_1);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Frames that are to go out of service belong to somebody until they are put. */
static void test_sites_of_leaving(void **state)
{
    struct fixture f;
    uint64_t in_use;

    (void)state;
    open_pool(&f, small, 1);
    uint64_t base = take_order_5(f.p);
    assert_int_equal(pmm_retire(f.p, pfn_make(base + 3), 2, &in_use), MM_OK);
    assert_int_equal(in_use, 2);
    assert_who(f.p, base, 32, take_order_5);
    pmm_put(f.p, pfn_make(base), 5);
    assert_who(f.p, base, 32, NULL);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* 4 bytes for each frame of a GiB that the pool has memory in, of what the caller is asked for. */
static void test_storage(void **state)
{
    static const struct part parts[] = { { 2 * GiB - 8, 8, GIVEN },
                                         { 4 * GiB, 8, GIVEN },
                                         { 70 * GiB + GiB - 8, 8, GIVEN } };
    uint64_t nbytes[3];
    struct fixture f;

    (void)state;
    for (size_t n = 1; n <= 3; n++) {
        open_kind(&f, parts, n, PMM_GENERAL, 1);
        nbytes[n - 1] = f.storage_bytes;
        assert_int_equal(stats_of(f.p).storage_bytes, f.storage_bytes);
        for (size_t i = 0; i < n; i++) { /* the first frame and the last one, too */
            assert_int_equal(pmm_claim(f.p, pfn_make(parts[i].base), 8), MM_OK);
        }
        assert_sound(pmm_check(f.p));
        for (size_t i = 0; i < n; i++) {
            assert_true(is_known(f.p, parts[i].base) && is_known(f.p, parts[i].base + 7));
        }
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }
    assert_true(nbytes[1] - nbytes[0] >= 4 * GiB && nbytes[2] - nbytes[1] >= 4 * GiB);
}

/* ---- poison ---------------------------------------------------------------------------------- */

static void test_poison(void **state)
{
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(takers); i++) {
        uint64_t count = takers[i].count;
        int filled = takers[i].filled;

        host_phys_reset();
        open_pool(&f, small, 1);
        /* The second time what was put is taken; by a batch not in a row. */
        for (unsigned turn = 0; turn < (takers[i].one ? 2 : 1); turn++) {
            uint64_t base = takers[i].fn(f.p);

            assert_true(is_filled(base, count, filled >= 0 ? filled : turn == 0 ? 0 : PUT));
            write_frames(base, count, MINE);
            if (takers[i].one) {
                pmm_put_range(f.p, pfn_make(base), count);
            } else {
                for (uint64_t k = 0; k < count; k++) {
                    pmm_put(f.p, pfn_make(base + k), 0);
                }
            }
            assert_true(is_filled(base, count, PUT));
            pmm_idle(f.p);
        }
        close_pool(&f);
    }
}

/* By each call that puts; and what is beside is not touched. */
static void test_poison_parts(void **state)
{
    struct fixture f;
    pfn_t pfns[64];

    (void)state;
    host_phys_reset();
    open_pool(&f, small, 1);
    uint64_t range = take_range(f.p);
    write_frames(range, 1300, MINE);
    pmm_put_range(f.p, pfn_make(range + 511), 2);
    assert_true(is_filled(range, 511, MINE));
    assert_true(is_filled(range + 511, 2, PUT));
    assert_true(is_filled(range + 513, 1300 - 513, MINE));

    uint64_t run = take_order_5(f.p);
    uint64_t single = take_single(f.p);
    write_frames(run, 32, MINE);
    write_frames(single, 1, MINE);
    pmm_put(f.p, pfn_make(run), 5);
    assert_true(is_filled(run, 32, PUT));
    assert_true(is_filled(single, 1, MINE));

    assert_int_equal(pmm_get_batch(f.p, pfns, 64, PMM_ZERO), 64);
    for (unsigned i = 0; i < 64; i++) {
        assert_true(is_filled(pfns[i].v, 1, 0));
    }
    pmm_put_batch(f.p, pfns, 63);
    for (unsigned i = 0; i < 63; i++) {
        assert_true(is_filled(pfns[i].v, 1, PUT));
    }
    assert_true(is_filled(pfns[63].v, 1, 0));
    close_pool(&f);
}

/* Zeroed ahead, a frame holds zeros whoever put it before, and none is poisoned on its way. */
static void test_zeroed_ahead(void **state)
{
    struct fixture f;
    pfn_t pfns[32];

    (void)state;
    open_pool(&f, small, 1);
    assert_int_equal(pmm_get_batch(f.p, pfns, 32, 0), 32);
    pmm_put_batch(f.p, pfns, 32);
    pmm_idle(f.p);
    assert_int_equal(pmm_fill_zeroed(f.p, 8), 8);
    for (unsigned i = 0; i < 16; i++) {
        assert_true(is_filled(take_zeroed(f.p), 1, 0));
    }
    close_pool(&f);
}

/* No pool but PMM_GENERAL writes to its memory; all keep who took it. */
static void test_other_kinds(void **state)
{
    static const struct part parts[] = { { 16, 64, GIVEN },
                                         { 8 * GiB, 2048, SPECIAL },
                                         { 9 * GiB, 2048, UNACCEPTED },
                                         { 10 * GiB, 2048, PERSISTENT } };
    struct fixture f;

    (void)state;
    host_phys_reset();
    for (unsigned i = 0; i < MM_COUNTOF(parts); i++) {
        write_frames(parts[i].base, parts[i].count, MINE);
        open_kind(&f, parts, MM_COUNTOF(parts), (enum pmm_kind)(PMM_LOW + i), 1);
        uint64_t single = take_single(f.p);
        uint64_t run = take_order_5(f.p);
        pfn_t pfns[8];
        assert_int_equal(pmm_get_batch(f.p, pfns, 8, 0), 8);
        assert_who(f.p, single, 1, take_single);
        assert_who(f.p, run, 32, take_order_5);
        pmm_put(f.p, pfn_make(single), 0);
        pmm_put_range(f.p, pfn_make(run + 1), 3);
        assert_who(f.p, run + 4, 28, take_order_5);
        pmm_put_batch(f.p, pfns, 8);
        if (parts[i].count > 64) {
            uint64_t whole = take_order_9(f.p);

            assert_who(f.p, whole, 512, take_order_9);
            pmm_put(f.p, pfn_make(whole), 9);
        }
        assert_panics(pmm_put(f.p, pfn_make(single), 0), "is free already");
        assert_true(is_filled(parts[i].base, parts[i].count, MINE));
        close_pool(&f);
    }
}

/* ---- bad puts -------------------------------------------------------------------------------- */

/* The put, of `count` frames at `base`, must stop the machine before any of them is overwritten. */
#define assert_untouched(base, count, expr, words)                                                 \
    do {                                                                                           \
        write_frames(base, count, MINE);                                                           \
        assert_panics(expr, words);                                                                \
        assert_true(is_filled(base, count, MINE));                                                 \
        close_pool(&f);                                                                            \
    } while (0)

static void test_bad_puts_of_single_frames(void **state)
{
    struct fixture f;
    uint64_t a, b;

    (void)state;
    open_pool(&f, small, 1);
    a = take_single(f.p);
    b = take_single(f.p);
    pmm_put(f.p, pfn_make(a), 0); /* into the slot that it came from */
    assert_untouched(a, 1, pmm_put(f.p, pfn_make(a), 0), "is free already");
    open_pool(&f, small, 1);
    a = take_single(f.p);
    assert_untouched(a + 1, 1, pmm_put(f.p, pfn_make(a + 1), 0),
                     "is free already"); /* in hand, not given */
    open_pool(&f, small, 1);
    a = take_single(f.p);
    assert_untouched(a + 1, 1, pmm_put_range(f.p, pfn_make(a + 1), 1), "is free already");
    open_pool(&f, small, 1);
    a = take_single(f.p);
    assert_untouched(a + 1, 1, pmm_put_batch(f.p, &(pfn_t){ a + 1 }, 1), "is free already");
    open_pool(&f, small, 2);
    a = take_single(f.p);
    host_set_cpu(1); /* in the hand of another processor */
    assert_untouched(a + 1, 1, pmm_put(f.p, pfn_make(a + 1), 0), "is free already");
    open_pool(&f, small, 1);
    a = take_single(f.p);
    pmm_put(f.p, pfn_make(a), 0);
    pmm_idle(f.p); /* into the plane, the block is whole */
    assert_untouched(a, 1, pmm_put(f.p, pfn_make(a), 0), "is free already");
    open_pool(&f, small, 1);
    assert_int_equal(pmm_fill_zeroed(f.p, 4), 4);
    assert_untouched(8 * GiB, 1, pmm_put(f.p, pfn_make(8 * GiB), 0), "is free already");
    open_pool(&f, small, 1);
    assert_untouched(9 * GiB, 1, pmm_put(f.p, pfn_make(9 * GiB), 0), "was never given");
    open_pool(&f, small, 1);
    assert_untouched(10 * GiB, 1, pmm_put(f.p, pfn_make(10 * GiB), 0), "is not in this pool");
    open_pool(&f, small, 1);
    b = take_order_5(f.p);
    assert_untouched(b, 1, pmm_put(f.p, pfn_make(b), 0), "is the start of a larger allocation");
    open_pool(&f, small, 1);
    b = take_order_9(f.p);
    assert_untouched(b + 5, 1, pmm_put_batch(f.p, &(pfn_t){ b + 5 }, 1), "is not the start");
}

static void test_bad_puts_of_blocks(void **state)
{
    struct fixture f;
    uint64_t a, b;

    (void)state;
    open_pool(&f, small, 1);
    a = take_order_5(f.p);
    assert_untouched(a, 16, pmm_put(f.p, pfn_make(a), 4), "is the start of a larger allocation");
    open_pool(&f, small, 1);
    a = take_order_5(f.p);
    assert_untouched(a + 16, 16, pmm_put(f.p, pfn_make(a + 16), 4),
                     "is not the start of an allocation");
    open_pool(&f, small, 1);
    a = take_order_5(f.p);
    assert_untouched(a + 1, 32, pmm_put(f.p, pfn_make(a + 1), 5), "is not aligned to its order");
    open_pool(&f, small, 1);
    a = take_order_1(f.p);
    b = take_order_1(f.p);
    assert_int_equal(b, a + 2);
    assert_untouched(a, 4, pmm_put(f.p, pfn_make(a), 2), "is the start of another allocation");
    open_pool(&f, small, 1);
    a = take_order_1(f.p);
    assert_untouched(a, 4, pmm_put(f.p, pfn_make(a), 2), "is free already");
    open_pool(&f, small, 1);
    a = take_order_10(f.p);
    assert_untouched(a, 512, pmm_put(f.p, pfn_make(a), 9), "is the start of a larger allocation");
    open_pool(&f, small, 1);
    a = take_order_9(f.p);
    assert_untouched(a, 512, pmm_put(f.p, pfn_make(a), PMM_MAX_ORDER + 1), "PMM_MAX_ORDER");
    open_pool(&f, small, 1);
    a = take_range(f.p);
    assert_untouched(a, 1301, pmm_put_range(f.p, pfn_make(a), 1301), "is free already");
    open_pool(&f, small, 1);
    b = take_claim(f.p);
    assert_untouched(b + 999, 2, pmm_put_range(f.p, pfn_make(b + 999), 2), "is free already");
    open_pool(&f, small, 1);
    a = take_range(f.p);
    assert_untouched(a, 1, pmm_put_range(f.p, pfn_make(a), 0), "a count of 0");
}

/* ---- beside others --------------------------------------------------------------------------- */

static struct pmm *shared;
static atomic_bool amid; /* take_slowly() */

/* Frames and runs come and go beside each other; none is written to by who does not have it. */
static void *take_and_put(void *arg)
{
    struct host_rng rng = { .state = (uintptr_t)arg };
    uint64_t held[64];
    unsigned order[64];
    unsigned n = 0;

    host_set_cpu((unsigned)(uintptr_t)arg);
    for (unsigned i = 0; i < 20000; i++) {
        if (n < MM_COUNTOF(held) && host_rng_below(&rng, 2) == 0) {
            order[n] = (unsigned)host_rng_below(&rng, 3);
            held[n] = got(pmm_get(shared, order[n], 0));
            if (!is_filled(held[n], UINT64_C(1) << order[n], GOT)) {
                return "what was got is not as it should be";
            }
            n++;
        } else if (n > 0) {
            unsigned k = (unsigned)host_rng_below(&rng, n);

            pmm_put(shared, pfn_make(held[k]), order[k]);
            held[k] = held[--n];
            order[k] = order[n];
        }
    }
    while (n > 0) {
        n--;
        pmm_put(shared, pfn_make(held[n]), order[n]);
    }
    return NULL;
}

static void test_threads(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 512, GIVEN } };
    pthread_t thread[THREADS];
    struct fixture f;
    void *wrong;

    (void)state;
    open_pool(&f, parts, THREADS + 1);
    shared = f.p;
    for (uintptr_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, take_and_put, (void *)(i + 1)), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(thread[i], &wrong), 0);
        if (wrong != NULL) {
            fail_msg("%s", (const char *)wrong);
        }
    }
    struct pmm_stats s = stats_of(f.p);
    assert_int_equal(s.free_frames + s.record_frames, 512);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* A run as processor 1 takes it, at the moment in which its first frame is a BODY, until somebody
 * wants to stop the pool. */
static void *take_slowly(void *arg)
{
    uint64_t pfn = *(uint64_t *)arg;
    uint64_t b = section_of(shared, pfn) * SECTION_BLOCKS + pfn % SECTION_FRAMES / BLOCK_FRAMES;
    uint64_t w = pfn % BLOCK_FRAMES / 64;
    struct turn t;

    host_set_cpu(1);
    begin_turn(shared, &t);
    clear_bits(&block_free(shared, b)[w], bit(pfn));
    set_bits(&block_multi(shared, b)[w], bit(pfn));
    atomic_store(&amid, true);
    while (atomic_load(&t.c->stop) == 0) {
        port_spin_hint();
    }
    clear_bits(&block_multi(shared, b)[w], bit(pfn));
    set_bits(&block_free(shared, b)[w], bit(pfn));
    end_turn(&t);
    return NULL;
}

/* What ends before a run that is being taken is no part of it. */
static void test_put_before_a_run(void **state)
{
    pthread_t thread;
    struct fixture f;

    (void)state;
    open_pool(&f, small, 2);
    shared = f.p;
    uint64_t run = take_order_1(f.p);
    uint64_t next = run + 2;
    atomic_store(&amid, false);
    assert_int_equal(pthread_create(&thread, NULL, take_slowly, &next), 0);
    while (!atomic_load(&amid)) {
        port_spin_hint();
    }
    pmm_put(f.p, pfn_make(run), 1);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_true(is_filled(run, 2, PUT));
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sites),
        cmocka_unit_test(test_calls_apart),
        cmocka_unit_test(test_sites_of_others),
        cmocka_unit_test(test_sites_of_parts),
        cmocka_unit_test(test_sites_without_records),
        cmocka_unit_test(test_sites_of_leaving),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_poison),
        cmocka_unit_test(test_poison_parts),
        cmocka_unit_test(test_zeroed_ahead),
        cmocka_unit_test(test_other_kinds),
        cmocka_unit_test(test_bad_puts_of_single_frames),
        cmocka_unit_test(test_bad_puts_of_blocks),
        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_put_before_a_run),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
