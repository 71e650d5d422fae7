/*
 * mapfile_freebsd.c - the table that FreeBSD's loader (`memmap`) and its kernels print.
 *
 *                    Type     Physical      Virtual   #Pages Attr
 *      ConventionalMemory 000080000000 000080000000 00007efa WB
 *     RuntimeServicesData 0000f6b27000 0000f6b27000 00000001 WB RUNTIME
 *
 * amd64 prints the virtual address as a pointer: "0xfffff80000000000", or "0" behind blanks. The
 * loader does not say RUNTIME at all: in a table in which nobody has it, it counts as not known. A
 * row has no second number to check the first ones by, only fixed widths.
 *
 * The table ends with the first line that is no row; a row after that is an error.
 */
#include "mapfile_import.h"

#define ATTRS_SHOWN                                                                                \
    (EFI_MA_UC | EFI_MA_WC | EFI_MA_WT | EFI_MA_WB | EFI_MA_UCE | EFI_MA_WP | EFI_MA_RP |          \
     EFI_MA_XP | EFI_MA_NV | EFI_MA_MORE_RELIABLE | EFI_MA_RO)

static bool is_hex(struct text word)
{
    uint64_t v;

    (void)text_take(&word, "0x");
    return text_take_hex(&word, 8, &v) && text_is_empty(&word);
}

/*
 * Takes all up to and with a type's name in front of an address; what a log puts in front of a line
 * goes with it. `type` is UINT32_MAX where the table says that it has no name.
 */
static bool take_type(struct text *t, uint32_t *type)
{
    struct text rest = *t;

    while (!text_is_empty(&rest)) {
        struct text word = text_take_word(&rest);
        struct text next;

        (void)text_take_blanks(&rest);
        next = rest;
        next = text_take_word(&next);
        if (!is_hex(next)) {
            continue;
        }
        if (text_is_type(word, type)) {
            *t = rest;
            return true;
        }
        if (text_take(&word, "<INVALID>") || text_take(&word, "Unknown")) {
            *type = UINT32_MAX;
            return true;
        }
    }
    return false;
}

static bool take_virtual(struct text *t, uint64_t *v)
{
    return text_take_0x(t, 1, v) || text_take_hex(t, 1, v);
}

static mm_err_t row(struct import *im, struct text t, uint32_t type)
{
    struct efi_memory_descriptor d = { .type = type };

    if (im->map.closed) {
        return mapfile_fail_at(im, im->map.stray_line,
                               "a line in the middle of the table is no row of it");
    }
    if (type == UINT32_MAX) {
        return mapfile_fail(im, "the table does not say this descriptor's type");
    }
    if (!text_take_hex(&t, 12, &d.physical_start) || !text_take_blanks(&t) ||
        !take_virtual(&t, &d.virtual_start) || !text_take_blanks(&t) ||
        !text_take_hex(&t, 8, &d.number_of_pages)) {
        return mapfile_fail(im, "no whole row of the table: it is cut off or damaged");
    }
    while (text_take_blanks(&t)) {
        struct text word = text_take_word(&t);
        uint64_t bit;

        if (!text_is_attr(word, &bit)) {
            return mapfile_fail(im, "an attribute at the end of the row is cut off or unknown");
        }
        d.attribute |= bit;
    }
    if (!text_is_empty(&t)) {
        return mapfile_fail(im, "no whole row of the table: it is cut off or damaged");
    }
    im->map.attr_known |= ATTRS_SHOWN | d.attribute;
    mapfile_add(im, &d);
    return MM_OK;
}

static mm_err_t freebsd_heading(struct import *im, struct text t)
{
    (void)t;
    return mapfile_begin(im, &mapfile_freebsd);
}

static mm_err_t freebsd_other(struct import *im, struct text t)
{
    uint32_t type;

    if (take_type(&t, &type)) {
        return row(im, t, type);
    }
    if (!im->map.closed) {
        struct text word = text_take_word(&t);

        if (text_begins_type(word) && (im->cut || text_is_type(word, &type))) {
            return mapfile_fail(im, "no whole row of the table: it is cut off or damaged");
        }
        im->map.closed = true;
        im->map.stray_line = im->line;
    }
    return MM_OK;
}

static mm_err_t freebsd_finish(struct import *im)
{
    im->map.virt_known = true;
    im->map.whole = im->map.other_line != 0;
    return MM_OK;
}

const struct map_reader mapfile_freebsd = {
    .line = freebsd_heading,
    .other = freebsd_other,
    .finish = freebsd_finish,
};
