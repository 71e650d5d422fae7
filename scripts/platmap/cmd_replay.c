/*
 * cmd_replay.c - replay: what a kernel gets out of a map.
 *
 * The map goes through the steps of Plat's kernel at boot, with the same code: room for the frame
 * pools' metadata is carved out of free memory, pools are made, then boot services' and the ACPI
 * tables' memory joins them. All numbers are the pools' own.
 */
#include "platmap.h"

#include "mm/pmm.h"
#include "port.h"

#define MIB1 (UINT64_C(1) << 20)
#define MIB2 (UINT64_C(2) << 20)

/* What the metadata may grow by when room for it is taken: that cuts regions, and two 2 MiB blocks,
 * for each of which a pool may want one bit for each frame of a GiB. */
#define CUT_BYTES (MM_PAGE_SIZE + 2 * (UINT64_C(1) << (30 - MM_PAGE_SHIFT - 3)))

/* Those that a kernel allocates from: memory at or above 1 MiB, and below. */
static const enum pmm_kind kinds[] = { PMM_GENERAL, PMM_LOW };

#define POOLS MM_COUNTOF(kinds)

struct replay {
    struct memmap *m;
    struct pmm *pools[POOLS]; /* NULL: the map has no such memory */
    uint64_t metadata_bytes;  /* of all pools */
};

static uint64_t pool_bytes(const struct memmap *m, size_t i)
{
    return mm_align_up(pmm_storage_bytes(m, kinds[i], 1), MM_PAGE_SIZE);
}

static uint64_t all_pools_bytes(const struct memmap *m)
{
    uint64_t nbytes = 0;

    for (size_t i = 0; i < POOLS; i++) {
        nbytes += pool_bytes(m, i);
    }
    return nbytes;
}

/* Pools in the storage [at, at + nbytes), and what they do not need of it back into its own. */
static mm_err_t init_pools(struct replay *r, uint64_t at, uint64_t nbytes)
{
    uint64_t end = at + nbytes;

    for (size_t i = 0; i < POOLS; i++) {
        uint64_t need = pool_bytes(r->m, i);

        if (need > end - at) {
            return MM_ENOSPC;
        }
        if (need != 0) {
            mm_err_t err = pmm_init(&r->pools[i], r->m, kinds[i], 1, port_ptr(pa_make(at)), need);

            if (err != MM_OK) {
                return err;
            }
        }
        at += need;
        r->metadata_bytes += need;
    }
    return at < end ? pmm_add(r->pools[0], pfn_of_pa(pa_make(at)), (end - at) >> MM_PAGE_SHIFT)
                    : MM_OK;
}

static bool make_pools(struct replay *r, const char *name)
{
    uint64_t nbytes = all_pools_bytes(r->m) + CUT_BYTES;
    uint64_t direct_end = memmap_direct_end(r->m);
    mm_err_t err;
    pa_t at;

    if (pool_bytes(r->m, 0) == 0) {
        complain("%s: a kernel gets nothing: there is no memory at or above 1 MiB", name);
        return false;
    }
    if (memmap_take(r->m, nbytes, MIB2, UINT64_MAX, &at) != MM_OK &&
        memmap_take(r->m, nbytes, MM_PAGE_SIZE, UINT64_MAX, &at) != MM_OK) {
        struct size_text size;

        complain("%s: there is no free run of %s for the metadata of the frame pools", name,
                 size_text(&size, nbytes));
        return false;
    }
    if (!port_begin(direct_end)) {
        complain("%s: no address space to replay memory up to 0x%llx in", name,
                 (unsigned long long)direct_end);
        return false;
    }
    err = init_pools(r, at.v, nbytes);
    if (err != MM_OK) {
        complain("%s: making the frame pools: %s", name, mm_strerror(err));
        port_end();
    }
    return err == MM_OK;
}

/* The part of a region in [from, to) joins pool `i`; an error is the pool's, and kept. */
static void join(struct replay *r, size_t i, const struct memmap_region *region, uint64_t from,
                 uint64_t to, mm_err_t *err)
{
    uint64_t base = mm_max(region->base, from);
    uint64_t end = mm_min(region->end, to);

    if (base < end && r->pools[i] != NULL && *err == MM_OK) {
        *err = pmm_add(r->pools[i], pfn_of_pa(pa_make(base)), (end - base) >> MM_PAGE_SHIFT);
    }
}

static mm_err_t join_kind(struct replay *r, enum memmap_kind kind)
{
    mm_err_t err = MM_OK;

    for (uint32_t k = 0; k < r->m->nregions; k++) {
        const struct memmap_region *region = &r->m->regions[k];

        if (region->kind == kind) {
            join(r, 0, region, MIB1, UINT64_MAX, &err);
            join(r, 1, region, MM_PAGE_SIZE, MIB1, &err); /* frame 0 is in no pool */
        }
    }
    return err;
}

/* ---- numbers --------------------------------------------------------------------------------- */

static struct pmm_stats stats_of(struct pmm *p)
{
    struct pmm_stats s = { 0 };

    if (p != NULL) {
        pmm_get_stats(p, &s);
    }
    return s;
}

static const char *frames_text(struct size_text *buf, uint64_t frames)
{
    return size_text(buf, frames << MM_PAGE_SHIFT);
}

static void put_stage(const struct mm_sink *to, const struct replay *r, const char *what)
{
    struct pmm_stats s = stats_of(r->pools[0]);
    struct pmm_stats low = stats_of(r->pools[1]);
    struct size_text usable, largest, below, outside;

    say(to, "%-26s %10s %12s %10s %14s\n", what,
        frames_text(&usable, s.free_frames + low.free_frames),
        frames_text(&largest, mm_max(s.largest_free, low.largest_free)),
        frames_text(&below, s.below_4g_free + low.below_4g_free),
        frames_text(&outside, s.outside_2m + low.outside_2m));
}

static void put_blocks(const struct mm_sink *to, const struct replay *r)
{
    struct pmm_stats s = stats_of(r->pools[0]);
    struct pmm_stats low = stats_of(r->pools[1]);

    say(to, "\nFree blocks at the end, each as large as its alignment allows:\n"
            "order  block size      count      in all\n");
    for (unsigned order = 0; order <= PMM_MAX_ORDER; order++) {
        uint64_t n = s.free_blocks[order] + low.free_blocks[order];
        struct size_text block, all;

        say(to, "%5u  %10s %10llu  %10s\n", order, frames_text(&block, UINT64_C(1) << order),
            (unsigned long long)n, frames_text(&all, n << order));
    }
}

static void put_overhead(const struct mm_sink *to, const struct replay *r)
{
    struct pmm_stats s = stats_of(r->pools[0]);
    uint64_t records = s.record_frames << MM_PAGE_SHIFT;
    uint64_t ram = 0;
    struct size_text metadata, record, all;

    for (uint32_t k = 0; k < r->m->nregions; k++) {
        if (mapsum_is_ram(&r->m->regions[k])) {
            ram += r->m->regions[k].end - r->m->regions[k].base;
        }
    }
    say(to, "\nOverhead: %s of metadata and %s of the pool's records, %llu bytes a MiB of %s RAM\n",
        size_text(&metadata, r->metadata_bytes), size_text(&record, records),
        (unsigned long long)((r->metadata_bytes + records) / mm_max(ram >> 20, 1)),
        size_text(&all, ram));
}

static bool put_replay(const struct mm_sink *to, struct replay *r, const char *name)
{
    static const struct {
        const char *what;
        enum memmap_kind kind;
    } stages[] = {
        { "after boot services end", MEMMAP_FREE_AFTER_EXIT },
        { "after ACPI tables are read", MEMMAP_FREE_AFTER_ACPI },
    };

    say(to, "%-26s %10s %12s %10s %14s\n", "", "usable", "largest run", "below 4G",
        "outside 2 MiB");
    put_stage(to, r, "as the kernel starts");
    for (size_t i = 0; i < MM_COUNTOF(stages); i++) {
        mm_err_t err = join_kind(r, stages[i].kind);

        if (err != MM_OK) {
            complain("%s: memory could not join its pool: %s", name, mm_strerror(err));
            return false;
        }
        put_stage(to, r, stages[i].what);
    }
    put_blocks(to, r);
    put_overhead(to, r);
    for (size_t i = 0; i < POOLS; i++) {
        const char *broken = r->pools[i] != NULL ? pmm_check(r->pools[i]) : NULL;

        if (broken != NULL) {
            port_panic("%s", broken);
        }
    }
    return true;
}

int cmd_replay(const struct args *a)
{
    struct answer whole; /* shown only when all of it is there */
    struct input in;
    struct replay r = { .m = &in.map };
    bool done = false;

    if (!input_open(&in, a->words[0], a->option[OPT_MAP])) {
        return STATUS_TROUBLE;
    }
    answer_begin(&whole);
    input_put_title(&whole.sink, &in);
    if (make_pools(&r, in.name)) {
        done = put_replay(&whole.sink, &r, in.name);
        port_end();
    }
    if (done) {
        mm_put(a->to, whole.text, whole.len);
    }
    answer_drop(&whole);
    input_close(&in);
    return done ? STATUS_OK : STATUS_TROUBLE;
}
