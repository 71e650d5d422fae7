/*
 * frames_plat.c - Plat's own pool, with the port of the unit tests beneath it.
 *
 * Storage holds, in this order: a firmware map that says what the harness' ranges say, the
 * normalised map made from it, and from the next page on the pool. The maps are needed only until
 * the pool is made, so the metadata reported is the pool's alone.
 */
#include <stdlib.h>

#include "builtin.h"
#include "host_port.h"
#include "mm/pmm.h"

struct head {
    struct memmap map;
    struct efi_memory_descriptor descs[];
};

/* Where the pool begins in the storage. */
static uint64_t pool_at(unsigned nranges)
{
    uint64_t descs = sizeof(struct head) + nranges * sizeof(struct efi_memory_descriptor);

    return mm_align_up(mm_align_up(descs, 16) + memmap_storage_bytes(nranges), MM_PAGE_SIZE);
}

static mm_err_t build(struct head *h, const struct frames_range *ranges, unsigned nranges)
{
    uint64_t descs = sizeof(*h) + nranges * sizeof(h->descs[0]);
    struct memmap_raw raw = { h->descs, nranges * sizeof(h->descs[0]), sizeof(h->descs[0]), 1 };

    for (unsigned i = 0; i < nranges; i++) {
        h->descs[i] = (struct efi_memory_descriptor){
            .type = EFI_MT_CONVENTIONAL,
            .physical_start = ranges[i].base << MM_PAGE_SHIFT,
            .number_of_pages = ranges[i].count,
            .attribute = EFI_MA_WB,
        };
    }
    return memmap_build(&h->map, &raw, (unsigned char *)h + mm_align_up(descs, 16),
                        memmap_storage_bytes(nranges));
}

/* What the pool needs is known once there is a map, so one is made for the answer. */
static uint64_t storage_bytes(const struct frames_range *ranges, unsigned nranges, unsigned ncpus)
{
    uint64_t at = pool_at(nranges);
    struct head *h = aligned_alloc(MM_PAGE_SIZE, at);
    uint64_t nbytes = 0;

    if (h != NULL && build(h, ranges, nranges) == MM_OK) {
        nbytes = at + pmm_storage_bytes(&h->map, PMM_GENERAL, ncpus);
    }
    free(h);
    return nbytes;
}

static void *create(const struct frames_range *ranges, unsigned nranges, unsigned ncpus,
                    void *storage, uint64_t nbytes)
{
    struct head *h = storage;
    uint64_t at = pool_at(nranges);
    struct pmm *p;

    if (h == NULL || build(h, ranges, nranges) != MM_OK ||
        pmm_init(&p, &h->map, PMM_GENERAL, ncpus, (unsigned char *)storage + at, nbytes - at) !=
            MM_OK) {
        return NULL;
    }
    return p;
}

static void enter(void *self, unsigned cpu)
{
    (void)self;
    host_set_cpu(cpu);
}

static uint64_t get(void *self, unsigned cpu, unsigned order)
{
    (void)cpu;
    return pmm_get(self, order, 0).v; /* PFN_NONE is FRAMES_NONE */
}

static void put(void *self, unsigned cpu, uint64_t pfn, unsigned order)
{
    (void)cpu;
    pmm_put(self, pfn_make(pfn), order);
}

/* A pfn_t is the number in it. */
static unsigned get_batch(void *self, unsigned cpu, uint64_t *pfns, unsigned n)
{
    (void)cpu;
    return pmm_get_batch(self, (pfn_t *)pfns, n, 0);
}

static void put_batch(void *self, unsigned cpu, const uint64_t *pfns, unsigned n)
{
    (void)cpu;
    pmm_put_batch(self, (const pfn_t *)pfns, n);
}

static uint64_t free_frames(void *self)
{
    struct pmm_stats s;

    pmm_get_stats(self, &s);
    return pmm_free_frames(self) + s.record_frames;
}

/* Frames that hold records are memory too. */
static uint64_t meta_bytes(void *self)
{
    struct pmm_stats s;

    pmm_get_stats(self, &s);
    return s.storage_bytes + s.record_frames * MM_PAGE_SIZE;
}

_Static_assert(FRAMES_NONE == UINT64_MAX && FRAMES_MAX_ORDER <= PMM_MAX_ORDER &&
                   sizeof(pfn_t) == sizeof(uint64_t),
               "the pool speaks the adapter's language");

const struct frames_allocator frames_plat = {
    .version = FRAMES_VERSION,
    .max_order = FRAMES_MAX_ORDER,
    .name = "plat",
    .storage_bytes = storage_bytes,
    .create = create,
    .enter = enter,
    .get = get,
    .put = put,
    .get_batch = get_batch,
    .put_batch = put_batch,
    .free_frames = free_frames,
    .meta_bytes = meta_bytes,
};
