/*
 * draw_scale.c - where addresses lie in the picture.
 */
#include "draw.h"

#include <stdlib.h>
#include <string.h>

/* Height of a hole that is cut out, and of a segment at least. */
#define BREAK_HEIGHT   (15 * DRAW_UNIT)
#define SEGMENT_HEIGHT (4 * DRAW_UNIT)

/* v * mul / div, rounded down; the result fits. */
static uint64_t scaled(uint64_t v, uint64_t mul, uint64_t div)
{
    return (uint64_t)((unsigned __int128)v * mul / div);
}

/* 256 * log2(v), by straight lines between the powers of two; v > 0. */
static uint64_t log2_256(uint64_t v)
{
    unsigned n = 63 - (unsigned)__builtin_clzll(v);

    return n * 256 + (n >= 8 ? v >> (n - 8) : v << (8 - n)) - 256;
}

static int compare_u64(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* ---- cuts ------------------------------------------------------------------------------------ */

static void collect_cuts(struct draw_scale *s, const struct drawing *d)
{
    uint64_t room = 2; /* from 0 to somewhere, even without a region */
    uint32_t n = 1;

    for (uint32_t k = 0; k < d->nmaps; k++) {
        room += 2 * (uint64_t)d->maps[k].in.map.nregions;
    }
    s->cuts = must_alloc(room * sizeof(*s->cuts));
    s->even = must_alloc(room * sizeof(*s->even));
    s->cuts[0] = 0;
    for (uint32_t k = 0; k < d->nmaps; k++) {
        const struct memmap *m = &d->maps[k].in.map;

        for (uint32_t i = 0; i < m->nregions; i++) {
            s->cuts[n++] = m->regions[i].base;
            s->cuts[n++] = m->regions[i].end;
        }
    }
    qsort(s->cuts, n, sizeof(*s->cuts), compare_u64);
    s->ncuts = 1;
    for (uint32_t i = 1; i < n; i++) {
        if (s->cuts[i] != s->cuts[s->ncuts - 1]) {
            s->cuts[s->ncuts++] = s->cuts[i];
        }
    }
    if (s->ncuts == 1) {
        s->cuts[s->ncuts++] = MM_PAGE_SIZE;
    }
}

/* What is there at cut `i` in any map: nothing, memory that an OS has for its own sooner or later,
 * or what it has to know of. Asked for rising cuts; `next` are the regions where the last call
 * ended. */
enum cover { HOLE, PASSING, KEPT };

static enum cover cover_at(const struct drawing *d, uint32_t i, uint32_t next[DRAW_MAPS])
{
    enum cover cover = HOLE;

    for (uint32_t k = 0; k < d->nmaps; k++) {
        const struct memmap *m = &d->maps[k].in.map;
        uint64_t at = d->scale.cuts[i];

        while (next[k] < m->nregions && m->regions[next[k]].end <= at) {
            next[k]++;
        }
        if (next[k] < m->nregions && m->regions[next[k]].base <= at) {
            bool is_kept = m->regions[next[k]].kind > MEMMAP_FREE_AFTER_EXIT;

            cover = is_kept || cover == KEPT ? KEPT : PASSING;
        }
    }
    return cover;
}

/* ---- the even scale -------------------------------------------------------------------------- */

/* A page is one step high, 1 MiB three, 1 GiB six and 1 TiB twelve; a hole one and a half. What
 * passes to the OS takes half, since boot services leave it in a hundred pieces that nobody asks
 * for. */
static uint64_t weight(uint64_t nbytes, enum cover cover)
{
    uint64_t lg = log2_256((nbytes >> MM_PAGE_SHIFT) | 1);
    uint64_t height = 256 + lg / 8 + lg * lg / 25600;

    return cover == HOLE ? 384 : cover == PASSING ? height / 2 : height;
}

static void lay_out_even(struct drawing *d)
{
    struct draw_scale *s = &d->scale;
    uint64_t *sums = must_alloc(s->ncuts * sizeof(*sums));
    uint32_t next[DRAW_MAPS] = { 0 };

    sums[0] = 0;
    for (uint32_t i = 0; i + 1 < s->ncuts; i++) {
        sums[i + 1] = sums[i] + weight(s->cuts[i + 1] - s->cuts[i], cover_at(d, i, next));
    }
    for (uint32_t i = 0; i < s->ncuts; i++) {
        s->even[i] = (int32_t)scaled(sums[i], DRAW_HEIGHT, sums[s->ncuts - 1]);
    }
    free(sums);
}

int32_t draw_even(const struct draw_scale *s, uint64_t addr)
{
    uint32_t low = 0;
    uint32_t high = s->ncuts - 1;

    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;

        if (s->cuts[middle] <= addr) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if (addr >= s->cuts[high]) {
        return s->even[high];
    }
    return s->even[low] + (int32_t)scaled(addr - s->cuts[low],
                                          (uint64_t)(s->even[high] - s->even[low]),
                                          s->cuts[high] - s->cuts[low]);
}

/* ---- the linear scale -------------------------------------------------------------------------- */

/* The widest holes of those that are wide beside all that is mapped; returns how many. */
static uint32_t choose_breaks(const struct drawing *d, uint32_t breaks[DRAW_BREAKS])
{
    const struct draw_scale *s = &d->scale;
    uint32_t next[DRAW_MAPS] = { 0 };
    uint64_t mapped = 0;
    uint32_t n = 0;

    for (uint32_t i = 0; i + 1 < s->ncuts; i++) {
        mapped += cover_at(d, i, next) != HOLE ? s->cuts[i + 1] - s->cuts[i] : 0;
    }
    memset(next, 0, sizeof(next));
    for (uint32_t i = 0; i + 1 < s->ncuts; i++) {
        uint64_t width = s->cuts[i + 1] - s->cuts[i];
        uint32_t least = 0;

        if (cover_at(d, i, next) != HOLE || width <= mapped / 8 || mapped == 0) {
            continue;
        }
        if (n < DRAW_BREAKS) {
            breaks[n++] = i;
            continue;
        }
        for (uint32_t k = 1; k < n; k++) {
            if (s->cuts[breaks[k] + 1] - s->cuts[breaks[k]] <
                s->cuts[breaks[least] + 1] - s->cuts[breaks[least]]) {
                least = k;
            }
        }
        if (s->cuts[breaks[least] + 1] - s->cuts[breaks[least]] < width) {
            memmove(&breaks[least], &breaks[least + 1], (n - 1 - least) * sizeof(*breaks));
            breaks[n - 1] = i;
        }
    }
    return n;
}

/* Segments from break to break, in the height that the breaks leave; tiny ones get their least. */
static void lay_out_linear(struct drawing *d)
{
    struct draw_scale *s = &d->scale;
    uint32_t breaks[DRAW_BREAKS];
    uint32_t nbreaks = choose_breaks(d, breaks);
    uint64_t height = DRAW_HEIGHT - (uint64_t)nbreaks * BREAK_HEIGHT;
    uint64_t rest_height = height;
    uint64_t rest_bytes;
    uint64_t base = 0;
    int32_t at = 0;

    s->nsegments = 0;
    s->span_bytes = 0;
    for (uint32_t i = 0; i <= nbreaks; i++) {
        uint64_t end = s->cuts[i < nbreaks ? breaks[i] : s->ncuts - 1];

        s->segments[s->nsegments++] = (struct draw_segment){ .base = base, .end = end };
        s->span_bytes += end - base;
        base = i < nbreaks ? s->cuts[breaks[i] + 1] : 0;
    }
    rest_bytes = s->span_bytes;
    for (uint32_t i = 0; i < s->nsegments; i++) {
        uint64_t nbytes = s->segments[i].end - s->segments[i].base;

        if (scaled(nbytes, height, s->span_bytes) < SEGMENT_HEIGHT) {
            rest_bytes -= nbytes;
            rest_height -= nbytes != 0 ? SEGMENT_HEIGHT : 0;
        }
    }
    for (uint32_t i = 0; i < s->nsegments; i++) {
        struct draw_segment *g = &s->segments[i];
        uint64_t nbytes = g->end - g->base;
        bool is_tiny = scaled(nbytes, height, s->span_bytes) < SEGMENT_HEIGHT;

        g->at.from = at;
        if (nbytes != 0) {
            at += is_tiny ? SEGMENT_HEIGHT : (int32_t)scaled(nbytes, rest_height, rest_bytes);
        }
        g->at.to = at;
        at += BREAK_HEIGHT;
    }
}

int32_t draw_linear(const struct draw_scale *s, uint64_t addr)
{
    int32_t at = 0;

    for (uint32_t i = 0; i < s->nsegments; i++) {
        const struct draw_segment *g = &s->segments[i];

        if (addr < g->base) {
            uint64_t hole = s->segments[i - 1].end;

            return at + (int32_t)scaled(addr - hole, BREAK_HEIGHT, g->base - hole);
        }
        if (addr < g->end) {
            return g->at.from + (int32_t)scaled(addr - g->base, (uint64_t)(g->at.to - g->at.from),
                                                g->end - g->base);
        }
        at = g->at.to;
    }
    return at;
}

void draw_scale_drop(struct draw_scale *s)
{
    free(s->cuts);
    free(s->even);
}

/* ---- items ----------------------------------------------------------------------------------- */

static void add_item(struct drawing *d, struct draw_map *m, uint64_t base, uint64_t end,
                     const struct memmap_region *r)
{
    const struct draw_scale *s = &d->scale;

    if (base < end) {
        m->items[m->nitems++] = (struct draw_item){
            .base = base,
            .last = end - 1,
            .region = r,
            .even = { draw_even(s, base), draw_even(s, end) },
            .linear = { draw_linear(s, base), draw_linear(s, end) },
        };
    }
}

static void collect_items(struct drawing *d, struct draw_map *m)
{
    const struct memmap *map = &m->in.map;
    uint64_t at = 0;

    m->items = must_alloc((2 * (uint64_t)map->nregions + 1) * sizeof(*m->items));
    m->nitems = 0;
    for (uint32_t i = 0; i < map->nregions; i++) {
        const struct memmap_region *r = &map->regions[i];

        add_item(d, m, at, r->base, NULL);
        add_item(d, m, r->base, r->end, r);
        at = r->end;
    }
    add_item(d, m, at, d->scale.cuts[d->scale.ncuts - 1], NULL);
}

const struct draw_item *draw_find(const struct draw_map *m, uint64_t addr)
{
    uint32_t low = 0;
    uint32_t high = m->nitems;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (m->items[middle].last < addr) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < m->nitems ? &m->items[low] : NULL;
}

static void mark_findings(struct draw_map *m)
{
    for (uint32_t i = 0; i < m->lint.n; i++) {
        const struct memmap_finding *f = &m->lint.findings[i];
        struct draw_item *item = (struct draw_item *)draw_find(m, f->base);

        /* One on the map as a whole is at no place. */
        if (item != NULL && (f->base != 0 || f->end != 0) && item->mark < f->severity + 1) {
            item->mark = f->severity + 1;
        }
    }
}

/* What has changed, in the map that is labelled. */
static void mark_changes(const struct drawing *d, struct draw_map *m)
{
    for (uint32_t i = 0; i < d->diff.nchanges; i++) {
        const struct mapdiff_change *c = &d->diff.changes[i];
        struct draw_item *item = (struct draw_item *)draw_find(m, c->to.base);

        if (c->subject == MAPDIFF_REGION && c->kind != MAPDIFF_VANISHED && item != NULL &&
            item->base == c->to.base) {
            item->changed = true;
        }
    }
}

/* ---- who gets a label, if there is no room for all ------------------------------------------- */

struct ranked {
    uint64_t score;
    uint32_t item;
    uint32_t order; /* of equals: the number with its bits reversed, so that the first few of them
                       lie far from each other */
};

static uint32_t reversed(uint32_t v)
{
    uint32_t r = 0;

    for (int i = 0; i < 32; i++) {
        r = r << 1 | (v >> i & 1);
    }
    return r;
}

/* Size counts; what firmware keeps counts more, and where there are findings most of all. */
static uint64_t score_of(const struct draw_item *item)
{
    uint64_t score;

    /* The label of its change says it all. */
    if (item->changed) {
        return 0;
    }
    score = log2_256(((item->last - item->base) >> MM_PAGE_SHIFT) | 1) + (item->mark << 13);
    if (item->region != NULL) {
        score += item->region->kind > MEMMAP_FREE_AFTER_EXIT ? 4096 : 2048;
    }
    return score;
}

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a;
    const struct ranked *y = b;

    return x->score != y->score ? (x->score < y->score) - (x->score > y->score)
                                : (x->order > y->order) - (x->order < y->order);
}

static void rank_items(struct draw_map *m)
{
    struct ranked *all = must_alloc(m->nitems * sizeof(*all));

    for (uint32_t i = 0; i < m->nitems; i++) {
        all[i] = (struct ranked){ score_of(&m->items[i]), i, reversed(i) };
    }
    qsort(all, m->nitems, sizeof(*all), compare_ranked);
    for (uint32_t i = 0; i < m->nitems; i++) {
        m->items[all[i].item].rank = i;
    }
    free(all);
}

void draw_lay_out(struct drawing *d)
{
    collect_cuts(&d->scale, d);
    lay_out_even(d);
    lay_out_linear(d);
    for (uint32_t k = 0; k < d->nmaps; k++) {
        collect_items(d, &d->maps[k]);
        mark_findings(&d->maps[k]);
        if (k > 0) {
            mark_changes(d, &d->maps[k]);
        }
        rank_items(&d->maps[k]);
    }
}
