/*
 * test_dma.c - memory for devices, on a pool with memory in each class of limits.
 */
#include "pmm_fixture.h"

#include "mm/dma.h"
#include "mm/kmalloc.h"

#define NSLOTS     400u
#define STEPS      20000u
#define LIMIT_16M  (UINT64_C(1) << 24)
#define LIMIT_4G   (UINT64_C(1) << 32)
#define ALL_FRAMES (3000 + 2000 + 4000)

static const struct part parts[] = {
    { 300, 3000, GIVEN },     /* below 16 MiB */
    { 2 * GiB, 2000, GIVEN }, /* below 4 GiB */
    { 5 * GiB, 4000, GIVEN },
};

static struct fixture f;

static void open_dma(void)
{
    open_pool(&f, parts, 1);
    kmalloc_init(f.p);
    dma_init(f.p);
}

static void close_dma(void)
{
    assert_int_equal(*port_held_ranks(), 0);
    close_pool(&f);
}

static void assert_all_sound(void)
{
    assert_sound(dma_check());
    assert_sound(kmalloc_check());
    assert_sound(pmm_check(f.p));
}

static struct block {
    pa_t pa;
    uint8_t *ptr; /* NULL: none */
    size_t nbytes;
    uint8_t byte;
} slots[NSLOTS];

static void give(struct block *s)
{
    for (size_t i = 0; i < s->nbytes; i++) {
        if (s->ptr[i] != s->byte) {
            fail_msg("a block was written to by another");
        }
    }
    dma_free(s->pa, s->nbytes);
    s->ptr = NULL;
}

static void take(struct block *s, size_t nbytes, size_t align, uint64_t limit, uint8_t byte)
{
    pa_t pa;

    s->ptr = dma_alloc(nbytes, align, limit, &pa);
    if (s->ptr == NULL) {
        return;
    }
    assert_ptr_equal(s->ptr, port_ptr(pa));
    assert_true(mm_is_aligned(pa.v, align));
    assert_true(pa.v + nbytes <= limit);
    s->pa = pa;
    s->nbytes = nbytes;
    s->byte = byte;
    memset(s->ptr, byte, nbytes);
}

static void churn(struct host_rng *rng, unsigned steps)
{
    static const uint64_t some[] = { DMA_NO_LIMIT, LIMIT_4G,      LIMIT_4G - 1,
                                     LIMIT_16M,    LIMIT_16M / 2, 2 * GiB * PAGE + 300 * PAGE };

    for (unsigned i = 0; i < steps; i++) {
        struct block *s = &slots[host_rng_below(rng, NSLOTS)];

        if (s->ptr != NULL) {
            give(s);
        } else {
            take(s, host_rng_below(rng, UINT64_C(64) << host_rng_below(rng, 9)),
                 (size_t)1 << host_rng_below(rng, 15), some[host_rng_below(rng, MM_COUNTOF(some))],
                 (uint8_t)i);
            assert_non_null(s->ptr);
        }
        if (i % 500 == 0) {
            assert_all_sound();
        }
    }
    for (unsigned i = 0; i < NSLOTS; i++) {
        if (slots[i].ptr != NULL) {
            give(&slots[i]);
        }
    }
    assert_all_sound();
}

static void test_random(void **state)
{
    struct host_rng rng = host_rng_make("memory for devices");
    struct dma_stats s;

    (void)state;
    open_dma();
    churn(&rng, STEPS);
    dma_get_stats(&s);
    assert_int_equal(s.nlarge, 0);
    assert_int_equal(s.frames, 0);
    for (unsigned c = 0; c < DMA_CLASSES; c++) {
        assert_int_equal(s.small[c].blocks.nused, 0);
        assert_int_equal(s.small[c].blocks.narenas, 1); /* that is kept */
        assert_true(s.small[c].blocks.arena_bytes < 16 * PAGE + 1);
    }
    /* Beside those, kmalloc keeps a run, and the pool records of its own. */
    assert_true(pmm_free_frames(f.p) > ALL_FRAMES - 3 * 16 - 64 - 3 * 8 - 1);
    close_dma();
}

/* Small blocks share frames, and each class has its own. */
static void test_small(void **state)
{
    static const uint64_t limits[DMA_CLASSES] = { DMA_NO_LIMIT, LIMIT_4G, LIMIT_16M };
    struct dma_stats s;

    (void)state;
    open_dma();
    for (unsigned c = 0; c < DMA_CLASSES; c++) {
        for (unsigned i = 0; i < 100; i++) {
            take(&slots[100 * c + i], 1 + i, 1, limits[c], (uint8_t)i);
            assert_non_null(slots[100 * c + i].ptr);
            assert_true(mm_is_aligned(slots[100 * c + i].pa.v, 64));
        }
    }
    dma_get_stats(&s);
    for (unsigned c = 0; c < DMA_CLASSES; c++) {
        assert_int_equal(s.small[c].limit, limits[c]);
        assert_int_equal(s.small[c].blocks.nused, 100);
        assert_int_equal(s.small[c].blocks.used_bytes, 64 * 64 + 36 * 128);
        assert_int_equal(s.small[c].blocks.arena_bytes, 16 * PAGE);
    }
    assert_true(slots[0].pa.v >= LIMIT_4G); /* no lower than need be */
    for (unsigned i = 0; i < 300; i++) {
        give(&slots[i]);
    }
    close_dma();
}

/* Large blocks are frames, as many as it takes. */
static void test_large(void **state)
{
    struct block *s = &slots[0];
    struct dma_stats stats;
    uint64_t before;

    (void)state;
    open_dma();
    take(s, 5 * PAGE + 1, 64, DMA_NO_LIMIT, 1); /* the pool has made its records now */
    give(s);
    before = pmm_free_frames(f.p);
    take(s, 5 * PAGE + 1, 64, DMA_NO_LIMIT, 1);
    assert_int_equal(pmm_free_frames(f.p), before - 6);
    dma_get_stats(&stats);
    assert_int_equal(stats.nlarge, 1);
    assert_int_equal(stats.frames, 6);
    give(s);
    take(s, 3000, 1 << 20, LIMIT_16M, 2);
    assert_int_equal(pmm_free_frames(f.p), before - 1);
    give(s);
    take(s, 0, PAGE, DMA_NO_LIMIT, 3);
    assert_int_equal(pmm_free_frames(f.p), before - 1);
    give(s);
    take(s, 3000 * PAGE, 1, LIMIT_16M, 4);
    assert_non_null(s->ptr);
    assert_int_equal(s->pa.v, 300 * PAGE);
    give(s);
    assert_int_equal(pmm_free_frames(f.p), before);
    assert_all_sound();
    close_dma();
}

static void test_refusals(void **state)
{
    pa_t pa = pa_make(42);

    (void)state;
    open_dma();
    assert_null(dma_alloc(64, 0, DMA_NO_LIMIT, &pa));
    assert_null(dma_alloc(64, 24, DMA_NO_LIMIT, &pa));
    assert_null(dma_alloc(64, 64, 300 * PAGE, &pa)); /* the lowest frame lies there */
    assert_null(dma_alloc(64, 64, 0, &pa));
    assert_null(dma_alloc(SIZE_MAX, 1, DMA_NO_LIMIT, &pa));
    assert_null(dma_alloc(1, (size_t)1 << 63, DMA_NO_LIMIT, &pa));
    assert_null(dma_alloc(3001 * PAGE, 1, LIMIT_16M, &pa));
    assert_null(dma_alloc(4001 * PAGE, 1, DMA_NO_LIMIT, &pa));
    assert_int_equal(pa.v, 42);
    assert_all_sound();
    close_dma();
}

/* Until nothing is left below the limit; small blocks are had as long as there is a frame. */
static void fill(uint64_t limit, size_t nbytes)
{
    struct pmm_want want = { .count = 1, .limit = limit };
    uint64_t last = 0, n = 0;
    pfn_t pfn;
    pa_t pa;

    open_dma();
    for (void *ptr; (ptr = dma_alloc(nbytes, 1, limit, &pa)) != NULL; n++) {
        assert_true(pa.v + nbytes <= limit);
        *(uint64_t *)ptr = last; /* a list through all of them */
        last = pa.v;
    }
    assert_int_equal(pmm_get_range(f.p, &want, &pfn), MM_ELIMIT);
    assert_true(n * nbytes > 2900 * PAGE);
    assert_all_sound();
    while (last != 0) {
        uint64_t next = *(uint64_t *)port_ptr(pa_make(last));

        dma_free(pa_make(last), nbytes);
        last = next;
    }
    assert_all_sound();
    close_dma();
}

static void test_exhaustion(void **state)
{
    (void)state;
    fill(LIMIT_16M, 2048);
    fill(LIMIT_16M, 64);
    fill(LIMIT_16M, PAGE);
    fill(LIMIT_4G, 512);
}

/* What the buddies keep is given back before anything is refused. */
static void test_kept_is_no_reason(void **state)
{
    struct block *s = &slots[0];

    (void)state;
    open_dma();
    take(s, 64, 1, LIMIT_16M, 1);
    give(s);
    take(s, 3000 * PAGE, 1, LIMIT_16M, 1);
    assert_non_null(s->ptr);
    give(s);
    assert_all_sound();
    close_dma();
}

/* All of memory in small blocks: the last come from classes that are stricter than need be, and
 * from frames for which there is no memory for metadata. */
static void test_everything(void **state)
{
    pa_t pa;
    uint64_t n = 0;

    (void)state;
    open_dma();
    while (dma_alloc(2048, 1, DMA_NO_LIMIT, &pa) != NULL) {
        n++;
    }
    assert_int_equal(pmm_free_frames(f.p), 0);
    assert_true(n > 2 * 8000);
    assert_null(kmalloc(64 * PAGE));
    assert_all_sound();
    close_dma();
}

/* Who panics holds the lock: after each of these all begins anew. */
static pa_t fresh(size_t nbytes)
{
    pa_t pa;

    close_dma();
    open_dma();
    assert_non_null(dma_alloc(nbytes, 1, LIMIT_4G, &pa));
    return pa;
}

static void test_deaths(void **state)
{
    pa_t pa, other;

    (void)state;
    open_dma();
    pa = fresh(200);
    assert_panics(dma_free(pa_make(pa.v + 64), 200), "lies inside a block");
    pa = fresh(200);
    assert_panics(dma_free(pa_make(pa.v + 1), 200), "lies inside a block");
    pa = fresh(200);
    assert_panics(dma_free(pa_make(pa.v + 256), 200), "is free already");
    pa = fresh(200);
    assert_panics(dma_free(pa, 257), "it has no 257 bytes");
    pa = fresh(200);
    dma_free(pa, 200);
    assert_panics(dma_free(pa, 200), "is free already");
    (void)fresh(200);
    assert_panics(dma_free(pa_make(0xabc123440), 64), "lies in none of its arenas");
    (void)fresh(200);
    assert_panics(dma_free(pa_make(0x300000), 64), "none of its blocks is as large");
    pa = fresh(20000);
    assert_non_null(dma_alloc(20000, 1, LIMIT_4G, &other));
    dma_free(pa, 20000);
    assert_panics(dma_free(pa, 20000), "is free already");
    (void)fresh(200);
    close_dma();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_small),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_exhaustion),
        cmocka_unit_test(test_everything),
        cmocka_unit_test(test_kept_is_no_reason),
        cmocka_unit_test(test_deaths),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
