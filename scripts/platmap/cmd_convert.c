/*
 * cmd_convert.c - convert: a map in the formats of others.
 *
 * What Linux is told follows what Linux makes of an EFI map itself (arch/x86/platform/efi/efi.c,
 * do_add_efi_memmap): loader and boot services memory is usable, runtime services, MMIO and what it
 * does not know are reserved. The regions are those of the normalised map, without overlaps.
 */
#include "platmap.h"

#include <stdlib.h>
#include <string.h>

/* ---- e820 ------------------------------------------------------------------------------------ */

/* Linux, arch/x86/include/asm/e820/types.h. */
enum e820_type {
    E820_RAM = 1,
    E820_RESERVED = 2,
    E820_ACPI = 3,
    E820_NVS = 4,
    E820_UNUSABLE = 5,
    E820_PMEM = 7,
};
#define E820_SOFT_RESERVED UINT32_C(0xefffffff)

struct e820_range {
    uint64_t base; /* bytes */
    uint64_t end;
    uint32_t type; /* enum e820_type */
};

static uint32_t e820_type_of(enum memmap_kind kind)
{
    switch (kind) {
    case MEMMAP_FREE:
    case MEMMAP_FREE_AFTER_EXIT:
    case MEMMAP_KERNEL:
        return E820_RAM;
    case MEMMAP_FREE_AFTER_ACPI:
        return E820_ACPI;
    case MEMMAP_ACPI_NVS:
        return E820_NVS;
    case MEMMAP_BAD:
        return E820_UNUSABLE;
    case MEMMAP_PERSISTENT:
        return E820_PMEM;
    case MEMMAP_SPECIAL:
        return E820_SOFT_RESERVED;
    default:
        return E820_RESERVED;
    }
}

/* The next run of regions of one type from region *i on; false when there are no more. */
static bool e820_next(const struct memmap *m, uint32_t *i, struct e820_range *range)
{
    if (*i == m->nregions) {
        return false;
    }
    *range = (struct e820_range){ .base = m->regions[*i].base,
                                  .end = m->regions[*i].base,
                                  .type = e820_type_of(m->regions[*i].kind) };
    while (*i < m->nregions && m->regions[*i].base == range->end &&
           e820_type_of(m->regions[*i].kind) == range->type) {
        range->end = m->regions[(*i)++].end;
    }
    return true;
}

/* As Linux logs what a BIOS says (arch/x86/kernel/e820.c, e820_print_type). */
static const char *e820_name(uint32_t type)
{
    switch (type) {
    case E820_RAM:
        return "usable";
    case E820_ACPI:
        return "ACPI data";
    case E820_NVS:
        return "ACPI NVS";
    case E820_UNUSABLE:
        return "unusable";
    case E820_PMEM:
        return "persistent (type 7)";
    case E820_SOFT_RESERVED:
        return "soft reserved";
    default:
        return "reserved";
    }
}

static bool put_e820(const struct mm_sink *to, const struct input *in)
{
    struct e820_range range;
    uint32_t i = 0;

    say(to, "BIOS-provided physical RAM map:\n");
    while (e820_next(&in->map, &i, &range)) {
        say(to, "BIOS-e820: [mem 0x%016llx-0x%016llx] %s\n", (unsigned long long)range.base,
            (unsigned long long)(range.end - 1), e820_name(range.type));
    }
    return true;
}

/* ---- words for a kernel's command line ------------------------------------------------------- */

/*
 * Linux, Documentation/admin-guide/kernel-parameters.txt, memmap=: size@start is usable, size#start
 * ACPI data, size$start reserved; size%start+type anything, by its number in e820.
 */
static bool put_memmap(const struct mm_sink *to, const struct input *in)
{
    struct e820_range range;
    uint32_t i = 0;

    say(to, "memmap=exactmap");
    while (e820_next(&in->map, &i, &range)) {
        char mark = range.type == E820_RAM        ? '@'
                    : range.type == E820_ACPI     ? '#'
                    : range.type == E820_RESERVED ? '$'
                                                  : '%';

        say(to, " memmap=0x%llx%c0x%llx", (unsigned long long)(range.end - range.base), mark,
            (unsigned long long)range.base);
        if (mark == '%') {
            say(to, "+0x%x", range.type);
        }
    }
    say(to, "\n");
    return true;
}

/*
 * Memory with errors as pairs of address and mask, as GRUB (badram) and the BadRAM patch take them:
 * an address is bad if it agrees with the first number in all bits of the second. Exactly, in
 * naturally aligned blocks, each as large as fits.
 */
static bool put_badram(const struct mm_sink *to, const struct input *in)
{
    const char *before = "badram=";

    for (uint32_t i = 0; i < in->map.nregions; i++) {
        const struct memmap_region *r = &in->map.regions[i];
        uint64_t at = r->base;

        while (r->kind == MEMMAP_BAD && at < r->end) {
            uint64_t block = at != 0 ? at & -at : UINT64_C(1) << 63;

            while (block > r->end - at) {
                block >>= 1;
            }
            say(to, "%s0x%llx,0x%llx", before, (unsigned long long)at, (unsigned long long)-block);
            before = ",";
            at += block;
        }
    }
    if (*before == 'b') {
        complain(
            "%s: the map names no memory with errors (type Unusable): nothing to say to badram",
            in->name);
        return true;
    }
    say(to, "\n");
    return true;
}

/* ---- ours ------------------------------------------------------------------------------------ */

/* A report of a machine stays as it is; one made here gets its findings first. */
static bool put_report_by(const struct mm_sink *to, const struct input *in,
                          void (*put)(const struct mm_sink *to, const struct report *r))
{
    struct report r = in->report;
    struct maplint_result lint = { .findings = NULL };

    if (in->found.format != MAPFILE_REPORT) {
        lint = input_lint(in);
        report_set_findings(&r, REPORT_FILE, &lint);
    }
    put(to, &r);
    free(lint.findings);
    return true;
}

static void write_pretty(const struct mm_sink *to, const struct report *r)
{
    report_write(r, to, JSON_PRETTY);
}

static void write_line(const struct mm_sink *to, const struct report *r)
{
    report_write(r, to, JSON_LINE);
}

static bool put_report(const struct mm_sink *to, const struct input *in)
{
    return put_report_by(to, in, write_pretty);
}

static bool put_line(const struct mm_sink *to, const struct input *in)
{
    return put_report_by(to, in, write_line);
}

static bool put_text(const struct mm_sink *to, const struct input *in)
{
    return put_report_by(to, in, report_put_text);
}

static bool has_descriptors(const struct input *in)
{
    if (in->map.ndescs == 0) {
        complain("%s: there are no descriptors in this map", in->name);
        return false;
    }
    return true;
}

static bool put_csv(const struct mm_sink *to, const struct input *in)
{
    if (!has_descriptors(in)) {
        return false;
    }
    report_put_csv(to, &in->map.raw);
    return true;
}

static bool put_jsonl(const struct mm_sink *to, const struct input *in)
{
    if (!has_descriptors(in)) {
        return false;
    }
    report_put_jsonl(to, &in->map.raw);
    return true;
}

/* ---- the command ----------------------------------------------------------------------------- */

static const struct format {
    const char *name;
    bool (*put)(const struct mm_sink *to, const struct input *in);
    bool is_report; /* it says itself whether the map is whole */
    bool is_many;   /* any number of maps, one after another */
} formats[] = {
    { "json", put_report, true, false },    { "reports", put_line, true, true },
    { "text", put_text, true, false },      { "csv", put_csv, false, false },
    { "jsonl", put_jsonl, false, false },   { "e820", put_e820, false, false },
    { "memmap", put_memmap, false, false }, { "badram", put_badram, false, false },
};

struct converting {
    const struct args *args;
    const struct format *format;
};

static int convert_one(void *ctx, struct input *in)
{
    const struct converting *c = ctx;

    input_assume_arch(in, c->args->arch);
    if (!in->capture->is_whole && !c->format->is_report) {
        complain("note: %s: " NOT_WHOLE, in->name);
    }
    return c->format->put(c->args->to, in) ? STATUS_OK : STATUS_TROUBLE;
}

static int convert_many(struct converting *c)
{
    const struct args *a = c->args;
    int status = STATUS_OK;

    for (int i = 0; i < a->nwords; i++) {
        status = worse_of(status, input_each(a->words[i], a->option[OPT_MAP], convert_one, c));
    }
    return status;
}

int cmd_convert(const struct args *a)
{
    struct converting c = { .args = a, .format = formats };
    const char *name = a->option[OPT_TO];
    struct input in;
    int status;

    if (name == NULL) {
        complain("convert: --to FORMAT is missing");
        return STATUS_TROUBLE;
    }
    while (c.format < formats + MM_COUNTOF(formats) && strcmp(name, c.format->name) != 0) {
        c.format++;
    }
    if (c.format == formats + MM_COUNTOF(formats)) {
        complain("convert: there is no format %s; see platmap convert --help", name);
        return STATUS_TROUBLE;
    }
    if (c.format->is_many) {
        return convert_many(&c);
    }
    if (a->nwords != 1) {
        complain("convert: one file at a time; --to reports takes several");
        return STATUS_TROUBLE;
    }
    if (!input_open(&in, a->words[0], a->option[OPT_MAP])) {
        return STATUS_TROUBLE;
    }
    status = convert_one(&c, &in);
    input_close(&in);
    return status;
}
