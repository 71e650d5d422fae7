/*
 * mapfile_raw.c - the answer of GetMemoryMap() as somebody wrote it to a file: no heading, no text.
 *
 * Only its fields can say what it is. Every stride that divides the size is tried, and the smallest
 * one is taken under which all descriptors have a type that exists, no undefined attribute and a
 * possible page count, and three out of four are also free of what firmware gets wrong. A multiple
 * of the right stride sees only good descriptors, too: hence the smallest. A wrong one reads
 * padding as type and a page count as attributes.
 */
#include "mapfile_import.h"

void *memcpy(void *restrict dst, const void *restrict src, size_t n);

#define MIN_STRIDE 40u
#define MAX_STRIDE 256u
#define MAX_PAGES  (UINT64_C(1) << (64 - MM_PAGE_SHIFT))

/* Bits 44 to 59 are the processor's own, and 62 says so (UEFI 2.10 7.2.3). */
#define ATTRS_DEFINED                                                                              \
    (EFI_MA_UC | EFI_MA_WC | EFI_MA_WT | EFI_MA_WB | EFI_MA_UCE | EFI_MA_WP | EFI_MA_RP |          \
     EFI_MA_XP | EFI_MA_NV | EFI_MA_MORE_RELIABLE | EFI_MA_RO | EFI_MA_SP | EFI_MA_CPU_CRYPTO |    \
     EFI_MA_HOT_PLUGGABLE | EFI_MA_RUNTIME | UINT64_C(0xffff) << 44 | UINT64_C(1) << 62)

/* Fewer whole descriptors in front of a rest are no evidence that it was a map. */
#define MIN_BEFORE_REST 4

static struct efi_memory_descriptor desc_at(const unsigned char *bytes, uint64_t at)
{
    struct efi_memory_descriptor d;

    memcpy(&d, bytes + at, sizeof(d));
    return d;
}

static bool is_possible(const struct efi_memory_descriptor *d)
{
    return (d->type <= EFI_MT_UNACCEPTED || d->type >= EFI_MT_OEM_FIRST) &&
           (d->attribute & ~ATTRS_DEFINED) == 0 && d->number_of_pages <= MAX_PAGES;
}

/* Without those faults that firmware is known for. */
static bool is_sound(const struct efi_memory_descriptor *d)
{
    return d->number_of_pages != 0 && mm_is_aligned(d->physical_start, MM_PAGE_SIZE) &&
           d->physical_start >> MM_PAGE_SHIFT <= MAX_PAGES - d->number_of_pages;
}

static bool is_map(const unsigned char *bytes, uint64_t n, uint64_t stride)
{
    uint64_t nunsound = 0;

    for (uint64_t i = 0; i < n; i++) {
        struct efi_memory_descriptor d = desc_at(bytes, i * stride);

        if (!is_possible(&d)) {
            return false;
        }
        nunsound += is_sound(&d) ? 0 : 1;
    }
    return n > 0 && nunsound <= n / 4;
}

mm_err_t mapfile_read_raw(struct import *im, const unsigned char *bytes, uint64_t nbytes)
{
    for (uint64_t stride = MIN_STRIDE; stride <= MAX_STRIDE; stride += 8) {
        uint64_t n = nbytes / stride;

        if (nbytes % stride != 0 || !is_map(bytes, n, stride)) {
            continue;
        }
        for (uint64_t i = 0; i < n; i++) {
            struct efi_memory_descriptor d = desc_at(bytes, i * stride);

            d.pad = 0;
            mapfile_add(im, &d);
        }
        im->f->format = MAPFILE_RAW;
        im->f->ndescs = im->map.n;
        im->f->nmaps = 1;
        im->f->attr_known = UINT64_MAX;
        im->f->virt_known = true;
        im->f->stride = stride;
        return MM_OK;
    }
    for (uint64_t stride = MIN_STRIDE; stride <= MAX_STRIDE; stride += 8) {
        uint64_t n = nbytes / stride;

        if (n >= MIN_BEFORE_REST && is_map(bytes, n, stride)) {
            im->f->format = MAPFILE_RAW;
            return mapfile_fail_number(im,
                                       "raw descriptors, but the last one is cut off: it has only ",
                                       nbytes % stride, " bytes");
        }
    }
    return MM_OK;
}
