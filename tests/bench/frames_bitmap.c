/*
 * frames_bitmap.c - the baseline: a bit a frame, one spin lock, next fit.
 *
 * A set bit is a free frame; those of holes are never set. The bitmap spans the ranges from the
 * first frame to the last. For each order the search goes on in the word where the last one of that
 * order ended, and around once. Giving back sets bits and looks at nothing. Nothing is counted:
 * that would cost every operation a load and a store for what only statistics ask.
 */
#include <stdbool.h>
#include <string.h>

#include "builtin.h"

#define ALL (~UINT64_C(0))

struct bitmap {
    spin_lock_t lock;
    uint64_t base;                         /* frame of bit 0, a multiple of the largest block */
    uint64_t nwords;                       /* a multiple of the words of the largest block */
    uint64_t cursor[FRAMES_MAX_ORDER + 1]; /* word; a multiple of the order's block */
    _Alignas(64) uint64_t words[];
};

/* Bits 0, 2^order, 2 * 2^order, ... of a word: where blocks of order 0 to 5 begin. */
static const uint64_t starts[] = {
    0xffffffffffffffff, 0x5555555555555555, 0x1111111111111111,
    0x0101010101010101, 0x0001000100010001, 0x0000000100000001,
};

static uint64_t span_words(const struct frames_range *ranges, unsigned nranges)
{
    uint64_t end = ranges[nranges - 1].base + ranges[nranges - 1].count;
    uint64_t block = UINT64_C(1) << FRAMES_MAX_ORDER;

    return (end - aligned_base(ranges) + block - 1) / block * (block / 64);
}

static uint64_t storage_bytes(const struct frames_range *ranges, unsigned nranges, unsigned ncpus)
{
    (void)ncpus;
    return sizeof(struct bitmap) + span_words(ranges, nranges) * 8;
}

static void set_free(struct bitmap *b, uint64_t bit, uint64_t count)
{
    for (; count != 0 && bit % 64 != 0; bit++, count--) {
        b->words[bit / 64] |= UINT64_C(1) << bit % 64;
    }
    memset(&b->words[bit / 64], 0xff, count / 64 * 8);
    bit += count / 64 * 64;
    if (count % 64 != 0) {
        b->words[bit / 64] |= ~(ALL << count % 64);
    }
}

static void *create(const struct frames_range *ranges, unsigned nranges, unsigned ncpus,
                    void *storage, uint64_t nbytes)
{
    struct bitmap *b = storage;

    (void)ncpus;
    (void)nbytes;
    *b = (struct bitmap){ .base = aligned_base(ranges), .nwords = span_words(ranges, nranges) };
    memset(b->words, 0, b->nwords * 8);
    for (unsigned i = 0; i < nranges; i++) {
        set_free(b, ranges[i].base - b->base, ranges[i].count);
    }
    return b;
}

/* Where free blocks of 2^order frames begin in a word. Orders 0 to 5. */
static uint64_t blocks_in_word(uint64_t word, unsigned order)
{
    for (unsigned half = 0; half < order; half++) { /* bits whose next 2^half are free as well */
        word &= word >> (1U << half);
    }
    return word & starts[order];
}

static uint64_t small_mask(unsigned order)
{
    return ALL >> (64 - (1U << order));
}

/* Are all frames of `n` words free? Eight words, 2 MiB, are looked at without a branch for each: of
 * those every other one would be mispredicted. */
static bool words_free(const uint64_t *w, uint64_t n)
{
    const uint64_t *end = w + n;

    for (; end - w >= 8; w += 8) {
        if ((w[0] & w[1] & w[2] & w[3] & w[4] & w[5] & w[6] & w[7]) != ALL) {
            return false;
        }
    }
    for (; w < end; w++) {
        if (*w != ALL) {
            return false;
        }
    }
    return true;
}

/* Not memset(): for one block of 2 MiB the call costs more than the eight stores. */
static void set_words(uint64_t *w, uint64_t n, uint64_t v)
{
    const uint64_t *end = w + n;

    for (; end - w >= 8; w += 8) {
        w[0] = w[1] = w[2] = w[3] = w[4] = w[5] = w[6] = w[7] = v;
    }
    for (; w < end; w++) {
        *w = v;
    }
}

/* A block in words [from, to), taken; FRAMES_NONE if there is none. */
static uint64_t take_between(struct bitmap *b, uint64_t from, uint64_t to, unsigned order)
{
    uint64_t step = order < 6 ? 1 : UINT64_C(1) << (order - 6);

    for (uint64_t w = from; w < to; w += step) {
        unsigned bit = 0;

        if (order < 6) {
            uint64_t found = blocks_in_word(b->words[w], order);

            if (found == 0) {
                continue;
            }
            bit = (unsigned)__builtin_ctzll(found);
            b->words[w] &= ~(small_mask(order) << bit);
        } else if (words_free(&b->words[w], step)) {
            set_words(&b->words[w], step, 0);
        } else {
            continue;
        }
        b->cursor[order] = w;
        return b->base + w * 64 + bit;
    }
    return FRAMES_NONE;
}

static uint64_t get(void *self, unsigned cpu, unsigned order)
{
    struct bitmap *b = self;
    uint64_t pfn;

    (void)cpu;
    spin_lock(&b->lock);
    uint64_t *w = &b->words[b->cursor[0]];
    if (order == 0 && *w != 0) { /* most often: the word of the last one has another */
        pfn = b->base + b->cursor[0] * 64 + (unsigned)__builtin_ctzll(*w);
        *w &= *w - 1;
    } else {
        pfn = take_between(b, b->cursor[order], b->nwords, order);
        if (pfn == FRAMES_NONE) {
            pfn = take_between(b, 0, b->cursor[order], order);
        }
    }
    spin_unlock(&b->lock);
    return pfn;
}

static void put(void *self, unsigned cpu, uint64_t pfn, unsigned order)
{
    struct bitmap *b = self;
    uint64_t bit = pfn - b->base;

    (void)cpu;
    spin_lock(&b->lock);
    if (order < 6) {
        b->words[bit / 64] |= small_mask(order) << bit % 64;
    } else {
        set_words(&b->words[bit / 64], UINT64_C(1) << (order - 6), ALL);
    }
    spin_unlock(&b->lock);
}

static uint64_t free_frames(void *self)
{
    const struct bitmap *b = self;
    uint64_t n = 0;

    for (uint64_t w = 0; w < b->nwords; w++) {
        n += (unsigned)__builtin_popcountll(b->words[w]);
    }
    return n;
}

static uint64_t meta_bytes(void *self)
{
    return sizeof(struct bitmap) + ((struct bitmap *)self)->nwords * 8;
}

const struct frames_allocator frames_bitmap = {
    .version = FRAMES_VERSION,
    .max_order = FRAMES_MAX_ORDER,
    .name = "bitmap",
    .storage_bytes = storage_bytes,
    .create = create,
    .get = get,
    .put = put,
    .free_frames = free_frames,
    .meta_bytes = meta_bytes,
};
