/*
 * test_kmalloc.c - mm/heap/kmalloc.c on the real frame pool: how it grows, falls back, gives back.
 *
 * By hand: a run of frames loses 16 bytes to its record and 64 to the arena; a block loses 16 to
 * its head. The heap fetches 64 frames at least, and keeps one empty run.
 */
#include "heap_fixture.h"

#include <pthread.h>

#define RUN_OVERHEAD   (16u + 64u)
#define BLOCK_OVERHEAD 16u

static uint64_t frames_used(uint64_t of)
{
    return of - pmm_free_frames(pool);
}

static size_t arenas(void)
{
    struct kmalloc_stats s;

    kmalloc_get_stats(&s);
    return s.narenas;
}

static void assert_all_sound(void)
{
    assert_sound(kmalloc_check());
    assert_sound(pmm_check(pool));
}

static void fetches_keeps_and_reuses_a_run(void **state)
{
    unsigned char *a, *b;

    (void)state;
    pool_make(256);
    assert_int_equal(frames_used(256), 0); /* nothing before it is needed */
    a = kmalloc(100);
    b = kmalloc(100);
    assert_non_null(a);
    assert_ptr_equal(b, a + 128);
    assert_int_equal((uintptr_t)a % 16, 0);
    assert_int_equal(frames_used(256), 64);
    memset(a, 1, 112);
    memset(b, 2, 112);
    kfree(b);
    kfree(a);
    kfree(NULL);
    assert_int_equal(arenas(), 0);
    assert_int_equal(frames_used(256), 64); /* the spare */
    assert_ptr_equal(kmalloc(1), a);
    assert_int_equal(frames_used(256), 64);
    assert_all_sound();
}

static void keeps_one_run_only(void **state)
{
    void *a, *b, *c;

    (void)state;
    pool_make(256);
    a = kmalloc(200 << 10);
    b = kmalloc(200 << 10);
    c = kmalloc(200 << 10);
    assert_int_equal(arenas(), 3);
    assert_int_equal(frames_used(256), 192);
    kfree(a);
    assert_int_equal(frames_used(256), 192);
    kfree(b);
    assert_int_equal(frames_used(256), 128);
    kfree(c);
    assert_int_equal(frames_used(256), 64);
    assert_all_sound();
}

static void claim_what_is_free(uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n; i++) {
        pfn_t pfn = pfn_make((POOL_BASE >> 12) + i);

        if (pmm_is_free(pool, pfn)) {
            assert_int_equal(pmm_claim(pool, pfn, 1), MM_OK);
        }
    }
}

static bool all_free(uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n; i++) {
        if (!pmm_is_free(pool, pfn_make((POOL_BASE >> 12) + i))) {
            return false;
        }
    }
    return true;
}

/* The run that is kept is part of the only place where the request fits. */
static void gives_the_spare_up_for_a_larger_run(void **state)
{
    void *p;

    (void)state;
    pool_make(256);
    kfree(kmalloc(100));
    assert_int_equal(frames_used(256), 64); /* the spare */
    p = kmalloc((256 << 12) - RUN_OVERHEAD - BLOCK_OVERHEAD);
    assert_non_null(p);
    assert_int_equal(frames_used(256), 256);
    assert_all_sound();
    kfree(p);
    kfree(kmalloc(100));
    assert_int_equal(frames_used(256), 64);
    assert_null(kmalloc(256 << 12)); /* and if that does not help either */
    assert_int_equal(frames_used(256), 0);
    assert_all_sound();
}

/* Of two empty runs the longer one is kept, whichever comes first. */
static void keeps_the_longer_run(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        unsigned left = 0;
        void *run[2];

        pool_make(256);
        run[0] = kmalloc(250000); /* 64 frames, and no room for the other */
        /* Leave two runs of 8, so that 64, 32 and 16 are refused. */
        for (uint64_t i = 0; i < 256; i += 16) {
            bool leave = left < 2 && all_free(i, 8);

            left += leave;
            claim_what_is_free(leave ? i + 8 : i, leave ? 8 : 16);
        }
        assert_int_equal(pmm_free_frames(pool), 16);
        run[1] = kmalloc(30000);
        assert_non_null(run[0]);
        assert_non_null(run[1]);
        assert_int_equal(pmm_free_frames(pool), 8);
        kfree(run[order]);
        kfree(run[1 - order]);
        assert_int_equal(pmm_free_frames(pool), 16); /* the 64 are kept */
        assert_all_sound();
    }
}

static void serves_many_mebibytes(void **state)
{
    size_t nbytes = 8u << 20;
    unsigned char *a;

    (void)state;
    pool_make(4096);
    a = kmalloc(nbytes);
    assert_non_null(a);
    assert_int_equal(frames_used(4096), 2049);
    memset(a, 3, nbytes);
    assert_all_sound();
    kfree(a);
    assert_int_equal(frames_used(4096), 0); /* too long to keep */
    assert_null(kmalloc(17u << 20));
    assert_null(kmalloc((size_t)1 << 45));
    assert_null(kmalloc(SIZE_MAX));
    assert_all_sound();
}

/* Room for 64 MiB in pieces of a page needs a few dozen arenas, not 256. */
static void steps_grow_with_the_heap(void **state)
{
    static void *piece[15000];
    size_t n = 0;

    (void)state;
    pool_make(16384);
    while (n < MM_COUNTOF(piece) && (piece[n] = kmalloc(4080)) != NULL) {
        n++;
    }
    assert_int_equal(n, MM_COUNTOF(piece));
    assert_true(arenas() > 20 && arenas() < 50);
    assert_all_sound();
    while (n > 0) {
        kfree(piece[--n]);
    }
    assert_int_equal(frames_used(16384), 64);
    assert_all_sound();
}

static void falls_back_to_what_fragments_allow(void **state)
{
    size_t most = 7 * 4096 - RUN_OVERHEAD - BLOCK_OVERHEAD;
    void *a;

    (void)state;
    pool_make(256);
    for (uint64_t i = 7; i < 256; i += 8) { /* runs of 7 frames */
        assert_int_equal(pmm_claim(pool, pfn_make((POOL_BASE >> 12) + i), 1), MM_OK);
    }
    assert_null(kmalloc(most + 1));
    a = kmalloc(most);
    assert_non_null(a);
    memset(a, 4, most);
    assert_int_equal(frames_used(256), 32 + 7);
    assert_non_null(kmalloc(10)); /* 64, 32, 16, 8 fail, 4 are there */
    assert_int_equal(frames_used(256), 32 + 7 + 4);
    assert_all_sound();
}

static void aligned_zeroed_resized(void **state)
{
    unsigned char *a, *b;

    (void)state;
    pool_make(1024);
    a = kmalloc_aligned(4096, 4096);
    b = kmalloc_aligned(1, 1 << 20);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal((uintptr_t)a % 4096, 0);
    assert_int_equal((uintptr_t)b % (1 << 20), 0);
    assert_null(kmalloc_aligned(1, 3));

    a = kzalloc(100, 10);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(a[i], 0);
        a[i] = (unsigned char)i;
    }
    assert_null(kzalloc((size_t)1 << 60, 16));
    a = krealloc(a, 300000); /* beyond the arena it is in */
    assert_non_null(a);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(a[i], (unsigned char)i);
    }
    a = krealloc(a, 10);
    assert_int_equal(a[9], 9);
    assert_all_sound();
}

/* With k free frames for every k: what can be had is had, the rest is NULL, nothing is lost. */
static void out_of_memory_with_every_pool(void **state)
{
    static const size_t sizes[] = { 100, 4000, 20000, 300000, 5000, 70000 };

    (void)state;
    pool_make(256);
    for (uint64_t k = 0; k <= 200; k++) {
        void *got[MM_COUNTOF(sizes)];
        uint64_t spare = 0;

        pool_make(256);
        assert_int_equal(pmm_claim(pool, pfn_make((POOL_BASE >> 12) + k), 256 - k), MM_OK);
        for (unsigned round = 0; round < 3; round++) {
            for (size_t i = 0; i < MM_COUNTOF(sizes); i++) {
                got[i] = kmalloc(sizes[i]);
                assert_true(got[i] != NULL || k < 200);
                assert_true(got[i] == NULL || k > 0);
                assert_all_sound();
            }
            for (size_t i = 0; i < MM_COUNTOF(sizes); i++) {
                kfree(got[i]);
                assert_all_sound();
            }
            /* All but one run is back, and it is no more after more rounds. */
            assert_int_equal(arenas(), 0);
            assert_true(round == 0 || k - pmm_free_frames(pool) >= spare);
            spare = k - pmm_free_frames(pool);
            assert_true(spare <= 64);
        }
    }
}

static void random_operations_lose_nothing(void **state)
{
    struct host_rng rng = host_rng_make("random_operations_lose_nothing");
    struct {
        unsigned char *ptr;
        size_t nbytes;
        unsigned char fill;
    } live[64] = { { .ptr = NULL } };

    (void)state;
    pool_make(2048);
    for (unsigned op = 0; op < 20000; op++) {
        size_t i = host_rng_below(&rng, MM_COUNTOF(live));
        size_t nbytes = (size_t)1 << host_rng_below(&rng, op % 100 == 0 ? 22 : 15);
        size_t kept = live[i].nbytes;
        unsigned char *ptr = live[i].ptr;

        nbytes = host_rng_below(&rng, nbytes);
        if (ptr != NULL && host_rng_below(&rng, 3) == 0) {
            for (size_t b = 0; b < kept; b++) {
                assert_int_equal(ptr[b], live[i].fill);
            }
            kfree(ptr);
            live[i].ptr = NULL;
            live[i].nbytes = 0;
        } else {
            ptr = krealloc(ptr, nbytes);
            if (ptr != NULL) {
                kept = kept < nbytes ? kept : nbytes;
                for (size_t b = 0; b < kept; b++) {
                    assert_int_equal(ptr[b], live[i].fill);
                }
                live[i].ptr = ptr;
                live[i].nbytes = nbytes;
                live[i].fill = (unsigned char)host_rng_next(&rng);
                memset(ptr, live[i].fill, nbytes);
            }
        }
        assert_sound(kmalloc_check());
        if (op % 64 == 0) {
            assert_sound(pmm_check(pool));
        }
    }
    for (size_t i = 0; i < MM_COUNTOF(live); i++) {
        kfree(live[i].ptr);
    }
    assert_int_equal(arenas(), 0);
    assert_true(frames_used(2048) <= 64);
    assert_all_sound();
}

/* A processor at work on blocks of its own; `arg` is its number. */
static void *hammer(void *arg)
{
    unsigned cpu = (unsigned)(uintptr_t)arg;
    struct host_rng rng = { 100 + 50 * cpu };
    unsigned char *ptr[16] = { NULL };

    host_set_cpu(cpu);
    for (unsigned i = 0; i < 20000; i++) {
        size_t k = host_rng_below(&rng, MM_COUNTOF(ptr));
        size_t nbytes = 1 + host_rng_below(&rng, host_rng_below(&rng, 50) == 0 ? 300000 : 300);
        unsigned char fill = (unsigned char)(cpu * MM_COUNTOF(ptr) + k);
        unsigned char *now;

        if (ptr[k] != NULL && ptr[k][0] != fill) {
            return "another thread wrote to a block";
        }
        if (host_rng_below(&rng, 3) == 0) {
            kfree(ptr[k]);
            ptr[k] = NULL;
        } else if ((now = krealloc(ptr[k], nbytes)) != NULL) {
            memset(now, fill, nbytes);
            ptr[k] = now;
        }
    }
    for (size_t k = 0; k < MM_COUNTOF(ptr); k++) {
        kfree(ptr[k]);
    }
    return NULL;
}

static void processors_share_the_heap(void **state)
{
    pthread_t thread[2];

    (void)state;
    pool_make(1024);
    for (uintptr_t i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, hammer, (void *)i), 0);
    }
    for (size_t i = 0; i < 2; i++) {
        void *complaint;

        pthread_join(thread[i], &complaint);
        assert_null(complaint);
    }
    assert_all_sound();
    assert_int_equal(arenas(), 0);
}

static void stops_on_damage(void **state)
{
    unsigned char *a;

    (void)state;
    pool_make(256);
    a = kmalloc(10);
    kfree(a);
    assert_panics(kfree(a), "outside every arena"); /* its arena went back */
    pool_make(256);
    a = kmalloc(10);
    assert_ptr_equal(kmalloc(10), a + 32);
    kfree(a);
    assert_panics(kfree(a), "it was freed already");
    pool_make(256);
    a = kmalloc(10);
    assert_int_equal((uintptr_t)a % 4096, RUN_OVERHEAD);
    a[8 - (int)RUN_OVERHEAD] ^= 1; /* the run's length */
    assert_panics(kfree(a), "kmalloc.c:");
    pool_make(256);
    a = kmalloc(10);
    a[-(int)RUN_OVERHEAD] ^= 1; /* its frame */
    assert_panics(kfree(a), "kmalloc.c:");
}

static int teardown(void **state)
{
    (void)state;
    pool_drop();
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fetches_keeps_and_reuses_a_run),
        cmocka_unit_test(keeps_one_run_only),
        cmocka_unit_test(gives_the_spare_up_for_a_larger_run),
        cmocka_unit_test(keeps_the_longer_run),
        cmocka_unit_test(serves_many_mebibytes),
        cmocka_unit_test(steps_grow_with_the_heap),
        cmocka_unit_test(falls_back_to_what_fragments_allow),
        cmocka_unit_test(aligned_zeroed_resized),
        cmocka_unit_test(out_of_memory_with_every_pool),
        cmocka_unit_test(random_operations_lose_nothing),
        cmocka_unit_test(processors_share_the_heap),
        cmocka_unit_test(stops_on_damage),
    };

    return cmocka_run_group_tests_name("kmalloc", tests, NULL, teardown);
}
