/*
 * test_heap_ff.c - mm/heap/ff*.c: single facts by hand, callers who break the rules, damage.
 *
 * That it is first fit, whatever is asked of it, is test_heap_model.c's.
 */
#include "host_port.h"

#include <sys/mman.h>

#include "../../mm/heap/ff.h"

#define POOL_BYTES 65536u

static _Alignas(65536) unsigned char pool[POOL_BYTES];
static struct heap_ff heap;

/* A fresh heap over the first `nbytes` of the pool, the rest of which it has no business with. */
static void fresh(size_t nbytes)
{
    host_after_panic();
    memset(pool, 0xcc, sizeof(pool));
    heap_ff_init(&heap, NULL, 0);
    assert_int_equal(heap_ff_add_arena(&heap, pool, nbytes), MM_OK);
}

static unsigned char *get(size_t nbytes)
{
    unsigned char *ptr = heap_ff_alloc(&heap, nbytes);

    assert_non_null(ptr);
    return ptr;
}

static struct heap_ff_stats stats(void)
{
    struct heap_ff_stats s;

    heap_ff_get_stats(&heap, &s);
    return s;
}

/* ---- single facts ---- */

static void blocks_have_no_headers(void **state)
{
    unsigned char *a;

    (void)state;
    fresh(POOL_BYTES);
    a = get(1);
    assert_ptr_equal(get(16), a + 16);
    assert_ptr_equal(get(17), a + 32);
    assert_ptr_equal(get(0), a + 64);
    assert_ptr_equal(get(2048), a + 80);
    assert_ptr_equal(get(5000), a + 2128);
    assert_ptr_equal(get(1), a + 2128 + 5008);
    assert_int_equal(heap_ff_size(&heap, a), 16);
    assert_int_equal(heap_ff_size(&heap, a + 32), 32);
    assert_int_equal(heap_ff_size(&heap, a + 64), 16);
    assert_int_equal(heap_ff_size(&heap, a + 2128), 5008);
    assert_int_equal(stats().used_bytes, 2128 + 5008 + 16);
    assert_int_equal(stats().nused, 7);

    heap_ff_free(&heap, a + 32);
    assert_ptr_equal(get(33), a + 2128 + 5024); /* does not fit in the hole of 32 */
    assert_ptr_equal(get(1), a + 32);
    assert_ptr_equal(get(1), a + 48);
    heap_ff_free(&heap, NULL);
    assert_sound(heap_ff_check(&heap));
}

/* Of any arena from the smallest on: blocks and what the heap keeps for itself are all of it. */
static void arenas_of_any_length(void **state)
{
    unsigned char *block;
    size_t least = 0;

    (void)state;
    for (size_t nbytes = 0; nbytes < 9000; nbytes++) {
        for (unsigned crooked = 0; crooked < 16; crooked += 15) {
            heap_ff_init(&heap, NULL, 0);
            if (heap_ff_add_arena(&heap, pool + crooked, nbytes) != MM_OK) {
                assert_true(least == 0 || (crooked != 0 && nbytes < least + 16));
                continue;
            }
            least = least != 0 || crooked != 0 ? least : nbytes;
            assert_sound(heap_ff_check(&heap));
            assert_true(stats().free_bytes >= 16);
            assert_true(nbytes - stats().meta_bytes - stats().free_bytes < 16 + 15 + 128);
            block = get(stats().largest_free);
            assert_ptr_equal(block, pool + (crooked != 0 ? 16 : 0) + stats().meta_bytes);
            assert_null(heap_ff_alloc(&heap, 1));
            assert_sound(heap_ff_check(&heap));
        }
    }
    assert_in_range(least, 300, 1024);
}

static void arenas_are_refused(void **state)
{
    (void)state;
    fresh(4096);
    assert_int_equal(heap_ff_add_arena(&heap, pool, 4096), MM_EINVAL);
    assert_int_equal(heap_ff_add_arena(&heap, pool + 4080, 4096), MM_EINVAL);
    assert_int_equal(heap_ff_add_arena(&heap, pool + 1024, 2048), MM_EINVAL);
    assert_int_equal(heap_ff_add_arena(&heap, NULL, 4096), MM_EINVAL);
    assert_int_equal(heap_ff_add_arena(&heap, pool + 4096, 0), MM_EINVAL);
    assert_int_equal(heap_ff_add_arena(&heap, pool + 4096, SIZE_MAX), MM_EINVAL);
    assert_int_equal(heap_ff_add_arena(&heap, (void *)(UINTPTR_MAX - 8), 4096), MM_EINVAL);
    assert_int_equal(heap_ff_add_arena(&heap, (void *)(UINTPTR_MAX - 8), 4), MM_EINVAL);
    assert_int_equal(stats().narenas, 1);
    assert_int_equal(heap_ff_add_arena(&heap, pool + 4096, 4096), MM_OK);
    assert_null(heap_ff_alloc(&heap, 4096)); /* blocks do not merge across arenas */
    assert_sound(heap_ff_check(&heap));
}

static void sizes_do_not_overflow(void **state)
{
    static const size_t huge[] = { SIZE_MAX,         SIZE_MAX - 15,   SIZE_MAX / 2,
                                   (size_t)1 << 36,  HEAP_FF_MAX + 1, HEAP_FF_MAX,
                                   HEAP_FF_MAX - 15, POOL_BYTES };
    void *ptr;

    (void)state;
    fresh(POOL_BYTES);
    ptr = get(100);
    for (size_t i = 0; i < MM_COUNTOF(huge); i++) {
        assert_null(heap_ff_alloc(&heap, huge[i]));
        assert_null(heap_ff_alloc_aligned(&heap, huge[i], 4096));
        assert_null(heap_ff_alloc_aligned(&heap, huge[i], HEAP_FF_MAX));
        assert_null(heap_ff_alloc_aligned(&heap, 1, (size_t)1 << 63));
        assert_null(heap_ff_alloc_zeroed(&heap, 1, huge[i]));
        assert_null(heap_ff_alloc_zeroed(&heap, huge[i], huge[i]));
        assert_null(heap_ff_realloc(&heap, ptr, huge[i]));
        assert_sound(heap_ff_check(&heap));
    }
    assert_null(heap_ff_alloc_zeroed(&heap, (size_t)1 << 32, (size_t)1 << 32));
    assert_null(heap_ff_alloc_zeroed(&heap, ((size_t)1 << 63) + 8, 2)); /* would be 16 */
    assert_null(heap_ff_alloc_aligned(&heap, 1, 0));
    assert_null(heap_ff_alloc_aligned(&heap, 1, 48));
    assert_int_equal(heap_ff_size(&heap, ptr), 112);
    assert_int_equal(stats().peak_used_bytes, 112);
}

static void aligned_and_resized_by_hand(void **state)
{
    unsigned char *a, *b;

    (void)state;
    fresh(POOL_BYTES);
    a = get(16);
    b = heap_ff_alloc_aligned(&heap, 100, 4096);
    assert_int_equal((uintptr_t)b % 4096, 0);
    assert_ptr_equal(get(2000), a + 16); /* what is in front is free */
    assert_ptr_equal(heap_ff_realloc(&heap, a + 16, 10), a + 16);
    assert_ptr_equal(heap_ff_realloc(&heap, a + 16, 1000), a + 16); /* into what it gave up */
    assert_ptr_equal(get(16), a + 1024);
    memset(a + 16, 7, 1008);
    assert_ptr_equal(heap_ff_realloc(&heap, a + 16, 1009), a + 1040); /* moves behind it */
    assert_int_equal(a[1040 + 1007], 7);
    assert_ptr_equal(heap_ff_realloc(&heap, NULL, 1008), a + 16);
    assert_ptr_equal(heap_ff_realloc(&heap, b, 0), b);
    assert_int_equal(heap_ff_size(&heap, b), 16);
    assert_sound(heap_ff_check(&heap));
}

static void resized_in_place_or_not_at_all(void **state)
{
    unsigned char *a, *b, *c;

    (void)state;
    fresh(16384);
    a = get(64);
    b = get(64);
    c = get(64);
    assert_false(heap_ff_resize(&heap, a, 65));
    assert_false(heap_ff_resize(&heap, a, SIZE_MAX));
    assert_int_equal(heap_ff_size(&heap, a), 64);
    heap_ff_free(&heap, b);
    assert_false(heap_ff_resize(&heap, a, 129));
    assert_true(heap_ff_resize(&heap, a, 100));
    assert_int_equal(heap_ff_size(&heap, a), 112);
    assert_ptr_equal(get(16), a + 112);
    assert_true(heap_ff_resize(&heap, c, 1000)); /* from the top */
    assert_int_equal(heap_ff_size(&heap, c), 1008);
    assert_true(heap_ff_resize(&heap, c, 0));
    assert_ptr_equal(get(16), c + 16);
    assert_sound(heap_ff_check(&heap));
}

static bool stop_at_third(void *ctx, const struct heap_ff_view *v)
{
    (void)v;
    return ++*(int *)ctx < 3;
}

static void for_each_can_stop(void **state)
{
    int n = 0;

    (void)state;
    fresh(4096);
    for (int i = 0; i < 5; i++) {
        get(10);
    }
    heap_ff_for_each(&heap, stop_at_third, &n);
    assert_int_equal(n, 3);
}

/* ---- callers who break the rules ---- */

static void realloc_and_forget(void *ptr, size_t nbytes)
{
    ptr = heap_ff_realloc(&heap, ptr, nbytes);
    (void)ptr;
}

/* Free, resize and measure all stop, and say `words`. */
static void assert_stops(void *ptr, const char *words)
{
    char address[32];

    assert_panics(heap_ff_free(&heap, ptr), words);
    snprintf(address, sizeof(address), "heap: free(0x%llx)", (unsigned long long)(uintptr_t)ptr);
    assert_non_null(strstr(host_panic_text, address));
    assert_non_null(strstr(host_panic_text, "called from 0x"));
    assert_panics(realloc_and_forget(ptr, 100), words);
    assert_non_null(strstr(host_panic_text, "heap: realloc(0x"));
    assert_panics(heap_ff_size(&heap, ptr), words);
    assert_non_null(strstr(host_panic_text, "heap: size(0x"));
    assert_sound(heap_ff_check(&heap)); /* nothing was done */
}

static void stops_on_wrong_pointers(bool second_arena)
{
    unsigned char *a, *b, *c, *big;

    fresh(16384);
    if (second_arena) {
        assert_int_equal(heap_ff_add_arena(&heap, pool + 32768, 8192), MM_OK);
    }
    a = get(10);
    b = get(100);
    c = get(10);
    big = get(5000);
    get(10);
    heap_ff_free(&heap, b);
    assert_stops(b, "it was freed already");
    assert_stops(b + 32, "it was freed already"); /* lies in free memory */
    assert_stops(a + 1, "it lies inside a block");
    assert_stops(big + 16, "it lies inside a block");
    assert_stops(big + 4096, "it lies inside a block");
    assert_stops(big + 8192, "it was freed already, or never given");
    assert_stops(pool, "what the heap keeps for itself");
    assert_stops(pool + 64, "what the heap keeps for itself");
    assert_stops(a - 16, "what the heap keeps for itself");
    assert_stops(pool + 16384, "into no arena");
    assert_stops((void *)16, "into no arena");
    assert_stops((void *)(UINTPTR_MAX - 15), "into no arena");
    assert_stops((void *)((uintptr_t)a ^ (uintptr_t)1 << 60), "into no arena");
    heap_ff_free(&heap, c); /* a hole of b and c */
    assert_stops(c, "it was freed already");
    heap_ff_free(&heap, a); /* and of all three */
    assert_stops(a, "it was freed already");
    assert_stops(b, "it was freed already");
    heap_ff_free(&heap, big);
    assert_stops(big, "it was freed already");
}

static void stops_on_pointers_never_given(void **state)
{
    (void)state;
    stops_on_wrong_pointers(false);
    stops_on_wrong_pointers(true);
    heap_ff_init(&heap, NULL, 0);
    assert_stops(pool, "into no arena");
}

static void *lying_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    (void)nbytes;
    (void)align;
    *got = 64;
    return ctx;
}

static bool was_put;

static void put_back(void *ctx, void *base, size_t nbytes)
{
    assert_ptr_equal(base, ctx);
    assert_int_equal(nbytes, 64);
    was_put = true;
}

/* Less than was asked for is no use, and goes back. */
static void a_backing_that_gives_too_little(void **state)
{
    const struct mm_backing b = {
        .name = "liar", .ctx = pool, .grain = 16, .get = lying_get, .put = put_back
    };

    (void)state;
    was_put = false;
    heap_ff_init(&heap, &b, 0);
    assert_null(heap_ff_alloc(&heap, 10));
    assert_true(was_put);
    assert_sound(heap_ff_check(&heap));
}

/* ---- a long arena ---- */

#define GiB     ((size_t)1 << 30)
#define RESERVE (80 * GiB)

/* Of address space, one range that begins small and may grow to more than an arena can be. */
struct reserve {
    char *base;
    size_t nbytes; /* given */
};

static void *reserve_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    struct reserve *r = ctx;

    assert_true(align <= 4096);
    if (r->nbytes != 0) {
        return NULL;
    }
    r->nbytes = *got = nbytes;
    return r->base;
}

static size_t reserve_grow(void *ctx, void *end, size_t nbytes)
{
    struct reserve *r = ctx;

    assert_ptr_equal(end, r->base + r->nbytes);
    assert_true(nbytes <= RESERVE - r->nbytes);
    r->nbytes += nbytes;
    return nbytes;
}

static void reserve_put(void *ctx, void *base, size_t nbytes)
{
    struct reserve *r = ctx;

    assert_ptr_equal((char *)base + nbytes, r->base + r->nbytes);
    r->nbytes -= nbytes;
}

static void grows_to_what_an_arena_can_be(void **state)
{
    struct reserve r = { .base = mmap(NULL, RESERVE, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) };
    const struct mm_backing b = { .name = "reserve",
                                  .ctx = &r,
                                  .grain = 4096,
                                  .reach = 70 * GiB,
                                  .get = reserve_get,
                                  .put = reserve_put,
                                  .grow = reserve_grow };
    char *a, *c, *d;

    (void)state;
    assert_true(r.base != MAP_FAILED);
    heap_ff_init(&heap, &b, 0);
    a = heap_ff_alloc(&heap, 100);
    assert_non_null(a);
    assert_sound(heap_ff_check(&heap));
    assert_null(heap_ff_alloc_aligned(&heap, HEAP_FF_MAX, HEAP_FF_MAX)); /* 64 GiB of blocks */
    c = heap_ff_alloc(&heap, GiB);
    d = heap_ff_alloc(&heap, 2 * GiB + 1);
    assert_ptr_equal(c, a + 112);
    assert_ptr_equal(d, c + GiB);
    assert_sound(heap_ff_check(&heap));
    memset(d + 2 * GiB, 1, 1);
    heap_ff_free(&heap, c);
    assert_null(heap_ff_alloc(&heap, SIZE_MAX));
    assert_ptr_equal(heap_ff_alloc(&heap, GiB - 16), c);
    assert_ptr_equal(heap_ff_alloc(&heap, 16), d - 16);
    assert_sound(heap_ff_check(&heap));
    heap_ff_free(&heap, d);
    assert_true(r.nbytes < 4 * GiB);
    heap_ff_free(&heap, d - 16);
    heap_ff_free(&heap, c);
    heap_ff_free(&heap, a);
    assert_int_equal(r.nbytes, 0);
    munmap(r.base, RESERVE);
}

/* ---- damage ---- */

#define ARENA_BYTES 12288u
#define LIVE        40u

/* Blocks of many sizes, holes of many sizes, in one arena or two. */
static void make_state(unsigned char **live, bool two)
{
    struct host_rng r = { 1 };

    fresh(ARENA_BYTES);
    if (two) {
        assert_int_equal(heap_ff_add_arena(&heap, pool + 32768, 8192), MM_OK);
    }
    for (unsigned i = 0; i < LIVE; i++) {
        live[i] = heap_ff_alloc(&heap, i % 7 == 0 ? 3000 : host_rng_below(&r, 300));
    }
    for (unsigned i = 0; i < LIVE; i++) {
        if (live[i] != NULL && i % 3 == 0) {
            heap_ff_free(&heap, live[i]);
            live[i] = NULL;
        }
    }
}

/* What a heap in that state answers: addresses, one after another. */
static size_t play(unsigned char **live, void **answers)
{
    struct host_rng r = { 2 };
    size_t n = 0;

    for (unsigned i = 0; i < 3 * LIVE; i++) {
        unsigned char **l = &live[host_rng_below(&r, LIVE)];

        if (*l != NULL) {
            heap_ff_free(&heap, *l);
            *l = NULL;
        } else {
            *l = heap_ff_alloc(&heap, host_rng_below(&r, i % 5 == 0 ? 6000 : 400));
            answers[n++] = *l;
        }
    }
    return n;
}

/* True if it panics; a wild access is what the sanitizer is for. */
static bool panics(unsigned char **live, void **answers, size_t *n)
{
    jmp_buf jmp;
    volatile bool did = true;

    host_panic_jmp = &jmp;
    if (setjmp(jmp) == 0) {
        *n = play(live, answers);
        did = false;
    }
    host_panic_jmp = NULL;
    host_after_panic();
    return did;
}

/*
 * Is the bit that of a start between used blocks, or of none inside of one? Two blocks for one, or
 * one for two: that nobody can see.
 */
struct search {
    const void *at;
    bool used_before, in_used;
};

static bool search_block(void *ctx, const struct heap_ff_view *v)
{
    struct search *s = ctx;

    if ((const char *)s->at < (const char *)v->ptr + v->nbytes) {
        s->in_used = v->used && (s->at != v->ptr || (s->used_before && !v->first_in_arena));
        return false;
    }
    s->used_before = v->used;
    return true;
}

static bool is_start_of_used(size_t bit)
{
    const struct heap_ff_arena *a = (const void *)pool;
    size_t from = 8 * (size_t)((const unsigned char *)a->chunks - pool);
    size_t chunk = (bit - from) / 128, granule = chunk * 64 + (bit - from) % 128;
    struct search s = { .at = (const void *)(a->base + granule * 16) };

    if (bit < from || (bit - from) % 128 >= 64 || granule < FF_FIRST || granule >= a->top) {
        return false;
    }
    heap_ff_for_each(&heap, search_block, &s);
    return s.in_used;
}

/*
 * Each bit of what the heap keeps for itself flipped: heap_ff_check() finds it, or it makes no
 * difference, or the heap stops by itself when it comes to it.
 */
static void every_flipped_bit(bool two)
{
    static unsigned char before[POOL_BYTES];
    static void *want[3 * LIVE], *have[3 * LIVE];
    unsigned char *start[LIVE], *live[LIVE];
    struct heap_ff heap_before;
    size_t nbytes, nwant, nhave = 0, harmless = 0, unseen = 0;

    fresh(ARENA_BYTES);
    nbytes = stats().meta_bytes;
    make_state(start, two);
    memcpy(before, pool, sizeof(pool));
    heap_before = heap;
    memcpy(live, start, sizeof(live));
    nwant = play(live, want);
    for (size_t bit = 0; bit < 8 * nbytes; bit++) {
        memcpy(pool, before, sizeof(pool));
        heap = heap_before;
        memcpy(live, start, sizeof(live));
        if (is_start_of_used(bit)) {
            unseen++;
            continue;
        }
        pool[bit / 8] ^= (unsigned char)(1u << bit % 8);
        if (heap_ff_check(&heap) != NULL) {
            continue;
        }
        harmless++;
        if (!panics(live, have, &nhave) &&
            (nhave != nwant || memcmp(want, have, nwant * sizeof(want[0])) != 0)) {
            fail_msg("bit %zu of byte %zu makes a difference that nobody sees", bit % 8, bit / 8);
        }
    }
    print_message("of %zu bits %zu make no difference, %zu can't be seen\n", 8 * nbytes, harmless,
                  unseen);
}

static void every_flipped_bit_is_found_or_harmless(void **state)
{
    (void)state;
    every_flipped_bit(false);
    every_flipped_bit(true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_have_no_headers),
        cmocka_unit_test(arenas_of_any_length),
        cmocka_unit_test(arenas_are_refused),
        cmocka_unit_test(sizes_do_not_overflow),
        cmocka_unit_test(aligned_and_resized_by_hand),
        cmocka_unit_test(resized_in_place_or_not_at_all),
        cmocka_unit_test(for_each_can_stop),
        cmocka_unit_test(stops_on_pointers_never_given),
        cmocka_unit_test(a_backing_that_gives_too_little),
        cmocka_unit_test(grows_to_what_an_arena_can_be),
        cmocka_unit_test(every_flipped_bit_is_found_or_harmless),
    };

    return cmocka_run_group_tests_name("heap_ff", tests, NULL, NULL);
}
