/*
 * test_pmm_model.c - the frame pool against a model that keeps a word for each frame.
 *
 * The model answers every question by looking at every frame. It knows what the header promises:
 * which requests must succeed, which error the others get, which part of memory comes first. It
 * looks inside the pool for one thing only: which frames the pool has taken for its own records,
 * because asking for that would stop the pool, and empty the caches that are to be tested.
 *
 * Worlds differ in the shape of memory. In each the same random operations are done, by several
 * processors in turn, over stretches that differ in how full memory is and how often everything is
 * compared: a comparison empties the caches, so it must not come after every step only.
 *
 * PLAT_STEPS in the environment is the number of steps to do in all, if they are more than usual.
 */
#include "../../mm/pmm/pool.h"
#include "pmm_fixture.h"

/* Over all worlds, about. */
#define USUAL_STEPS 500000

/* What the model says of a frame; from FIRST_ID on it is the number of an allocation. */
enum { WAITS, FREE, GONE, RECORD, FIRST_ID };

/* Frames in a row that the pool covers. */
struct run {
    uint64_t base;
    uint64_t count;
    uint64_t first; /* index of its first frame */
};

struct alloc {
    uint64_t base;
    uint64_t count;
};

struct world {
    struct fixture f;
    struct pmm *p;
    struct host_rng rng;
    enum pmm_kind kind;
    unsigned ncpus;
    bool touch; /* frames are written to: there is not too much memory, and the host has it */

    struct run *runs;
    size_t nruns;
    uint64_t n;    /* frames */
    uint32_t *is;  /* by index */
    bool *leaving; /* by index: out of service when it is given back */
    uint64_t nfree;
    uint64_t *records; /* by section: where it keeps its own */
    uint32_t next_id;
    struct alloc *allocs;
    size_t nallocs;

    bool plain;     /* single frames and whole blocks only: no frame needs records */
    bool hook_puts; /* the reclaim hook may make room */
    uint64_t marks; /* calls of it because of a mark */
};

static uint64_t below(struct world *w, uint64_t bound)
{
    return host_rng_below(&w->rng, bound);
}

static bool once_in(struct world *w, uint64_t n)
{
    return below(w, n) == 0;
}

/* ---- the model ------------------------------------------------------------------------------- */

static bool part_belongs(const struct part *part, enum pmm_kind kind)
{
    static const enum part_is is[PMM_KINDS] = {
        [PMM_SPECIAL] = SPECIAL, [PMM_UNACCEPTED] = UNACCEPTED, [PMM_PERSISTENT] = PERSISTENT
    };

    return kind == PMM_GENERAL || kind == PMM_LOW ? part->is == GIVEN || part->is == LATER
                                                  : part->is == is[kind];
}

/* The pool of `kind` from parts that are sorted by address. */
static void world_make(struct world *w, const struct part *parts, size_t nparts, enum pmm_kind kind,
                       unsigned ncpus, uint64_t seed)
{
    const uint64_t floor = kind == PMM_GENERAL ? MiB : 1;
    const uint64_t ceiling = kind == PMM_LOW ? MiB : UINT64_MAX;

    memset(w, 0, sizeof(*w));
    w->rng.state = seed;
    w->kind = kind;
    w->ncpus = ncpus;
    w->next_id = FIRST_ID;
    w->runs = calloc(nparts, sizeof(*w->runs));
    assert_non_null(w->runs);
    w->touch = true;
    for (int pass = 0; pass < 2; pass++) {
        w->n = 0;
        for (size_t i = 0; i < nparts; i++) {
            uint64_t base = mm_max(parts[i].base, floor);
            uint64_t end = mm_min(parts[i].base + parts[i].count, ceiling);

            if (!part_belongs(&parts[i], kind) || base >= end) {
                continue;
            }
            if (pass == 0) {
                struct run *last = w->nruns > 0 ? &w->runs[w->nruns - 1] : NULL;

                if (last != NULL && last->base + last->count == base) {
                    last->count += end - base;
                } else {
                    w->runs[w->nruns++] = (struct run){ base, end - base, w->n };
                }
                w->touch &= end <= HOST_PHYS_BYTES / PAGE;
            } else {
                for (uint64_t k = 0; k < end - base; k++) {
                    w->is[w->n + k] = parts[i].is == LATER ? WAITS : FREE;
                }
                w->nfree += parts[i].is == LATER ? 0 : end - base;
            }
            w->n += end - base;
        }
        if (pass == 0) {
            w->touch &= w->n < 100000;
            w->is = calloc(w->n, sizeof(*w->is));
            w->leaving = calloc(w->n, sizeof(*w->leaving));
            w->allocs = calloc(w->n, sizeof(*w->allocs));
            assert_true(w->is != NULL && w->leaving != NULL && w->allocs != NULL);
        }
    }
    open_kind(&w->f, parts, nparts, kind, ncpus);
    w->p = w->f.p;
    w->records = calloc(w->p->nsections, sizeof(*w->records));
    assert_non_null(w->records);
}

static void world_drop(struct world *w)
{
    close_pool(&w->f);
    free(w->records);
    free(w->allocs);
    free(w->leaving);
    free(w->is);
    free(w->runs);
}

/* Index of frame `pfn`, and how many follow it in a row, itself included; 0 if it is not there. */
static uint64_t row_at(const struct world *w, uint64_t pfn, uint64_t *index)
{
    size_t lo = 0;
    size_t hi = w->nruns;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (w->runs[mid].base + w->runs[mid].count <= pfn) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    if (lo == w->nruns || pfn < w->runs[lo].base) {
        return 0;
    }
    *index = w->runs[lo].first + (pfn - w->runs[lo].base);
    return w->runs[lo].base + w->runs[lo].count - pfn;
}

static bool has_all(const struct world *w, uint64_t base, uint64_t count)
{
    uint64_t index;

    return row_at(w, base, &index) >= count;
}

/* Frame number of index `i`. */
static uint64_t pfn_at(const struct world *w, uint64_t i)
{
    size_t lo = 0;
    size_t hi = w->nruns;

    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;

        if (w->runs[mid].first <= i) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    return w->runs[lo].base + (i - w->runs[lo].first);
}

static bool all_are(const struct world *w, uint64_t base, uint64_t count, uint32_t what)
{
    uint64_t i = 0;

    if (row_at(w, base, &i) < count) {
        return false;
    }
    for (uint64_t k = 0; k < count; k++) {
        if (w->is[i + k] != what) {
            return false;
        }
    }
    return true;
}

static void make_all(struct world *w, uint64_t base, uint64_t count, uint32_t what)
{
    uint64_t i = 0;

    assert_true(row_at(w, base, &i) >= count);
    for (uint64_t k = 0; k < count; k++) {
        w->nfree += (what == FREE) - (w->is[i + k] == FREE);
        w->is[i + k] = what;
    }
}

/* Does a request met at `base` meet the rest of its wishes? */
static bool meets(const struct pmm_want *q, uint64_t base)
{
    uint64_t first = base * PAGE;
    uint64_t last = (base + q->count) * PAGE - 1;

    return (q->align == 0 || base % q->align == 0) && (q->limit == 0 || last < q->limit) &&
           (q->boundary == 0 || first / q->boundary == last / q->boundary);
}

enum where { NOWHERE, BELOW_4G, ABOVE_4G };

/* Looks from the top, so what it finds is above 4 GiB (begins there) if anything is. */
static enum where place_for(const struct world *w, const struct pmm_want *q)
{
    if (w->nfree < q->count) {
        return NOWHERE;
    }
    for (size_t r = w->nruns; r-- > 0;) {
        const struct run *run = &w->runs[r];
        uint64_t nfree = 0; /* frames in a row */

        for (uint64_t k = run->count; k-- > 0;) {
            nfree = w->is[run->first + k] == FREE ? nfree + 1 : 0;
            if (nfree >= q->count && meets(q, run->base + k)) {
                return run->base + k >= 4 * GiB ? ABOVE_4G : BELOW_4G;
            }
        }
    }
    return NOWHERE;
}

static bool has_place(const struct world *w, const struct pmm_want *q)
{
    return place_for(w, q) != NOWHERE;
}

static bool has_order(const struct world *w, unsigned order)
{
    const uint64_t count = UINT64_C(1) << order;

    return has_place(w, &(struct pmm_want){ .count = count, .align = count });
}

/* What the header says that pmm_get_range() answers. */
static mm_err_t answer_for(const struct world *w, const struct pmm_want *q)
{
    struct pmm_want anywhere = *q;

    anywhere.limit = 0;
    if (q->count == 0 || (q->align & (q->align - 1)) != 0 ||
        (q->boundary != 0 && (q->boundary < PAGE || (q->boundary & (q->boundary - 1)) != 0))) {
        return MM_EINVAL;
    }
    if (w->nfree < q->count) {
        return MM_ENOMEM;
    }
    if (has_place(w, q)) {
        return MM_OK;
    }
    return has_place(w, &anywhere) ? MM_ELIMIT : MM_EFRAG;
}

/* Frames that the pool has taken for its records, or moved them to, since the last look. */
static void learn_records(struct world *w)
{
    uint64_t n = 0;

    if (w->p->records == 0) {
        return;
    }
    assert_int_equal(w->kind, PMM_GENERAL);
    for (uint64_t s = 0; s < w->p->nsections; s++) {
        if (w->records[s] != 0 && w->records[s] != w->p->sections[s].records) {
            make_all(w, w->records[s], 8, FREE);
        }
    }
    for (uint64_t s = 0; s < w->p->nsections; s++) {
        uint64_t base = w->p->sections[s].records;

        if (w->records[s] != base) {
            assert_true(base % 8 == 0 && all_are(w, base, 8, FREE));
            make_all(w, base, 8, RECORD);
            w->records[s] = base;
        }
        n += base != 0 ? 8 : 0;
    }
    assert_int_equal(w->p->records, n);
}

/* ---- contents of frames ---------------------------------------------------------------------- */

static uint64_t *words_of(uint64_t pfn)
{
    return port_ptr(pa_make(pfn * PAGE));
}

static void stamp(const struct world *w, uint64_t base, uint64_t count, uint64_t id)
{
    for (uint64_t k = 0; w->touch && k < count; k++) {
        words_of(base + k)[0] = words_of(base + k)[511] = id << 32 ^ (base + k);
    }
}

static void assert_stamped(const struct world *w, uint64_t base, uint64_t count, uint64_t id)
{
    for (uint64_t k = 0; w->touch && k < count; k++) {
        assert_int_equal(words_of(base + k)[0], id << 32 ^ (base + k));
        assert_int_equal(words_of(base + k)[511], id << 32 ^ (base + k));
    }
}

static void assert_zeroed(uint64_t base, uint64_t count)
{
    static const unsigned char zeros[4096];

    for (uint64_t k = 0; k < count; k++) {
        assert_memory_equal(words_of(base + k), zeros, sizeof(zeros));
    }
}

/* ---- operations: the pool does one, the model agrees ------------------------------------------ */

/* The pool has given [base, base + count). */
static void took(struct world *w, uint64_t base, uint64_t count, unsigned flags)
{
    assert_true(all_are(w, base, count, FREE));
    if ((flags & PMM_ZERO) != 0) {
        assert_zeroed(base, count);
    }
    stamp(w, base, count, w->next_id);
    make_all(w, base, count, w->next_id++);
    w->allocs[w->nallocs++] = (struct alloc){ base, count };
}

/* Part of an allocation is about to be given back. Afterwards what is out of service stays out. */
static void gave(struct world *w, uint64_t base, uint64_t count)
{
    uint64_t i = 0;

    assert_true(row_at(w, base, &i) >= count);
    assert_stamped(w, base, count, w->is[i]);
    make_all(w, base, count, FREE);
    for (uint64_t k = 0; k < count; k++) {
        if (w->leaving[i + k]) {
            w->leaving[i + k] = false;
            make_all(w, base + k, 1, GONE);
        }
    }
}

static struct alloc pick_alloc(struct world *w)
{
    size_t i = below(w, w->nallocs);
    struct alloc a = w->allocs[i];

    w->allocs[i] = w->allocs[--w->nallocs];
    return a;
}

static void put_part(struct world *w, struct alloc a)
{
    uint64_t off = below(w, a.count);
    uint64_t count = 1 + below(w, a.count - off);

    gave(w, a.base + off, count);
    pmm_put_range(w->p, pfn_make(a.base + off), count);
    learn_records(w); /* of what remains */
    if (off > 0) {
        w->allocs[w->nallocs++] = (struct alloc){ a.base, off };
    }
    if (off + count < a.count) {
        w->allocs[w->nallocs++] = (struct alloc){ a.base + off + count, a.count - off - count };
    }
}

static void do_put(struct world *w)
{
    struct alloc a;

    if (w->nallocs == 0) {
        return;
    }
    a = pick_alloc(w);
    if (a.count > 1 && !w->plain && once_in(w, 4)) {
        put_part(w, a);
        return;
    }
    gave(w, a.base, a.count);
    if ((a.count & (a.count - 1)) == 0 && a.base % a.count == 0 && a.count <= GiB &&
        !once_in(w, 8)) {
        pmm_put(w->p, pfn_make(a.base), (unsigned)__builtin_ctzll(a.count));
    } else {
        pmm_put_range(w->p, pfn_make(a.base), a.count);
    }
}

static void do_put_batch(struct world *w)
{
    pfn_t pfns[PMM_MAX_BATCH];
    unsigned most = 1 + (unsigned)below(w, once_in(w, 4) ? PMM_MAX_BATCH : 16);
    unsigned n = 0;

    for (size_t i = w->nallocs; i-- > 0 && n < most;) {
        if (w->allocs[i].count == 1) {
            pfns[n++] = pfn_make(w->allocs[i].base);
            gave(w, w->allocs[i].base, 1);
            w->allocs[i] = w->allocs[--w->nallocs];
        }
    }
    pmm_put_batch(w->p, pfns, n);
}

/* The reclaim hook: gives back something, if there is something. */
static bool make_room(void *ctx, enum pmm_mark mark, uint64_t count)
{
    struct world *w = ctx;
    size_t n = w->nallocs;

    if (mark != PMM_REFUSAL) {
        w->marks++;
        return false;
    }
    assert_true(count > 0 && w->hook_puts);
    for (unsigned i = 0; i < 4 && n > 0; i++) {
        do_put(w);
    }
    return n > 0;
}

static unsigned some_flags(struct world *w)
{
    unsigned flags = 0;

    if (w->touch && once_in(w, 8)) {
        flags |= PMM_ZERO;
    }
    if (once_in(w, 8)) {
        flags |= PMM_QUICK;
    }
    if (w->hook_puts && once_in(w, 16)) {
        flags |= PMM_WAIT;
    }
    return flags;
}

static unsigned some_order(struct world *w)
{
    if (!once_in(w, 3)) {
        return 0;
    }
    if (w->plain) {
        return once_in(w, 4) ? (unsigned)below(w, PMM_MAX_ORDER + 2) / 9 * 9 : 9;
    }
    return !once_in(w, 4) ? (unsigned)below(w, 5) : (unsigned)below(w, PMM_MAX_ORDER + 2);
}

static void do_get(struct world *w)
{
    unsigned order = some_order(w);
    unsigned flags = some_flags(w);
    uint64_t count = UINT64_C(1) << order;
    pfn_t pfn;

    if (order > 5) {
        flags &= ~(unsigned)PMM_ZERO; /* it takes too long */
    }
    pfn = pmm_get(w->p, order, flags);
    if (pfn_is_none(pfn)) {
        /* With a hook that goes on making room, nobody is refused before all is given back. */
        assert_true(order > PMM_MAX_ORDER || (flags & PMM_QUICK) != 0 || !has_order(w, order));
    } else {
        assert_true(order <= PMM_MAX_ORDER && pfn.v % count == 0);
        took(w, pfn.v, count, flags);
    }
}

static void do_get_batch(struct world *w)
{
    pfn_t pfns[PMM_MAX_BATCH];
    unsigned n = (unsigned)below(w, 1 + (once_in(w, 4) ? PMM_MAX_BATCH : 16));
    unsigned flags = some_flags(w);
    unsigned got = pmm_get_batch(w->p, pfns, n, flags);

    assert_true(got <= n);
    for (unsigned i = 0; i < got; i++) {
        took(w, pfns[i].v, 1, flags);
    }
    assert_true(got == n || (flags & PMM_QUICK) != 0 || w->nfree == 0);
}

static struct pmm_want some_want(struct world *w)
{
    struct pmm_want want = { .count = 1 + below(w, 1 + below(w, 400)) };

    if (once_in(w, 8)) {
        want.count = 1 + below(w, w->n + 2);
    }
    if (once_in(w, 2)) {
        want.align = UINT64_C(1) << below(w, once_in(w, 20) ? 64 : 10);
    }
    if (once_in(w, 3)) {
        want.limit = pfn_at(w, below(w, w->n)) * PAGE + below(w, 2 * PAGE) + 1;
    } else if (once_in(w, 4)) {
        want.limit = PMM_NO_LIMIT;
    }
    if (once_in(w, 3)) {
        want.boundary = PAGE << below(w, once_in(w, 20) ? 52 : 11);
    }
    if (once_in(w, 50)) { /* nonsense */
        want.count -= once_in(w, 3) ? want.count : 0;
        want.align += once_in(w, 3) ? 3 : 0;
        want.boundary += once_in(w, 3) ? 1024 : 0;
    }
    want.flags = some_flags(w) & (want.count <= 64 ? ~0u : ~(unsigned)PMM_ZERO);
    return want;
}

/* Could pmm_get() meet the request as well? Then a cache may, wherever that has its frames. */
static bool like_order(const struct pmm_want *want)
{
    return (want->count & (want->count - 1)) == 0 && want->count <= 512 &&
           want->align <= want->count;
}

static void do_get_range(struct world *w)
{
    struct pmm_want want = some_want(w);
    bool may_differ = (want.flags & (PMM_QUICK | PMM_WAIT)) != 0;
    mm_err_t answer = may_differ ? MM_OK : answer_for(w, &want);
    pfn_t base = { 12345 };
    mm_err_t err = pmm_get_range(w->p, &want, &base);

    if (may_differ) {
        /* Room may have been made meanwhile; or it was not looked for everywhere. */
        answer = err == MM_OK || (want.flags & PMM_QUICK) != 0 ? err : answer_for(w, &want);
    }
    assert_int_equal(err, answer);
    if (err == MM_OK) {
        assert_true(meets(&want, base.v));
        if (base.v < 4 * GiB && !like_order(&want)) {
            assert_true(may_differ || place_for(w, &want) != ABOVE_4G);
        }
        took(w, base.v, want.count, want.flags);
    } else {
        assert_int_equal(base.v, 12345);
    }
}

/* A range near frames that there are. */
static uint64_t some_range(struct world *w, uint64_t most, uint64_t *count)
{
    uint64_t base = pfn_at(w, below(w, w->n));

    *count = below(w, 1 + below(w, most + 1)) + (once_in(w, 50) ? 0 : 1);
    if (once_in(w, 100)) {
        *count = UINT64_MAX - below(w, base + 2);
    }
    return base - (once_in(w, 4) ? mm_min(below(w, 8), base) : 0);
}

/* What every call says of a range first. */
static mm_err_t answer_to_range(const struct world *w, uint64_t base, uint64_t count)
{
    if (count == 0 || base + count < base) {
        return MM_EINVAL;
    }
    return has_all(w, base, count) ? MM_OK : MM_ENOENT;
}

static void do_claim(struct world *w)
{
    uint64_t count;
    uint64_t base = some_range(w, once_in(w, 8) ? 1500 : 60, &count);
    mm_err_t answer;

    if (w->plain) {
        count = once_in(w, 8) ? 512 : 1;
        base -= base % count;
    }
    answer = answer_to_range(w, base, count);
    if (answer == MM_OK && !all_are(w, base, count, FREE)) {
        answer = MM_EBUSY;
    }
    assert_int_equal(pmm_claim(w->p, pfn_make(base), count), answer);
    if (answer == MM_OK) {
        took(w, base, count, 0);
    }
}

static void do_add(struct world *w)
{
    uint64_t count;
    uint64_t base = some_range(w, 8, &count);
    mm_err_t answer = answer_to_range(w, base, count);

    if (answer == MM_OK && !all_are(w, base, count, WAITS)) {
        answer = MM_EBUSY;
    }
    assert_int_equal(pmm_add(w->p, pfn_make(base), count), answer);
    if (answer == MM_OK) {
        make_all(w, base, count, FREE);
    }
}

static bool is_out(const struct world *w, uint64_t i)
{
    return w->is[i] == GONE || w->leaving[i];
}

/* Ranges out of service or leaving it, where frames [base, base + count) are so as well. */
static unsigned ranges_out(const struct world *w, uint64_t base, uint64_t count)
{
    unsigned n = 0;

    for (size_t r = 0; r < w->nruns; r++) {
        const struct run *run = &w->runs[r];
        bool before = false;

        for (uint64_t k = 0; k < run->count; k++) {
            bool out = is_out(w, run->first + k) || run->base + k - base < count;

            n += out && !before;
            before = out;
        }
    }
    return n;
}

/* Natural blocks of 8 free frames that lie outside [base, base + count). */
static uint64_t eights_outside(const struct world *w, uint64_t base, uint64_t count)
{
    uint64_t n = 0;

    for (size_t r = 0; r < w->nruns; r++) {
        const struct run *run = &w->runs[r];

        for (uint64_t pfn = (run->base + 7) & ~UINT64_C(7); pfn + 8 <= run->base + run->count;
             pfn += 8) {
            n += (pfn >= base + count || pfn + 8 <= base) && all_are(w, pfn, 8, FREE);
        }
    }
    return n;
}

static void do_retire(struct world *w)
{
    uint64_t count;
    uint64_t base = some_range(w, 4, &count);
    uint64_t used = 0;
    uint64_t in_use = 99999;
    uint64_t i = 0;
    mm_err_t answer = answer_to_range(w, base, count);
    mm_err_t err;

    if (answer == MM_OK && ranges_out(w, base, count) > PMM_MAX_BAD) {
        answer = MM_ENOSPC;
    }
    err = pmm_retire(w->p, pfn_make(base), count, once_in(w, 4) ? NULL : &in_use);
    learn_records(w);
    if (err == MM_ENOMEM && answer == MM_OK) {
        /* Records must be made, or move, for it: 8 frames for the GiB, 8 for that where they are */
        answer = eights_outside(w, base, count) < 2 ? MM_ENOMEM : MM_OK;
    }
    assert_int_equal(err, answer);
    if (answer != MM_OK) {
        assert_int_equal(in_use, 99999);
        return;
    }
    row_at(w, base, &i);
    for (uint64_t k = 0; k < count; k++) {
        assert_true(w->is[i + k] != RECORD);
        if (w->is[i + k] >= FIRST_ID) {
            w->leaving[i + k] = true;
            used++;
        } else {
            make_all(w, base + k, 1, GONE);
        }
    }
    assert_true(in_use == used || in_use == 99999);
}

static enum pmm_state state_at(const struct world *w, uint64_t i)
{
    switch (w->is[i]) {
    case FREE:
        return PMM_FREE;
    case GONE:
        return PMM_BAD;
    case WAITS:
    case RECORD:
        return PMM_HELD;
    default:
        return PMM_USED;
    }
}

static void do_ask(struct world *w)
{
    uint64_t count;
    uint64_t base = some_range(w, 3000, &count);
    uint64_t i = 0;
    bool there = row_at(w, base, &i) > 0;
    unsigned order = (unsigned)below(w, PMM_MAX_ORDER + 2);
    struct pmm_tally t;
    struct pmm_tally want = { 0 };
    mm_err_t why = MM_EINVAL;

    assert_int_equal(pmm_covers(w->p, pfn_make(base)), there);
    assert_int_equal(pmm_is_free(w->p, pfn_make(base)), there && w->is[i] == FREE);
    if (!once_in(w, 4)) {
        return; /* the rest stops the pool */
    }
    assert_int_equal(pmm_get_state(w->p, pfn_make(base)), there ? state_at(w, i) : PMM_ABSENT);

    if (order <= PMM_MAX_ORDER) {
        why = w->nfree < UINT64_C(1) << order ? MM_ENOMEM : has_order(w, order) ? MM_OK : MM_EFRAG;
    }
    assert_int_equal(pmm_why(w->p, order), why);

    count %= 5000;
    for (uint64_t k = 0; k < count; k++) {
        there = row_at(w, base + k, &i) > 0;
        want.frames[there ? state_at(w, i) : PMM_ABSENT]++;
    }
    pmm_get_tally(w->p, pfn_make(base), count, &t);
    for (unsigned s = 0; s < PMM_STATES; s++) {
        assert_int_equal(t.frames[s], want.frames[s]);
    }
}

static void do_other(struct world *w)
{
    struct pmm_cpu_stats s;
    uint64_t was;
    unsigned n = (unsigned)below(w, 100);

    if (w->touch && once_in(w, 2)) {
        was = pmm_free_frames(w->p);
        assert_true(pmm_fill_zeroed(w->p, n) <= n);
        assert_int_equal(pmm_free_frames(w->p), was);
        pmm_get_cpu_stats(w->p, port_cpu(), &s);
        assert_true(s.zeroed_frames <= s.cached_frames && s.cached_frames <= was);
    } else {
        pmm_idle(w->p);
        pmm_get_cpu_stats(w->p, port_cpu(), &s);
        assert_int_equal(s.cached_frames, 0);
    }
}

/* ---- everything compared --------------------------------------------------------------------- */

static void assert_stats(struct world *w)
{
    struct pmm_stats s = stats_of(w->p);
    struct free_count c = { 0 };
    uint64_t held = 0, records = 0, bad = 0, leaving = 0;

    for (size_t r = 0; r < w->nruns; r++) {
        const struct run *run = &w->runs[r];
        uint64_t from = 0; /* so many of it are not free, or have been counted */

        for (uint64_t k = 0; k < run->count; k++) {
            uint64_t i = run->first + k;

            held += w->is[i] == WAITS;
            records += w->is[i] == RECORD;
            bad += w->is[i] == GONE;
            leaving += w->leaving[i];
            if (w->is[i] != FREE) {
                count_free_run(&c, run->base + from, run->base + k);
                from = k + 1;
            }
        }
        count_free_run(&c, run->base + from, run->base + run->count);
    }
    assert_int_equal(s.total_frames, w->n);
    assert_int_equal(s.free_frames, w->nfree);
    assert_int_equal(s.held_frames, held);
    assert_int_equal(s.bad_frames, bad);
    assert_int_equal(s.leaving_frames, leaving);
    assert_int_equal(s.record_frames, records);
    assert_free_count(&s, &c);
    assert_true(s.open_sections <= s.sections);
    assert_int_equal(s.storage_bytes, w->f.storage_bytes);
}

static void assert_out(struct world *w)
{
    pfn_t base;
    uint64_t count;
    uint64_t all = 0;
    unsigned n = 0;

    for (; pmm_get_bad(w->p, n, &base, &count); n++) {
        uint64_t i = 0;

        assert_true(row_at(w, base.v, &i) >= count);
        for (uint64_t k = 0; k < count; k++) {
            assert_true(is_out(w, i + k));
        }
        all += count;
    }
    assert_int_equal(n, ranges_out(w, 0, 0));
    for (uint64_t i = 0; i < w->n; i++) {
        all -= is_out(w, i);
    }
    assert_int_equal(all, 0);
}

static void assert_world(struct world *w)
{
    assert_sound(pmm_check(w->p));
    for (uint64_t i = 0; i<w->n; i += w->n> 10000 ? 1 + below(w, 100) : 1) {
        pfn_t pfn = pfn_make(pfn_at(w, i));

        assert_true(pmm_covers(w->p, pfn));
        assert_int_equal(pmm_is_free(w->p, pfn), w->is[i] == FREE);
    }
    for (size_t r = 0; r < w->nruns; r++) {
        assert_false(pmm_covers(w->p, pfn_make(w->runs[r].base + w->runs[r].count)));
        assert_false(pmm_is_free(w->p, pfn_make(w->runs[r].base + w->runs[r].count)));
        assert_false(pmm_covers(w->p, pfn_make(w->runs[r].base - 1)));
    }
    assert_stats(w);
    assert_out(w);
}

/* ---- histories ------------------------------------------------------------------------------- */

/* One stretch: memory tends to be so full, and pmm_check() runs after one step of `check_each`. */
static void run_steps(struct world *w, uint64_t steps, uint64_t check_each, bool retires)
{
    unsigned fullness = (unsigned)below(w, 8); /* of 8: how much more is taken than given back */

    for (uint64_t step = 0; step < steps; step++) {
        if (step % 500 == 499) {
            fullness = (unsigned)below(w, 8);
        }
        if (once_in(w, 16)) {
            host_set_cpu((unsigned)below(w, w->ncpus));
        }
        if (below(w, 8) >= fullness) {
            if (once_in(w, 16)) {
                do_put_batch(w);
            } else {
                do_put(w);
            }
        }
        switch (below(w, 16)) {
        case 0:
            if (!w->plain) {
                do_get_range(w);
            }
            break;
        case 1:
            do_claim(w);
            break;
        case 2:
            do_get_batch(w);
            break;
        case 3:
            if (once_in(w, 16)) {
                do_add(w);
            } else {
                do_ask(w);
            }
            break;
        case 4:
            if (once_in(w, 8)) {
                do_other(w);
            } else if (retires && !w->plain && once_in(w, 8)) {
                do_retire(w);
            }
            break;
        default:
            do_get(w);
            break;
        }
        learn_records(w);
        assert_int_equal(pmm_free_frames(w->p), w->nfree);
        if (once_in(w, check_each)) {
            assert_sound(pmm_check(w->p));
        }
    }
}

/* How many times as many steps as usual are wanted. */
static uint64_t length(void)
{
    const char *env = getenv("PLAT_STEPS");

    return env != NULL ? strtoull(env, NULL, 0) / USUAL_STEPS + 1 : 1;
}

struct shape {
    const char *name;
    const struct part *parts;
    size_t nparts;
    enum pmm_kind kind;
    uint64_t steps;  /* of one history */
    uint64_t rounds; /* histories */
};

/* Histories over one shape: each begins anew, and ends with all given back. */
static void run_shape(const struct shape *shape)
{
    static const uint64_t check_each[] = { 1, 10, 100, 1000 };
    static const unsigned ncpus[] = { 1, 3, 8, 64 };
    struct host_rng r = host_rng_make(shape->name);
    uint64_t steps = 0;
    struct world w;

    for (uint64_t round = 0; round < shape->rounds * length(); round++) {
        uint64_t each = check_each[round % 4];
        uint64_t n = shape->steps / (each == 1 ? 10 : 1);

        world_make(&w, shape->parts, shape->nparts, shape->kind, ncpus[host_rng_below(&r, 4)],
                   host_rng_next(&r));
        w.hook_puts = once_in(&w, 2);
        w.plain = once_in(&w, 3);
        pmm_set_reclaim(w.p, below(&w, w.n), 0, w.hook_puts ? make_room : NULL, &w);
        assert_world(&w);
        run_steps(&w, n, each, once_in(&w, 2));
        steps += n;
        assert_world(&w);
        while (w.nallocs > 0) {
            do_put(&w);
            learn_records(&w);
        }
        assert_world(&w);
        assert_true(!w.plain || w.p->records == 0);
        world_drop(&w);
    }
    host_phys_reset();
    printf("%s: %llu steps\n", shape->name, (unsigned long long)steps);
}

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
    { 60 * TiB + 5, 300, GIVEN },     /* far */
};

static void test_ragged(void **state)
{
    (void)state;
    run_shape(&(struct shape){ "ragged", ragged, MM_COUNTOF(ragged), PMM_GENERAL, 2500, 60 });
}

static void test_low(void **state)
{
    (void)state;
    run_shape(&(struct shape){ "low", ragged, MM_COUNTOF(ragged), PMM_LOW, 2500, 40 });
}

/* Whole blocks of 2 MiB only, so that the pool must find room for its records in itself. */
static void test_blocks(void **state)
{
    static const struct part parts[] = {
        { 3 * GiB, 2 * 512, GIVEN },
        { 3 * GiB + 4 * 512, 512, LATER },
        { 5 * GiB - 512, 4 * 512, GIVEN },
        { 6 * GiB + 100 * 512, 512, GIVEN },
    };

    (void)state;
    run_shape(&(struct shape){ "blocks", parts, MM_COUNTOF(parts), PMM_GENERAL, 5000, 40 });
}

static void test_tiny(void **state)
{
    static const struct part sixteen[] = { { 5 * GiB + 16, 16, GIVEN } };
    static const struct part one[] = { { 700, 1, GIVEN } };
    static const struct part block[] = { { 1024, 512, GIVEN } };

    (void)state;
    run_shape(&(struct shape){ "16 frames", sixteen, 1, PMM_GENERAL, 1000, 40 });
    run_shape(&(struct shape){ "1 frame", one, 1, PMM_GENERAL, 200, 20 });
    run_shape(&(struct shape){ "1 block", block, 1, PMM_GENERAL, 2000, 40 });
}

/* No second planes from these pools themselves. */
static void test_set_apart(void **state)
{
    static const struct part parts[] = {
        { 2 * 512, 3 * 512, SPECIAL },       { 3 * GiB, 512, GIVEN },
        { 5 * GiB - 512, 1024, UNACCEPTED }, { 6 * GiB + 77, 1500, PERSISTENT },
        { 9 * GiB - 500, 500, SPECIAL },
    };

    (void)state;
    run_shape(&(struct shape){ "special", parts, MM_COUNTOF(parts), PMM_SPECIAL, 2500, 20 });
    run_shape(&(struct shape){ "unaccepted", parts, MM_COUNTOF(parts), PMM_UNACCEPTED, 2500, 20 });
    run_shape(&(struct shape){ "persistent", parts, MM_COUNTOF(parts), PMM_PERSISTENT, 2500, 20 });
}

/* Whole GiB sections, on both sides of 4 GiB, and a ragged one. */
static void test_sections(void **state)
{
    static const struct part parts[] = {
        { GiB, GiB, GIVEN },         { 2 * GiB, GiB / 2 + 3, LATER }, { 8 * GiB - 5, 5, GIVEN },
        { 8 * GiB, 2 * GiB, GIVEN }, { 10 * GiB, 1000, GIVEN },
    };

    (void)state;
    run_shape(&(struct shape){ "sections", parts, MM_COUNTOF(parts), PMM_GENERAL, 2000, 4 });
}

/* As many regions as a map may have: most near each other, some GiB, some TiB apart. */
static void test_islands(void **state)
{
    enum { N = 4096 };
    static struct part parts[N];
    struct host_rng r = host_rng_make("islands of");
    uint64_t at = 300;

    (void)state;
    for (size_t i = 0; i < N; i++) {
        at += host_rng_below(&r, 60) == 0    ? host_rng_below(&r, 3 * GiB)
              : host_rng_below(&r, 300) == 0 ? host_rng_below(&r, TiB)
              : host_rng_below(&r, 4) == 0   ? 0
                                             : host_rng_below(&r, 1000);
        parts[i].base = at;
        parts[i].count = 1 + host_rng_below(&r, host_rng_below(&r, 100) == 0 ? 1500 : 16);
        parts[i].is = host_rng_below(&r, 8) == 0 ? LATER : GIVEN;
        at += parts[i].count;
    }
    run_shape(&(struct shape){ "islands", parts, N, PMM_GENERAL, 1500, 4 });
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_tiny),      cmocka_unit_test(test_low),
        cmocka_unit_test(test_ragged),    cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_set_apart), cmocka_unit_test(test_sections),
        cmocka_unit_test(test_islands),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
