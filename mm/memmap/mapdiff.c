/*
 * mapdiff.c - what became of one memory map in another.
 *
 * Regions of either map are first joined to runs: neighbours of one type and kind, whatever their
 * descriptors and attributes. Passing memory (free, or free after exit) is left out; a walk over
 * both maps side by side compares its sums and attributes. Then runs are paired, in passes from the
 * surest evidence to the weakest:
 *
 *     1  one bound in common      it stayed, or grew or shrank at the other end
 *     2  the same size            it moved; of several, the nearest, keeping their order
 *     3  an overlap               it grew or shrank at both ends, or moved and did so
 *     4  the same place, but      it was given another type
 *        another type or kind
 *     5  nearly the same size     it moved, and grew or shrank
 *
 * What is left has vanished or appeared. Each pass sorts the runs that have no mate yet and walks
 * both lists side by side, so all of it is O(n log n), and no pass asks which map is the older one:
 * the differences of (b, a) are those of (a, b) reversed.
 *
 * Rejected: pairing by least total distance (quadratic at best, and its result changes everywhere
 * when one region is added); pairing by address alone, line by line as diff(1) would (a region that
 * moved by three pages reads as three changes of its neighbours); joining runs of equal attributes
 * only (a region of which half became read-only would be gone, and two others there).
 *
 * Why the storage is large enough: a run of k regions gives at most k changes if it has no mate,
 * and a pair of j and k regions at most j + k (one, and j + k - 1 stretches of attributes).
 * Stretches of passing memory are at most as many as its regions in both maps. Each stretch of RAM
 * where the other map has nothing begins at a bound of a region, and only one begins there: at most
 * two a region. The sums are MAX_SUMS.
 */
#include "mm/mapdiff.h"

#include "mm/mapsum.h"
#include "mm/port.h"

#define NO_MATE UINT32_MAX

/* Changes of one kind each: RAM, FREE, BOOT, LOADER, and what was shuffled. */
#define MAX_SUMS 5

/* Sizes of a pair in pass 5 differ at most by this factor. */
#define LIKE_SIZE 2

/* Regions of both maps that a 32-bit count of changes can do with. */
#define MAX_REGIONS ((UINT32_MAX - MAX_SUMS) / 3)

struct run {
    struct mapdiff_place at;
    uint32_t first; /* of its regions */
    uint32_t mate;  /* run of the other map, or NO_MATE */
};

/* One of the two maps. */
struct side {
    const struct memmap *m;
    struct run *runs; /* by address */
    uint32_t nruns;
    uint32_t *order; /* indices of the runs without a mate, as the pass needs them */
    uint32_t norder;
};

struct work {
    struct side from;
    struct side to;
    uint64_t attr_mask;
    struct mapdiff_change *changes;
    uint32_t nchanges;
    uint32_t max_changes;
};

/* ---- places ---------------------------------------------------------------------------------- */

static uint64_t size_of(const struct mapdiff_place *p)
{
    return p->end - p->base;
}

/* A claim is ours, and stays where we put it. */
static bool is_passing(const struct memmap_region *r)
{
    return r->desc != MEMMAP_NODESC &&
           (r->kind == MEMMAP_FREE || r->kind == MEMMAP_FREE_AFTER_EXIT);
}

static struct mapdiff_place place_of(const struct work *w, const struct memmap_region *r)
{
    return (struct mapdiff_place){
        .base = r->base,
        .end = r->end,
        .attr = r->attr & w->attr_mask,
        .type = r->type,
        .kind = r->kind,
        .is_claim = r->desc == MEMMAP_NODESC,
    };
}

/* Equal for places of one type and kind, and for no others. */
static uint64_t key_of(const struct mapdiff_place *p)
{
    return (uint64_t)(p->kind * 2 + (p->is_claim ? 1 : 0)) << 32 | p->type;
}

static bool overlap(const struct mapdiff_place *a, const struct mapdiff_place *b)
{
    return a->base < b->end && b->base < a->end;
}

static bool share_bound(const struct mapdiff_place *a, const struct mapdiff_place *b)
{
    return a->base == b->base || a->end == b->end;
}

static bool same_bounds(const struct mapdiff_place *a, const struct mapdiff_place *b)
{
    return a->base == b->base && a->end == b->end;
}

static bool contains(const struct mapdiff_place *a, const struct mapdiff_place *b)
{
    return a->base <= b->base && a->end >= b->end;
}

/* ---- sorting --------------------------------------------------------------------------------- */

/* A list that can be sorted where it lies. */
struct sortable {
    void *list;
    const void *ctx;
    bool (*less)(const struct sortable *s, uint32_t i, uint32_t j);
    void (*swap)(const struct sortable *s, uint32_t i, uint32_t j);
};

static void sift_down(const struct sortable *s, uint32_t i, uint32_t n)
{
    for (uint64_t child = 2 * (uint64_t)i + 1; child < n; child = 2 * (uint64_t)i + 1) {
        uint32_t largest = (uint32_t)child;

        if (child + 1 < n && s->less(s, largest, largest + 1)) {
            largest++;
        }
        if (!s->less(s, i, largest)) {
            return;
        }
        s->swap(s, i, largest);
        i = largest;
    }
}

/* Heapsort: in place, and O(n log n) whatever the input. */
static void sort(const struct sortable *s, uint32_t n)
{
    for (uint32_t i = n / 2; i > 0; i--) {
        sift_down(s, i - 1, n);
    }
    for (uint32_t i = n; i > 1; i--) {
        s->swap(s, 0, i - 1);
        sift_down(s, 0, i - 1);
    }
}

/* ---- runs, and lists of them ----------------------------------------------------------------- */

static void make_runs(const struct work *w, struct side *s)
{
    for (uint32_t i = 0; i < s->m->nregions; i++) {
        struct mapdiff_place p = place_of(w, &s->m->regions[i]);
        struct run *last = s->nruns > 0 ? &s->runs[s->nruns - 1] : NULL;

        if (is_passing(&s->m->regions[i])) {
            continue;
        }
        if (last != NULL && last->at.end == p.base && key_of(&last->at) == key_of(&p)) {
            last->at.end = p.end;
            last->at.attr |= p.attr;
        } else {
            s->runs[s->nruns++] = (struct run){ .at = p, .first = i, .mate = NO_MATE };
        }
    }
}

/* How a list of runs is sorted: by key, by size among equal keys, by address among equals. */
struct ranking {
    bool by_key;
    bool by_size;
};

/* -1, 0 or 1: where `a` stands to `b`, address aside. */
static int compare(struct ranking by, const struct mapdiff_place *a, const struct mapdiff_place *b)
{
    uint64_t key_a = by.by_key ? key_of(a) : 0;
    uint64_t key_b = by.by_key ? key_of(b) : 0;
    uint64_t size_a = by.by_size ? size_of(a) : 0;
    uint64_t size_b = by.by_size ? size_of(b) : 0;

    if (key_a != key_b) {
        return key_a < key_b ? -1 : 1;
    }
    return size_a == size_b ? 0 : size_a < size_b ? -1 : 1;
}

struct order_ctx {
    const struct run *runs;
    struct ranking by;
};

static bool order_less(const struct sortable *s, uint32_t i, uint32_t j)
{
    const struct order_ctx *c = s->ctx;
    const uint32_t *order = s->list;
    int where = compare(c->by, &c->runs[order[i]].at, &c->runs[order[j]].at);

    return where != 0 ? where < 0 : order[i] < order[j];
}

static void order_swap(const struct sortable *s, uint32_t i, uint32_t j)
{
    uint32_t *order = s->list;
    uint32_t moved = order[i];

    order[i] = order[j];
    order[j] = moved;
}

/* List the runs that have no mate. */
static void list_side(struct side *s, struct ranking by)
{
    struct order_ctx ctx = { s->runs, by };

    s->norder = 0;
    for (uint32_t i = 0; i < s->nruns; i++) {
        if (s->runs[i].mate == NO_MATE) {
            s->order[s->norder++] = i;
        }
    }
    sort(&(struct sortable){ s->order, &ctx, order_less, order_swap }, s->norder);
}

static void list_both(struct work *w, struct ranking by)
{
    list_side(&w->from, by);
    list_side(&w->to, by);
}

/* The place at `i` of the list. */
static const struct mapdiff_place *listed(const struct side *s, uint32_t i)
{
    return &s->runs[s->order[i]].at;
}

static void mate(struct side *a, uint32_t i, struct side *b, uint32_t j)
{
    a->runs[a->order[i]].mate = b->order[j];
    b->runs[b->order[j]].mate = a->order[i];
}

/* ---- pairing --------------------------------------------------------------------------------- */

/*
 * Passes 1, 3 and 4: pair runs of one key (or of any, as listed) that fit, in address order. Of two
 * that do not, the one that ends first fits none of those behind the other either, because runs of
 * a map do not overlap and what fits shares a bound or a page.
 */
static void pair_in_place(struct work *w, struct ranking by,
                          bool (*fit)(const struct mapdiff_place *, const struct mapdiff_place *))
{
    uint32_t i = 0;
    uint32_t j = 0;

    list_both(w, by);
    while (i < w->from.norder && j < w->to.norder) {
        const struct mapdiff_place *a = listed(&w->from, i);
        const struct mapdiff_place *b = listed(&w->to, j);
        int where = compare(by, a, b);

        if (where == 0 && fit(a, b)) {
            mate(&w->from, i++, &w->to, j++);
        } else if (where < 0 || (where == 0 && a->end <= b->end)) {
            i++;
        } else {
            j++;
        }
    }
}

static uint64_t distance(const struct mapdiff_place *a, const struct mapdiff_place *b)
{
    return a->base > b->base ? a->base - b->base : b->base - a->base;
}

/*
 * Give each of the `na` runs of `a` from list index `i` on one of the `nb` >= na of `b` from `j`
 * on: the nearest behind the one given last that leaves enough for those to come.
 */
static void pair_nearest(struct side *a, uint32_t i, uint32_t na, struct side *b, uint32_t j,
                         uint32_t nb)
{
    uint32_t spare = nb - na;

    for (uint32_t end = i + na; i < end; i++, j++) {
        while (spare > 0 &&
               distance(listed(a, i), listed(b, j + 1)) < distance(listed(a, i), listed(b, j))) {
            j++;
            spare--;
        }
        mate(a, i, b, j);
    }
}

/* How many from list index `i` on are of one key and size. */
static uint32_t count_equal(const struct side *s, struct ranking by, uint32_t i)
{
    uint32_t end = i + 1;

    while (end < s->norder && compare(by, listed(s, i), listed(s, end)) == 0) {
        end++;
    }
    return end - i;
}

/* Pass 2. */
static void pair_equal_sizes(struct work *w)
{
    struct ranking by = { .by_key = true, .by_size = true };
    uint32_t i = 0;
    uint32_t j = 0;

    list_both(w, by);
    while (i < w->from.norder && j < w->to.norder) {
        int where = compare(by, listed(&w->from, i), listed(&w->to, j));

        if (where != 0) {
            i += where < 0 ? 1 : 0;
            j += where > 0 ? 1 : 0;
            continue;
        }

        uint32_t nfrom = count_equal(&w->from, by, i);
        uint32_t nto = count_equal(&w->to, by, j);

        if (nfrom <= nto) {
            pair_nearest(&w->from, i, nfrom, &w->to, j, nto);
        } else {
            pair_nearest(&w->to, j, nto, &w->from, i, nfrom);
        }
        i += nfrom;
        j += nto;
    }
}

static bool like_size(const struct mapdiff_place *a, const struct mapdiff_place *b)
{
    return size_of(a) / LIKE_SIZE <= size_of(b) && size_of(b) / LIKE_SIZE <= size_of(a);
}

/* Pass 5: the smallest with the smallest; one that is too small for all that are left is left. */
static void pair_like_sizes(struct work *w)
{
    struct ranking by = { .by_key = true, .by_size = true };
    uint32_t i = 0;
    uint32_t j = 0;

    list_both(w, by);
    while (i < w->from.norder && j < w->to.norder) {
        const struct mapdiff_place *a = listed(&w->from, i);
        const struct mapdiff_place *b = listed(&w->to, j);

        if (key_of(a) == key_of(b) && like_size(a, b)) {
            mate(&w->from, i++, &w->to, j++);
        } else if (compare(by, a, b) < 0) {
            i++;
        } else {
            j++;
        }
    }
}

/* ---- changes --------------------------------------------------------------------------------- */

static bool is_runtime(const struct mapdiff_place *p)
{
    return !p->is_claim && (p->kind == MEMMAP_RUNTIME_DATA || p->kind == MEMMAP_RUNTIME_CODE ||
                            (p->attr & EFI_MA_RUNTIME) != 0);
}

static bool is_acpi(const struct mapdiff_place *p)
{
    return !p->is_claim && (p->type == EFI_MT_ACPI_RECLAIM || p->type == EFI_MT_ACPI_NVS);
}

/* Is this change about a region of the sort that `is` tells, and does it go beyond attributes? */
static bool concerns(const struct mapdiff_change *c, bool (*is)(const struct mapdiff_place *))
{
    if (c->subject != MAPDIFF_REGION) {
        return false;
    }
    switch (c->kind) {
    case MAPDIFF_APPEARED:
        return is(&c->to);
    case MAPDIFF_VANISHED:
        return is(&c->from);
    case MAPDIFF_ATTRIBUTES:
        return is == is_runtime && ((c->lost | c->gained) & EFI_MA_RUNTIME) != 0;
    default:
        return is(&c->from) || is(&c->to);
    }
}

/* Where a claim is, the difference is our own doing. */
static bool is_ours(const struct mapdiff_change *c)
{
    switch (c->kind) {
    case MAPDIFF_APPEARED:
        return c->to.is_claim;
    case MAPDIFF_VANISHED:
        return c->from.is_claim;
    default:
        return c->from.is_claim || c->to.is_claim;
    }
}

static void judge(struct mapdiff_change *c)
{
    bool is_sum =
        c->kind == MAPDIFF_SUM || c->kind == MAPDIFF_TRADED || c->kind == MAPDIFF_SHUFFLED;

    if (concerns(c, is_runtime) || concerns(c, is_acpi)) {
        c->importance = MAPDIFF_BREAKING;
        c->breaks = MAPDIFF_BREAKS_HIBERNATION | MAPDIFF_BREAKS_KEXEC;
    } else if (c->subject == MAPDIFF_RAM) {
        c->importance = MAPDIFF_NOTABLE;
        c->breaks = MAPDIFF_BREAKS_HIBERNATION;
    } else if (is_sum || (c->subject == MAPDIFF_REGION && is_ours(c))) {
        c->importance = MAPDIFF_ROUTINE;
    } else {
        c->importance = MAPDIFF_NOTABLE;
        c->breaks = c->kind == MAPDIFF_ATTRIBUTES ? 0 : MAPDIFF_BREAKS_HIBERNATION;
    }
}

static struct mapdiff_change *add_change(struct work *w, enum mapdiff_subject subject,
                                         enum mapdiff_kind kind)
{
    MM_ASSERT(w->nchanges < w->max_changes); /* see above */

    struct mapdiff_change *c = &w->changes[w->nchanges++];

    *c = (struct mapdiff_change){ .subject = subject, .kind = kind, .count = 1 };
    return c;
}

/*
 * What a map has in the place of `gone`, a region of the other; *there is that place if it is all
 * of one key. *next is a region not behind `gone`; a caller who asks in address order, from 0 on,
 * pays for one walk over the map.
 */
static enum mapdiff_instead what_is_at(const struct work *w, const struct memmap *m, uint32_t *next,
                                       const struct mapdiff_place *gone,
                                       struct mapdiff_place *there)
{
    struct mapdiff_place all = { 0 };
    uint64_t pos = gone->base; /* all below has been looked at */
    bool is_one = true;
    bool is_passed = true;

    while (*next < m->nregions && m->regions[*next].end <= pos) {
        (*next)++;
    }
    for (uint32_t i = *next; i < m->nregions && m->regions[i].base < gone->end; i++) {
        const struct memmap_region *r = &m->regions[i];
        struct mapdiff_place p = place_of(w, r);

        if (pos == gone->base) {
            all = p;
        }
        is_one = is_one && r->base <= pos && key_of(&p) == key_of(&all);
        is_passed = is_passed && r->base <= pos && is_passing(r);
        all.attr |= p.attr;
        pos = r->end;
    }
    if (pos == gone->base) {
        return MAPDIFF_NOTHING;
    }
    if (is_one && pos >= gone->end) {
        *there = all;
        there->base = gone->base;
        there->end = gone->end;
        return MAPDIFF_ONE;
    }
    return is_passed && pos >= gone->end ? MAPDIFF_PASSED : MAPDIFF_MIXED;
}

/* ---- regions --------------------------------------------------------------------------------- */

static void set_attributes(struct mapdiff_change *c)
{
    c->lost = c->from.attr & ~c->to.attr;
    c->gained = c->to.attr & ~c->from.attr;
    c->from_bytes = size_of(&c->from);
    c->to_bytes = size_of(&c->to);
}

/* Stretches of a pair that have other attributes than before. */
static void compare_attributes(struct work *w, const struct run *a, const struct run *b)
{
    const struct memmap_region *r = &w->from.m->regions[a->first];
    const struct memmap_region *q = &w->to.m->regions[b->first];
    bool has_moved = size_of(&a->at) == size_of(&b->at) || !overlap(&a->at, &b->at);
    uint64_t from_base = has_moved ? a->at.base : mm_max(a->at.base, b->at.base);
    uint64_t to_base = has_moved ? b->at.base : from_base;
    uint64_t nbytes = mm_min(a->at.end - from_base, b->at.end - to_base);
    struct mapdiff_change *last = NULL;

    /* By offset: the end of one, in the place of the other, may lie beyond 2^64. */
    for (uint64_t at = 0; at < nbytes;) {
        while (r->end <= from_base + at) {
            r++;
        }
        while (q->end <= to_base + at) {
            q++;
        }

        struct mapdiff_place from = place_of(w, r);
        struct mapdiff_place to = place_of(w, q);

        from.base = from_base + at;
        to.base = to_base + at;
        at = mm_min(nbytes, mm_min(r->end - from_base, q->end - to_base));
        from.end = from_base + at;
        to.end = to_base + at;
        if (from.attr == to.attr) {
            continue;
        }
        if (last == NULL || last->from.end != from.base || last->from.attr != from.attr ||
            last->to.attr != to.attr) {
            last = add_change(w, MAPDIFF_REGION, MAPDIFF_ATTRIBUTES);
            last->from = from;
            last->to = to;
        }
        last->from.end = from.end;
        last->to.end = to.end;
        set_attributes(last);
    }
}

static void compare_pair(struct work *w, const struct run *a, const struct run *b)
{
    if (!same_bounds(&a->at, &b->at) || key_of(&a->at) != key_of(&b->at)) {
        bool is_retyped = key_of(&a->at) != key_of(&b->at);
        bool is_nested = contains(&a->at, &b->at) || contains(&b->at, &a->at);
        struct mapdiff_change *c = add_change(w, MAPDIFF_REGION,
                                              is_retyped  ? MAPDIFF_RETYPED
                                              : is_nested ? MAPDIFF_RESIZED
                                                          : MAPDIFF_MOVED);

        c->from = a->at;
        c->to = b->at;
        c->from_bytes = size_of(&a->at);
        c->to_bytes = size_of(&b->at);
    }
    if (key_of(&a->at) == key_of(&b->at)) {
        compare_attributes(w, a, b);
    }
}

static void compare_regions(struct work *w)
{
    struct ranking by_key = { .by_key = true };
    struct ranking by_address = { 0 };

    make_runs(w, &w->from);
    make_runs(w, &w->to);
    pair_in_place(w, by_key, share_bound);
    pair_equal_sizes(w);
    pair_in_place(w, by_key, overlap);
    pair_in_place(w, by_address, same_bounds);
    pair_like_sizes(w);

    uint32_t next = 0;
    for (const struct run *a = w->from.runs; a < w->from.runs + w->from.nruns; a++) {
        if (a->mate != NO_MATE) {
            compare_pair(w, a, &w->to.runs[a->mate]);
        } else {
            struct mapdiff_change *c = add_change(w, MAPDIFF_REGION, MAPDIFF_VANISHED);

            c->from = a->at;
            c->instead = what_is_at(w, w->to.m, &next, &a->at, &c->to);
            c->from_bytes = size_of(&a->at);
        }
    }
    next = 0;
    for (const struct run *b = w->to.runs; b < w->to.runs + w->to.nruns; b++) {
        if (b->mate == NO_MATE) {
            struct mapdiff_change *c = add_change(w, MAPDIFF_REGION, MAPDIFF_APPEARED);

            c->instead = what_is_at(w, w->from.m, &next, &b->at, &c->from);
            c->to = b->at;
            c->to_bytes = size_of(&b->at);
        }
    }
}

/* ---- both maps side by side ------------------------------------------------------------------ */

/* Address space cut wherever a region of either map begins or ends. */
struct overlay {
    const struct memmap *from;
    const struct memmap *to;
    uint32_t next_from; /* first region that ends behind `base` */
    uint32_t next_to;
    uint64_t base; /* the piece, and what it is in either map: NULL for nothing */
    uint64_t end;
    const struct memmap_region *a;
    const struct memmap_region *b;
};

/* The region of `m` at `pos`, or NULL; *end comes down to where that ends. */
static const struct memmap_region *region_at(const struct memmap *m, uint32_t *next, uint64_t pos,
                                             uint64_t *end)
{
    const struct memmap_region *r;

    while (*next < m->nregions && m->regions[*next].end <= pos) {
        (*next)++;
    }
    if (*next == m->nregions) {
        return NULL;
    }
    r = &m->regions[*next];
    *end = mm_min(*end, r->base <= pos ? r->end : r->base);
    return r->base <= pos ? r : NULL;
}

/* Go to the next piece; false behind the last region of both. */
static bool overlay_next(struct overlay *o)
{
    o->base = o->end;
    o->end = UINT64_MAX; /* never the bound of a region: those are page aligned */
    o->a = region_at(o->from, &o->next_from, o->base, &o->end);
    o->b = region_at(o->to, &o->next_to, o->base, &o->end);
    return o->end != UINT64_MAX;
}

/* ---- RAM ------------------------------------------------------------------------------------- */

/*
 * A stretch where one map has nothing and the other has memory, some of it RAM: that is what adding
 * and removing memory, or moving the hole below 4 GiB, looks like.
 */
struct stretch {
    enum mapdiff_kind kind; /* APPEARED or VANISHED */
    uint64_t base;
    uint64_t end; /* == base: none has begun */
    uint64_t ram_bytes;
    struct mapdiff_place ram; /* the first RAM in it */
};

static void end_stretch(struct work *w, struct stretch *s)
{
    if (s->ram_bytes > 0) {
        struct mapdiff_change *c = add_change(w, MAPDIFF_RAM, s->kind);

        c->instead = MAPDIFF_NOTHING;
        s->ram.base = s->base;
        s->ram.end = s->end;
        if (s->kind == MAPDIFF_APPEARED) {
            c->to = s->ram;
            c->to_bytes = s->ram_bytes;
        } else {
            c->from = s->ram;
            c->from_bytes = s->ram_bytes;
        }
    }
    *s = (struct stretch){ .kind = s->kind };
}

/* `r` is what the piece is in the one map; NULL if the other has something there as well. */
static void grow_stretch(struct work *w, struct stretch *s, const struct overlay *o,
                         const struct memmap_region *r)
{
    if (r == NULL || r->kind == MEMMAP_MMIO) {
        end_stretch(w, s);
        return;
    }
    if (s->end == s->base) {
        s->base = o->base;
    }
    s->end = o->end;
    if (mapsum_is_ram(r)) {
        if (s->ram_bytes == 0) {
            s->ram = place_of(w, r);
        }
        s->ram_bytes += o->end - o->base;
    }
}

static void compare_ram(struct work *w)
{
    struct overlay o = { .from = w->from.m, .to = w->to.m };
    struct stretch appeared = { .kind = MAPDIFF_APPEARED };
    struct stretch vanished = { .kind = MAPDIFF_VANISHED };

    while (overlay_next(&o)) {
        grow_stretch(w, &appeared, &o, o.a == NULL ? o.b : NULL);
        grow_stretch(w, &vanished, &o, o.b == NULL ? o.a : NULL);
    }
    end_stretch(w, &appeared);
    end_stretch(w, &vanished);
}

/* ---- passing memory -------------------------------------------------------------------------- */

/* A piece of other attributes; those that touch and changed alike are one. */
static void note_attributes(struct work *w, const struct overlay *o, uint32_t first)
{
    struct mapdiff_place from = place_of(w, o->a);
    struct mapdiff_place to = place_of(w, o->b);
    struct mapdiff_change *last = w->nchanges > first ? &w->changes[w->nchanges - 1] : NULL;

    if (from.attr == to.attr) {
        return;
    }
    if (last == NULL || last->from.end != o->base || last->from.attr != from.attr ||
        last->to.attr != to.attr) {
        last = add_change(w, MAPDIFF_PASSING, MAPDIFF_ATTRIBUTES);
        last->from = from;
        last->to = to;
        last->from.base = last->to.base = o->base;
    }
    last->from.end = last->to.end = o->end;
    set_attributes(last);
}

static bool less_by_attributes(const struct sortable *s, uint32_t i, uint32_t j)
{
    const struct mapdiff_change *a = (const struct mapdiff_change *)s->list + i;
    const struct mapdiff_change *b = (const struct mapdiff_change *)s->list + j;

    if (a->from.attr != b->from.attr) {
        return a->from.attr < b->from.attr;
    }
    return a->to.attr != b->to.attr ? a->to.attr < b->to.attr : a->from.base < b->from.base;
}

static void change_swap(const struct sortable *s, uint32_t i, uint32_t j)
{
    struct mapdiff_change *c = s->list;
    struct mapdiff_change moved = c[i];

    c[i] = c[j];
    c[j] = moved;
}

/* One change, of the lowest stretch, for all noted from `first` on that changed alike. */
static void fold_attributes(struct work *w, uint32_t first)
{
    uint32_t n = w->nchanges;

    sort(&(struct sortable){ w->changes + first, NULL, less_by_attributes, change_swap },
         n - first);
    w->nchanges = first;
    for (uint32_t i = first; i < n; i++) {
        const struct mapdiff_change *c = &w->changes[i];
        struct mapdiff_change *last = i > first ? &w->changes[w->nchanges - 1] : NULL;

        if (last != NULL && last->from.attr == c->from.attr && last->to.attr == c->to.attr) {
            last->count++;
            last->from_bytes += c->from_bytes;
            last->to_bytes += c->to_bytes;
        } else {
            w->changes[w->nchanges++] = *c;
        }
    }
}

/* Compare attributes. Returns the bytes of passing memory in both maps that have other types. */
static uint64_t compare_passing(struct work *w)
{
    struct overlay o = { .from = w->from.m, .to = w->to.m };
    uint32_t first = w->nchanges;
    uint64_t retyped = 0;

    while (overlay_next(&o)) {
        if (o.a != NULL && o.b != NULL && is_passing(o.a) && is_passing(o.b)) {
            note_attributes(w, &o, first);
            retyped += o.a->type != o.b->type ? o.end - o.base : 0;
        }
    }
    fold_attributes(w, first);
    return retyped;
}

/* ---- sums ------------------------------------------------------------------------------------ */

static enum mapdiff_subject subject_of_passing(uint32_t type)
{
    switch (type) {
    case EFI_MT_CONVENTIONAL:
        return MAPDIFF_FREE;
    case EFI_MT_LOADER_CODE:
    case EFI_MT_LOADER_DATA:
        return MAPDIFF_LOADER;
    default:
        return MAPDIFF_BOOT;
    }
}

/* Bytes in a map, by subject. */
struct sums {
    uint64_t nbytes[MAPDIFF_LOADER + 1];
};

static struct sums sum_up(const struct memmap *m)
{
    struct sums sums = { 0 };

    for (const struct memmap_region *r = m->regions; r < m->regions + m->nregions; r++) {
        if (mapsum_is_ram(r)) {
            sums.nbytes[MAPDIFF_RAM] += r->end - r->base;
        }
        if (is_passing(r)) {
            sums.nbytes[subject_of_passing(r->type)] += r->end - r->base;
        }
    }
    return sums;
}

static void add_sum(struct work *w, enum mapdiff_subject subject, enum mapdiff_kind kind,
                    uint64_t from_bytes, uint64_t to_bytes)
{
    if (from_bytes != to_bytes) {
        struct mapdiff_change *c = add_change(w, subject, kind);

        c->from_bytes = from_bytes;
        c->to_bytes = to_bytes;
    }
}

/* `retyped`: bytes of passing memory that have other types. */
static void compare_sums(struct work *w, uint64_t retyped)
{
    struct sums from = sum_up(w->from.m);
    struct sums to = sum_up(w->to.m);
    uint64_t grown = 0;
    uint64_t shrunk = 0;

    for (uint32_t i = MAPDIFF_FREE; i <= MAPDIFF_LOADER; i++) {
        grown += to.nbytes[i] > from.nbytes[i] ? to.nbytes[i] - from.nbytes[i] : 0;
        shrunk += from.nbytes[i] > to.nbytes[i] ? from.nbytes[i] - to.nbytes[i] : 0;
    }

    /* What the others gained is just what free memory lost, or the reverse. */
    uint64_t from_free = from.nbytes[MAPDIFF_FREE];
    uint64_t to_free = to.nbytes[MAPDIFF_FREE];
    bool is_trade =
        grown == shrunk && (from_free - to_free == grown || to_free - from_free == grown);

    add_sum(w, MAPDIFF_RAM, MAPDIFF_SUM, from.nbytes[MAPDIFF_RAM], to.nbytes[MAPDIFF_RAM]);
    if (!is_trade) {
        add_sum(w, MAPDIFF_FREE, MAPDIFF_SUM, from_free, to_free);
    }
    for (enum mapdiff_subject i = MAPDIFF_BOOT; i <= MAPDIFF_LOADER; i++) {
        add_sum(w, i, is_trade ? MAPDIFF_TRADED : MAPDIFF_SUM, from.nbytes[i], to.nbytes[i]);
    }
    if (retyped > mm_max(grown, shrunk)) {
        add_change(w, MAPDIFF_PASSING, MAPDIFF_SHUFFLED)->from_bytes =
            retyped - mm_max(grown, shrunk);
    }
}

/* ---- public ---------------------------------------------------------------------------------- */

/* Where it is: before or now, whichever is lower. Sums are nowhere: 0. */
static uint64_t address_of(const struct mapdiff_change *c)
{
    bool has_from = c->from.base < c->from.end;
    bool has_to = c->to.base < c->to.end;

    return has_from && has_to ? mm_min(c->from.base, c->to.base)
           : has_from         ? c->from.base
                              : c->to.base;
}

static bool less_by_importance(const struct sortable *s, uint32_t i, uint32_t j)
{
    const struct mapdiff_change *a = (const struct mapdiff_change *)s->list + i;
    const struct mapdiff_change *b = (const struct mapdiff_change *)s->list + j;
    uint64_t ranks[][2] = {
        { a->subject != MAPDIFF_RAM, b->subject != MAPDIFF_RAM },
        { MAPDIFF_BREAKING - a->importance, MAPDIFF_BREAKING - b->importance },
        { address_of(a), address_of(b) },
        { a->subject, b->subject },
        { a->kind, b->kind },
        { a->from.base, b->from.base },
        { a->from.attr, b->from.attr },
        { a->to.attr, b->to.attr },
    };

    for (size_t k = 0; k < MM_COUNTOF(ranks); k++) {
        if (ranks[k][0] != ranks[k][1]) {
            return ranks[k][0] < ranks[k][1];
        }
    }
    return false;
}

uint64_t mapdiff_storage_bytes(uint64_t nfrom, uint64_t nto)
{
    if (nfrom > MAX_REGIONS || nto > MAX_REGIONS - nfrom) {
        return 0;
    }
    return (3 * (nfrom + nto) + MAX_SUMS) * sizeof(struct mapdiff_change) +
           (nfrom + nto) * (sizeof(struct run) + sizeof(uint32_t));
}

mm_err_t mapdiff_make(struct mapdiff *d, const struct memmap *from, const struct memmap *to,
                      uint64_t attr_mask, void *storage, uint64_t storage_bytes)
{
    uint64_t needed = mapdiff_storage_bytes(from->nregions, to->nregions);

    if (!mm_is_aligned((uintptr_t)storage, 16)) {
        return MM_EINVAL;
    }
    if (needed == 0 || storage_bytes < needed) {
        return MM_ENOSPC;
    }

    uint32_t nregions = from->nregions + to->nregions;
    struct work w = {
        .from.m = from,
        .to.m = to,
        .attr_mask = attr_mask,
        .changes = storage,
        .max_changes = 3 * nregions + MAX_SUMS,
    };

    w.from.runs = (struct run *)(w.changes + w.max_changes);
    w.to.runs = w.from.runs + from->nregions;
    w.from.order = (uint32_t *)(w.to.runs + to->nregions);
    w.to.order = w.from.order + from->nregions;

    compare_regions(&w);
    compare_ram(&w);
    compare_sums(&w, compare_passing(&w));

    *d = (struct mapdiff){ .changes = w.changes, .nchanges = w.nchanges };
    for (struct mapdiff_change *c = w.changes; c < w.changes + w.nchanges; c++) {
        judge(c);
        d->nruntime += concerns(c, is_runtime) ? 1 : 0;
        d->nacpi += concerns(c, is_acpi) ? 1 : 0;
        d->breaks |= c->breaks;
    }
    sort(&(struct sortable){ d->changes, NULL, less_by_importance, change_swap }, d->nchanges);
    return MM_OK;
}
