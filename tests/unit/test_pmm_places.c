/*
 * test_pmm_places.c - where a frame pool takes frames from, and that it refuses only if there are
 * none.
 */
#include "pmm_calls.h"

/* ---- where from ------------------------------------------------------------------------------ */

static void test_above_4g_first(void **state)
{
    static const struct part parts[] = {
        { 256, 4096, GIVEN },
        { 4 * GiB, 4096, GIVEN },
    };

    (void)state;
    for (unsigned how = 0; how < 6; how++) {
        static const unsigned order_of[] = { 0, 2, 9, 0, 0, 0 };
        bool below = false;
        struct fixture f;

        open_pool(&f, parts, 1);
        for (;;) {
            struct pmm_want want = { .count = how == 4 ? 3 : 700 };
            pfn_t pfns[7] = { PFN_NONE };

            if (how < 3) {
                pfns[0] = pmm_get(f.p, order_of[how], 0);
            } else if (how == 3) {
                if (pmm_get_batch(f.p, pfns, 7, 0) == 0) {
                    pfns[0] = PFN_NONE;
                }
            } else if (pmm_get_range(f.p, &want, &pfns[0]) != MM_OK) {
                pfns[0] = PFN_NONE;
            }
            if (pfn_is_none(pfns[0])) {
                break;
            }
            assert_false(below && pfns[0].v >= 4 * GiB);
            below = pfns[0].v < 4 * GiB;
        }
        assert_true(below);
        close_pool(&f);
    }
}

/* A limit, and only that, sends a request below 4 GiB or 16 MiB while there is memory above. */
static void test_limits(void **state)
{
    static const struct part parts[] = {
        { 0, 8192, GIVEN },
        { 4 * GiB, GiB, GIVEN },
    };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    for (unsigned i = 0; i < 4096 - 256; i++) {
        uint64_t pfn = get_range(f.p, 1, 0, UINT64_C(16) << 20, 0);

        assert_true(pfn >= 256 && pfn < 4096);
        assert_true(get_range(f.p, 1, 0, 0, 0) >= 4 * GiB);
    }
    assert_int_equal(range_error(f.p, 1, 0, UINT64_C(16) << 20, 0), MM_ELIMIT);
    for (unsigned i = 0; i < 4096; i++) {
        uint64_t pfn = get_range(f.p, 1, 0, UINT64_C(1) << 32, 0);

        assert_true(pfn >= 4096 && pfn < 8192);
    }
    assert_int_equal(range_error(f.p, 1, 0, UINT64_C(1) << 32, 0), MM_ELIMIT);
    assert_sound(pmm_check(f.p));
    close_pool(&f);

    open_kind(&f, parts, 2, PMM_LOW, 1);
    assert_int_equal(drain(f.p), 255);
    close_pool(&f);
}

/* No whole block is broken while frames are left in broken ones. */
static void test_blocks_kept(void **state)
{
    static const struct part parts[] = { { 8 * GiB, GiB, GIVEN }, { 9 * GiB, 3 * GiB, GIVEN } };
    struct host_rng r = host_rng_make("kept");
    static pfn_t got[200000];
    struct fixture f;
    uint64_t whole;
    uint64_t left;

    (void)state;
    open_pool(&f, parts, 1);
    for (unsigned n = 1; n <= 3000; n++) {
        assert_int_not_equal(get(f.p, 0), NO_BASE);
        if (n % 100 == 0) {
            assert_int_equal(whole_blocks(f.p), 2048 - (n + 511) / 512);
        }
    }
    close_pool(&f);

    /* A third of the frames of 390 blocks comes back at random; single frames fill those up. */
    open_pool(&f, parts, 1);
    for (unsigned i = 0; i < 200000; i++) {
        got[i] = pmm_get(f.p, 0, 0);
    }
    for (unsigned i = 0; i < 200000; i++) {
        if (host_rng_below(&r, 3) == 0) {
            pmm_put(f.p, got[i], 0);
        }
    }
    whole = whole_blocks(f.p);
    left = stats_of(f.p).outside_2m;
    assert_true(whole >= 2048 - 391);
    for (uint64_t i = 0; i < left; i++) {
        assert_int_not_equal(get(f.p, 0), NO_BASE);
    }
    assert_int_equal(whole_blocks(f.p), whole);
    assert_int_equal(stats_of(f.p).outside_2m, 0);

    /* Three of four GiB have not been touched. */
    assert_int_equal(stats_of(f.p).free_blocks[18], 3);
    for (unsigned i = 0; i < 100; i++) {
        assert_int_not_equal(get(f.p, 9), NO_BASE);
    }
    assert_int_equal(stats_of(f.p).free_blocks[18], 3);
    assert_sound(pmm_check(f.p));
    close_pool(&f);

    /* Small blocks of every order share 2 MiB blocks: 200 of each need 1022 frames * 200 / 512,
     * and few more. */
    open_pool(&f, parts, 1);
    for (unsigned i = 0; i < 200; i++) {
        for (unsigned order = 0; order <= 8; order++) {
            assert_int_not_equal(get(f.p, order), NO_BASE);
        }
    }
    assert_true(whole_blocks(f.p) >= 2048 - 200 - 2);
    assert_int_equal(stats_of(f.p).free_blocks[18], 3);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* Processors begin at places of their own, and do not meet while there is room. */
static void test_own_places(void **state)
{
    enum { CPUS = 8, EACH = 2000 };
    static const struct part parts[] = { { 8 * GiB, 4 * GiB, GIVEN } };
    static signed char owner[4 * 512];
    struct fixture f;

    (void)state;
    memset(owner, -1, sizeof(owner));
    open_pool(&f, parts, CPUS);
    for (unsigned i = 0; i < EACH; i++) {
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            uint64_t block;

            host_set_cpu(cpu);
            block = (get(f.p, 0) - 8 * GiB) / 512;
            assert_true(owner[block] < 0 || owner[block] == (int)cpu);
            owner[block] = (signed char)cpu;
        }
    }
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* ---- refusals -------------------------------------------------------------------------------- */

static void test_why(void **state)
{
    static const struct part parts[] = { { 8 * GiB, GiB, GIVEN } };
    struct fixture f;
    uint64_t refusals;

    (void)state;
    open_pool(&f, parts, 2);
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        assert_int_equal(pmm_why(f.p, order), MM_OK);
    }
    assert_int_equal(pmm_why(f.p, PMM_MAX_ORDER + 1), MM_EINVAL);
    assert_int_equal(pmm_why(f.p, UINT32_MAX), MM_EINVAL);
    assert_int_equal(stats_of(f.p).open_sections, 0); /* asking costs nothing */
    for (uint64_t i = 0; i < 512; i++) {              /* one frame in the middle of each 2 MiB */
        assert_int_equal(claim(f.p, 8 * GiB + i * 512 + 255, 1), MM_OK);
    }
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        assert_int_equal(pmm_why(f.p, order), order < 9    ? MM_OK
                                              : order < 18 ? MM_EFRAG
                                                           : MM_ENOMEM);
        assert_int_equal(get(f.p, order) != NO_BASE, order < 9);
    }
    assert_true(drain(f.p) > 0);
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        assert_int_equal(pmm_why(f.p, order), MM_ENOMEM);
        assert_int_equal(get(f.p, order), NO_BASE);
    }
    refusals = stats_of(f.p).refusals;
    put(f.p, 8 * GiB + 255, 0);
    assert_int_equal(pmm_why(f.p, 0), MM_OK);
    assert_int_equal(get(f.p, 1), NO_BASE);
    assert_int_equal(stats_of(f.p).refusals, refusals + 1);
    assert_int_equal(pmm_why(f.p, 1), MM_ENOMEM);
    assert_int_equal(get(f.p, 0), 8 * GiB + 255);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* To the last frame: every one of them is given once, by whatever processor asks. */
static void test_last_frame(void **state)
{
    enum { CPUS = 6, N = 3 * 512 + 701 };
    static const struct part parts[] = { { 8 * GiB, 3 * 512, GIVEN },
                                         { 9 * GiB + 99, 701, GIVEN } };
    static unsigned char seen[GiB + 1024];
    struct fixture f;
    uint64_t last = 0;

    (void)state;
    open_pool(&f, parts, CPUS);
    for (unsigned round = 0; round < 3; round++) {
        memset(seen, 0, sizeof(seen));
        for (unsigned i = 0; i < N; i++) {
            host_set_cpu(i * 5 % CPUS);
            last = get(f.p, 0);
            assert_true(last != NO_BASE && seen[last - 8 * GiB] == 0);
            seen[last - 8 * GiB] = 1;
            assert_int_equal(pmm_free_frames(f.p), N - 1 - i);
        }
        for (unsigned cpu = 0; cpu < CPUS; cpu++) {
            host_set_cpu(cpu);
            assert_int_equal(get(f.p, 0), NO_BASE);
        }
        assert_sound(pmm_check(f.p));
        host_set_cpu(1); /* one comes back, and is there for every other */
        put(f.p, last, 0);
        host_set_cpu(round);
        assert_int_equal(get(f.p, 0), last);
        for (uint64_t k = 0; k < GiB + 1024; k++) {
            host_set_cpu((unsigned)k % CPUS);
            if (seen[k] != 0) {
                put(f.p, 8 * GiB + k, 0);
            }
        }
        assert_int_equal(pmm_free_frames(f.p), N);
        assert_sound(pmm_check(f.p));
    }

    /* Once a small block has been given from the GiB that is whole, 8 frames less. */
    host_set_cpu(0);
    put(f.p, get(f.p, 1), 1);
    assert_int_equal(pmm_free_frames(f.p), N - stats_of(f.p).record_frames);
    assert_true(stats_of(f.p).record_frames == 0 || stats_of(f.p).record_frames == 8);
    assert_int_equal(claim(f.p, 9 * GiB + 99, 701), MM_OK);
    last = get(f.p, 1);
    assert_true(last >= 8 * GiB && last < 9 * GiB);
    assert_int_equal(stats_of(f.p).record_frames, 8);
    put(f.p, last, 1);
    assert_int_equal(drain(f.p), 3 * 512 - 8);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* The last block of its size is given, and not first spent on the records that say so. */
static void test_last_block(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 512, GIVEN } };
    struct fixture f;

    (void)state;
    for (unsigned order = 1; order <= 9; order++) {
        uint64_t base = 8 * GiB + 512 - (UINT64_C(1) << order);

        open_pool(&f, parts, 2);
        assert_int_equal(drain(f.p), 512);
        for (uint64_t pfn = base; pfn < 8 * GiB + 512; pfn++) {
            put(f.p, pfn, 0);
        }
        host_set_cpu(order % 2);
        assert_int_equal(pmm_why(f.p, order), MM_OK);
        assert_int_equal(get(f.p, order), base);
        assert_int_equal(pmm_why(f.p, 0), MM_ENOMEM);
        assert_sound(pmm_check(f.p));
        put(f.p, base, order);
        assert_int_equal(pmm_free_frames(f.p), UINT64_C(1) << order);
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }
}

/*
 * Every 2 MiB block but one is pinned by a single frame. Whichever it is, and whichever processor
 * asks, the whole one is found, again and again; and none is once it has been taken.
 */
static void test_pinned_blocks(void **state)
{
    enum { CPUS = 4, BLOCKS = 1024 };
    static const struct part parts[] = { { 8 * GiB, 2 * GiB, GIVEN } };
    struct host_rng r = host_rng_make("pinned");
    struct fixture f;

    (void)state;
    SKIP_IF_POISONED();
    open_pool(&f, parts, CPUS);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        assert_int_equal(claim(f.p, 8 * GiB + i * 512 + host_rng_below(&r, 512), 1), MM_OK);
    }
    assert_int_equal(get(f.p, 9), NO_BASE);
    assert_int_equal(pmm_why(f.p, 9), MM_EFRAG);
    for (uint64_t i = 0; i < BLOCKS; i++) {
        uint64_t base = 8 * GiB + i * 7 % BLOCKS * 512;
        uint64_t pin = base;

        while (is_free(f.p, pin)) {
            pin++;
        }
        host_set_cpu((unsigned)host_rng_below(&r, CPUS));
        put(f.p, pin, 0);
        host_set_cpu((unsigned)host_rng_below(&r, CPUS));
        assert_int_equal(get(f.p, 9), base);
        assert_int_equal(get(f.p, 9), NO_BASE);
        host_set_cpu((unsigned)host_rng_below(&r, CPUS));
        put(f.p, base, 9);
        assert_int_equal(get(f.p, 9), base);
        put(f.p, base, 9);
        host_set_cpu((unsigned)host_rng_below(&r, CPUS));
        assert_int_equal(claim(f.p, pin, 1), MM_OK);
        assert_int_equal(get(f.p, 9), NO_BASE);
    }
    assert_int_equal(pmm_free_frames(f.p), 2 * GiB - BLOCKS);
    assert_sound(pmm_check(f.p));

    /* Half of them pinned: all others are found. */
    for (uint64_t base = 8 * GiB; base < 10 * GiB; base += 1024) {
        uint64_t pin = base;

        while (is_free(f.p, pin)) {
            pin++;
        }
        put(f.p, pin, 0);
    }
    for (uint64_t i = 0; i < BLOCKS / 2; i++) {
        host_set_cpu(i % CPUS);
        assert_int_not_equal(get(f.p, 9), NO_BASE);
    }
    assert_int_equal(get(f.p, 9), NO_BASE);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

/* The block that is wanted is free, but for frames in the caches of others. */
static void test_blocks_in_caches(void **state)
{
    enum { CPUS = 4 };
    static const struct part parts[] = { { 8 * GiB, GiB, GIVEN } };
    struct fixture f;

    (void)state;
    SKIP_IF_POISONED();
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        open_pool(&f, parts, CPUS);
        for (unsigned cpu = 1; cpu < CPUS; cpu++) {
            host_set_cpu(cpu);
            put(f.p, get(f.p, 0), 0);
        }
        host_set_cpu(0);
        for (uint64_t i = 0; i < GiB >> mm_max(order, 9); i++) {
            assert_int_not_equal(get(f.p, (unsigned)mm_max(order, 9)), NO_BASE);
        }
        assert_int_equal(pmm_free_frames(f.p), 0);
        assert_sound(pmm_check(f.p));
        close_pool(&f);
    }
}

/* Single frames far apart, each in a GiB or a TiB of its own. */
static void test_lone_frames(void **state)
{
    enum { N = 300 };
    static struct part parts[N];
    struct fixture f;

    (void)state;
    SKIP_IF_POISONED();
    for (unsigned i = 0; i < N; i++) {
        parts[i] = (struct part){ (i + 1) * (i % 3 == 0 ? 2 * TiB : 3 * GiB) + i * TiB, 1, GIVEN };
    }
    for (unsigned i = 1; i < N; i++) { /* by address, as the map will have it */
        for (unsigned k = i; k > 0 && parts[k - 1].base > parts[k].base; k--) {
            struct part swap = parts[k];

            parts[k] = parts[k - 1];
            parts[k - 1] = swap;
        }
    }
    open_pool(&f, parts, 3);
    assert_int_equal(pmm_free_frames(f.p), N);
    assert_int_equal(pmm_why(f.p, 1), MM_EFRAG);
    assert_int_equal(drain(f.p), N);
    assert_int_equal(get(f.p, 0), NO_BASE);
    for (unsigned i = 0; i < N; i++) {
        assert_int_equal(state_of(f.p, parts[i].base), PMM_USED);
        assert_false(pmm_covers(f.p, pfn_make(parts[i].base + 1)));
        host_set_cpu(i % 3);
        put(f.p, parts[i].base, 0);
        assert_int_equal(get_range(f.p, 1, 0, 0, 0), parts[i].base);
        put_range(f.p, parts[i].base, 1);
        assert_int_equal(claim(f.p, parts[i].base, 1), MM_OK);
    }
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_above_4g_first),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_blocks_kept),
        cmocka_unit_test(test_own_places),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_last_frame),
        cmocka_unit_test(test_last_block),
        cmocka_unit_test(test_pinned_blocks),
        cmocka_unit_test(test_blocks_in_caches),
        cmocka_unit_test(test_lone_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
