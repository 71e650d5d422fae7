/*
 * frames_buddy.c - the textbook: a list of free blocks for each order, one spin lock.
 *
 * Knuth, The Art of Computer Programming vol. 1, 2.5, algorithms R and S. The links lie in an array
 * beside the frames, not in them, so that no frame is touched: a free block's head has its
 * neighbours in the list and its order plus one; every other frame has order 0. Blocks are given
 * from the head of the list, the one last freed first.
 */
#include <string.h>

#include "builtin.h"

#define NORDERS (FRAMES_MAX_ORDER + 1)
#define END     UINT32_MAX

struct link {
    uint32_t next; /* frame, counted from `base`; END at the tail */
    uint32_t prev; /* END at the head */
};

struct buddy {
    spin_lock_t lock;
    uint64_t base; /* frame 0 of the arrays, a multiple of the largest block */
    uint64_t nframes;
    uint64_t nfree;
    uint32_t head[NORDERS];
    uint8_t *order1; /* of a free block's head: order + 1; else 0 */
    struct link links[];
};

static uint64_t span_frames(const struct frames_range *ranges, unsigned nranges)
{
    return ranges[nranges - 1].base + ranges[nranges - 1].count - aligned_base(ranges);
}

static uint64_t bytes_for(uint64_t nframes)
{
    return sizeof(struct buddy) + nframes * (sizeof(struct link) + 1);
}

static uint64_t storage_bytes(const struct frames_range *ranges, unsigned nranges, unsigned ncpus)
{
    (void)ncpus;
    return bytes_for(span_frames(ranges, nranges));
}

static void push(struct buddy *b, uint32_t i, unsigned order)
{
    uint32_t next = b->head[order];

    b->links[i] = (struct link){ .next = next, .prev = END };
    if (next != END) {
        b->links[next].prev = i;
    }
    b->head[order] = i;
    b->order1[i] = (uint8_t)(order + 1);
}

static void unlink_block(struct buddy *b, uint32_t i, unsigned order)
{
    struct link l = b->links[i];

    if (l.prev != END) {
        b->links[l.prev].next = l.next;
    } else {
        b->head[order] = l.next;
    }
    if (l.next != END) {
        b->links[l.next].prev = l.prev;
    }
    b->order1[i] = 0;
}

static void *create(const struct frames_range *ranges, unsigned nranges, unsigned ncpus,
                    void *storage, uint64_t nbytes)
{
    struct buddy *b = storage;
    uint64_t nframes = span_frames(ranges, nranges);

    (void)ncpus;
    (void)nbytes;
    if (nframes >= END) {
        return NULL;
    }
    *b = (struct buddy){ .base = aligned_base(ranges), .nframes = nframes };
    b->order1 = (uint8_t *)&b->links[nframes];
    memset(b->order1, 0, nframes);
    for (unsigned order = 0; order < NORDERS; order++) {
        b->head[order] = END;
    }
    for (unsigned r = 0; r < nranges; r++) {
        uint64_t at = ranges[r].base - b->base;
        uint64_t end = at + ranges[r].count;

        while (at < end) {
            unsigned order = 0;

            while (order < FRAMES_MAX_ORDER && (at & ((UINT64_C(2) << order) - 1)) == 0 &&
                   end - at >= UINT64_C(2) << order) {
                order++;
            }
            push(b, (uint32_t)at, order);
            at += UINT64_C(1) << order;
        }
        b->nfree += ranges[r].count;
    }
    return b;
}

static uint64_t get(void *self, unsigned cpu, unsigned order)
{
    struct buddy *b = self;
    uint64_t pfn = FRAMES_NONE;
    unsigned from = order;

    (void)cpu;
    spin_lock(&b->lock);
    while (from < NORDERS && b->head[from] == END) {
        from++;
    }
    if (from < NORDERS) {
        uint32_t i = b->head[from];

        unlink_block(b, i, from);
        while (from > order) {
            from--;
            push(b, i + (UINT32_C(1) << from), from);
        }
        b->nfree -= UINT64_C(1) << order;
        pfn = b->base + i;
    }
    spin_unlock(&b->lock);
    return pfn;
}

static void put(void *self, unsigned cpu, uint64_t pfn, unsigned order)
{
    struct buddy *b = self;
    uint64_t i = pfn - b->base;

    (void)cpu;
    spin_lock(&b->lock);
    b->nfree += UINT64_C(1) << order;
    for (; order < FRAMES_MAX_ORDER; order++) {
        uint64_t other = i ^ UINT64_C(1) << order;

        if (other >= b->nframes || b->order1[other] != order + 1) {
            break;
        }
        unlink_block(b, (uint32_t)other, order);
        i &= ~(UINT64_C(1) << order);
    }
    push(b, (uint32_t)i, order);
    spin_unlock(&b->lock);
}

static uint64_t free_frames(void *self)
{
    return ((struct buddy *)self)->nfree;
}

static uint64_t meta_bytes(void *self)
{
    return bytes_for(((struct buddy *)self)->nframes);
}

const struct frames_allocator frames_buddy = {
    .version = FRAMES_VERSION,
    .max_order = FRAMES_MAX_ORDER,
    .name = "buddy",
    .storage_bytes = storage_bytes,
    .create = create,
    .get = get,
    .put = put,
    .free_frames = free_frames,
    .meta_bytes = meta_bytes,
};
