/*
 * test_buddy.c - power-of-two blocks: against a model that knows the owner of each unit, on arenas
 * of all shapes, of which most have addresses where there is nothing; and what stops the machine.
 */
#include "host_port.h"

#include <stdlib.h>

#include "mm/buddy.h"
#include "mm/heap_ff.h"

#define SHIFT 6u /* of most tests */
#define UNIT  (UINT64_C(1) << SHIFT)

static void *at(uint64_t addr)
{
    return (void *)(uintptr_t)addr;
}

static uint64_t addr_of(const void *ptr)
{
    return (uintptr_t)ptr;
}

static void *meta_for(uint64_t base, uint64_t nbytes, unsigned shift, size_t *size)
{
    void *meta;

    *size = buddy_meta_bytes(at(base), nbytes, shift);
    meta = aligned_alloc(BUDDY_META_ALIGN, *size);
    assert_non_null(meta);
    memset(meta, 0xa5, *size);
    return meta;
}

/* ---- the model ------------------------------------------------------------------------------- */

#define MAX_UNITS (UINT64_C(1) << 16)
#define MAX_HELD  4096u

/* A few arenas, and who has each of their units: the number of a held block, and one. */
static struct {
    struct buddy b;
    unsigned shift;
    unsigned narenas;
    struct {
        uint64_t first, count; /* units */
        uint16_t *owner;
        void *meta;
    } arena[4];
    struct {
        uint64_t unit;
        unsigned order;
    } held[MAX_HELD];
    unsigned nheld;
    uint64_t nfree;
    uint64_t kept;       /* unit of the block given back last, */
    unsigned kept_order; /* and its order; BUDDY_ORDERS if others came since */
} m;

static void open_model(unsigned shift)
{
    m.shift = shift;
    m.narenas = 0;
    m.nheld = 0;
    m.nfree = 0;
    m.kept_order = BUDDY_ORDERS;
    buddy_init(&m.b, shift, NULL, NULL, 0);
}

static void add(uint64_t base, uint64_t nbytes)
{
    size_t size;
    void *meta = meta_for(base, nbytes, m.shift, &size);
    uint64_t first = (base + (UINT64_C(1) << m.shift) - 1) >> m.shift;
    uint64_t end = (base + nbytes) >> m.shift;
    unsigned i = m.narenas++;

    first += first == 0;
    assert_int_equal(buddy_add_arena(&m.b, at(base), nbytes, meta, size), MM_OK);
    m.arena[i].first = first;
    m.arena[i].count = end - first;
    m.arena[i].owner = calloc(end - first, sizeof(uint16_t));
    m.arena[i].meta = meta;
    m.nfree += end - first;
    assert_true(end - first <= MAX_UNITS);
}

static void close_model(void)
{
    for (unsigned i = 0; i < m.narenas; i++) {
        free(m.arena[i].owner);
        free(m.arena[i].meta);
    }
}

/* Owners of `n` units from `unit` on, all in one arena; NULL if they are not. */
static uint16_t *owners(uint64_t unit, uint64_t n)
{
    for (unsigned i = 0; i < m.narenas; i++) {
        uint64_t off = unit - m.arena[i].first;

        if (off < m.arena[i].count && n <= m.arena[i].count - off) {
            return &m.arena[i].owner[off];
        }
    }
    return NULL;
}

static bool all_are(const uint16_t *owner, uint64_t n, uint16_t who)
{
    for (uint64_t i = 0; i < n; i++) {
        if (owner[i] != who) {
            return false;
        }
    }
    return true;
}

static bool exists(unsigned order)
{
    uint64_t n = UINT64_C(1) << order;

    for (unsigned i = 0; i < m.narenas; i++) {
        uint64_t end = m.arena[i].first + m.arena[i].count;

        for (uint64_t unit = mm_align_up(m.arena[i].first, n); unit + n <= end; unit += n) {
            if (all_are(owners(unit, n), n, 0)) {
                return true;
            }
        }
    }
    return false;
}

/* Where the textbook takes it from: the lowest of the smallest free blocks. For one arena. */
static uint64_t predict(unsigned order)
{
    uint64_t end = m.arena[0].first + m.arena[0].count;
    unsigned best_order = BUDDY_ORDERS;
    uint64_t best = 0;

    if (order == m.kept_order) {
        return m.kept;
    }
    for (uint64_t unit = m.arena[0].first; unit < end;) {
        unsigned k = 0;

        while (*owners(unit, 1) == 0 && mm_is_aligned(unit, UINT64_C(2) << k) &&
               owners(unit, UINT64_C(2) << k) != NULL &&
               all_are(owners(unit, UINT64_C(2) << k), UINT64_C(2) << k, 0)) {
            k++;
        }
        if (*owners(unit, 1) == 0 && k >= order && k < best_order) {
            best = unit;
            best_order = k;
        }
        unit += UINT64_C(1) << k;
    }
    return best;
}

static void set_owner(uint64_t unit, unsigned order, uint16_t from, uint16_t to)
{
    uint64_t n = UINT64_C(1) << order;
    uint16_t *owner = owners(unit, n);

    assert_non_null(owner);
    assert_true(all_are(owner, n, from));
    for (uint64_t i = 0; i < n; i++) {
        owner[i] = to;
    }
}

/* Is it refused if, and only if, there is no such block? */
static void get(unsigned order)
{
    uint64_t predicted = m.narenas == 1 ? predict(order) : 0;
    void *ptr = buddy_alloc(&m.b, order);

    m.kept_order = BUDDY_ORDERS;
    if (ptr == NULL) {
        assert_false(exists(order));
        return;
    }
    assert_true(m.narenas > 1 || addr_of(ptr) == predicted << m.shift);
    assert_true(mm_is_aligned(addr_of(ptr), UINT64_C(1) << (m.shift + order)));
    m.held[m.nheld].unit = addr_of(ptr) >> m.shift;
    m.held[m.nheld].order = order;
    m.nheld++;
    set_owner(addr_of(ptr) >> m.shift, order, 0, (uint16_t)m.nheld);
    m.nfree -= UINT64_C(1) << order;
}

static void put(unsigned i)
{
    uint64_t unit = m.held[i].unit;
    unsigned order = m.held[i].order;
    unsigned last = --m.nheld;

    assert_int_equal(buddy_order(&m.b, at(unit << m.shift)), order);
    buddy_free(&m.b, at(unit << m.shift), order);
    m.kept = unit;
    m.kept_order = order;
    set_owner(unit, order, (uint16_t)(i + 1), 0);
    m.nfree += UINT64_C(1) << order;
    if (i != last) {
        m.held[i] = m.held[last];
        set_owner(m.held[i].unit, m.held[i].order, (uint16_t)(last + 1), (uint16_t)(i + 1));
    }
}

/* What buddy_for_each() shows: no gaps, no overlaps, the model's owners, free blocks merged. */
struct walk {
    uint64_t unit;
    unsigned arena, narenas;
    uint64_t nfree, nused;
    uint64_t nbuddies;   /* both free */
    uint64_t last_free;  /* the free block just before, */
    unsigned last_order; /* and its order; BUDDY_ORDERS if there is none */
};

static int arena_at(uint64_t unit)
{
    for (unsigned i = 0; i < m.narenas; i++) {
        if (m.arena[i].first == unit) {
            return (int)i;
        }
    }
    return -1;
}

static bool compare(void *ctx, const struct buddy_view *v)
{
    struct walk *k = ctx;
    uint64_t unit = addr_of(v->ptr) >> m.shift;
    uint64_t n = UINT64_C(1) << v->order;
    const uint16_t *owner = owners(unit, n);

    assert_int_equal(v->nbytes, n << m.shift);
    assert_non_null(owner);
    assert_int_equal(v->first_in_arena, arena_at(unit) >= 0);
    if (v->first_in_arena) {
        assert_true(unit >= k->unit);
        k->narenas++;
        k->last_order = BUDDY_ORDERS;
    } else {
        assert_int_equal(unit, k->unit);
    }
    k->unit = unit + n;
    assert_true(all_are(owner, n, owner[0]));
    if (v->used) {
        k->nused++;
        assert_int_equal(m.held[owner[0] - 1].unit, unit);
        assert_int_equal(m.held[owner[0] - 1].order, v->order);
    } else {
        assert_int_equal(owner[0], 0);
        k->nbuddies += k->last_order == v->order && (k->last_free ^ n) == unit;
        k->nfree += n;
        k->last_free = unit;
    }
    k->last_order = v->used ? BUDDY_ORDERS : v->order;
    return true;
}

static void assert_same(void)
{
    struct walk k = { .last_order = BUDDY_ORDERS };
    struct buddy_stats s;
    uint64_t total = 0, blocks = 0;

    assert_sound(buddy_check(&m.b));
    buddy_for_each(&m.b, compare, &k);
    assert_int_equal(k.narenas, m.narenas);
    assert_int_equal(k.nused, m.nheld);
    assert_int_equal(k.nfree, m.nfree);
    assert_true(k.nbuddies <= 1); /* what was given back last is about to be merged */
    buddy_get_stats(&m.b, &s);
    for (unsigned i = 0; i < m.narenas; i++) {
        total += m.arena[i].count;
    }
    for (unsigned order = 0; order < BUDDY_ORDERS; order++) {
        blocks += s.free_blocks[order] << order;
    }
    assert_int_equal(s.arena_bytes, total << m.shift);
    assert_int_equal(s.used_bytes, (total - m.nfree) << m.shift);
    assert_int_equal(s.free_bytes, m.nfree << m.shift);
    assert_int_equal(blocks, m.nfree);
    assert_int_equal(s.nused, m.nheld);
    assert_int_equal(s.narenas, m.narenas);
}

static void churn(struct host_rng *rng, unsigned steps, unsigned top, unsigned look_each)
{
    unsigned fill = 50;

    for (unsigned i = 0; i < steps; i++) {
        if (i % 512 == 0) {
            fill = (unsigned)host_rng_below(rng, 101); /* tends to be empty, or full */
        }
        if (m.nheld < MAX_HELD && host_rng_below(rng, 100) < fill) {
            unsigned order = (unsigned)host_rng_below(rng, top + 1);

            get(host_rng_below(rng, 3) != 0 ? order / 3 : order);
        } else if (m.nheld > 0) {
            put((unsigned)host_rng_below(rng, m.nheld));
        }
        if (i % look_each == 0) {
            assert_same();
        }
    }
    while (m.nheld > 0) {
        put((unsigned)host_rng_below(rng, m.nheld));
    }
    assert_same();
}

static void test_model_small(void **state)
{
    struct host_rng rng = host_rng_make("one node, and a little more");

    (void)state;
    for (unsigned round = 0; round < 300; round++) {
        open_model(4 + (unsigned)host_rng_below(&rng, 10));
        add(host_rng_below(&rng, UINT64_C(1) << 40), (2 + host_rng_below(&rng, 200)) << m.shift);
        churn(&rng, 200, 8, 1);
        close_model();
    }
}

static void test_model_large(void **state)
{
    struct host_rng rng = host_rng_make("three levels");

    (void)state;
    for (unsigned round = 0; round < 8; round++) {
        open_model(SHIFT);
        add((host_rng_below(&rng, 1 << 20) << 24) + host_rng_below(&rng, 10000),
            (1000 + host_rng_below(&rng, 19000)) * UNIT);
        churn(&rng, 6000, 14, 97);
        close_model();
    }
}

static void test_model_arenas(void **state)
{
    struct host_rng rng = host_rng_make("several arenas");

    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        open_model(12);
        add(UINT64_C(7) << 32, 300 << 12);
        add(0, 100 << 12);                                /* address 0 is not given */
        add((UINT64_C(7) << 32) + (300 << 12), 65 << 12); /* blocks don't merge across a border */
        add(UINT64_C(0) - (64 << 12), 63 << 12);          /* the highest there can be */
        churn(&rng, 2000, 9, 29);
        close_model();
    }
}

/* ---- shapes ---------------------------------------------------------------------------------- */

/* An empty arena is one free block if it is of such a shape, and can be had as that. */
static void test_whole(void **state)
{
    (void)state;
    for (unsigned order = 0; order <= 16; order++) {
        void *ptr;

        open_model(5);
        add(UINT64_C(3) << 40, UINT64_C(32) << order);
        for (unsigned k = order + 1; k < BUDDY_ORDERS + 40; k++) {
            assert_null(buddy_alloc(&m.b, k));
        }
        ptr = buddy_alloc(&m.b, order);
        assert_int_equal(addr_of(ptr), UINT64_C(3) << 40);
        assert_null(buddy_alloc(&m.b, 0));
        assert_sound(buddy_check(&m.b));
        buddy_free(&m.b, ptr, order);
        assert_same();
        for (unsigned k = 0; k < order; k++) { /* split on every way down */
            get(k);
            assert_same();
        }
        close_model();
    }
}

static void test_lowest_first(void **state)
{
    (void)state;
    open_model(SHIFT);
    add(UINT64_C(1) << 30, 4096 * UNIT);
    for (uint64_t i = 0; i < 4096; i++) {
        assert_int_equal(addr_of(buddy_alloc(&m.b, 0)), (UINT64_C(1) << 30) + i * UNIT);
    }
    assert_null(buddy_alloc(&m.b, 0));
    buddy_free(&m.b, at((UINT64_C(1) << 30) + 3000 * UNIT), 0);
    buddy_free(&m.b, at((UINT64_C(1) << 30) + 70 * UNIT), 0);
    buddy_free(&m.b, at((UINT64_C(1) << 30) + 7 * UNIT), 0);
    assert_int_equal(addr_of(buddy_alloc(&m.b, 0)), (UINT64_C(1) << 30) + 7 * UNIT);
    assert_int_equal(addr_of(buddy_alloc(&m.b, 0)), (UINT64_C(1) << 30) + 70 * UNIT);
    assert_int_equal(addr_of(buddy_alloc(&m.b, 0)), (UINT64_C(1) << 30) + 3000 * UNIT);
    close_model();
}

/* A small request does not break a large block while there is a small one beside it. */
static void test_exact_first(void **state)
{
    void *a, *b, *c;

    (void)state;
    open_model(SHIFT);
    add(UINT64_C(1) << 30, 64 * UNIT);
    a = buddy_alloc(&m.b, 1);
    b = buddy_alloc(&m.b, 0);
    buddy_free(&m.b, a, 1);
    assert_int_equal(addr_of(b), (UINT64_C(1) << 30) + 2 * UNIT);
    c = buddy_alloc(&m.b, 0);
    assert_int_equal(addr_of(c), (UINT64_C(1) << 30) + 3 * UNIT);
    close_model();
}

/* The block given back last is had again by who asks for its order next, and by nobody else. */
static void test_kept(void **state)
{
    void *a, *b, *c;

    (void)state;
    open_model(SHIFT);
    add(UINT64_C(1) << 30, 64 * UNIT);
    a = buddy_alloc(&m.b, 0);
    b = buddy_alloc(&m.b, 0);
    c = buddy_alloc(&m.b, 0);
    buddy_free(&m.b, a, 0);
    buddy_free(&m.b, c, 0);
    assert_sound(buddy_check(&m.b));
    assert_ptr_equal(buddy_alloc(&m.b, 0), c);
    assert_ptr_equal(buddy_alloc(&m.b, 0), a);
    buddy_free(&m.b, b, 0);
    buddy_free(&m.b, c, 0);
    assert_panics(buddy_free(&m.b, c, 0), "is free already (0x40000080, order 0)");
    assert_panics((void)buddy_order(&m.b, c), "is free already");
    assert_null(buddy_alloc(&m.b, 6)); /* it is merged before anything is refused */
    buddy_free(&m.b, a, 0);
    assert_sound(buddy_check(&m.b));
    assert_ptr_equal(buddy_alloc(&m.b, 6), a);
    close_model();
}

static void test_orders(void **state)
{
    (void)state;
    open_model(SHIFT);
    assert_int_equal(buddy_order_for(&m.b, 0), 0);
    assert_int_equal(buddy_order_for(&m.b, 1), 0);
    assert_int_equal(buddy_order_for(&m.b, 64), 0);
    assert_int_equal(buddy_order_for(&m.b, 65), 1);
    assert_int_equal(buddy_order_for(&m.b, 128), 1);
    assert_int_equal(buddy_order_for(&m.b, 129), 2);
    assert_int_equal(buddy_order_for(&m.b, UINT64_C(1) << 29), 23);
    assert_true(buddy_order_for(&m.b, (UINT64_C(1) << 29) + 1) >= BUDDY_ORDERS);
    assert_true(buddy_order_for(&m.b, SIZE_MAX) >= BUDDY_ORDERS);
    assert_null(buddy_alloc(&m.b, BUDDY_ORDERS));
    assert_null(buddy_alloc(&m.b, buddy_order_for(&m.b, SIZE_MAX)));
    assert_null(buddy_alloc(&m.b, UINT32_MAX));
}

static void test_arenas_that_can_be_none(void **state)
{
    static _Alignas(BUDDY_META_ALIGN) uint8_t meta[4096];
    struct buddy b;
    size_t size;

    (void)state;
    assert_int_equal(buddy_meta_bytes(at(0x1000), 63, SHIFT), 0);
    assert_int_equal(buddy_meta_bytes(at(0x1001), 126, SHIFT), 0);
    assert_true(buddy_meta_bytes(at(0x1001), 127, SHIFT) > 0);
    assert_int_equal(buddy_meta_bytes(at(0), UNIT, SHIFT), 0);
    assert_int_equal(buddy_meta_bytes(at(UINT64_MAX - 0xfff), 0x1000, SHIFT), 0);
    assert_int_equal(buddy_meta_bytes(at(0x1000), UINT64_C(1) << 30, SHIFT), 0);

    buddy_init(&b, SHIFT, NULL, NULL, 0);
    size = buddy_meta_bytes(at(0x10000), 0x10000, SHIFT);
    assert_true(size <= sizeof(meta));
    assert_int_equal(buddy_add_arena(&b, at(0x10000), 0x10000, meta, size - 1), MM_ENOSPC);
    assert_int_equal(buddy_add_arena(&b, at(0x10000), 63, meta, size), MM_EINVAL);
    assert_int_equal(buddy_add_arena(&b, at(0x10000), 0x10000, meta, size), MM_OK);
    assert_int_equal(buddy_add_arena(&b, at(0x1ffc0), 0x1000, meta, size), MM_EINVAL);
    assert_int_equal(buddy_add_arena(&b, at(0x8000), 0x8040, meta, size), MM_EINVAL);
    assert_int_equal(buddy_add_arena(&b, at(0x14000), 0x40, meta, size), MM_EINVAL);
    assert_sound(buddy_check(&b));
    assert_true(buddy_covers(&b, at(0x10000)) && buddy_covers(&b, at(0x1ffff)));
    assert_false(buddy_covers(&b, at(0xffff)) || buddy_covers(&b, at(0x20000)));
}

static void test_too_many_arenas(void **state)
{
    struct buddy b;
    void *metas[BUDDY_MAX_ARENAS];
    size_t size = 0;

    (void)state;
    buddy_init(&b, 12, NULL, NULL, 0);
    for (uint64_t i = 0; i < BUDDY_MAX_ARENAS; i++) {
        uint64_t base = (1 + i * 37 % BUDDY_MAX_ARENAS) << 20;

        metas[i] = meta_for(base, 0x3000, 12, &size);
        assert_int_equal(buddy_add_arena(&b, at(base), 0x3000, metas[i], size), MM_OK);
        assert_sound(buddy_check(&b));
    }
    assert_int_equal(buddy_add_arena(&b, at(0x123456000), 0x3000, metas[0], size), MM_ENOSPC);
    for (uint64_t i = 0; i < BUDDY_MAX_ARENAS; i++) { /* the lowest first, of those alike */
        assert_int_equal(addr_of(buddy_alloc(&b, 1)), (i + 1) << 20);
    }
    assert_null(buddy_alloc(&b, 1));
    for (uint64_t i = 0; i < BUDDY_MAX_ARENAS; i++) {
        buddy_free(&b, at((BUDDY_MAX_ARENAS - i) << 20), 1);
        assert_sound(buddy_check(&b));
    }
    for (uint64_t i = 0; i < BUDDY_MAX_ARENAS; i++) {
        free(metas[i]);
    }
}

/* ---- backings -------------------------------------------------------------------------------- */

/* Ranges of numbers, and metadata from malloc(); either may refuse. */
static struct source {
    uint64_t next;
    unsigned gets, puts;
    unsigned refuse_at; /* the get with this number is refused, and those after it; 0: none */
    size_t longest;     /* 0: any length */
    uint64_t out;       /* bytes */
} from, metas;

static bool refuses(struct source *s, size_t nbytes)
{
    s->gets++;
    return (s->refuse_at != 0 && s->gets >= s->refuse_at) ||
           (s->longest != 0 && nbytes > s->longest);
}

static void *from_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    struct source *s = ctx;
    uint64_t base = mm_align_up(s->next, align);

    if (refuses(s, nbytes)) {
        return NULL;
    }
    *got = mm_align_up(nbytes, 4096);
    s->next = base + *got + 4096;
    s->out += *got;
    return at(base);
}

static void from_put(void *ctx, void *base, size_t nbytes)
{
    struct source *s = ctx;

    assert_true(mm_is_aligned(addr_of(base) | nbytes, 4096));
    s->puts++;
    s->out -= nbytes;
}

static void *metas_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    struct source *s = ctx;
    void *meta;

    if (refuses(s, nbytes)) {
        return NULL;
    }
    *got = mm_align_up(nbytes, align);
    s->out += *got;
    meta = aligned_alloc(align, *got);
    memset(meta, 0x5a, *got);
    return meta;
}

static void metas_put(void *ctx, void *base, size_t nbytes)
{
    struct source *s = ctx;

    free(base);
    s->puts++;
    s->out -= nbytes;
}

static void open_backed(struct buddy *b, unsigned shift, size_t step)
{
    const struct mm_backing backing = {
        .name = "numbers", .ctx = &from, .grain = 4096, .get = from_get, .put = from_put
    };
    const struct mm_backing meta = {
        .name = "malloc", .ctx = &metas, .grain = 16, .get = metas_get, .put = metas_put
    };

    from = (struct source){ .next = UINT64_C(1) << 32 };
    metas = (struct source){ .next = 0 };
    buddy_init(b, shift, &backing, &meta, step);
}

static void test_fetch_and_return(void **state)
{
    struct buddy b;
    void *ptrs[3 * 1024];

    (void)state;
    open_backed(&b, SHIFT, 65536);
    for (unsigned i = 0; i < MM_COUNTOF(ptrs); i++) {
        ptrs[i] = buddy_alloc(&b, 0);
        assert_non_null(ptrs[i]);
    }
    assert_int_equal(from.gets, 3);
    assert_sound(buddy_check(&b));
    for (unsigned i = 0; i < MM_COUNTOF(ptrs); i++) {
        buddy_free(&b, ptrs[i], 0);
        assert_sound(i % 64 == 0 ? buddy_check(&b) : NULL);
    }
    assert_int_equal(from.puts, 2); /* one is kept, */
    for (unsigned i = 0; i < 100; i++) {
        buddy_free(&b, buddy_alloc(&b, i % 8), i % 8);
    }
    assert_int_equal(from.gets, 3); /* and used */
    buddy_trim(&b);
    buddy_trim(&b);
    assert_int_equal(from.puts, 3);
    assert_int_equal(from.out + metas.out, 0);
    assert_sound(buddy_check(&b));
}

/* A block that is larger than the step; and one for which the step is too much to ask. */
static void test_fetch_sizes(void **state)
{
    struct buddy b;
    void *large, *small;

    (void)state;
    open_backed(&b, 12, 65536);
    large = buddy_alloc(&b, 10);
    assert_non_null(large);
    assert_true(mm_is_aligned(addr_of(large), UINT64_C(1) << 22));
    assert_int_equal(from.out, UINT64_C(1) << 22);
    from.longest = 8192;
    small = buddy_alloc(&b, 1);
    assert_non_null(small);
    assert_int_equal(from.out, (UINT64_C(1) << 22) + 8192);
    assert_null(buddy_alloc(&b, 2));
    buddy_free(&b, small, 1);
    buddy_free(&b, large, 10);
    buddy_trim(&b);
    assert_int_equal(from.out + metas.out, 0);
}

/* The arena that is kept goes back before a request is refused. */
static void test_spare_goes_first(void **state)
{
    struct buddy b;

    (void)state;
    open_backed(&b, 12, 65536);
    buddy_free(&b, buddy_alloc(&b, 0), 0);
    assert_int_equal(from.out, 65536);
    from.refuse_at = from.gets + 1;
    assert_null(buddy_alloc(&b, 5));
    assert_int_equal(from.out + metas.out, 0);
    assert_sound(buddy_check(&b));
    from.refuse_at = 0;
    buddy_free(&b, buddy_alloc(&b, 5), 5);
    buddy_trim(&b);
    assert_int_equal(from.out + metas.out, 0);
}

/* There is room for arenas until there are BUDDY_MAX_ARENAS; they become larger on the way. */
static void test_fetch_many(void **state)
{
    struct buddy b;
    struct buddy_stats s;
    unsigned n = 0;

    (void)state;
    open_backed(&b, 12, 4096);
    while (buddy_alloc(&b, 0) != NULL) {
        n++;
    }
    assert_sound(buddy_check(&b));
    buddy_get_stats(&b, &s);
    assert_int_equal(s.narenas, BUDDY_MAX_ARENAS);
    assert_int_equal(s.nused, n);
    assert_int_equal(s.free_bytes, 0);
    assert_true(n > 1000);
    for (unsigned i = 0; i < b.narenas; i++) {
        free(b.arenas[i]);
    }
}

/* Each of the gets is refused in turn, and all after it; nothing is lost, or left half done. */
static void test_refusals(void **state)
{
    struct host_rng rng = host_rng_make("refusals");

    (void)state;
    for (unsigned which = 0; which < 2; which++) {
        for (unsigned refuse = 1; refuse < 40; refuse++) {
            void *ptrs[300];
            unsigned orders[300];
            unsigned n = 0;
            struct buddy b;

            open_backed(&b, SHIFT, 4096);
            *(which == 0 ? &from.refuse_at : &metas.refuse_at) = refuse;
            for (unsigned i = 0; i < MM_COUNTOF(ptrs); i++) {
                unsigned order = (unsigned)host_rng_below(&rng, 8);
                void *ptr = buddy_alloc(&b, order);

                if (ptr != NULL) {
                    ptrs[n] = ptr;
                    orders[n++] = order;
                }
                assert_sound(buddy_check(&b));
            }
            assert_true(refuse > 1 || n == 0);
            while (n > 0) {
                n--;
                buddy_free(&b, ptrs[n], orders[n]);
            }
            buddy_trim(&b);
            assert_sound(buddy_check(&b));
            assert_int_equal(from.out + metas.out, 0);
        }
    }
}

/* first fit, on a buddy, on an arena. */
static void test_as_backing(void **state)
{
    const uint64_t nbytes = 1 << 20;
    void *arena = aligned_alloc(nbytes, nbytes);
    struct host_rng rng = host_rng_make("a heap on a buddy");
    struct heap_ff h;
    struct buddy b;
    struct mm_backing backing;
    struct buddy_stats s;
    size_t size;
    void *meta = meta_for(addr_of(arena), nbytes, 12, &size);
    uint8_t *ptrs[500] = { NULL };

    (void)state;
    buddy_init(&b, 12, NULL, NULL, 0);
    assert_int_equal(buddy_add_arena(&b, arena, nbytes, meta, size), MM_OK);
    backing = buddy_backing(&b, "buddy");
    assert_int_equal(backing.grain, 4096);
    heap_ff_init(&h, &backing, 0);
    for (unsigned i = 0; i < 20000; i++) {
        unsigned k = (unsigned)host_rng_below(&rng, MM_COUNTOF(ptrs));

        heap_ff_free(&h, ptrs[k]);
        ptrs[k] = heap_ff_alloc(&h, host_rng_below(&rng, 4000));
        if (ptrs[k] != NULL) {
            ptrs[k][0] = 1;
        }
    }
    assert_sound(buddy_check(&b));
    for (unsigned k = 0; k < MM_COUNTOF(ptrs); k++) {
        heap_ff_free(&h, ptrs[k]);
    }
    heap_ff_trim(&h);
    assert_sound(buddy_check(&b));
    buddy_get_stats(&b, &s);
    assert_int_equal(s.nused, 0);
    assert_panics(backing.put(backing.ctx, arena, 4096), "is free already");
    assert_panics(backing.put(backing.ctx, arena, 5000), "is not as long as any block");
    assert_panics(backing.put(backing.ctx, arena, 2048), "is not as long as any block");
    free(meta);
    free(arena);
}

/* ---- what stops the machine ------------------------------------------------------------------ */

#define BASE UINT64_C(0x40000000)

static void test_deaths(void **state)
{
    void *small, *large, *huge;

    (void)state;
    open_model(SHIFT);
    add(BASE, 4096 * UNIT);
    small = buddy_alloc(&m.b, 0);
    large = buddy_alloc(&m.b, 4);
    huge = buddy_alloc(&m.b, 8);
    assert_int_equal(addr_of(small), BASE);
    assert_int_equal(addr_of(large), BASE + 16 * UNIT);
    assert_int_equal(addr_of(huge), BASE + 256 * UNIT);
    buddy_free(&m.b, NULL, 3);

    assert_panics(buddy_free(&m.b, at(BASE - UNIT), 0), "is in no arena");
    assert_panics(buddy_free(&m.b, at(BASE + 4096 * UNIT), 0), "is in no arena");
    assert_panics(buddy_free(&m.b, at(BASE + UNIT), 0), "is free already (0x40000040, order 0)");
    assert_panics(buddy_free(&m.b, at(BASE + 5 * UNIT), 0),
                  "is free already (0x40000100, order 2)");
    assert_panics(buddy_free(&m.b, at(BASE + 1024 * UNIT), 10),
                  "is free already (0x40010000, order 10)");
    assert_panics(buddy_free(&m.b, at(BASE + 17 * UNIT), 0),
                  "lies inside a block (0x40000400, order 4)");
    assert_panics(buddy_free(&m.b, at(BASE + 320 * UNIT), 6),
                  "lies inside a block (0x40004000, order 8)");
    assert_panics(buddy_free(&m.b, at(BASE + 321 * UNIT), 0),
                  "lies inside a block (0x40004000, order 8)");
    assert_panics(buddy_free(&m.b, at(BASE + 16), 0), "lies inside a block (0x40000000, order 0)");
    for (volatile unsigned order = 0; order < BUDDY_ORDERS + 5; order++) {
        if (order != 0) {
            assert_panics(buddy_free(&m.b, small, order), "is a block of another order");
        }
        if (order != 4) {
            assert_panics(buddy_free(&m.b, large, order),
                          "is a block of another order (0x40000400, order 4)");
        }
        if (order != 8) {
            assert_panics(buddy_free(&m.b, huge, order),
                          "is a block of another order (0x40004000, order 8)");
        }
    }
    assert_panics((void)buddy_order(&m.b, at(BASE + UNIT)), "order(0x40000040), called from");
    assert_panics((void)buddy_order(&m.b, at(BASE + 17 * UNIT)), "lies inside a block");
    assert_panics((void)buddy_order(&m.b, at(1)), "is in no arena");

    buddy_free(&m.b, large, 4);
    assert_panics(buddy_free(&m.b, large, 4), "free(0x40000400), called from");
    assert_panics(buddy_free(&m.b, large, 4), "is free already (0x40000400, order 4)");
    buddy_free(&m.b, huge, 8);
    assert_panics(buddy_free(&m.b, huge, 8), "is free already");
    buddy_free(&m.b, small, 0);
    assert_panics(buddy_free(&m.b, small, 0), "is free already");
    assert_same(); /* none of these did anything */
    close_model();
}

/* Two blocks side by side are not one of the next order, nor is half of one a block. */
static void test_neighbours(void **state)
{
    (void)state;
    for (volatile unsigned order = 0; order < 12; order++) {
        void *a, *b;

        open_model(SHIFT);
        add(BASE, UNIT << 13);
        a = buddy_alloc(&m.b, order);
        b = buddy_alloc(&m.b, order);
        assert_int_equal(addr_of(b), addr_of(a) + (UNIT << order));
        assert_panics(buddy_free(&m.b, a, order + 1), "is a block of another order");
        assert_panics(buddy_free(&m.b, b, order + 1), "is a block of another order");
        if (order > 0) {
            assert_panics(buddy_free(&m.b, a, order - 1), "is a block of another order");
            assert_panics(buddy_free(&m.b, at(addr_of(a) + (UNIT << (order - 1))), order - 1),
                          "lies inside a block");
        }
        buddy_free(&m.b, a, order);
        buddy_free(&m.b, b, order);
        assert_same();
        close_model();
    }
}

/* ---- damage ---------------------------------------------------------------------------------- */

/* Of the metadata: what comes before pointers, bitmaps and tags. Those of one unit: a tag. */
static size_t header_bytes(void)
{
    return buddy_meta_bytes(at(0x1000), 0x1000, 12) - BUDDY_META_ALIGN;
}

/* Every bit of bitmaps and tags is checked, and of what says where they are. */
static void test_damage_is_found(void **state)
{
    struct host_rng rng = host_rng_make("damage");
    uint8_t *meta;
    size_t size;

    (void)state;
    open_model(SHIFT);
    add(BASE + 5 * UNIT, 4500 * UNIT);
    for (unsigned i = 0; i < 300; i++) {
        get((unsigned)host_rng_below(&rng, 6));
    }
    for (unsigned i = 0; i < 200; i++) {
        put((unsigned)host_rng_below(&rng, m.nheld));
    }
    meta = m.arena[0].meta;
    size = buddy_meta_bytes(at(BASE + 5 * UNIT), 4500 * UNIT, SHIFT);
    assert_int_equal(size % BUDDY_META_ALIGN, 0);
    size -= BUDDY_META_ALIGN; /* there may be padding at the end */
    for (size_t i = header_bytes(); i < size; i++) {
        for (unsigned k = 0; k < 8; k++) {
            meta[i] ^= (uint8_t)(1u << k);
            if (buddy_check(&m.b) == NULL) {
                fail_msg("byte %zu, bit %u: not noticed", i, k);
            }
            meta[i] ^= (uint8_t)(1u << k);
        }
    }
    assert_same();
    close_model();
}

/* The header, too, but for what nothing can be compared with: at the least, no check goes astray.
 */
static void test_damage_of_header(void **state)
{
    size_t missed = 0;
    uint8_t *meta;

    (void)state;
    open_model(SHIFT);
    add(BASE, 4500 * UNIT);
    get(3);
    meta = m.arena[0].meta;
    for (size_t i = 0; i < header_bytes(); i++) {
        meta[i] ^= 0x10;
        missed += buddy_check(&m.b) == NULL;
        meta[i] ^= 0x10;
    }
    assert_true(missed < 40); /* padding, and what it was told of its metadata's length */
    assert_same();
    close_model();
}

/*
 * Damage does not make it give a block twice, nor write elsewhere: with any one bit of the metadata
 * wrong, alloc and free stop the machine, or do what is right in what they can see.
 */
static void test_damage_is_met(void **state)
{
    uint8_t *meta, *copy;
    struct buddy saved;
    size_t size;
    volatile unsigned stops = 0;
    volatile size_t i;
    jmp_buf jmp;

    (void)state;
    open_model(SHIFT);
    add(BASE, 700 * UNIT);
    for (unsigned k = 0; k < 40; k++) {
        get(k % 4);
    }
    meta = m.arena[0].meta;
    size = buddy_meta_bytes(at(BASE), 700 * UNIT, SHIFT);
    copy = malloc(size);
    memcpy(copy, meta, size);
    saved = m.b;
    /* Four orders have more than 64 blocks, and each 32 bytes that say where its bitmaps are, which
     * nothing is compared with in passing. */
    for (i = (header_bytes() + 4 * 32) * 8; i < size * 8; i++) {
        meta[i / 8] ^= (uint8_t)(1u << i % 8);
        host_panic_jmp = &jmp;
        if (setjmp(jmp) == 0) {
            for (unsigned order = 0; order < 10; order++) {
                void *ptr = buddy_alloc(&m.b, order);

                assert_true(ptr == NULL || addr_of(ptr) - BASE < 1024 * UNIT);
            }
            for (unsigned k = 0; k < m.nheld; k++) {
                buddy_free(&m.b, at(m.held[k].unit * UNIT), m.held[k].order);
            }
        } else {
            stops++;
            host_after_panic();
        }
        host_panic_jmp = NULL;
        memcpy(meta, copy, size);
        m.b = saved;
    }
    assert_true(stops > 100);
    assert_same();
    free(copy);
    close_model();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_small),
        cmocka_unit_test(test_model_large),
        cmocka_unit_test(test_model_arenas),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_lowest_first),
        cmocka_unit_test(test_exact_first),
        cmocka_unit_test(test_kept),
        cmocka_unit_test(test_orders),
        cmocka_unit_test(test_arenas_that_can_be_none),
        cmocka_unit_test(test_too_many_arenas),
        cmocka_unit_test(test_fetch_and_return),
        cmocka_unit_test(test_fetch_sizes),
        cmocka_unit_test(test_spare_goes_first),
        cmocka_unit_test(test_fetch_many),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_as_backing),
        cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_neighbours),
        cmocka_unit_test(test_damage_is_found),
        cmocka_unit_test(test_damage_of_header),
        cmocka_unit_test(test_damage_is_met),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
