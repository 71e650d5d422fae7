/*
 * heap_world.c - the naive first fit: all blocks, used and free, in one array in order of address.
 *
 * A request walks the array from its beginning and takes the first free block that fits; what is
 * freed merges with the neighbours in the array, unless an arena begins there. Everything that a
 * heap is clever about is left out.
 *
 * What part of an arena blocks can use, the model learns from the heap's for_each when the arena
 * comes or changes its length. All else it knows by itself.
 */
#include "heap_world.h"

#include <stdlib.h>
#include <sys/mman.h>

#define GRANULE      16u
#define MAX_ARENAS   256u
#define MAX_EVENTS   64u
#define FILL_WHOLE   ((size_t)16384) /* of longer blocks only the two ends have a pattern */
#define FILL_END     ((size_t)2048)
#define MOST_LOST    ((size_t)256) /* of an arena's end */
#define POOL_ALIGN   ((size_t)2 << 20)
#define RUBBISH_MOST ((size_t)1 << 20) /* what of an arena is not zero when the heap gets it */

#define require(cond, ...)                                                                         \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fail_msg(__VA_ARGS__);                                                                 \
        }                                                                                          \
    } while (0)

/* ---- the pool: slots of `grain` bytes, of which arenas are made ------------------------------- */

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define POOL_IS_GUARDED 1
#endif
#endif
#ifdef POOL_IS_GUARDED
#include <sanitizer/asan_interface.h>
#endif

enum slot { SLOT_FREE, SLOT_FIRST, SLOT_REST, SLOT_SPARE, SLOT_FIXED };

struct pool {
    unsigned char *mem;
    unsigned char *slot; /* enum slot; a range is FIRST, RESTs, and SPAREs into which it may grow */
    size_t nslots, grain;
};

/* What is no arena's (`up`) stops whoever touches it, if this is built with AddressSanitizer. */
static void guard(const void *at, size_t nbytes, bool up)
{
#ifdef POOL_IS_GUARDED
    if (up) {
        __asan_poison_memory_region(at, nbytes);
    } else {
        __asan_unpoison_memory_region(at, nbytes);
    }
#else
    (void)at;
    (void)nbytes;
    (void)up;
#endif
}

/* All pools are the same memory: to map and unmap it would take longer than a short run does. */
static void pool_open(struct pool *p, size_t nbytes, size_t grain)
{
    static unsigned char *mem;

    if (mem == NULL) {
        unsigned char *at = mmap(NULL, HEAP_WORLD_MAX_POOL + POOL_ALIGN, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

        assert_true(at != MAP_FAILED);
        mem = at + (0 - (uintptr_t)at) % POOL_ALIGN;
    }
    assert_true(nbytes <= HEAP_WORLD_MAX_POOL && nbytes % grain == 0 &&
                grain >= HEAP_WORLD_MIN_SLOT);
    p->mem = mem;
    p->grain = grain;
    p->nslots = nbytes / grain;
    p->slot = calloc(p->nslots, 1);
    assert_non_null(p->slot);
    guard(mem, nbytes, true);
}

static void pool_close(struct pool *p)
{
    guard(p->mem, p->nslots * p->grain, false);
    if (p->nslots * p->grain > 16 * RUBBISH_MOST) {
        madvise(p->mem, p->nslots * p->grain, MADV_DONTNEED);
    }
    free(p->slot);
}

/* `n` slots in a row from `start` on or, if there are none, from wherever; the base's a multiple of
 * `align`. nslots if there are none. */
static size_t pool_find(const struct pool *p, size_t start, size_t n, size_t align)
{
    for (size_t from = start, to = p->nslots;; from = 0, to = start) {
        for (size_t i = from, run = 0; i < to; i++) {
            bool begins = run > 0 || (uintptr_t)(p->mem + i * p->grain) % align == 0;

            run = begins && p->slot[i] == SLOT_FREE ? run + 1 : 0;
            if (run == n) {
                return i + 1 - n;
            }
        }
        if (from == 0) {
            return p->nslots;
        }
    }
}

/* It becomes an arena's, with rubbish in it. */
static void pool_give(void *base, size_t nbytes)
{
    guard(base, nbytes, false);
    memset(base, 0xa5, nbytes < RUBBISH_MOST ? nbytes : RUBBISH_MOST);
}

/* ---- the world -------------------------------------------------------------------------------- */

struct block {
    uintptr_t at; /* its head, if it has one */
    size_t nbytes;
    bool used, first; /* of its arena */
};

struct arena {
    uintptr_t base;
    size_t nbytes;
    uintptr_t start, stop; /* what blocks can use */
    size_t counted;        /* of nbytes; a heap may leave out what alignment cuts off */
    bool fetched;
};

struct live {
    unsigned char *ptr;
    size_t nbytes; /* as asked for */
    unsigned char fill;
};

/* What the heap and its backing said to each other during an operation. */
struct event {
    enum { GOT, GREW, PUT, REFUSED } what;
    uintptr_t base; /* of a range that was to grow: where it ended; of others that are refused 0 */
    size_t nbytes;
};

struct heap_world {
    struct heap_world_config config;
    const struct heap_kind *kind;
    void *heap;
    struct pool pool;
    struct host_rng rng;

    struct block *blocks;
    size_t nblocks, max_blocks;
    struct arena arenas[MAX_ARENAS];
    size_t narenas;

    struct live *live;
    size_t nlive, max_live;
    unsigned char next_fill;

    struct event events[MAX_EVENTS];
    size_t nevents;
    size_t spare_bytes; /* by which the highest arena could have grown before the first of them */

    size_t used_bytes, arena_bytes, peak_used_bytes, peak_arena_bytes;
    struct heap_world_counts counts;
};

/* ---- the backing ------------------------------------------------------------------------------ */

static void note(struct heap_world *w, int what, uintptr_t base, size_t nbytes)
{
    require(w->nevents < MAX_EVENTS, "the heap calls its backing again and again");
    w->events[w->nevents++] = (struct event){ what, base, nbytes };
}

/* By how many slots the range that ends before slot `at` may grow. */
static size_t spare_slots(const struct pool *p, size_t at)
{
    size_t n = 0;

    while (at + n < p->nslots && p->slot[at + n] == SLOT_SPARE) {
        n++;
    }
    return n;
}

/* Before the first thing that the heap asks for in an operation. */
static void note_spare(struct heap_world *w)
{
    const struct arena *a = w->narenas > 0 ? &w->arenas[w->narenas - 1] : NULL;

    if (w->nevents == 0) {
        w->spare_bytes = 0;
    }
    if (w->nevents == 0 && a != NULL && a->fetched) {
        size_t end = (size_t)(a->base + a->nbytes - (uintptr_t)w->pool.mem);

        w->spare_bytes = spare_slots(&w->pool, end / w->pool.grain) * w->pool.grain;
    }
}

static bool refuses(struct heap_world *w)
{
    long call = w->counts.ncalls++;

    return call == w->config.fail_at ||
           (w->config.refuse != 0 && host_rng_below(&w->rng, w->config.refuse) == 0);
}

/* A third of the time more than was asked for. */
static size_t surplus(struct heap_world *w)
{
    return host_rng_below(&w->rng, 3) == 0 ? 1 + host_rng_below(&w->rng, 4) : 0;
}

static void *backing_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    struct heap_world *w = ctx;
    struct pool *p = &w->pool;
    size_t spare = w->config.reach / p->grain, n, at;

    require(nbytes > 0, "the heap asks its backing for nothing");
    note_spare(w);
    require(mm_is_pow2(align), "the heap asks its backing for an alignment of %zu", align);
    if (nbytes > w->config.pool_bytes || w->narenas == MAX_ARENAS || refuses(w)) {
        note(w, REFUSED, 0, nbytes);
        return NULL;
    }
    n = (nbytes + p->grain - 1) / p->grain;
    n += surplus(w);
    at = pool_find(p, host_rng_below(&w->rng, p->nslots), n + spare, align);
    if (at == p->nslots) {
        note(w, REFUSED, 0, nbytes);
        return NULL;
    }
    memset(p->slot + at, SLOT_REST, n);
    memset(p->slot + at + n, SLOT_SPARE, spare);
    p->slot[at] = SLOT_FIRST;
    *got = n * p->grain;
    pool_give(p->mem + at * p->grain, *got);
    note(w, GOT, (uintptr_t)(p->mem + at * p->grain), *got);
    return p->mem + at * p->grain;
}

static size_t backing_grow(void *ctx, void *end, size_t nbytes)
{
    struct heap_world *w = ctx;
    struct pool *p = &w->pool;
    size_t at = (size_t)((unsigned char *)end - p->mem) / p->grain, n = nbytes / p->grain, most;

    require((unsigned char *)end > p->mem && at <= p->nslots &&
                p->mem + at * p->grain == (unsigned char *)end &&
                (p->slot[at - 1] == SLOT_FIRST || p->slot[at - 1] == SLOT_REST),
            "the heap grows what is no range of its own");
    require(nbytes > 0 && nbytes % p->grain == 0, "the heap grows a range by %zu bytes", nbytes);
    note_spare(w);
    most = spare_slots(p, at);
    if (n > most || refuses(w)) {
        note(w, REFUSED, (uintptr_t)end, nbytes);
        return 0;
    }
    n = mm_min(n + surplus(w), most);
    memset(p->slot + at, SLOT_REST, n);
    pool_give(end, n * p->grain);
    note(w, GREW, (uintptr_t)end, n * p->grain);
    return n * p->grain;
}

/* A whole range, or the tail of one that may grow. */
static void backing_put(void *ctx, void *base, size_t nbytes)
{
    struct heap_world *w = ctx;
    struct pool *p = &w->pool;
    size_t at = (size_t)((unsigned char *)base - p->mem) / p->grain, n = nbytes / p->grain;
    bool whole;

    require((unsigned char *)base >= p->mem && at < p->nslots && n > 0 && n <= p->nslots - at &&
                p->mem + at * p->grain == (unsigned char *)base && nbytes % p->grain == 0,
            "the heap puts back what is no range");
    whole = p->slot[at] == SLOT_FIRST;
    require(whole || w->config.reach != 0, "the heap puts back part of a range that can't grow");
    for (size_t i = whole; i < n; i++) {
        require(p->slot[at + i] == SLOT_REST, "the heap puts back what is not one range");
    }
    require(at + n == p->nslots || p->slot[at + n] != SLOT_REST,
            "the heap puts back a range without its tail");
    memset(p->slot + at, whole ? SLOT_FREE : SLOT_SPARE, n);
    for (size_t i = at + n; whole && i < p->nslots && p->slot[i] == SLOT_SPARE; i++) {
        p->slot[i] = SLOT_FREE;
    }
    guard(base, nbytes, true);
    note(w, PUT, (uintptr_t)base, nbytes);
}

/* ---- the model: first fit --------------------------------------------------------------------- */

/* Bytes of the block that serves a request; SIZE_MAX: more than there is. */
static size_t need_of(const struct heap_kind *k, size_t nbytes)
{
    if (nbytes > SIZE_MAX / 4) {
        return SIZE_MAX;
    }
    return mm_max(mm_align_up(nbytes + k->head_bytes, GRANULE), k->least);
}

static void insert(struct heap_world *w, size_t i, struct block b)
{
    if (w->nblocks == w->max_blocks) {
        w->max_blocks = w->max_blocks * 2 + 64;
        w->blocks = realloc(w->blocks, w->max_blocks * sizeof(w->blocks[0]));
        assert_non_null(w->blocks);
    }
    memmove(w->blocks + i + 1, w->blocks + i, (w->nblocks - i) * sizeof(w->blocks[0]));
    w->blocks[i] = b;
    w->nblocks++;
    w->counts.most_blocks = mm_max(w->counts.most_blocks, w->nblocks);
}

static void take_out(struct heap_world *w, size_t i)
{
    w->nblocks--;
    memmove(w->blocks + i, w->blocks + i + 1, (w->nblocks - i) * sizeof(w->blocks[0]));
}

/* The first block that begins at `at` or above. */
static size_t find(const struct heap_world *w, uintptr_t at)
{
    size_t lo = 0, hi = w->nblocks;

    while (lo < hi) {
        size_t mid = (lo + hi) / 2;

        if (w->blocks[mid].at < at) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return lo;
}

static size_t find_used(const struct heap_world *w, const void *ptr)
{
    uintptr_t at = (uintptr_t)ptr - w->kind->head_bytes;
    size_t i = find(w, at);

    require(i < w->nblocks && w->blocks[i].at == at && w->blocks[i].used,
            "the model has no block at %p", ptr);
    return i;
}

/* How far into the free block the request's would begin; SIZE_MAX: it does not fit. */
static size_t gap_in(const struct heap_kind *k, const struct block *b, size_t need, size_t align)
{
    size_t gap = (0 - (b->at + k->head_bytes)) & (align - 1);

    if (k->aligned_by_size) {
        return need <= b->nbytes && align - GRANULE <= b->nbytes - need ? gap : SIZE_MAX;
    }
    if (gap != 0 && gap < k->least) {
        gap += align;
    }
    return gap <= b->nbytes && need <= b->nbytes - gap ? gap : SIZE_MAX;
}

/* Use `need` bytes of block i from `gap` on, or a little more if the rest would be no block.
 * Returns the number of the used one. */
static size_t take(struct heap_world *w, size_t i, size_t gap, size_t need)
{
    struct block whole = w->blocks[i];
    size_t rest = whole.nbytes - gap - need;

    if (rest < w->kind->least) {
        need += rest;
        rest = 0;
    }
    w->used_bytes += need;
    w->peak_used_bytes = mm_max(w->peak_used_bytes, w->used_bytes);
    w->blocks[i] = (struct block){ whole.at + gap, need, true, gap == 0 && whole.first };
    if (rest != 0) {
        insert(w, i + 1, (struct block){ whole.at + gap + need, rest, false, false });
    }
    if (gap != 0) {
        insert(w, i++, (struct block){ whole.at, gap, false, whole.first });
    }
    return i;
}

/* The number of the block that serves the request; nblocks: there is none. */
static size_t model_alloc(struct heap_world *w, size_t nbytes, size_t align)
{
    size_t need = need_of(w->kind, nbytes);

    align = mm_max(align, GRANULE);
    for (size_t i = 0; i < w->nblocks; i++) {
        const struct block *b = &w->blocks[i];

        if (!b->used && need <= b->nbytes) {
            size_t gap = gap_in(w->kind, b, need, align);

            if (gap != SIZE_MAX) {
                return take(w, i, gap, need);
            }
        }
    }
    return w->nblocks;
}

/* Are block i and the one above it neighbours, and the upper one free? */
static bool can_merge_above(const struct heap_world *w, size_t i)
{
    return i + 1 < w->nblocks && !w->blocks[i + 1].first && !w->blocks[i + 1].used;
}

/* Block i is free. It merges with its neighbours; returns the number of what comes of it. */
static size_t free_block(struct heap_world *w, size_t i)
{
    w->used_bytes -= w->blocks[i].nbytes;
    w->blocks[i].used = false;
    if (can_merge_above(w, i)) {
        w->blocks[i].nbytes += w->blocks[i + 1].nbytes;
        take_out(w, i + 1);
    }
    if (!w->blocks[i].first && !w->blocks[i - 1].used) {
        w->blocks[i - 1].nbytes += w->blocks[i].nbytes;
        take_out(w, i--);
    }
    return i;
}

/* Can block i have `nbytes` where it is? If so it has. */
static bool resize_block(struct heap_world *w, size_t i, size_t nbytes)
{
    size_t need = need_of(w->kind, nbytes), room = w->blocks[i].nbytes;

    room += can_merge_above(w, i) ? w->blocks[i + 1].nbytes : 0;
    if (need > room) {
        return false;
    }
    if (can_merge_above(w, i)) {
        take_out(w, i + 1);
    }
    w->used_bytes -= w->blocks[i].nbytes;
    w->blocks[i].nbytes = room;
    take(w, i, 0, need);
    return true;
}

/* ---- the model: arenas come and go ------------------------------------------------------------ */

/* What of [base, base + nbytes) is blocks, says the heap. */
struct survey {
    uintptr_t base, end, start, stop;
    size_t head_bytes;
};

static bool survey_block(void *ctx, const struct heap_kind_view *v)
{
    struct survey *s = ctx;

    if (v->ptr > s->base && v->ptr < s->end) {
        s->start = s->start != 0 ? s->start : v->ptr - s->head_bytes;
        s->stop = v->ptr + v->nbytes;
    }
    return v->ptr < s->end;
}

static struct survey survey(struct heap_world *w, uintptr_t base, size_t nbytes)
{
    struct survey s = { .base = base, .end = base + nbytes, .head_bytes = w->kind->head_bytes };

    w->kind->for_each(w->heap, survey_block, &s);
    for (size_t i = 0; i < w->nevents; i++) { /* it may have become shorter since */
        const struct event *e = &w->events[i];

        s.stop += e->what == PUT && e->base > base && e->base < s.end ? e->nbytes : 0;
    }
    require(s.start != 0 && s.start >= base && s.stop <= s.end && s.start % GRANULE == 0 &&
                s.stop % GRANULE == 0 && s.stop - s.start >= w->kind->least,
            "an arena of %zu bytes has no blocks, or not where it is", nbytes);
    return s;
}

static void count_arena_bytes(struct heap_world *w, struct arena *a, size_t by)
{
    a->counted += by;
    w->arena_bytes += by;
    w->peak_arena_bytes = mm_max(w->peak_arena_bytes, w->arena_bytes);
}

static void add_arena(struct heap_world *w, uintptr_t base, size_t nbytes, bool fetched)
{
    struct survey s = survey(w, base, nbytes);
    struct arena a = { base, nbytes, s.start, s.stop, 0, fetched };
    size_t i = w->narenas++;

    count_arena_bytes(w, &a, nbytes - (w->kind->aligns_arenas ? (0 - base) % GRANULE : 0));
    for (; i > 0 && w->arenas[i - 1].base > base; i--) {
        w->arenas[i] = w->arenas[i - 1];
    }
    w->arenas[i] = a;
    insert(w, find(w, a.start), (struct block){ a.start, a.stop - a.start, false, true });
}

static struct arena *arena_at(struct heap_world *w, uintptr_t at)
{
    for (size_t i = 0; i < w->narenas; i++) {
        if (at >= w->arenas[i].base && at - w->arenas[i].base < w->arenas[i].nbytes) {
            return &w->arenas[i];
        }
    }
    fail_msg("no arena is at 0x%zx", (size_t)at);
    return NULL;
}

static void drop_arena(struct heap_world *w, struct arena *a)
{
    size_t i = find(w, a->start);

    require(!w->blocks[i].used && w->blocks[i].nbytes == a->stop - a->start,
            "the heap puts back an arena that is in use");
    require(a->fetched, "the heap puts back an arena that it was given");
    count_arena_bytes(w, a, 0 - a->counted);
    take_out(w, i);
    w->narenas--;
    memmove(a, a + 1, (size_t)(w->arenas + w->narenas - a) * sizeof(*a));
}

/* The last of the arena's memory went back. */
static void shorten(struct heap_world *w, struct arena *a, size_t nbytes)
{
    size_t last = find(w, a->stop) - 1;
    struct block *b = &w->blocks[last];

    require(!b->used && b->nbytes >= nbytes, "the heap puts back a tail that is in use");
    count_arena_bytes(w, a, 0 - nbytes);
    a->nbytes -= nbytes;
    a->stop -= nbytes;
    b->nbytes -= nbytes;
    if (b->nbytes == 0) {
        require(!b->first, "the heap puts back all of an arena but its beginning");
        take_out(w, last);
    }
}

/* There is more of it; not all of that may be for blocks. */
static void lengthen(struct heap_world *w, struct arena *a, size_t nbytes)
{
    struct survey s = survey(w, a->base, a->nbytes + nbytes);
    size_t more = s.stop - a->stop, last = find(w, a->stop) - 1;

    require(s.start == a->start && more <= nbytes && nbytes - more <= MOST_LOST,
            "an arena grows by %zu bytes, of which %zu are for blocks", nbytes, more);
    count_arena_bytes(w, a, nbytes);
    a->nbytes += nbytes;
    if (!w->blocks[last].used) {
        w->blocks[last].nbytes += more;
    } else if (more != 0) {
        insert(w, last + 1, (struct block){ a->stop, more, false, false });
    }
    a->stop += more;
}

static void play_event(struct heap_world *w, const struct event *e)
{
    struct arena *a;

    switch (e->what) {
    case GOT:
        add_arena(w, e->base, e->nbytes, true);
        w->counts.ngot++;
        break;
    case GREW:
        lengthen(w, arena_at(w, e->base - 1), e->nbytes);
        w->counts.ngrown++;
        break;
    case PUT:
        a = arena_at(w, e->base);
        if (a->base == e->base) {
            drop_arena(w, a);
            w->counts.nput++;
        } else {
            shorten(w, a, e->nbytes);
            w->counts.ncut++;
        }
        break;
    default:
        break;
    }
}

/* ---- what the heap did, and what it had to do ------------------------------------------------- */

/* The next event, if it is one of a search for memory; else NULL. */
static const struct event *next_search(struct heap_world *w, size_t *at)
{
    if (*at < w->nevents && w->events[*at].what != PUT) {
        return &w->events[(*at)++];
    }
    return NULL;
}

/* Could the highest arena have been made longer until it serves the request? */
static bool could_lengthen(const struct heap_world *w, size_t nbytes, size_t align)
{
    size_t need = need_of(w->kind, nbytes);
    const struct block *last;

    if (!w->kind->bounded || w->spare_bytes == 0 || need > w->config.pool_bytes ||
        align > w->config.pool_bytes) {
        return false;
    }
    last = &w->blocks[w->nblocks - 1];
    need += mm_max(align, GRANULE) - GRANULE - (last->used ? 0 : last->nbytes);
    return mm_align_up(need, w->pool.grain) + MOST_LOST <= w->spare_bytes;
}

static bool is_of_growth(const struct event *e)
{
    return e->what == GREW || (e->what == REFUSED && e->base != 0);
}

/* The block that a request must get, after what the heap asked its backing for; nblocks: none. */
static size_t expected(struct heap_world *w, size_t nbytes, size_t align, size_t *at)
{
    size_t i = model_alloc(w, nbytes, align);
    const struct event *e;
    bool found = false;

    if (i < w->nblocks) {
        require(next_search(w, at) == NULL, "the heap asks for memory while %zu bytes at %zu fit",
                nbytes, align);
        return i;
    }
    require(*at == w->nevents || !could_lengthen(w, nbytes, align) || is_of_growth(&w->events[*at]),
            "the heap does not try to grow its highest arena");
    while ((e = next_search(w, at)) != NULL) {
        require(!found, "the heap asks for more memory than %zu bytes at %zu take", nbytes, align);
        require(e->what != GREW ||
                    e->base == w->arenas[w->narenas - 1].base + w->arenas[w->narenas - 1].nbytes,
                "the heap grows an arena that is not the highest");
        found = e->what != REFUSED;
        play_event(w, e);
    }
    if (found) {
        i = model_alloc(w, nbytes, align);
        require(i < w->nblocks, "the heap asked for too little: %zu bytes at %zu", nbytes, align);
    } else {
        require(*at > 0 || !w->config.backing || nbytes > w->config.pool_bytes ||
                    align > w->config.pool_bytes,
                "the heap does not ask for memory: %zu bytes at %zu", nbytes, align);
        w->counts.nnull++;
        i = w->nblocks;
    }
    return i;
}

/* The heap must put [base, base + nbytes) back next. */
static void require_put(struct heap_world *w, uintptr_t base, size_t nbytes, size_t *at)
{
    const struct event *e = &w->events[*at];

    require(*at < w->nevents && e->what == PUT, "the heap keeps %zu bytes too many", nbytes);
    require(e->base == base && e->nbytes == nbytes,
            "the heap puts back %zu bytes at 0x%zx, not %zu at 0x%zx", e->nbytes, (size_t)e->base,
            nbytes, (size_t)base);
    ++*at;
    play_event(w, e);
}

/* Block i came free, with its neighbours: what the heap must put back for that it has, but for
 * `keep` bytes. */
static void settle(struct heap_world *w, size_t i, size_t keep, size_t *at)
{
    const struct block *b = &w->blocks[i];
    const struct arena *a = arena_at(w, b->at);
    size_t grain = w->config.grain;

    if (!a->fetched || b->used || b->at + b->nbytes != a->stop) {
        return;
    }
    if (b->first) {
        require_put(w, a->base, a->nbytes, at);
    } else if (w->kind->bounded && w->config.reach != 0 && b->nbytes >= grain &&
               b->nbytes - grain >= keep) {
        size_t nbytes = mm_align_down(b->nbytes - keep, grain);

        require_put(w, a->base + a->nbytes - nbytes, nbytes, at);
    }
}

static void require_no_more(const struct heap_world *w, size_t at)
{
    require(at == w->nevents, "the heap calls its backing for no reason");
}

/* ---- contents --------------------------------------------------------------------------------- */

static void fill(struct heap_world *w, struct live *l)
{
    size_t n = w->kind->size(w->heap, l->ptr);

    w->next_fill = w->next_fill % 255 + 1;
    l->fill = w->next_fill;
    if (n <= FILL_WHOLE) {
        memset(l->ptr, l->fill, n);
    } else {
        memset(l->ptr, l->fill, FILL_END);
        memset(l->ptr + n - FILL_END, l->fill, FILL_END);
    }
}

static bool all_are(const unsigned char *p, size_t n, unsigned char byte)
{
    return n == 0 || (p[0] == byte && memcmp(p, p + 1, n - 1) == 0);
}

static void verify(struct heap_world *w, const struct live *l)
{
    size_t n = w->kind->size(w->heap, l->ptr);

    require(n <= FILL_WHOLE ? all_are(l->ptr, n, l->fill)
                            : all_are(l->ptr, FILL_END, l->fill) &&
                                  all_are(l->ptr + n - FILL_END, FILL_END, l->fill),
            "a block of %zu bytes has other contents", l->nbytes);
}

/* ---- operations ------------------------------------------------------------------------------- */

static void add_live(struct heap_world *w, unsigned char *ptr, size_t nbytes)
{
    if (w->nlive == w->max_live) {
        w->max_live = w->max_live * 2 + 64;
        w->live = realloc(w->live, w->max_live * sizeof(w->live[0]));
        assert_non_null(w->live);
    }
    w->live[w->nlive] = (struct live){ .ptr = ptr, .nbytes = nbytes };
    fill(w, &w->live[w->nlive++]);
}

static void require_ptr(const struct heap_world *w, const void *ptr, size_t i, const char *what,
                        size_t nbytes, size_t align)
{
    const void *want = i < w->nblocks ? (void *)(w->blocks[i].at + w->kind->head_bytes) : NULL;

    require(ptr == want, "%s: %s of %zu bytes at %zu gets %p, not %p", w->kind->name, what, nbytes,
            align, ptr, want);
}

static void require_size(struct heap_world *w, const void *ptr, size_t nbytes)
{
    size_t n = w->kind->size(w->heap, ptr);
    size_t want = w->blocks[find_used(w, ptr)].nbytes - w->kind->head_bytes;

    require(n == want && n >= nbytes, "a block of %zu bytes has %zu, not %zu", nbytes, n, want);
}

/* An aligned request was cut out of one that was longer by `align` - 16: what was behind came free
 * with all that follows it. */
static void settle_aligned(struct heap_world *w, size_t i, size_t align, size_t *at)
{
    const struct block *b = &w->blocks[i];
    size_t front = !b->first && !b[-1].used ? b[-1].nbytes : 0;

    if (align > GRANULE && front != align - GRANULE) {
        require(can_merge_above(w, i), "the model forgot what is behind an aligned block");
        settle(w, i + 1, w->config.keep, at);
    }
}

static void do_alloc(struct heap_world *w, const struct heap_op *op)
{
    size_t nbytes = op->nbytes, align = 1, at = 0, i;
    unsigned char *ptr;

    if (op->what == HEAP_OP_ALIGNED) {
        align = op->align;
        ptr = w->kind->alloc_aligned(w->heap, nbytes, align);
    } else if (op->what == HEAP_OP_ZEROED) {
        ptr = w->kind->alloc_zeroed(w->heap, op->align, nbytes);
        if (__builtin_mul_overflow(nbytes, op->align, &nbytes)) {
            nbytes = SIZE_MAX;
        }
        require(ptr == NULL || all_are(ptr, nbytes, 0), "zeroed memory is not");
    } else {
        ptr = op->what == HEAP_OP_ALLOC ? w->kind->alloc(w->heap, nbytes)
                                        : w->kind->realloc(w->heap, NULL, nbytes);
    }
    i = expected(w, nbytes, align, &at);
    require_ptr(w, ptr, i, "a request", nbytes, align);
    if (ptr != NULL && w->kind->aligned_by_size) {
        settle_aligned(w, i, align, &at);
    }
    require_no_more(w, at);
    if (ptr != NULL) {
        require((uintptr_t)ptr % GRANULE == 0 && (uintptr_t)ptr % align == 0, "misaligned");
        require_size(w, ptr, nbytes);
        add_live(w, ptr, nbytes);
    }
}

static void do_realloc(struct heap_world *w, const struct heap_op *op)
{
    struct heap_op fresh = { .what = HEAP_OP_ALLOC, .nbytes = op->nbytes };
    size_t at = 0, i, old, kept;
    struct live *l;
    unsigned char *now;

    if (w->nlive == 0) {
        fresh.what = HEAP_OP_REALLOC; /* of NULL */
        do_alloc(w, &fresh);
        return;
    }
    l = &w->live[op->which % w->nlive];
    verify(w, l);
    old = w->kind->size(w->heap, l->ptr);
    now = w->kind->realloc(w->heap, l->ptr, op->nbytes);
    i = find_used(w, l->ptr);
    if (resize_block(w, i, op->nbytes)) {
        require_ptr(w, now, i, "realloc in place", op->nbytes, 1);
        if (w->blocks[i].nbytes - w->kind->head_bytes < old) {
            settle(w, i + 1, w->config.keep, &at);
        }
        w->counts.nresized++;
    } else {
        /* The new block is looked for while the old one is still there. */
        i = expected(w, op->nbytes, 1, &at);
        require_ptr(w, now, i, "realloc", op->nbytes, 1);
        if (now == NULL) {
            require_no_more(w, at);
            verify(w, l);
            return;
        }
        settle(w, free_block(w, find_used(w, l->ptr)), w->config.keep, &at);
        w->counts.nmoved++;
    }
    require_no_more(w, at);
    require_size(w, now, op->nbytes);
    kept = mm_min(old <= FILL_WHOLE ? old : FILL_END, w->kind->size(w->heap, now));
    require(all_are(now, kept, l->fill), "realloc to %zu bytes lost what was in the block",
            op->nbytes);
    l->ptr = now;
    l->nbytes = op->nbytes;
    fill(w, l);
}

static void do_free(struct heap_world *w, size_t which)
{
    size_t at = 0;
    struct live l;

    w->nevents = 0;
    if (w->nlive == 0) {
        w->kind->free(w->heap, NULL);
        return;
    }
    which %= w->nlive;
    l = w->live[which];
    verify(w, &l);
    w->kind->free(w->heap, l.ptr);
    w->live[which] = w->live[--w->nlive];
    settle(w, free_block(w, find_used(w, l.ptr)), w->config.keep, &at);
    require_no_more(w, at);
}

static void do_trim(struct heap_world *w)
{
    size_t at = 0;

    w->nevents = 0;
    if (w->kind->trim == NULL) {
        return;
    }
    w->kind->trim(w->heap);
    for (size_t i = 0; i < w->narenas; i++) {
        settle(w, find(w, w->arenas[i].stop) - 1, 0, &at);
    }
    require_no_more(w, at);
}

/* One that overlaps an arena, by a granule at least, is refused. */
static void do_add_overlapping(struct heap_world *w, const struct heap_op *op)
{
    const struct arena *a = &w->arenas[op->which % w->narenas];
    uintptr_t lowest = a->base - mm_min(op->nbytes, a->base) + GRANULE;
    uintptr_t base = lowest + op->align % (a->base + a->nbytes - GRANULE - lowest);

    require(w->kind->add_arena(w->heap, (void *)base, op->nbytes) == MM_EINVAL,
            "an arena over another one was accepted");
}

static void do_add_arena(struct heap_world *w, const struct heap_op *op)
{
    struct pool *p = &w->pool;
    size_t nbytes = mm_min(op->nbytes, w->config.pool_bytes);
    size_t n = (nbytes + p->grain - 1) / p->grain, at;
    size_t bottom = op->align / 64 % mm_min(p->grain / 2, 64),
           top = op->align % 64 % (p->grain / 2);
    unsigned char *base;

    if (w->narenas > 0 && nbytes > 2 * GRANULE && op->align % 7 == 0) {
        do_add_overlapping(w, op);
        return;
    }
    at = n > 0 ? pool_find(p, op->which % p->nslots, n, 1) : p->nslots;
    if (at == p->nslots || w->narenas == MAX_ARENAS) {
        return;
    }
    base = p->mem + at * p->grain + bottom;
    nbytes = n * p->grain - bottom - top;
    pool_give(base, nbytes);
    if (w->kind->add_arena(w->heap, base, nbytes) == MM_OK) {
        memset(p->slot + at, SLOT_FIXED, n);
        add_arena(w, (uintptr_t)base, nbytes, false);
    } else {
        require(nbytes < 4096, "an arena of %zu bytes was refused", nbytes);
        guard(base, nbytes, true);
    }
}

void heap_world_do(struct heap_world *w, const struct heap_op *op)
{
    w->nevents = 0;
    switch (op->what) {
    case HEAP_OP_REALLOC:
        do_realloc(w, op);
        break;
    case HEAP_OP_FREE:
        do_free(w, op->which);
        break;
    case HEAP_OP_TRIM:
        do_trim(w);
        break;
    case HEAP_OP_ADD_ARENA:
        do_add_arena(w, op);
        break;
    default:
        do_alloc(w, op);
    }
}

size_t heap_world_nlive(const struct heap_world *w)
{
    return w->nlive;
}

/* ---- comparing -------------------------------------------------------------------------------- */

struct cursor {
    const struct heap_world *w;
    size_t i;
};

static bool compare_block(void *ctx, const struct heap_kind_view *v)
{
    struct cursor *c = ctx;
    size_t head = c->w->kind->head_bytes;
    const struct block *b = &c->w->blocks[c->i];

    require(c->i < c->w->nblocks && v->ptr == b->at + head && v->nbytes == b->nbytes - head &&
                v->used == b->used && v->first_in_arena == b->first,
            "block %zu is 0x%zx, %zu bytes, used %d, first %d; wanted 0x%zx, %zu, %d, %d", c->i,
            (size_t)v->ptr, v->nbytes, v->used, v->first_in_arena, (size_t)(b->at + head),
            b->nbytes - head, b->used, b->first);
    c->i++;
    return true;
}

void heap_world_compare(struct heap_world *w)
{
    struct heap_kind_stats have, want = { .narenas = w->narenas, .arena_bytes = w->arena_bytes };
    struct cursor c = { .w = w };

    assert_sound(w->kind->check(w->heap));
    w->kind->for_each(w->heap, compare_block, &c);
    require(c.i == w->nblocks, "the heap has %zu blocks, the model %zu", c.i, w->nblocks);
    if (w->kind->counts_peaks) {
        want.peak_arena_bytes = w->peak_arena_bytes;
        want.peak_used_bytes = w->peak_used_bytes;
    }
    for (size_t i = 0; i < w->nblocks; i++) {
        const struct block *b = &w->blocks[i];

        if (b->used) {
            want.nused++;
            want.used_bytes += b->nbytes;
        } else {
            want.nfree++;
            want.free_bytes += b->nbytes;
            want.largest_free = mm_max(want.largest_free, b->nbytes - w->kind->head_bytes);
        }
    }
    require(want.nused == w->nlive, "the model has %zu blocks in use, %zu are live", want.nused,
            w->nlive);
    w->kind->get_stats(w->heap, &have);
    require(memcmp(&have, &want, sizeof(want)) == 0,
            "arenas %zu in %zu, used %zu in %zu, free %zu in %zu, largest %zu, peaks %zu and %zu; "
            "wanted %zu in %zu, %zu in %zu, %zu in %zu, %zu, %zu and %zu",
            have.arena_bytes, have.narenas, have.used_bytes, have.nused, have.free_bytes,
            have.nfree, have.largest_free, have.peak_arena_bytes, have.peak_used_bytes,
            want.arena_bytes, want.narenas, want.used_bytes, want.nused, want.free_bytes,
            want.nfree, want.largest_free, want.peak_arena_bytes, want.peak_used_bytes);
}

/* ---- begin and end ---------------------------------------------------------------------------- */

struct heap_world *heap_world_open(const struct heap_world_config *config)
{
    struct heap_world *w = calloc(1, sizeof(*w));
    struct mm_backing backing = { .name = "pool",
                                  .ctx = w,
                                  .grain = config->grain,
                                  .reach = config->reach,
                                  .get = backing_get,
                                  .put = backing_put,
                                  .grow = config->reach != 0 ? backing_grow : NULL };

    assert_non_null(w);
    w->config = *config;
    w->kind = config->kind;
    w->rng.state = config->seed;
    w->heap = malloc(w->kind->heap_bytes);
    assert_non_null(w->heap);
    memset(w->heap, 0xa5, w->kind->heap_bytes);
    pool_open(&w->pool, config->pool_bytes, config->grain);
    w->kind->init(w->heap, config->backing ? &backing : NULL, config->keep);
    return w;
}

struct heap_world_counts heap_world_close(struct heap_world *w)
{
    struct heap_world_counts counts;

    while (w->nlive > 0) {
        do_free(w, host_rng_next(&w->rng));
    }
    do_trim(w);
    heap_world_compare(w);
    for (size_t i = 0; i < w->narenas; i++) {
        require(!w->arenas[i].fetched, "an arena of the backing's is left");
    }
    for (size_t i = 0; i < w->pool.nslots; i++) {
        require(w->pool.slot[i] == SLOT_FREE || w->pool.slot[i] == SLOT_FIXED,
                "memory of the backing's is left");
    }
    counts = w->counts;
    pool_close(&w->pool);
    free(w->heap);
    free(w->blocks);
    free(w->live);
    free(w);
    return counts;
}
