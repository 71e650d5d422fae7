/*
 * ff.c - first fit in address order, exact, in a bounded number of steps: alloc, free and resize.
 *
 * ff.h says how an arena looks. What happens here:
 *
 * - alloc: the index leads to the lowest chunk with a block that is large enough, the chunk's free
 *   bits to the block. It is cut, the rest stays where it is, and the index is told about the one
 *   chunk or the two that changed. If nothing fits, the block comes from the top.
 * - free: the start bits before and behind say where the neighbours begin, their free bits whether
 *   they join in. Joining is clearing start bits. What touches the top becomes it.
 * - resize: a block that shrinks is cut, and the rest freed; one that grows takes what it needs
 *   from the front of the block behind it.
 *
 * Of damage, this is seen in passing: a pointer is freed only where a start bit says that a block
 * begins, and a free bit that it is used; a block found by the index must be there and large
 * enough; lengths that are noted twice must agree; no block reaches beyond the top. ff_check.c sees
 * the rest.
 */
#include "ff.h"

static _Noreturn void die(const char *verb, const void *ptr, const void *from, const char *what,
                          const void *where)
{
    port_panic("heap: %s(0x%llx), called from 0x%llx: %s (0x%llx)", verb,
               (unsigned long long)(uintptr_t)ptr, (unsigned long long)(uintptr_t)from, what,
               (unsigned long long)(uintptr_t)where);
}

_Noreturn void ff_damaged(const struct heap_ff_arena *a, uint32_t granule, const char *what)
{
    port_panic("heap: arena 0x%llx: damaged bitmap or index: %s, at 0x%llx",
               (unsigned long long)(uintptr_t)a->range, what,
               (unsigned long long)(uintptr_t)ff_ptr(a, granule));
}

static uint32_t granules_of(size_t nbytes)
{
    return (uint32_t)((nbytes + (nbytes == 0) + HEAP_FF_ALIGN - 1) >> FF_GRANULE_SHIFT);
}

/* ---- one arena ---- */

/* A free block of `size` that began in chunk `c` is there no more, and its bits are gone. */
static void forget(struct heap_ff_arena *a, uint32_t c, uint32_t size)
{
    if (a->max[0][c] == ff_byte(size)) {
        ff_set_lower(a, c, ff_largest(a, c, ff_free_bits(a, c)));
    }
    if (size >= FF_BIG) {
        ff_big_lower(a, c, size);
    }
}

/* Use the first `n` granules of the free block [s, e). `others`: the largest of the other free
 * blocks that begin in its chunk. */
static inline __attribute__((always_inline)) void take(struct heap_ff_arena *a, uint32_t s,
                                                       uint32_t e, uint32_t n, uint32_t others)
{
    uint32_t m = s + n, size = e - s, rest = size - n;
    uint32_t c = ff_chunk_of(s);
    struct ff_chunk *p = &a->chunks[c];

    p->free &= ~ff_bit(s);
    if (__builtin_expect(ff_chunk_of(m) == c, 1)) {
        p->start |= ff_bit(m); /* as ff_cut() would; the chunks inside the block are the same */
        p->free |= rest != 0 ? ff_bit(m) : 0;
        others = ff_max2(others, rest);
    } else {
        ff_cut(a, s, m, e, rest != 0);
        ff_raise(a, ff_chunk_of(m), ff_byte(rest));
    }
    ff_set_lower(a, c, others);
    if (__builtin_expect(size >= FF_BIG, 0)) {
        if (rest >= FF_BIG) {
            ff_big_raise(a, ff_chunk_of(m), rest);
        }
        ff_big_lower(a, c, size);
    }
}

/* Use `n` granules at the top, if there are so many. */
static uint32_t take_top(struct heap_ff_arena *a, uint32_t n)
{
    uint32_t s = a->top, m = s + n;
    struct ff_chunk *q;

    if (a->end - s < n) {
        return 0;
    }
    q = &a->chunks[ff_chunk_of(m)];
    if (q->start == 0) {
        q->free = 0;
    }
    q->start |= ff_bit(m);
    a->top = m;
    ff_span(a, s, m);
    if (__builtin_expect(ff_chunk_of(m) >> (3 * (a->root + 1)) != 0, 0)) {
        ff_index_reach(a, m);
    }
    return s;
}

/* The granule where `n` < FF_BIG of them are used now; 0 if they fit nowhere. */
static inline __attribute__((always_inline)) uint32_t alloc_small(struct heap_ff_arena *a,
                                                                  uint32_t n)
{
    uint32_t c = ff_find(a, n), s, i = 0, size = 0, others = 0;
    const struct ff_chunk *p = &a->chunks[c];

    if (__builtin_expect(c == 0, 0)) {
        return take_top(a, n);
    }
    for (uint64_t free = p->free & p->start; free != 0; free &= free - 1) {
        uint32_t at = (uint32_t)__builtin_ctzll(free), x = ff_size(a, p, c, at);

        if (size == 0 && x >= n) {
            i = at;
            size = x;
        } else {
            others = ff_max2(others, x);
        }
    }
    s = (c << FF_CHUNK_SHIFT) + i;
    if (__builtin_expect(size == 0, 0)) {
        ff_damaged(a, s, "no block of the size that the index says");
    }
    if (__builtin_expect(s + size > a->top, 0)) {
        ff_damaged(a, s, "a free block reaches beyond the top");
    }
    take(a, s, s + size, n, others);
    return s;
}

/* Use the first `n` granules of the free block [s, e), wherever that came from. */
static void take_any(struct heap_ff_arena *a, uint32_t s, uint32_t e, uint32_t n)
{
    uint32_t c = ff_chunk_of(s);

    take(a, s, e, n, ff_largest(a, c, ff_free_bits(a, c) & ~ff_bit(s)));
}

/* The granule where `n` >= FF_BIG of them are used now; 0 if they fit nowhere. */
static __attribute__((noinline)) uint32_t alloc_big(struct heap_ff_arena *a, uint32_t n)
{
    struct ff_block b = ff_big_find(a, n);

    if (b.start == 0) {
        return take_top(a, n);
    }
    if (b.end > a->top) {
        ff_damaged(a, b.start, "a free block reaches beyond the top");
    }
    take_any(a, b.start, b.end, n);
    return b.start;
}

/* [s, e) ends at the top: move that down to `s`. `before`: granules of it that were a free block.
 */
static void become_top(struct heap_ff_arena *a, uint32_t s, uint32_t e, uint32_t before)
{
    a->chunks[ff_chunk_of(e)].start &= ~ff_bit(e);
    a->chunks[ff_chunk_of(s)].free &= ~ff_bit(s);
    a->top = s;
    if (before != 0) {
        forget(a, ff_chunk_of(s), before);
    }
}

/* Free the used block [s, e). True if it became part of the top. */
static inline __attribute__((always_inline)) bool arena_free(struct heap_ff_arena *a, uint32_t s,
                                                             uint32_t e)
{
    uint32_t below = ff_start_before(a, s), s0 = s, next = 0, ce = ff_chunk_of(e), c, size;

    if (ff_is_free(a, below)) {
        a->chunks[ff_chunk_of(s)].start &= ~ff_bit(s);
        s0 = below;
    }
    if (__builtin_expect(e >= a->top, 0)) {
        if (e > a->top) {
            ff_damaged(a, s, "a used block reaches beyond the top");
        }
        become_top(a, s0, e, s - s0);
        return true;
    }
    c = ff_chunk_of(s0);
    a->chunks[c].free |= ff_bit(s0);
    if (ff_is_free(a, e)) {
        next = ff_end_of(a, e) - e;
        a->chunks[ce].start &= ~ff_bit(e);
        a->chunks[ce].free &= ~ff_bit(e);
        e += next;
    }
    ff_span(a, s0, e);

    size = e - s0;
    ff_raise(a, c, ff_byte(size));
    if (__builtin_expect(size >= FF_BIG, 0)) {
        ff_big_raise(a, c, size);
    }
    if (next != 0 && ce != c) {
        forget(a, ce, next);
    }
    return false;
}

/* The used block [s, e) ends at `m` < e from now on. */
static bool arena_shrink(struct heap_ff_arena *a, uint32_t s, uint32_t m, uint32_t e)
{
    ff_cut(a, s, m, e, false);
    return arena_free(a, m, e);
}

/* The used block [s, e) shall have `n` granules more behind it. False if they are not free. */
static bool arena_grow(struct heap_ff_arena *a, uint32_t s, uint32_t e, uint32_t n)
{
    if (e == a->top) {
        if (take_top(a, n) == 0) {
            return false;
        }
    } else {
        uint32_t e0 = ff_is_free(a, e) ? ff_end_of(a, e) : e;

        if (e0 - e < n) {
            return false;
        }
        take_any(a, e, e0, n);
    }
    a->chunks[ff_chunk_of(e)].start &= ~ff_bit(e);
    ff_span(a, s, e + n);
    return true;
}

/* ---- the heap ---- */

static void count_used(struct heap_ff *h, uint32_t granules)
{
    h->used_bytes += (size_t)granules << FF_GRANULE_SHIFT;
    h->peak_used_bytes = h->used_bytes > h->peak_used_bytes ? h->used_bytes : h->peak_used_bytes;
}

static void changed(struct heap_ff *h, struct heap_ff_arena *a)
{
    if (__builtin_expect(h->narenas != 1, 0)) {
        ff_arena_changed(a);
    }
}

static __attribute__((noinline)) void *alloc_more(struct heap_ff *h, uint32_t n)
{
    struct heap_ff_arena *a = ff_arena_more(h, n);
    uint32_t s;

    if (a == NULL) {
        return NULL;
    }
    s = take_top(a, n);
    changed(h, a);
    count_used(h, n);
    return ff_ptr(a, s);
}

static inline __attribute__((always_inline)) void *alloc(struct heap_ff *h, uint32_t n)
{
    struct heap_ff_arena *a = h->root;
    uint32_t s;

    if (__builtin_expect(h->narenas != 1, 0)) {
        a = ff_arena_with(h, n);
        if (a == NULL) {
            return alloc_more(h, n);
        }
    }
    s = __builtin_expect(n < FF_BIG, 1) ? alloc_small(a, n) : alloc_big(a, n);
    if (__builtin_expect(s == 0, 0)) {
        return alloc_more(h, n);
    }
    changed(h, a);
    count_used(h, n);
    return ff_ptr(a, s);
}

void *heap_ff_alloc(struct heap_ff *h, size_t nbytes)
{
    return nbytes <= HEAP_FF_MAX ? alloc(h, granules_of(nbytes)) : NULL;
}

/* Why `ptr` can't be freed, resized or measured. */
static _Noreturn void complain(const struct heap_ff *h, const char *verb, const void *ptr,
                               const void *from)
{
    const struct heap_ff_arena *a = ff_arena_of(h, ptr);
    uint32_t s;

    if (a == NULL) {
        die(verb, ptr, from, "it points into no arena of this heap", h);
    }
    if ((uintptr_t)ptr < (uintptr_t)ff_ptr(a, FF_FIRST)) {
        die(verb, ptr, from, "it points into what the heap keeps for itself", a->range);
    }
    if ((uintptr_t)ptr >= (uintptr_t)ff_ptr(a, a->top)) {
        die(verb, ptr, from, "it was freed already, or never given: free memory begins at",
            ff_ptr(a, a->top));
    }
    s = (uint32_t)(((uintptr_t)ptr - a->base) >> FF_GRANULE_SHIFT);
    while ((a->chunks[ff_chunk_of(s)].start & ff_bit(s)) == 0) {
        s--; /* no hurry */
    }
    if (ff_is_free(a, s)) {
        die(verb, ptr, from, "it was freed already: it lies in the free block at", ff_ptr(a, s));
    }
    die(verb, ptr, from, "it lies inside a block, which begins at", ff_ptr(a, s));
}

/* The block at `ptr`, which must be used, and its arena. */
static inline __attribute__((always_inline)) struct ff_block
block_at(const struct heap_ff *h, const void *ptr, const char *verb, const void *from,
         struct heap_ff_arena **arena)
{
    struct heap_ff_arena *a = h->root;
    const struct ff_chunk *p;
    uintptr_t off;
    uint32_t s;

    if (__builtin_expect(h->narenas != 1, 0)) {
        a = ff_arena_of(h, ptr);
        if (a == NULL) {
            complain(h, verb, ptr, from);
        }
    }
    /* Rotated, so that bits which must not be set make it too large. */
    off = (uintptr_t)ptr - a->base;
    off = off >> FF_GRANULE_SHIFT | off << (64 - FF_GRANULE_SHIFT);
    if (__builtin_expect(off - FF_FIRST >= a->top - FF_FIRST, 0)) {
        complain(h, verb, ptr, from);
    }
    s = (uint32_t)off;
    p = &a->chunks[ff_chunk_of(s)];
    if (__builtin_expect(((p->start & ~p->free) >> (s & (FF_FIRST - 1)) & 1) == 0, 0)) {
        complain(h, verb, ptr, from);
    }
    *arena = a;
    return (struct ff_block){ s, ff_end_of(a, s) };
}

static inline __attribute__((always_inline)) void
release(struct heap_ff *h, struct heap_ff_arena *a, struct ff_block b)
{
    h->used_bytes -= (size_t)(b.end - b.start) << FF_GRANULE_SHIFT;
    if (__builtin_expect(arena_free(a, b.start, b.end), 0)) {
        ff_arena_less(h, a, h->keep);
    } else {
        changed(h, a);
    }
}

void heap_ff_free(struct heap_ff *h, void *ptr)
{
    struct heap_ff_arena *a;

    if (ptr != NULL) {
        struct ff_block b = block_at(h, ptr, "free", __builtin_return_address(0), &a);

        release(h, a, b);
    }
}

size_t heap_ff_size(const struct heap_ff *h, const void *ptr)
{
    struct heap_ff_arena *a;
    struct ff_block b = block_at(h, ptr, "size", __builtin_return_address(0), &a);

    return (size_t)(b.end - b.start) << FF_GRANULE_SHIFT;
}

/* Make the used block [b->start, b->end) end at `m` and free the rest. */
static void cut_off(struct heap_ff *h, struct heap_ff_arena *a, struct ff_block b, uint32_t m)
{
    h->used_bytes -= (size_t)(b.end - m) << FF_GRANULE_SHIFT;
    if (arena_shrink(a, b.start, m, b.end)) {
        ff_arena_less(h, a, h->keep);
    } else {
        changed(h, a);
    }
}

void *heap_ff_alloc_aligned(struct heap_ff *h, size_t nbytes, size_t align)
{
    size_t peak = h->peak_used_bytes;
    struct heap_ff_arena *a;
    struct ff_block b;
    uint32_t n, m;
    void *ptr;

    if (!mm_is_pow2(align) || nbytes > HEAP_FF_MAX || align > HEAP_FF_MAX) {
        return NULL;
    }
    n = granules_of(nbytes);
    if (align <= HEAP_FF_ALIGN) {
        return alloc(h, n);
    }
    ptr = alloc(h, n + (uint32_t)(align >> FF_GRANULE_SHIFT) - 1);
    if (ptr == NULL) {
        return NULL;
    }
    b = block_at(h, ptr, "alloc_aligned", __builtin_return_address(0), &a);
    m = b.start +
        (uint32_t)((mm_align_up((uintptr_t)ptr, align) - (uintptr_t)ptr) >> FF_GRANULE_SHIFT);
    if (b.end != m + n) {
        cut_off(h, a, b, m + n);
        b.end = m + n;
    }
    if (m != b.start) {
        ff_cut(a, b.start, m, b.end, false);
        release(h, a, (struct ff_block){ b.start, m });
    }
    h->peak_used_bytes = mm_max(peak, h->used_bytes); /* what was cut off is no part of it */
    return ff_ptr(a, m);
}

void *heap_ff_alloc_zeroed(struct heap_ff *h, size_t count, size_t nbytes)
{
    size_t total;
    void *ptr;

    if (__builtin_mul_overflow(count, nbytes, &total)) {
        return NULL;
    }
    ptr = heap_ff_alloc(h, total);
    if (ptr != NULL) {
        __builtin_memset(ptr, 0, total);
    }
    return ptr;
}

/* Resize the used block `b` where it is, or do nothing. */
static bool resize(struct heap_ff *h, struct heap_ff_arena *a, struct ff_block b, size_t nbytes)
{
    uint32_t n, old = b.end - b.start;

    if (nbytes > HEAP_FF_MAX) {
        return false;
    }
    n = granules_of(nbytes);
    if (n < old) {
        cut_off(h, a, b, b.start + n);
    } else if (n > old) {
        if (!arena_grow(a, b.start, b.end, n - old)) {
            return false;
        }
        changed(h, a);
        count_used(h, n - old);
    }
    return true;
}

bool heap_ff_resize(struct heap_ff *h, void *ptr, size_t nbytes)
{
    struct heap_ff_arena *a;
    struct ff_block b = block_at(h, ptr, "resize", __builtin_return_address(0), &a);

    return resize(h, a, b, nbytes);
}

void *heap_ff_realloc(struct heap_ff *h, void *ptr, size_t nbytes)
{
    struct heap_ff_arena *a;
    struct ff_block b;
    void *new;

    if (ptr == NULL) {
        return heap_ff_alloc(h, nbytes);
    }
    b = block_at(h, ptr, "realloc", __builtin_return_address(0), &a);
    if (resize(h, a, b, nbytes)) {
        return ptr;
    }
    new = heap_ff_alloc(h, nbytes);
    if (new != NULL) {
        __builtin_memcpy(new, ptr, (size_t)(b.end - b.start) << FF_GRANULE_SHIFT);
        release(h, a, b);
    }
    return new;
}
