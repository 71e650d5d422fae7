/*
 * mapfile_shell.c - the EFI shell's `memmap`, as a table and as -sfo.
 *
 *     Type       Start            End              # Pages          Attributes
 *     Available  0000000000000000-000000000009EFFF 000000000000009F 000000000000000F
 *     80000003   00000000000A0000-00000000000A0FFF 0000000000000001 000000000000000F
 *       Reserved  :      3,325,519 Pages (13,621,325,824 Bytes)
 *     Total Memory:         64,793 MB (67,940,900,864 Bytes)
 *
 *     ShellCommand,"memmap"
 *     MemoryMap,"Available","0","9EFFF","9F","F"
 *     MemoryMapSummary,"267517952","268959744",...
 *
 * Both end in totals, and these must agree with the rows. People leave them out of what they post,
 * so a table may do without; then no line that is no row may stand between its rows. -sfo without
 * its one line of totals is cut off.
 *
 * The total of all memory has left out different types over the years: early EDK II counted all,
 * today's leaves out what is not RAM. Either will do. -sfo prints no rows for types of OEM and OS,
 * but counts them: then the input cannot be taken for the whole map, and the message says so.
 */
#include "mapfile_import.h"

/* EDK II, MemMap.c, MemoryPageArray: what does not contribute to the total. */
#define NOT_IN_TOTAL                                                                               \
    (1u << EFI_MT_RESERVED | 1u << EFI_MT_UNUSABLE | 1u << EFI_MT_MMIO | 1u << EFI_MT_MMIO_PORT)

/* UEFI Shell 2.2, 5.3 memmap: columns of the -sfo totals behind the first, which is for all. */
static const uint8_t sfo_columns[] = {
    EFI_MT_RESERVED,     EFI_MT_BOOT_CODE,   EFI_MT_BOOT_DATA,   EFI_MT_RUNTIME_CODE,
    EFI_MT_RUNTIME_DATA, EFI_MT_LOADER_CODE, EFI_MT_LOADER_DATA, EFI_MT_CONVENTIONAL,
    EFI_MT_MMIO,         EFI_MT_MMIO_PORT,   EFI_MT_UNUSABLE,    EFI_MT_ACPI_RECLAIM,
    EFI_MT_ACPI_NVS,     EFI_MT_PAL_CODE,    EFI_MT_UNACCEPTED,  EFI_MT_PERSISTENT,
};

/* ---- both ------------------------------------------------------------------------------------ */

/* Add a row whose last byte is said to be `last`. */
static mm_err_t add_row(struct import *im, const struct efi_memory_descriptor *d, uint64_t last)
{
    if (d->number_of_pages > UINT64_C(1) << (64 - MM_PAGE_SHIFT) ||
        d->physical_start + (d->number_of_pages << MM_PAGE_SHIFT) - 1 != last) {
        return mapfile_fail(im, "start, end and page count of the row contradict each other");
    }
    if (d->type < MM_COUNTOF(im->map.pages)) {
        im->map.pages[d->type] += d->number_of_pages;
    } else {
        im->map.other_pages += d->number_of_pages;
    }
    mapfile_add(im, d);
    return MM_OK;
}

static uint64_t total_pages(const struct map_state *map, uint32_t left_out)
{
    uint64_t pages = map->other_pages;

    for (uint32_t type = 0; type < MM_COUNTOF(map->pages); type++) {
        if ((left_out >> type & 1) == 0) {
            pages += map->pages[type];
        }
    }
    return pages;
}

static bool total_agrees(const struct map_state *map, uint64_t nbytes)
{
    return nbytes == total_pages(map, NOT_IN_TOTAL) << MM_PAGE_SHIFT ||
           nbytes == total_pages(map, 0) << MM_PAGE_SHIFT;
}

/* ---- the table ------------------------------------------------------------------------------- */

/* A type's name, or its number where the shell has no name for it: eight digits. */
static bool take_type(struct text *t, uint32_t *type)
{
    struct text name = text_take_until(t, ' ', ':');
    uint64_t v;

    if (text_is_type(name, type)) {
        return true;
    }
    if (!text_take_hex(&name, 8, &v) || !text_is_empty(&name) || v > UINT32_MAX) {
        return false;
    }
    *type = (uint32_t)v;
    return true;
}

/* Does it begin as a row does: a word, then a hexadecimal number that goes on with '-' or is cut?
 */
static bool looks_like_row(struct text t)
{
    struct text name = text_take_word(&t);
    uint32_t type;
    uint64_t v;

    if (!text_take_blanks(&t)) {
        return text_is_type(name, &type);
    }
    if (!text_take_hex(&t, 1, &v)) {
        return false;
    }
    return text_take(&t, "-") || (text_is_empty(&t) && take_type(&name, &type));
}

static bool take_row(struct text *t, struct efi_memory_descriptor *d, uint64_t *last)
{
    return take_type(t, &d->type) && text_take_blanks(t) &&
           text_take_hex(t, 16, &d->physical_start) && text_take(t, "-") &&
           text_take_hex(t, 16, last) && text_take_blanks(t) &&
           text_take_hex(t, 16, &d->number_of_pages) && text_take_blanks(t) &&
           text_take_hex(t, 16, &d->attribute) && text_is_empty(t);
}

static mm_err_t row(struct import *im, const struct efi_memory_descriptor *d, uint64_t last)
{
    if (im->map.in_summary) {
        return mapfile_fail(im, "a row of the table stands behind its totals");
    }
    if (im->map.stray_line == 0) {
        im->map.stray_line = im->map.other_line;
    }
    return add_row(im, d, last);
}

/* "  Reserved  :   3,325,519 Pages (13,621,325,824 Bytes)"; older ones end in ")" or ") Bytes". */
static bool take_totals(struct text *t, const char *unit, uint64_t *count, uint64_t *nbytes)
{
    (void)text_take_blanks(t);
    if (!text_take(t, ":")) {
        return false;
    }
    (void)text_take_blanks(t);
    if (!text_take_grouped(t, count) || !text_take(t, unit) || !text_take_grouped(t, nbytes)) {
        return false;
    }
    return (text_take(t, " Bytes)") || text_take(t, ") Bytes") || text_take(t, ")")) &&
           text_is_empty(t);
}

static mm_err_t total_of_type(struct import *im, struct text t, uint32_t type)
{
    uint64_t pages;
    uint64_t nbytes;

    im->map.in_summary = true;
    if (!take_totals(&t, " Pages (", &pages, &nbytes) || nbytes != pages << MM_PAGE_SHIFT) {
        return mapfile_fail(im, "the line of totals is cut off or damaged");
    }
    if (type < MM_COUNTOF(im->map.pages) && pages != im->map.pages[type]) {
        return mapfile_fail_number(im,
                                   "the rows do not agree with the totals: rows of this type have ",
                                   im->map.pages[type], " pages");
    }
    return MM_OK;
}

static mm_err_t total_of_all(struct import *im, struct text t)
{
    uint64_t mib;
    uint64_t nbytes;

    im->map.in_summary = true;
    if (!take_totals(&t, " MB (", &mib, &nbytes) || mib != nbytes >> 20) {
        return mapfile_fail(im, "the line of totals is cut off or damaged");
    }
    if (!total_agrees(&im->map, nbytes)) {
        return mapfile_fail_number(im, "the rows do not agree with the totals: they have ",
                                   total_pages(&im->map, NOT_IN_TOTAL) << MM_PAGE_SHIFT,
                                   " bytes of memory");
    }
    im->map.closed = true;
    return MM_OK;
}

static mm_err_t shell_heading(struct import *im, struct text t)
{
    (void)t;
    return mapfile_begin(im, &mapfile_shell);
}

static mm_err_t shell_other(struct import *im, struct text t)
{
    struct efi_memory_descriptor d = { 0 };
    struct text rest = t;
    uint64_t last;

    if (im->map.closed) {
        return MM_OK;
    }
    if (take_row(&rest, &d, &last)) {
        return row(im, &d, last);
    }
    if (looks_like_row(t)) {
        return mapfile_fail(im,
                            "no whole row of the table: it is cut off, damaged, or of an unknown "
                            "memory type");
    }
    rest = t;
    if (text_take(&rest, "Total Memory")) {
        return total_of_all(im, rest);
    }
    if (take_type(&rest, &d.type)) {
        (void)text_take_blanks(&rest);
        if (!text_is_empty(&rest) && *rest.at == ':') {
            return total_of_type(im, rest, d.type);
        }
    }
    if (im->cut && text_begins_type(t)) {
        return mapfile_fail(im, "no whole row of the table: it is cut off");
    }
    return MM_OK;
}

static mm_err_t shell_finish(struct import *im)
{
    im->map.attr_known = UINT64_MAX;
    im->map.whole = im->map.closed;
    if (im->map.in_summary && !im->map.closed) {
        return mapfile_fail(im, "the totals at the end of the table are cut off");
    }
    if (!im->map.closed && im->map.stray_line != 0) {
        return mapfile_fail_at(
            im, im->map.stray_line,
            "this line in the middle of the table is no row of it, and there are "
            "no totals to tell whether rows are missing");
    }
    return MM_OK;
}

const struct map_reader mapfile_shell = {
    .line = shell_heading,
    .other = shell_other,
    .finish = shell_finish,
};

/* ---- -sfo ------------------------------------------------------------------------------------ */

/* ,"..." with what is between the quotes; blanks may stand behind the comma. */
static bool take_column(struct text *t, struct text *column)
{
    if (!text_take(t, ",")) {
        return false;
    }
    (void)text_take_blanks(t);
    if (!text_take(t, "\"")) {
        return false;
    }
    *column = text_take_until(t, '"', '"');
    return text_take(t, "\"");
}

static bool take_hex_column(struct text *t, uint64_t *v)
{
    struct text column;

    return take_column(t, &column) && text_take_hex(&column, 1, v) && text_is_empty(&column);
}

static mm_err_t sfo_row(struct import *im, struct text t)
{
    struct efi_memory_descriptor d = { 0 };
    struct text name;
    uint64_t last;

    if (im->map.closed) {
        return mapfile_fail(im, "a row stands behind the totals");
    }
    im->map.open = true;
    if (!take_column(&t, &name) || !take_hex_column(&t, &d.physical_start) ||
        !take_hex_column(&t, &last) || !take_hex_column(&t, &d.number_of_pages) ||
        !take_hex_column(&t, &d.attribute) || !text_is_empty(&t)) {
        return mapfile_fail(im, "no whole row: it is cut off or damaged");
    }
    if (!text_is_type(name, &d.type)) {
        return mapfile_fail(im, "the memory type of the row is damaged or unknown");
    }
    return add_row(im, &d, last);
}

static mm_err_t sfo_totals(struct import *im, struct text t)
{
    uint64_t total = 0;
    uint64_t rows;
    size_t n = 0;

    for (; !text_is_empty(&t); n++) {
        struct text column;
        uint64_t v;

        if (!take_column(&t, &column) || !text_take_dec(&column, &v) || !text_is_empty(&column)) {
            return mapfile_fail(im, "the line of totals is cut off or damaged");
        }
        if (n == 0) {
            total = v;
        } else if (n <= MM_COUNTOF(sfo_columns) && v != im->map.pages[sfo_columns[n - 1]]
                                                            << MM_PAGE_SHIFT) {
            return mapfile_fail_number(im, "the rows do not agree with the totals: of column ",
                                       n + 1, " they have a different number of bytes");
        }
    }
    if (n != MM_COUNTOF(sfo_columns) + 1) {
        return mapfile_fail(im,
                            "the line of totals is cut off: it has fewer or more than 17 columns");
    }
    rows = total_pages(&im->map, NOT_IN_TOTAL) << MM_PAGE_SHIFT;
    if (total > rows) {
        return mapfile_fail_number(im, "the shell leaves out types of OEM or OS here, ",
                                   total - rows, " bytes of memory: use the map without -sfo");
    }
    if (total != rows) {
        return mapfile_fail_number(im, "the rows do not agree with the totals: they have ", rows,
                                   " bytes of memory");
    }
    im->map.closed = true;
    return MM_OK;
}

static mm_err_t sfo_line(struct import *im, struct text t)
{
    if (text_take(&t, "MemoryMapSummary")) {
        return sfo_totals(im, t);
    }
    if (text_take(&t, "MemoryMap")) {
        return sfo_row(im, t);
    }
    return mapfile_begin(im, &mapfile_sfo);
}

static mm_err_t sfo_finish(struct import *im)
{
    im->map.attr_known = UINT64_MAX;
    im->map.whole = true;
    if (!im->map.closed) {
        return mapfile_fail(im, "the line of totals, MemoryMapSummary, is missing: the text is cut "
                                "off");
    }
    return MM_OK;
}

const struct map_reader mapfile_sfo = { .line = sfo_line, .finish = sfo_finish };
