/*
 * frames: the pools of page frames, and what became of each frame that firmware handed over.
 *
 * What a frame was is kept nowhere but in the memory map: its regions name the descriptor they came
 * from, and where Plat has claimed something on top, the raw descriptors still say what lay there.
 * What it is now the pool knows. Both are asked anew each time, so they can't disagree with it.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/ksyms.h"
#include "lib/string.h"
#include "monitor/frames.h"
#include "monitor/style.h"
#include "vm.h"

#define HUGE_FRAMES UINT64_C(512)
#define MAX_TYPES   24u
#define MAX_PA      ((UINT64_C(1) << 52) - 1)

/* Why pmm_who() has no answer. */
#ifdef PMM_DEBUG
#define NOBODY "not in use"
#else
#define NOBODY "this build does not note who takes frames; one made with DEBUG=1 does"
#endif

/* What is, of a size that may be nothing, easy to overlook. */
static const char *size_text(char buf[FMT_BYTES_MAX], uint64_t nframes)
{
    return nframes != 0 ? fmt_bytes(buf, nframes << MM_PAGE_SHIFT) : "-";
}

/* ---- the pools --------------------------------------------------------------------------------- */

static void show_pools(const struct pmm_stats stats[PMM_KINDS])
{
    char total[FMT_BYTES_MAX], unused[FMT_BYTES_MAX], used[FMT_BYTES_MAX], held[FMT_BYTES_MAX],
        bad[FMT_BYTES_MAX], run[FMT_BYTES_MAX];

    kputs(STYLE_HEAD "pool             size       free       used       held        bad   longest "
                     "run" STYLE_OFF "\n");
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        const struct pmm_stats *s = &stats[kind];
        uint64_t kept = s->held_frames + s->record_frames;

        if (vm_pools[kind] != NULL) {
            kprintf("%-10s %10s %10s %10s %10s %10s %13s\n", vm_pool_name(kind),
                    size_text(total, s->total_frames), size_text(unused, s->free_frames),
                    size_text(used, s->total_frames - s->free_frames - kept - s->bad_frames),
                    size_text(held, kept), size_text(bad, s->bad_frames),
                    size_text(run, s->largest_free));
        }
    }
}

/* One half of a line of the table of orders. */
static void show_order(const struct pmm_stats *s, unsigned order)
{
    char block[FMT_BYTES_MAX], size[FMT_BYTES_MAX];

    kprintf("%5u %10s %9llu %10s", order, fmt_bytes(block, MM_PAGE_SIZE << order),
            (unsigned long long)s->free_blocks[order],
            size_text(size, s->free_blocks[order] << order));
}

static void show_detail(enum pmm_kind kind, const struct pmm_stats *s)
{
    const unsigned half = PMM_MAX_ORDER / 2 + 1;
    char size[FMT_BYTES_MAX], records[FMT_BYTES_MAX];
    uint64_t permille = s->free_frames != 0 ? s->outside_2m * 1000 / s->free_frames : 0;

    kprintf(STYLE_HEAD "\n%s: free blocks\norder      block    blocks       size  order      block"
                       "    blocks       size" STYLE_OFF "\n",
            vm_pool_name(kind));
    for (unsigned order = 0; order < half; order++) {
        show_order(s, order);
        if (order + half <= PMM_MAX_ORDER) {
            kputs("  ");
            show_order(s, order + half);
        }
        kputs("\n");
    }
    kprintf("in no free 2 MiB block: %s, %llu.%llu %% of what is free\n",
            fmt_bytes(size, s->outside_2m << MM_PAGE_SHIFT), (unsigned long long)permille / 10,
            (unsigned long long)permille % 10);
    kprintf("below 4 GiB:            %s\n", fmt_bytes(size, s->below_4g_free << MM_PAGE_SHIFT));
    kprintf("metadata:               %s set aside, %s of frames; %llu of %llu GiB in use\n",
            fmt_bytes(size, s->storage_bytes), size_text(records, s->record_frames),
            (unsigned long long)s->open_sections, (unsigned long long)s->sections);
    kprintf("caches stopped:         %llu times; %llu requests refused\n",
            (unsigned long long)s->stops, (unsigned long long)s->refusals);
}

/* Counting everything empties the caches, so these come first. */
static void show_cpus(void)
{
    kputs(STYLE_HEAD "CPU  pool          in cache     zeroed    refills     blocks" STYLE_OFF "\n");
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        for (unsigned cpu = 0; vm_pools[kind] != NULL && cpu < pmm_ncpus(vm_pools[kind]); cpu++) {
            struct pmm_cpu_stats c;

            pmm_get_cpu_stats(vm_pools[kind], cpu, &c);
            if (kind == PMM_GENERAL || c.refills != 0) {
                kprintf("%3u  %-10s %11llu%11llu%11llu%11llu\n", cpu, vm_pool_name(kind),
                        (unsigned long long)c.cached_frames, (unsigned long long)c.zeroed_frames,
                        (unsigned long long)c.refills, (unsigned long long)c.blocks);
            }
        }
    }
    kputs("\n");
}

/* ---- provenance -------------------------------------------------------------------------------- */

/*
 * The descriptor that `pa` lay in, or MEMMAP_NODESC; the answer is the same up to *end. Where
 * descriptors overlap under a claim of ours, the first of them.
 */
static uint32_t origin(uint64_t pa, uint64_t *end)
{
    const struct memmap_region *r = memmap_find(&vm_map, pa);

    if (r != NULL) {
        *end = r->end;
        if (r->desc != MEMMAP_NODESC) {
            return r->desc;
        }
    }
    for (uint32_t i = 0; i < vm_map.ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(&vm_map, i);

        if (d.number_of_pages > (UINT64_MAX - d.physical_start) >> MM_PAGE_SHIFT) {
            continue; /* past the end of all addresses: memmap left it out, too */
        }
        if (pa >= d.physical_start && pa - d.physical_start < d.number_of_pages << MM_PAGE_SHIFT) {
            *end = mm_min(*end, d.physical_start + (d.number_of_pages << MM_PAGE_SHIFT));
            return i;
        }
        if (d.physical_start > pa) {
            *end = mm_min(*end, d.physical_start);
        }
    }
    return MEMMAP_NODESC;
}

static const char *origin_name(uint32_t desc)
{
    return desc != MEMMAP_NODESC ? memmap_type_name(memmap_desc(&vm_map, desc).type)
                                 : "in no descriptor";
}

/* All memory of one name. */
struct fate {
    const char *name;
    uint64_t total;
    uint64_t frames[PMM_STATES];
};

/* Add [base, end) to the row of its name. */
static void add_fate(struct fate *fates, unsigned *n, uint32_t desc, uint64_t base, uint64_t end)
{
    uint64_t count = (end - base) >> MM_PAGE_SHIFT, absent = count;
    const char *name = origin_name(desc);
    struct fate *f = fates;

    while (f < fates + *n && strcmp(f->name, name) != 0) {
        f++;
    }
    if (f == fates + *n) {
        MM_ASSERT(*n < MAX_TYPES); /* there are fewer names of types */
        (*n)++;
        *f = (struct fate){ .name = name };
    }
    f->total += count;
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        struct pmm_tally t;

        if (vm_pools[kind] != NULL) {
            pmm_get_tally(vm_pools[kind], pfn_of_pa(pa_make(base)), count, &t);
            for (unsigned state = PMM_ABSENT + 1; state < PMM_STATES; state++) {
                f->frames[state] += t.frames[state];
                absent -= t.frames[state];
            }
        }
    }
    f->frames[PMM_ABSENT] += absent;
}

static void show_fates(void)
{
    char total[FMT_BYTES_MAX], unused[FMT_BYTES_MAX], used[FMT_BYTES_MAX], held[FMT_BYTES_MAX],
        none[FMT_BYTES_MAX];
    struct fate fates[MAX_TYPES];
    unsigned n = 0;

    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];
        uint64_t end;

        for (uint64_t base = r->base; base < r->end; base = end) {
            uint32_t desc;

            end = r->end;
            desc = origin(base, &end);
            add_fate(fates, &n, desc, base, end);
        }
    }
    kputs(STYLE_HEAD
          "\nfirmware's type            size        free        used  held or bad  in no "
          "pool" STYLE_OFF "\n");
    for (unsigned i = 0; i < n; i++) {
        const struct fate *f = &fates[i];

        kprintf("%-19s %11s %11s %11s %12s %11s\n", f->name, size_text(total, f->total),
                size_text(unused, f->frames[PMM_FREE]), size_text(used, f->frames[PMM_USED]),
                size_text(held, f->frames[PMM_HELD] + f->frames[PMM_BAD]),
                size_text(none, f->frames[PMM_ABSENT]));
    }
}

/* ---- out of service ---------------------------------------------------------------------------- */

static void show_bad(const struct pmm_stats stats[PMM_KINDS])
{
    char size[FMT_BYTES_MAX];
    bool any = false;

    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        uint64_t count, end;
        pfn_t base;

        for (unsigned i = 0;
             vm_pools[kind] != NULL && pmm_get_bad(vm_pools[kind], i, &base, &count); i++) {
            if (!any) {
                kputs(STYLE_HEAD
                      "\nout of service             size  pool        firmware's type" STYLE_OFF
                      "\n");
            }
            any = true;
            end = UINT64_MAX;
            kprintf(STYLE_BAD "%012llx %012llx" STYLE_OFF " %10s  %-10s  %s\n",
                    (unsigned long long)pa_of_pfn(base).v,
                    (unsigned long long)(pa_of_pfn(base).v + (count << MM_PAGE_SHIFT)),
                    fmt_bytes(size, count << MM_PAGE_SHIFT), vm_pool_name(kind),
                    origin_name(origin(pa_of_pfn(base).v, &end)));
        }
        if (vm_pools[kind] != NULL && stats[kind].leaving_frames != 0) {
            kprintf("%s of it, in the %s pool, are still in use\n",
                    fmt_bytes(size, stats[kind].leaving_frames << MM_PAGE_SHIFT),
                    vm_pool_name(kind));
        }
    }
    if (!any) {
        kputs("\nout of service: nothing\n");
    }
}

/* ---- the command ------------------------------------------------------------------------------- */

static int frames_totals(const struct args *a)
{
    struct pmm_stats stats[PMM_KINDS];

    (void)a;
    show_cpus();
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        if (vm_pools[kind] != NULL) {
            pmm_get_stats(vm_pools[kind], &stats[kind]);
        }
    }
    show_pools(stats);
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        if (vm_pools[kind] != NULL && stats[kind].total_frames >= HUGE_FRAMES) {
            show_detail(kind, &stats[kind]);
        }
    }
    frames_show_table();
    show_fates();
    show_bad(stats);
    return 0;
}

static int frames_at(const struct args *a)
{
    static const char *const states[PMM_STATES] = {
        [PMM_ABSENT] = "absent", [PMM_FREE] = "free",          [PMM_USED] = "in use",
        [PMM_HELD] = "held",     [PMM_BAD] = "out of service",
    };
    uint64_t pa, end = UINT64_MAX;
    const struct memmap_region *r;
    struct pmm *pool;
    char attr[128];
    uint32_t desc;
    pfn_t pfn;

    if (!args_number(a, "ADDR", a->operand[1], 0, MAX_PA, &pa)) {
        return 1;
    }
    pfn = pfn_of_pa(pa_make(pa));
    pool = vm_pool_of(pfn);
    r = memmap_find(&vm_map, pa);
    desc = origin(pa, &end);

    kprintf("frame 0x%llx, 0x%llx..0x%llx\n", (unsigned long long)pfn.v,
            (unsigned long long)pa_of_pfn(pfn).v,
            (unsigned long long)(pa_of_pfn(pfn).v + MM_PAGE_SIZE));
    if (desc != MEMMAP_NODESC) {
        struct efi_memory_descriptor d = memmap_desc(&vm_map, desc);

        memmap_attr_text(d.attribute, attr, sizeof(attr));
        kprintf("firmware: %s, descriptor #%u, %llu pages at 0x%llx, %s\n",
                memmap_type_name(d.type), desc, (unsigned long long)d.number_of_pages,
                (unsigned long long)d.physical_start, attr[0] != '\0' ? attr : "no attributes");
    } else {
        kputs("firmware: in no descriptor\n");
    }
    if (r != NULL) {
        kprintf("region:   %s, 0x%llx..0x%llx%s\n", memmap_kind_name(r->kind),
                (unsigned long long)r->base, (unsigned long long)r->end,
                r->desc == MEMMAP_NODESC ? ", claimed by Plat" : "");
    } else {
        kputs("region:   none\n");
    }
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        if (pool != NULL && vm_pools[kind] == pool) {
            kprintf("pool:     %s\nstate:    %s\n", vm_pool_name(kind),
                    states[pmm_get_state(pool, pfn)]);
        }
    }
    if (pool == NULL) {
        kputs("pool:     none\n");
    }
    frames_show_entry(pfn);
    return 0;
}

static int frames_who(const struct args *a)
{
    uint64_t pa, site, offset;
    struct pmm *pool;
    const char *name;
    pfn_t pfn;

    if (!args_number(a, "ADDR", a->operand[1], 0, MAX_PA, &pa)) {
        return 1;
    }
    pfn = pfn_of_pa(pa_make(pa));
    pool = vm_pool_of(pfn);
    if (pool == NULL) {
        return args_error(a, "frame 0x%llx is in no pool", (unsigned long long)pfn.v);
    }
    if (!pmm_who(pool, pfn, &site)) {
        return args_error(a, "frame 0x%llx: " NOBODY, (unsigned long long)pfn.v);
    }
    name = ksym_find(site, &offset);
    kprintf("frame 0x%llx was taken by 0x%llx, %s+0x%llx\n", (unsigned long long)pfn.v,
            (unsigned long long)site, name != NULL ? name : "?",
            (unsigned long long)(name != NULL ? offset : 0));
    return 0;
}

static int frames_drain(const struct args *a)
{
    (void)a;
    for (unsigned kind = 0; kind < PMM_KINDS; kind++) {
        struct pmm_cpu_stats before, after;
        unsigned cpu = port_cpu();

        if (vm_pools[kind] != NULL) {
            pmm_get_cpu_stats(vm_pools[kind], cpu, &before);
            pmm_idle(vm_pools[kind]);
            pmm_get_cpu_stats(vm_pools[kind], cpu, &after);
            kprintf("%-10s CPU %u gave %llu frames back\n", vm_pool_name(kind), cpu,
                    (unsigned long long)(before.cached_frames - after.cached_frames));
        }
    }
    return 0;
}

static const struct {
    const char *word;
    unsigned min, max; /* operands, the word included */
    int (*run)(const struct args *a);
} subcommands[] = {
    { "map", 1, 3, frames_map },     { "test", 1, MONITOR_MAX_ARGS, frames_test },
    { "at", 2, 2, frames_at },       { "who", 2, 2, frames_who },
    { "drain", 1, 1, frames_drain },
};

static int cmd_frames(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "", 0, MONITOR_MAX_ARGS)) {
        return 1;
    }
    if (a.n == 0) {
        return frames_totals(&a);
    }
    for (size_t i = 0; i < MM_COUNTOF(subcommands); i++) {
        if (strcmp(a.operand[0], subcommands[i].word) != 0) {
            continue;
        }
        if (a.n < subcommands[i].min || a.n > subcommands[i].max) {
            return args_fail(&a, "%s: too %s words", subcommands[i].word,
                             a.n < subcommands[i].min ? "few" : "many");
        }
        return subcommands[i].run(&a);
    }
    return args_fail(&a, "there is no \"frames %s\"", a.operand[0]);
}

MONITOR_COMMAND(frames) = {
    .name = "frames",
    .args = "[map [ADDR [SIZE]] | at ADDR | who ADDR | drain | test [WORD...]]",
    .brief = "the pools of page frames: what is free, where, and what it was",
    .help = "Free memory is shown in blocks that are as large as their alignment and what\n"
            "is free around them allow: order n is 2^n frames of 4 KiB. \"held\" is what is\n"
            "not for giving: the kernel's own, the pool's records, what firmware still has.\n"
            "  map    draw memory, or [ADDR, ADDR + SIZE) of it (SIZE: 4 MiB), a character\n"
            "         for each piece of equal size; what has no memory in it is left out\n"
            "  at     what the frame was in firmware's map, and what it is now\n"
            "  who    which function took the frame (a debug build)\n"
            "  drain  give back the frames that this processor keeps at hand\n"
            "  test   [ADDR [SIZE]] [seed=N] [passes=N] [faulty=ADDR:MASK]: test what is\n"
            "         free, take out of service what fails; faulty plays stuck bits\n"
            "ADDR is physical.\n",
    .run = cmd_frames,
};
