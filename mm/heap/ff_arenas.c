/*
 * ff_arenas.c - the arenas of a heap: how one is made, found, lengthened, shortened, given back.
 *
 * Arenas are in a list, by address, and in a balanced binary tree over it, which is made anew when
 * one comes or goes: that is rare, and costs what walking the list does. Each node of the tree
 * knows the largest free block below it, so the lowest arena with a block that fits is found on one
 * way down. As long as there is one arena only, nobody keeps that up to date.
 *
 * An arena carries its bitmaps and index at its start, with room for all that the backing says it
 * may grow. They are cleared as it grows, not all at once: a range that may grow to 64 GiB has a
 * GiB of them, and touches what speaks of the memory that it has.
 */
#include "ff.h"

#define SEAL_COOKIE   UINT64_C(0x66662e746c61706d)
#define META_ROUNDING 512u /* bytes by which meta data may grow if an arena does by a grain */
#define SEAL_FACTOR   UINT64_C(0x9e3779b97f4a7c15) /* odd, bits well mixed: 2^64 / golden ratio */

static uint64_t mix(uint64_t x, uint64_t v)
{
    x = (x ^ v) * SEAL_FACTOR;
    return x ^ x >> 32;
}

/* What of an arena changes only when arenas come and go, grow and shrink, mixed. */
static uint64_t seal_of(const struct heap_ff *h, const struct heap_ff_arena *a)
{
    const uint64_t words[] = { (uintptr_t)h,
                               (uintptr_t)a,
                               a->base,
                               (uintptr_t)a->chunks,
                               (uint64_t)a->end << 32 | a->limit,
                               (uint64_t)a->cleared << 32 | a->from_backing,
                               (uintptr_t)a->range,
                               a->range_bytes,
                               (uintptr_t)a->lower,
                               (uintptr_t)a->higher,
                               (uintptr_t)a->parent,
                               (uintptr_t)a->prev,
                               (uintptr_t)a->next };
    uint64_t x = SEAL_COOKIE;

    for (unsigned i = 0; i < MM_COUNTOF(words); i++) {
        x = mix(x, words[i]);
    }
    for (unsigned l = 0; l < FF_LEVELS; l++) {
        x = mix(mix(x, (uintptr_t)a->max[l]), (uintptr_t)a->big[l]);
    }
    return x;
}

bool ff_arena_is_sealed(const struct heap_ff *h, const struct heap_ff_arena *a)
{
    return a->seal == seal_of(h, a);
}

/* Before anything of it is changed and sealed anew: damage must not be. */
static void require_sealed(const struct heap_ff *h, const struct heap_ff_arena *a)
{
    if (!ff_arena_is_sealed(h, a)) {
        port_panic("heap: arena 0x%llx: its header is damaged", (unsigned long long)(uintptr_t)a);
    }
}

/* ---- geometry ---- */

/* Bytes of max[l] for an arena of `nchunks`; big[l] has four times as many. Whole words. */
static size_t level_bytes(uint32_t nchunks, unsigned l)
{
    return mm_align_up(((size_t)nchunks >> (3 * l)) + 1, 8);
}

static unsigned levels_of(uint32_t nchunks)
{
    unsigned l = FF_FLAT;

    while ((uint64_t)(nchunks - 1) >> (3 * l) != 0) {
        l++;
    }
    return l;
}

/* Bytes in front of the blocks for blocks up to granule `limit`. One chunk more, of which
 * ff_end_of() reads a word. */
static size_t meta_bytes(uint64_t limit)
{
    uint32_t nchunks = (uint32_t)(limit >> FF_CHUNK_SHIFT) + 1;
    size_t nbytes = sizeof(struct heap_ff_arena) + ((size_t)nchunks + 1) * sizeof(struct ff_chunk);

    for (unsigned l = 0; l < levels_of(nchunks); l++) {
        nbytes += level_bytes(nchunks, l) * (l == 0 ? 1 : 5);
    }
    return mm_align_up(nbytes + 4 * 8, HEAP_FF_ALIGN); /* the one word above the levels of big[] */
}

/* Up to which granule `nbytes` have room for blocks and what is in front of them; 0 if for none. */
static uint32_t limit_of(size_t nbytes)
{
    uint64_t lo = FF_FIRST, hi = FF_FIRST + (nbytes >> FF_GRANULE_SHIFT);

    while (lo < hi) {
        uint64_t mid = (lo + hi + 1) / 2;

        if (meta_bytes(mid) + ((mid - FF_FIRST) << FF_GRANULE_SHIFT) <= nbytes) {
            lo = mid;
        } else {
            hi = mid - 1;
        }
    }
    return lo > FF_FIRST ? (uint32_t)lo : 0;
}

/* An arena may have room for a few granules more, but not for what must be in front of them. */
static uint32_t end_in_limit(uint64_t end, uint32_t limit)
{
    return (uint32_t)mm_min(end, limit);
}

/* Fill with `byte` what an array with an entry for each 8^l chunks has for chunks behind that of
 * granule `from` up to that of `to`; in groups of eight, as they are read. */
static void clear(void *array, size_t entry, int byte, uint32_t from, uint32_t to, unsigned l)
{
    size_t first = from == 0 ? 0 : mm_align_up((ff_chunk_of(from) >> (3 * l)) + 1, 8);
    size_t past = mm_align_up((ff_chunk_of(to) >> (3 * l)) + 1, 8);

    if (first < past) {
        __builtin_memset((char *)array + first * entry, byte, (past - first) * entry);
    }
}

/* Clear bitmaps and index up to granule `end`, as far as they never were. Beyond the top they stay
 * clear by themselves. */
static void clear_up_to(struct heap_ff_arena *a, uint32_t end)
{
    struct ff_chunk *first = &a->chunks[a->cleared == 0 ? 0 : ff_chunk_of(a->cleared) + 2];

    if (end <= a->cleared) {
        return;
    }
    __builtin_memset(first, 0, (size_t)((char *)&a->chunks[ff_chunk_of(end) + 2] - (char *)first));
    for (unsigned l = 0; l < levels_of(ff_chunk_of(a->limit) + 1); l++) {
        clear(a->max[l], sizeof(*a->max[l]), FF_NONE, a->cleared, end, l);
        if (l != 0) {
            clear(a->big[l], sizeof(*a->big[l]), 0, a->cleared, end, l);
        }
    }
    a->cleared = end;
}

/* An arena in [base, base + nbytes), base aligned, that may grow to `reach` bytes. NULL: too small.
 */
static struct heap_ff_arena *arena_make(struct heap_ff *h, void *base, size_t nbytes, size_t reach,
                                        bool from_backing)
{
    struct heap_ff_arena *a = base;
    uint32_t limit, nchunks;
    uintptr_t at;

    limit = limit_of(mm_min(reach, HEAP_FF_ARENA));
    if (limit == 0 || meta_bytes(limit) + HEAP_FF_ALIGN > nbytes) {
        return NULL;
    }
    nchunks = ff_chunk_of(limit) + 1;
    *a = (struct heap_ff_arena){
        .base = (uintptr_t)base + meta_bytes(limit) - (FF_FIRST << FF_GRANULE_SHIFT),
        .chunks = (struct ff_chunk *)(a + 1),
        .top = FF_FIRST,
        .end = end_in_limit(
            FF_FIRST + ((mm_min(nbytes, HEAP_FF_ARENA) - meta_bytes(limit)) >> FF_GRANULE_SHIFT),
            limit),
        .root = FF_FLAT - 1,
        .limit = limit,
        .from_backing = from_backing,
        .range = base,
        .range_bytes = nbytes,
    };
    at = (uintptr_t)(a->chunks + nchunks + 1);
    for (unsigned l = 0; l < levels_of(nchunks); l++) {
        a->max[l] = (uint8_t *)at;
        at += level_bytes(nchunks, l);
        if (l != 0) {
            a->big[l] = (uint32_t *)at;
            at += level_bytes(nchunks, l) * sizeof(uint32_t);
        }
    }
    a->big[levels_of(nchunks)] = (uint32_t *)at;
    __builtin_memset((void *)at, 0, 4 * 8);
    clear_up_to(a, a->end);
    a->chunks[0] = (struct ff_chunk){ UINT64_C(1) << 63, 0 };
    a->chunks[1] = (struct ff_chunk){ 1, 0 };
    a->fit = a->end - a->top;
    a->seal = seal_of(h, a);
    return a;
}

/* ---- the tree and the list ---- */

static uint32_t tree_fit(const struct heap_ff_arena *a)
{
    return a != NULL ? a->tree_fit : 0;
}

static uint32_t tree_fit_of(const struct heap_ff_arena *a)
{
    return ff_max2(a->fit, ff_max2(tree_fit(a->lower), tree_fit(a->higher)));
}

/* Make a balanced tree of the first `n` arenas from *next on, which is moved past them. */
static struct heap_ff_arena *tree_make(struct heap_ff_arena **next, size_t n,
                                       struct heap_ff_arena *parent)
{
    struct heap_ff_arena *lower, *a;

    if (n == 0) {
        return NULL;
    }
    lower = tree_make(next, n / 2, NULL);
    a = *next;
    *next = a->next;
    a->parent = parent;
    a->lower = lower;
    if (lower != NULL) {
        lower->parent = a;
    }
    a->higher = tree_make(next, n - n / 2 - 1, a);
    a->tree_fit = tree_fit_of(a);
    return a;
}

static uint32_t largest_of(const struct heap_ff_arena *a)
{
    return ff_max2(a->end - a->top, ff_index_largest(a));
}

static void tree_remake(struct heap_ff *h)
{
    struct heap_ff_arena *next = h->lowest;

    for (struct heap_ff_arena *a = next; a != NULL; a = a->next) {
        a->fit = largest_of(a); /* not kept up to date while it was alone */
    }
    h->root = tree_make(&next, h->narenas, NULL);
    for (struct heap_ff_arena *a = h->lowest; a != NULL; a = a->next) {
        a->seal = seal_of(h, a);
    }
}

static void require_all_sealed(const struct heap_ff *h)
{
    for (const struct heap_ff_arena *a = h->lowest; a != NULL; a = a->next) {
        require_sealed(h, a);
    }
}

static void count_bytes(struct heap_ff *h)
{
    h->peak_arena_bytes = mm_max(h->peak_arena_bytes, h->arena_bytes);
}

static void arena_insert(struct heap_ff *h, struct heap_ff_arena *a)
{
    struct heap_ff_arena *prev = NULL;

    require_all_sealed(h);
    for (struct heap_ff_arena *x = h->lowest; x != NULL && x < a; x = x->next) {
        prev = x;
    }
    a->prev = prev;
    a->next = prev != NULL ? prev->next : h->lowest;
    if (a->next != NULL) {
        a->next->prev = a;
    }
    if (prev != NULL) {
        prev->next = a;
    } else {
        h->lowest = a;
    }
    h->narenas++;
    h->arena_bytes += a->range_bytes;
    count_bytes(h);
    tree_remake(h);
}

static void arena_remove(struct heap_ff *h, struct heap_ff_arena *a)
{
    require_all_sealed(h);
    if (a->prev != NULL) {
        a->prev->next = a->next;
    } else {
        h->lowest = a->next;
    }
    if (a->next != NULL) {
        a->next->prev = a->prev;
    }
    h->narenas--;
    h->arena_bytes -= a->range_bytes;
    tree_remake(h);
}

struct heap_ff_arena *ff_arena_of(const struct heap_ff *h, const void *ptr)
{
    struct heap_ff_arena *a = h->root;

    while (a != NULL) {
        if ((uintptr_t)ptr < (uintptr_t)a->range) {
            a = a->lower;
        } else if ((uintptr_t)ptr - (uintptr_t)a->range >= a->range_bytes) {
            a = a->higher;
        } else {
            return a;
        }
    }
    return NULL;
}

struct heap_ff_arena *ff_arena_with(const struct heap_ff *h, uint32_t n)
{
    struct heap_ff_arena *a = h->root;

    if (h->narenas == 1) {
        return largest_of(a) >= n ? a : NULL;
    }
    if (tree_fit(a) < n) {
        return NULL;
    }
    for (;;) {
        if (tree_fit(a->lower) >= n) {
            a = a->lower;
        } else if (a->fit >= n) {
            return a;
        } else {
            a = a->higher;
        }
    }
}

void ff_arena_changed(struct heap_ff_arena *a)
{
    a->fit = largest_of(a);
    for (; a != NULL; a = a->parent) {
        uint32_t fit = tree_fit_of(a);

        if (a->tree_fit == fit) {
            return;
        }
        a->tree_fit = fit;
    }
}

/* ---- memory comes and goes ---- */

void heap_ff_init(struct heap_ff *h, const struct mm_backing *backing, size_t keep)
{
    *h = (struct heap_ff){ .keep = keep };
    if (backing != NULL) {
        h->backing = *backing;
    }
}

mm_err_t heap_ff_add_arena(struct heap_ff *h, void *base, size_t nbytes)
{
    uintptr_t start = mm_align_up((uintptr_t)base, HEAP_FF_ALIGN), end;
    struct heap_ff_arena *a;

    if (base == NULL || __builtin_add_overflow((uintptr_t)base, nbytes, &end) ||
        start < (uintptr_t)base || start >= end) {
        return MM_EINVAL;
    }
    for (a = h->lowest; a != NULL; a = a->next) {
        if (start < (uintptr_t)a->range + a->range_bytes && (uintptr_t)a->range < end) {
            return MM_EINVAL;
        }
    }
    a = arena_make(h, (void *)start, end - start, end - start, false);
    if (a == NULL) {
        return MM_EINVAL;
    }
    arena_insert(h, a);
    return MM_OK;
}

/* Lengthen `a` by at least `need` granules. */
static bool arena_lengthen(struct heap_ff *h, struct heap_ff_arena *a, uint32_t need)
{
    size_t grain = h->backing.grain, nbytes = mm_align_up((size_t)need << FF_GRANULE_SHIFT, grain);
    char *end = (char *)a->range + a->range_bytes;
    size_t got;

    require_sealed(h, a);
    if (need > a->limit - a->end || nbytes > ((size_t)(a->limit - a->end) << FF_GRANULE_SHIFT)) {
        return false;
    }
    got = h->backing.grow(h->backing.ctx, end, nbytes);
    if (got == 0) {
        return false;
    }
    MM_ASSERT(got >= nbytes);
    a->range_bytes += got;
    h->arena_bytes += got;
    count_bytes(h);
    a->end = end_in_limit((uint64_t)a->end + (got >> FF_GRANULE_SHIFT), a->limit);
    clear_up_to(a, a->end);
    a->seal = seal_of(h, a);
    return true;
}

struct heap_ff_arena *ff_arena_more(struct heap_ff *h, uint32_t n)
{
    struct heap_ff_arena *a = h->lowest;
    size_t got, blocks = (size_t)n << FF_GRANULE_SHIFT, reach = h->backing.reach;
    uint64_t most;
    void *base;

    if (h->backing.get == NULL) {
        return NULL;
    }
    while (a != NULL && a->next != NULL) {
        a = a->next;
    }
    if (a != NULL && a->from_backing && reach != 0 && arena_lengthen(h, a, n - (a->end - a->top))) {
        return a;
    }
    /* Its meta data must do for all that it may become; the rest is for what rounding adds. */
    most = mm_min(FF_FIRST + n + (reach >> FF_GRANULE_SHIFT), HEAP_FF_ARENA >> FF_GRANULE_SHIFT);
    base = h->backing.get(h->backing.ctx,
                          mm_align_up(blocks + meta_bytes(most) + META_ROUNDING, h->backing.grain),
                          HEAP_FF_ALIGN, &got);
    if (base == NULL) {
        return NULL;
    }
    a = arena_make(h, base, got, got + reach, true);
    if (a == NULL || a->end - a->top < n) {
        h->backing.put(h->backing.ctx, base, got);
        return NULL;
    }
    arena_insert(h, a);
    return a;
}

void ff_arena_less(struct heap_ff *h, struct heap_ff_arena *a, size_t keep)
{
    size_t spare = (size_t)(a->end - a->top) << FF_GRANULE_SHIFT, grain = h->backing.grain;

    if (!a->from_backing) {
        /* It stays as it is. */
    } else if (a->top == FF_FIRST) {
        void *range = a->range;
        size_t nbytes = a->range_bytes;

        arena_remove(h, a);
        h->backing.put(h->backing.ctx, range, nbytes);
        return;
    } else if (h->backing.reach != 0 && spare >= grain && spare - grain >= keep) {
        size_t nbytes = mm_align_down(spare - keep, grain);

        require_sealed(h, a);
        a->range_bytes -= nbytes;
        h->arena_bytes -= nbytes;
        a->end -= (uint32_t)(nbytes >> FF_GRANULE_SHIFT);
        a->seal = seal_of(h, a);
        h->backing.put(h->backing.ctx, (char *)a->range + a->range_bytes, nbytes);
    }
    if (h->narenas != 1) {
        ff_arena_changed(a);
    }
}

void heap_ff_trim(struct heap_ff *h)
{
    struct heap_ff_arena *next;

    for (struct heap_ff_arena *a = h->lowest; a != NULL; a = next) {
        next = a->next;
        ff_arena_less(h, a, 0);
    }
}
