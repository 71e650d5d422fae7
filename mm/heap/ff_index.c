/*
 * ff_index.c - the part of heap_ff's index that is about big blocks: FF_BIG granules and more.
 *
 * A big block crosses the end of the chunk it begins in, so it is the last that begins there, and a
 * chunk has one at most. Which chunks have one is in max[0]; big[l] knows the size of the largest
 * among 8^l chunks. Each level is an array in groups of eight, as max[] is.
 */
#include "ff.h"

/* The high bit of each byte that says FF_BIG. */
static uint64_t big_bytes(uint64_t word)
{
    return ((word & ~FF_HIGH) + FF_ONES) & FF_HIGH;
}

static struct ff_block big_block(const struct heap_ff_arena *a, uint32_t c)
{
    uint64_t start = a->chunks[c].start;
    uint32_t s = (c << FF_CHUNK_SHIFT) + 63 - (uint32_t)__builtin_clzll(start | 1);

    if (start == 0 || !ff_is_free(a, s)) {
        ff_damaged(a, s, "the index, or a long block's start");
    }
    return (struct ff_block){ s, ff_far_end(a, c) };
}

uint32_t ff_big_of_chunk(const struct heap_ff_arena *a, uint32_t c)
{
    struct ff_block b = big_block(a, c);

    return b.end - b.start;
}

struct ff_block ff_big_find(const struct heap_ff_arena *a, uint32_t n)
{
    unsigned l = a->root + 1;
    uint32_t i = 0;

    if (a->big[l][0] < n) {
        return (struct ff_block){ 0, 0 };
    }
    while (--l > 0) {
        uint32_t last = i * 8 + 7;

        i *= 8;
        while (a->big[l][i] < n && i < last) {
            i++;
        }
    }
    for (uint64_t t = big_bytes(ff_word(a->max[0], i)); t != 0; t &= t - 1) {
        struct ff_block b = big_block(a, i * 8 + ((uint32_t)__builtin_ctzll(t) >> 3));

        if (b.end - b.start >= n) {
            return b;
        }
    }
    ff_damaged(a, i << (FF_CHUNK_SHIFT + 3), "the index of long blocks");
}

void ff_big_raise(struct heap_ff_arena *a, uint32_t c, uint32_t n)
{
    for (unsigned l = 1; l <= a->root + 1; l++) {
        uint32_t *p = &a->big[l][c >>= 3];

        if (*p >= n) {
            return;
        }
        *p = n;
    }
}

static uint32_t max8(const uint32_t *p)
{
    uint32_t a = ff_max2(ff_max2(p[0], p[1]), ff_max2(p[2], p[3]));
    uint32_t b = ff_max2(ff_max2(p[4], p[5]), ff_max2(p[6], p[7]));

    return ff_max2(a, b);
}

void ff_big_lower(struct heap_ff_arena *a, uint32_t c, uint32_t n)
{
    uint32_t i = c >> 3, max = 0;

    if (a->big[1][i] != n) {
        return;
    }
    for (uint64_t t = big_bytes(ff_word(a->max[0], i)); t != 0; t &= t - 1) {
        max = ff_max2(max, ff_big_of_chunk(a, i * 8 + ((uint32_t)__builtin_ctzll(t) >> 3)));
    }
    for (unsigned l = 1; max != n; l++) {
        a->big[l][i] = max;
        if (l > a->root || a->big[l + 1][i >> 3] != n) {
            return;
        }
        max = max8(&a->big[l][i & ~7u]);
        i >>= 3;
    }
}

void ff_index_reach(struct heap_ff_arena *a, uint32_t top)
{
    while (ff_chunk_of(top) >> (3 * (a->root + 1)) != 0) {
        unsigned l = ++a->root;

        a->max[l][0] = ff_max8(a->max[l - 1]);
        a->big[l + 1][0] = max8(a->big[l]);
    }
}

uint32_t ff_index_largest(const struct heap_ff_arena *a)
{
    uint32_t max = ff_max8(a->max[a->root]) - FF_NONE;

    return max < FF_BIG ? max : a->big[a->root + 1][0];
}
