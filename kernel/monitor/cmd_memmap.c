/*
 * memmap: what firmware handed over.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "monitor/args.h"
#include "monitor/style.h"
#include "vm.h"

/* A colour for each kind, by what it means for us: ours, soon ours, firmware's, no memory. */
static const char *const kind_styles[MEMMAP_KINDS] = {
    [MEMMAP_FREE] = "\033[32m",
    [MEMMAP_FREE_AFTER_EXIT] = "\033[92m",
    [MEMMAP_FREE_AFTER_ACPI] = "\033[36m",
    [MEMMAP_SPECIAL] = "\033[35m",
    [MEMMAP_PERSISTENT] = "\033[35m",
    [MEMMAP_KERNEL] = "\033[94m",
    [MEMMAP_RUNTIME_DATA] = "\033[33m",
    [MEMMAP_RUNTIME_CODE] = "\033[93m",
    [MEMMAP_ACPI_NVS] = "\033[33m",
    [MEMMAP_UNACCEPTED] = "\033[31m",
    [MEMMAP_RESERVED] = "\033[37m",
    [MEMMAP_MMIO] = "\033[90m",
    [MEMMAP_BAD] = "\033[91m",
};

static void show_regions(void)
{
    char size[FMT_BYTES_MAX];

    kprintf(STYLE_HEAD "%-12s %-12s %10s  %-15s  %-19s  from" STYLE_OFF "\n", "base", "end", "size",
            "kind", "type");
    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];

        kprintf("%012llx %012llx %10s  %s%-15s" STYLE_OFF "  ", (unsigned long long)r->base,
                (unsigned long long)r->end, fmt_bytes(size, r->end - r->base), kind_styles[r->kind],
                memmap_kind_name(r->kind));
        if (r->desc == MEMMAP_NODESC) {
            kprintf("%-19s  us\n", "-");
        } else {
            kprintf("%-19s  #%u\n", memmap_type_name(r->type), r->desc);
        }
    }
    kprintf("%u regions from %u descriptors, %u findings" STYLE_HEAD
            " (-f); ends are not included" STYLE_OFF "\n",
            vm_map.nregions, vm_map.ndescs, vm_map.nfindings);
}

static void show_descriptors(void)
{
    char size[FMT_BYTES_MAX], attr[128];

    kprintf("%u descriptors of %llu bytes, version %u, %llu bytes in all\n", vm_map.ndescs,
            (unsigned long long)vm_map.raw.stride, vm_map.raw.version,
            (unsigned long long)vm_map.raw.nbytes);
    kputs(STYLE_HEAD
          "   #  start             pages       size  type                 attributes" STYLE_OFF
          "\n");
    for (uint32_t i = 0; i < vm_map.ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(&vm_map, i);
        uint64_t nbytes = d.number_of_pages <= UINT64_MAX >> MM_PAGE_SHIFT
                              ? d.number_of_pages << MM_PAGE_SHIFT
                              : UINT64_MAX;

        memmap_attr_text(d.attribute, attr, sizeof(attr));
        kprintf("%4u  %012llx %10llu %10s  %s%-19s" STYLE_OFF "  %s\n", i,
                (unsigned long long)d.physical_start, (unsigned long long)d.number_of_pages,
                fmt_bytes(size, nbytes), kind_styles[memmap_kind_of(d.type, d.attribute)],
                memmap_type_name(d.type), attr[0] != '\0' ? attr : "-");
    }
}

static void show_total(const char *style, const char *name, uint64_t count, uint64_t npages)
{
    char size[FMT_BYTES_MAX];

    kprintf("%s%-21s" STYLE_OFF "%8llu %14llu %12s\n", style, name, (unsigned long long)count,
            (unsigned long long)npages, fmt_bytes(size, npages << MM_PAGE_SHIFT));
}

/* Types in the order in which they first appear; every unknown one counts for itself. */
static void show_type_totals(void)
{
    uint64_t count = 0, npages = 0;

    kputs(STYLE_HEAD "type                 descriptors        pages         size" STYLE_OFF "\n");
    for (uint32_t i = 0; i < vm_map.ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(&vm_map, i);
        uint64_t type_count = 0, type_pages = 0;
        bool first = true;

        for (uint32_t j = 0; j < vm_map.ndescs && first; j++) {
            struct efi_memory_descriptor e = memmap_desc(&vm_map, j);

            if (e.type == d.type) {
                first = j >= i;
                type_count++;
                type_pages += e.number_of_pages;
            }
        }
        if (first) {
            show_total(kind_styles[memmap_kind_of(d.type, d.attribute)], memmap_type_name(d.type),
                       type_count, type_pages);
            count += type_count;
            npages += type_pages;
        }
    }
    show_total("", "in all", count, npages);
}

static void show_kind_totals(void)
{
    uint64_t npages = 0;

    kputs(STYLE_HEAD "kind                     regions        pages         size" STYLE_OFF "\n");
    for (unsigned kind = 0; kind < MEMMAP_KINDS; kind++) {
        uint64_t kind_pages = memmap_total(&vm_map, kind) >> MM_PAGE_SHIFT;
        uint64_t count = 0;

        for (uint32_t i = 0; i < vm_map.nregions; i++) {
            count += vm_map.regions[i].kind == kind;
        }
        if (count != 0) {
            show_total(kind_styles[kind], memmap_kind_name(kind), count, kind_pages);
            npages += kind_pages;
        }
    }
    show_total("", "in all", vm_map.nregions, npages);
}

static void show_findings(void)
{
    static const char *const severities[] = { "info", "warning", STYLE_BAD "error" STYLE_OFF };

    for (uint32_t i = 0; i < vm_map.nfindings; i++) {
        const struct memmap_finding *f = &vm_map.findings[i];

        kprintf("%s %s: %s\n", f->rule, severities[f->severity], f->what);
        if (f->desc != MEMMAP_NODESC) {
            kprintf("    descriptor #%u", f->desc);
            if (f->other != MEMMAP_NODESC) {
                kprintf(" and #%u", f->other);
            }
            kprintf(", 0x%llx..0x%llx\n", (unsigned long long)f->base, (unsigned long long)f->end);
        }
    }
    if (vm_map.lost_findings != 0) {
        kprintf("%u more, for which there was no room\n", vm_map.lost_findings);
    }
    kprintf("%u findings%s\n", vm_map.nfindings + vm_map.lost_findings,
            vm_map.nfindings == 0 ? ": nothing had to be repaired" : "");
}

static int cmd_memmap(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "rsf", 0, 0) || !args_at_most_one(&a, "rsf")) {
        return 1;
    }
    if (args_has(&a, 'r')) {
        show_descriptors();
    } else if (args_has(&a, 's')) {
        show_type_totals();
        kputs("\n");
        show_kind_totals();
    } else if (args_has(&a, 'f')) {
        show_findings();
    } else {
        show_regions();
    }
    return 0;
}

MONITOR_COMMAND(memmap) = {
    .name = "memmap",
    .args = "[-r | -s | -f]",
    .brief = "the memory map: regions, each with one kind",
    .help = "The regions are what became of firmware's descriptors: sorted, without\n"
            "overlap, one kind each. \"from\" is the descriptor; \"us\" means that Plat claimed\n"
            "the place.\n"
            "  -r  the descriptors as firmware gave them, with decoded attributes\n"
            "  -s  totals for each type (descriptors) and each kind (regions)\n"
            "  -f  findings: what is wrong with the map, and what was done about it\n",
    .run = cmd_memmap,
};
