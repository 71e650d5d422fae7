/*
 * test_heap_list.c - mm/heap/list.c against a model that marks granules in a byte map, and against
 * callers who break the rules.
 *
 * The model knows the geometry, restated here by hand: granules of 16 bytes; an arena loses 48
 * bytes at its bottom and 16 at its top; a block is a 16-byte head and its payload, and has at
 * least 32 bytes; what is too small for a block goes with the block below it.
 */
#include "host_port.h"

#include <stdlib.h>

#include "mm/heap_list.h"

#define GRANULE      16u
#define ARENA_HEAD   48u
#define ARENA_TAIL   16u
#define BLOCK_HEAD   16u
#define MIN_GRANULES 2u

/* ---- a pool that plays the backing ---- */

#define SLOT_BYTES 4096u
#define POOL_SLOTS 48u
#define POOL_BYTES (SLOT_BYTES * POOL_SLOTS)

static _Alignas(65536) unsigned char pool[POOL_BYTES];

struct backing {
    struct host_rng *rng; /* picks places and surpluses; NULL: lowest place, no surplus */
    unsigned char taken[POOL_SLOTS]; /* 0 free, else 1 in a slot's first range, 2 in its rest */
    long calls;                      /* of get */
    long fail_at;                    /* that call of get fails, -1 none */
    bool got, put;                   /* since the test looked last */
    unsigned char *got_base, *put_base;
    size_t got_nbytes;
};

static bool slots_free(const struct backing *k, size_t at, size_t n)
{
    for (size_t i = at; i < at + n; i++) {
        if (i >= POOL_SLOTS || k->taken[i] != 0) {
            return false;
        }
    }
    return true;
}

static void *backing_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    struct backing *k = ctx;
    size_t n = (nbytes + SLOT_BYTES - 1) / SLOT_BYTES;
    size_t start = k->rng != NULL ? host_rng_below(k->rng, POOL_SLOTS) : 0;

    assert_int_equal(align, GRANULE);
    if (k->calls++ == k->fail_at) {
        return NULL;
    }
    for (size_t i = 0; i < POOL_SLOTS; i++) {
        size_t at = (start + i) % POOL_SLOTS;

        if (slots_free(k, at, n)) {
            if (k->rng != NULL && host_rng_below(k->rng, 2) != 0 && slots_free(k, at, n + 1)) {
                n++;
            }
            memset(k->taken + at, 2, n);
            k->taken[at] = 1;
            k->got = true;
            k->got_base = pool + at * SLOT_BYTES;
            k->got_nbytes = n * SLOT_BYTES;
            *got = k->got_nbytes;
            memset(k->got_base, 0xa5, k->got_nbytes);
            return k->got_base;
        }
    }
    return NULL;
}

static void backing_put(void *ctx, void *base, size_t nbytes)
{
    struct backing *k = ctx;
    size_t at = (size_t)((unsigned char *)base - pool) / SLOT_BYTES;
    size_t n = nbytes / SLOT_BYTES;

    /* One whole range that get returned: its first slot, all its others, and no further. */
    assert_int_equal(nbytes % SLOT_BYTES, 0);
    assert_int_equal(k->taken[at], 1);
    for (size_t i = 1; i < n; i++) {
        assert_int_equal(k->taken[at + i], 2);
    }
    assert_true(at + n == POOL_SLOTS || k->taken[at + n] != 2);
    memset(k->taken + at, 0, n);
    memset(base, 0x5a, nbytes); /* whoever reads it now reads nonsense */
    k->put = true;
    k->put_base = base;
}

static struct mm_backing backing_of(struct backing *k)
{
    return (struct mm_backing){
        .name = "pool", .ctx = k, .grain = SLOT_BYTES, .get = backing_get, .put = backing_put
    };
}

/* ---- the model ---- */

enum { G_FREE, G_HEAD, G_REST };

struct model_arena {
    unsigned char *base; /* of the first granule that blocks can use */
    size_t n;
    bool from_backing;
    unsigned char g[POOL_BYTES / GRANULE];
};

struct model {
    struct model_arena *arena[POOL_SLOTS + 2]; /* sorted by address */
    size_t narenas;
    size_t arena_bytes;
};

static void model_add(struct model *m, unsigned char *base, size_t nbytes, bool from_backing)
{
    struct model_arena *a = calloc(1, sizeof(*a));
    size_t i = m->narenas++;

    a->base = (unsigned char *)(((uintptr_t)base + 15) / 16 * 16) + ARENA_HEAD;
    a->n = ((uintptr_t)(base + nbytes) / 16 * 16 - ARENA_TAIL - (uintptr_t)a->base) / GRANULE;
    a->from_backing = from_backing;
    for (; i > 0 && m->arena[i - 1]->base > a->base; i--) {
        m->arena[i] = m->arena[i - 1];
    }
    m->arena[i] = a;
    m->arena_bytes += nbytes;
}

static void model_drop(struct model *m, size_t i, size_t nbytes)
{
    free(m->arena[i]);
    m->narenas--;
    memmove(m->arena + i, m->arena + i + 1, (m->narenas - i) * sizeof(m->arena[0]));
    m->arena_bytes -= nbytes;
}

static void model_clear(struct model *m)
{
    while (m->narenas > 0) {
        model_drop(m, 0, 0);
    }
}

static size_t run_of(const struct model_arena *a, size_t at)
{
    size_t n = 0;

    while (at + n < a->n && a->g[at + n] == G_FREE) {
        n++;
    }
    return n;
}

static size_t block_of(const struct model_arena *a, size_t at)
{
    size_t n = 1;

    while (at + n < a->n && a->g[at + n] == G_REST) {
        n++;
    }
    return n;
}

static size_t granules_for(size_t nbytes)
{
    size_t n = 1 + (nbytes + GRANULE - 1) / GRANULE;

    return n < MIN_GRANULES ? MIN_GRANULES : n;
}

static void mark(struct model_arena *a, size_t at, size_t n)
{
    memset(a->g + at, G_REST, n);
    a->g[at] = G_HEAD;
}

/* The address that a request must get, or NULL: the lowest free run in which it fits. */
static void *model_alloc(struct model *m, size_t nbytes, size_t align)
{
    for (size_t i = 0; i < m->narenas; i++) {
        struct model_arena *a = m->arena[i];

        for (size_t at = 0; at < a->n; at++) {
            size_t run = a->g[at] == G_FREE ? run_of(a, at) : 0;

            for (size_t skip = 0; skip + granules_for(nbytes) <= run; skip++) {
                size_t n = granules_for(nbytes);
                unsigned char *ptr = a->base + (at + skip) * GRANULE + BLOCK_HEAD;

                if (skip == 1 || (uintptr_t)ptr % align != 0) {
                    continue;
                }
                if (run - skip - n < MIN_GRANULES) {
                    n = run - skip;
                }
                mark(a, at + skip, n);
                return ptr;
            }
            at += run > 0 ? run - 1 : 0;
        }
    }
    return NULL;
}

static struct model_arena *model_find(struct model *m, void *ptr, size_t *index, size_t *at)
{
    for (size_t i = 0; i < m->narenas; i++) {
        struct model_arena *a = m->arena[i];

        if ((unsigned char *)ptr > a->base && (unsigned char *)ptr < a->base + a->n * GRANULE) {
            *index = i;
            *at = (size_t)((unsigned char *)ptr - BLOCK_HEAD - a->base) / GRANULE;
            assert_int_equal(a->g[*at], G_HEAD);
            return a;
        }
    }
    fail_msg("the model knows no block at %p", ptr);
    return NULL;
}

/* Usable bytes of a block. */
static size_t model_size(struct model *m, void *ptr)
{
    size_t i, at;
    struct model_arena *a = model_find(m, ptr, &i, &at);

    return block_of(a, at) * GRANULE - BLOCK_HEAD;
}

/* Returns whether the arena must go back to the backing; it leaves the model then. */
static bool model_free(struct model *m, void *ptr)
{
    size_t i, at;
    struct model_arena *a = model_find(m, ptr, &i, &at);

    memset(a->g + at, G_FREE, block_of(a, at));
    if (a->from_backing && run_of(a, 0) == a->n) {
        model_drop(m, i, a->n * GRANULE + ARENA_HEAD + ARENA_TAIL);
        return true;
    }
    return false;
}

/* Can the block get `nbytes` where it is? If so it does. */
static bool model_resize(struct model *m, void *ptr, size_t nbytes)
{
    size_t i, at;
    struct model_arena *a = model_find(m, ptr, &i, &at);
    size_t room = block_of(a, at);
    size_t n = granules_for(nbytes);

    room += run_of(a, at + room);
    if (n > room) {
        return false;
    }
    if (room - n < MIN_GRANULES) {
        n = room;
    }
    memset(a->g + at, G_FREE, room);
    mark(a, at, n);
    return true;
}

/* The heap's statistics and its list of blocks are what the model has. */
struct view_cursor {
    struct model *m;
    size_t arena, at;
};

static bool view_matches(void *ctx, const struct heap_list_view *v)
{
    struct view_cursor *c = ctx;

    if (c->at == c->m->arena[c->arena]->n) {
        c->arena++;
        c->at = 0;
    }

    struct model_arena *a = c->m->arena[c->arena];
    bool used = a->g[c->at] == G_HEAD;
    size_t n = used ? block_of(a, c->at) : run_of(a, c->at);

    assert_ptr_equal(v->ptr, a->base + c->at * GRANULE + BLOCK_HEAD);
    assert_int_equal(v->nbytes, n * GRANULE - BLOCK_HEAD);
    assert_int_equal(v->used, used);
    assert_int_equal(v->first_in_arena, c->at == 0);
    c->at += n;
    return true;
}

static void assert_same(struct heap_list *h, struct model *m)
{
    struct heap_list_stats want = { .arena_bytes = m->arena_bytes, .narenas = m->narenas };
    struct heap_list_stats have;
    struct view_cursor c = { .m = m };

    assert_sound(heap_list_check(h));
    heap_list_for_each(h, view_matches, &c);
    if (m->narenas > 0) {
        assert_int_equal(c.arena, m->narenas - 1);
        assert_int_equal(c.at, m->arena[c.arena]->n);
    }
    for (size_t i = 0; i < m->narenas; i++) {
        struct model_arena *a = m->arena[i];

        for (size_t at = 0, n; at < a->n; at += n) {
            if (a->g[at] == G_HEAD) {
                n = block_of(a, at);
                want.nused++;
                want.used_bytes += n * GRANULE;
            } else {
                n = run_of(a, at);
                want.nfree++;
                want.free_bytes += n * GRANULE;
                if (n * GRANULE - BLOCK_HEAD > want.largest_free) {
                    want.largest_free = n * GRANULE - BLOCK_HEAD;
                }
            }
        }
    }
    heap_list_get_stats(h, &have);
    assert_memory_equal(&have, &want, sizeof(want));
}

/* ---- random operations against the model ---- */

#define MAX_LIVE 96u

struct live {
    unsigned char *ptr;
    size_t nbytes; /* as asked for */
    unsigned char fill;
};

struct run {
    struct heap_list heap;
    struct model model;
    struct backing backing;
    struct host_rng rng;
    struct live live[MAX_LIVE];
    size_t nlive;
    size_t nnull;
};

static void fill(struct run *r, struct live *l)
{
    l->fill = (unsigned char)host_rng_next(&r->rng);
    memset(l->ptr, l->fill, heap_list_size(&r->heap, l->ptr));
}

static void assert_filled(const struct live *l, size_t nbytes)
{
    for (size_t i = 0; i < nbytes; i++) {
        assert_int_equal(l->ptr[i], l->fill);
    }
}

/* What the model says must have come back, given that the heap may have fetched an arena. */
static void *expected(struct run *r, size_t nbytes, size_t align)
{
    void *want = model_alloc(&r->model, nbytes, align);

    assert_false(want != NULL && r->backing.got); /* no growing while something fits */
    if (want == NULL && r->backing.got) {
        model_add(&r->model, r->backing.got_base, r->backing.got_nbytes, true);
        want = model_alloc(&r->model, nbytes, align);
        assert_non_null(want);
    }
    r->backing.got = false;
    return want;
}

static size_t random_size(struct host_rng *rng)
{
    switch (host_rng_below(rng, 16)) {
    case 0:
        return host_rng_below(rng, 3);
    case 1:
        return host_rng_below(rng, 3 * SLOT_BYTES);
    case 2:
    case 3:
        return host_rng_below(rng, 2048);
    default:
        return host_rng_below(rng, 200);
    }
}

static void op_alloc(struct run *r)
{
    struct live *l = &r->live[r->nlive];
    size_t align = 16;
    unsigned how = (unsigned)host_rng_below(&r->rng, 4);

    if (r->nlive == MAX_LIVE) {
        return;
    }
    l->nbytes = random_size(&r->rng);
    if (how == 0) {
        align = (size_t)1 << host_rng_below(&r->rng, 14);
        l->ptr = heap_list_alloc_aligned(&r->heap, l->nbytes, align);
    } else if (how == 1) {
        l->ptr = heap_list_alloc_zeroed(&r->heap, 1, l->nbytes);
        for (size_t i = 0; l->ptr != NULL && i < l->nbytes; i++) {
            assert_int_equal(l->ptr[i], 0);
        }
    } else {
        l->ptr = heap_list_alloc(&r->heap, l->nbytes);
    }
    assert_ptr_equal(l->ptr, expected(r, l->nbytes, align));
    if (l->ptr == NULL) {
        r->nnull++;
        return;
    }
    assert_int_equal((uintptr_t)l->ptr % 16, 0);
    assert_int_equal((uintptr_t)l->ptr % align, 0);
    assert_int_equal(heap_list_size(&r->heap, l->ptr), model_size(&r->model, l->ptr));
    fill(r, l);
    r->nlive++;
}

static void free_in_model(struct run *r, unsigned char *ptr)
{
    bool drops = model_free(&r->model, ptr);

    assert_int_equal(r->backing.put, drops);
    if (drops) {
        assert_true(ptr > r->backing.put_base);
    }
    r->backing.put = false;
}

static void op_free(struct run *r, size_t i)
{
    struct live l = r->live[i];

    assert_filled(&l, heap_list_size(&r->heap, l.ptr));
    heap_list_free(&r->heap, l.ptr);
    free_in_model(r, l.ptr);
    r->live[i] = r->live[--r->nlive];
}

static void op_realloc(struct run *r, size_t i)
{
    struct live *l = &r->live[i];
    size_t old = model_size(&r->model, l->ptr);
    size_t nbytes = random_size(&r->rng);
    unsigned char *was = l->ptr;
    unsigned char *now = heap_list_realloc(&r->heap, was, nbytes);

    if (model_resize(&r->model, was, nbytes)) {
        assert_ptr_equal(now, was);
        assert_false(r->backing.got);
    } else {
        /* The new block is found while the old one is still there. */
        assert_ptr_equal(now, expected(r, nbytes, 16));
        if (now == NULL) {
            r->nnull++;
            assert_filled(l, old);
            return;
        }
        free_in_model(r, was);
    }
    l->ptr = now;
    l->nbytes = nbytes;
    assert_filled(l, old < nbytes ? old : nbytes);
    fill(r, l);
}

static void run_random(struct run *r, unsigned nops)
{
    for (unsigned op = 0; op < nops; op++) {
        unsigned what = (unsigned)host_rng_below(&r->rng, 100);

        /* Tides: long stretches that mostly allocate, then mostly free. */
        if (what < (op / 512 % 2 == 0 ? 50u : 25u) || r->nlive == 0) {
            op_alloc(r);
        } else if (what < 75) {
            op_free(r, host_rng_below(&r->rng, r->nlive));
        } else {
            op_realloc(r, host_rng_below(&r->rng, r->nlive));
        }
        assert_same(&r->heap, &r->model);
    }
    while (r->nlive > 0) {
        op_free(r, host_rng_below(&r->rng, r->nlive));
        assert_same(&r->heap, &r->model);
    }
}

static void random_in_fixed_arenas(void **state)
{
    struct run *r = calloc(1, sizeof(*r));

    (void)state;
    r->rng = host_rng_make("random_in_fixed_arenas");
    heap_list_init(&r->heap, NULL);
    /* Crooked bounds, added out of order, one right behind another. */
    static const struct {
        size_t at, nbytes;
    } piece[] = { { 20000, 30001 }, { 3, 4093 }, { 50001, 9999 }, { 4096, 15904 } };

    for (size_t i = 0; i < MM_COUNTOF(piece); i++) {
        assert_int_equal(heap_list_add_arena(&r->heap, pool + piece[i].at, piece[i].nbytes), MM_OK);
        model_add(&r->model, pool + piece[i].at, piece[i].nbytes, false);
        assert_same(&r->heap, &r->model);
    }
    run_random(r, 40000);
    assert_true(r->nnull > 0); /* it was full at times */
    model_clear(&r->model);
    free(r);
}

static void random_with_backing(void **state)
{
    struct run *r = calloc(1, sizeof(*r));
    struct mm_backing b = backing_of(&r->backing);

    (void)state;
    r->rng = host_rng_make("random_with_backing");
    r->backing.rng = &r->rng;
    r->backing.fail_at = -1;
    heap_list_init(&r->heap, &b);
    run_random(r, 40000);
    assert_true(r->backing.calls > 100);
    assert_int_equal(r->model.narenas, 0); /* all is given back */
    assert_true(slots_free(&r->backing, 0, POOL_SLOTS));
    free(r);
}

/* The same operations again and again, each time with another call of the backing failing. */
static void out_of_memory_at_each_call(void **state)
{
    struct run *r = calloc(1, sizeof(*r));
    struct host_rng seed = host_rng_make("out_of_memory_at_each_call");
    long ncalls = 1;

    (void)state;
    for (long fail_at = 0; fail_at < ncalls; fail_at++) {
        struct mm_backing b = backing_of(&r->backing);

        memset(r, 0, sizeof(*r));
        r->rng = seed;
        r->backing.fail_at = fail_at;
        heap_list_init(&r->heap, &b);
        run_random(r, 300);
        assert_int_equal(r->model.narenas, 0);
        assert_true(r->backing.calls <= fail_at || r->nnull > 0);
        ncalls = r->backing.calls;
    }
    assert_true(ncalls > 5);
    free(r);
}

/* ---- single facts ---- */

static struct heap_list heap;

/* A fresh heap over the first `nbytes` of the pool. */
static void fresh(size_t nbytes)
{
    *port_held_ranks() = 0;
    memset(pool, 0xcc, sizeof(pool));
    heap_list_init(&heap, NULL);
    assert_int_equal(heap_list_add_arena(&heap, pool, nbytes), MM_OK);
}

static unsigned char *get(size_t nbytes)
{
    unsigned char *ptr = heap_list_alloc(&heap, nbytes);

    assert_non_null(ptr);
    return ptr;
}

static void layout_by_hand(void **state)
{
    (void)state;
    fresh(4096);
    assert_ptr_equal(get(1), pool + 64);    /* 48 + 16; block of 32 */
    assert_ptr_equal(get(16), pool + 96);   /* 32 */
    assert_ptr_equal(get(17), pool + 128);  /* 48 */
    assert_ptr_equal(get(0), pool + 176);   /* 32 */
    assert_ptr_equal(get(100), pool + 208); /* 16 + 112 */
    assert_ptr_equal(get(1), pool + 336);
    assert_int_equal(heap.used_bytes, 32 + 32 + 48 + 32 + 128 + 32);
    assert_int_equal(heap_list_size(&heap, pool + 64), 16);
    assert_int_equal(heap_list_size(&heap, pool + 208), 112);

    heap_list_free(&heap, pool + 128);
    assert_ptr_equal(get(40), pool + 368); /* does not fit in the hole of 48: 56 -> 64 */
    heap_list_free(&heap, pool + 96);      /* hole of 80 */
    assert_ptr_equal(get(40), pool + 96);  /* takes 64, and the 16 left over */
    assert_int_equal(heap_list_size(&heap, pool + 96), 64);
    heap_list_free(&heap, NULL);
    assert_sound(heap_list_check(&heap));
}

static void aligned_splits_the_front_off(void **state)
{
    struct heap_list_stats s;

    (void)state;
    fresh(16384);
    assert_ptr_equal(heap_list_alloc_aligned(&heap, 10, 64), pool + 64);
    assert_ptr_equal(heap_list_alloc_aligned(&heap, 10, 4096), pool + 4096);
    assert_ptr_equal(get(10), pool + 96); /* the front is free */
    /* 16 bytes in front are no block: 128 follows at once, but 112 + 32 needs 144 -> 160. */
    assert_ptr_equal(heap_list_alloc_aligned(&heap, 10, 32), pool + 128);
    assert_ptr_equal(get(20), pool + 160);
    assert_ptr_equal(heap_list_alloc_aligned(&heap, 10, 32), pool + 256);
    heap_list_get_stats(&heap, &s);
    assert_int_equal(s.nfree, 3);
    assert_sound(heap_list_check(&heap));

    assert_null(heap_list_alloc_aligned(&heap, 10, 0));
    assert_null(heap_list_alloc_aligned(&heap, 10, 48));
    assert_null(heap_list_alloc_aligned(&heap, 10, 8192 * 4));
    assert_non_null(heap_list_alloc_aligned(&heap, 10, 1));
}

/* No more than was asked for, where alignment is worst: 16 modulo every power of two. */
static void *exact_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    assert_int_equal(align, GRANULE);
    *got = nbytes;
    return (unsigned char *)ctx + 16;
}

static void exact_put(void *ctx, void *base, size_t nbytes)
{
    (void)nbytes;
    assert_ptr_equal(base, (unsigned char *)ctx + 16);
}

static void aligned_fits_in_what_it_fetched(void **state)
{
    struct mm_backing b = {
        .name = "exact", .ctx = pool, .grain = GRANULE, .get = exact_get, .put = exact_put
    };

    (void)state;
    heap_list_init(&heap, &b);
    for (size_t align = 1; align <= 65536; align *= 2) {
        for (size_t nbytes = 0; nbytes < 70; nbytes++) {
            void *ptr = heap_list_alloc_aligned(&heap, nbytes, align);

            assert_non_null(ptr);
            assert_int_equal((uintptr_t)ptr % align, 0);
            assert_sound(heap_list_check(&heap));
            heap_list_free(&heap, ptr);
            assert_int_equal(heap.arena_bytes, 0);
        }
    }
}

static void sizes_do_not_overflow(void **state)
{
    static const size_t huge[] = { SIZE_MAX,      SIZE_MAX - 15, SIZE_MAX - 16, SIZE_MAX - 31,
                                   SIZE_MAX - 64, SIZE_MAX / 2,  HEAP_LIST_MAX, HEAP_LIST_MAX + 1 };
    struct backing k = { .fail_at = -1 };
    struct mm_backing b = backing_of(&k);
    void *ptr;

    (void)state;
    heap_list_init(&heap, &b);
    ptr = heap_list_alloc(&heap, 100);
    for (size_t i = 0; i < MM_COUNTOF(huge); i++) {
        assert_null(heap_list_alloc(&heap, huge[i]));
        assert_null(heap_list_alloc_aligned(&heap, huge[i], 4096));
        assert_null(heap_list_alloc_aligned(&heap, huge[i], HEAP_LIST_MAX));
        assert_null(heap_list_alloc_aligned(&heap, 1, (size_t)1 << 63));
        assert_null(heap_list_alloc_zeroed(&heap, 1, huge[i]));
        assert_null(heap_list_alloc_zeroed(&heap, huge[i], huge[i]));
        assert_null(heap_list_realloc(&heap, ptr, huge[i]));
        assert_sound(heap_list_check(&heap));
    }
    assert_null(
        heap_list_alloc_zeroed(&heap, (size_t)1 << 32, (size_t)1 << 32)); /* 2^64: would be 0 */
    assert_null(heap_list_alloc_zeroed(&heap, ((size_t)1 << 63) + 8, 2)); /* would be 16 */
    assert_int_equal(heap_list_size(&heap, ptr), 112);
}

static void realloc_by_hand(void **state)
{
    unsigned char *a, *b;

    (void)state;
    fresh(4096);
    a = heap_list_realloc(&heap, NULL, 100);
    b = get(100);
    assert_ptr_equal(a, pool + 64);
    assert_ptr_equal(b, pool + 192);
    for (unsigned i = 0; i < 100; i++) {
        a[i] = (unsigned char)i;
    }
    assert_ptr_equal(heap_list_realloc(&heap, a, 0), a); /* shrinks to the smallest block */
    assert_int_equal(heap_list_size(&heap, a), 16);
    assert_ptr_equal(heap_list_realloc(&heap, a, 80), a); /* grows into what it gave up */
    assert_int_equal(heap_list_size(&heap, a), 80);
    assert_ptr_equal(heap_list_realloc(&heap, a, 96), a); /* the last 16 would be no block */
    assert_int_equal(heap_list_size(&heap, a), 112);
    assert_ptr_equal(heap_list_realloc(&heap, a, 97), a);
    assert_sound(heap_list_check(&heap));
    assert_null(heap_list_realloc(&heap, a, 5000)); /* fails, and leaves it */
    assert_int_equal(heap_list_size(&heap, a), 112);
    a[0] = 7;
    a = heap_list_realloc(&heap, a, 113); /* moves behind b */
    assert_ptr_equal(a, pool + 320);
    assert_int_equal(a[0], 7);
    assert_ptr_equal(get(100), pool + 64); /* the old one is free */
    assert_sound(heap_list_check(&heap));
}

static void arenas_are_refused(void **state)
{
    (void)state;
    fresh(4096);
    assert_int_equal(heap_list_add_arena(&heap, pool, 4096), MM_EINVAL);
    assert_int_equal(heap_list_add_arena(&heap, pool + 4095, 4096), MM_EINVAL);
    assert_int_equal(heap_list_add_arena(&heap, pool + 1024, 64), MM_EINVAL);
    assert_int_equal(heap_list_add_arena(&heap, pool + 4096, 95), MM_EINVAL); /* 48 + 32 + 16 */
    assert_int_equal(heap_list_add_arena(&heap, pool + 4097, 110), MM_EINVAL);
    assert_int_equal(heap_list_add_arena(&heap, pool + 4096, 0), MM_EINVAL);
    assert_int_equal(heap_list_add_arena(&heap, pool + 4096, SIZE_MAX), MM_EINVAL);
    assert_int_equal(heap_list_add_arena(&heap, (void *)(UINTPTR_MAX - 8), 4096), MM_EINVAL);
    assert_int_equal(heap_list_add_arena(&heap, pool + 4096, SIZE_MAX / 2), MM_EINVAL);
    assert_int_equal(heap.arena_bytes, 4096);
    assert_int_equal(heap_list_add_arena(&heap, pool + 4096, 96), MM_OK);
    assert_int_equal(heap_list_add_arena(&heap, pool + 4097 + 96, 111), MM_OK);
    assert_int_equal(heap.arena_bytes, 4096 + 96 + 111);
    assert_sound(heap_list_check(&heap));
    assert_null(heap_list_alloc(&heap, 4096)); /* blocks do not merge across arenas */
}

static bool stop_at_third(void *ctx, const struct heap_list_view *v)
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
    heap_list_for_each(&heap, stop_at_third, &n);
    assert_int_equal(n, 3);
}

static bool never_called(void *ctx, const struct heap_list_view *v)
{
    (void)ctx;
    (void)v;
    fail_msg("a damaged block was shown");
    return false;
}

static void for_each_stops_on_first_head_with(unsigned flipped)
{
    unsigned char *a;

    fresh(4096);
    a = get(100);
    a[-16 + (int)(flipped / 8)] ^= (unsigned char)(1u << flipped % 8);
    assert_panics(heap_list_for_each(&heap, never_called, NULL), "a block's header is damaged");
}

/* No block below the first one vouches for it. */
static void for_each_stops_on_damage(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 128; bit++) {
        for_each_stops_on_first_head_with(bit);
    }
}

/* ---- callers who break the rules ---- */

static void assert_broken(const char *number)
{
    const char *broken = heap_list_check(&heap);

    assert_non_null(broken);
    if (strncmp(broken, number, strlen(number)) != 0) {
        fail_msg("%s instead of %s", broken, number);
    }
}

static void alloc_and_forget(size_t nbytes)
{
    void *ptr = heap_list_alloc(&heap, nbytes);

    (void)ptr;
}

static void realloc_and_forget(void *ptr, size_t nbytes)
{
    ptr = heap_list_realloc(&heap, ptr, nbytes);
    (void)ptr;
}

static void stops_on_double_free(void **state)
{
    unsigned char *a, *b, *c;

    (void)state;
    fresh(4096);
    a = get(10);
    b = get(10);
    c = get(10);
    get(10);
    heap_list_free(&heap, b);
    assert_panics(heap_list_free(&heap, b), "it was freed already");
    assert_non_null(strstr(host_panic_text, "heap: free(0x"));
    assert_non_null(strstr(host_panic_text, "called from 0x"));

    fresh(4096);
    get(10);
    get(10);
    get(10);
    get(10);
    heap_list_free(&heap, b);
    heap_list_free(&heap, a); /* b's head disappears into a's */
    assert_panics(heap_list_free(&heap, b), "it was freed already");

    fresh(4096);
    get(10);
    get(10);
    get(10);
    get(10);
    heap_list_free(&heap, b);
    heap_list_free(&heap, c); /* c's head disappears into b's */
    assert_panics(realloc_and_forget(c, 5), "realloc(");
    assert_non_null(strstr(host_panic_text, "it was freed already"));

    fresh(4096);
    get(10);
    get(10);
    get(10);
    get(10);
    heap_list_free(&heap, c);
    heap_list_free(&heap, b);
    assert_ptr_equal(get(48), b); /* over c; its payload is written, its head not yet */
    memset(c, 0, 16);
    assert_panics(heap_list_free(&heap, c), "it was freed already");

    fresh(4096);
    get(10);
    heap_list_free(&heap, a);
    assert_panics(heap_list_size(&heap, a), "it was freed already");
}

static void stops_on_pointers_never_given(void **state)
{
    unsigned char *a, *b;

    (void)state;
    fresh(4096);
    a = get(100);
    assert_panics(heap_list_free(&heap, a + 8), "misaligned");
    fresh(4096);
    get(100);
    b = get(100);
    assert_panics(heap_list_free(&heap, b + 16), "it lies inside a block");
    fresh(4096);
    get(100);
    assert_panics(heap_list_free(&heap, a + 512), "it lies in free memory");
    fresh(4096);
    assert_panics(heap_list_free(&heap, pool + 8192), "outside every arena");
    fresh(4096);
    assert_panics(heap_list_free(&heap, pool + 48), "outside every arena");
    fresh(4096);
    assert_panics(heap_list_free(&heap, pool + 4096 - 16), "outside every arena");
    fresh(4096);
    assert_panics(heap_list_free(&heap, (void *)16), "outside every arena");
    fresh(4096);
    assert_panics(realloc_and_forget((void *)(UINTPTR_MAX - 15), 1), "outside every arena");
}

/* A head copied to where a block could be is still no head: the seal covers the address. */
static void stops_on_forged_header(void **state)
{
    unsigned char *a;

    (void)state;
    fresh(4096);
    a = get(100);
    memcpy(a + 16, a - 16, 16);
    assert_panics(heap_list_free(&heap, a + 32), "it lies inside a block");
}

/* With `bit` of the head at `at` from it flipped, a block can't be freed. */
static void stops_on_flipped_bit(int at, unsigned bit, const char *words)
{
    unsigned char *b;

    fresh(4096);
    get(100);
    b = get(100);
    get(100);
    b[at + (int)(bit / 8)] ^= (unsigned char)(1u << bit % 8);
    assert_non_null(heap_list_check(&heap));
    assert_panics(heap_list_free(&heap, b), words);
}

static void stops_on_every_flipped_bit(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 128; bit++) {
        stops_on_flipped_bit(-16, bit, "its header is damaged");
        stops_on_flipped_bit(112, bit, "the header of the block above it is damaged");
        stops_on_flipped_bit(-16 - 128, bit, "the header of the block below it is damaged");
    }
}

/* Each bit of the links, too: a free block is damaged if one flips. */
static void checker_sees_every_flipped_link(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 128; bit++) {
        unsigned char *a;

        fresh(4096);
        a = get(100);
        get(100);
        heap_list_free(&heap, a);
        a[bit / 8] ^= (unsigned char)(1u << bit % 8);
        assert_broken("H3");
    }
}

/*
 * Blocks a x b y w c z, with a, b and c free and either a or c damaged. Freeing y joins it to b,
 * whose links then lead to new places: before a and c are sealed anew, they are looked at.
 */
static void stops_before_damage_is_sealed(bool damage_first)
{
    unsigned char *block[7];

    fresh(4096);
    for (size_t i = 0; i < MM_COUNTOF(block); i++) {
        block[i] = get(100);
    }
    heap_list_free(&heap, block[0]);
    heap_list_free(&heap, block[2]);
    heap_list_free(&heap, block[5]);
    block[damage_first ? 0 : 5][3] ^= 0x10;
    assert_panics(heap_list_free(&heap, block[3]), "a free block was written to");
}

static void damage_is_not_laundered(void **state)
{
    (void)state;
    stops_before_damage_is_sealed(true);
    stops_before_damage_is_sealed(false);
}

static void stops_on_overflow_and_use_after_free(void **state)
{
    unsigned char *a, *b;

    (void)state;
    fresh(4096);
    a = get(100);
    get(100);
    memset(a, 'A', 130); /* payload is 112 */
    assert_panics(heap_list_free(&heap, a), "the header of the block above it is damaged");

    fresh(4096);
    a = get(100);
    b = get(100);
    get(100);
    heap_list_free(&heap, a);
    a[0] ^= 1; /* a link of the free list */
    assert_panics(alloc_and_forget(10), "a free block was written to");

    fresh(4096);
    get(100);
    get(100);
    get(100);
    heap_list_free(&heap, a);
    a[15] ^= 0x80;
    assert_panics(heap_list_free(&heap, b), "the header of the block below it is damaged");

    /* The header of an arena. */
    fresh(4096);
    a = get(100);
    pool[8] ^= 1;
    assert_panics(heap_list_free(&heap, a), "the header of an arena is damaged");
    /* The walk that explains meets damage. */
    fresh(4096);
    get(100);
    get(100);
    a[-16] ^= 0x40;
    assert_panics(heap_list_free(&heap, a + 160), "a header below it is damaged");
}

static void *lying_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    (void)align;
    *got = nbytes - 1;
    return ctx;
}

static void stops_on_lying_backing(void **state)
{
    struct mm_backing b = {
        .name = "liar", .ctx = pool, .grain = GRANULE, .get = lying_get, .put = backing_put
    };

    (void)state;
    heap_list_init(&heap, &b);
    assert_panics(alloc_and_forget(10), "assertion failed");
}

/* ---- the checker ---- */

/*
 * A forger who knows how heads are sealed: what is planted this way no seal gives away. A head is
 * two words, with half of the seal in the top 16 bits of each; FREE is 1 and USED is 2 in the low
 * bits of the first; a free one is followed by its two links.
 */
static uint64_t mix(uint64_t x, uint64_t v)
{
    x = (x ^ v) * UINT64_C(0x9e3779b97f4a7c15);
    return x ^ x >> 32;
}

static uint64_t mix_start(const void *at)
{
    return mix(UINT64_C(0x6c6f742e706c6174) ^ (uintptr_t)&heap, (uintptr_t)at);
}

static void forge_head(unsigned char *ptr, uint64_t size_and_state, uint64_t below)
{
    uint64_t *head = (uint64_t *)(void *)(ptr - 16);
    uint64_t x = mix(mix(mix_start(head), size_and_state), below);

    if (size_and_state % 16 == 1) {
        x = mix(mix(x, head[2]), head[3]);
    }
    head[0] = size_and_state | (x >> 16 & 0xffff) << 48;
    head[1] = below | (x & 0xffff) << 48;
}

/* An arena's header: next, base, nbytes, end mark, whether it is the backing's, seal. */
static void forge_arena(unsigned char *base, size_t word, uint64_t value)
{
    uint64_t *header = (uint64_t *)(void *)base;

    header[word] = value;
    header[5] = mix_start(base);
    for (size_t i = 0; i < 5; i++) {
        header[5] = mix(header[5], header[i]);
    }
}

static void checker_finds_forgeries(void **state)
{
    unsigned char *a, *b, *c;
    uint64_t *arena = (uint64_t *)(void *)pool;

    (void)state;
    fresh(4096);
    a = get(100);
    b = get(100);
    c = get(100);
    forge_head(b, 128 | 2, 128); /* as it was */
    forge_arena(pool, 4, 0);
    assert_sound(heap_list_check(&heap));
    forge_head(b, 112 | 2, 128); /* ends inside itself, where no head is */
    assert_broken("H3");
    forge_head(b, 16 | 2, 128);
    assert_broken("H2");
    forge_head(b, 0 | 2, 128);
    assert_broken("H2");
    forge_head(b, 4096 | 2, 128);
    assert_broken("H2");
    forge_head(b, 128 | 3, 128);
    assert_broken("H3");
    forge_head(b, 128 | 2, 112);
    assert_broken("H4");
    forge_head(b, 128 | 2, 128);
    forge_head(c, 128 | 1, 128); /* free, but not on the list */
    assert_broken("H6");

    fresh(4096);
    get(100);
    get(100);
    get(100);
    heap_list_free(&heap, b);
    forge_head(c, 128 | 1, 128);
    assert_broken("H5");
    forge_head(c, 128 | 2, 128);
    forge_head(a, 128 | 1, 0);
    assert_broken("H6");
    forge_head(a, 128 | 2, 16);
    assert_broken("H4");

    fresh(4096);
    forge_arena(pool, 4, 1); /* said to be the backing's, and empty */
    assert_broken("H8");
    forge_head(pool + 4096, 16 | 2, 16); /* the end mark */
    assert_broken("H4");

    fresh(4096);
    assert_int_equal(heap_list_add_arena(&heap, pool + 4096, 4096), MM_OK);
    forge_arena(pool, 2, 4097);
    assert_broken("H1");
    forge_arena(pool, 2, 4096);
    assert_sound(heap_list_check(&heap));
    forge_arena(pool + 4096, 0, (uintptr_t)arena); /* a circle */
    assert_broken("H1");
}

static void checker_finds_planted_damage(void **state)
{
    struct heap_list_block *free_head;
    unsigned char *a, *b;

    (void)state;
    fresh(4096);
    pool[24] ^= 1;
    assert_broken("H1");
    fresh(4096);
    a = get(100);
    b = get(100);
    get(100);
    b[-16] ^= 16;
    assert_broken("H3");
    fresh(4096);
    pool[4096 - 16] ^= 16;
    assert_broken("H3");
    fresh(4096);
    heap.free = NULL;
    assert_broken("H6");
    fresh(4096);
    get(100);
    get(100);
    get(100);
    heap_list_free(&heap, a);
    free_head = heap.free;
    memcpy(&heap.free, a + 0, sizeof(heap.free)); /* its `next`: skips the first */
    assert_broken("H6");
    heap.free = free_head;
    assert_sound(heap_list_check(&heap));
    heap.used_bytes += 16;
    assert_broken("H7");
    heap.used_bytes -= 16;
    heap.nused--;
    assert_broken("H7");
    heap.nused++;
    heap.arena_bytes--;
    assert_broken("H7");
    heap.arena_bytes++;
    assert_sound(heap_list_check(&heap));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_by_hand),
        cmocka_unit_test(aligned_splits_the_front_off),
        cmocka_unit_test(aligned_fits_in_what_it_fetched),
        cmocka_unit_test(sizes_do_not_overflow),
        cmocka_unit_test(realloc_by_hand),
        cmocka_unit_test(arenas_are_refused),
        cmocka_unit_test(for_each_can_stop),
        cmocka_unit_test(for_each_stops_on_damage),
        cmocka_unit_test(random_in_fixed_arenas),
        cmocka_unit_test(random_with_backing),
        cmocka_unit_test(out_of_memory_at_each_call),
        cmocka_unit_test(stops_on_double_free),
        cmocka_unit_test(stops_on_pointers_never_given),
        cmocka_unit_test(stops_on_forged_header),
        cmocka_unit_test(stops_on_every_flipped_bit),
        cmocka_unit_test(checker_sees_every_flipped_link),
        cmocka_unit_test(damage_is_not_laundered),
        cmocka_unit_test(stops_on_overflow_and_use_after_free),
        cmocka_unit_test(stops_on_lying_backing),
        cmocka_unit_test(checker_finds_planted_damage),
        cmocka_unit_test(checker_finds_forgeries),
    };

    return cmocka_run_group_tests_name("heap_list", tests, NULL, NULL);
}
