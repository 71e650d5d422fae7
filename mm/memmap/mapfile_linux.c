/*
 * mapfile_linux.c - the map in the logs of Linux: what EFI said, and what e820 made of it.
 *
 * EFI, x86 (efi_print_memmap): type and attributes as numbers in old kernels, as words later; the
 * end exclusive at first, inclusive later:
 *
 *     efi: mem00: type=7, attr=0xf, range=[0x0000000000000000-0x000000000008b000) (0MB)
 *     efi: mem00: [Boot Code   |   |  |  |  |  |   |WB|WT|WC|UC] range=[0x...-0x...) (0MB)
 *     efi: mem00: [Boot Code   |RUN|attr=0x...] range=[0x...-0x...] (0MB)
 *
 * EFI, arm64 and others (reserve_regions): a heading, then lines without numbers. No attributes in
 * the first kernels; a '*' behind what the kernel keeps:
 *
 *     efi: Processing EFI memory map:
 *     efi:   0x00005fff0000-0x00005fffefff [Conventional|   |  |  |  |WB|WT|WC|  ]*
 *
 * e820 (e820_print_map): a heading, then lines; exclusive ends and words in brackets in old
 * kernels; a line for each gap as well, and other words, in the newest:
 *
 *     BIOS-provided physical RAM map:
 *     BIOS-e820: 0000000000000000 - 000000000009fc00 (usable)
 *     BIOS-e820: [mem 0x0000000000000000-0x000000000009fbff] usable
 *     BIOS-e820: [gap 0x00000000000a0000-0x00000000000effff]
 *
 * The number of a line shows lines that are missing, the megabytes at its end a digit that is. A
 * log of several boots has several maps: each begins with number 0, or with a heading, or (e820,
 * which the kernel sorts) with a lower address.
 */
#include "mapfile_import.h"

/* ---- EFI ------------------------------------------------------------------------------------- */

/* The part between '[' and ']' in words: type, then attributes, if there are any. */
static bool take_type_attr(struct text *t, struct efi_memory_descriptor *d, bool *has_attr)
{
    uint64_t v;

    if (!text_take(t, "[")) {
        return false;
    }
    if (text_take(t, "type=")) { /* one that this kernel has no name for */
        if (!text_take_dec(t, &v) || v > UINT32_MAX) {
            return false;
        }
        d->type = (uint32_t)v;
    } else if (!text_is_type(text_take_until(t, '|', ']'), &d->type)) {
        return false;
    }
    *has_attr = false;
    while (text_take(t, "|")) {
        *has_attr = true;
        (void)text_take_blanks(t);
        if (text_take(t, "attr=")) { /* with bits that this kernel has no word for */
            if (!text_take_0x(t, 1, &d->attribute)) {
                return false;
            }
        } else {
            struct text word = text_take_until(t, '|', ']');

            if (!text_is_empty(&word)) {
                if (!text_is_attr(word, &v)) {
                    return false;
                }
                d->attribute |= v;
            }
        }
    }
    return text_take(t, "]");
}

/* "range=[0x...-0x...)" or "...]": start and page count, modulo 2^64 as the kernel printed them. */
static bool take_range(struct text *t, struct efi_memory_descriptor *d)
{
    uint64_t end;

    if (!text_take(t, "range=[") || !text_take_0x(t, 16, &d->physical_start) ||
        !text_take(t, "-") || !text_take_0x(t, 16, &end)) {
        return false;
    }
    if (text_take(t, "]")) {
        end++;
    } else if (!text_take(t, ")")) {
        return false;
    }
    end -= d->physical_start;
    d->number_of_pages = end >> MM_PAGE_SHIFT;
    return mm_is_aligned(end, MM_PAGE_SIZE);
}

static mm_err_t numbered_line(struct import *im, struct text t)
{
    struct efi_memory_descriptor d = { 0 };
    bool has_attr = true;
    uint64_t number;
    uint64_t type;
    uint64_t mib;

    if (!text_take_dec(&t, &number) || !text_take(&t, ":") || !text_take_blanks(&t)) {
        return mapfile_fail(im, "no whole line of the map: \"memNN: \" is cut off or damaged");
    }
    im->is_x86 = true;
    if (number == 0) {
        mm_err_t err = mapfile_begin(im, &mapfile_linux_efi);

        if (err != MM_OK) {
            return err;
        }
        im->map.headed = true;
    } else if (!im->map.open) {
        return mapfile_fail_number(im, "the map begins with descriptor ", number,
                                   ": those before it are missing from the log");
    } else if (number != im->map.n) {
        return mapfile_fail_number(im, "descriptor ", im->map.n,
                                   " was to follow: lines are missing or out of order");
    }
    if (text_take(&t, "type=")) {
        if (!text_take_dec(&t, &type) || type > UINT32_MAX || !text_take(&t, ", attr=") ||
            !text_take_0x(&t, 1, &d.attribute) || !text_take(&t, ", ")) {
            return mapfile_fail(im, "no whole line of the map: type or attributes are cut off or "
                                    "damaged");
        }
        d.type = (uint32_t)type;
    } else if (!take_type_attr(&t, &d, &has_attr) || !text_take_blanks(&t)) {
        return mapfile_fail(im, "no whole line of the map: type or attributes are cut off, damaged "
                                "or unknown");
    }
    if (!take_range(&t, &d)) {
        return mapfile_fail(im,
                            "no whole line of the map: its range is cut off, damaged, or not in "
                            "whole pages");
    }
    if (!text_take(&t, " (") || !text_take_dec(&t, &mib) || !text_take(&t, "MB)") ||
        !text_is_empty(&t)) {
        return mapfile_fail(im, "no whole line of the map: its end is not \"(NMB)\"");
    }
    if (mib != d.number_of_pages >> (20 - MM_PAGE_SHIFT)) {
        return mapfile_fail_number(im, "the range is damaged: it is not ", mib,
                                   " MB long, as the line says");
    }
    if (has_attr) {
        im->map.attr_known = UINT64_MAX;
    }
    mapfile_add(im, &d);
    return MM_OK;
}

static mm_err_t plain_line(struct import *im, struct text t)
{
    struct efi_memory_descriptor d = { 0 };
    bool has_attr;
    uint64_t last;

    im->map.open = true;
    if (!text_take_0x(&t, 12, &d.physical_start) || !text_take(&t, "-") ||
        !text_take_0x(&t, 12, &last) || !text_take_blanks(&t)) {
        return mapfile_fail(im, "no whole line of the map: its range is cut off or damaged");
    }
    if (!take_type_attr(&t, &d, &has_attr)) {
        return mapfile_fail(im, "no whole line of the map: type or attributes are cut off, damaged "
                                "or unknown");
    }
    (void)text_take(&t, "*");
    if (!text_is_empty(&t)) {
        return mapfile_fail(im, "there is more text behind the descriptor");
    }
    if (last + 1 - d.physical_start != 0 && last < d.physical_start) {
        return mapfile_fail(im, "the range is damaged: it ends before it begins");
    }
    if (!mm_is_aligned(last + 1 - d.physical_start, MM_PAGE_SIZE)) {
        return mapfile_fail(im, "the range is damaged: it is not in whole pages");
    }
    d.number_of_pages = (last + 1 - d.physical_start) >> MM_PAGE_SHIFT;
    if (has_attr) {
        im->map.attr_known = UINT64_MAX;
    }
    mapfile_add(im, &d);
    return MM_OK;
}

static mm_err_t efi_line(struct import *im, struct text t)
{
    if (text_take(&t, "mem")) {
        return numbered_line(im, t);
    }
    if (text_take(&t, "Processing")) {
        mm_err_t err = mapfile_begin(im, &mapfile_linux_efi);

        im->map.headed = true;
        return err;
    }
    return plain_line(im, t);
}

static mm_err_t log_finish(struct import *im)
{
    im->map.whole = im->map.headed && im->map.other_line != 0 && !im->map.interrupted;
    return MM_OK;
}

const struct map_reader mapfile_linux_efi = { .line = efi_line, .finish = log_finish };

/* ---- e820 ------------------------------------------------------------------------------------ */

bool mapfile_e820_desc(struct efi_memory_descriptor *d, uint64_t start, uint64_t last,
                       uint32_t *nrounded)
{
    bool cut_start = !mm_is_aligned(start, MM_PAGE_SIZE);
    bool cut_last = !mm_is_aligned(last + 1, MM_PAGE_SIZE);
    uint64_t first_page = start >> MM_PAGE_SHIFT;
    uint64_t end_page = (last >> MM_PAGE_SHIFT) + 1;

    if (last + 1 == start) {
        return false;
    }
    *nrounded += (cut_start ? 1 : 0) + (cut_last ? 1 : 0);
    if (d->type == EFI_MT_CONVENTIONAL) {
        first_page += cut_start ? 1 : 0;
        end_page -= cut_last ? 1 : 0;
    }
    if (first_page >= end_page) {
        return false;
    }
    d->physical_start = first_page << MM_PAGE_SHIFT;
    d->number_of_pages = end_page - first_page;
    return true;
}

/* "639   KB ", "1.9 GB ": kernels differ in whether it is there. */
static void take_human_size(struct text *t)
{
    struct text rest = *t;
    uint64_t v;

    if (text_take_dec(&rest, &v)) {
        (void)(text_take(&rest, ".") && text_take_dec(&rest, &v));
        (void)text_take_blanks(&rest);
        if (text_take(&rest, "KB ") || text_take(&rest, "MB ") || text_take(&rest, "GB ") ||
            text_take(&rest, "TB ") || text_take(&rest, "B ")) {
            (void)text_take_blanks(&rest);
            *t = rest;
        }
    }
}

/* Bounds, both inclusive, and the words that name the type. False if it is none of the styles. */
static bool take_e820(struct text *t, uint64_t *start, uint64_t *last, struct text *name)
{
    if (text_take(t, "[mem ") || text_take(t, "[gap ")) {
        if (!text_take_0x(t, 16, start) || !text_take(t, "-") || !text_take_0x(t, 16, last) ||
            !text_take(t, "]")) {
            return false;
        }
        (void)text_take_blanks(t);
        take_human_size(t);
        *name = *t;
        return true;
    }
    if (!text_take_hex(t, 16, start) || !text_take(t, " - ") || !text_take_hex(t, 16, last) ||
        !text_take(t, " (") || t->end[-1] != ')') {
        return false;
    }
    *last -= 1;
    *name = (struct text){ t->at, t->end - 1 };
    return true;
}

static mm_err_t e820_line(struct import *im, struct text t)
{
    struct efi_memory_descriptor d = { 0 };
    struct text rest = t;
    bool is_gap = text_take(&rest, "[gap ");
    struct text name;
    uint64_t start;
    uint64_t last;

    if (text_take(&t, "BIOS-provided")) {
        mm_err_t err = mapfile_begin(im, &mapfile_e820);

        im->map.headed = true;
        return err;
    }
    im->is_x86 = true;
    if (!take_e820(&t, &start, &last, &name)) {
        return mapfile_fail(im, "no whole line of the map: its range is cut off or damaged");
    }
    if (last + 1 - start != 0 && last < start) {
        return mapfile_fail(im, "the range is damaged: it ends before it begins");
    }
    if (!im->map.open || start < im->map.next) {
        mm_err_t err = mapfile_begin(im, &mapfile_e820);

        if (err != MM_OK) {
            return err;
        }
    }
    im->map.next = last + 1 > start ? last + 1 : start;
    if (is_gap) {
        return MM_OK;
    }
    if (!text_is_e820_type(name, &d.type, &d.attribute)) {
        return mapfile_fail(im, "the type at the end of the line is cut off or unknown");
    }
    im->map.attr_known |= d.attribute;
    if (mapfile_e820_desc(&d, start, last, &im->map.nrounded)) {
        mapfile_add(im, &d);
    } else {
        im->map.other_line = 0;
    }
    return MM_OK;
}

const struct map_reader mapfile_e820 = { .line = e820_line, .finish = log_finish };
