/*
 * test_pmm.c - the frame pool against a model that keeps a word for each frame.
 *
 * The model answers every question by looking at every frame. It knows what the header promises
 * (which requests must succeed, which part of memory is preferred) and not how the pool works, so
 * another pool behind the same header must pass as well; only the tests of the checker look inside.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "../../mm/pmm/pool.h"
#include "host_port.h"
#include "mm/pmm.h"

#define PAGE  UINT64_C(4096)
#define WB    UINT64_C(0xf)
#define MiB   UINT64_C(256) /* in frames */
#define GiB   UINT64_C(0x40000)
#define TiB   UINT64_C(0x10000000)
#define GIVEN 1 /* type of a part that is free at the start: conventional memory */
#define LATER 2 /* of one that is not: boot services data */

/* ---- pools ----------------------------------------------------------------------------------- */

struct part {
    uint64_t base; /* in frames */
    uint64_t count;
    int type;
};

struct fixture {
    struct memmap map;
    void *map_bytes;
    void *map_storage;
    void *storage;
    uint64_t storage_bytes;
    struct pmm *p;
};

static void build_map(struct fixture *f, const struct part *parts, size_t n)
{
    struct memmap_raw raw = { .nbytes = n * 48, .stride = 48, .version = 1 };
    uint64_t nbytes = memmap_storage_bytes(n);
    unsigned char *bytes = calloc(n, 48);

    assert_non_null(bytes);
    for (size_t i = 0; i < n; i++) {
        uint32_t type = parts[i].type == GIVEN ? 7 : 4;
        uint64_t start = parts[i].base * PAGE;
        uint64_t attr = WB;

        memcpy(bytes + i * 48, &type, 4);
        memcpy(bytes + i * 48 + 8, &start, 8);
        memcpy(bytes + i * 48 + 24, &parts[i].count, 8);
        memcpy(bytes + i * 48 + 32, &attr, 8);
    }
    raw.bytes = f->map_bytes = bytes;
    f->map_storage = malloc(nbytes);
    assert_non_null(f->map_storage);
    assert_int_equal(memmap_build(&f->map, &raw, f->map_storage, nbytes), MM_OK);
    assert_sound(memmap_check(&f->map));
}

/* Storage is mapped, full of zeros only by accident of the host: what is touched shows. */
static void open_pool(struct fixture *f, const struct part *parts, size_t n)
{
    build_map(f, parts, n);
    f->storage_bytes = pmm_storage_bytes(&f->map);
    assert_true(f->storage_bytes > 0);
    if (f->storage_bytes <= 16 << 20) { /* of exact size, so that one byte too many is seen */
        f->storage = aligned_alloc(PAGE, f->storage_bytes);
        assert_non_null(f->storage);
        memset(f->storage, 0xa5, f->storage_bytes);
    } else {
        f->storage = mmap(NULL, f->storage_bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        assert_true(f->storage != MAP_FAILED);
    }
    assert_int_equal(pmm_init(&f->p, &f->map, f->storage, f->storage_bytes), MM_OK);
    assert_ptr_equal(f->p, f->storage);
    assert_sound(pmm_check(f->p));
}

static void close_pool(struct fixture *f)
{
    if (f->storage_bytes <= 16 << 20) {
        free(f->storage);
    } else {
        munmap(f->storage, f->storage_bytes);
    }
    free(f->map_storage);
    free(f->map_bytes);
}

static uint64_t get_range(struct pmm *p, uint64_t count, uint64_t align, uint64_t limit,
                          uint64_t boundary)
{
    struct pmm_want want = { count, align, limit, boundary };
    pfn_t base = { 12345 };
    mm_err_t err = pmm_get_range(p, &want, &base);

    if (err != MM_OK) {
        assert_int_equal(err, MM_ENOMEM);
        assert_int_equal(base.v, 12345);
        return UINT64_MAX;
    }
    return base.v;
}

/* ---- the model ------------------------------------------------------------------------------- */

/* Small islands, at every kind of place where an implementation may have a seam. */
static const struct part ragged[] = {
    { 0, 100, GIVEN },                /* frame 0 and low memory */
    { 100, 20, LATER },               /* held low memory */
    { 130, 170, GIVEN },              /* across 1 MiB */
    { 400, 64, LATER },               /* held */
    { 464, 100, GIVEN },              /* touches it; across a 2 MiB border */
    { GiB - 300, 700, GIVEN },        /* across a 1 GiB border */
    { GiB + 400, 50, GIVEN },         /* touches it: another descriptor */
    { 2 * GiB - 1, 1, GIVEN },        /* the last frame of a GiB, alone */
    { 3 * GiB + 77, 1, GIVEN },       /* a frame alone in its GiB */
    { 4 * GiB - 90, 190, GIVEN },     /* across 4 GiB */
    { 4 * GiB + 100, 60, LATER },     /* held, touches it */
    { 7 * TiB + 512, 512, GIVEN },    /* an aligned 2 MiB, terabytes away */
    { 7 * TiB + 3 * GiB, 40, LATER }, /* a GiB with held memory only */
    { 200 * TiB + 5, 300, GIVEN },    /* far */
};
#define MODEL_FRAMES 2308

enum { HOLE, HELD_FRAME, FREE_FRAME, FIRST_ID };

struct alloc {
    uint64_t base;
    uint64_t count;
};

struct model {
    uint64_t pfn[MODEL_FRAMES]; /* rising */
    uint32_t state[MODEL_FRAMES];
    size_t n;
    uint64_t nfree;
    uint32_t next_id;
    struct alloc allocs[MODEL_FRAMES];
    size_t nallocs;
};

static void model_init(struct model *w, const struct part *parts, size_t nparts)
{
    memset(w, 0, sizeof(*w));
    w->next_id = FIRST_ID;
    for (size_t i = 0; i < nparts; i++) {
        for (uint64_t k = 0; k < parts[i].count; k++) {
            bool is_free = parts[i].type == GIVEN && parts[i].base + k != 0;

            assert_true(w->n < MODEL_FRAMES);
            w->pfn[w->n] = parts[i].base + k;
            w->state[w->n++] = is_free ? FREE_FRAME : HELD_FRAME;
            w->nfree += is_free;
        }
    }
}

/* Index of a frame, or -1 if it is not there. */
static long model_index(const struct model *w, uint64_t pfn)
{
    size_t lo = 0;
    size_t hi = w->n;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (w->pfn[mid] < pfn) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo < w->n && w->pfn[lo] == pfn ? (long)lo : -1;
}

static bool model_all(const struct model *w, uint64_t base, uint64_t count, uint32_t state)
{
    long i = model_index(w, base);

    if (i < 0 || count > w->n - (size_t)i || w->pfn[(size_t)i + count - 1] != base + count - 1) {
        return false;
    }
    for (uint64_t k = 0; k < count; k++) {
        if (w->state[(size_t)i + k] != state && state != HOLE) { /* HOLE here: any, but there */
            return false;
        }
    }
    return true;
}

static void model_set(struct model *w, uint64_t base, uint64_t count, uint32_t state)
{
    size_t i = (size_t)model_index(w, base);

    for (uint64_t k = 0; k < count; k++) {
        w->nfree -= w->state[i + k] == FREE_FRAME;
        w->state[i + k] = base + k == 0 && state == FREE_FRAME ? HELD_FRAME : state;
        w->nfree += w->state[i + k] == FREE_FRAME;
    }
}

static void model_take(struct model *w, uint64_t base, uint64_t count)
{
    assert_true(model_all(w, base, count, FREE_FRAME));
    model_set(w, base, count, w->next_id++);
    w->allocs[w->nallocs++] = (struct alloc){ base, count };
}

/* Does a request that starts at `base` meet the rest of its wishes? */
static bool meets(const struct pmm_want *q, uint64_t base)
{
    uint64_t first = base * PAGE;
    uint64_t last = (base + q->count) * PAGE - 1;

    return (q->align == 0 || base % q->align == 0) && (q->limit == 0 || last < q->limit) &&
           (q->boundary == 0 || first / q->boundary == last / q->boundary);
}

/* Where may the request be met: 0 nowhere, 1 from 1 MiB up but not from 4 GiB up, 2 from 4 GiB up;
 * and 3 below 1 MiB, looked for only if it asks for that. */
static int model_where(const struct model *w, const struct pmm_want *q)
{
    bool low = q->limit != 0 && q->limit <= 256 * PAGE;
    uint64_t run = 0; /* free frames from i on */
    int where = 0;

    for (size_t i = w->n; i-- > 0;) {
        if (i + 1 == w->n || w->pfn[i + 1] != w->pfn[i] + 1) {
            run = 0;
        }
        run = w->state[i] == FREE_FRAME ? run + 1 : 0;
        if (run >= q->count && meets(q, w->pfn[i])) {
            if (low) {
                return 3;
            }
            if (w->pfn[i] >= 4 * GiB) {
                return 2;
            }
            if (w->pfn[i] >= 256) {
                where = 1;
            }
        }
    }
    return where;
}

static void assert_stats(struct pmm *p, const struct model *w)
{
    struct pmm_stats s;
    uint64_t frames[PMM_MAX_ORDER + 1] = { 0 };
    uint64_t low = 0;
    uint64_t low_free = 0;
    uint64_t run = 0;
    uint64_t longest = 0;

    for (size_t i = 0; i < w->n; i++) {
        low += w->pfn[i] < 256;
        low_free += w->pfn[i] < 256 && w->state[i] == FREE_FRAME;
        run = i > 0 && w->pfn[i - 1] + 1 == w->pfn[i] ? run : 0;
        run = w->state[i] == FREE_FRAME ? run + 1 : 0;
        longest = run > longest ? run : longest;
        if (w->state[i] == FREE_FRAME) {
            unsigned order = 0;

            while (order < PMM_MAX_ORDER && model_all(w, w->pfn[i] & ~((UINT64_C(2) << order) - 1),
                                                      UINT64_C(2) << order, FREE_FRAME)) {
                order++;
            }
            frames[order]++;
        }
    }
    pmm_get_stats(p, &s);
    assert_int_equal(s.total_frames, w->n);
    assert_int_equal(s.free_frames, w->nfree);
    assert_int_equal(s.low_frames, low);
    assert_int_equal(s.low_free_frames, low_free);
    assert_int_equal(s.largest_free, longest);
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        assert_int_equal(s.free_blocks[order] << order, frames[order]);
    }
    assert_true(s.meta_used_bytes <= s.meta_bytes);
}

static void assert_model(struct pmm *p, const struct model *w)
{
    assert_sound(pmm_check(p));
    for (size_t i = 0; i < w->n; i++) {
        assert_true(pmm_covers(p, pfn_make(w->pfn[i])));
        assert_int_equal(pmm_is_free(p, pfn_make(w->pfn[i])), w->state[i] == FREE_FRAME);
        if (i + 1 < w->n && w->pfn[i + 1] != w->pfn[i] + 1) {
            assert_false(pmm_covers(p, pfn_make(w->pfn[i] + 1)));
            assert_false(pmm_is_free(p, pfn_make(w->pfn[i] + 1)));
        }
    }
    assert_stats(p, w);
}

/* ---- random operations on the model ---------------------------------------------------------- */

static void do_get(struct pmm *p, struct model *w, struct host_rng *r)
{
    unsigned order = host_rng_below(r, 4) != 0 ? (unsigned)host_rng_below(r, 4)
                                               : (unsigned)host_rng_below(r, 20);
    uint64_t count = UINT64_C(1) << order;
    struct pmm_want want = { count, count, 0, 0 };
    int where = order <= PMM_MAX_ORDER ? model_where(w, &want) : 0;
    pfn_t pfn = pmm_get(p, order);

    assert_int_equal(pfn_is_none(pfn), where == 0);
    if (where != 0) {
        assert_true(pfn.v % count == 0 && pfn.v >= 256);
        assert_int_equal(pfn.v >= 4 * GiB, where == 2);
        model_take(w, pfn.v, count);
    }
}

static void do_get_range(struct pmm *p, struct model *w, struct host_rng *r)
{
    struct pmm_want want = { .count = 1 + host_rng_below(r, 1 + host_rng_below(r, 400)) };
    pfn_t base = { 0 };
    mm_err_t err;
    int where;

    if (host_rng_below(r, 2) == 0) {
        want.align = UINT64_C(1) << host_rng_below(r, host_rng_below(r, 20) == 0 ? 64 : 10);
    }
    if (host_rng_below(r, 3) == 0) {
        uint64_t pfn = w->pfn[host_rng_below(r, w->n)];

        want.limit = pfn * PAGE + host_rng_below(r, 2 * PAGE) + 1;
    } else if (host_rng_below(r, 4) == 0) {
        want.limit = 256 * PAGE;
        want.count = 1 + want.count % 8;
    } else if (host_rng_below(r, 4) == 0) {
        want.limit = PMM_NO_LIMIT;
    }
    if (host_rng_below(r, 3) == 0) {
        want.boundary = PAGE << host_rng_below(r, host_rng_below(r, 20) == 0 ? 52 : 11);
    }
    where = model_where(w, &want);
    err = pmm_get_range(p, &want, &base);
    assert_int_equal(err, where == 0 ? MM_ENOMEM : MM_OK);
    if (where != 0) {
        assert_true(base.v != 0 && meets(&want, base.v));
        assert_int_equal(where, base.v >= 4 * GiB ? 2 : base.v >= 256 ? 1 : 3);
        model_take(w, base.v, want.count);
    }
}

static void do_claim(struct pmm *p, struct model *w, struct host_rng *r)
{
    uint64_t base = w->pfn[host_rng_below(r, w->n)] + host_rng_below(r, 8) - 4;
    uint64_t count = 1 + host_rng_below(r, 1 + host_rng_below(r, 100));
    mm_err_t want = MM_OK;

    if (base == 0 || base + count < base) {
        want = MM_EINVAL;
    } else if (!model_all(w, base, count, HOLE)) {
        want = MM_ENOENT;
    } else if (!model_all(w, base, count, FREE_FRAME)) {
        want = MM_EBUSY;
    }
    assert_int_equal(pmm_claim(p, pfn_make(base), count), want);
    if (want == MM_OK) {
        model_take(w, base, count);
    }
}

static void do_add(struct pmm *p, struct model *w, struct host_rng *r)
{
    uint64_t base = w->pfn[host_rng_below(r, w->n)];
    uint64_t count = 1 + host_rng_below(r, 6);
    mm_err_t want = MM_OK;

    /* Frame 0 is accepted, and stays as it is. */
    if (!model_all(w, base, count, HOLE)) {
        want = MM_ENOENT;
    } else if (!model_all(w, base, count, HELD_FRAME)) {
        want = MM_EBUSY;
    }
    assert_int_equal(pmm_add(p, pfn_make(base), count), want);
    if (want == MM_OK) {
        model_set(w, base, count, FREE_FRAME);
    }
}

static void do_put(struct pmm *p, struct model *w, struct host_rng *r)
{
    size_t i;
    struct alloc a;

    if (w->nallocs == 0) {
        return;
    }
    i = host_rng_below(r, w->nallocs);
    a = w->allocs[i];
    w->allocs[i] = w->allocs[--w->nallocs];
    if (host_rng_below(r, 4) == 0 && a.count > 1) { /* a part; what remains is one or two more */
        uint64_t off = host_rng_below(r, a.count);
        uint64_t count = 1 + host_rng_below(r, a.count - off);

        pmm_put_range(p, pfn_make(a.base + off), count);
        model_set(w, a.base + off, count, FREE_FRAME);
        if (off > 0) {
            w->allocs[w->nallocs++] = (struct alloc){ a.base, off };
        }
        if (off + count < a.count) {
            w->allocs[w->nallocs++] = (struct alloc){ a.base + off + count, a.count - off - count };
        }
        return;
    }
    if ((a.count & (a.count - 1)) == 0 && a.base % a.count == 0) {
        pmm_put(p, pfn_make(a.base), (unsigned)__builtin_ctzll(a.count));
    } else {
        pmm_put_range(p, pfn_make(a.base), a.count);
    }
    model_set(w, a.base, a.count, FREE_FRAME);
}

static void test_model(void **state)
{
    enum { STEPS = 200000 };
    static struct model w;
    struct host_rng r = host_rng_make("model");
    struct fixture f;
    unsigned fullness = 0; /* of 8: how much more is taken than given back */

    (void)state;
    open_pool(&f, ragged, MM_COUNTOF(ragged));
    model_init(&w, ragged, MM_COUNTOF(ragged));
    assert_int_equal(w.n, MODEL_FRAMES);
    assert_model(f.p, &w);
    for (unsigned step = 0; step < STEPS; step++) {
        if (step % 1000 == 0) {
            fullness = (unsigned)host_rng_below(&r, 8);
        }
        if (host_rng_below(&r, 8) >= fullness) {
            do_put(f.p, &w, &r);
        }
        switch (host_rng_below(&r, 6)) {
        case 0:
            do_get_range(f.p, &w, &r);
            break;
        case 1:
            do_claim(f.p, &w, &r);
            break;
        case 2:
            if (step % 16 == 0) {
                do_add(f.p, &w, &r);
            }
            break;
        default:
            do_get(f.p, &w, &r);
            break;
        }
        assert_int_equal(pmm_free_frames(f.p), w.nfree);
        if (step < 200 || step % 500 == 0) {
            assert_model(f.p, &w);
        }
    }
    while (w.nallocs > 0) {
        do_put(f.p, &w, &r);
    }
    assert_model(f.p, &w);
    close_pool(&f);
}

/* The check after every single operation, on short histories. */
static void test_model_checked(void **state)
{
    static struct model w;
    struct host_rng r = host_rng_make("model, checked");

    (void)state;
    for (unsigned round = 0; round < 40; round++) {
        struct fixture f;

        open_pool(&f, ragged, MM_COUNTOF(ragged));
        model_init(&w, ragged, MM_COUNTOF(ragged));
        for (unsigned step = 0; step < 60; step++) {
            switch (host_rng_below(&r, 5)) {
            case 0:
                do_get_range(f.p, &w, &r);
                break;
            case 1:
                do_claim(f.p, &w, &r);
                break;
            case 2:
                do_add(f.p, &w, &r);
                break;
            case 3:
                do_put(f.p, &w, &r);
                break;
            default:
                do_get(f.p, &w, &r);
                break;
            }
            assert_sound(pmm_check(f.p));
        }
        assert_model(f.p, &w);
        close_pool(&f);
    }
}

/* At random fillings, each order and each count is refused exactly when the model has none. */
static void test_refusals(void **state)
{
    static struct model w;
    struct host_rng r = host_rng_make("refusals");
    struct fixture f;

    (void)state;
    open_pool(&f, ragged, MM_COUNTOF(ragged));
    model_init(&w, ragged, MM_COUNTOF(ragged));
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
            struct pmm_want want = { UINT64_C(1) << order, UINT64_C(1) << order, 0, 0 };
            pfn_t pfn = pmm_get(f.p, order);

            assert_int_equal(pfn_is_none(pfn), model_where(&w, &want) == 0);
            if (!pfn_is_none(pfn)) {
                pmm_put(f.p, pfn, order);
            }
        }
        for (uint64_t count = 1; count <= 800; count++) {
            struct pmm_want want = { count, 0, 0, 0 };
            uint64_t pfn = get_range(f.p, count, 0, 0, 0);

            assert_int_equal(pfn == UINT64_MAX, model_where(&w, &want) == 0);
            if (pfn != UINT64_MAX) {
                pmm_put_range(f.p, pfn_make(pfn), count);
            }
        }
        assert_model(f.p, &w);
        for (unsigned i = 0; i < 150; i++) {
            do_get(f.p, &w, &r);
            do_claim(f.p, &w, &r);
        }
    }
    close_pool(&f);
}

/* Every frame once, none twice, and all that there are. */
static void test_drain(void **state)
{
    static struct model w;
    struct fixture f;
    uint64_t n = 0;
    uint64_t nlow = 0;
    uint64_t low_free = 0;

    (void)state;
    open_pool(&f, ragged, MM_COUNTOF(ragged));
    model_init(&w, ragged, MM_COUNTOF(ragged));
    for (size_t i = 0; i < w.n; i++) {
        low_free += w.pfn[i] < 256 && w.state[i] == FREE_FRAME;
    }
    for (;;) {
        pfn_t pfn = pmm_get(f.p, 0);

        if (pfn_is_none(pfn)) {
            break;
        }
        assert_true(pfn.v >= 256);
        model_take(&w, pfn.v, 1); /* checks that it was free */
        n++;
    }
    assert_int_equal(n + low_free, 99 + 170 + 100 + 700 + 50 + 1 + 1 + 190 + 512 + 300);
    assert_int_equal(pmm_free_frames(f.p), low_free);
    assert_int_equal(get_range(f.p, 1, 0, 0, 0), UINT64_MAX);
    assert_int_equal(get_range(f.p, 1, 0, 256 * PAGE + 1, 0), UINT64_MAX);
    for (;;) {
        uint64_t pfn = get_range(f.p, 1, 0, 256 * PAGE, 0);

        if (pfn == UINT64_MAX) {
            break;
        }
        assert_true(pfn != 0 && pfn < 256);
        model_take(&w, pfn, 1);
        nlow++;
    }
    assert_int_equal(nlow, low_free);
    assert_int_equal(pmm_free_frames(f.p), 0);
    assert_model(f.p, &w);

    /* Back in another order, and all is as it was. */
    for (size_t i = 0; i < w.nallocs; i++) {
        struct alloc a = w.allocs[i * 7 % w.nallocs];

        pmm_put(f.p, pfn_make(a.base), 0);
        model_set(&w, a.base, 1, FREE_FRAME);
    }
    assert_int_not_equal(w.nallocs % 7, 0);
    assert_model(f.p, &w);
    close_pool(&f);
}

/* ---- large pools ----------------------------------------------------------------------------- */

static void test_large_ranges(void **state)
{
    static const struct part parts[] = {
        { 256, 3 * GiB - 256, GIVEN },
        { 4 * GiB, 5 * GiB, GIVEN },
        { 9 * GiB, GiB / 2, LATER },
    };
    struct fixture f;
    uint64_t a;
    uint64_t b;
    struct pmm_stats s;

    (void)state;
    open_pool(&f, parts, MM_COUNTOF(parts));
    assert_int_equal(get_range(f.p, 5 * GiB + 1, 0, 0, 0), UINT64_MAX);
    assert_int_equal(get_range(f.p, 5 * GiB, 0, 0, 0), 4 * GiB);
    assert_sound(pmm_check(f.p));
    assert_int_equal(get_range(f.p, 3 * GiB - 255, 0, 0, 0), UINT64_MAX);
    assert_int_equal(get_range(f.p, 3 * GiB - 256, 0, 0, 0), 256);
    assert_int_equal(pmm_free_frames(f.p), 0);
    pmm_put_range(f.p, pfn_make(4 * GiB), 5 * GiB);
    pmm_put_range(f.p, pfn_make(256), 3 * GiB - 256);
    assert_sound(pmm_check(f.p));

    /* 3 GiB at a 1 GiB border, and the room that is left for it. */
    a = get_range(f.p, 3 * GiB, GiB, 0, 0);
    assert_true(a >= 4 * GiB && a % GiB == 0);
    assert_int_equal(get_range(f.p, 3 * GiB, GiB, 0, 0), UINT64_MAX);
    b = get_range(f.p, 2 * GiB, GiB, 0, 0);
    assert_true(b >= 4 * GiB && b % GiB == 0);
    /* A hole in the middle of it can be used, and what remains is given back in three parts. */
    pmm_put_range(f.p, pfn_make(a + GiB - 3), 6);
    assert_sound(pmm_check(f.p));
    assert_int_equal(get_range(f.p, 6, 0, 0, 0), a + GiB - 3);
    pmm_put_range(f.p, pfn_make(a + GiB - 3), 6);
    pmm_put_range(f.p, pfn_make(a), GiB - 3);
    pmm_put_range(f.p, pfn_make(a + GiB + 3), 2 * GiB - 3);
    pmm_put_range(f.p, pfn_make(b), 2 * GiB);
    assert_sound(pmm_check(f.p));

    /* Held memory joins, and its blocks merge with what was beside it. */
    assert_int_equal(pmm_add(f.p, pfn_make(9 * GiB), GiB / 2), MM_OK);
    assert_sound(pmm_check(f.p));
    assert_int_equal(get_range(f.p, 5 * GiB + GiB / 2, 0, 0, 0), 4 * GiB);
    pmm_put_range(f.p, pfn_make(4 * GiB), 5 * GiB + GiB / 2);
    pmm_get_stats(f.p, &s);
    assert_int_equal(s.largest_free, 5 * GiB + GiB / 2);
    assert_int_equal(s.free_blocks[18], 7);
    assert_int_equal(s.free_blocks[17], 2);
    assert_int_equal(s.free_blocks[8], 1);
    assert_int_equal(s.free_blocks[0], 0);
    for (unsigned i = 0; i < 7; i++) {
        assert_false(pfn_is_none(pmm_get(f.p, 18)));
    }
    assert_true(pfn_is_none(pmm_get(f.p, 18)));
    assert_sound(pmm_check(f.p));

    /* The last piece of a block to come back makes it whole, whichever it is. */
    for (uint64_t piece = 512; piece-- > 0;) {
        pmm_put_range(f.p, pfn_make(6 * GiB + ((piece * 77 + 300) % 512) * 512), 512);
        assert_int_equal(pfn_is_none(pmm_get(f.p, 18)), piece != 0);
    }
    assert_sound(pmm_check(f.p));
    pmm_put(f.p, pfn_make(6 * GiB), 18);
    assert_sound(pmm_check(f.p));
    assert_int_equal(pmm_get(f.p, 18).v, 6 * GiB);
    close_pool(&f);
}

/* Memory that runs through 4 GiB without a hole: a block that lies across is found. */
static void test_across_4g(void **state)
{
    static const struct part parts[] = { { 4 * GiB - 1000, 2000, GIVEN } };
    struct fixture f;

    (void)state;
    open_pool(&f, parts, 1);
    assert_int_equal(get_range(f.p, 2000, 0, 0, 0), 4 * GiB - 1000);
    pmm_put_range(f.p, pfn_make(4 * GiB - 1000), 2000);
    assert_true(get_range(f.p, 1000, 0, 0, 0) >= 4 * GiB);
    assert_true(get_range(f.p, 1000, 0, 0, 0) < 4 * GiB);
    close_pool(&f);
}

/* Random large requests on 3.5 GiB, against a byte a frame. */
static void test_large_random(void **state)
{
    enum { MAX = 64 };
    static const struct part parts[] = { { 6 * GiB + 100, 3 * GiB + GiB / 2, GIVEN } };
    const uint64_t first = parts[0].base;
    const uint64_t n = parts[0].count;
    unsigned char *used = calloc(n, 1);
    struct alloc live[MAX];
    unsigned nlive = 0;
    struct host_rng r = host_rng_make("large");
    struct fixture f;

    (void)state;
    assert_non_null(used);
    open_pool(&f, parts, 1);
    for (unsigned step = 0; step < 400; step++) {
        if (nlive == MAX || (nlive > 0 && host_rng_below(&r, 5) < 2)) {
            unsigned i = (unsigned)host_rng_below(&r, nlive);

            pmm_put_range(f.p, pfn_make(live[i].base), live[i].count);
            memset(used + (live[i].base - first), 0, live[i].count);
            live[i] = live[--nlive];
        } else {
            uint64_t count = 1 + ((host_rng_next(&r) & (2 * GiB - 1)) >> host_rng_below(&r, 18));
            uint64_t align = UINT64_C(1) << host_rng_below(&r, 19);
            uint64_t run = 0;
            bool exists = false;
            uint64_t got;

            for (uint64_t i = n; i-- > 0 && !exists;) {
                run = used[i] == 0 ? run + 1 : 0;
                exists = run >= count && (first + i) % align == 0;
            }
            got = get_range(f.p, count, align, 0, 0);
            assert_int_equal(got != UINT64_MAX, exists);
            if (exists) {
                assert_int_equal(got % align, 0);
                assert_true(got >= first && got + count <= first + n);
                assert_null(memchr(used + (got - first), 1, count));
                memset(used + (got - first), 1, count);
                live[nlive++] = (struct alloc){ got, count };
            }
        }
        if (step % 20 == 0) {
            assert_sound(pmm_check(f.p));
        }
    }
    close_pool(&f);
    free(used);
}

/* Of processor time, so that what else the machine does is left out. */
static double now_ms(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static uint64_t resident_bytes(const struct fixture *f)
{
    uint64_t npages = f->storage_bytes / PAGE;
    unsigned char *in = malloc(npages);
    uint64_t n = 0;

    assert_non_null(in);
    assert_int_equal(mincore(f->storage, f->storage_bytes, in), 0);
    for (uint64_t i = 0; i < npages; i++) {
        n += in[i] & 1;
    }
    free(in);
    return n * PAGE;
}

/* Start-up costs the number of regions and GiB, not of frames: seen by what the host had to map. */
static void test_start_up(void **state)
{
    static const struct part parts[] = {
        { 0, 160, GIVEN },
        { 256, 3 * GiB - 256, GIVEN },
        { 4 * GiB, TiB, GIVEN },
        { 40 * TiB, 2 * GiB, GIVEN },
    };
    struct fixture f;
    struct pmm_stats s;
    double t = now_ms();
    pfn_t a;

    (void)state;
    open_pool(&f, parts, MM_COUNTOF(parts)); /* also checks it: that touches nothing either */
    t = now_ms() - t;
    pmm_get_stats(f.p, &s);
    assert_int_equal(s.total_frames, 160 + 3 * GiB - 256 + TiB + 2 * GiB);
    assert_int_equal(s.free_frames, s.total_frames - 1);
    assert_int_equal(s.free_blocks[18], 1024 + 2 + 2);
    assert_int_equal(s.meta_bytes, f.storage_bytes);
    assert_true(s.meta_bytes * 1000 < s.total_frames * PAGE);
    assert_true(s.meta_used_bytes < 128 * 1024);
    assert_true(resident_bytes(&f) <= 128 * 1024);
    printf("1 TiB: made and checked in %.2f ms, %" PRIu64 " KiB of %" PRIu64 " KiB written\n", t,
           s.meta_used_bytes >> 10, s.meta_bytes >> 10);

    /* The first frames open one section, however many they are. */
    a = pmm_get(f.p, 0);
    assert_true(a.v >= 4 * GiB);
    for (unsigned i = 0; i < 1000; i++) {
        assert_false(pfn_is_none(pmm_get(f.p, 3)));
    }
    pmm_get_stats(f.p, &s);
    assert_true(s.meta_used_bytes < 256 * 1024);
    assert_true(resident_bytes(&f) <= 256 * 1024);
    assert_int_equal(get_range(f.p, TiB, 0, 0, 0), UINT64_MAX);
    pmm_get_stats(f.p, &s);
    assert_true(s.meta_used_bytes < 256 * 1024); /* refusing writes nothing */
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static void test_speed(void **state)
{
    enum { N = 1 << 20 };
    static const struct part parts[] = { { 4 * GiB, 8 * GiB, GIVEN } };
    struct host_rng r = host_rng_make("speed");
    struct fixture f;
    pfn_t *got = malloc(N * sizeof(*got));
    double t[4];

    (void)state;
    assert_non_null(got);
    open_pool(&f, parts, 1);
    t[0] = now_ms();
    for (unsigned i = 0; i < N; i++) {
        got[i] = pmm_get(f.p, 0);
    }
    t[1] = now_ms();
    for (unsigned i = N - 1; i > 0; i--) {
        unsigned j = (unsigned)host_rng_below(&r, i + 1);
        pfn_t swap = got[i];

        got[i] = got[j];
        got[j] = swap;
    }
    t[2] = now_ms();
    for (unsigned i = 0; i < N; i++) {
        pmm_put(f.p, got[i], 0);
    }
    t[3] = now_ms();
    printf("order 0: %.1f ns a get, %.1f ns a put in random order", (t[1] - t[0]) * 1e6 / N,
           (t[3] - t[2]) * 1e6 / N);
    t[0] = now_ms();
    for (unsigned i = 0; i < N; i++) {
        pmm_put(f.p, pmm_get(f.p, 0), 0);
    }
    t[1] = now_ms();
    printf(", %.1f ns a pair\n", (t[1] - t[0]) * 1e6 / N);
    assert_int_equal(pmm_free_frames(f.p), 8 * GiB);
    assert_sound(pmm_check(f.p));
    close_pool(&f);
    free(got);
}

/* ---- arguments, and who breaks the contract -------------------------------------------------- */

static void test_init_arguments(void **state)
{
    static const struct part parts[] = { { 256, 100, GIVEN }, { 5 * GiB, 100, LATER } };
    struct fixture f;
    struct pmm *p = NULL;
    struct memmap empty;

    (void)state;
    open_pool(&f, parts, 2);
    assert_int_equal(pmm_init(&p, &f.map, f.storage, f.storage_bytes - 1), MM_ENOSPC);
    assert_int_equal(pmm_init(&p, &f.map, f.storage, 0), MM_ENOSPC);
    assert_int_equal(pmm_init(&p, &f.map, (char *)f.storage + 64, f.storage_bytes), MM_EINVAL);
    empty = f.map;
    empty.nregions = 0;
    assert_int_equal(pmm_storage_bytes(&empty), 0);
    assert_int_equal(pmm_init(&p, &empty, f.storage, f.storage_bytes), MM_EINVAL);
    assert_null(p);
    close_pool(&f);
}

/* Which kinds the pool covers, and which of them are free. */
static void test_kinds(void **state)
{
    static const struct part parts[] = { { 0, 0x1000, GIVEN }, { 0x1000, 0x1000, LATER } };
    struct fixture f;
    struct pmm *p;

    (void)state;
    open_pool(&f, parts, 2);
    for (unsigned kind = 0; kind < MEMMAP_KINDS; kind++) {
        assert_int_equal(memmap_claim(&f.map, (0x100 + 2 * kind) * PAGE, 1, (enum memmap_kind)kind),
                         MM_OK);
    }
    assert_int_equal(pmm_init(&p, &f.map, f.storage, f.storage_bytes), MM_OK);
    assert_sound(pmm_check(p));
    for (unsigned kind = 0; kind < MEMMAP_KINDS; kind++) {
        pfn_t pfn = { 0x100 + 2 * kind };
        bool covered = kind == MEMMAP_FREE || kind == MEMMAP_FREE_AFTER_EXIT ||
                       kind == MEMMAP_FREE_AFTER_ACPI || kind == MEMMAP_KERNEL;

        assert_int_equal(pmm_covers(p, pfn), covered);
        assert_int_equal(pmm_is_free(p, pfn), kind == MEMMAP_FREE);
        assert_true(pmm_is_free(p, pfn_make(pfn.v + 1)));
    }
    assert_true(pmm_covers(p, pfn_make(0)));
    assert_false(pmm_is_free(p, pfn_make(0)));
    assert_true(pmm_covers(p, pfn_make(0x1fff)));
    assert_false(pmm_is_free(p, pfn_make(0x1fff)));
    assert_false(pmm_covers(p, pfn_make(0x2000)));
    assert_false(pmm_covers(p, PFN_NONE));
    assert_false(pmm_is_free(p, PFN_NONE));
    close_pool(&f);
}

static void test_arguments(void **state)
{
    static const struct part parts[] = { { 0, 600, GIVEN }, { 600, 100, LATER } };
    static const struct pmm_want bad[] = {
        { 0, 0, 0, 0 }, { 1, 3, 0, 0 }, { 1, 0, 0, 2048 }, { 1, 0, 0, 3 * PAGE }, { 1, 6, 0, PAGE },
    };
    struct fixture f;
    pfn_t base = { 99 };

    (void)state;
    open_pool(&f, parts, 2);
    for (size_t i = 0; i < MM_COUNTOF(bad); i++) {
        assert_int_equal(pmm_get_range(f.p, &bad[i], &base), MM_EINVAL);
    }
    assert_int_equal(base.v, 99);
    assert_int_equal(get_range(f.p, 1, 0, 1, 0), UINT64_MAX);
    assert_int_equal(get_range(f.p, 1, 0, 2 * PAGE - 1, 0), UINT64_MAX); /* only frame 0 fits */
    assert_int_equal(get_range(f.p, 1, 0, 2 * PAGE, 0), 1);
    assert_int_equal(get_range(f.p, UINT64_MAX, 0, 0, 0), UINT64_MAX);
    assert_int_equal(get_range(f.p, 1, UINT64_C(1) << 63, 0, 0), UINT64_MAX);
    assert_int_equal(get_range(f.p, 3, 0, 0, 2 * PAGE), UINT64_MAX);
    assert_true(pfn_is_none(pmm_get(f.p, PMM_MAX_ORDER + 1)));
    assert_true(pfn_is_none(pmm_get(f.p, UINT32_MAX)));

    assert_int_equal(pmm_claim(f.p, pfn_make(300), 0), MM_EINVAL);
    assert_int_equal(pmm_claim(f.p, pfn_make(0), 1), MM_EINVAL);
    assert_int_equal(pmm_claim(f.p, pfn_make(300), UINT64_MAX), MM_EINVAL);
    assert_int_equal(pmm_claim(f.p, pfn_make(690), 11), MM_ENOENT);
    assert_int_equal(pmm_claim(f.p, pfn_make(UINT64_C(1) << 60), 1), MM_ENOENT);
    assert_int_equal(pmm_claim(f.p, pfn_make(590), 20), MM_EBUSY);
    assert_int_equal(pmm_claim(f.p, pfn_make(590), 10), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(590), 1), MM_EBUSY);

    assert_int_equal(pmm_add(f.p, pfn_make(600), 0), MM_EINVAL);
    assert_int_equal(pmm_add(f.p, pfn_make(600), UINT64_MAX), MM_EINVAL);
    assert_int_equal(pmm_add(f.p, pfn_make(600), 101), MM_ENOENT);
    assert_int_equal(pmm_add(f.p, pfn_make(599), 2), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(300), 1), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(600), 100), MM_OK);
    assert_int_equal(pmm_add(f.p, pfn_make(600), 1), MM_EBUSY);
    assert_int_equal(pmm_add(f.p, pfn_make(0), 1), MM_OK); /* and frame 0 is still not free */
    assert_false(pmm_is_free(f.p, pfn_make(0)));
    assert_sound(pmm_check(f.p));
    close_pool(&f);
}

static const struct part death_parts[] = {
    { 0, 160, GIVEN },           { 256, 2048, GIVEN },   { 2304, 64, LATER },
    { 5 * GiB, GiB + 7, GIVEN }, { 9 * GiB, 64, LATER },
};

/* A pool that holds 16 frames at 512, 8 at 528, 16 at 544, 8 at 632, 8 at 640; what it did not
 * survive goes with it. */
static struct fixture death_pool(void)
{
    struct fixture f;

    open_pool(&f, death_parts, MM_COUNTOF(death_parts));
    assert_int_equal(pmm_claim(f.p, pfn_make(512), 16), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(528), 8), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(544), 16), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(632), 8), MM_OK);
    assert_int_equal(pmm_claim(f.p, pfn_make(640), 8), MM_OK);
    return f;
}

static void test_deaths(void **state)
{
    static const struct {
        bool by_order;
        uint64_t base;
        uint64_t count; /* or order */
        const char *words;
    } deaths[] = {
        { true, 600, 0, "pmm_put: frame at 0x258000 is free already" },
        { true, 2304, 0, "pmm_put: frame at 0x900000 was never given" },
        { true, 0, 0, "pmm_put: frame at 0x0 was never given" },
        { true, 200, 0, "pmm_put: frame at 0xc8000 is not in the pool" },
        { true, 4 * GiB, 0, "pmm_put: frame at 0x100000000 is not in the pool" },
        { true, 900 * TiB, 0, "is not in the pool" },
        { true, UINT64_MAX, 0, "wraps" },
        { true, 5 * GiB, 0, "frame at 0x140000000 is free already" },
        { true, 9 * GiB, 0, "frame at 0x240000000 was never given" },
        { true, 5 * GiB, 18, "frame at 0x140000000 is free already" },
        { true, 513, 1, "pmm_put: frame at 0x201000 is misaligned" },
        { true, 512, 5, "pmm_put: frame at 0x210000 begins another allocation" },
        { true, 544, 5, "pmm_put: frame at 0x230000 is free already" },
        { true, 512, 3, "pmm_put: frame at 0x200000 begins a larger allocation" },
        { true, 520, 3, "pmm_put: frame at 0x208000 is not where its allocation begins" },
        { true, 512, 19, "an order that there is not" },
        { false, 512, 0, "count of 0" },
        { false, 512, UINT64_MAX, "wraps" },
        { false, 512, 17, "pmm_put_range: frame at 0x210000 begins another allocation" },
        { false, 636, 8, "pmm_put_range: frame at 0x280000 begins another allocation" },
        { false, 520, 12, "pmm_put_range: frame at 0x210000 begins another allocation" },
        { false, 528, 9, "pmm_put_range: frame at 0x218000 is free already" },
        { false, 511, 2, "pmm_put_range: frame at 0x1ff000 is free already" },
        { false, 600, 1, "pmm_put_range: frame at 0x258000 is free already" },
        { false, 2304, 64, "pmm_put_range: frame at 0x900000 was never given" },
        { false, 2367, 2, "pmm_put_range: frame at 0x93f000 was never given" },
        { false, 159, 2, "frame at 0x9f000 is free already" },
        { false, 200, 1, "frame at 0xc8000 is not in the pool" },
        { false, 5 * GiB + GiB, 8, "is free already" },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(deaths); i++) {
        struct fixture f = death_pool();

        if (deaths[i].by_order) {
            assert_panics((pmm_put(f.p, pfn_make(deaths[i].base), (unsigned)deaths[i].count), 0),
                          deaths[i].words);
        } else {
            assert_panics((pmm_put_range(f.p, pfn_make(deaths[i].base), deaths[i].count), 0),
                          deaths[i].words);
        }
        assert_non_null(strstr(host_panic_text, "called from 0x"));
        close_pool(&f);
    }
}

static void test_double_free(void **state)
{
    struct fixture f = death_pool();
    pfn_t pfn = pmm_get(f.p, 4);

    (void)state;
    pmm_put(f.p, pfn, 4);
    assert_panics((pmm_put(f.p, pfn, 4), 0), "is free already");
    close_pool(&f);

    f = death_pool();
    pmm_put_range(f.p, pfn_make(514), 2);
    assert_panics((pmm_put_range(f.p, pfn_make(512), 16), 0),
                  "pmm_put_range: frame at 0x202000 is free already");
    close_pool(&f);

    /* What is left of an allocation is an allocation: it ends where the hole begins. */
    f = death_pool();
    pmm_put_range(f.p, pfn_make(514), 2);
    assert_int_equal(pmm_claim(f.p, pfn_make(514), 2), MM_OK);
    assert_panics((pmm_put_range(f.p, pfn_make(512), 16), 0),
                  "pmm_put_range: frame at 0x202000 begins another allocation");
    close_pool(&f);

    f = death_pool();
    pmm_put_range(f.p, pfn_make(514), 2);
    assert_int_equal(pmm_claim(f.p, pfn_make(514), 2), MM_OK);
    pmm_put(f.p, pfn_make(512), 1);
    pmm_put(f.p, pfn_make(514), 1);
    assert_panics((pmm_put_range(f.p, pfn_make(515), 3), 0),
                  "pmm_put_range: frame at 0x203000 is free already");
    close_pool(&f);

    f = death_pool();
    pmm_put_range(f.p, pfn_make(514), 2);
    assert_panics((pmm_put(f.p, pfn_make(516), 2), 0),
                  "pmm_put: frame at 0x204000 begins a larger allocation");
    close_pool(&f);
}

/* ---- planted damage -------------------------------------------------------------------------- */

static void assert_broken(struct pmm *p, const char *id)
{
    const char *broken = pmm_check(p);

    if (broken == NULL || strncmp(broken, id, strlen(id)) != 0) {
        fail_msg("check says \"%s\", not %s", broken != NULL ? broken : "sound", id);
    }
}

static void test_check_sees(void **state)
{
    struct fixture f = death_pool();
    struct pmm *p = f.p;
    struct book *b = &p->books[0];
    struct range *r = p->ranges;
    struct section *s = p->sections;

#define PLANT(place, value, id)                                                                    \
    do {                                                                                           \
        __typeof__(place) was_ = (place);                                                          \
        (place) = (value);                                                                         \
        assert_broken(p, (id));                                                                    \
        (place) = was_;                                                                            \
        assert_sound(pmm_check(p));                                                                \
    } while (0)

    (void)state;
    /* Ranges: frame 0, 1..160, 256..2304, the held 64, 5 GiB.., the held ones at 9 GiB. */
    assert_int_equal(p->nranges, 6);
    assert_int_equal(p->nsections, 4);
    assert_true(s[0].opened && !s[1].opened);
    PLANT(r[1].end, 257, "P1");
    PLANT(r[1].end, 1, "P1");
    PLANT(r[1].end, 150, "P1");
    PLANT(r[0].free, true, "P1");
    PLANT(r[3].free, true, "P1");
    PLANT(p->total, 7, "P1");
    PLANT(s[1].number, 4, "P2");
    PLANT(s[3].number, 10, "P2");
    PLANT(p->nsections, 3, "P2");
    PLANT(p->nranges, 5, "P1");
    PLANT(b->mark[200 / 64], b->mark[200 / 64] | UINT64_C(1) << 200 % 64, "P3");
    PLANT(b->given[4000 / 64], 1, "P3");
    PLANT(b->mark[0], b->mark[0] | 1, "P3");
    PLANT(b->given[SECTION_WORDS - 1], UINT64_C(1) << 63, "P3");
    PLANT(b->nfree[1], b->nfree[1] - 1, "P4");
    PLANT(b->mark[600 / 64], b->mark[600 / 64] & ~(UINT64_C(1) << 600 % 64), "P4");
    PLANT(s[0].nfree, s[0].nfree + 1, "P4");
    PLANT(s[1].nfree, s[1].nfree - 1, "P4");
    PLANT(p->nfree, p->nfree + 1, "P4");
    PLANT(p->nopened, 2, "P4");
    PLANT(b->mark[512 / 64], b->mark[512 / 64] & ~UINT64_C(1), "P5");
    PLANT(b->given[512 / 64], b->given[512 / 64] & ~UINT64_C(4), "P5");
    PLANT(b->given[2310 / 64], b->given[2310 / 64] | UINT64_C(1) << 2310 % 64, "P5");
    PLANT(s[0].hint[3], 1, "P6");
    PLANT(s[1].hint[18], 1, "P6");
    PLANT(s[1].hint[0], SECTION_CHUNKS, "P6");
    PLANT(p->start[ZONE_BELOW_4G][2], 1, "P6");
    PLANT(p->start[ZONE_ABOVE_4G][18], 3, "P6");
#undef PLANT
    close_pool(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_init_arguments), cmocka_unit_test(test_kinds),
        cmocka_unit_test(test_arguments),      cmocka_unit_test(test_model_checked),
        cmocka_unit_test(test_model),          cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_drain),          cmocka_unit_test(test_large_ranges),
        cmocka_unit_test(test_across_4g),      cmocka_unit_test(test_large_random),
        cmocka_unit_test(test_start_up),       cmocka_unit_test(test_deaths),
        cmocka_unit_test(test_double_free),    cmocka_unit_test(test_check_sees),
        cmocka_unit_test(test_speed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
