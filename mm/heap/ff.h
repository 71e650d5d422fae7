/*
 * ff.h - what the parts of heap_ff share: one arena, its bitmaps, the index above them.
 *
 * Memory is counted in granules of 16 bytes, and granules in chunks of 64, one KiB. An arena is
 *
 *     | struct | chunks: 16 bytes a KiB | index: 1.7 bytes a KiB | blocks ..... | top ....... |
 *                                                                FF_FIRST        top       end
 *
 * Bitmaps. Of each chunk there are two words: bit i of `start` says that a block begins at its
 * granule i, bit i of `free` that this block is free. Blocks follow each other without a hole, so
 * the next start is the end of a block, and a shift and a count of zeros find it. When a block is
 * so long that no other begins in some chunks, `start` is 0 there, and `free` of the first and of
 * the last of them holds how many there are. So any block is measured, forwards and backwards, by
 * looking at two words, or at three.
 *
 * The top. What was never used, or is free again up to the end of the arena, is one free block that
 * is in no bitmap: it starts at `top`, where a start bit marks the end of the last block. First fit
 * comes to it last.
 *
 * Index. max[0] has a byte for each chunk: FF_NONE and the granules in the largest free block that
 * begins in it, at most FF_BIG. max[l] has one for each 8^l chunks, the largest of eight of the
 * level below. Eight bytes are one word, in which one subtraction compares all eight with a size;
 * so the lowest chunk with a block that fits is found by a word a level, from max[root] down.
 * Blocks of FF_BIG granules and more need more than a byte: big[l] has for each 8^l chunks the
 * exact size of the largest such block in them, or 0, from l = 1 on; that of a single chunk is told
 * by its bitmap.
 *
 * What grows raises the lowest FF_FLAT levels without a look whether it must: that is as little
 * work as to find out. What shrinks lowers a level only if it was the largest there, which often it
 * was not.
 *
 * Granule and chunk numbers count from the arena's own 0. Chunk 0 holds no memory but a start bit
 * in the place before the first block, so that each block has one before it.
 */
#ifndef MM_HEAP_FF_INTERNAL_H
#define MM_HEAP_FF_INTERNAL_H

#include "mm/heap_ff.h"
#include "mm/port.h"

#define FF_GRANULE_SHIFT 4
#define FF_CHUNK_SHIFT   6 /* granules in a chunk */
#define FF_FIRST         (1u << FF_CHUNK_SHIFT)
#define FF_BIG           127u  /* a byte of max[] says this and no more */
#define FF_NONE          0x80u /* a byte of max[] that says that there is no free block */
#define FF_LEVELS        10u   /* 8^9 chunks are more than HEAP_FF_ARENA; one more for big[] */
#define FF_FLAT          4u

#define FF_ONES UINT64_C(0x0101010101010101)
#define FF_HIGH UINT64_C(0x8080808080808080)

struct ff_chunk {
    _Alignas(16) uint64_t start;
    uint64_t free;
};

/* Granules from `start` up to `end`. */
struct ff_block {
    uint32_t start;
    uint32_t end;
};

struct heap_ff_arena {
    _Alignas(16) uintptr_t base; /* address of granule 0, which is not there */
    struct ff_chunk *chunks;
    uint32_t top;
    uint32_t end;
    unsigned root;  /* the level whose first word speaks of all chunks up to the top's */
    uint32_t limit; /* `end` may grow to this: bitmaps and index have the room */
    uint8_t *max[FF_LEVELS];
    uint32_t *big[FF_LEVELS];

    /* The tree and the list of arenas (ff_arenas.c). */
    struct heap_ff_arena *lower, *higher, *parent; /* in the tree */
    struct heap_ff_arena *prev, *next;
    uint32_t fit;      /* granules of the largest free block */
    uint32_t tree_fit; /* of the largest in this arena and those below it in the tree */
    uint32_t cleared;  /* bitmaps and index were cleared up to this granule */
    uint32_t from_backing;
    void *range; /* as given or fetched; this struct is in it */
    size_t range_bytes;
    uint64_t seal;
};

_Noreturn void ff_damaged(const struct heap_ff_arena *a, uint32_t granule, const char *what);

static inline uint32_t ff_chunk_of(uint32_t granule)
{
    return granule >> FF_CHUNK_SHIFT;
}

static inline uint64_t ff_bit(uint32_t granule)
{
    return UINT64_C(1) << (granule & (FF_FIRST - 1));
}

static inline void *ff_ptr(const struct heap_ff_arena *a, uint32_t granule)
{
    return (void *)(a->base + ((uintptr_t)granule << FF_GRANULE_SHIFT));
}

/* What the index has for a chunk whose largest free block is of so many granules. */
static inline uint32_t ff_byte(uint32_t granules)
{
    return FF_NONE + (granules < FF_BIG ? granules : FF_BIG);
}

/* ---- bitmaps ---- */

/* The next start after that of `c`, its chunk's last. */
static inline uint32_t ff_far_end(const struct heap_ff_arena *a, uint32_t c)
{
    const struct ff_chunk *p = &a->chunks[++c];

    if (p->start == 0) {
        uint64_t n = p->free;

        if (n == 0 || n > ff_chunk_of(a->top) - c || p[n].start == 0 || p[n - 1].free != n) {
            ff_damaged(a, c << FF_CHUNK_SHIFT, "the length of a long block");
        }
        p += n;
        c += (uint32_t)n;
    }
    return (c << FF_CHUNK_SHIFT) + (uint32_t)__builtin_ctzll(p->start);
}

/* The last start before the first of chunk `c`. */
static inline uint32_t ff_far_start(const struct heap_ff_arena *a, uint32_t c)
{
    const struct ff_chunk *p = &a->chunks[--c];

    if (p->start == 0) {
        uint64_t n = p->free;

        if (n == 0 || n >= c + 1 || (p - n)->start == 0 || (p - n + 1)->free != n) {
            ff_damaged(a, c << FF_CHUNK_SHIFT, "the length of a long block");
        }
        p -= n;
        c -= (uint32_t)n;
    }
    return (c << FF_CHUNK_SHIFT) + 63 - (uint32_t)__builtin_clzll(p->start);
}

/* Granules of the block that begins at bit `i` of chunk `c`, at `p`: up to the next start. */
static inline uint32_t ff_size(const struct heap_ff_arena *a, const struct ff_chunk *p, uint32_t c,
                               uint32_t i)
{
    /* Bit 0 is the granule behind; 63 less a number below 64 is that number's bits turned round. */
    uint64_t after = p[0].start >> (i & 63) >> 1 | p[1].start << (~i & 63);

    if (__builtin_expect(after != 0, 1)) {
        return 1 + (uint32_t)__builtin_ctzll(after);
    }
    return ff_far_end(a, c) - (c << FF_CHUNK_SHIFT) - i;
}

/* The end of the block that begins at `s`: the next start. */
static inline uint32_t ff_end_of(const struct heap_ff_arena *a, uint32_t s)
{
    uint32_t c = ff_chunk_of(s);

    return s + ff_size(a, &a->chunks[c], c, s & (FF_FIRST - 1));
}

/* The start of the block that ends at `s`: the start before. */
static inline uint32_t ff_start_before(const struct heap_ff_arena *a, uint32_t s)
{
    const struct ff_chunk *p = &a->chunks[ff_chunk_of(s)];
    uint64_t before = p[0].start << (~s & 63) << 1 | p[-1].start >> (s & 63); /* 63 is s - 1 */

    if (__builtin_expect(before != 0, 1)) {
        return s - 1 - (uint32_t)__builtin_clzll(before);
    }
    return ff_far_start(a, ff_chunk_of(s));
}

static inline bool ff_is_free(const struct heap_ff_arena *a, uint32_t s)
{
    return (a->chunks[ff_chunk_of(s)].free & ff_bit(s)) != 0;
}

/* Note the length of a block in which whole chunks lie. */
static inline void ff_span(struct heap_ff_arena *a, uint32_t s, uint32_t e)
{
    uint32_t c = ff_chunk_of(s), n = ff_chunk_of(e) - c;

    if (__builtin_expect(n > 1, 0)) {
        a->chunks[c + 1] = (struct ff_chunk){ 0, n - 1 };
        a->chunks[c + n - 1] = (struct ff_chunk){ 0, n - 1 };
    }
}

/* Cut the block [s, e) at `m` in two, s < m <= e; the upper one, if there is one, is free or used.
 */
static inline void ff_cut(struct heap_ff_arena *a, uint32_t s, uint32_t m, uint32_t e, bool is_free)
{
    struct ff_chunk *q = &a->chunks[ff_chunk_of(m)];

    if (__builtin_expect(q->start == 0, 0)) {
        q->free = 0;
    }
    q->start |= ff_bit(m);
    q->free |= is_free ? ff_bit(m) : 0;
    if (__builtin_expect(ff_chunk_of(e) - ff_chunk_of(s) > 1, 0)) {
        ff_span(a, s, m);
        ff_span(a, m, e);
    }
}

/* ---- index ---- */

static inline uint64_t ff_word(const uint8_t *level, uint32_t i)
{
    uint64_t w;

    __builtin_memcpy(&w, level + (size_t)i * 8, 8);
    return w;
}

/* The high bits of those bytes that say at least `n` when `need` is `n` in each byte, < FF_BIG. The
 * high bit of a byte absorbs what its subtraction borrows. */
static inline uint64_t ff_fits(uint64_t word, uint64_t need)
{
    return (word - need) & FF_HIGH;
}

/* The lowest child of node `i` that fits. There is one, unless the index is damaged: then any. */
static inline uint32_t ff_child(const uint8_t *level, uint32_t i, uint64_t need)
{
    uint64_t fits = ff_fits(ff_word(level, i), need) | UINT64_C(1) << 63;

    return i * 8 + ((uint32_t)__builtin_ctzll(fits) >> 3);
}

/* The lowest chunk with a free block of `n` < FF_BIG granules, or 0. */
static inline uint32_t ff_find(const struct heap_ff_arena *a, uint32_t n)
{
    uint64_t need = n * FF_ONES;
    unsigned l = a->root;
    uint64_t fits = ff_fits(ff_word(a->max[l], 0), need);
    uint32_t i;

    if (__builtin_expect(fits == 0, 0)) {
        return 0;
    }
    i = (uint32_t)__builtin_ctzll(fits) >> 3;
    for (; l > FF_FLAT - 1; l--) {
        i = ff_child(a->max[l - 1], i, need);
    }
    i = ff_child(a->max[2], i, need);
    i = ff_child(a->max[1], i, need);
    return ff_child(a->max[0], i, need);
}

static inline uint32_t ff_max2(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static inline uint8_t ff_max8(const uint8_t *p)
{
    uint32_t a = ff_max2(ff_max2(p[0], p[1]), ff_max2(p[2], p[3]));
    uint32_t b = ff_max2(ff_max2(p[4], p[5]), ff_max2(p[6], p[7]));

    return (uint8_t)ff_max2(a, b);
}

static inline void ff_raise_byte(uint8_t *p, uint32_t byte)
{
    *p = (uint8_t)ff_max2(*p, byte);
}

/* max[0] of chunk `c` was `old` and is less now: so may be those above it, as far as they were. */
static inline void ff_lower(struct heap_ff_arena *a, uint32_t c, uint32_t old)
{
    for (unsigned l = 1; l <= a->root; l++) {
        uint32_t i = c >> 3;
        uint8_t max;

        if (a->max[l][i] != old) {
            return;
        }
        max = ff_max8(&a->max[l - 1][c & ~7u]);
        if (max == old) {
            return;
        }
        a->max[l][i] = max;
        c = i;
    }
}

/* Chunk `c` has a free block of which ff_byte() says `byte` now. */
static inline void ff_raise(struct heap_ff_arena *a, uint32_t c, uint32_t byte)
{
    ff_raise_byte(&a->max[0][c], byte);
    ff_raise_byte(&a->max[1][c >> 3], byte);
    ff_raise_byte(&a->max[2][c >> 6], byte);
    ff_raise_byte(&a->max[3][c >> 9], byte);
    c >>= 12;
    for (unsigned l = FF_FLAT; l <= a->root && a->max[l][c] < byte; l++) {
        a->max[l][c] = (uint8_t)byte;
        c >>= 3;
    }
}

/* The free blocks of `free` that begin in chunk `c`: the largest of all. */
static inline uint32_t ff_largest(const struct heap_ff_arena *a, uint32_t c, uint64_t free)
{
    uint32_t max = 0;

    for (; __builtin_expect(free != 0, 0); free &= free - 1) {
        max = ff_max2(max, ff_size(a, &a->chunks[c], c, (uint32_t)__builtin_ctzll(free)));
    }
    return max;
}

/* The free bits of a chunk that may hold none. */
static inline uint64_t ff_free_bits(const struct heap_ff_arena *a, uint32_t c)
{
    return a->chunks[c].free & a->chunks[c].start;
}

/* The largest free block of chunk `c` is of `max` granules, and was not smaller. */
static inline void ff_set_lower(struct heap_ff_arena *a, uint32_t c, uint32_t max)
{
    uint32_t old = a->max[0][c], byte = ff_byte(max);

    if (byte != old) {
        a->max[0][c] = (uint8_t)byte;
        ff_lower(a, c, old);
    }
}

/* ff_index.c: blocks of FF_BIG granules and more, in big[]. */

/* The lowest free block of at least `n` >= FF_BIG granules; {0, 0} if none. */
struct ff_block ff_big_find(const struct heap_ff_arena *a, uint32_t n);
/* Chunk `c` has a free block of `n` granules now. */
void ff_big_raise(struct heap_ff_arena *a, uint32_t c, uint32_t n);
/* Chunk `c` has one of `n` granules no more; max[0] says so already. */
void ff_big_lower(struct heap_ff_arena *a, uint32_t c, uint32_t n);
/* Granules of the big block that begins in chunk `c`, of which max[0] says that there is one. */
uint32_t ff_big_of_chunk(const struct heap_ff_arena *a, uint32_t c);
/* Make the index speak of all chunks up to `top`. */
void ff_index_reach(struct heap_ff_arena *a, uint32_t top);
/* Granules of the largest free block but the top one. */
uint32_t ff_index_largest(const struct heap_ff_arena *a);

/* ff_arenas.c: the arenas of a heap. */

/* The arena whose blocks `ptr` may lie in, or NULL. */
struct heap_ff_arena *ff_arena_of(const struct heap_ff *h, const void *ptr);
/* The lowest arena with a free block of `n` granules, or NULL. */
struct heap_ff_arena *ff_arena_with(const struct heap_ff *h, uint32_t n);
/* Free blocks of `a` have changed; asked only where there are several arenas. */
void ff_arena_changed(struct heap_ff_arena *a);
/* Lengthen the highest arena or fetch one so that `n` granules fit at the top of the one returned;
 * NULL: out of memory. */
struct heap_ff_arena *ff_arena_more(struct heap_ff *h, uint32_t n);
/* The top of `a` has come down: give back what is too much. `keep` in bytes. `a` may be gone. */
void ff_arena_less(struct heap_ff *h, struct heap_ff_arena *a, size_t keep);
bool ff_arena_is_sealed(const struct heap_ff *h, const struct heap_ff_arena *a);

#endif
