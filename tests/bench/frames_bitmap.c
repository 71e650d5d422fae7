/*
 * frames_bitmap.c - the baseline: a bit a frame, one spin lock, next fit.
 *
 * A set bit is a frame that is not free; holes are never free. The bitmap spans the ranges from
 * the first frame to the last. For each order the search goes on in the word where the last one of
 * that order ended, and around once. Giving back clears bits and looks at nothing.
 */
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "builtin.h"

struct bitmap {
    pthread_spinlock_t lock;
    uint64_t base;   /* frame of bit 0, a multiple of the largest block */
    uint64_t nwords; /* a multiple of the words of the largest block */
    uint64_t nfree;
    uint64_t cursor[FRAMES_MAX_ORDER + 1]; /* word; a multiple of the order's block */
    uint64_t words[];
};

/* Bits 0, 2^order, 2 * 2^order, ... of a word: where blocks of order 0 to 5 begin. */
static const uint64_t starts[] = {
    0xffffffffffffffff, 0x5555555555555555, 0x1111111111111111,
    0x0101010101010101, 0x0001000100010001, 0x0000000100000001,
};

static uint64_t span_base(const struct frames_range *ranges)
{
    return ranges[0].base >> FRAMES_MAX_ORDER << FRAMES_MAX_ORDER;
}

static uint64_t span_words(const struct frames_range *ranges, unsigned nranges)
{
    uint64_t end = ranges[nranges - 1].base + ranges[nranges - 1].count;
    uint64_t block = UINT64_C(1) << FRAMES_MAX_ORDER;

    return (end - span_base(ranges) + block - 1) / block * (block / 64);
}

static uint64_t storage_bytes(const struct frames_range *ranges, unsigned nranges, unsigned ncpus)
{
    (void)ncpus;
    return sizeof(struct bitmap) + span_words(ranges, nranges) * 8;
}

static void set_free(struct bitmap *b, uint64_t bit, uint64_t count)
{
    for (; count != 0 && bit % 64 != 0; bit++, count--) {
        b->words[bit / 64] &= ~(UINT64_C(1) << bit % 64);
    }
    memset(&b->words[bit / 64], 0, count / 64 * 8);
    bit += count / 64 * 64;
    if (count % 64 != 0) {
        b->words[bit / 64] &= ~UINT64_C(0) << count % 64;
    }
}

static void *create(const struct frames_range *ranges, unsigned nranges, unsigned ncpus,
                    void *storage, uint64_t nbytes)
{
    struct bitmap *b = storage;

    (void)ncpus;
    (void)nbytes;
    *b = (struct bitmap){ .base = span_base(ranges), .nwords = span_words(ranges, nranges) };
    pthread_spin_init(&b->lock, PTHREAD_PROCESS_PRIVATE);
    memset(b->words, 0xff, b->nwords * 8);
    for (unsigned i = 0; i < nranges; i++) {
        set_free(b, ranges[i].base - b->base, ranges[i].count);
        b->nfree += ranges[i].count;
    }
    return b;
}

/* The first free block of a word in bit order, or 64. Orders 0 to 5. */
static unsigned find_in_word(uint64_t word, unsigned order)
{
    uint64_t free = ~word;

    for (unsigned half = 0; half < order; half++) { /* bits whose next 2^order are free */
        free &= free >> (1U << half);
    }
    free &= starts[order];
    return free != 0 ? (unsigned)__builtin_ctzll(free) : 64;
}

static bool words_free(const uint64_t *words, uint64_t n)
{
    for (uint64_t i = 0; i < n; i++) {
        if (words[i] != 0) {
            return false;
        }
    }
    return true;
}

/* A block in words [from, to), taken; FRAMES_NONE if there is none. */
static uint64_t take_between(struct bitmap *b, uint64_t from, uint64_t to, unsigned order)
{
    uint64_t step = order < 6 ? 1 : UINT64_C(1) << (order - 6);

    for (uint64_t w = from; w < to; w += step) {
        unsigned bit = 0;

        if (order < 6) {
            bit = find_in_word(b->words[w], order);
            if (bit == 64) {
                continue;
            }
            b->words[w] |= ((UINT64_C(1) << (1U << order)) - 1) << bit;
        } else if (words_free(&b->words[w], step)) {
            memset(&b->words[w], 0xff, step * 8);
        } else {
            continue;
        }
        b->cursor[order] = w;
        b->nfree -= UINT64_C(1) << order;
        return b->base + w * 64 + bit;
    }
    return FRAMES_NONE;
}

static uint64_t get(void *self, unsigned cpu, unsigned order)
{
    struct bitmap *b = self;

    (void)cpu;
    pthread_spin_lock(&b->lock);
    uint64_t pfn = take_between(b, b->cursor[order], b->nwords, order);
    if (pfn == FRAMES_NONE) {
        pfn = take_between(b, 0, b->cursor[order], order);
    }
    pthread_spin_unlock(&b->lock);
    return pfn;
}

static void put(void *self, unsigned cpu, uint64_t pfn, unsigned order)
{
    struct bitmap *b = self;
    uint64_t bit = pfn - b->base;

    (void)cpu;
    pthread_spin_lock(&b->lock);
    if (order < 6) {
        b->words[bit / 64] &= ~(((UINT64_C(1) << (1U << order)) - 1) << bit % 64);
    } else {
        memset(&b->words[bit / 64], 0, (UINT64_C(1) << (order - 6)) * 8);
    }
    b->nfree += UINT64_C(1) << order;
    pthread_spin_unlock(&b->lock);
}

static uint64_t free_frames(void *self)
{
    return ((struct bitmap *)self)->nfree;
}

static uint64_t meta_bytes(void *self)
{
    return sizeof(struct bitmap) + ((struct bitmap *)self)->nwords * 8;
}

static void destroy(void *self)
{
    pthread_spin_destroy(&((struct bitmap *)self)->lock);
}

const struct frames_allocator frames_bitmap = {
    .version = FRAMES_VERSION,
    .name = "bitmap",
    .storage_bytes = storage_bytes,
    .create = create,
    .get = get,
    .put = put,
    .free_frames = free_frames,
    .meta_bytes = meta_bytes,
    .destroy = destroy,
};
