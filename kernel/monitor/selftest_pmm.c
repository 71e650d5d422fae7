/*
 * The frame allocator's tests: some on the live pools, and those that use a pool up, spoil it or
 * must know all of it on a pool of their own.
 *
 * That pool lies over a block taken from the general one, so its frames are real memory and what is
 * written to them must stay. Its map is ragged on purpose: frames missing at the start and in the
 * middle, and some that are added later.
 */
#include "clock.h"
#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "cpu/trap.h"
#include "dev/pit.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "monitor/selftest.h"
#include "vm.h"

#define MAX_BLOCKS 512u
#define MAX_FRAMES 65536u /* 256 MiB: what the blocks of one order span together */
#define MARK_BYTES 64u
#define MAX_PROBES 2048u /* frames */

/* ---- blocks of the live pool ----------------------------------------------------------------- */

static struct block {
    pfn_t pfn;
    uint64_t count;
} blocks[MAX_BLOCKS];

/* Mark both ends of a block. */
static void mark(const struct block *b)
{
    char *p = frame_ptr(b->pfn);

    pattern_fill(p, MARK_BYTES, b->pfn.v);
    pattern_fill(p + (b->count << MM_PAGE_SHIFT) - MARK_BYTES, MARK_BYTES, b->pfn.v);
}

static bool marked(const struct block *b)
{
    const char *p = frame_ptr(b->pfn);

    return pattern_verify(p, MARK_BYTES, b->pfn.v) == MARK_BYTES &&
           pattern_verify(p + (b->count << MM_PAGE_SHIFT) - MARK_BYTES, MARK_BYTES, b->pfn.v) ==
               MARK_BYTES;
}

/* Verify and give back blocks[0, n), by order if `order` is not -1, in random order. */
static const char *give_back(unsigned n, int order)
{
    while (n > 0) {
        unsigned i = (unsigned)rng_below(&rng, n);

        if (!marked(&blocks[i])) {
            return why("the block at frame 0x%llx was overwritten",
                       (unsigned long long)blocks[i].pfn.v);
        }
        if (order >= 0) {
            pmm_put(vm_pmm, blocks[i].pfn, (unsigned)order);
        } else {
            pmm_put_range(vm_pmm, blocks[i].pfn, blocks[i].count);
        }
        blocks[i] = blocks[--n];
    }
    return pmm_check(vm_pmm);
}

/* As many blocks of each order as there are, up to MAX_BLOCKS and MAX_FRAMES (but two), all at
 * once. */
const char *selftest_pmm_orders(void)
{
    for (int order = 0; order <= PMM_MAX_ORDER; order++) {
        const uint64_t most = mm_max(2, mm_min(MAX_BLOCKS, MAX_FRAMES >> order));
        const char *broken;
        unsigned n = 0;

        for (; n < most; n++) {
            pfn_t pfn = pmm_get(vm_pmm, (unsigned)order, 0);

            if (pfn_is_none(pfn)) {
                if (pmm_why(vm_pmm, (unsigned)order) == MM_OK) {
                    return why("order %d is refused for no reason", order);
                }
                break;
            }
            blocks[n] = (struct block){ pfn, UINT64_C(1) << order };
            if (!mm_is_aligned(pfn.v, blocks[n].count) || pmm_is_free(vm_pmm, pfn)) {
                return why("order %d: frame 0x%llx is misaligned, or still free", order,
                           (unsigned long long)pfn.v);
            }
            mark(&blocks[n]);
        }
        broken = give_back(n, order);
        if (broken != NULL) {
            return broken;
        }
    }
    return pfn_is_none(pmm_get(vm_pmm, PMM_MAX_ORDER + 1, 0)) ? NULL
                                                              : "an order too large was given";
}

/* Does [base, base + count) keep what `w` asks for? */
static bool satisfies(const struct pmm_want *w, pfn_t base)
{
    uint64_t first = pa_of_pfn(base).v, last = first + (w->count << MM_PAGE_SHIFT) - 1;

    return (w->align == 0 || mm_is_aligned(base.v, w->align)) &&
           (w->limit == 0 || last < w->limit) &&
           (w->boundary == 0 || first / w->boundary == last / w->boundary);
}

const char *selftest_pmm_wants(void)
{
    unsigned n = 0;

    for (unsigned i = 0; i < 200 && n < MAX_BLOCKS; i++) {
        struct pmm_want w = { .count = 1 + rng_below(&rng, 600) };
        pfn_t base;

        w.align = rng_below(&rng, 2) != 0 ? UINT64_C(1) << rng_below(&rng, 9) : 0;
        w.limit = rng_below(&rng, 3) == 0 ? UINT64_C(1) << 32 : 0;
        w.boundary = rng_below(&rng, 3) == 0 ? UINT64_C(1) << 24 : 0;
        if (pmm_get_range(vm_pmm, &w, &base) != MM_OK) {
            break; /* a small machine: enough is held to test with */
        }
        if (!satisfies(&w, base)) {
            return why("%llu frames at 0x%llx are not what was asked for",
                       (unsigned long long)w.count, (unsigned long long)base.v);
        }
        blocks[n] = (struct block){ base, w.count };
        mark(&blocks[n++]);
    }
    return n == 0 ? "not one block was given" : give_back(n, -1);
}

const char *selftest_pmm_place(void)
{
    struct pmm_want w = { .count = 24 };
    pfn_t base;

    if (pmm_get_range(vm_pmm, &w, &base) != MM_OK) {
        return "no run of 24 frames";
    }
    if (pmm_claim(vm_pmm, pfn_make(base.v + 5), 2) != MM_EBUSY) {
        return "a place that is taken was given again";
    }
    pmm_put_range(vm_pmm, pfn_make(base.v + 8), 8); /* the middle of it */
    if (pmm_claim(vm_pmm, pfn_make(base.v + 8), 9) != MM_EBUSY ||
        pmm_claim(vm_pmm, pfn_make(base.v + 8), 8) != MM_OK) {
        return "the middle, given back, can't be had again";
    }
    for (unsigned i = 0; i < 24; i += 8) { /* three allocations now */
        pmm_put_range(vm_pmm, pfn_make(base.v + i), 8);
    }
    if (pmm_claim(vm_pmm, pfn_make(0), 1) != MM_ENOENT ||
        pmm_claim(vm_pmm, pfn_make(UINT64_C(1) << 50), 1) != MM_ENOENT ||
        pmm_claim(vm_pmm, base, 0) != MM_EINVAL) {
        return "frame 0, one that is not there, or none at all was given";
    }
    return pmm_check(vm_pmm);
}

/* Memory below 1 MiB is in its own pool and no other. */
const char *selftest_pmm_low(void)
{
    struct pmm_want w = { .count = 1, .limit = UINT64_C(1) << 20 };
    struct pmm *low = vm_pools[PMM_LOW];
    pfn_t pfn;

    if (pmm_get_range(vm_pmm, &w, &pfn) != MM_ELIMIT) {
        return "the general pool has memory below 1 MiB, or does not say that others has";
    }
    if (low == NULL || pmm_free_frames(low) == 0) {
        return NULL;
    }
    pfn = pmm_get(low, 0, 0);
    if (pfn_is_none(pfn) || pfn.v == 0 || pfn.v >= 256) {
        return "the low pool gives no frame below 1 MiB, or frame 0";
    }
    blocks[0] = (struct block){ pfn, 1 };
    mark(&blocks[0]);
    if (!marked(&blocks[0])) {
        return "memory below 1 MiB does not keep what is written";
    }
    pmm_put(low, pfn, 0);
    return pmm_check(low);
}

/* Frames that were boot services' and the loader's hold what we write. */
const char *selftest_pmm_reclaimed(void)
{
    unsigned tested = 0;

    for (uint32_t i = 0; i < vm_map.nregions && tested < MAX_PROBES; i++) {
        const struct memmap_region *r = &vm_map.regions[i];
        const pfn_t at[2] = { pfn_of_pa(pa_make(r->base)), pfn_of_pa(pa_make(r->end - 1)) };

        for (unsigned j = 0; j < 2 && r->kind == MEMMAP_FREE_AFTER_EXIT; j++) {
            if (pmm_claim(vm_pmm, at[j], 1) != MM_OK) {
                continue;
            }
            blocks[0] = (struct block){ at[j], 1 };
            mark(&blocks[0]);
            if (!marked(&blocks[0])) {
                return why("frame 0x%llx does not keep what is written",
                           (unsigned long long)at[j].v);
            }
            pmm_put_range(vm_pmm, at[j], 1);
            tested++;
        }
    }
    return NULL;
}

/* By batches and one by one, and back the other way. */
const char *selftest_pmm_batches(void)
{
    static pfn_t pfns[MAX_BLOCKS];

    for (unsigned round = 0; round < 8; round++) {
        unsigned n = 1 + (unsigned)rng_below(&rng, MAX_BLOCKS), by_one = 0;
        unsigned got = pmm_get_batch(vm_pmm, pfns, n, 0);

        if (got != n) {
            return why("%u of %u frames were given", got, n);
        }
        for (unsigned i = 0; i < n; i++) {
            blocks[i] = (struct block){ pfns[i], 1 };
            mark(&blocks[i]);
        }
        for (unsigned i = 0; i < n; i++) { /* shuffle, and look whether a frame was given twice */
            unsigned j = i + (unsigned)rng_below(&rng, n - i);
            pfn_t pfn = pfns[j];

            if (!marked(&(struct block){ pfn, 1 })) {
                return why("frame 0x%llx was overwritten", (unsigned long long)pfn.v);
            }
            memset(frame_ptr(pfn), 0, MARK_BYTES);
            pfns[j] = pfns[i];
            pfns[i] = pfn;
        }
        for (; by_one < n / 3; by_one++) {
            pmm_put(vm_pmm, pfns[by_one], 0);
        }
        pmm_put_batch(vm_pmm, pfns + by_one, n - by_one);
    }
    return pmm_check(vm_pmm);
}

/* The pools' statistics and the tallies of all regions are two ways to count the same. */
const char *selftest_pmm_tally(void)
{
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        struct pmm_tally sum = { .frames = { 0 } }, t;
        struct pmm_stats s;

        if (vm_pools[kind] == NULL) {
            continue;
        }
        for (uint32_t i = 0; i < vm_map.nregions; i++) {
            const struct memmap_region *r = &vm_map.regions[i];
            uint64_t count = (r->end - r->base) >> MM_PAGE_SHIFT, part = 0;

            pmm_get_tally(vm_pools[kind], pfn_of_pa(pa_make(r->base)), count, &t);
            for (unsigned state = 0; state < PMM_STATES; state++) {
                sum.frames[state] += t.frames[state];
                part += t.frames[state];
            }
            if (part != count) {
                return why("the states of region %u are not all of it", i);
            }
        }
        pmm_get_stats(vm_pools[kind], &s);
        if (sum.frames[PMM_FREE] != s.free_frames || sum.frames[PMM_BAD] != s.bad_frames ||
            sum.frames[PMM_HELD] != s.held_frames + s.record_frames ||
            sum.frames[PMM_FREE] + sum.frames[PMM_BAD] + sum.frames[PMM_HELD] +
                    sum.frames[PMM_USED] !=
                s.total_frames) {
            return why("the %s pool counts otherwise than its tallies", vm_pool_name(kind));
        }
    }
    return NULL;
}

/* ---- a pool of our own ------------------------------------------------------------------------- */

#define OWN_MAX_ORDER 12u /* 16 MiB */
#define OWN_MIN_ORDER 10u
#define OWN_FRAMES    (1u << OWN_MAX_ORDER)
#define OWN_ALLOCS    1024u

/* What the model knows of a frame: the number of its allocation, or one of these. */
enum { MODEL_FREE = 0, MODEL_TAKEN = 0xfffd, MODEL_HELD = 0xfffe, MODEL_ABSENT = 0xffff };

static struct {
    struct pmm *pool;
    pfn_t base;
    unsigned order;  /* of the block that it lies over, from the general pool */
    uint64_t nfree;  /* by the model */
    uint64_t nalloc; /* allocations made so far: what marks the frames of each */
    uint16_t model[OWN_FRAMES];
    struct memmap map;
    struct efi_memory_descriptor descs[3];
    void *map_storage, *storage;
} own;

/* Allocations of the model: frames [first, first + count) of the block. */
static struct {
    uint64_t first, count;
} allocs[OWN_ALLOCS];
static unsigned nallocs;

static void add_alloc(uint64_t first, uint64_t count)
{
    allocs[nallocs].first = first;
    allocs[nallocs++].count = count;
}

static pfn_t own_pfn(uint64_t i)
{
    return pfn_make(own.base.v + i);
}

static void model_set(uint64_t first, uint64_t count, uint16_t what)
{
    for (uint64_t i = first; i < first + count; i++) {
        own.model[i] = what;
    }
}

/* Frames [first, end) of the block are of this type in the pool's map. */
static void describe(unsigned i, uint32_t type, uint64_t first, uint64_t end)
{
    own.descs[i] = (struct efi_memory_descriptor){ .type = type,
                                                   .physical_start = pa_of_pfn(own_pfn(first)).v,
                                                   .number_of_pages = end - first,
                                                   .attribute = EFI_MA_WB };
    model_set(first, end - first, type == EFI_MT_CONVENTIONAL ? MODEL_FREE : MODEL_HELD);
    own.nfree += type == EFI_MT_CONVENTIONAL ? end - first : 0;
}

/* False on a machine with too little memory for such a test, or where something is wrong. */
static bool own_make(const char **broken)
{
    const struct memmap_raw raw = { .bytes = own.descs,
                                    .nbytes = sizeof(own.descs),
                                    .stride = sizeof(own.descs[0]),
                                    .version = 1 };
    uint64_t half, map_bytes = memmap_storage_bytes(MM_COUNTOF(own.descs)), nbytes;

    *broken = NULL;
    own.base = PFN_NONE;
    for (own.order = OWN_MAX_ORDER + 1; own.order > OWN_MIN_ORDER && pfn_is_none(own.base);) {
        own.base = pmm_get(vm_pmm, --own.order, 0);
    }
    if (pfn_is_none(own.base)) {
        return false;
    }
    half = UINT64_C(1) << (own.order - 1);
    own.nfree = own.nalloc = nallocs = 0;
    model_set(0, OWN_FRAMES, MODEL_ABSENT);
    describe(0, EFI_MT_CONVENTIONAL, 3, half - 5);
    describe(1, EFI_MT_BOOT_DATA, half + 9, half + 200);
    describe(2, EFI_MT_CONVENTIONAL, half + 200, 2 * half);

    own.map_storage = kmalloc(map_bytes);
    if (own.map_storage == NULL ||
        memmap_build(&own.map, &raw, own.map_storage, map_bytes) != MM_OK) {
        *broken = "no map of a pool of our own";
        return false;
    }
    nbytes = mm_align_up(pmm_storage_bytes(&own.map, PMM_GENERAL, CPU_COUNT), MM_PAGE_SIZE);
    own.storage = kmalloc_aligned(nbytes, MM_PAGE_SIZE);
    if (own.storage == NULL ||
        pmm_init(&own.pool, &own.map, PMM_GENERAL, CPU_COUNT, own.storage, nbytes) != MM_OK) {
        *broken = "no pool of our own";
        return false;
    }
    if (pmm_free_frames(own.pool) != own.nfree) {
        *broken = "a new pool does not have all frames free";
    }
    return *broken == NULL;
}

static const char *own_check(void)
{
    const char *broken = pmm_check(own.pool);

    if (broken == NULL && pmm_free_frames(own.pool) != own.nfree) {
        broken = why("%llu frames are free, not %llu",
                     (unsigned long long)pmm_free_frames(own.pool), (unsigned long long)own.nfree);
    }
    return broken;
}

/* Whatever is still given, the block goes back as a whole. */
static const char *own_drop(void)
{
    const char *broken = own_check();

    kfree(own.storage);
    kfree(own.map_storage);
    pmm_put(vm_pmm, own.base, own.order);
    return broken;
}

/* Would `w` fit anywhere? */
static bool model_fits(const struct pmm_want *w)
{
    uint64_t run = 0;

    for (uint64_t i = 0; i < OWN_FRAMES; i++) {
        run = own.model[i] == MODEL_FREE ? run + 1 : 0;
        if (run >= w->count && satisfies(w, own_pfn(i + 1 - w->count))) {
            return true;
        }
    }
    return false;
}

/* What a request must answer; how ever it is placed. */
static mm_err_t model_answer(const struct pmm_want *w)
{
    struct pmm_want unlimited = *w;

    unlimited.limit = 0;
    if (own.nfree < w->count) {
        return MM_ENOMEM;
    }
    if (model_fits(w)) {
        return MM_OK;
    }
    return model_fits(&unlimited) ? MM_ELIMIT : MM_EFRAG;
}

/* A word in each frame says whose it is. */
static uint64_t *stamp_of(uint64_t i)
{
    return (uint64_t *)frame_ptr(own_pfn(i)) + 1;
}

/* Note that [pfn, pfn + count) was given; it must have been free. */
static const char *model_take(pfn_t pfn, uint64_t count, bool zeroed)
{
    uint64_t first = pfn.v - own.base.v;

    if (nallocs == OWN_ALLOCS || pfn.v < own.base.v || first + count > OWN_FRAMES) {
        return why("frame 0x%llx is not the pool's", (unsigned long long)pfn.v);
    }
    add_alloc(first, count);
    own.nalloc++;
    for (uint64_t i = first; i < first + count; i++) {
        const uint64_t *words = frame_ptr(own_pfn(i));

        if (own.model[i] != MODEL_FREE) {
            return why("frame %llu was given, and is not free", (unsigned long long)i);
        }
        for (unsigned w = 0; w < MM_PAGE_SIZE / 8 && zeroed; w++) {
            if (words[w] != 0) {
                return why("frame %llu is not zeroed", (unsigned long long)i);
            }
        }
        own.model[i] = (uint16_t)(1 + own.nalloc % (MODEL_TAKEN - 1));
        *stamp_of(i) = own.nalloc << 32 | i;
    }
    own.nfree -= count;
    return NULL;
}

/* Frames [first, first + count), of one allocation, are about to be given back. */
static const char *model_put(uint64_t first, uint64_t count)
{
    for (uint64_t i = first; i < first + count; i++) {
        if ((uint32_t)*stamp_of(i) != i || *stamp_of(i) >> 32 != *stamp_of(first) >> 32) {
            return why("frame %llu was overwritten", (unsigned long long)i);
        }
    }
    model_set(first, count, MODEL_FREE);
    own.nfree += count;
    return NULL;
}

/* ---- random operations and a model ------------------------------------------------------------- */

static const char *step_get(void)
{
    unsigned order = rng_below(&rng, 3) != 0 ? 0 : (unsigned)rng_below(&rng, OWN_MIN_ORDER + 2);
    struct pmm_want same = { .count = UINT64_C(1) << order, .align = UINT64_C(1) << order };
    bool zero = rng_below(&rng, 4) == 0;
    mm_err_t answer = model_answer(&same);
    mm_err_t said = pmm_why(own.pool, order);
    pfn_t pfn = pmm_get(own.pool, order, zero ? PMM_ZERO : 0);

    if (said != answer || pfn_is_none(pfn) != (answer != MM_OK)) {
        return why("order %u: %s, because of \"%s\", instead of \"%s\"", order,
                   pfn_is_none(pfn) ? "refused" : "given", mm_strerror(said), mm_strerror(answer));
    }
    return answer == MM_OK ? model_take(pfn, same.count, zero) : NULL;
}

static const char *step_get_range(void)
{
    struct pmm_want w = { .count = 1 + rng_below(&rng, UINT64_C(1) << rng_below(&rng, 12)) };
    mm_err_t answer, said;
    pfn_t base;

    w.align = rng_below(&rng, 2) != 0 ? UINT64_C(1) << rng_below(&rng, 11) : 0;
    w.boundary = rng_below(&rng, 3) == 0 ? MM_PAGE_SIZE << rng_below(&rng, 12) : 0;
    w.limit = rng_below(&rng, 3) == 0 ? pa_of_pfn(own_pfn(rng_below(&rng, OWN_FRAMES))).v : 0;
    answer = model_answer(&w);
    said = pmm_get_range(own.pool, &w, &base);
    if (said != answer) {
        return why("%llu frames: \"%s\" instead of \"%s\"", (unsigned long long)w.count,
                   mm_strerror(said), mm_strerror(answer));
    }
    if (answer != MM_OK) {
        return NULL;
    }
    return satisfies(&w, base) ? model_take(base, w.count, false)
                               : "a range is not what was asked for";
}

static const char *step_get_batch(void)
{
    unsigned n = 1 + (unsigned)rng_below(&rng, mm_min(64, OWN_ALLOCS - nallocs));
    unsigned most = (unsigned)mm_min(n, own.nfree), got;
    const char *broken = NULL;
    pfn_t pfns[64];

    got = pmm_get_batch(own.pool, pfns, n, 0);
    if (got != most) {
        return why("a batch has %u frames, not %u", got, most);
    }
    for (unsigned i = 0; i < got && broken == NULL; i++) {
        broken = model_take(pfns[i], 1, false);
    }
    return broken;
}

static const char *step_claim(void)
{
    uint64_t first = rng_below(&rng, OWN_FRAMES), count = 1 + rng_below(&rng, 40);
    mm_err_t answer = MM_OK, said;

    count = mm_min(count, OWN_FRAMES - first);
    for (uint64_t i = first; i < first + count; i++) {
        if (own.model[i] == MODEL_ABSENT) {
            answer = MM_ENOENT;
        } else if (own.model[i] != MODEL_FREE && answer == MM_OK) {
            answer = MM_EBUSY;
        }
    }
    said = pmm_claim(own.pool, own_pfn(first), count);
    if (said != answer) {
        return why("claiming %llu frames at %llu: \"%s\" instead of \"%s\"",
                   (unsigned long long)count, (unsigned long long)first, mm_strerror(said),
                   mm_strerror(answer));
    }
    return answer == MM_OK ? model_take(own_pfn(first), count, false) : NULL;
}

/* Give back allocation `a`, by one of the calls that may do it. */
static const char *put_whole(unsigned a)
{
    uint64_t first = allocs[a].first, count = allocs[a].count;
    const char *broken = model_put(first, count);
    pfn_t pfn = own_pfn(first);

    if (broken != NULL) {
        return broken;
    }
    allocs[a] = allocs[--nallocs];
    if (mm_is_pow2(count) && mm_is_aligned(pfn.v, count) && rng_below(&rng, 4) != 0) {
        pmm_put(own.pool, pfn, (unsigned)__builtin_ctzll(count));
    } else {
        pmm_put_range(own.pool, pfn, count);
    }
    return NULL;
}

/* A part of an allocation; what is left on either side becomes one of its own. */
static const char *step_put_part(void)
{
    unsigned a = (unsigned)rng_below(&rng, nallocs);
    uint64_t first = allocs[a].first, count = allocs[a].count, skip = rng_below(&rng, count);
    uint64_t part = 1 + rng_below(&rng, count - skip);
    const char *broken;

    if (nallocs == OWN_ALLOCS) { /* no room for what may be left */
        return NULL;
    }
    broken = model_put(first + skip, part);
    if (broken != NULL) {
        return broken;
    }
    pmm_put_range(own.pool, own_pfn(first + skip), part);
    allocs[a] = allocs[--nallocs];
    if (skip != 0) {
        add_alloc(first, skip);
    }
    if (skip + part != count) {
        add_alloc(first + skip + part, count - skip - part);
    }
    return NULL;
}

static const char *step_put_batch(void)
{
    pfn_t pfns[64];
    unsigned n = 0;

    for (unsigned a = nallocs; a-- > 0 && n < MM_COUNTOF(pfns);) {
        if (allocs[a].count == 1 && rng_below(&rng, 2) != 0) {
            const char *broken = model_put(allocs[a].first, 1);

            if (broken != NULL) {
                return broken;
            }
            pfns[n++] = own_pfn(allocs[a].first);
            allocs[a] = allocs[--nallocs];
        }
    }
    pmm_put_batch(own.pool, pfns, n);
    return NULL;
}

/* One operation; `filling` makes it rather one that takes. */
static const char *model_step(bool filling)
{
    bool take = rng_below(&rng, 8) < (filling ? 6 : 2);

    if (nallocs == 0 || (take && nallocs < OWN_ALLOCS - 2)) {
        switch (rng_below(&rng, 8)) {
        case 0:
            return step_get_range();
        case 1:
            return step_get_batch();
        case 2:
            return step_claim();
        default:
            return step_get();
        }
    }
    switch (rng_below(&rng, 8)) {
    case 0:
        return step_put_part();
    case 1:
        return step_put_batch();
    default:
        return put_whole((unsigned)rng_below(&rng, nallocs));
    }
}

static const char *compare_with_model(void)
{
    const char *broken = own_check();

    for (uint64_t i = 0; i < OWN_FRAMES && broken == NULL; i++) {
        if (pmm_is_free(own.pool, own_pfn(i)) != (own.model[i] == MODEL_FREE)) {
            broken = why("frame %llu is %sfree", (unsigned long long)i,
                         own.model[i] == MODEL_FREE ? "not " : "");
        }
    }
    return broken;
}

static const char *put_everything(void)
{
    const char *broken = NULL;

    while (nallocs > 0 && broken == NULL) {
        broken = put_whole((unsigned)rng_below(&rng, nallocs));
    }
    return broken;
}

const char *selftest_pmm_model(void)
{
    const unsigned steps = 3000, phase = 300;
    uint64_t half;
    const char *broken;

    if (!own_make(&broken)) {
        return broken;
    }
    half = UINT64_C(1) << (own.order - 1);
    for (unsigned step = 0; step < steps && broken == NULL; step++) {
        if (step == steps / 2) { /* what was boot services' comes in live */
            if (pmm_add(own.pool, own_pfn(half + 9), 191) != MM_OK) {
                return "held memory can't be added";
            }
            model_set(half + 9, 191, MODEL_FREE);
            own.nfree += 191;
        }
        broken = model_step(step / phase % 2 == 0);
        if (broken == NULL && step % 32 == 0) {
            broken = compare_with_model();
        }
    }
    if (broken == NULL) {
        broken = put_everything();
    }
    return broken != NULL ? broken : own_drop();
}

/* Everything is taken, largest blocks first; each order is refused when there is none, not before.
 * Then everything is put, and is as it was. */
const char *selftest_pmm_exhaust(void)
{
    struct pmm_stats before, after;
    const char *broken;

    if (!own_make(&broken)) {
        return broken;
    }
    pmm_get_stats(own.pool, &before);
    for (unsigned order = own.order + 1; order-- > 0 && nallocs < OWN_ALLOCS;) {
        struct pmm_want same = { .count = UINT64_C(1) << order, .align = UINT64_C(1) << order };
        pfn_t pfn = pmm_get(own.pool, order, 0);

        while (!pfn_is_none(pfn) && broken == NULL) {
            broken = model_take(pfn, same.count, false);
            pfn = pmm_get(own.pool, order, 0);
        }
        if (broken == NULL && model_answer(&same) == MM_OK) {
            broken = why("order %u is refused while a block is free", order);
        }
        if (broken != NULL) {
            return broken;
        }
    }
    if (own.nfree != 0 || pmm_why(own.pool, 0) != MM_ENOMEM) {
        return why("%llu frames are left", (unsigned long long)own.nfree);
    }
    broken = put_everything();
    if (broken != NULL) {
        return broken;
    }
    pmm_get_stats(own.pool, &after);
    if (memcmp(before.free_blocks, after.free_blocks, sizeof(after.free_blocks)) != 0) {
        return "what was put did not merge to what was";
    }
    return own_drop();
}

/* Take all frames, spoiling what is in them; put_taken() gives them back. The number of frames. */
static uint64_t take_all(void)
{
    uint64_t n = 0;
    pfn_t pfn;

    for (pfn = pmm_get(own.pool, 0, 0); !pfn_is_none(pfn); pfn = pmm_get(own.pool, 0, 0)) {
        memset(frame_ptr(pfn), 0xa5, MM_PAGE_SIZE);
        own.model[pfn.v - own.base.v] = MODEL_TAKEN;
        n++;
    }
    return n;
}

static void put_taken(void)
{
    for (uint64_t i = 0; i < OWN_FRAMES; i++) {
        if (own.model[i] == MODEL_TAKEN) {
            own.model[i] = MODEL_FREE;
            pmm_put(own.pool, own_pfn(i), 0);
        }
    }
}

/* Whatever a frame held before, who asks for zeros gets zeros. */
const char *selftest_pmm_zeroed(void)
{
    unsigned filled = 0, portion, n = 0;
    const char *broken;
    pfn_t pfns[64];

    if (!own_make(&broken)) {
        return broken;
    }
    if (take_all() != own.nfree) {
        return "not all frames were given";
    }
    put_taken();
    do {
        portion = pmm_fill_zeroed(own.pool, 4);
        filled += portion;
    } while (portion != 0 && filled <= OWN_FRAMES);
    if (filled > OWN_FRAMES || pmm_free_frames(own.pool) != own.nfree) {
        return "zeroing ahead has no end, or loses frames";
    }
    for (unsigned i = 0; i < 200 && broken == NULL; i++) {
        unsigned order = i % 50 == 0 ? 3 : 0;
        pfn_t pfn = pmm_get(own.pool, order, PMM_ZERO);

        broken = pfn_is_none(pfn) ? "no frame" : model_take(pfn, UINT64_C(1) << order, true);
    }
    if (broken == NULL) {
        n = pmm_get_batch(own.pool, pfns, MM_COUNTOF(pfns), PMM_ZERO);
    }
    for (unsigned i = 0; i < n && broken == NULL; i++) {
        broken = model_take(pfns[i], 1, true);
    }
    if (broken == NULL) {
        broken = put_everything();
    }
    return broken != NULL ? broken : own_drop();
}

/* ---- frames out of service --------------------------------------------------------------------- */

const char *selftest_pmm_retire(void)
{
    uint64_t first, in_use = 99;
    struct pmm_stats s;
    const char *broken;
    pfn_t used, base;

    if (!own_make(&broken)) {
        return broken;
    }
    used = pmm_get(own.pool, 0, 0);
    if (pfn_is_none(used)) {
        return "no frame";
    }
    first = used.v - own.base.v < 200 ? 300 : 100; /* free ones, well away from it */
    if (pmm_retire(own.pool, own_pfn(first), 3, &in_use) != MM_OK || in_use != 0 ||
        pmm_retire(own.pool, used, 1, &in_use) != MM_OK || in_use != 1) {
        return "frames can't be taken out of service, or are counted wrongly";
    }
    if (pmm_retire(own.pool, own_pfn(0), 4, NULL) != MM_ENOENT ||
        pmm_retire(own.pool, used, 0, NULL) != MM_EINVAL) {
        return "frames that are not the pool's, or none, are taken out of service";
    }
    if (pmm_get_state(own.pool, own_pfn(first + 1)) != PMM_BAD ||
        pmm_get_state(own.pool, used) != PMM_USED) {
        return "the free ones are not out of service at once, or the used one is";
    }
    pmm_put(own.pool, used, 0);
    pmm_get_stats(own.pool, &s);
    if (pmm_get_state(own.pool, used) != PMM_BAD || s.bad_frames != 4 || s.leaving_frames != 0 ||
        pmm_claim(own.pool, own_pfn(first), 1) != MM_EBUSY) {
        return "what is given back does not leave, or can be had again";
    }
    if (take_all() != own.nfree - 4 || own.model[used.v - own.base.v] == MODEL_TAKEN ||
        own.model[first] == MODEL_TAKEN || own.model[first + 2] == MODEL_TAKEN) {
        return "not all others were given, or one that is out of service";
    }
    if (!pmm_get_bad(own.pool, 0, &base, &in_use) || !pmm_get_bad(own.pool, 1, &base, &in_use) ||
        pmm_get_bad(own.pool, 2, &base, &in_use)) {
        return "the list of what is out of service is wrong";
    }
    own.nfree = 0; /* all is taken, and the pool goes as a whole */
    return own_drop();
}

/* ---- the reclaim hook -------------------------------------------------------------------------- */

static struct {
    unsigned calls[PMM_REFUSAL + 1];
    pfn_t spare; /* what it gives back at a refusal, or PFN_NONE */
} hook;

static bool reclaim(void *ctx, enum pmm_mark mark, uint64_t count)
{
    pfn_t spare = hook.spare;

    (void)count;
    hook.calls[mark]++;
    if (mark != PMM_REFUSAL || pfn_is_none(spare)) {
        return false;
    }
    hook.spare = PFN_NONE;
    pmm_put(ctx, spare, 0);
    return true;
}

/* Take all frames and put them again: the marks must have been told for the `times`th time. */
static const char *down_and_up(unsigned times)
{
    if (take_all() != own.nfree) {
        return "not all frames were given";
    }
    if (hook.calls[PMM_LOW_MARK] != times || hook.calls[PMM_CRITICAL_MARK] != times) {
        return why("the marks were told %u and %u times, not %u", hook.calls[PMM_LOW_MARK],
                   hook.calls[PMM_CRITICAL_MARK], times);
    }
    if (hook.calls[PMM_REFUSAL] != 0) {
        return "the hook is asked for a caller that can't wait";
    }
    put_taken();
    return NULL;
}

const char *selftest_pmm_hook(void)
{
    const char *broken;
    pfn_t pfn;

    if (!own_make(&broken)) {
        return broken;
    }
    memset(&hook, 0, sizeof(hook));
    pmm_set_reclaim(own.pool, 256, 128, reclaim, own.pool);
    for (unsigned times = 1; times <= 2 && broken == NULL; times++) {
        broken = down_and_up(times);
    }
    if (broken != NULL) {
        return broken;
    }
    hook.spare = pmm_get(own.pool, 0, 0);
    if (pfn_is_none(hook.spare) || take_all() != own.nfree - 1) {
        return "not all frames were given";
    }
    pfn = pmm_get(own.pool, 0, PMM_WAIT);
    if (pfn_is_none(pfn) || hook.calls[PMM_REFUSAL] != 1) {
        return "who may wait does not get what the hook gave back";
    }
    if (!pfn_is_none(pmm_get(own.pool, 0, PMM_WAIT)) || hook.calls[PMM_REFUSAL] != 2) {
        return "who may wait is not refused when the hook has nothing";
    }
    own.nfree = 0; /* all is taken, and the pool goes as a whole */
    return own_drop();
}

/* ---- interrupts -------------------------------------------------------------------------------- */

#define SIDE_BLOCKS 64u
#define STEPPED_OPS 200u
#define MAX_STEPS   1000u /* of one operation; beyond is the poison of a debug build */
#define TICK_HZ     5000u
#define TICKS       500u
#define MAX_US      1000000u

/* One of two that take and put frames of one pool: the foreground, and an interrupt handler. */
struct side {
    struct rng rng;
    struct block held[SIDE_BLOCKS];
    unsigned n;
    unsigned ops;
    bool stepped; /* each of its instructions in the allocator is interrupted */
    bool broken;
};

static struct side front, back;
static struct pmm *both_use;
static unsigned steps; /* of the operation that is stepped */

static void side_op(struct side *s);

static void interrupt(void)
{
    if (rng_below(&back.rng, 8) == 0) {
        pmm_idle(both_use); /* takes from under the foreground's hands what its cache holds */
    } else {
        side_op(&back);
    }
}

static void step(void)
{
    if (steps++ < MAX_STEPS) {
        interrupt();
    }
}

static void step_begin(const struct side *s)
{
    if (s->stepped) {
        steps = 0;
        trap_step(step);
    }
}

static void step_end(const struct side *s)
{
    if (s->stepped) {
        trap_step(NULL);
    }
}

static void side_put(struct side *s, unsigned i)
{
    struct block b = s->held[i];

    s->broken |= !marked(&b);
    s->held[i] = s->held[--s->n];
    step_begin(s);
    pmm_put(both_use, b.pfn, (unsigned)__builtin_ctzll(b.count));
    step_end(s);
}

static void side_get(struct side *s)
{
    unsigned order = rng_below(&s->rng, 8) != 0 ? 0 : (unsigned)rng_below(&s->rng, 5);
    pfn_t pfn;

    order = rng_below(&s->rng, 64) == 0 ? 9 : order;
    step_begin(s);
    pfn = pmm_get(both_use, order, 0);
    step_end(s);
    if (!pfn_is_none(pfn)) {
        s->held[s->n] = (struct block){ pfn, UINT64_C(1) << order };
        mark(&s->held[s->n++]);
    }
}

static void side_op(struct side *s)
{
    s->ops++;
    if (s->n > 0 && (s->n == SIDE_BLOCKS || rng_below(&s->rng, 2) == 0)) {
        side_put(s, (unsigned)rng_below(&s->rng, s->n));
    } else {
        side_get(s);
    }
}

static void sides_begin(struct pmm *p)
{
    memset(&front, 0, sizeof(front));
    memset(&back, 0, sizeof(back));
    front.rng.state = rng_next(&rng);
    back.rng.state = rng_next(&rng);
    both_use = p;
}

/* Put what both have; nobody interrupts any more. */
static const char *sides_end(void)
{
    front.stepped = false;
    while (front.n > 0) {
        side_put(&front, front.n - 1);
    }
    while (back.n > 0) {
        side_put(&back, back.n - 1);
    }
    return front.broken || back.broken ? "a frame was given to both" : pmm_check(both_use);
}

/* An interrupt handler takes or puts after every single instruction of the foreground's own gets
 * and puts, as far as they let interrupts in; with plenty of memory, and with hardly any. */
const char *selftest_pmm_steps(void)
{
    const char *broken;
    pfn_t pfn;

    for (unsigned scarce = 0; scarce < 2; scarce++) {
        if (!own_make(&broken)) {
            return broken;
        }
        for (uint64_t left = own.nfree; scarce != 0 && left > 40; left--) {
            pfn = pmm_get(own.pool, 0, 0);
            if (pfn_is_none(pfn)) {
                return "a frame is refused";
            }
            own.nfree--; /* taken for good */
        }
        sides_begin(own.pool);
        front.stepped = true;
        while (front.ops < STEPPED_OPS) {
            side_op(&front);
        }
        broken = sides_end();
        if (broken == NULL && back.ops < STEPPED_OPS) {
            broken = "single steps do not interrupt";
        }
        if (broken == NULL) {
            broken = own_drop();
        }
        if (broken != NULL) {
            return broken;
        }
    }
    return NULL;
}

/* The same on the live pool, by a timer's interrupts: not after every instruction, but real ones.
 */
const char *selftest_pmm_interrupts(void)
{
    uint64_t start = rdtsc();

    sides_begin(vm_pmm);
    pit_start(TICK_HZ, interrupt);
    while (back.ops < TICKS && clock_us(rdtsc() - start) < MAX_US) {
        side_op(&front);
    }
    pit_stop();
    return sides_end(); /* a machine without an 8254 has tested the foreground alone */
}
