/*
 * ff_check.c - heap_ff looked at as a whole: its invariants, its blocks one by one, its statistics.
 *
 * Invariants (heap_ff_check tests each):
 *  F1  arenas are sealed, rise in address and do not overlap; the tree has each of them once, in
 *      the order of the list, and tree_fit is the largest fit below; fit is right if there are
 *      several
 *  F2  FF_FIRST <= top <= end <= limit; start bits lead from FF_FIRST to the top and end there, and
 *      blocks so found are the same walked back
 *  F3  no two free blocks touch, and none touches the top; a free bit has a start bit
 *  F4  chunks inside one block have no start bit, and their number in the first and last of them
 *  F5  max[0] of each chunk is ff_byte() of the largest free block that begins in it; above it,
 *      each is the largest of eight; there are levels up to one that speaks of all
 *  F6  big[1] of each eight chunks is the exact size of the largest block of FF_BIG and more in
 *      them, or 0; above it, each is the largest of eight
 *  F7  the heap's used_bytes and arena_bytes say what there is, and no peak is below
 *  F8  no arena of the backing is empty
 */
#include "ff.h"

/* What walking an arena finds. */
struct walk {
    const struct heap_ff_arena *a;
    struct ff_block block;
    bool used;
};

static void walk_start(struct walk *w, const struct heap_ff_arena *a)
{
    *w = (struct walk){ .a = a, .block = { FF_FIRST, FF_FIRST } };
}

/* The next block of the arena, without trust in the bitmaps; false at the end or where they break.
 */
static bool walk_next(struct walk *w)
{
    const struct heap_ff_arena *a = w->a;
    uint32_t s = w->block.end, c = ff_chunk_of(s);
    uint64_t after = a->chunks[c].start & ~(ff_bit(s) | (ff_bit(s) - 1));

    if (s >= a->top || (a->chunks[c].start & ff_bit(s)) == 0) {
        return false;
    }
    while (after == 0 && c < ff_chunk_of(a->top)) {
        after = a->chunks[++c].start;
    }
    if (after == 0) {
        return false;
    }
    w->block = (struct ff_block){ s, (c << FF_CHUNK_SHIFT) + (uint32_t)__builtin_ctzll(after) };
    w->used = !ff_is_free(a, s);
    return true;
}

/* ---- invariants ---- */

static const char *check_span(const struct heap_ff_arena *a, struct ff_block b)
{
    uint32_t c = ff_chunk_of(b.start), n = ff_chunk_of(b.end) - c;

    if (n > 1 && (a->chunks[c + 1].free != n - 1 || a->chunks[c + n - 1].free != n - 1)) {
        return "F4: the number of chunks inside a block is not noted in the first and last of them";
    }
    if (ff_start_before(a, b.end) != b.start || ff_end_of(a, b.start) != b.end) {
        return "F2: a block has another length looked at from its end";
    }
    return NULL;
}

static const char *check_blocks(const struct heap_ff_arena *a, size_t *used, uint32_t *largest)
{
    bool free_before = false;
    struct walk w;

    for (walk_start(&w, a); walk_next(&w); free_before = !w.used) {
        const char *broken = check_span(a, w.block);

        if (broken != NULL) {
            return broken;
        }
        if (!w.used && free_before) {
            return "F3: two free blocks touch";
        }
        if (w.used) {
            *used += (size_t)(w.block.end - w.block.start) << FF_GRANULE_SHIFT;
        } else {
            *largest = ff_max2(*largest, w.block.end - w.block.start);
        }
    }
    if (w.block.end != a->top) {
        return "F2: the start bits do not lead to the top";
    }
    if (free_before) {
        return "F3: a free block touches the top";
    }
    if (ff_is_free(a, a->top)) {
        return "F3: the top has a free bit";
    }
    return NULL;
}

/* The index over chunk `c`, from the bitmaps alone; they end with the top. */
static const char *check_chunk(const struct heap_ff_arena *a, uint32_t c, uint32_t *big)
{
    struct ff_chunk chunk = c <= ff_chunk_of(a->top) ? a->chunks[c] : (struct ff_chunk){ 0, 0 };
    uint64_t free = chunk.start != 0 ? chunk.free : 0;
    uint32_t max = 0;

    if ((free & ~chunk.start) != 0) {
        return "F3: a free bit without a start bit";
    }
    for (; free != 0; free &= free - 1) {
        uint32_t s = (c << FF_CHUNK_SHIFT) + (uint32_t)__builtin_ctzll(free);

        max = ff_max2(max, ff_end_of(a, s) - s);
    }
    *big = max < FF_BIG ? 0 : max;
    return a->max[0][c] == ff_byte(max) ? NULL : "F5: max[0] is not the largest of its chunk";
}

/* Each level has words of eight; what of them speaks of chunks behind the top's says that there is
 * nothing. */
static const char *check_levels(const struct heap_ff_arena *a)
{
    uint32_t last = ff_chunk_of(a->top);

    for (unsigned l = 1; l <= a->root; l++) {
        for (uint32_t i = 0; i <= (last >> (3 * l) | 7); i++) {
            bool behind = i > last >> (3 * l);

            if (a->max[l][i] != (behind ? FF_NONE : ff_max8(&a->max[l - 1][(size_t)i * 8]))) {
                return "F5: max[] is not the largest of eight";
            }
        }
    }
    for (unsigned l = 1; l <= a->root + 1; l++) {
        for (uint32_t i = 0; i <= (last >> (3 * l) | 7); i++) {
            uint32_t max = 0;

            if (l == 1 && i <= last >> 3) {
                continue; /* check_index() did */
            }
            for (unsigned k = 0; k < 8 && i <= last >> (3 * l); k++) {
                max = ff_max2(max, a->big[l - 1][(size_t)i * 8 + k]);
            }
            if (a->big[l][i] != max) {
                return "F6: big[] is not the largest of eight";
            }
        }
    }
    return last >> (3 * (a->root + 1)) == 0 ? NULL : "F5: the index does not reach the top";
}

static const char *check_index(const struct heap_ff_arena *a)
{
    uint32_t last = ff_chunk_of(a->top), big = 0;

    for (uint32_t c = 0; c <= (last | 7); c++) {
        uint32_t of_chunk;
        const char *broken = check_chunk(a, c, &of_chunk);

        if (broken != NULL) {
            return broken;
        }
        big = ff_max2(c % 8 != 0 ? big : 0, of_chunk);
        if (c % 8 == 7 && a->big[1][c / 8] != big) {
            return "F6: big[1] is not the largest long block of eight chunks";
        }
    }
    return check_levels(a);
}

/* The tree below `a`, whose arenas begin with *next, which is moved past them. `depth` bounds it.
 */
static const char *check_tree(const struct heap_ff_arena *a, const struct heap_ff_arena **next,
                              const struct heap_ff_arena *parent, unsigned depth)
{
    const char *broken;
    uint32_t fit;

    if (a == NULL) {
        return NULL;
    }
    if (depth == 0 || a->parent != parent) {
        return "F1: the tree of arenas is not one";
    }
    broken = check_tree(a->lower, next, a, depth - 1);
    if (broken != NULL) {
        return broken;
    }
    if (*next != a) {
        return "F1: the tree of arenas has not the order of the list";
    }
    *next = a->next;
    broken = check_tree(a->higher, next, a, depth - 1);
    fit = ff_max2(a->fit, ff_max2(a->lower != NULL ? a->lower->tree_fit : 0,
                                  a->higher != NULL ? a->higher->tree_fit : 0));
    if (broken == NULL && a->tree_fit != fit) {
        return "F1: tree_fit is not the largest fit in the tree below";
    }
    return broken;
}

static const char *check_arena(const struct heap_ff *h, const struct heap_ff_arena *a, size_t *used)
{
    uint32_t largest = a->end - a->top;
    const char *broken;

    if (!ff_arena_is_sealed(h, a)) {
        return "F1: an arena's seal is broken";
    }
    if (a->next != NULL &&
        ((uintptr_t)a->next->range < (uintptr_t)a->range + a->range_bytes || a->next->prev != a)) {
        return "F1: arenas overlap, or their list is broken";
    }
    if (a->top < FF_FIRST || a->top > a->end || a->end > a->limit) {
        return "F2: the top lies beyond the end, or the end beyond the limit";
    }
    if (a->root < FF_FLAT - 1 || a->root + 1 >= FF_LEVELS || a->big[a->root + 1] == NULL) {
        return "F5: the index has no such level";
    }
    broken = check_blocks(a, used, &largest);
    if (broken == NULL) {
        broken = check_index(a);
    }
    if (broken == NULL && h->narenas > 1 && a->fit != largest) {
        return "F1: fit is not the largest free block of the arena";
    }
    if (broken == NULL && a->from_backing && a->top == FF_FIRST) {
        return "F8: an empty arena was not given back";
    }
    return broken;
}

const char *heap_ff_check(const struct heap_ff *h)
{
    const struct heap_ff_arena *next = h->lowest;
    size_t used = 0, nbytes = 0, n = 0;
    const char *broken;

    for (const struct heap_ff_arena *a = h->lowest; a != NULL; a = a->next) {
        broken = check_arena(h, a, &used);
        if (broken != NULL) {
            return broken;
        }
        nbytes += a->range_bytes;
        n++;
    }
    broken = check_tree(h->root, &next, NULL, 64);
    if (broken == NULL && (n != h->narenas || next != NULL)) {
        return "F1: the tree of arenas does not have all of them";
    }
    if (broken == NULL && (used != h->used_bytes || nbytes != h->arena_bytes ||
                           h->peak_used_bytes < used || h->peak_arena_bytes < nbytes)) {
        return "F7: the heap's counts are not what there is";
    }
    return broken;
}

/* ---- views ---- */

void heap_ff_for_each(const struct heap_ff *h, bool (*fn)(void *ctx, const struct heap_ff_view *b),
                      void *ctx)
{
    for (const struct heap_ff_arena *a = h->lowest; a != NULL; a = a->next) {
        struct heap_ff_view v = { .first_in_arena = true };
        struct walk w;

        for (walk_start(&w, a); walk_next(&w); v.first_in_arena = false) {
            v.ptr = ff_ptr(a, w.block.start);
            v.nbytes = (size_t)(w.block.end - w.block.start) << FF_GRANULE_SHIFT;
            v.used = w.used;
            if (!fn(ctx, &v)) {
                return;
            }
        }
        if (a->top != a->end) {
            v.ptr = ff_ptr(a, a->top);
            v.nbytes = (size_t)(a->end - a->top) << FF_GRANULE_SHIFT;
            v.used = false;
            if (!fn(ctx, &v)) {
                return;
            }
        }
    }
}

static bool count_block(void *ctx, const struct heap_ff_view *b)
{
    struct heap_ff_stats *s = ctx;

    if (b->used) {
        s->nused++;
    } else {
        s->nfree++;
        s->free_bytes += b->nbytes;
        s->largest_free = mm_max(s->largest_free, b->nbytes);
    }
    return true;
}

void heap_ff_get_stats(const struct heap_ff *h, struct heap_ff_stats *s)
{
    *s = (struct heap_ff_stats){
        .arena_bytes = h->arena_bytes,
        .used_bytes = h->used_bytes,
        .narenas = h->narenas,
        .peak_used_bytes = h->peak_used_bytes,
        .peak_arena_bytes = h->peak_arena_bytes,
    };
    for (const struct heap_ff_arena *a = h->lowest; a != NULL; a = a->next) {
        s->meta_bytes += (uintptr_t)ff_ptr(a, FF_FIRST) - (uintptr_t)a->range;
    }
    heap_ff_for_each(h, count_block, s);
}
