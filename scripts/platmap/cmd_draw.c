/*
 * cmd_draw.c - draw: a map, or two, as a page for a browser that needs nothing but itself.
 *
 * The page is complete without a script: a picture, what is used for what, findings, tables. The
 * tables are all that the script knows of the map, so that there is one place for each fact; where
 * a row lies in the picture is in its data-at. The page is XML as well as HTML, which makes it easy
 * to check, and it forbids itself to load anything.
 *
 * Texts out of a report, and file names, may be anything: they go through draw_put_text().
 */
#include "draw.h"

#include <stdlib.h>
#include <string.h>

/* draw.css, draw.js */
extern const char draw_css[];
extern const char draw_js[];

/* Findings that are listed. The worst come first, and nobody reads so many. */
#define LISTED_FINDINGS 1000

/* Rows that a table has at most; more than these become blocks of so many lines. */
#define TABLE_ROWS 2000

/* ---- text ------------------------------------------------------------------------------------ */

/* Length of the well-formed UTF-8 character at `s` (RFC 3629, chapter 4), and itself; 0 if it is
 * none. */
static size_t decode(const unsigned char *s, size_t n, uint32_t *c)
{
    static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
    size_t len = s[0] < 0x80   ? 1
                 : s[0] < 0xc2 ? 0
                 : s[0] < 0xe0 ? 2
                 : s[0] < 0xf0 ? 3
                 : s[0] < 0xf5 ? 4
                               : 0;

    if (len == 0 || len > n) {
        return 0;
    }
    *c = len == 1 ? s[0] : s[0] & (0x7fu >> len);
    for (size_t i = 1; i < len; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        *c = *c << 6 | (s[i] & 0x3f);
    }
    return *c >= least[len] && *c <= 0x10ffff && (*c < 0xd800 || *c > 0xdfff) ? len : 0;
}

/* Is it a character to be seen, that leaves those around it where they are? */
static bool is_harmless(uint32_t c)
{
    bool is_control = (c < 0x20 && c != '\n') || (c >= 0x7f && c < 0xa0);
    /* Marks, embeddings and isolates of the bidirectional algorithm (UAX #9); separators. */
    bool is_bidi = c == 0x61c || (c >= 0x200e && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
                   (c >= 0x2066 && c <= 0x2069);
    bool is_none = (c & 0xfffe) == 0xfffe || (c >= 0xfdd0 && c <= 0xfdef) || c == 0xfeff;

    return !is_control && !is_bidi && !is_none;
}

void draw_put_text(const struct mm_sink *to, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        uint32_t c = 0;
        size_t len = decode((const unsigned char *)s + i, n - i, &c);
        const char *escape = len == 0 || !is_harmless(c) ? "\xef\xbf\xbd"
                             : c == '&'                  ? "&amp;"
                             : c == '<'                  ? "&lt;"
                             : c == '>'                  ? "&gt;"
                             : c == '"'                  ? "&quot;"
                             : c == '\''                 ? "&#39;"
                                                         : NULL;

        if (escape != NULL) {
            mm_put_str(to, escape);
        } else {
            mm_put(to, s + i, len);
        }
        i += len > 0 ? len : 1;
    }
}

static void put_str(const struct mm_sink *to, const char *s)
{
    draw_put_text(to, s, strlen(s));
}

/* What others print, escaped: they print into `plain`, which is dropped here. */
static void put_answer(const struct mm_sink *to, struct answer *plain)
{
    draw_put_text(to, plain->text, plain->len);
    answer_drop(plain);
}

void draw_put_change(const struct mm_sink *to, const struct mapdiff_change *c)
{
    struct answer plain;

    answer_begin(&plain);
    mapdiff_put_change(&plain.sink, c);
    put_answer(to, &plain);
}

/* ---- names ----------------------------------------------------------------------------------- */

const char *draw_item_name(const struct draw_item *item)
{
    const struct memmap_region *r = item->region;

    return r == NULL                  ? "hole"
           : r->desc == MEMMAP_NODESC ? memmap_kind_name(r->kind)
                                      : memmap_type_name(r->type);
}

void draw_put_class(const struct mm_sink *to, const struct draw_item *item)
{
    if (item->region != NULL) {
        say(to, "k%u", item->region->kind);
    } else {
        say(to, "hole");
    }
}

/* "moved up 1.7 GiB": the change in the fewest words, for a label. */
static void put_what_happened(const struct mm_sink *to, const struct mapdiff_change *c)
{
    uint64_t from_bytes = c->from.end - c->from.base;
    uint64_t to_bytes = c->to.end - c->to.base;
    bool is_up = c->to.base > c->from.base;
    struct size_text size;

    switch ((enum mapdiff_kind)c->kind) {
    case MAPDIFF_APPEARED:
        say(to, "appeared");
        break;
    case MAPDIFF_VANISHED:
        say(to, "vanished");
        break;
    case MAPDIFF_MOVED:
        say(to, "moved %s %s", is_up ? "up" : "down",
            size_text(&size, is_up ? c->to.base - c->from.base : c->from.base - c->to.base));
        break;
    case MAPDIFF_RESIZED:
        say(to, "%s %s", to_bytes > from_bytes ? "grew" : "shrank",
            size_text(&size,
                      to_bytes > from_bytes ? to_bytes - from_bytes : from_bytes - to_bytes));
        break;
    case MAPDIFF_RETYPED:
        say(to, "was %s", memmap_type_name(c->from.type));
        break;
    case MAPDIFF_ATTRIBUTES:
        say(to, "has other attributes");
        break;
    default:
        break;
    }
}

void draw_put_change_label(const struct mm_sink *to, const struct mapdiff_change *c)
{
    const struct mapdiff_place *p = c->kind == MAPDIFF_VANISHED ? &c->from : &c->to;

    say(to, "%s ",
        c->subject == MAPDIFF_RAM ? "RAM"
        : p->is_claim             ? memmap_kind_name(p->kind)
                                  : memmap_type_name(p->type));
    put_what_happened(to, c);
}

/* "a": prefix of the names of rows. */
static char letter_of(uint32_t map)
{
    return (char)('a' + map);
}

static bool is_folded(const struct draw_map *m)
{
    return m->nitems > TABLE_ROWS;
}

/* The beginning of a link to the row of an item, or to the block that it is in. */
static void put_link(const struct drawing *d, uint32_t k, const struct draw_item *item)
{
    const struct draw_map *m = &d->maps[k];
    uint32_t i = (uint32_t)(item - m->items);

    say(d->to, "<a href=\"#%c%u\" data-item=\"%c%u\">", letter_of(k),
        is_folded(m) ? i - i % TABLE_ROWS : i, letter_of(k), i);
}

static const char *plural(uint64_t n)
{
    return n == 1 ? "" : "s";
}

/* ---- tables and screens of a report ---------------------------------------------------------- */

static void add_mark(struct draw_map *m, uint64_t base, uint64_t nbytes, const char *what,
                     const char *name)
{
    struct draw_mark *mark = &m->marks[m->nmarks++];

    *mark = (struct draw_mark){ .base = base, .nbytes = nbytes };
    snprintf(mark->name, sizeof(mark->name), "%s %s", what, name);
}

static void collect_marks(struct draw_map *m)
{
    const struct report *r = &m->in.report;
    char text[40];

    m->marks = must_alloc(((uint64_t)r->nframebuffers + r->ntables + r->nacpi) * sizeof(*m->marks));
    for (uint32_t i = 0; i < r->nframebuffers; i++) {
        const struct report_framebuffer *f = &r->framebuffers[i];

        snprintf(text, sizeof(text), "%u\xc3\x97%u", f->width, f->height);
        add_mark(m, f->base, f->nbytes, "frame buffer", text);
    }
    for (uint32_t i = 0; i < r->ntables; i++) {
        const unsigned char *g = r->tables[i].guid;
        const char *name = report_guid_name(g);

        /* As EFI_GUID is written: the beginning will do to tell it from others. */
        snprintf(text, sizeof(text), "%02x%02x%02x%02x-%02x%02x-%02x%02x-...", g[3], g[2], g[1],
                 g[0], g[5], g[4], g[7], g[6]);
        add_mark(m, r->tables[i].address, 0, "configuration table", name != NULL ? name : text);
    }
    for (uint32_t i = 0; i < r->nacpi; i++) {
        add_mark(m, r->acpi[i].address, r->acpi[i].nbytes, "ACPI table", r->acpi[i].signature);
    }
}

static void put_marks(const struct drawing *d, uint32_t k)
{
    const struct draw_map *m = &d->maps[k];

    if (m->nmarks == 0) {
        return;
    }
    say(d->to,
        "<section class=\"wide\"><h2>Tables and screens</h2><table class=\"marks\" "
        "data-map=\"%u\">\n<thead><tr><th>what</th><th>address</th><th>size</th><th>in"
        "</th></tr></thead><tbody>\n",
        k);
    for (uint32_t i = 0; i < m->nmarks; i++) {
        const struct draw_mark *mark = &m->marks[i];
        const struct draw_item *item = draw_find(m, mark->base);
        struct size_text size;

        say(d->to, "<tr");
        if (item != NULL) {
            say(d->to, " data-at=\"%d\"", draw_even(&d->scale, mark->base));
        }
        say(d->to, "><td>");
        put_str(d->to, mark->name);
        say(d->to, "</td><td>0x%llx</td><td>%s</td><td>", (unsigned long long)mark->base,
            mark->nbytes != 0 ? size_text(&size, mark->nbytes) : "");
        if (item != NULL) {
            put_link(d, k, item);
            say(d->to, "%s</a>", draw_item_name(item));
        }
        say(d->to, "</td></tr>\n");
    }
    say(d->to, "</tbody></table></section>\n");
}

/* ---- head of the page ------------------------------------------------------------------------ */

/* " GenuineCorp Model 7 Firmware: Some Vendor": what a report tells of the machine. */
static void put_machine(const struct mm_sink *to, const struct report *r)
{
    const char *const words[] = { r->smbios.manufacturer, r->smbios.product, r->firmware.vendor,
                                  r->smbios.bios_version };

    for (size_t i = 0; i < MM_COUNTOF(words); i++) {
        if (words[i] != NULL && words[i][0] != '\0') {
            say(to, i == 2 ? " Firmware: " : " ");
            put_str(to, words[i]);
        }
    }
}

static void put_facts(const struct drawing *d, uint32_t k)
{
    const struct draw_map *m = &d->maps[k];
    struct size_text size;
    struct answer plain;

    say(d->to, "<p class=\"facts\">");
    if (d->nmaps > 1) {
        say(d->to, "<b>%c</b> <b>", letter_of(k) - 'a' + 'A');
        put_str(d->to, m->in.name);
        say(d->to, "</b>: ");
    }
    answer_begin(&plain);
    input_put_title(&plain.sink, &m->in);
    plain.len -= plain.len > 0; /* the line feed */
    put_answer(d->to, &plain);
    say(d->to, "; %s of RAM, %u region%s.", size_text(&size, m->sum.ram_bytes), m->in.map.nregions,
        plural(m->in.map.nregions));
    put_machine(d->to, &m->in.report);
    say(d->to, "</p>\n");
}

static void put_names(const struct drawing *d)
{
    for (uint32_t k = 0; k < d->nmaps; k++) {
        mm_put_str(d->to, k > 0 ? " \xe2\x86\x92 " : "");
        put_str(d->to, d->maps[k].in.name);
    }
}

static void put_head(const struct drawing *d)
{
    say(d->to, "<!DOCTYPE html>\n"
               "<html lang=\"en\" xmlns=\"http://www.w3.org/1999/xhtml\">\n<head>\n"
               "<meta charset=\"utf-8\"/>\n"
               "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; "
               "style-src 'unsafe-inline'; script-src 'unsafe-inline'\"/>\n"
               "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
               "<meta name=\"generator\" content=\"platmap " PLAT_VERSION "\"/>\n"
               "<title>Memory map: ");
    put_names(d);
    say(d->to, "</title>\n<style>\n");
    mm_put_str(d->to, draw_css);
    say(d->to, "</style>\n</head>\n<body class=\"%s\">\n<header>\n<h1>",
        d->nmaps > 1 ? "two" : "one");
    if (d->nmaps > 1) {
        say(d->to, "Two memory maps");
    } else {
        put_names(d);
    }
    say(d->to, "</h1>\n");
    for (uint32_t k = 0; k < d->nmaps; k++) {
        put_facts(d, k);
    }
    say(d->to, "<a class=\"skip\" href=\"#regions\">To the table of regions</a>\n</header>\n");
}

/* ---- uses: the legend, and the filter -------------------------------------------------------- */

static uint32_t count_kind(const struct memmap *m, uint32_t kind)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < m->nregions; i++) {
        n += m->regions[i].kind == kind;
    }
    return n;
}

static void put_use(const struct drawing *d, uint32_t kind)
{
    uint32_t counts[DRAW_MAPS] = { 0 };
    uint32_t all = 0;

    for (uint32_t k = 0; k < d->nmaps; k++) {
        counts[k] = count_kind(&d->maps[k].in.map, kind);
        all += counts[k];
    }
    if (all == 0) {
        return;
    }
    say(d->to,
        "<tr><td><label><input type=\"checkbox\" id=\"use%u\" checked=\"checked\"/> "
        "<i class=\"swatch k%u\"></i>%s</label></td>",
        kind, kind, memmap_kind_name(kind));
    for (uint32_t k = 0; k < d->nmaps; k++) {
        struct size_text size;

        say(d->to, "<td>%u</td><td>%s</td>", counts[k],
            counts[k] > 0 ? size_text(&size, d->maps[k].sum.kind_bytes[kind]) : "");
    }
    say(d->to, "</tr>\n");
}

static void put_uses(const struct drawing *d)
{
    say(d->to, "<section id=\"uses\"><h2>Uses</h2><table>\n<thead><tr><th>use</th>");
    for (uint32_t k = 0; k < d->nmaps; k++) {
        say(d->to, d->nmaps > 1 ? "<th></th><th>%c</th>" : "<th>regions</th><th>size</th>",
            letter_of(k) - 'a' + 'A');
    }
    say(d->to, "</tr></thead><tbody>\n");
    for (uint32_t kind = 0; kind < MEMMAP_KINDS; kind++) {
        put_use(d, kind);
    }
    say(d->to, "</tbody></table></section>\n");
}

/* ---- findings -------------------------------------------------------------------------------- */

static void put_icon(const struct mm_sink *to, uint32_t severity)
{
    say(to,
        "<svg class=\"icon\" viewBox=\"-7 -7 14 14\" aria-hidden=\"true\"><use "
        "href=\"#s%u\"/></svg>",
        severity);
}

static void put_finding(const struct drawing *d, uint32_t k, const struct memmap_finding *f)
{
    const struct draw_map *m = &d->maps[k];
    bool has_place = f->base != 0 || f->end != 0;
    const struct draw_item *item = has_place ? draw_find(m, f->base) : NULL;
    struct answer plain;

    say(d->to, "<li>");
    put_icon(d->to, f->severity);
    if (item != NULL) {
        put_link(d, k, item);
    }
    answer_begin(&plain);
    maplint_put_finding(&plain.sink, f);
    put_answer(d->to, &plain);
    say(d->to, "%s</li>\n", item != NULL ? "</a>" : "");
}

/* What the rules mean that were broken, each once. */
static void put_rules(const struct drawing *d)
{
    bool seen[MAPLINT_NRULES] = { false };
    uint32_t nseen = 0;

    for (uint32_t k = 0; k < d->nmaps; k++) {
        for (uint32_t i = 0; i < d->maps[k].lint.n; i++) {
            const struct maplint_rule *rule = maplint_rule(d->maps[k].lint.findings[i].rule);

            if (rule != NULL && !seen[rule - maplint_rules]) {
                seen[rule - maplint_rules] = true;
                nseen++;
            }
        }
    }
    if (nseen == 0) {
        return;
    }
    say(d->to, "<section id=\"rules\"><details><summary>What the findings mean</summary><dl>\n");
    for (size_t i = 0; i < MAPLINT_NRULES; i++) {
        const struct maplint_rule *rule = &maplint_rules[i];

        if (!seen[i]) {
            continue;
        }
        say(d->to, "<dt>%s: ", rule->id);
        put_str(d->to, rule->what);
        say(d->to, "</dt>\n<dd>");
        put_str(d->to, rule->consequence);
        say(d->to, " ");
        put_str(d->to, rule->advice);
        say(d->to, " <cite>");
        put_str(d->to, rule->source);
        say(d->to, "</cite></dd>\n");
    }
    say(d->to, "</dl></details></section>\n");
}

static void put_findings(const struct drawing *d, uint32_t k)
{
    const struct maplint_result *lint = &d->maps[k].lint;
    uint32_t n = lint->n < LISTED_FINDINGS ? lint->n : LISTED_FINDINGS;

    say(d->to, "<section class=\"findings\"><h2>Findings%s%c</h2>\n", d->nmaps > 1 ? " in " : "",
        d->nmaps > 1 ? letter_of(k) - 'a' + 'A' : ' ');
    if (n == 0) {
        say(d->to, "<p>None: nothing is wrong with this map.</p></section>\n");
        return;
    }
    say(d->to, "<ul>\n");
    for (uint32_t i = 0; i < n; i++) {
        put_finding(d, k, &lint->findings[i]);
    }
    say(d->to, "</ul>\n");
    if (lint->n + lint->lost > n) {
        say(d->to, "<p>And %llu more: see platmap lint.</p>\n",
            (unsigned long long)(lint->n + lint->lost - n));
    }
    say(d->to, "</section>\n");
}

/* ---- changes --------------------------------------------------------------------------------- */

/* Where both ends of a change lie, for the script: a side without one is empty. */
static void put_change_at(const struct drawing *d, const struct mapdiff_change *c)
{
    const struct mapdiff_place *const places[] = { &c->from, &c->to };
    const uint32_t absent[] = { MAPDIFF_APPEARED, MAPDIFF_VANISHED };

    for (size_t i = 0; i < MM_COUNTOF(places); i++) {
        if (places[i]->base < places[i]->end && c->kind != absent[i]) {
            say(d->to, " data-%s=\"%d %d\"", i == 0 ? "from" : "to",
                draw_even(&d->scale, places[i]->base), draw_even(&d->scale, places[i]->end));
        }
    }
}

static void put_changes(const struct drawing *d)
{
    struct answer plain;

    say(d->to, "<section id=\"changes\"><h2>Changes from A to B</h2>\n<ol>\n");
    for (uint32_t i = 0; i < d->diff.nchanges; i++) {
        const struct mapdiff_change *c = &d->diff.changes[i];
        const struct mapdiff_place *place = c->kind == MAPDIFF_VANISHED ? &c->from : &c->to;

        say(d->to, "<li id=\"c%u\" class=\"i%u\"", i, c->importance);
        put_change_at(d, c);
        say(d->to, " data-label=\"");
        draw_put_change_label(d->to, c);
        say(d->to, "\" data-base=\"0x%llx\">", (unsigned long long)place->base);
        draw_put_change(d->to, c);
        say(d->to, "</li>\n");
    }
    say(d->to, "</ol>\n<p>");
    answer_begin(&plain);
    mapdiff_put_verdict(&plain.sink, &d->diff);
    put_answer(d->to, &plain);
    say(d->to, "</p></section>\n");
}

/* ---- regions --------------------------------------------------------------------------------- */

/* What the script has to know of an item; it ends where the next one begins. */
static void put_item_at(const struct drawing *d, const struct draw_item *item)
{
    say(d->to, "%d %d %u %u", item->even.from, item->linear.from, item->rank, item->mark);
}

static void attr_text(const struct draw_map *m, const struct memmap_region *r, char *buf,
                      size_t nbytes)
{
    if (memmap_attr_text(r->attr, buf, nbytes) == 0) {
        snprintf(buf, nbytes, "%s", m->in.capture->attr_known == 0 ? "?" : "-");
    }
}

static void put_row(const struct drawing *d, uint32_t k, uint32_t i)
{
    const struct draw_map *m = &d->maps[k];
    const struct draw_item *item = &m->items[i];
    const struct memmap_region *r = item->region;
    struct size_text size;
    char attr[160];

    say(d->to, "<tr id=\"%c%u\" class=\"", letter_of(k), i);
    draw_put_class(d->to, item);
    say(d->to, "\" data-at=\"");
    put_item_at(d, item);
    say(d->to, "\"><td>0x%llx</td><td>0x%llx</td><td>%s</td>", (unsigned long long)item->base,
        (unsigned long long)item->last, size_text(&size, item->last - item->base + 1));
    if (r == NULL) {
        say(d->to, "<td>hole</td></tr>\n");
        return;
    }
    attr_text(m, r, attr, sizeof(attr));
    say(d->to, "<td>%s</td><td>%s</td><td>%s</td>", memmap_kind_name(r->kind), draw_item_name(item),
        attr);
    if (r->desc != MEMMAP_NODESC) {
        say(d->to, "<td>%u</td>", r->desc);
    }
    say(d->to, "</tr>\n");
}

static void put_table(const struct drawing *d, uint32_t k)
{
    say(d->to,
        "<table class=\"regions\" data-map=\"%u\">\n<thead><tr><th>first byte</th>"
        "<th>last byte</th><th>size</th><th>use</th><th>type</th><th>attributes</th>"
        "<th>descriptor</th></tr></thead><tbody>\n",
        k);
    for (uint32_t i = 0; i < d->maps[k].nitems; i++) {
        put_row(d, k, i);
    }
    say(d->to, "</tbody></table>\n");
}

/* The same as a line, its columns parted by two blanks at least. */
static void put_line(const struct drawing *d, const struct draw_map *m,
                     const struct draw_item *item)
{
    const struct memmap_region *r = item->region;
    struct size_text size;
    char attr[160];
    char from[16] = "";

    say(d->to, "0x%-16llx  0x%-16llx  %-10s  ", (unsigned long long)item->base,
        (unsigned long long)item->last, size_text(&size, item->last - item->base + 1));
    if (r == NULL) {
        say(d->to, "hole\n");
        return;
    }
    attr_text(m, r, attr, sizeof(attr));
    if (r->desc != MEMMAP_NODESC) {
        snprintf(from, sizeof(from), "  %u", r->desc);
    }
    say(d->to, "%-15s  %-19s  %s%s\n", memmap_kind_name(r->kind), draw_item_name(item), attr, from);
}

/* Of many regions, folded blocks of lines: a browser takes a minute to build a table of a hundred
 * thousand rows, and a second for the same as text. */
static void put_blocks(const struct drawing *d, uint32_t k)
{
    const struct draw_map *m = &d->maps[k];

    for (uint32_t i = 0; i < m->nitems; i += TABLE_ROWS) {
        uint32_t end = i + TABLE_ROWS < m->nitems ? i + TABLE_ROWS : m->nitems;

        say(d->to,
            "<details id=\"%c%u\"><summary>from 0x%llx</summary>\n"
            "<pre class=\"regions\" data-map=\"%u\" data-at=\"",
            letter_of(k), i, (unsigned long long)m->items[i].base, k);
        for (uint32_t at = i; at < end; at++) {
            say(d->to, at > i ? ";" : "");
            put_item_at(d, &m->items[at]);
            say(d->to, " ");
            draw_put_class(d->to, &m->items[at]);
        }
        say(d->to, "\">");
        for (uint32_t at = i; at < end; at++) {
            put_line(d, m, &m->items[at]);
        }
        say(d->to, "</pre></details>\n");
    }
}

static void put_tables(const struct drawing *d)
{
    say(d->to, "<div id=\"regions\">\n");
    for (uint32_t k = 0; k < d->nmaps; k++) {
        say(d->to, "<section class=\"wide\"><h2>Regions%s%c</h2>\n", d->nmaps > 1 ? " of " : "",
            d->nmaps > 1 ? letter_of(k) - 'a' + 'A' : ' ');
        (is_folded(&d->maps[k]) ? put_blocks : put_table)(d, k);
        say(d->to, "</section>\n");
        put_marks(d, k);
    }
    say(d->to, "</div>\n");
}

/* ---- the page -------------------------------------------------------------------------------- */

/* What only a script can do; it shows this. */
static const char tools[] =
    "<form id=\"tools\" role=\"search\" hidden=\"hidden\">\n"
    "<input id=\"search\" type=\"search\" placeholder=\"Address or name\" "
    "aria-label=\"Find an address, a type or a use\" autocomplete=\"off\" spellcheck=\"false\"/>\n"
    "<button type=\"button\" id=\"in\" title=\"Zoom in (+)\" aria-label=\"Zoom in\">+</button>\n"
    "<button type=\"button\" id=\"out\" title=\"Zoom out (-)\" aria-label=\"Zoom out\">"
    "\xe2\x88\x92</button>\n"
    "<button type=\"button\" id=\"whole\" title=\"The whole map (0)\">All</button>\n"
    "<button type=\"button\" id=\"theme\" title=\"Light or dark (d)\" "
    "aria-label=\"Light or dark\">\xe2\x97\x90</button>\n"
    "<button type=\"button\" id=\"keys\" title=\"Keys (?)\" aria-label=\"Keys\">?</button>\n"
    "</form>\n";

static const char help[] =
    "<dialog id=\"help\" aria-label=\"Keys\"><h2>Keys</h2><table>\n"
    "<tr><td><kbd>\xe2\x86\x91</kbd> <kbd>\xe2\x86\x93</kbd></td><td>region before, "
    "after</td></tr>\n"
    "<tr><td><kbd>Home</kbd> <kbd>End</kbd></td><td>first, last region</td></tr>\n"
    "<tr><td><kbd>\xe2\x86\x90</kbd> <kbd>\xe2\x86\x92</kbd></td><td>map A, map B</td></tr>\n"
    "<tr><td><kbd>n</kbd> <kbd>p</kbd></td><td>finding or change after, before</td></tr>\n"
    "<tr><td><kbd>+</kbd> <kbd>-</kbd> <kbd>0</kbd></td><td>zoom in, out, to the whole "
    "map</td></tr>\n"
    "<tr><td><kbd>PgUp</kbd> <kbd>PgDn</kbd></td><td>up, down while zoomed in</td></tr>\n"
    "<tr><td><kbd>Enter</kbd></td><td>zoom to the region; again: go to its row</td></tr>\n"
    "<tr><td><kbd>/</kbd></td><td>find: 0x7e6ed000, a type, a use</td></tr>\n"
    "<tr><td><kbd>d</kbd></td><td>light or dark</td></tr>\n"
    "<tr><td><kbd>Esc</kbd></td><td>let go</td></tr>\n"
    "</table><p>Drag or Ctrl and the wheel, or two fingers, in the picture; drag on the bar at the "
    "left for what the right shows. A double click zooms to a region. Untick uses to hide them."
    "</p><form method=\"dialog\"><button>Close</button></form></dialog>\n";

static void put_page(const struct drawing *d)
{
    put_head(d);
    mm_put_str(d->to, tools);
    say(d->to, "<main>\n<figure id=\"map\">\n");
    draw_picture(d);
    say(d->to,
        "<figcaption id=\"caption\">Left, the address space to scale; right, every region at "
        "a height that grows with its size, what is free sooner or later at half of it%s. "
        "Addresses go down.%s</figcaption>\n"
        "</figure>\n<aside>\n<section id=\"here\" aria-live=\"polite\" hidden=\"hidden\">"
        "</section>\n",
        d->nmaps > 1 ? ", of A and of B, with what changed between them" : "",
        d->maps[d->nmaps - 1].nmarks > 0 ? " Diamonds are tables and screens." : "");
    if (d->nmaps > 1) {
        put_changes(d);
    }
    put_uses(d);
    for (uint32_t k = 0; k < d->nmaps; k++) {
        put_findings(d, k);
    }
    put_rules(d);
    say(d->to, "</aside>\n</main>\n");
    put_tables(d);
    mm_put_str(d->to, help);
    say(d->to, "<div id=\"tip\" role=\"tooltip\" hidden=\"hidden\"></div>\n<script>\n");
    mm_put_str(d->to, draw_js);
    say(d->to, "</script>\n</body>\n</html>\n");
}

/* ---- the command ----------------------------------------------------------------------------- */

static bool open_map(struct drawing *d, const char *name, const char *which)
{
    struct draw_map *m = &d->maps[d->nmaps];

    if (!input_open(&m->in, name, which)) {
        return false;
    }
    m->lint = input_lint(&m->in);
    mapsum_make(&m->sum, &m->in.map);
    collect_marks(m);
    d->nmaps++;
    return true;
}

static bool compare(struct drawing *d)
{
    const struct input *from = &d->maps[0].in;
    const struct input *to = &d->maps[1].in;
    uint64_t nbytes = mapdiff_storage_bytes(from->map.nregions, to->map.nregions);

    d->diff_storage = must_alloc(nbytes);
    if (mapdiff_make(&d->diff, &from->map, &to->map,
                     from->capture->attr_known & to->capture->attr_known, d->diff_storage,
                     nbytes) != MM_OK) {
        complain("draw: the maps are too large");
        return false;
    }
    return true;
}

static void drop(struct drawing *d)
{
    for (uint32_t k = 0; k < d->nmaps; k++) {
        free(d->maps[k].marks);
        free(d->maps[k].items);
        free(d->maps[k].lint.findings);
        input_close(&d->maps[k].in);
    }
    draw_scale_drop(&d->scale);
    free(d->diff_storage);
}

int cmd_draw(const struct args *a)
{
    const char *with = a->option[OPT_WITH] != NULL ? a->option[OPT_WITH] : a->option[OPT_MAP];
    const char *second = a->words[a->nwords - 1];
    bool is_pair = a->nwords == 2 || a->option[OPT_WITH] != NULL;
    struct drawing d = { .to = a->to };
    bool done;

    if (a->colour && a->option[OPT_OUTPUT] == NULL) {
        complain("draw: a page is for a browser, not for a terminal; write it by -o FILE.html");
        return STATUS_TROUBLE;
    }
    if (is_pair && strcmp(a->words[0], "-") == 0 && strcmp(second, "-") == 0) {
        complain("draw: standard input can be read only once");
        return STATUS_TROUBLE;
    }
    done = open_map(&d, a->words[0], a->option[OPT_MAP]) &&
           (!is_pair || (open_map(&d, second, with) && compare(&d)));
    if (done) {
        draw_lay_out(&d);
        put_page(&d);
    }
    drop(&d);
    return done ? STATUS_OK : STATUS_TROUBLE;
}
