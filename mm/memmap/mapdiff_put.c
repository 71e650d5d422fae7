/*
 * mapdiff_put.c - the differences of two maps in words and as JSON.
 *
 * A line begins with what it is about and where that was; what it became follows. Distances below
 * 1 MiB are told in pages, because those who look for them count pages; longer ones as a size, and
 * always exactly.
 */
#include "mm/mapdiff.h"

#define MANY_PAGES 256
#define MANY_UNITS 9999

/* Every attribute that has a name, and the others in hexadecimal: 91 characters and a NUL. */
#define ATTR_BYTES 128

/* The longest line: words, two addresses, three sizes, two sets of attributes. */
#define LINE_BYTES (2 * ATTR_BYTES + 256)

static const char *const subject_names[] = {
    [MAPDIFF_REGION] = "region", [MAPDIFF_RAM] = "ram",       [MAPDIFF_FREE] = "free",
    [MAPDIFF_BOOT] = "boot",     [MAPDIFF_LOADER] = "loader", [MAPDIFF_PASSING] = "passing",
};

static const char *const kind_names[MAPDIFF_KINDS] = {
    [MAPDIFF_APPEARED] = "appeared", [MAPDIFF_VANISHED] = "vanished",
    [MAPDIFF_MOVED] = "moved",       [MAPDIFF_RESIZED] = "resized",
    [MAPDIFF_RETYPED] = "retyped",   [MAPDIFF_ATTRIBUTES] = "attributes",
    [MAPDIFF_SUM] = "sum",           [MAPDIFF_TRADED] = "traded",
    [MAPDIFF_SHUFFLED] = "shuffled",
};

static const char *const instead_names[] = {
    [MAPDIFF_NOT_ASKED] = NULL,   [MAPDIFF_NOTHING] = "nothing", [MAPDIFF_ONE] = "one",
    [MAPDIFF_PASSED] = "passing", [MAPDIFF_MIXED] = "mixed",
};

static const char *const importance_names[] = {
    [MAPDIFF_ROUTINE] = "routine",
    [MAPDIFF_NOTABLE] = "notable",
    [MAPDIFF_BREAKING] = "breaking",
};

static const char *const importance_marks[] = {
    [MAPDIFF_ROUTINE] = "  ",
    [MAPDIFF_NOTABLE] = "* ",
    [MAPDIFF_BREAKING] = "! ",
};

static const char *const sum_names[] = {
    [MAPDIFF_RAM] = "RAM",
    [MAPDIFF_FREE] = "free memory",
    [MAPDIFF_BOOT] = "boot services",
    [MAPDIFF_LOADER] = "loader memory",
};

/* ---- words ----------------------------------------------------------------------------------- */

static bool is_place(const struct mapdiff_place *p)
{
    return p->base < p->end;
}

static const char *place_name(const struct mapdiff_place *p)
{
    return p->is_claim ? memmap_kind_name(p->kind) : memmap_type_name(p->type);
}

/* "3 pages", "1984 MiB" if that is exact, else "1.0 GiB (0x40ff9000)" */
static void put_amount(const struct mm_sink *to, uint64_t nbytes)
{
    uint64_t npages = nbytes >> MM_PAGE_SHIFT;
    unsigned shift = 0;

    if (npages < MANY_PAGES) {
        mm_put_u64(to, npages, 0);
        mm_put_str(to, npages == 1 ? " page" : " pages");
        return;
    }
    while (shift + 10 <= 60 && nbytes % (UINT64_C(1) << (shift + 10)) == 0) {
        shift += 10;
    }
    if (nbytes >> shift <= MANY_UNITS) {
        mm_put_u64(to, nbytes >> shift, 0);
        mm_put_char(to, ' ');
        mm_put_char(to, "BKMGTPE"[shift / 10]);
        mm_put_str(to, "iB");
        return;
    }
    mm_put_size(to, nbytes, 0);
    mm_put_str(to, " (");
    mm_put_hex(to, nbytes, 1);
    mm_put_char(to, ')');
}

/* "RuntimeServicesData 0x7e6ed000 (1.0 MiB)" */
static void put_place(const struct mm_sink *to, const struct mapdiff_place *p)
{
    mm_put_str(to, place_name(p));
    mm_put_char(to, ' ');
    mm_put_hex(to, p->base, 1);
    mm_put_str(to, " (");
    mm_put_size(to, p->end - p->base, 0);
    mm_put_char(to, ')');
}

/* "grew by 3 pages", "shrank by 1 page" */
static void put_growth(const struct mm_sink *to, uint64_t from_bytes, uint64_t to_bytes)
{
    bool grew = to_bytes > from_bytes;

    mm_put_str(to, grew ? "grew by " : "shrank by ");
    put_amount(to, grew ? to_bytes - from_bytes : from_bytes - to_bytes);
}

static void put_attributes(const struct mm_sink *to, uint64_t attr)
{
    char text[ATTR_BYTES];

    (void)memmap_attr_text(attr, text, sizeof(text));
    mm_put_str(to, text);
}

static void put_moved(const struct mm_sink *to, const struct mapdiff_change *c)
{
    bool up = c->to.base > c->from.base;

    put_place(to, &c->from);
    mm_put_str(to, up ? " moved up by " : " moved down by ");
    put_amount(to, up ? c->to.base - c->from.base : c->from.base - c->to.base);
    mm_put_str(to, " to ");
    mm_put_hex(to, c->to.base, 1);
    if (c->from_bytes != c->to_bytes) {
        mm_put_str(to, " and ");
        put_growth(to, c->from_bytes, c->to_bytes);
    }
}

static void put_resized(const struct mm_sink *to, const struct mapdiff_change *c)
{
    bool grew = c->to_bytes > c->from_bytes;
    const struct mapdiff_place *outer = grew ? &c->to : &c->from;
    const struct mapdiff_place *inner = grew ? &c->from : &c->to;

    put_place(to, &c->from);
    mm_put_char(to, ' ');
    put_growth(to, c->from_bytes, c->to_bytes);
    if (outer->base == inner->base) {
        mm_put_str(to, " at its end");
    } else if (outer->end == inner->end) {
        mm_put_str(to, " at its beginning");
    } else {
        mm_put_str(to, ": ");
        put_amount(to, inner->base - outer->base);
        mm_put_str(to, " at its beginning, ");
        put_amount(to, outer->end - inner->end);
        mm_put_str(to, " at its end");
    }
    mm_put_str(to, ", now ");
    mm_put_hex(to, c->to.base, 1);
    mm_put_str(to, " (");
    mm_put_size(to, c->to_bytes, 0);
    mm_put_char(to, ')');
}

static void put_retyped(const struct mm_sink *to, const struct mapdiff_change *c)
{
    put_place(to, &c->from);
    if (c->from.type == c->to.type && !c->from.is_claim && !c->to.is_claim) {
        mm_put_str(to, " is ");
        mm_put_str(to, memmap_kind_name(c->to.kind));
        mm_put_str(to, ", was ");
        mm_put_str(to, memmap_kind_name(c->from.kind));
        return;
    }
    mm_put_str(to, " became ");
    mm_put_str(to, place_name(&c->to));
}

static void put_attributes_changed(const struct mm_sink *to, const struct mapdiff_change *c)
{
    if (c->subject == MAPDIFF_PASSING) {
        mm_put_size(to, c->from_bytes, 0);
        mm_put_str(to, " of free, boot services and loader memory, ");
        if (c->count > 1) {
            mm_put_u64(to, c->count, 0);
            mm_put_str(to, " stretches from ");
        } else {
            mm_put_str(to, "at ");
        }
        mm_put_hex(to, c->from.base, 1);
    } else {
        put_place(to, &c->to);
    }
    mm_put_str(to, ": attributes ");
    if (c->lost != 0) {
        mm_put_str(to, "lost ");
        put_attributes(to, c->lost);
    }
    if (c->gained != 0) {
        mm_put_str(to, c->lost != 0 ? ", gained " : "gained ");
        put_attributes(to, c->gained);
    }
}

/* What the other map has where a region came or went. */
static void put_instead(const struct mm_sink *to, const struct mapdiff_change *c)
{
    bool appeared = c->kind == MAPDIFF_APPEARED;

    switch (c->instead) {
    case MAPDIFF_NOTHING:
        mm_put_str(to, appeared ? ", nothing was there" : ", nothing is there now");
        break;
    case MAPDIFF_ONE:
        mm_put_str(to, appeared ? ", was " : ", is now ");
        mm_put_str(to, place_name(appeared ? &c->from : &c->to));
        break;
    case MAPDIFF_PASSED:
        mm_put_str(to, appeared ? ", was free or boot services memory"
                                : ", is now free or boot services memory");
        break;
    default: /* too much to tell in a line: the other changes do */
        break;
    }
}

static void put_come_or_gone(const struct mm_sink *to, const struct mapdiff_change *c)
{
    bool appeared = c->kind == MAPDIFF_APPEARED;
    const struct mapdiff_place *p = appeared ? &c->to : &c->from;

    if (c->subject == MAPDIFF_RAM) {
        mm_put_str(to, "RAM ");
        mm_put_hex(to, p->base, 1);
        mm_put_char(to, '-');
        mm_put_hex(to, p->end - 1, 1);
        mm_put_str(to, " (");
        mm_put_size(to, appeared ? c->to_bytes : c->from_bytes, 0);
        mm_put_char(to, ')');
    } else {
        put_place(to, p);
    }
    mm_put_str(to, appeared ? " appeared" : " vanished");
    put_instead(to, c);
}

static void put_sum(const struct mm_sink *to, const struct mapdiff_change *c)
{
    bool grew = c->to_bytes > c->from_bytes;

    mm_put_str(to, sum_names[c->subject]);
    if (c->kind == MAPDIFF_TRADED) {
        mm_put_str(to, grew ? " took " : " gave back ");
        mm_put_size(to, grew ? c->to_bytes - c->from_bytes : c->from_bytes - c->to_bytes, 0);
        mm_put_str(to, grew ? " of free memory" : " to free memory");
    } else {
        mm_put_char(to, ' ');
        put_growth(to, c->from_bytes, c->to_bytes);
    }
    mm_put_str(to, ": ");
    mm_put_size(to, c->from_bytes, 0);
    mm_put_str(to, " -> ");
    mm_put_size(to, c->to_bytes, 0);
}

void mapdiff_put_change(const struct mm_sink *to, const struct mapdiff_change *c)
{
    switch (c->kind) {
    case MAPDIFF_MOVED:
        put_moved(to, c);
        break;
    case MAPDIFF_RESIZED:
        put_resized(to, c);
        break;
    case MAPDIFF_RETYPED:
        put_retyped(to, c);
        break;
    case MAPDIFF_ATTRIBUTES:
        put_attributes_changed(to, c);
        break;
    case MAPDIFF_SUM:
    case MAPDIFF_TRADED:
        put_sum(to, c);
        break;
    case MAPDIFF_SHUFFLED:
        mm_put_size(to, c->from_bytes, 0);
        mm_put_str(to, " changed hands among free, boot services and loader memory");
        break;
    default:
        put_come_or_gone(to, c);
        break;
    }
}

/* ---- the verdict ----------------------------------------------------------------------------- */

/* "ACPI regions: 3 changes" */
static void put_count(const struct mm_sink *to, const char *what, uint32_t n)
{
    mm_put_str(to, what);
    if (n == 0) {
        mm_put_str(to, "the same");
    } else {
        mm_put_u64(to, n, 0);
        mm_put_str(to, n == 1 ? " change" : " changes");
    }
}

void mapdiff_put_verdict(const struct mm_sink *to, const struct mapdiff *d)
{
    if (d->nchanges == 0) {
        mm_put_str(to, "The maps are the same.\n");
        return;
    }
    put_count(to, "Runtime services regions: ", d->nruntime);
    put_count(to, ". ACPI regions: ", d->nacpi);
    mm_put_str(to, ".\n");
    if ((d->breaks & MAPDIFF_BREAKS_KEXEC) != 0) {
        mm_put_str(to, "Breaks hibernation: an image saved under one map does not resume under the "
                       "other.\nBreaks kexec: the next kernel would look for these regions where "
                       "they are not.\n");
    } else if ((d->breaks & MAPDIFF_BREAKS_HIBERNATION) != 0) {
        mm_put_str(to, "Breaks hibernation: memory is laid out differently, and an image saved "
                       "under one map\nis refused under the other. Kexec is not affected.\n");
    } else {
        mm_put_str(to, "Hibernation and kexec are not affected.\n");
    }
}

void mapdiff_put(const struct mm_sink *to, const struct mapdiff *d)
{
    for (const struct mapdiff_change *c = d->changes; c < d->changes + d->nchanges; c++) {
        mm_put_str(to, importance_marks[c->importance]);
        mapdiff_put_change(to, c);
        mm_put_char(to, '\n');
    }
    mapdiff_put_verdict(to, d);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static void json_put_attributes(struct json_writer *w, uint64_t attr)
{
    char text[ATTR_BYTES];

    (void)memmap_attr_text(attr, text, sizeof(text));
    json_put_text(w, text);
}

static void json_put_breaks(struct json_writer *w, uint32_t breaks)
{
    json_key(w, "breaks");
    json_begin_array(w);
    if ((breaks & MAPDIFF_BREAKS_HIBERNATION) != 0) {
        json_put_text(w, "hibernation");
    }
    if ((breaks & MAPDIFF_BREAKS_KEXEC) != 0) {
        json_put_text(w, "kexec");
    }
    json_end_array(w);
}

static void json_put_place(struct json_writer *w, const char *key, const struct mapdiff_place *p)
{
    json_key(w, key);
    if (!is_place(p)) {
        json_put_null(w);
        return;
    }
    json_begin_row(w);
    json_key(w, "base");
    json_put_hex(w, p->base, 16);
    json_key(w, "end");
    json_put_hex(w, p->end, 16);
    json_key(w, "type");
    if (p->is_claim) {
        json_put_null(w);
    } else {
        json_put_u64(w, p->type);
    }
    json_key(w, "type_name");
    json_put_text(w, p->is_claim ? NULL : memmap_type_name(p->type));
    json_key(w, "use");
    json_put_text(w, memmap_kind_name(p->kind));
    json_key(w, "attribute");
    json_put_hex(w, p->attr, 16);
    json_key(w, "attribute_names");
    json_put_attributes(w, p->attr);
    json_end_object(w);
}

static void json_put_change(struct json_writer *w, const struct mapdiff_change *c)
{
    char line[LINE_BYTES];
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, line, sizeof(line));

    mapdiff_put_change(&to, c);
    json_begin_object(w);
    json_key(w, "text");
    json_put_text(w, line);
    json_key(w, "subject");
    json_put_text(w, subject_names[c->subject]);
    json_key(w, "kind");
    json_put_text(w, kind_names[c->kind]);
    json_key(w, "importance");
    json_put_text(w, importance_names[c->importance]);
    json_put_breaks(w, c->breaks);
    json_put_place(w, "from", &c->from);
    json_put_place(w, "to", &c->to);
    json_key(w, "instead");
    json_put_text(w, instead_names[c->instead]);
    json_key(w, "from_bytes");
    json_put_u64(w, c->from_bytes);
    json_key(w, "to_bytes");
    json_put_u64(w, c->to_bytes);
    json_key(w, "stretches");
    json_put_u64(w, c->count);
    json_key(w, "lost");
    json_put_attributes(w, c->lost);
    json_key(w, "gained");
    json_put_attributes(w, c->gained);
    json_end_object(w);
}

void mapdiff_put_json(struct json_writer *w, const struct mapdiff *d)
{
    json_begin_object(w);
    json_key(w, "same");
    json_put_bool(w, d->nchanges == 0);
    json_key(w, "runtime_changes");
    json_put_u64(w, d->nruntime);
    json_key(w, "acpi_changes");
    json_put_u64(w, d->nacpi);
    json_put_breaks(w, d->breaks);
    json_key(w, "changes");
    json_begin_array(w);
    for (const struct mapdiff_change *c = d->changes; c < d->changes + d->nchanges; c++) {
        json_put_change(w, c);
    }
    json_end_array(w);
    json_end_object(w);
}
