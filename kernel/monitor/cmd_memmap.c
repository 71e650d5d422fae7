/*
 * memmap: what firmware handed over, and what became of it.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "mm/mapshow.h"
#include "mm/mapsum.h"
#include "monitor/args.h"
#include "monitor/printer.h"
#include "monitor/style.h"
#include "survey.h"
#include "vm.h"

#define BAR_COLUMNS 79u

static void show_regions(void)
{
    char size[FMT_BYTES_MAX];

    kprintf(STYLE_HEAD "%-12s %-12s %10s  %-15s  %-19s  from" STYLE_OFF "\n", "base", "end", "size",
            "kind", "type");
    for (uint32_t i = 0; i < vm_map.nregions; i++) {
        const struct memmap_region *r = &vm_map.regions[i];

        kprintf("%012llx %012llx %10s  %s%-15s" STYLE_OFF "  ", (unsigned long long)r->base,
                (unsigned long long)r->end, fmt_bytes(size, r->end - r->base),
                mapshow_kind_style(r->kind), memmap_kind_name(r->kind));
        if (r->desc == MEMMAP_NODESC) {
            kprintf("%-19s  us\n", "-");
        } else {
            kprintf("%-19s  #%u\n", memmap_type_name(r->type), r->desc);
        }
    }
    kprintf("%u regions from %u descriptors" STYLE_HEAD "; ends are not included" STYLE_OFF "\n",
            vm_map.nregions, vm_map.ndescs);
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
                fmt_bytes(size, nbytes), mapshow_kind_style(memmap_kind_of(d.type, d.attribute)),
                memmap_type_name(d.type), attr[0] != '\0' ? attr : "-");
    }
}

static struct mapshow show_of_all(void)
{
    return (struct mapshow){ .map = &vm_map, .colour = true, .attr_known = UINT64_MAX };
}

static int show_sums(void)
{
    const struct mapshow show = show_of_all();
    struct printer p;
    struct mapsum s;

    mapsum_make(&s, &vm_map);
    printer_begin(&p, PRINTER_EVERYWHERE);
    mapshow_put_bar(&p.sink, &show, BAR_COLUMNS);
    mm_put_char(&p.sink, '\n');
    mapsum_put(&p.sink, &s);
    return printer_end(&p) ? 0 : 1;
}

static int show_address(const struct args *a)
{
    const struct mapshow show = show_of_all();
    struct survey *s;
    struct printer p;
    uint64_t addr;
    bool done;

    if (!args_number(a, "ADDR", a->operand[0], 0, UINT64_MAX, &addr)) {
        return 1;
    }
    s = survey_take();
    if (s == NULL) {
        return args_error(a, "not enough memory to look for findings");
    }
    printer_begin(&p, PRINTER_EVERYWHERE);
    (void)mapshow_put_at(&p.sink, &show, &s->lint, addr);
    done = printer_end(&p);
    survey_drop(s);
    return done ? 0 : 1;
}

static int cmd_memmap(int argc, char **argv)
{
    struct args a;

    if (!args_parse(&a, argc, argv, "rs", 0, 1) || !args_at_most_one(&a, "rs")) {
        return 1;
    }
    if (a.n == 1) {
        return args_has(&a, 'r') || args_has(&a, 's') ? args_fail(&a, "-r and -s take no address")
                                                      : show_address(&a);
    }
    if (args_has(&a, 's')) {
        return show_sums();
    }
    if (args_has(&a, 'r')) {
        show_descriptors();
    } else {
        show_regions();
    }
    return 0;
}

MONITOR_COMMAND(memmap) = {
    .name = "memmap",
    .args = "[-r | -s | ADDR]",
    .brief = "the memory map: regions, each with one kind",
    .help = "The regions are what became of firmware's descriptors: sorted, without\n"
            "overlap, one kind each. \"from\" is the descriptor; \"us\" means that Plat claimed\n"
            "the place.\n"
            "  -r    the descriptors as firmware gave them, with decoded attributes\n"
            "  -s    a bar of memory, and totals: usable when, by type, by use\n"
            "  ADDR  what is at a physical address: region, descriptors, findings\n"
            "lint says what is wrong with the map, report gives it to other programs.\n",
    .run = cmd_memmap,
};
