/*
 * test_kmalloc_trace.c - what kmalloc_set_trace() lets one hear of: each block, once, with the size
 * it was asked for.
 */
#include "heap_fixture.h"

#define MAX_LIVE 256u
#define STEPS    20000u

/* What was heard: who is there, and the last event. */
static struct {
    const void *ptr;
    size_t nbytes;
} live[MAX_LIVE];
static unsigned nlive, nevents;
static struct {
    const void *was, *now;
    size_t nbytes, align;
} last;

static unsigned find(const void *ptr)
{
    unsigned i = 0;

    while (i < nlive && live[i].ptr != ptr) {
        i++;
    }
    return i;
}

static void hear(const void *was, const void *now, size_t nbytes, size_t align)
{
    nevents++;
    last.was = was;
    last.now = now;
    last.nbytes = nbytes;
    last.align = align;
    if (was != NULL) {
        unsigned i = find(was);

        assert_in_range(i, 0, nlive - 1);
        live[i] = live[--nlive];
    }
    if (now != NULL) {
        assert_int_equal(find(now), nlive);
        assert_in_range(nlive, 0, MAX_LIVE - 1);
        live[nlive].ptr = now;
        live[nlive++].nbytes = nbytes;
    }
}

static void start(uint64_t nframes)
{
    pool_make(nframes);
    nlive = nevents = 0;
    kmalloc_set_trace(hear);
}

static void assert_heard(unsigned n, const void *was, const void *now, size_t nbytes, size_t align)
{
    assert_int_equal(nevents, n);
    assert_ptr_equal(last.was, was);
    assert_ptr_equal(last.now, now);
    assert_int_equal(last.nbytes, nbytes);
    assert_int_equal(last.align, align);
}

static void test_each_call(void **state)
{
    void *a, *b, *c, *d, *was;

    (void)state;
    start(1024);
    a = kmalloc(100);
    assert_heard(1, NULL, a, 100, 0);
    b = kmalloc_aligned(5000, 8192);
    assert_heard(2, NULL, b, 5000, 8192);
    c = kzalloc(10, 4);
    assert_heard(3, NULL, c, 40, 0);
    d = krealloc(NULL, 600000);
    assert_heard(4, NULL, d, 600000, 0);
    assert_ptr_equal(krealloc(a, 99), a);
    assert_heard(5, a, a, 99, 0);
    was = a;
    a = krealloc(a, 3000); /* from a slab into the heap */
    assert_heard(6, was, a, 3000, 0);
    was = a;
    a = krealloc(a, 20000);
    assert_heard(7, was, a, 20000, 0);
    assert_ptr_equal(krealloc(d, 500000), d);
    assert_heard(8, d, d, 500000, 0);
    kfree(NULL);
    assert_int_equal(nevents, 8);
    kfree(b);
    assert_heard(9, b, NULL, 0, 0);
    kmalloc_set_trace(NULL);
    kfree(a);
    kfree(c);
    kfree(d);
    assert_int_equal(nevents, 9);
}

/* What failed is not heard of. */
static void test_refused(void **state)
{
    void *p;

    (void)state;
    start(256);
    p = kmalloc(64);
    assert_null(kmalloc(2 << 20));
    assert_null(kmalloc_aligned(2 << 20, 4096));
    assert_null(kmalloc_aligned(64, 3));
    assert_null(kzalloc(SIZE_MAX, 2));
    assert_null(krealloc(p, 2 << 20));
    assert_int_equal(nevents, 1);
    kfree(p);
    assert_int_equal(nevents, 2);
    kmalloc_set_trace(NULL);
}

/* After any calls, who is there by what was heard is who is there. */
static void test_random(void **state)
{
    static void *mine[MAX_LIVE];
    static size_t asked[MAX_LIVE];
    struct host_rng rng = { 0x7ace };
    unsigned n = 0;

    (void)state;
    start(4096);
    memset(mine, 0, sizeof(mine));
    for (unsigned step = 0; step < STEPS; step++) {
        unsigned i = (unsigned)(host_rng_next(&rng) % MAX_LIVE);
        size_t nbytes = 1 + host_rng_next(&rng) % ((size_t)16 << host_rng_next(&rng) % 15);
        void *p;

        if (mine[i] == NULL || host_rng_next(&rng) % 3 == 0) {
            p = krealloc(mine[i], nbytes);
            n -= mine[i] != NULL && p != NULL;
            n += p != NULL;
            mine[i] = p != NULL ? p : mine[i];
            asked[i] = p != NULL ? nbytes : asked[i];
        } else {
            kfree(mine[i]);
            mine[i] = NULL;
            n--;
        }
        assert_int_equal(nlive, n);
    }
    for (unsigned i = 0; i < MAX_LIVE; i++) {
        if (mine[i] != NULL) {
            unsigned at = find(mine[i]);

            assert_in_range(at, 0, nlive - 1);
            assert_int_equal(live[at].nbytes, asked[i]);
            kfree(mine[i]);
        }
    }
    assert_int_equal(nlive, 0);
    kmalloc_set_trace(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_call),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_random),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);

    pool_drop();
    return failed;
}
