/*
 * mapshow.c - colours, the bar, and the answer to "what is at this address?".
 */
#include "mm/mapshow.h"

#include "mm/mapsum.h"
#include "mm/port.h"

#define ATTR_TEXT_BYTES 160

/* ---- colours --------------------------------------------------------------------------------- */

struct look {
    char letter;       /* in the bar */
    const char *style; /* of text */
    const char *bar;   /* black on the colour */
};

static const struct look looks[MEMMAP_KINDS] = {
    [MEMMAP_FREE] = { '.', "\033[32m", "\033[30;42m" },
    [MEMMAP_FREE_AFTER_EXIT] = { 'e', "\033[92m", "\033[30;102m" },
    [MEMMAP_FREE_AFTER_ACPI] = { 'A', "\033[36m", "\033[30;46m" },
    [MEMMAP_SPECIAL] = { 'S', "\033[35m", "\033[30;45m" },
    [MEMMAP_PERSISTENT] = { 'P', "\033[35m", "\033[30;45m" },
    [MEMMAP_KERNEL] = { 'K', "\033[94m", "\033[30;104m" },
    [MEMMAP_RUNTIME_DATA] = { 'r', "\033[33m", "\033[30;43m" },
    [MEMMAP_RUNTIME_CODE] = { 'R', "\033[93m", "\033[30;103m" },
    [MEMMAP_ACPI_NVS] = { 'N', "\033[33m", "\033[30;43m" },
    [MEMMAP_UNACCEPTED] = { 'U', "\033[31m", "\033[30;41m" },
    [MEMMAP_RESERVED] = { '-', "\033[37m", "\033[30;47m" },
    [MEMMAP_MMIO] = { 'M', "\033[90m", "\033[30;100m" },
    [MEMMAP_BAD] = { 'X', "\033[91m", "\033[97;41m" },
};

const char *mapshow_kind_style(enum memmap_kind kind)
{
    return kind < MEMMAP_KINDS ? looks[kind].style : "";
}

char mapshow_kind_letter(enum memmap_kind kind)
{
    return kind < MEMMAP_KINDS ? looks[kind].letter : '?';
}

const char *mapshow_severity_style(uint32_t severity)
{
    switch (severity) {
    case MEMMAP_ERROR:
        return "\033[91m";
    case MEMMAP_WARN:
        return "\033[33m";
    default:
        return "";
    }
}

static void put_style(const struct mm_sink *to, const struct mapshow *show, const char *style)
{
    if (show->colour) {
        mm_put_str(to, style);
    }
}

/* ---- an address ------------------------------------------------------------------------------ */

/* ", attributes UC|WB"; "-" for none, "?" if nobody knows. */
static void put_attributes(const struct mm_sink *to, const struct mapshow *show, uint64_t attr)
{
    char text[ATTR_TEXT_BYTES];

    mm_put_str(to, ", attributes ");
    if (memmap_attr_text(attr, text, sizeof(text)) != 0) {
        mm_put_str(to, text);
    } else {
        mm_put_char(to, show->attr_known != 0 ? '-' : '?');
    }
}

/* "0x7e6ed000-0x7e7ecfff": the last byte and not the end, which may be 2^64. */
static void put_range(const struct mm_sink *to, uint64_t base, uint64_t last)
{
    mm_put_hex(to, base, 1);
    mm_put_char(to, '-');
    mm_put_hex(to, last, 1);
}

static void put_region(const struct mm_sink *to, const struct mapshow *show, uint64_t addr,
                       const struct memmap_region *r)
{
    put_style(to, show, mapshow_kind_style(r->kind));
    mm_put_str(to, memmap_kind_name(r->kind));
    put_style(to, show, MAPSHOW_OFF);
    mm_put_str(to, ", ");
    mm_put_hex(to, addr - r->base, 1);
    mm_put_str(to, " into ");
    put_range(to, r->base, r->end - 1);
    mm_put_str(to, " (");
    mm_put_size(to, r->end - r->base, 0);
    mm_put_char(to, ')');
    if (r->desc == MEMMAP_NODESC) {
        mm_put_str(to, ", claimed by the kernel");
    } else {
        mm_put_str(to, ", ");
        mm_put_str(to, memmap_type_name(r->type));
        put_attributes(to, show, r->attr);
    }
    mm_put_char(to, '\n');
}

static void put_hole(const struct mm_sink *to, const struct memmap *m, uint64_t addr)
{
    uint64_t base = 0;
    uint64_t last = UINT64_MAX;

    for (uint32_t i = 0; i < m->nregions && last == UINT64_MAX; i++) {
        if (m->regions[i].base > addr) {
            last = m->regions[i].base - 1;
        } else {
            base = m->regions[i].end;
        }
    }
    mm_put_str(to, "in no region; the map says nothing about ");
    put_range(to, base, last);
    mm_put_char(to, '\n');
}

/* There may be several, or one that was left out. */
static void put_descriptors(const struct mm_sink *to, const struct mapshow *show, uint64_t addr)
{
    for (uint32_t i = 0; i < show->map->ndescs; i++) {
        struct efi_memory_descriptor d = memmap_desc(show->map, i);

        if (addr < d.physical_start ||
            (addr - d.physical_start) >> MM_PAGE_SHIFT >= d.number_of_pages) {
            continue;
        }
        mm_put_str(to, "descriptor ");
        mm_put_u64(to, i, 0);
        mm_put_str(to, ": ");
        mm_put_str(to, memmap_type_name(d.type));
        mm_put_str(to, " at ");
        mm_put_hex(to, d.physical_start, 1);
        mm_put_str(to, ", ");
        mm_put_u64(to, d.number_of_pages, 0);
        mm_put_str(to, " pages");
        put_attributes(to, show, d.attribute);
        if (show->lines != NULL) {
            mm_put_str(to, " (line ");
            mm_put_u64(to, show->lines[i], 0);
            mm_put_char(to, ')');
        }
        mm_put_char(to, '\n');
    }
}

bool mapshow_put_at(const struct mm_sink *to, const struct mapshow *show,
                    const struct maplint_result *lint, uint64_t addr)
{
    const struct memmap_region *r = memmap_find(show->map, addr);

    mm_put_hex(to, addr, 1);
    mm_put_str(to, ": ");
    if (r != NULL) {
        put_region(to, show, addr, r);
    } else {
        put_hole(to, show->map, addr);
    }
    put_descriptors(to, show, addr);
    for (uint32_t i = 0; i < lint->n; i++) {
        const struct memmap_finding *f = &lint->findings[i];

        if (addr >= f->base && addr < f->end) {
            put_style(to, show, mapshow_severity_style(f->severity));
            maplint_put_finding(to, f);
            put_style(to, show, MAPSHOW_OFF);
            mm_put_char(to, '\n');
        }
    }
    return r != NULL;
}

/* ---- the bar --------------------------------------------------------------------------------- */

/* What each letter means, of the kinds that were drawn, on a line that is `used` wide by now. */
static void put_legend(const struct mm_sink *to, const struct mapshow *show, uint32_t drawn,
                       size_t used)
{
    for (uint32_t kind = 0; kind < MEMMAP_KINDS; kind++) {
        const char *name = memmap_kind_name(kind);
        size_t width = 4; /* two blanks, the letter, a blank */

        if ((drawn >> kind & 1) == 0) {
            continue;
        }
        for (const char *s = name; *s != '\0'; s++) {
            width++;
        }
        mm_put_str(to, used + width <= MAPSHOW_MAX_COLUMNS ? "  " : "\n  ");
        used = used + width <= MAPSHOW_MAX_COLUMNS ? used + width : width;
        put_style(to, show, looks[kind].bar);
        mm_put_char(to, looks[kind].letter);
        put_style(to, show, MAPSHOW_OFF);
        mm_put_char(to, ' ');
        mm_put_str(to, name);
    }
    mm_put_char(to, '\n');
}

void mapshow_put_bar(const struct mm_sink *to, const struct mapshow *show, uint32_t ncolumns)
{
    struct mapsum_column columns[MAPSHOW_MAX_COLUMNS];
    uint32_t drawn = 0; /* bit n: kind n */
    uint64_t total;

    MM_ASSERT(ncolumns > 0 && ncolumns <= MAPSHOW_MAX_COLUMNS);
    total = mapsum_bar(show->map, columns, ncolumns);
    if (total == 0) {
        return;
    }
    for (uint32_t i = 0; i < ncolumns; i++) {
        uint32_t kind = columns[i].kind;

        if (i == 0 || kind != columns[i - 1].kind) {
            put_style(to, show, looks[kind].bar);
        }
        mm_put_char(to, looks[kind].letter);
        drawn |= UINT32_C(1) << kind;
    }
    put_style(to, show, MAPSHOW_OFF);
    mm_put_str(to, "\na column: ");
    mm_put_size(to, total / ncolumns, 0);
    put_legend(to, show, drawn, 10 + MM_SIZE_CHARS);
}

/* ---- findings -------------------------------------------------------------------------------- */

static void put_number_of(const struct mm_sink *to, const char *before, uint64_t n,
                          const char *what)
{
    mm_put_str(to, before);
    mm_put_u64(to, n, 0);
    mm_put_char(to, ' ');
    mm_put_str(to, what);
    mm_put_str(to, n == 1 ? "" : "s");
}

void mapshow_put_count(const struct mm_sink *to, const struct maplint_result *lint)
{
    put_number_of(to, "", lint->count[MEMMAP_ERROR], "error");
    put_number_of(to, ", ", lint->count[MEMMAP_WARN], "warning");
    put_number_of(to, ", ", lint->count[MEMMAP_INFO], "info");
    if (lint->lost != 0) {
        put_number_of(to, "; and there was no room for ", lint->lost, "finding");
    }
}
