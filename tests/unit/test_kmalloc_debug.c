/*
 * test_kmalloc_debug.c - kmalloc of the debug build: who has what, and what stops those who write
 * where they should not.
 *
 * Built without PMM_DEBUG, this only tries that nothing of it is there.
 */
#include "heap_fixture.h"

#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>

#include "mm/kmalloc_debug.h"

static int teardown(void **state)
{
    (void)state;
    host_after_panic();
    pool_drop();
    return 0;
}

#ifndef PMM_DEBUG

static void test_nothing(void **state)
{
    struct kmalloc_stats s;
    void *p;

    (void)state;
    pool_make(1024);
    p = kmalloc(1024);
    assert_non_null(p);
    assert_int_equal(kmalloc_size(p), 1024);
    kfree(p);
    assert_ptr_equal(kmalloc(1024), p);
    kfree(p);
    kmalloc_get_stats(&s);
    assert_int_equal(s.nobjects + s.nused + s.nblocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test_teardown(test_nothing, teardown) };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#else

static const size_t sizes[] = { 0, 1, 15, 16, 100, 1000, 1024, 5000, 65536, 300000 };

__attribute__((noinline)) static char *take(size_t nbytes)
{
    char *p = kmalloc(nbytes);

    assert_non_null(p);
    return p;
}

/* Hides from the compiler that a pointer was freed. */
__attribute__((noinline)) static char *keep(char *p)
{
    __asm__ volatile("" : "+r"(p));
    return p;
}

static bool is_in(uint64_t site, const void *function)
{
    return site - (uintptr_t)function < 512;
}

/* ---- who has what ------------------------------------------------------------------------------ */

static void test_who(void **state)
{
    struct kmalloc_block b;

    (void)state;
    pool_make(2048);
    for (unsigned i = 0; i < MM_COUNTOF(sizes); i++) {
        char *p = take(sizes[i]);
        size_t last = sizes[i] == 0 ? 0 : sizes[i] - 1;

        assert_int_equal(kmalloc_size(p), sizes[i]);
        assert_true(kmalloc_who((uintptr_t)p + last, &b));
        assert_ptr_equal(b.ptr, p);
        assert_int_equal(b.asked, sizes[i]);
        assert_true(is_in(b.site, (const void *)(uintptr_t)take));
        assert_int_equal(b.freed_by, 0);
        assert_false(b.guarded);
        kfree(p);
        assert_true(kmalloc_who((uintptr_t)keep(p), &b));
        assert_true(is_in(b.freed_by, (const void *)(uintptr_t)test_who));
    }
    assert_false(kmalloc_who(0, &b));
    assert_false(kmalloc_who(UINT64_MAX, &b));
    assert_false(kmalloc_who((uintptr_t)&b, &b));
}

static void count(void *ctx, const struct kmalloc_block *b)
{
    uint64_t *since = ctx;

    if (b->serial > since[0]) {
        since[1]++;
        since[2] += b->asked;
    }
}

static void test_live(void **state)
{
    uint64_t since[3] = { 0 };
    void *p[MM_COUNTOF(sizes)];
    size_t sum = 0;

    (void)state;
    pool_make(2048);
    kfree(take(5));
    take(77);
    since[0] = kmalloc_serial();
    for (unsigned i = 0; i < MM_COUNTOF(sizes); i++) {
        p[i] = take(sizes[i]);
        sum += sizes[i];
    }
    kmalloc_for_each_live(count, since);
    assert_int_equal(since[1], MM_COUNTOF(sizes));
    assert_int_equal(since[2], sum);
    for (unsigned i = 0; i < MM_COUNTOF(sizes); i++) {
        kfree(p[i]);
    }
    since[1] = 0;
    kmalloc_for_each_live(count, since);
    assert_int_equal(since[1], 0);
    since[0] = 0;
    kmalloc_for_each_live(count, since);
    assert_int_equal(since[1], 1);
}

/* What kmalloc.h promises still holds. */
static void test_promises(void **state)
{
    char *p;

    (void)state;
    pool_make(2048);
    for (size_t nbytes = 16; nbytes <= 1024; nbytes *= 2) {
        p = take(nbytes);
        assert_int_equal((uintptr_t)p % nbytes, 0);
        kfree(p);
    }
    p = take(300000);
    assert_int_equal((uintptr_t)p % 4096, 0);
    kfree(p);
    for (size_t align = 1; align <= 65536; align *= 2) {
        p = kmalloc_aligned(100, align);
        assert_non_null(p);
        assert_int_equal((uintptr_t)p % align, 0);
        kfree(p);
    }
    assert_null(kmalloc_aligned(100, 3));
    assert_null(kmalloc(SIZE_MAX));
    assert_null(kmalloc(SIZE_MAX - 40));
    assert_null(kzalloc(SIZE_MAX / 2, 3));
    p = kzalloc(10, 100);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(p[i], 0);
        p[i] = (char)i;
    }
    p = krealloc(p, 5000);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal((unsigned char)p[i], i % 256);
    }
    p = krealloc(p, 10);
    assert_int_equal(kmalloc_size(p), 10);
    assert_int_equal((unsigned char)p[9], 9);
    kfree(p);
    kfree(NULL);
    assert_sound(kmalloc_check());
    kmalloc_reclaim();
    assert_sound(kmalloc_check());
}

/* ---- what stops -------------------------------------------------------------------------------- */

static void assert_overflow_stops(size_t nbytes)
{
    struct kmalloc_block b;
    char *p;

    pool_make(2048);
    p = take(nbytes);
    assert_sound(kmalloc_check());
    keep(p)[nbytes] ^= 1;
    assert_non_null(strstr(kmalloc_check(), "D1: a block was written"));
    assert_true(kmalloc_broken(&b));
    assert_ptr_equal(b.ptr, p);
    assert_panics(kfree(p), "behind its end");
    host_after_panic();
}

static void test_overflow(void **state)
{
    char *p;

    (void)state;
    for (unsigned i = 0; i < MM_COUNTOF(sizes); i++) {
        assert_overflow_stops(sizes[i]);
    }
    pool_make(1024);
    p = take(99);
    keep(p)[101] = 7;
    assert_panics(kfree(p), "the block of 99 bytes at 0x");
    host_after_panic();
    pool_make(1024);
    p = take(99);
    keep(p)[101] = 7;
    assert_panics(assert_null(krealloc(p, 1000)), "was written 2 bytes behind its end");
    host_after_panic();
    pool_make(1024);
    p = take(99);
    memset(keep(p), 7, 160);
    assert_non_null(strstr(kmalloc_check(), "its record is gone"));
    assert_panics(kfree(p), "was written far behind its end");
}

static void assert_second_free_stops(size_t nbytes)
{
    char *p;

    pool_make(2048);
    p = take(nbytes);
    kfree(p);
    assert_panics(kfree(keep(p)), "was freed already, from 0x");
    host_after_panic();
    assert_panics(assert_null(krealloc(keep(p), 10)), "was freed already, from 0x");
    host_after_panic();
}

static void test_second_free(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MM_COUNTOF(sizes); i++) {
        assert_second_free_stops(sizes[i]);
    }
}

static void assert_late_write_stops(size_t nbytes)
{
    struct kmalloc_block b;
    char *p;

    pool_make(2048);
    p = take(nbytes);
    kfree(p);
    assert_int_equal((unsigned char)keep(p)[0], 0xdf);
    assert_sound(kmalloc_check());
    keep(p)[nbytes - 1] = 0;
    assert_string_equal(kmalloc_check(), "D2: a block was written after it was freed");
    assert_true(kmalloc_broken(&b));
    assert_ptr_equal(b.ptr, p);
    assert_panics(kmalloc_reclaim(), "after that");
    host_after_panic();
}

static void test_use_after_free(void **state)
{
    (void)state;
    for (unsigned i = 1; i < MM_COUNTOF(sizes); i++) {
        assert_late_write_stops(sizes[i]);
    }
}

/* Freed memory waits for a while, and no longer. */
static void test_quarantine(void **state)
{
    bool seen = false;
    char *first, *p;

    (void)state;
    pool_make(2048);
    first = take(100);
    kfree(first);
    for (unsigned i = 0; i < KMALLOC_QUARANTINE - 2; i++) {
        p = take(100);
        assert_ptr_not_equal(p, first);
        kfree(p);
    }
    for (unsigned i = 0; i < KMALLOC_QUARANTINE && !seen; i++) {
        p = take(100);
        seen = p == first;
        kfree(p);
    }
    assert_true(seen);
    for (unsigned i = 0; i < 100; i++) { /* too large to wait for long */
        kfree(take(600000));
        kfree(take(2000000));
    }
    assert_sound(kmalloc_check());
    kmalloc_reclaim();
    kmalloc_reclaim(); /* records of what was freed by the first */
    assert_int_equal(pmm_free_frames(pool) > 2048 - 100, 1);
}

/* Memory that waits is given before none is. */
static void test_short_of_memory(void **state)
{
    char *p, *q;

    (void)state;
    pool_make(512);
    for (unsigned i = 0; i < 300; i++) {
        p = take(800000);
        kfree(p);
    }
    p = take(900000);
    q = krealloc(p, 800000);
    assert_non_null(q);
    assert_int_equal(kmalloc_size(q), 800000);
    kfree(q);
}

static void test_random(void **state)
{
    struct host_rng rng = { 0xdeb };
    static char *p[200];

    (void)state;
    pool_make(8192);
    memset(p, 0, sizeof(p));
    for (unsigned step = 0; step < 20000; step++) {
        unsigned i = (unsigned)(host_rng_next(&rng) % MM_COUNTOF(p));
        size_t nbytes = host_rng_next(&rng) % ((size_t)16 << host_rng_next(&rng) % 14);

        if (p[i] == NULL || host_rng_next(&rng) % 4 == 0) {
            p[i] = krealloc(p[i], nbytes);
            assert_non_null(p[i]);
            memset(p[i], 0x11, nbytes);
        } else {
            kfree(p[i]);
            p[i] = NULL;
        }
        if (step % 500 == 0) {
            assert_sound(kmalloc_check());
        }
    }
    for (unsigned i = 0; i < MM_COUNTOF(p); i++) {
        kfree(p[i]);
    }
    assert_sound(kmalloc_check());
    kmalloc_reclaim();
    assert_sound(kmalloc_check());
}

/* ---- guard pages ------------------------------------------------------------------------------- */

static bool may;
static unsigned nranges;

/* A page that can't be touched is in front and behind. */
static void *range_get(size_t nbytes)
{
    char *at = mmap(NULL, nbytes + 8192, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    void *node;

    assert_true(at != MAP_FAILED && nbytes % 4096 == 0);
    assert_int_equal(mprotect(at + 4096, nbytes, PROT_READ | PROT_WRITE), 0);
    nranges++;
    node = kmalloc(100); /* as vmalloc does */
    assert_non_null(node);
    kfree(node);
    return at + 4096;
}

static void range_put(void *base)
{
    nranges--;
    assert_int_equal(mprotect(base, 4096, PROT_NONE), 0);
}

static bool range_may(void)
{
    return may;
}

static void guard(size_t lo, size_t hi)
{
    const struct kmalloc_guard g = { lo, hi, range_get, range_put, range_may };

    kmalloc_set_guard(&g);
}

static sigjmp_buf faulted;
static uint64_t fault_at;

static void on_fault(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)context;
    fault_at = (uintptr_t)info->si_addr;
    siglongjmp(faulted, 1);
}

static bool faults(char *at)
{
    struct sigaction act = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO }, old;
    volatile bool yes = true;

    sigaction(SIGSEGV, &act, &old);
    if (sigsetjmp(faulted, 1) == 0) {
        *(volatile char *)at = 1;
        yes = false;
    }
    sigaction(SIGSEGV, &old, NULL);
    return yes;
}

__attribute__((noinline)) static void assert_guarded(size_t nbytes)
{
    char *p = take(nbytes), *end = p + mm_align_up(nbytes, nbytes == 128 ? 128 : 16);
    struct kmalloc_block b;

    assert_int_equal(nranges, 1);
    assert_int_equal(kmalloc_size(p), nbytes);
    assert_int_equal((uintptr_t)end % 4096, 0);
    p[0] = p[nbytes - 1] = 1;
    assert_sound(kmalloc_check());
    assert_true(faults(end));
    assert_true(kmalloc_who_guarded(fault_at, &b));
    assert_ptr_equal(b.ptr, p);
    assert_int_equal(b.asked, nbytes);
    assert_true(b.guarded && b.freed_by == 0);
    assert_true(is_in(b.site, (const void *)(uintptr_t)take));
    kfree(p);
    assert_int_equal(nranges, 0);
    assert_true(faults(keep(p)));
    assert_true(kmalloc_who_guarded(fault_at, &b));
    assert_ptr_equal(b.ptr, p);
    assert_true(b.freed_by != 0);
    assert_panics(kfree(keep(p)), "was freed already");
    host_after_panic();
}

static void test_guard(void **state)
{
    static const size_t guarded[] = { 80, 96, 128, 112, 81, 99 };

    (void)state;
    pool_make(2048);
    may = true;
    nranges = 0;
    guard(80, 128);
    take(79);
    take(129);
    assert_int_equal(nranges, 0);
    for (unsigned i = 0; i < MM_COUNTOF(guarded); i++) {
        assert_guarded(guarded[i]);
    }
}

static void test_guard_damage(void **state)
{
    char *p;

    (void)state;
    pool_make(2048);
    may = true;
    guard(1, 5000);
    p = take(99);
    keep(p)[100] = 1;
    assert_non_null(strstr(kmalloc_check(), "D1: a guarded block"));
    assert_panics(kfree(p), "was written 1 bytes behind its end");
    host_after_panic();
    p = take(99);
    keep(p)[-1] = 1;
    assert_panics(kfree(p), "was written in front of it");
    host_after_panic();
    p = take(4000);
    p = krealloc(p, 4999);
    assert_int_equal(kmalloc_size(p), 4999);
    kfree(p);
}

/* Where ranges can't be had or given back, blocks are none, and ranges wait. */
static void test_guard_elsewhere(void **state)
{
    static char *p[KMALLOC_GUARDED + 5];
    struct kmalloc_block b;
    char *q;

    (void)state;
    pool_make(2048);
    may = false;
    nranges = 0;
    guard(1, 128);
    q = take(100);
    assert_int_equal(nranges, 0);
    kfree(q);
    may = true;
    q = take(100);
    assert_int_equal(nranges, 1);
    may = false;
    kfree(q);
    assert_int_equal(nranges, 1);
    may = true;
    kfree(take(200));
    assert_int_equal(nranges, 0);
    for (unsigned i = 0; i < MM_COUNTOF(p); i++) {
        p[i] = take(100);
    }
    assert_int_equal(nranges, KMALLOC_GUARDED);
    for (unsigned i = 0; i < MM_COUNTOF(p); i++) {
        assert_true(kmalloc_who((uintptr_t)p[i], &b));
        assert_ptr_equal(b.ptr, p[i]);
        kfree(p[i]);
    }
    assert_int_equal(nranges, 0);
    guard(0, 0);
    kfree(take(100));
    assert_int_equal(nranges, 0);
    assert_sound(kmalloc_check());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_who, teardown),
        cmocka_unit_test_teardown(test_live, teardown),
        cmocka_unit_test_teardown(test_promises, teardown),
        cmocka_unit_test_teardown(test_overflow, teardown),
        cmocka_unit_test_teardown(test_second_free, teardown),
        cmocka_unit_test_teardown(test_use_after_free, teardown),
        cmocka_unit_test_teardown(test_quarantine, teardown),
        cmocka_unit_test_teardown(test_short_of_memory, teardown),
        cmocka_unit_test_teardown(test_random, teardown),
        cmocka_unit_test_teardown(test_guard, teardown),
        cmocka_unit_test_teardown(test_guard_damage, teardown),
        cmocka_unit_test_teardown(test_guard_elsewhere, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
