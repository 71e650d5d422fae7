/*
 * The Memory Attributes Table, read with suspicion. Real ones have been empty, of a corrupt size,
 * of version 2, and with both RO and XP clear (allowed since UEFI 2.9: then neither can be
 * enforced).
 */
#include "mm/mat.h"

#define MAT_MIN_STRIDE sizeof(struct efi_memory_descriptor)

struct mat_header {
    uint32_t version;
    uint32_t count;
    uint32_t stride;
    uint32_t flags;
};
_Static_assert(sizeof(struct mat_header) == MAT_HEADER_BYTES, "UEFI 2.10 4.6.4");

void *memcpy(void *restrict dst, const void *restrict src, size_t n);

static struct mat_header header_of(const void *table)
{
    struct mat_header h;

    memcpy(&h, table, sizeof(h));
    return h;
}

uint64_t mat_bytes(const void *header)
{
    struct mat_header h = header_of(header);

    if (h.version < 1 || h.version > 2 || h.count == 0 || h.count > MAT_MAX_ENTRIES ||
        h.stride < MAT_MIN_STRIDE || h.stride > 256 || h.stride % 8 != 0) {
        return 0;
    }
    return MAT_HEADER_BYTES + (uint64_t)h.count * h.stride;
}

uint32_t mat_count(const void *table)
{
    return header_of(table).count;
}

struct efi_memory_descriptor mat_entry(const void *table, uint32_t i)
{
    struct efi_memory_descriptor d;

    memcpy(&d, (const char *)table + MAT_HEADER_BYTES + (uint64_t)i * header_of(table).stride,
           sizeof(d));
    return d;
}

/* Regions of one descriptor may have been cut by a claim of ours: the entry may span several of the
 * same type. */
static bool inside_type(const struct memmap *m, uint64_t base, uint64_t end, uint32_t type)
{
    while (base < end) {
        const struct memmap_region *r = memmap_find(m, base);

        if (r == NULL || r->type != type) {
            return false;
        }
        base = r->end;
    }
    return true;
}

const char *mat_check(const void *table, uint64_t nbytes, const struct memmap *m)
{
    uint64_t last_end = 0;

    if (nbytes < MAT_HEADER_BYTES || mat_bytes(table) != nbytes) {
        return "its header makes no sense";
    }
    for (uint32_t i = 0; i < mat_count(table); i++) {
        struct efi_memory_descriptor d = mat_entry(table, i);
        uint64_t end;

        if (!mat_is_type(d.type)) {
            continue;
        }
        if (d.number_of_pages == 0 || d.number_of_pages > UINT64_MAX >> MM_PAGE_SHIFT ||
            !mm_is_aligned(d.physical_start, MM_PAGE_SIZE) ||
            __builtin_add_overflow(d.physical_start, d.number_of_pages << MM_PAGE_SHIFT, &end)) {
            return "an entry is empty, misaligned, or wraps";
        }
        if (d.physical_start < last_end) {
            return "entries overlap or are not in rising order";
        }
        if (!inside_type(m, d.physical_start, end, d.type)) {
            return "an entry does not match the memory map";
        }
        last_end = end;
    }
    return NULL;
}
