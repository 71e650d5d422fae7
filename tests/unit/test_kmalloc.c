/*
 * test_kmalloc.c - mm/heap/kmalloc.c on the real frame pool: which layer serves what, how each
 * grows, falls back, gives back, and what stops the machine.
 *
 * By hand: small is up to 1024 bytes, medium below 262144. The heap for medium blocks fetches 64
 * frames at least, of which 1.75 % are its own, and keeps one empty run.
 */
#include "heap_fixture.h"

#include <pthread.h>

#ifdef HOST_TSAN
#define SLOWER(n) ((n) / 5)
#else
#define SLOWER(n) (n)
#endif

static struct kmalloc_stats stats(void)
{
    struct kmalloc_stats s;

    kmalloc_get_stats(&s);
    return s;
}

static uint64_t frames_used(void)
{
    return pool_free - pmm_free_frames(pool);
}

/* Sound, and every frame that left the pool is accounted for. */
static void assert_all_sound(void)
{
    struct kmalloc_stats s = stats();

    assert_sound(kmalloc_check());
    assert_sound(pmm_check(pool));
    assert_int_equal(frames_used() * 4096,
                     s.slab_bytes + s.arena_bytes + s.spare_bytes + s.block_bytes + s.map_bytes);
}

/* Nothing is used; what was kept goes back. The map stays. */
static void assert_all_is_back(void)
{
    struct kmalloc_stats s = stats();

    assert_all_sound();
    assert_int_equal(s.nobjects + s.nused + s.nblocks, 0);
    assert_int_equal(s.narenas, 0);
    kmalloc_reclaim();
    assert_all_sound();
    assert_int_equal(frames_used() * 4096, stats().map_bytes);
    assert_int_equal(kmalloc_reclaim(), 0);
}

static void claim_all_but(uint64_t k)
{
    for (uint64_t i = 0; pmm_free_frames(pool) > k; i++) {
        pfn_t pfn = pfn_make((POOL_BASE >> 12) + i);

        if (pmm_is_free(pool, pfn)) {
            assert_int_equal(pmm_claim(pool, pfn, 1), MM_OK);
        }
    }
}

/* ---- sizes ------------------------------------------------------------------------------------- */

/* A block has at most an eighth more than what was asked for, rounded up to 16. */
static void assert_tight(size_t asked, size_t usable)
{
    size_t rounded = asked == 0 ? 16 : (asked + 15) / 16 * 16;

    assert_true(usable >= asked);
    assert_true((usable - rounded) * 8 <= usable);
}

static void sizes_fit_tightly(void **state)
{
    size_t usable = 0, asked = 0;

    (void)state;
    pool_make(1024);
    for (size_t nbytes = 0; nbytes < 600000; nbytes += nbytes < 70000 ? 1 : 1111) {
        void *p = kmalloc(nbytes);

        assert_non_null(p);
        assert_int_equal((uintptr_t)p % 16, 0);
        assert_tight(nbytes, kmalloc_size(p));
        if (nbytes >= 64) {
            usable += kmalloc_size(p);
            asked += nbytes;
        }
        if (mm_is_pow2(nbytes) && nbytes <= 1024) {
            assert_int_equal((uintptr_t)p % nbytes, 0);
        }
        memset(p, 1, nbytes);
        kfree(p);
    }
    assert_true((usable - asked) * 100 < asked); /* all of them together: below 1 % */
    kfree(NULL);
    assert_all_is_back();
}

/* What slabs are not objects is an eighth at most, in each of the sizes. */
static void slabs_fit_tightly(void **state)
{
    static void *p[2000];

    (void)state;
    pool_make(4096);
    for (size_t nbytes = 16; nbytes <= 1024; nbytes += nbytes < 128 ? 16 : nbytes / 8) {
        size_t n = 0, before = stats().slab_bytes, slabs;

        while (n < MM_COUNTOF(p) && n * nbytes < 1 << 20) {
            p[n] = kmalloc(nbytes);
            assert_non_null(p[n++]);
        }
        slabs = stats().slab_bytes - before;
        /* And a slab that is not full yet, and magazines. */
        assert_true(slabs - n * nbytes <= slabs / 8 + 128 * nbytes + 16384);
        while (n > 0) {
            kfree(p[--n]);
        }
        kmalloc_reclaim();
    }
    assert_all_is_back();
}

static void every_layer_serves_its_sizes(void **state)
{
    void *small, *medium, *large;
    struct kmalloc_stats s;

    (void)state;
    pool_make(256);
    small = kmalloc(1024);
    s = stats();
    assert_int_equal(s.nobjects, 1);
    assert_int_equal(s.slab_used_bytes, 1024);
    assert_int_equal(s.arena_bytes + s.block_bytes, 0);
    medium = kmalloc(1025);
    s = stats();
    assert_int_equal(s.nused, 1);
    assert_int_equal(s.arena_bytes, 64 * 4096);
    large = kmalloc(262144);
    s = stats();
    assert_int_equal(s.nblocks, 1);
    assert_int_equal(s.block_bytes, 262144);
    assert_int_equal((uintptr_t)large % 4096, 0);
    assert_int_equal(kmalloc_size(small), 1024);
    assert_int_equal(kmalloc_size(medium), 1040);
    assert_int_equal(kmalloc_size(large), 262144);
    assert_all_sound();
    kfree(small);
    kfree(medium);
    kfree(large);
    assert_all_is_back();
}

static void aligned_blocks(void **state)
{
    (void)state;
    pool_make(4096);
    for (size_t align = 1; align <= 1 << 20; align *= 2) {
        static const size_t sizes[] = { 0, 1, 100, 1000, 1500, 2048, 2049, 5000, 100000, 300000 };

        for (size_t i = 0; i < MM_COUNTOF(sizes); i++) {
            void *a = kmalloc_aligned(sizes[i], align);
            void *b = kmalloc_aligned(sizes[i], align);

            assert_non_null(a);
            assert_non_null(b);
            assert_int_equal((uintptr_t)a % align, 0);
            assert_int_equal((uintptr_t)b % align, 0);
            memset(a, 1, sizes[i]);
            memset(b, 2, sizes[i]);
            kfree(a);
            kfree(b);
        }
    }
    assert_null(kmalloc_aligned(1, 3));
    assert_null(kmalloc_aligned(1, 0));
    assert_null(kmalloc_aligned(1, (size_t)1 << 40));
    assert_all_is_back();
}

static void zeroed(void **state)
{
    static const size_t sizes[] = { 10, 1000, 20000, 300000 };

    (void)state;
    pool_make(256);
    for (size_t i = 0; i < MM_COUNTOF(sizes); i++) {
        unsigned char *a = kmalloc(sizes[i]);

        memset(a, 0xff, sizes[i]);
        kfree(a);
        a = kzalloc(sizes[i] / 10, 10);
        for (size_t b = 0; b < sizes[i]; b++) {
            assert_int_equal(a[b], 0);
        }
        kfree(a);
    }
    assert_null(kzalloc((size_t)1 << 60, 16));
    assert_null(kzalloc(SIZE_MAX, 2));
    assert_all_is_back();
}

static void resized(void **state)
{
    /* From each layer to each, and within. */
    static const size_t sizes[] = { 0,      1,      100,    110,    2048,   3000,
                                    2900,   40000,  100000, 270000, 269000, 262144,
                                    400000, 266000, 30000,  500,    300000, 16 };
    unsigned char *a = NULL;
    size_t old = 0;
    void *b;

    (void)state;
    pool_make(1024);
    for (size_t i = 0; i < MM_COUNTOF(sizes) * MM_COUNTOF(sizes); i++) {
        size_t nbytes = sizes[i % 2 == 0 ? i / MM_COUNTOF(sizes) : i % MM_COUNTOF(sizes)];

        a = krealloc(a, nbytes);
        assert_non_null(a);
        assert_true(kmalloc_size(a) >= nbytes);
        for (size_t k = 0; k < old && k < nbytes; k++) {
            assert_int_equal(a[k], (unsigned char)(k * 7));
        }
        for (size_t k = 0; k < nbytes; k++) {
            a[k] = (unsigned char)(k * 7);
        }
        old = nbytes;
        assert_all_sound();
    }
    kfree(a);
    /* In place: the same size, the heap with room behind it, whole frames that shrink. */
    a = kmalloc(130);
    assert_ptr_equal(krealloc(a, 144), a);
    assert_ptr_equal(krealloc(a, 129), a);
    b = krealloc(a, 128);
    assert_ptr_not_equal(a, b);
    kfree(b);
    a = kmalloc(3000);
    assert_ptr_equal(krealloc(a, 60000), a);
    assert_ptr_equal(krealloc(a, 2500), a);
    kfree(a);
    a = kmalloc(400000);
    assert_ptr_equal(krealloc(a, 270000), a);
    assert_int_equal(stats().block_bytes, 66 * 4096);
    kfree(a);
    assert_all_is_back();
}

/* ---- runs of frames, for the heap -------------------------------------------------------------- */

static void fetches_keeps_and_reuses_a_run(void **state)
{
    unsigned char *a, *b;
    uint64_t before;

    (void)state;
    pool_make(256);
    assert_int_equal(frames_used() * 4096, stats().map_bytes);
    a = kmalloc(3000);
    b = kmalloc(3000);
    assert_non_null(a);
    assert_ptr_equal(b, a + 3008);
    assert_int_equal(stats().arena_bytes, 64 * 4096);
    before = frames_used();
    memset(a, 1, 3008);
    memset(b, 2, 3008);
    kfree(b);
    kfree(a);
    assert_int_equal(stats().narenas, 0);
    assert_int_equal(stats().spare_bytes, 64 * 4096);
    assert_int_equal(frames_used(), before);
    assert_ptr_equal(kmalloc(2500), a);
    assert_int_equal(frames_used(), before);
    assert_int_equal(stats().spare_bytes, 0);
    kfree(a);
    assert_all_is_back();
}

/* Four to a run of 64 frames. */
static void get_fours(void **p, unsigned n)
{
    for (unsigned i = 0; i < 4 * n; i++) {
        p[i] = kmalloc(60000);
        assert_non_null(p[i]);
    }
}

static void free_four(void **p)
{
    for (unsigned i = 0; i < 4; i++) {
        kfree(p[i]);
    }
}

static void keeps_one_run_only(void **state)
{
    void *p[12];

    (void)state;
    pool_make(256);
    get_fours(p, 3);
    assert_int_equal(stats().narenas, 3);
    assert_int_equal(stats().arena_bytes, 192 * 4096);
    for (unsigned i = 0; i < 3; i++) {
        free_four(p + 4 * i);
        assert_int_equal(stats().arena_bytes, (2 - i) * 64 * 4096);
        assert_int_equal(stats().spare_bytes, 64 * 4096);
        assert_all_sound();
    }
    assert_all_is_back();
}

/* The run that is kept is the only place where the request fits. */
static void gives_the_spare_up(void **state)
{
    void *p;

    (void)state;
    pool_make(256);
    kfree(kmalloc(3000));
    assert_int_equal(stats().spare_bytes, 64 * 4096);
    claim_all_but(0);
    p = kmalloc(64 * 4096);
    assert_non_null(p);
    assert_int_equal(stats().spare_bytes, 0);
    kfree(p);
    kfree(kmalloc(3000));
    assert_int_equal(stats().spare_bytes, 64 * 4096);
    assert_null(kmalloc(65 * 4096)); /* and if that does not help either */
    assert_int_equal(stats().spare_bytes, 0);
    p = kmalloc(10); /* from slabs */
    assert_non_null(p);
    kfree(p);
    kfree(kmalloc(3000));
    p = kmalloc(262144);
    assert_non_null(p);
    assert_sound(kmalloc_check());
    kfree(p);
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

static void claim_what_is_free(uint64_t first, uint64_t n)
{
    for (uint64_t i = first; i < first + n; i++) {
        pfn_t pfn = pfn_make((POOL_BASE >> 12) + i);

        if (pmm_is_free(pool, pfn)) {
            assert_int_equal(pmm_claim(pool, pfn, 1), MM_OK);
        }
    }
}

/* Of two empty runs the longer one is kept, whichever comes first. */
static void keeps_the_longer_run(void **state)
{
    (void)state;
    for (unsigned order = 0; order < 2; order++) {
        unsigned left = 0;
        void *four[4], *one;

        pool_make(256);
        get_fours(four, 1); /* 64 frames, and no room for the other */
        /* Leave two runs of 8, so that 64, 32 and 16 are refused. */
        for (uint64_t i = 0; i < 256; i += 16) {
            bool leave = left < 2 && all_free(i, 8);

            left += leave;
            claim_what_is_free(leave ? i + 8 : i, leave ? 8 : 16);
        }
        assert_int_equal(pmm_free_frames(pool), 16);
        one = kmalloc(30000);
        assert_non_null(one);
        assert_int_equal(pmm_free_frames(pool), 8);
        if (order == 0) {
            free_four(four);
            kfree(one);
        } else {
            kfree(one);
            free_four(four);
        }
        assert_int_equal(pmm_free_frames(pool), 16); /* the 64 are kept */
        assert_int_equal(stats().spare_bytes, 64 * 4096);
        assert_sound(kmalloc_check());
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
    assert_int_equal(stats().block_bytes, nbytes); /* nothing in front of it */
    memset(a, 3, nbytes);
    assert_all_sound();
    kfree(a);
    assert_null(kmalloc(17u << 20));
    assert_null(kmalloc((size_t)1 << 45));
    assert_null(kmalloc(SIZE_MAX));
    assert_null(kmalloc(SIZE_MAX - 4095));
    assert_null(krealloc(NULL, SIZE_MAX));
    assert_all_is_back();
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
    assert_true(stats().narenas > 20 && stats().narenas < 50);
    assert_all_sound();
    while (n > 0) {
        kfree(piece[--n]);
    }
    assert_int_equal(stats().spare_bytes, 64 * 4096);
    assert_all_is_back();
}

/* Memory in runs of `run` frames, a used one between them. */
static void pool_of_runs(uint64_t run)
{
    pool_make(512);
    kfree(kmalloc(10)); /* the map */
    kmalloc_reclaim();
    for (uint64_t i = 0; i < 512; i += run + 1) {
        claim_what_is_free(i, 1);
    }
}

static void falls_back_to_what_fragments_allow(void **state)
{
    void *p;

    (void)state;
    pool_of_runs(7);
    assert_null(kmalloc(7 * 4096 + 1));
    p = kmalloc(7 * 4096); /* a run with the heap's own records in it has no room for it */
    assert_non_null(p);
    assert_int_equal(stats().block_bytes, 7 * 4096);
    kfree(p);
    p = kmalloc(10000); /* 64, 32, 16, 8 fail, 4 are there */
    assert_non_null(p);
    assert_int_equal(stats().arena_bytes, 4 * 4096);
    kfree(p);
    assert_null(kmalloc(65536));

    pool_of_runs(1);
    assert_null(kmalloc(4097));
    p = kmalloc(4096);
    assert_non_null(p);
    kfree(p);
    p = kmalloc(1024); /* whose slabs have two frames */
    assert_non_null(p);
    assert_int_equal(stats().nobjects, 0);
    assert_true(kmalloc_size(p) >= 1024);
    kfree(p);
    p = kmalloc(100);
    assert_int_equal(stats().nobjects, 1);
    kfree(p);
    assert_sound(kmalloc_check());
}

/* ---- memory is short --------------------------------------------------------------------------- */

/*
 * With k free frames for every k: what can be had is had, the rest is NULL, nothing is lost. Each
 * chain by itself, so that each of its allocations is the one that fails, and all of them mixed.
 */
static void out_of_memory_with_every_pool(void **state)
{
    static const size_t chains[][6] = {
        { 100, 24, 1000, 600, 100, 2048 },
        { 4000, 20000, 2500, 60000, 3000, 10000 },
        { 262144, 270000, 10, 20, 30, 40 },
        { 100, 4000, 20000, 300000, 5000, 70000 },
    };

    (void)state;
    for (size_t chain = 0; chain < MM_COUNTOF(chains); chain++) {
        for (uint64_t k = 0; k <= 250; k += k < 100 ? 1 : 10) {
            pool_make(256 + 16);
            claim_all_but(k);
            pool_free = k + stats().map_bytes / 4096;
            for (unsigned round = 0; round < 3; round++) {
                void *got[6];

                for (size_t i = 0; i < MM_COUNTOF(got); i++) {
                    got[i] = kmalloc(chains[chain][i]);
                    assert_true(got[i] != NULL || k < 200);
                    assert_true(got[i] == NULL || k > 0);
                    if (got[i] != NULL) {
                        memset(got[i], 5, chains[chain][i]);
                    }
                    assert_all_sound();
                }
                for (size_t i = 0; i < MM_COUNTOF(got); i++) {
                    void *now = krealloc(got[i], chains[chain][i] * 2);

                    got[i] = now != NULL ? now : got[i];
                    assert_all_sound();
                }
                for (size_t i = 0; i < MM_COUNTOF(got); i++) {
                    kfree(got[i]);
                    assert_all_sound();
                }
                assert_all_is_back();
            }
        }
    }
}

/* What small blocks keep for later is there for large ones. */
static void layers_help_each_other(void **state)
{
    static void *p[4000];
    size_t n = 0;
    void *large;

    (void)state;
    pool_make(512);
    while (n < MM_COUNTOF(p) && (p[n] = kmalloc(1000)) != NULL) {
        n++;
    }
    assert_true(n > 1700); /* of 2 MiB */
    while (n > 0) {
        kfree(p[--n]);
    }
    large = kmalloc(1 << 20);
    assert_non_null(large);
    kfree(large);
    while (n < MM_COUNTOF(p) && (p[n] = kmalloc(10000)) != NULL) {
        n++;
    }
    assert_true(n > 150);
    while (n > 0) {
        kfree(p[--n]);
    }
    while (n < MM_COUNTOF(p) && (p[n] = kmalloc(500)) != NULL) {
        n++;
    }
    assert_true(n > 3000);
    while (n > 0) {
        kfree(p[--n]);
    }
    assert_all_is_back();
}

/* ---- at random --------------------------------------------------------------------------------- */

struct live {
    unsigned char *ptr;
    size_t nbytes;
    unsigned char fill;
    bool seen;
};

static struct live live[64];

static bool see(void *ctx, const struct kmalloc_view *b)
{
    for (size_t i = 0; b->used && i < MM_COUNTOF(live); i++) {
        if (live[i].ptr == b->ptr) {
            assert_false(live[i].seen);
            assert_true(b->nbytes >= live[i].nbytes);
            live[i].seen = true;
            *(size_t *)ctx -= 1;
            return true;
        }
    }
    assert_false(b->used);
    return true;
}

/* What for_each shows as used is what is live, once. */
static void assert_shown(void)
{
    size_t n = 0;

    for (size_t i = 0; i < MM_COUNTOF(live); i++) {
        live[i].seen = false;
        n += live[i].ptr != NULL;
    }
    kmalloc_for_each(KMALLOC_SLAB, see, &n);
    kmalloc_for_each(KMALLOC_HEAP, see, &n);
    kmalloc_for_each(KMALLOC_FRAMES, see, &n);
    assert_int_equal(n, 0);
}

static void random_operations_lose_nothing(void **state)
{
    struct host_rng rng = host_rng_make("random_operations_lose_nothing");

    (void)state;
    memset(live, 0, sizeof(live));
    pool_make(2048);
    for (unsigned op = 0; op < SLOWER(20000u); op++) {
        size_t i = host_rng_below(&rng, MM_COUNTOF(live));
        size_t nbytes = (size_t)1 << host_rng_below(&rng, op % 100 == 0 ? 22 : 19);
        size_t kept = live[i].nbytes;
        unsigned char *ptr = live[i].ptr;

        nbytes = host_rng_below(&rng, nbytes);
        for (size_t b = 0; b < kept; b++) {
            assert_int_equal(ptr[b], live[i].fill);
        }
        if (ptr != NULL && host_rng_below(&rng, 3) == 0) {
            kfree(ptr);
            live[i].ptr = NULL;
            live[i].nbytes = 0;
        } else {
            if (ptr == NULL && host_rng_below(&rng, 4) == 0) {
                size_t align = (size_t)1 << host_rng_below(&rng, 15);

                ptr = kmalloc_aligned(nbytes, align);
                assert_int_equal((uintptr_t)ptr % align, 0);
            } else {
                ptr = krealloc(ptr, nbytes);
            }
            if (ptr != NULL) {
                assert_true(kmalloc_size(ptr) >= nbytes);
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
        if (host_rng_below(&rng, 500) == 0) {
            kmalloc_reclaim();
        }
        if (op % 16 == 0) {
            assert_all_sound();
            assert_shown();
        }
    }
    for (size_t i = 0; i < MM_COUNTOF(live); i++) {
        kfree(live[i].ptr);
    }
    assert_all_is_back();
}

/* A processor at work on blocks of its own; `arg` is its number. */
static void *hammer(void *arg)
{
    unsigned cpu = (unsigned)(uintptr_t)arg;
    struct host_rng rng = { 100 + 50 * cpu };
    unsigned char *ptr[16] = { NULL };

    host_set_cpu(cpu);
    for (unsigned i = 0; i < SLOWER(40000u); i++) {
        size_t k = host_rng_below(&rng, MM_COUNTOF(ptr));
        size_t nbytes = 1 + host_rng_below(&rng, host_rng_below(&rng, 50) == 0 ? 300000 : 3000);
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
        if (host_rng_below(&rng, 5000) == 0) {
            kmalloc_reclaim();
        }
    }
    for (size_t k = 0; k < MM_COUNTOF(ptr); k++) {
        kfree(ptr[k]);
    }
    return NULL;
}

static void run_processors(void *(*body)(void *))
{
    pthread_t thread[POOL_CPUS];

    for (uintptr_t i = 0; i < POOL_CPUS; i++) {
        assert_int_equal(pthread_create(&thread[i], NULL, body, (void *)i), 0);
    }
    for (size_t i = 0; i < POOL_CPUS; i++) {
        void *complaint;

        pthread_join(thread[i], &complaint);
        assert_null(complaint);
    }
}

/* What is in the magazines of other processors only they can give back. */
static void reclaim_everywhere(void)
{
    for (unsigned cpu = 0; cpu < POOL_CPUS; cpu++) {
        host_set_cpu(cpu);
        kmalloc_reclaim();
    }
    host_set_cpu(0);
    assert_all_is_back();
}

static void processors_share_the_heap(void **state)
{
    (void)state;
    pool_make(2048);
    run_processors(hammer);
    reclaim_everywhere();
}

static _Thread_local struct host_rng irq_rng;
static _Thread_local unsigned char *irq_ptr[4];
static _Thread_local unsigned irq_bad, irq_calls;

/* An interrupt comes in the midst of whatever the processor does, kmalloc included. */
static void interrupt(void)
{
    size_t k = host_rng_below(&irq_rng, MM_COUNTOF(irq_ptr));
    size_t nbytes = 1 + host_rng_below(&irq_rng, host_rng_below(&irq_rng, 8) == 0 ? 300000 : 500);

    irq_calls++;
    irq_bad += irq_ptr[k] != NULL && irq_ptr[k][0] != (unsigned char)(200 + k);
    kfree(irq_ptr[k]);
    irq_ptr[k] = kmalloc(nbytes);
    if (irq_ptr[k] != NULL) {
        memset(irq_ptr[k], (int)(200 + k), nbytes);
    }
}

static void *hammer_interrupted(void *arg)
{
    void *complaint;

    host_set_cpu((unsigned)(uintptr_t)arg);
    irq_rng.state = (uintptr_t)arg;
    host_interrupts(interrupt, 100000);
    complaint = hammer(arg);
    host_interrupts(NULL, 0);
    for (size_t k = 0; k < MM_COUNTOF(irq_ptr); k++) {
        kfree(irq_ptr[k]);
    }
    if (irq_calls == 0) {
        return "no interrupt came";
    }
    return irq_bad != 0 ? "somebody wrote to a block of an interrupt's" : complaint;
}

static void interrupts_allocate(void **state)
{
    (void)state;
    pool_make(2048);
    run_processors(hammer_interrupted);
    reclaim_everywhere();
}

/* ---- what stops the machine -------------------------------------------------------------------- */

static void stops_at_a_bad_free(void **state)
{
    unsigned char *small, *large, *medium;
    static unsigned char mine[64];

    (void)state;
    pool_make(256);
    small = kmalloc(100);
    large = kmalloc(300000);
    assert_panics(kfree(small + 16), "inside an object");
    assert_panics(kfree(small + 1), "inside an object");
    assert_panics(kfree((void *)((uintptr_t)small & ~UINT64_C(4095))), "slab \"kmalloc-112\"");
    assert_panics(kfree(large + 16), "inside a block of whole frames");
    assert_panics(kfree(large + 4096), "it was never given, or freed already");
    assert_panics(kfree(mine), "heap: free(0x");
    assert_panics(kfree(mine), "it was never given, or freed already");
    assert_panics(kfree((void *)16), "it was never given, or freed already");
    assert_panics(kfree((void *)UINTPTR_MAX), "it was never given, or freed already");
    assert_panics((void)kmalloc_size(mine), "heap: size(0x");
    assert_panics(small = krealloc(mine, 10), "heap: realloc(0x");
    assert_sound(kmalloc_check());
    medium = kmalloc(3000);
    assert_panics(kfree(medium + 16), "inside a block");
}

static void stops_at_a_second_free(void **state)
{
    void *small, *medium, *large;

    (void)state;
    pool_make(256);
    small = kmalloc(100);
    large = kmalloc(300000);
    kfree(small);
    assert_panics(kfree(small), "slab \"kmalloc-112\": free(0x");
    assert_panics(kfree(small), "it was freed already");
    assert_panics((void)kmalloc_size(small), "it was freed already");
    kfree(large);
    assert_panics(kfree(large), "it was never given, or freed already");
    medium = kmalloc(3000);
    kfree(medium);
    kmalloc_reclaim(); /* its arena went back */
    assert_panics(kfree(medium), "it was never given, or freed already");
    medium = kmalloc(3000);
    assert_non_null(kmalloc(3000));
    kfree(medium);
    assert_panics(kfree(medium), "it was freed already");
}

/* What is in a slab, but no block of kmalloc's: magazines are. */
static void stops_at_memory_of_its_own(void **state)
{
    uint64_t base = POOL_BASE >> 12;
    volatile unsigned refused = 0;
    void *p;

    (void)state;
    pool_make(256);
    p = kmalloc(100);
    for (uint64_t i = 0; i < 256; i++) {
        unsigned char *at = port_ptr(pa_of_pfn(pfn_make(base + i)));

        if (!pmm_is_free(pool, pfn_make(base + i)) &&
            ((uintptr_t)at ^ (uintptr_t)p) >> MM_PAGE_SHIFT != 0) {
            assert_panics(kfree(at + 1024), "never given");
            refused++;
        }
    }
    assert_true(refused >= 5); /* three of the map, one of magazines, struct slab_cpu */
    ((uint64_t *)((uintptr_t)p & ~UINT64_C(4095)))[0] ^= 64;
    assert_panics(kfree(p), "or the header of its slab is damaged");
}

/* The entry of frame `pfn` in the map, of which is known what it must be: by hand, a word for each
 * frame of 4 MiB in a page of its own, a kind in bits 1 and 0 (slab, arena, block). */
static uint32_t *find_entry(uint64_t pfn, uint32_t word)
{
    for (uint64_t i = 0; i < 1024; i++) {
        uint32_t *page = port_ptr(pa_make(POOL_BASE + i * 4096));

        if (!pmm_is_free(pool, pfn_make((POOL_BASE >> 12) + i)) && page[pfn % 1024] == word) {
            return &page[pfn % 1024];
        }
    }
    fail_msg("the map has no entry %x", word);
    return NULL;
}

static void assert_check_sees(uint32_t *entry, uint32_t word, const char *found)
{
    uint32_t was = *entry;

    *entry = word;
    assert_string_equal(kmalloc_check(), found);
    *entry = was;
    assert_sound(kmalloc_check());
}

static void check_sees_a_damaged_map(void **state)
{
    const uintptr_t base = (uintptr_t)port_ptr(pa_make(POOL_BASE));
    const char *slabs = "K1: the map does not know the frames of slabs";
    const char *arenas = "K2: the map does not know the frames of arenas";
    const char *blocks = "K3: the map does not know the blocks of whole frames";
    void *small, *medium, *large;
    uint32_t *entry;

    (void)state;
    pool_make(1024);
    small = kmalloc(10);
    medium = kmalloc(5000);
    large = kmalloc(77 * 4096);
    memset(small, 0, 10);
    memset(large, 0, 77 * 4096);
    assert_sound(kmalloc_check());
    entry = find_entry((POOL_BASE + (uintptr_t)large - base) >> 12, 77 << 2 | 3);
    assert_check_sees(entry, 0, blocks);
    assert_check_sees(entry, 76 << 2 | 3, blocks);
    assert_check_sees(entry, 2, arenas);
    assert_check_sees(entry, 1, slabs);
    entry += (ptrdiff_t)((uintptr_t)medium >> 12) - (ptrdiff_t)((uintptr_t)large >> 12);
    assert_int_equal(*entry, 2);
    assert_check_sees(entry, 0, arenas);
    kfree(small);
    kfree(medium);
    kfree(large);
    assert_all_is_back();
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
        cmocka_unit_test(sizes_fit_tightly),
        cmocka_unit_test(slabs_fit_tightly),
        cmocka_unit_test(every_layer_serves_its_sizes),
        cmocka_unit_test(aligned_blocks),
        cmocka_unit_test(zeroed),
        cmocka_unit_test(resized),
        cmocka_unit_test(fetches_keeps_and_reuses_a_run),
        cmocka_unit_test(keeps_one_run_only),
        cmocka_unit_test(gives_the_spare_up),
        cmocka_unit_test(keeps_the_longer_run),
        cmocka_unit_test(serves_many_mebibytes),
        cmocka_unit_test(steps_grow_with_the_heap),
        cmocka_unit_test(falls_back_to_what_fragments_allow),
        cmocka_unit_test(out_of_memory_with_every_pool),
        cmocka_unit_test(layers_help_each_other),
        cmocka_unit_test(random_operations_lose_nothing),
        cmocka_unit_test(processors_share_the_heap),
        cmocka_unit_test(interrupts_allocate),
        cmocka_unit_test(stops_at_a_bad_free),
        cmocka_unit_test(stops_at_a_second_free),
        cmocka_unit_test(stops_at_memory_of_its_own),
        cmocka_unit_test(check_sees_a_damaged_map),
    };

    return cmocka_run_group_tests(tests, NULL, teardown);
}
