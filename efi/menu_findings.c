/*
 * menu_findings.c - what is wrong with the map, or worth knowing: a list, and a page for each.
 */
#include "menu_ui.h"

#define WORD_CHARS 9u /* "warning", and a blank more */

static void findings_open(struct menu *m)
{
    m->list->n = m->in->lint.n;
}

static void findings_head(struct menu *m, const struct mm_sink *to)
{
    const struct maplint_result *lint = &m->in->lint;

    menu_put_count(to, lint->n, "finding", "findings");
    mm_put_str(to, " in the map");
    if (lint->lost > 0) {
        mm_put_str(to, ", and ");
        mm_put_u64(to, lint->lost, 0);
        mm_put_str(to, " more for which there was no room");
    }
    mm_put_str(to, lint->n == 0 && lint->lost == 0 ? ": no rule is broken" : "");
}

static void findings_row(struct menu *m, const struct mm_sink *to, uint32_t i)
{
    const struct memmap_finding *f = &m->in->lint.findings[i];

    menu_put_severity(to, f->severity, WORD_CHARS);
    mm_put_left(to, f->rule, 5);
    if (f->base != 0 || f->end != 0) {
        mm_put_hex(to, f->base, 1);
        mm_put_str(to, ": ");
    }
    if (f->subject != NULL) {
        mm_put_str(to, f->subject);
        mm_put_str(to, ": ");
    }
    mm_put_str(to, f->what);
}

static void put_descriptor(struct menu *m, const struct mm_sink *to, uint32_t i)
{
    struct efi_memory_descriptor d;

    if (i >= m->in->map.ndescs) { /* MEMMAP_NODESC, too */
        return;
    }
    d = memmap_desc(&m->in->map, i);
    menu_put_name(to, "Descriptor");
    mm_put_u64(to, i, 0);
    mm_put_str(to, ": ");
    mm_put_str(to, memmap_type_name(d.type));
    mm_put_str(to, " at ");
    mm_put_hex(to, d.physical_start, 1);
    mm_put_str(to, ", ");
    menu_put_count(to, d.number_of_pages, "page", "pages");
    mm_put_str(to, ", attributes ");
    menu_put_attr(to, d.attribute);
    mm_put_char(to, '\n');
}

static void finding_put(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    const struct memmap_finding *f = ctx;
    const struct maplint_rule *rule = maplint_rule(f->rule);

    menu_put_severity(to, f->severity, 0);
    mm_put_char(to, ' ');
    mm_put_str(to, f->rule);
    mm_put_str(to, "\n\n");
    if (f->subject != NULL) {
        menu_put_name(to, "About");
        mm_put_str(to, f->subject);
        mm_put_char(to, '\n');
    }
    if (f->end > f->base) {
        menu_put_name(to, "Where");
        menu_put_range(to, f->base, f->end);
        mm_put_char(to, '\n');
    } else {
        menu_put_name(to, "Where");
        mm_put_str(to, f->base == 0 && f->desc == MEMMAP_NODESC ? "the map as a whole" : "");
        if (f->base != 0 || f->desc != MEMMAP_NODESC) {
            mm_put_hex(to, f->base, 1);
        }
        mm_put_char(to, '\n');
    }
    put_descriptor(m, to, f->desc);
    put_descriptor(m, to, f->other);
    if (rule != NULL) {
        mm_put_char(to, '\n');
        maplint_put_rule(to, rule, mm_max(menu_view_columns(m), 40));
    }
}

static void findings_choose(struct menu *m, uint32_t i)
{
    menu_page(m, "", finding_put, &m->in->lint.findings[i]);
}

const struct menu_screen menu_findings = {
    .name = "Findings",
    .keys = "Enter explains",
    .help = "What is wrong with the memory map, the worst first.\n\n"
            "error      The specification is broken in a way that harms, or something will be "
            "overwritten.\n"
            "warning    Allowed, or harmless here, but known to break software in use.\n"
            "info       Nothing is wrong; who writes an operating system wants to know.\n\n"
            "Enter explains a finding: what it means, what comes of it, what to do, and where it "
            "is written.\n",
    .open = findings_open,
    .head = findings_head,
    .row = findings_row,
    .choose = findings_choose,
};
