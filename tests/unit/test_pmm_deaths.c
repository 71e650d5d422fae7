/*
 * test_pmm_deaths.c - a frame pool stops the machine at every put of what is not the caller's, and
 * says what it was.
 */
#include "pmm_calls.h"

#include "../../mm/pmm/pool.h"

/* ---- who breaks the contract ----------------------------------------------------------------- */

static const struct part death_parts[] = {
    { 256, 2048, GIVEN },
    { 2304, 64, LATER },
    { 5 * GiB, GiB + 7, GIVEN },
    { 9 * GiB, 64, LATER },
};

/* A pool that holds 16 frames at 512, 8 at 528, 16 at 544, one at 560, 8 at 632 and at 640, and
 * two blocks of 2 MiB, at 1024 and 1536, as one. What it did not survive goes with it. */
static void death_pool(struct fixture *f)
{
    static const struct {
        uint64_t base, count;
    } given[] = { { 512, 16 }, { 528, 8 }, { 544, 16 },   { 560, 1 },
                  { 632, 8 },  { 640, 8 }, { 1024, 1024 } };

    open_pool(f, death_parts, 2);
    for (size_t i = 0; i < MM_COUNTOF(given); i++) {
        assert_int_equal(claim(f->p, given[i].base, given[i].count), MM_OK);
    }
}

/* Wrong calls, each of which must stop the machine with `words`. The pool is lost, and closed. */
static void put_dies(struct fixture *f, uint64_t base, unsigned order, const char *words)
{
    assert_panics((put(f->p, base, order), 0), words);
    close_pool(f);
}

static void put_range_dies(struct fixture *f, uint64_t base, uint64_t count, const char *words)
{
    assert_panics((put_range(f->p, base, count), 0), words);
    close_pool(f);
}

static void put_batch_dies(struct fixture *f, const pfn_t *pfns, unsigned n, const char *words)
{
    assert_panics((pmm_put_batch(f->p, pfns, n), 0), words);
    close_pool(f);
}

static void get_batch_dies(struct fixture *f, pfn_t *pfns, unsigned n, const char *words)
{
    assert_panics(pmm_get_batch(f->p, pfns, n, 0) == 0, words);
    close_pool(f);
}

/* What a wrong put says: who, where, what. */
static void test_deaths(void **state)
{
    static const struct {
        bool by_order;
        uint64_t base;
        uint64_t count; /* or order */
        const char *words;
    } deaths[] = {
        { true, 600, 0, "frame 0x258000 is free already" },
        { true, 2304, 0, "frame 0x900000 was never given" },
        { true, 0, 0, "frame 0 is not in this pool" },
        { true, 200, 0, "frame 0xc8000 is not in this pool" },
        { true, 4 * GiB, 0, "frame 0x100000000 is not in this pool" },
        { true, 900 * TiB, 0, "is not in this pool" },
        { true, UINT64_MAX, 0, "frame 0xfffffffffffff000 is " },
        { true, 5 * GiB, 0, "frame 0x140000000 is free already" },
        { true, 9 * GiB, 0, "frame 0x240000000 was never given" },
        { true, 5 * GiB, 18, "frame 0x140000000 is free already" },
        { true, 513, 1, "frame 0x201000 is not aligned to its order" },
        { true, 513, 0, "frame 0x201000 is not the start of an allocation" },
        { true, 512, 0, "frame 0x200000 is the start of a larger allocation" },
        { true, 512, 3, "frame 0x200000 is the start of a larger allocation" },
        { true, 512, 5, "frame 0x210000 is the start of another allocation" },
        { true, 544, 5, "frame 0x230000 is the start of another allocation" },
        { true, 560, 1, "frame 0x231000 is free already" },
        { true, 520, 3, "frame 0x208000 is not the start of an allocation" },
        { true, 1024, 9, "frame 0x400000 is the start of a larger allocation" },
        { true, 1536, 9, "frame 0x600000 is not the start of an allocation" },
        { true, 1024, 0, "frame 0x400000 is the start of a larger allocation" },
        { true, 1500, 0, "frame 0x5dc000 is not the start of an allocation" },
        { true, 512, 19, "pmm" },
        { true, 512, UINT32_MAX, "pmm" },
        { false, 512, 0, "count of 0" },
        { false, 512, UINT64_MAX, "wraps" },
        { false, 512, 17, "frame 0x210000 is the start of another allocation" },
        { false, 636, 8, "frame 0x280000 is the start of another allocation" },
        { false, 520, 12, "frame 0x210000 is the start of another allocation" },
        { false, 528, 9, "frame 0x218000 is free already" },
        { false, 511, 2, "frame 0x1ff000 is free already" },
        { false, 600, 1, "frame 0x258000 is free already" },
        { false, 2304, 64, "frame 0x900000 was never given" },
        { false, 2367, 2, "frame 0x93f000 was never given" },
        { false, 200, 1, "frame 0xc8000 is not in this pool" },
        { false, 1030, 1019, "frame 0x800000 is free already" },
        { false, 5 * GiB + GiB, 8, "is free already" },
    };
    struct fixture f;

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(deaths); i++) {
        death_pool(&f);
        if (deaths[i].by_order) {
            put_dies(&f, deaths[i].base, (unsigned)deaths[i].count, deaths[i].words);
        } else {
            put_range_dies(&f, deaths[i].base, deaths[i].count, deaths[i].words);
        }
        assert_non_null(strstr(host_panic_text, "pmm"));
    }
}

/* Given back twice: at once, after others, by another processor, after the block has merged. */
static void test_double_free(void **state)
{
    struct fixture f;
    uint64_t a;
    uint64_t b;

    (void)state;
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        death_pool(&f);
        a = get(f.p, order);
        put(f.p, a, order);
        put_dies(&f, a, order, "is free already");

        death_pool(&f);
        a = get(f.p, order);
        put(f.p, a, order);
        put_range_dies(&f, a, UINT64_C(1) << order, "is free already");

        death_pool(&f); /* the block is in use by another, larger one: still not the caller's */
        a = get(f.p, order);
        b = get(f.p, order < 18 ? order : 9);
        put(f.p, a, order);
        host_set_cpu(1);
        if (order < 18) {
            put(f.p, b, order);
        }
        put_dies(&f, a, order, "is free already");

        death_pool(&f); /* all has been merged, and everything counted */
        a = get(f.p, order);
        put(f.p, a, order);
        assert_sound(pmm_check(f.p));
        put_dies(&f, a, order, "is free already");
    }
}

/* A single frame, which must be named as free. */
static void put_free_dies(struct fixture *f, uint64_t pfn)
{
    char words[40];

    snprintf(words, sizeof(words), "0x%llx is free already", (unsigned long long)pfn << 12);
    put_dies(f, pfn, 0, words);
}

/* A frame that another processor holds in its hands is free. */
static void test_double_free_in_caches(void **state)
{
    static const struct part block[] = { { 8 * GiB, 512, GIVEN } };
    struct fixture f;
    pfn_t pfns[100];

    (void)state;
    for (unsigned i = 0; i < 100; i += 9) {
        death_pool(&f);
        assert_int_equal(pmm_get_batch(f.p, pfns, 100, 0), 100);
        host_set_cpu(i % 2);
        for (unsigned k = 0; k < 100; k++) {
            put(f.p, pfns[k].v, 0);
        }
        host_set_cpu(i / 2 % 2);
        put_free_dies(&f, pfns[i].v);

        /* Taken into hand with its word, but never given. */
        open_pool(&f, block, 2);
        host_set_cpu(i % 2);
        pfns[0].v = get(f.p, 0);
        pfns[0].v = mm_align_down(pfns[0].v, 64) + (pfns[0].v + 1 + i % 63) % 64;
        host_set_cpu(i / 2 % 2);
        put_free_dies(&f, pfns[0].v);
    }
}

/* One processor has a frame of a word in hand, another takes the rest of that word. */
static void test_double_free_in_shared_word(void **state)
{
    static const struct part block[] = { { 8 * GiB, 512, GIVEN } };
    struct fixture f;
    pfn_t pfns[512];
    uint64_t rest[2];

    (void)state;
    for (unsigned cpu = 0; cpu < 2; cpu++) { /* who puts it again */
        open_pool(&f, block, 2);
        assert_int_equal(pmm_get_batch(f.p, pfns, 512, 0), 512);
        pmm_idle(f.p);
        put(f.p, pfns[70].v, 0);
        pmm_put_batch(f.p, &pfns[71], 2);
        host_set_cpu(1);
        rest[0] = get(f.p, 0);
        rest[1] = get(f.p, 0);
        assert_int_equal(rest[0], pfns[71].v);
        assert_int_equal(rest[1], pfns[72].v);
        host_set_cpu(cpu);
        put_free_dies(&f, pfns[70].v);
    }
}

/* Of a word that one processor has in hand another takes a run, which the first puts as a frame. */
static void test_run_in_shared_word(void **state)
{
    static const struct part block[] = { { 8 * GiB, 512, GIVEN } };
    struct fixture f;
    pfn_t pfns[512];

    (void)state;
    open_pool(&f, block, 2);
    assert_int_not_equal(get(f.p, 3), NO_BASE); /* there is a second plane from now on */
    assert_int_equal(pmm_get_batch(f.p, pfns, 512, 0), 512 - 16);
    pmm_idle(f.p);
    put(f.p, pfns[70].v, 0);
    uint64_t first = mm_align_up(pfns[70].v + 1, 8);
    for (unsigned i = 0; i < 496; i++) {
        if (pfns[i].v / 8 == first / 8) {
            pmm_put_batch(f.p, &pfns[i], 1);
        }
    }
    host_set_cpu(1);
    assert_int_equal(get(f.p, 3), first);
    host_set_cpu(0);
    put_dies(&f, first + 1, 0, "is not the start of an allocation");
}

/* Two words that share an entry in the table of marks: one's mark is not the other's to remove. */
static void test_double_free_with_shared_mark(void **state)
{
    static const struct part parts[] = { { 8 * GiB, 262144, GIVEN } };
    struct fixture f;
    uint64_t a, b, c;

    (void)state;
    open_pool(&f, parts, 3);
    uint64_t apart = (f.p->hand_mask + 1) * 64;
    a = 8 * GiB;
    b = a + apart;
    c = b + 64;
    assert_int_equal(pmm_claim(f.p, pfn_make(a), 1), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(b), 1), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(c), 1), MM_OK);
    put(f.p, a, 0);
    pmm_idle(f.p);
    host_set_cpu(1);
    put(f.p, b, 0);
    host_set_cpu(0);
    put(f.p, c, 0);
    host_set_cpu(2);
    put_free_dies(&f, b);
}

static void test_batch_deaths(void **state)
{
    static const struct {
        uint64_t pfn;
        const char *words;
    } bad[] = {
        { 600, "0x258000 is free already" },
        { 2304, "0x900000 was never given" },
        { 200, "0xc8000 is not in this pool" },
        { 512, "0x200000 is the start of a larger allocation" },
        { 520, "0x208000 is not the start of an allocation" },
        { 1024, "0x400000 is the start of a larger allocation" },
        { NO_BASE, "" },
    };
    struct fixture f;
    pfn_t pfns[64];

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(bad); i++) {
        for (unsigned at = 0; at < 64; at += 21) {
            death_pool(&f);
            assert_int_equal(pmm_get_batch(f.p, pfns, 64, 0), 64);
            pfns[at] = pfn_make(bad[i].pfn);
            put_batch_dies(&f, pfns, 64, bad[i].words);
        }
    }
    for (unsigned at = 1; at < 64; at += 20) { /* one of them twice */
        death_pool(&f);
        assert_int_equal(pmm_get_batch(f.p, pfns, 64, 0), 64);
        pfns[at] = pfns[0];
        put_batch_dies(&f, pfns, 64, "is free already");
    }
    death_pool(&f);
    put_batch_dies(&f, pfns, PMM_MAX_BATCH + 1, "PMM_MAX_BATCH");
    death_pool(&f);
    get_batch_dies(&f, pfns, PMM_MAX_BATCH + 1, "PMM_MAX_BATCH");
}

/* What is left of an allocation is an allocation: it ends where the hole begins. */
static void test_deaths_after_parts(void **state)
{
    struct fixture f;

    (void)state;
    death_pool(&f);
    put_range(f.p, 514, 2);
    put_range_dies(&f, 512, 16, "frame 0x202000 is free already");

    death_pool(&f);
    put_range(f.p, 514, 2);
    assert_int_equal(claim(f.p, 514, 2), MM_OK);
    put_range_dies(&f, 512, 16, "frame 0x202000 is the start of another allocation");

    death_pool(&f);
    put_range(f.p, 514, 2);
    assert_int_equal(claim(f.p, 514, 2), MM_OK);
    put(f.p, 512, 1);
    put(f.p, 514, 1);
    put_range_dies(&f, 515, 3, "frame 0x203000 is free already");

    death_pool(&f);
    put_range(f.p, 514, 2);
    put_dies(&f, 516, 2, "frame 0x204000 is the start of a larger allocation");

    /* Of whole blocks: two become three, each its own. */
    death_pool(&f);
    put_range(f.p, 1500, 100);
    put_range(f.p, 1024, 256);
    put_range(f.p, 1280, 220);
    put_range_dies(&f, 1599, 2, "frame 0x63f000 is free already");

    death_pool(&f);
    put(f.p, 560, 0);
    assert_int_equal(claim(f.p, 560, 1), MM_OK);
    put_range_dies(&f, 544, 17, "frame 0x230000 is the start of another allocation");
}

/* What is out of service cannot be given back, before or after it has been. */
static void test_deaths_of_bad_frames(void **state)
{
    struct fixture f;
    uint64_t in_use;

    (void)state;
    death_pool(&f);
    assert_int_equal(retire(f.p, 600, 1, &in_use), MM_OK);
    put_dies(&f, 600, 0, "0x258000");

    death_pool(&f);
    assert_int_equal(retire(f.p, 560, 1, &in_use), MM_OK);
    put(f.p, 560, 0);
    put_dies(&f, 560, 0, "0x230000");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_double_free),
        cmocka_unit_test(test_double_free_in_caches),
        cmocka_unit_test(test_double_free_in_shared_word),
        cmocka_unit_test(test_run_in_shared_word),
        cmocka_unit_test(test_double_free_with_shared_mark),
        cmocka_unit_test(test_batch_deaths),
        cmocka_unit_test(test_deaths_after_parts),
        cmocka_unit_test(test_deaths_of_bad_frames),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
