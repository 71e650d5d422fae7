/*
 * menu_at.c - "what is at this address?": an address as a person types it, and the answer.
 */
#include "menu_ui.h"

#include "mm/mapshow.h"

#define AROUND 2u /* regions on either side */

/* ---- the question ---------------------------------------------------------------------------- */

static bool take_digit(char c, unsigned base, uint64_t *v)
{
    unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                     : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                     : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                            : base;

    if (digit >= base || *v > (UINT64_MAX - digit) / base) {
        return false;
    }
    *v = *v * base + digit;
    return true;
}

static unsigned unit_shift(char c)
{
    switch (c) {
    case 'k':
    case 'K':
        return 10;
    case 'm':
    case 'M':
        return 20;
    case 'g':
    case 'G':
        return 30;
    case 't':
    case 'T':
        return 40;
    default:
        return 0;
    }
}

bool menu_address(const char *text, uint64_t *address)
{
    size_t at = 0, n = 0;
    unsigned shift, base = 16;
    uint64_t v = 0;

    while (text[at] == ' ') {
        at++;
    }
    while (text[at + n] != '\0' && text[at + n] != ' ') {
        n++;
    }
    for (size_t i = at + n; text[i] != '\0'; i++) {
        if (text[i] != ' ') {
            return false;
        }
    }
    shift = n > 0 ? unit_shift(text[at + n - 1]) : 0;
    if (shift != 0) {
        base = 10;
        n--;
    } else if (n > 2 && text[at] == '0' && (text[at + 1] == 'x' || text[at + 1] == 'X')) {
        at += 2;
        n -= 2;
    }
    for (size_t i = 0; i < n; i++) {
        if (!take_digit(text[at + i], base, &v)) {
            return false;
        }
    }
    if (n == 0 || v > UINT64_MAX >> shift) {
        return false;
    }
    *address = v << shift;
    return true;
}

/* ---- the answer ------------------------------------------------------------------------------ */

/* A region, or a hole, as a line of what is around. */
static void put_line(const struct mm_sink *to, bool is_here, uint64_t base, uint64_t end,
                     const struct memmap_region *r)
{
    char text[48];
    struct mm_text t;
    struct mm_sink sink = mm_text_sink(&t, text, sizeof(text));

    menu_put_range(&sink, base, end);
    mm_put_str(to, is_here ? "> " : "  ");
    mm_put_left(to, text, 26);
    mm_put_size(to, end - base, MM_SIZE_CHARS);
    mm_put_str(to, "  ");
    if (r != NULL) {
        menu_put_kind(to, r->kind, 17);
        mm_put_str(to, r->desc != MEMMAP_NODESC ? memmap_type_name(r->type) : "");
    } else {
        mm_put_str(to, "in no region");
    }
    mm_put_char(to, '\n');
}

/* The regions about the address, and the holes between them. */
static void put_around(const struct mm_sink *to, const struct memmap *m, uint64_t address)
{
    uint32_t i = 0, last;
    uint64_t at;

    while (i < m->nregions && m->regions[i].end <= address) {
        i++;
    }
    last = (uint32_t)mm_min(m->nregions, (uint64_t)i + AROUND + 1);
    i = i > AROUND ? i - AROUND : 0;
    at = i > 0 ? m->regions[i - 1].end : 0;
    for (; i < last; i++) {
        const struct memmap_region *r = &m->regions[i];

        if (r->base > at) {
            put_line(to, address >= at && address < r->base, at, r->base, NULL);
        }
        put_line(to, address >= r->base && address < r->end, r->base, r->end, r);
        at = r->end;
    }
    if (last == m->nregions && at != UINT64_MAX) {
        put_line(to, address >= at, at, UINT64_MAX, NULL);
    }
}

/* Something that firmware keeps at `address`, if that is in the region; *n of them so far. */
static void put_thing(const struct mm_sink *to, const struct memmap_region *r, uint64_t address,
                      const char *what, const char *name, uint32_t *n)
{
    if (address < r->base || address >= r->end) {
        return;
    }
    if ((*n)++ == 0) {
        mm_put_char(to, '\n');
        menu_put_heading(to, "Known to begin in this region");
    }
    mm_put_str(to, "  ");
    mm_put_hex(to, address, 8);
    mm_put_str(to, "  ");
    mm_put_str(to, what);
    menu_put_text(to, name, "", 0);
    mm_put_char(to, '\n');
}

static void put_things(const struct mm_sink *to, const struct report *report,
                       const struct memmap_region *r)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < report->ntables; i++) {
        const char *name = report_guid_name(report->tables[i].guid);

        put_thing(to, r, report->tables[i].address,
                  "configuration table: ", name != NULL ? name : "without a name", &n);
    }
    for (uint32_t i = 0; i < report->nacpi; i++) {
        put_thing(to, r, report->acpi[i].address, "ACPI table ", report->acpi[i].signature, &n);
    }
    for (uint32_t i = 0; i < report->npci_config; i++) {
        put_thing(to, r, report->pci_config[i].base, "PCI configuration space", "", &n);
    }
    for (uint32_t i = 0; i < report->nframebuffers; i++) {
        put_thing(to, r, report->framebuffers[i].base, "frame buffer", "", &n);
    }
}

void menu_put_at(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    const struct inspect *in = m->in;
    uint64_t address = *(const uint64_t *)ctx;
    const struct memmap_region *r = memmap_find(&in->map, address);
    const struct mapshow show = { .map = &in->map, .attr_known = UINT64_MAX };

    (void)mapshow_put_at(to, &show, &in->lint, address);
    if (r != NULL) {
        mm_put_char(to, '\n');
        mm_put_str(to, menu_kinds[r->kind].meaning);
        mm_put_char(to, '\n');
    }
    mm_put_char(to, '\n');
    menu_put_heading(to, "Around it");
    put_around(to, &in->map, address);
    if (r != NULL) {
        put_things(to, &in->report, r);
    }
}
