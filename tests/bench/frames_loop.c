/*
 * frames_loop.c - no allocator: what the loops, calls and arrays of the harness cost by themselves.
 *
 * get() returns the frames of its cpu's share one after the other, and begins again; put() does
 * nothing. So what it hands out is right only until it comes round, and nobody verifies it. Its
 * column is there to be subtracted from the others.
 */
#include "builtin.h"

struct share {
    _Alignas(64) uint64_t begin;
    uint64_t end;
    uint64_t next;
};

static uint64_t storage_bytes(const struct frames_range *ranges, unsigned nranges, unsigned ncpus)
{
    (void)ranges;
    (void)nranges;
    return ncpus * sizeof(struct share);
}

static void *create(const struct frames_range *ranges, unsigned nranges, unsigned ncpus,
                    void *storage, uint64_t nbytes)
{
    struct share *shares = storage;
    uint64_t count = ranges[0].count / ncpus;

    (void)nranges;
    (void)nbytes;
    for (unsigned i = 0; i < ncpus; i++) {
        uint64_t begin = ranges[0].base + i * count;

        shares[i] = (struct share){ .begin = begin, .end = begin + count, .next = begin };
    }
    return shares;
}

static uint64_t get(void *self, unsigned cpu, unsigned order)
{
    struct share *s = (struct share *)self + cpu;
    uint64_t pfn = s->next;
    uint64_t next = pfn + (UINT64_C(1) << order);

    s->next = next < s->end ? next : s->begin;
    return pfn;
}

static void put(void *self, unsigned cpu, uint64_t pfn, unsigned order)
{
    (void)self;
    (void)cpu;
    (void)pfn;
    (void)order;
}

static unsigned get_batch(void *self, unsigned cpu, uint64_t *pfns, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        pfns[i] = get(self, cpu, 0);
    }
    return n;
}

static void put_batch(void *self, unsigned cpu, const uint64_t *pfns, unsigned n)
{
    (void)self;
    (void)cpu;
    (void)pfns;
    (void)n;
}

static uint64_t meta_bytes(void *self)
{
    (void)self;
    return 0;
}

const struct frames_allocator frames_loop = {
    .version = FRAMES_VERSION,
    .max_order = FRAMES_MAX_ORDER,
    .name = "loop",
    .storage_bytes = storage_bytes,
    .create = create,
    .get = get,
    .put = put,
    .get_batch = get_batch,
    .put_batch = put_batch,
    .meta_bytes = meta_bytes,
};
