/*
 * report_text.c - a report for a person to read.
 *
 * First what the machine is, then its map in numbers, then what is wrong with it, and the tables,
 * which are long, last. Each line of what firmware says goes through struct lines, which breaks it
 * between words and lets nothing through but printable ASCII: a text may end up on a terminal, and
 * firmware's texts are not ours.
 *
 * Only what the JSON document has, too, is used, and in the same way (what is written as null is
 * "not known"), so that a report gives one text, whether it was read back or not.
 */
#include "report_names.h"
#include "report_shape.h"

#include "mm/maplint.h"

#define COLUMNS     80u
#define INDENT      16u /* of what is behind a label */
#define HEX_DIGITS  10u /* of an address, at least: 1 TiB */
#define SIZE_CHARS  10u
#define TYPE_CHARS  19u
#define INDEX_CHARS 3u

#define NOT_KNOWN "not known"

/* ---- lines ----------------------------------------------------------------------------------- */

/* A sink for one paragraph: blanks part words, and lines break only there. */
struct lines {
    struct mm_sink sink;
    const struct mm_sink *to;
    size_t indent;
    size_t column; /* characters in the line */
    size_t nword;
    char word[COLUMNS];
};

static void lines_end_word(struct lines *l)
{
    if (l->nword == 0) {
        return;
    }
    if (l->column + 1 + l->nword > COLUMNS && l->column > l->indent) {
        mm_put_char(l->to, '\n');
        mm_put_fill(l->to, ' ', l->indent);
        l->column = l->indent;
    } else if (l->column > l->indent) {
        mm_put_char(l->to, ' ');
        l->column++;
    }
    mm_put(l->to, l->word, l->nword);
    l->column += l->nword;
    l->nword = 0;
}

static void lines_write(void *ctx, const char *s, size_t n)
{
    struct lines *l = ctx;
    size_t step;

    for (size_t i = 0; i < n; i += step) {
        step = json_char_bytes(s + i, n - i);
        step = step != 0 ? step : 1;
        if (s[i] == ' ') {
            lines_end_word(l);
            continue;
        }
        if (l->nword == COLUMNS - l->indent) {
            lines_end_word(l); /* a word longer than a line */
        }
        l->word[l->nword++] = s[i] > ' ' && s[i] <= '~' ? s[i] : '?';
    }
}

/* Begin a paragraph behind a label that is shorter than `indent`. Returns where it is written to.
 */
static const struct mm_sink *lines_begin_at(struct lines *l, const struct mm_sink *to,
                                            const char *label, size_t indent)
{
    *l = (struct lines){
        .sink = { .write = lines_write, .ctx = l }, .to = to, .indent = indent, .column = indent
    };
    mm_put_left(to, label, indent);
    return &l->sink;
}

static const struct mm_sink *lines_begin(struct lines *l, const struct mm_sink *to,
                                         const char *label)
{
    return lines_begin_at(l, to, label, INDENT);
}

static void lines_end(struct lines *l)
{
    lines_end_word(l);
    if (l->column == l->indent) {
        mm_put_str(l->to, "(empty)");
    }
    mm_put_char(l->to, '\n');
}

/* A line with a text that may be anything, or NULL. */
static void put_line(const struct mm_sink *to, const char *label, const char *text)
{
    struct lines l;

    mm_put_str(lines_begin(&l, to, label), text != NULL ? text : NOT_KNOWN);
    lines_end(&l);
}

static void put_heading(const struct mm_sink *to, const char *text)
{
    size_t n = 0;

    while (text[n] != '\0') {
        n++;
    }
    mm_put_char(to, '\n');
    mm_put(to, text, n);
    mm_put_char(to, '\n');
    mm_put_fill(to, '-', n);
    mm_put_char(to, '\n');
}

/* Before a list of `n`: false, and a line that says so, if there is nothing to list. */
static bool put_list_heading(const struct mm_sink *to, const char *heading, bool known, uint64_t n)
{
    put_heading(to, heading);
    if (!known || n == 0) {
        mm_put_str(to, known ? "none\n" : NOT_KNOWN "\n");
    }
    return known && n != 0;
}

/* ---- pieces ---------------------------------------------------------------------------------- */

static void put_number(const struct mm_sink *to, const char *before, uint64_t v, const char *behind)
{
    mm_put_str(to, before);
    mm_put_u64(to, v, 0);
    mm_put_str(to, behind);
}

/* ", " and the text, if there is one. */
static void put_also(const struct mm_sink *to, const char *before, const char *text)
{
    if (text != NULL && text[0] != '\0') {
        mm_put_str(to, before);
        mm_put_str(to, text);
    }
}

/* A cell of a table, for a text of our own struct: at most `max` characters, `width` wide. */
static void put_cell(const struct mm_sink *to, const char *s, size_t max, size_t width)
{
    size_t n = 0;

    for (; n < max && s[n] != '\0'; n++) {
        mm_put_char(to, s[n] >= ' ' && s[n] <= '~' ? s[n] : '?');
    }
    mm_put_fill(to, ' ', width > n ? width - n : 0);
}

/* The digits of `v` in hexadecimal. */
static size_t hex_digits(uint64_t v)
{
    size_t n = 1;

    while (n < 16 && v >> 4 * n != 0) {
        n++;
    }
    return n;
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void put_title(const struct mm_sink *to, const struct report *r)
{
    char time[REPORT_TIME_CHARS + 1];
    struct lines l;
    bool has_time = (r->known & REPORT_HAS_TIME) != 0 && report_time_text(&r->time, time) != 0;

    mm_put_str(to, "Memory report\n=============\n");
    put_line(to, "made by Plat", r->plat);
    put_line(to, "time", has_time ? time : NULL);
    put_line(to, "architecture",
             r->arch != MAPFILE_ARCH_UNKNOWN ? mapfile_arch_name((enum mapfile_arch)r->arch)
                                             : NULL);
    (void)lines_begin(&l, to, "identifiers");
    mm_put_str(&l.sink, r->with_identifiers ? "serial numbers and UUIDs are included"
                                            : "serial numbers and UUIDs are left out");
    lines_end(&l);
}

static const char *state_text(uint32_t state)
{
    return state == REPORT_ON ? "on" : state == REPORT_OFF ? "off" : NULL;
}

static void put_firmware(const struct mm_sink *to, const struct report *r)
{
    const struct report_firmware *f = &r->firmware;
    const struct report_security *s = &r->security;
    struct lines l;

    put_heading(to, "Firmware");
    if ((r->known & REPORT_HAS_FIRMWARE) != 0) {
        put_line(to, "vendor", f->vendor);
        mm_put_hex(lines_begin(&l, to, "revision"), f->revision, 8);
        lines_end(&l);
        report_put_uefi(lines_begin(&l, to, "UEFI"), f->uefi_revision);
        lines_end(&l);
    } else {
        put_line(to, "vendor", NULL);
    }
    put_line(to, "Secure Boot", state_text(s->secure_boot));
    put_line(to, "setup mode", state_text(s->setup_mode));
    put_line(to, "TPM", s->tpm != REPORT_TPM_UNKNOWN ? report_tpm_name(s->tpm) : NULL);
}

static void put_bits(const struct mm_sink *to, const char *what, uint32_t bits)
{
    mm_put_str(to, what);
    if (bits != 0) {
        put_number(to, "", bits, " bits");
    } else {
        mm_put_str(to, NOT_KNOWN);
    }
}

static void put_cpu(const struct mm_sink *to, const struct report *r)
{
    const struct report_cpu *c = &r->cpu;
    struct lines l;

    put_heading(to, "Processor");
    if ((r->known & REPORT_HAS_CPU) == 0) {
        put_line(to, "vendor", NULL);
        return;
    }
    put_line(to, "vendor", c->vendor);
    put_line(to, "brand", c->brand);
    (void)lines_begin(&l, to, "version");
    put_number(&l.sink, "family ", c->family, ", ");
    put_number(&l.sink, "model ", c->model, ", ");
    put_number(&l.sink, "stepping ", c->stepping, "");
    lines_end(&l);
    (void)lines_begin(&l, to, "addresses");
    put_bits(&l.sink, "physical ", c->physical_bits);
    put_bits(&l.sink, ", linear ", c->linear_bits);
    lines_end(&l);
    (void)lines_begin(&l, to, "features");
    if ((c->features & ((UINT32_C(1) << REPORT_CPU_FEATURES) - 1)) == 0) {
        mm_put_str(&l.sink, "none");
    }
    for (uint32_t bit = 0; bit < REPORT_CPU_FEATURES; bit++) {
        if ((c->features >> bit & 1) != 0) {
            mm_put_str(&l.sink, report_feature_name(bit));
            mm_put_char(&l.sink, ' ');
        }
    }
    lines_end(&l);
}

/* How fast, how wide: what is known of it. */
static void put_device_numbers(const struct mm_sink *to, const struct report_memory_device *d)
{
    if (d->speed != 0) {
        put_number(to, ", made for ", d->speed, " MT/s");
    }
    if (d->configured_speed != 0) {
        put_number(to, ", runs at ", d->configured_speed, " MT/s");
    }
    if (d->data_bits != 0) {
        put_number(to, ", ", d->data_bits, " data bits");
    }
    if (d->total_bits != 0) {
        put_number(to, " of ", d->total_bits, "");
    }
    if (d->ranks != 0) {
        put_number(to, ", ", d->ranks, d->ranks == 1 ? " rank" : " ranks");
    }
}

static void put_device(const struct mm_sink *to, const struct report_memory_device *d,
                       bool with_identifiers)
{
    const char *type = report_memory_type_name(d->type);
    struct lines l;

    (void)lines_begin(&l, to, "memory device");
    mm_put_str(&l.sink, d->locator != NULL ? d->locator : NOT_KNOWN);
    put_also(&l.sink, ", ", d->bank);
    if (d->nbytes == 0) {
        mm_put_str(&l.sink, ": empty");
    } else {
        mm_put_str(&l.sink, ": ");
        if (d->nbytes != REPORT_NO_SIZE) {
            mm_put_size(&l.sink, d->nbytes, 0);
        } else {
            mm_put_str(&l.sink, "size " NOT_KNOWN);
        }
        put_also(&l.sink, " ", type);
        put_device_numbers(&l.sink, d);
        put_also(&l.sink, ", ", d->manufacturer);
        put_also(&l.sink, " ", d->part_number);
        put_also(&l.sink, ", serial number ", with_identifiers ? d->serial : NULL);
    }
    lines_end(&l);
}

static bool is_zero(const unsigned char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] != 0) {
            return false;
        }
    }
    return true;
}

static void put_smbios(const struct mm_sink *to, const struct report *r)
{
    const struct report_smbios *s = &r->smbios;
    char uuid[REPORT_GUID_CHARS + 1];
    struct lines l;

    put_heading(to, "System (SMBIOS)");
    if ((r->known & REPORT_HAS_SMBIOS) == 0) {
        put_line(to, "product", NULL);
        return;
    }
    (void)lines_begin(&l, to, "SMBIOS");
    put_number(&l.sink, "", s->major, ".");
    put_number(&l.sink, "", s->minor, ", entry point at ");
    mm_put_hex(&l.sink, s->address, 1);
    lines_end(&l);
    put_line(to, "manufacturer", s->manufacturer);
    put_line(to, "product", s->product);
    put_line(to, "version", s->version);
    put_line(to, "family", s->family);
    put_line(to, "SKU", s->sku);
    if (r->with_identifiers) {
        report_guid_text(s->uuid, uuid);
        put_line(to, "serial number", s->serial);
        put_line(to, "UUID", is_zero(s->uuid, sizeof(s->uuid)) ? NULL : uuid);
    }
    put_line(to, "board maker", s->board_manufacturer);
    put_line(to, "board", s->board_product);
    put_line(to, "board version", s->board_version);
    if (r->with_identifiers) {
        put_line(to, "board serial", s->board_serial);
    }
    put_line(to, "BIOS vendor", s->bios_vendor);
    put_line(to, "BIOS version", s->bios_version);
    put_line(to, "BIOS date", s->bios_date);
    for (uint32_t i = 0; i < s->ndevices; i++) {
        put_device(to, &s->devices[i], r->with_identifiers);
    }
}

static void put_framebuffers(const struct mm_sink *to, const struct report *r)
{
    if (!put_list_heading(to, "Screens", (r->known & REPORT_HAS_FRAMEBUFFERS) != 0,
                          r->nframebuffers)) {
        return;
    }
    for (uint32_t i = 0; i < r->nframebuffers; i++) {
        const struct report_framebuffer *f = &r->framebuffers[i];
        struct lines l;

        (void)lines_begin(&l, to, "screen");
        put_number(&l.sink, "", f->width, " x ");
        put_number(&l.sink, "", f->height, ", pixels ");
        mm_put_str(&l.sink, report_pixel_name(f->format));
        put_number(&l.sink, ", ", f->stride, " to a line");
        if (f->nbytes != 0) {
            mm_put_str(&l.sink, ", frame buffer of ");
            mm_put_size(&l.sink, f->nbytes, 0);
            mm_put_str(&l.sink, " at ");
            mm_put_hex(&l.sink, f->base, 1);
        }
        lines_end(&l);
    }
}

/* ---- the maps in numbers --------------------------------------------------------------------- */

static const char *when_text(uint32_t when)
{
    static const char *const texts[REPORT_WHENS] = {
        [REPORT_START] = "as Plat started",
        [REPORT_LAST] = "before this report was closed",
        [REPORT_FINAL] = "as boot services ended",
        [REPORT_KERNEL] = "what the kernel works with",
        [REPORT_FILE] = "from a file",
    };

    return when < REPORT_WHENS ? texts[when] : "unknown";
}

/* "3 more", "as many", "1.0 MiB less". */
static void put_change(const struct mm_sink *to, const char *what, uint64_t before, uint64_t now)
{
    mm_put_str(to, what);
    if (before == now) {
        mm_put_str(to, " as before");
        return;
    }
    mm_put_char(to, ' ');
    mm_put_size(to, before < now ? now - before : before - now, 0);
    mm_put_str(to, before < now ? " more" : " less");
}

static bool is_same_map(const struct memmap_raw *a, const struct memmap_raw *b)
{
    return a->nbytes != 0 && a->nbytes == b->nbytes && a->stride == b->stride &&
           a->version == b->version && __builtin_memcmp(a->bytes, b->bytes, a->nbytes) == 0;
}

/* Against the map before it, in a paragraph. */
static void put_difference(const struct mm_sink *to, const struct report_capture *from,
                           const struct report_capture *c)
{
    const uint32_t totals = REPORT_CAPTURE_TOTALS;
    uint64_t before = report_ndescs(&from->raw);
    uint64_t now = report_ndescs(&c->raw);
    struct lines l;

    (void)lines_begin(&l, to, "difference");
    put_also(&l.sink, "to \"", report_when_name(from->when));
    mm_put_str(&l.sink, "\": ");
    if (is_same_map(&from->raw, &c->raw)) {
        mm_put_str(&l.sink, "none, the maps are the same byte for byte");
        lines_end(&l);
        return;
    }
    if (before == now && now != 0) {
        mm_put_str(&l.sink, "as many descriptors; ");
    } else if (before != 0 && now != 0) {
        uint64_t n = before < now ? now - before : before - now;

        put_number(&l.sink, "", n, n == 1 ? " descriptor " : " descriptors ");
        mm_put_str(&l.sink, before < now ? "more; " : "less; ");
    }
    if ((from->known & c->known & totals) != 0) {
        const struct mapsum *a = &from->totals;
        const struct mapsum *b = &c->totals;

        put_change(&l.sink, "RAM", a->ram_bytes, b->ram_bytes);
        put_change(&l.sink, ", usable now", a->usable[MAPSUM_NOW].nbytes,
                   b->usable[MAPSUM_NOW].nbytes);
        put_change(&l.sink, ", usable after exit", a->usable[MAPSUM_AFTER_EXIT].nbytes,
                   b->usable[MAPSUM_AFTER_EXIT].nbytes);
        put_change(&l.sink, ", kept for runtime", a->runtime_bytes, b->runtime_bytes);
    } else {
        mm_put_str(&l.sink, "sums " NOT_KNOWN);
    }
    lines_end(&l);
}

static void put_capture_heading(const struct mm_sink *to, const char *what,
                                const struct report_capture *c)
{
    char text[64];
    struct mm_text t;
    struct mm_sink heading = mm_text_sink(&t, text, sizeof(text));

    mm_put_str(&heading, what);
    mm_put_str(&heading, report_when_name(c->when));
    mm_put_str(&heading, "\"");
    put_heading(to, text);
}

static void put_capture(const struct mm_sink *to, const struct report *r, uint32_t i)
{
    const struct report_capture *c = &r->captures[i];
    struct lines l;

    put_capture_heading(to, "Map \"", c);
    put_line(to, "taken", when_text(c->when));
    put_line(to, "origin", c->origin);
    if (c->raw.nbytes != 0) {
        (void)lines_begin(&l, to, "descriptors");
        put_number(&l.sink, "", report_ndescs(&c->raw), " of ");
        put_number(&l.sink, "", c->raw.stride, " bytes, ");
        put_number(&l.sink, "version ", c->raw.version, "");
        mm_put_str(&l.sink,
                   c->is_verbatim ? ", as firmware gave it" : ", made from another format");
        mm_put_str(&l.sink, c->is_whole ? "" : "; nothing shows whether more are missing");
        lines_end(&l);
    }
    if (i > 0) {
        put_difference(to, &r->captures[i - 1], c);
    }
    if ((c->known & REPORT_CAPTURE_TOTALS) != 0) {
        mm_put_char(to, '\n');
        mapsum_put(to, &c->totals);
    }
}

/* ---- findings -------------------------------------------------------------------------------- */

_Static_assert(MAPLINT_NRULES <= 64, "a bit for each rule");

/* What comes of a rule is said at the first finding of it; bit n of *told: it was for rule n. */
static void put_finding(const struct mm_sink *to, const struct memmap_finding *f, uint64_t *told)
{
    const struct maplint_rule *rule = f->rule != NULL ? maplint_rule(f->rule) : NULL;
    struct memmap_finding whole = *f;
    struct lines l;

    whole.rule = f->rule != NULL ? f->rule : "?";
    whole.what = f->what != NULL ? f->what : NOT_KNOWN;
    maplint_put_finding(lines_begin_at(&l, to, "", 0), &whole);
    lines_end(&l);
    if (rule != NULL && (*told >> (rule - maplint_rules) & 1) == 0) {
        *told |= UINT64_C(1) << (rule - maplint_rules);
        put_line(to, "  consequence", rule->consequence);
        put_line(to, "  advice", rule->advice);
    }
}

static void put_findings(const struct mm_sink *to, const struct report *r)
{
    bool known = (r->known & REPORT_HAS_FINDINGS) != 0;
    uint64_t told = 0;
    struct lines l;

    if (!put_list_heading(to, "Findings", known, r->nfindings + (uint64_t)r->lost_findings)) {
        return;
    }
    if (r->findings_when < REPORT_WHENS) {
        (void)lines_begin_at(&l, to, "", 0);
        put_also(&l.sink, "About the map \"", report_when_name(r->findings_when));
        mm_put_str(&l.sink, "\", whose descriptors they name.");
        lines_end(&l);
    }
    for (uint32_t i = 0; i < r->nfindings; i++) {
        put_finding(to, &r->findings[i], &told);
    }
    if (r->lost_findings != 0) {
        put_number(to, "There was no room for ", r->lost_findings, " more.\n");
    }
}

/* ---- tables ---------------------------------------------------------------------------------- */

/* The end of a descriptor, the start of one whose end is none. */
static uint64_t highest_address(const unsigned char *desc)
{
    uint64_t end = 0;

    return report_desc_end(desc, &end)
               ? end
               : report_load64(desc + offsetof(struct efi_memory_descriptor, physical_start));
}

/* A hexadecimal number of `width` characters, its "0x" included. */
static void put_address(const struct mm_sink *to, uint64_t v, size_t width)
{
    mm_put_hex(to, v, width - 2);
    mm_put_char(to, ' ');
}

static void put_type(const struct mm_sink *to, uint32_t type)
{
    if (type <= EFI_MT_UNACCEPTED) {
        mm_put_left(to, memmap_type_name(type), TYPE_CHARS);
    } else {
        mm_put_hex(to, type, 8);
        mm_put_fill(to, ' ', TYPE_CHARS - 10);
    }
    mm_put_char(to, ' ');
}

static void put_attributes(const struct mm_sink *to, uint64_t attr, uint64_t known)
{
    char text[160];

    (void)memmap_attr_text(attr, text, sizeof(text));
    mm_put_str(to, attr != 0 ? text : known != 0 ? "-" : "?");
    mm_put_char(to, '\n');
}

static void put_table_heading(const struct mm_sink *to, const char *index, size_t width,
                              const char *behind)
{
    mm_put_str(to, index);
    mm_put_left(to, "start", width + 1);
    mm_put_left(to, "end", width + 1);
    mm_put_str(to, behind);
}

static void put_descriptors(const struct mm_sink *to, const struct memmap_raw *raw,
                            uint64_t attr_known)
{
    uint64_t n = report_ndescs(raw);
    size_t width = HEX_DIGITS;

    for (uint64_t i = 0; i < n; i++) {
        size_t digits =
            hex_digits(highest_address((const unsigned char *)raw->bytes + i * raw->stride));

        width = digits > width ? digits : width;
    }
    width += 2;
    put_table_heading(to, "  # ", width, "      size type                attributes\n");
    for (uint64_t i = 0; i < n; i++) {
        const unsigned char *at = (const unsigned char *)raw->bytes + i * raw->stride;
        struct efi_memory_descriptor d;
        uint64_t end = 0;

        __builtin_memcpy(&d, at, sizeof(d));
        mm_put_u64(to, i, INDEX_CHARS);
        mm_put_char(to, ' ');
        put_address(to, d.physical_start, width);
        if (report_desc_end(at, &end)) {
            put_address(to, end, width);
            mm_put_size(to, end - d.physical_start, SIZE_CHARS);
        } else {
            mm_put_left(to, "none", width + 1);
            mm_put_fill(to, ' ', SIZE_CHARS - 1);
            mm_put_char(to, '-');
        }
        mm_put_char(to, ' ');
        put_type(to, d.type);
        put_attributes(to, d.attribute, attr_known);
    }
}

static void put_regions(const struct mm_sink *to, const struct report_capture *c)
{
    size_t width = HEX_DIGITS;

    for (uint32_t i = 0; i < c->nregions; i++) {
        size_t digits = hex_digits(c->regions[i].end);

        width = digits > width ? digits : width;
    }
    width += 2;
    put_table_heading(to, "", width, "      size use             type\n");
    for (uint32_t i = 0; i < c->nregions; i++) {
        const struct memmap_region *g = &c->regions[i];

        put_address(to, g->base, width);
        put_address(to, g->end, width);
        mm_put_size(to, g->end - g->base, SIZE_CHARS);
        mm_put_char(to, ' ');
        mm_put_left(to, memmap_kind_name(g->kind), 16);
        mm_put_str(to, g->desc != MEMMAP_NODESC ? memmap_type_name(g->type) : "(claimed)");
        mm_put_char(to, '\n');
    }
}

/* The descriptors, or of a map that has none its regions. */
static void put_map(const struct mm_sink *to, const struct report *r, uint32_t i)
{
    const struct report_capture *c = &r->captures[i];

    if (report_ndescs(&c->raw) == 0 && (c->known & REPORT_CAPTURE_REGIONS) != 0) {
        put_capture_heading(to, "Regions of the map \"", c);
        put_regions(to, c);
        return;
    }
    put_capture_heading(to, "Descriptors of the map \"", c);
    if (report_ndescs(&c->raw) == 0) {
        mm_put_str(to, "none\n");
    } else if (i > 0 && is_same_map(&r->captures[i - 1].raw, &c->raw)) {
        mm_put_str(to, "The same as those of the map before.\n");
    } else {
        put_descriptors(to, &c->raw, c->attr_known);
    }
}

static void put_memory_attributes(const struct mm_sink *to, const struct report *r)
{
    const struct report_attributes *a = &r->attributes;
    struct lines l;

    if (!put_list_heading(to, "Memory Attributes Table", (r->known & REPORT_HAS_ATTRIBUTES) != 0,
                          1)) {
        return;
    }
    (void)lines_begin(&l, to, "table");
    mm_put_str(&l.sink, "at ");
    mm_put_hex(&l.sink, a->address, 1);
    put_number(&l.sink, ", version ", a->raw.version, ", flags ");
    mm_put_hex(&l.sink, a->flags, 1);
    put_number(&l.sink, ", ", report_ndescs(&a->raw), " entries");
    lines_end(&l);
    if (a->problem != NULL) {
        put_line(to, "not usable", a->problem);
    }
    if (report_ndescs(&a->raw) != 0) {
        put_descriptors(to, &a->raw, UINT64_MAX);
    }
}

static void put_tables(const struct mm_sink *to, const struct report *r)
{
    if (!put_list_heading(to, "Configuration tables", (r->known & REPORT_HAS_TABLES) != 0,
                          r->ntables)) {
        return;
    }
    for (uint32_t i = 0; i < r->ntables; i++) {
        const char *name = report_guid_name(r->tables[i].guid);
        char guid[REPORT_GUID_CHARS + 1];

        report_guid_text(r->tables[i].guid, guid);
        put_address(to, r->tables[i].address, HEX_DIGITS + 2);
        mm_put_str(to, guid);
        mm_put_char(to, ' ');
        mm_put_str(to, name != NULL ? name : NOT_KNOWN);
        mm_put_char(to, '\n');
    }
}

static void put_acpi(const struct mm_sink *to, const struct report *r)
{
    if (!put_list_heading(to, "ACPI tables", (r->known & REPORT_HAS_ACPI) != 0, r->nacpi)) {
        return;
    }
    mm_put_str(to, "table address          bytes  rev maker  product  product's revision\n");
    for (uint32_t i = 0; i < r->nacpi; i++) {
        const struct report_acpi_table *t = &r->acpi[i];

        put_cell(to, t->signature, sizeof(t->signature) - 1, 6);
        put_address(to, t->address, HEX_DIGITS + 2);
        mm_put_u64(to, t->nbytes, 10);
        mm_put_u64(to, t->revision, 5);
        mm_put_char(to, ' ');
        put_cell(to, t->oem_id, sizeof(t->oem_id) - 1, 7);
        put_cell(to, t->oem_table_id, sizeof(t->oem_table_id) - 1, 9);
        mm_put_hex(to, t->oem_revision, 8);
        mm_put_char(to, '\n');
    }
}

static void put_pci_config(const struct mm_sink *to, const struct report *r)
{
    if (!put_list_heading(to, "PCI configuration space", (r->known & REPORT_HAS_PCI_CONFIG) != 0,
                          r->npci_config)) {
        return;
    }
    for (uint32_t i = 0; i < r->npci_config; i++) {
        const struct report_pci_config *p = &r->pci_config[i];

        put_address(to, p->base, HEX_DIGITS + 2);
        mm_put_size(to, p->nbytes, SIZE_CHARS);
        put_number(to, "  segment ", p->segment, ", buses ");
        put_number(to, "", p->first_bus, " to ");
        put_number(to, "", p->last_bus, "\n");
    }
}

void report_put_text(const struct mm_sink *to, const struct report *r)
{
    put_title(to, r);
    put_firmware(to, r);
    put_cpu(to, r);
    put_smbios(to, r);
    put_framebuffers(to, r);
    for (uint32_t i = 0; i < r->ncaptures; i++) {
        put_capture(to, r, i);
    }
    put_findings(to, r);
    for (uint32_t i = 0; i < r->ncaptures; i++) {
        put_map(to, r, i);
    }
    put_memory_attributes(to, r);
    put_tables(to, r);
    put_acpi(to, r);
    put_pci_config(to, r);
}
