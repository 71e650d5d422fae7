/*
 * fuzz_mapfile.c - any bytes at all as a memory map's file.
 *
 * Checked besides what the sanitizers see: that a result holds what mapfile.h says of it, and that
 * it is the same with less room and without the lines. Good seeds: files of collected maps, and
 * dumps of raw descriptors.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/mapfile.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

#define ROOM 4096

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_descs(const struct mapfile *f, const struct efi_memory_descriptor *descs)
{
    for (uint32_t i = 0; i < f->ndescs; i++) {
        CHECK((descs[i].attribute & ~f->attr_known) == 0);
        CHECK(descs[i].pad == 0);
        CHECK(f->virt_known || descs[i].virtual_start == 0);
    }
}

/* Exactly as much room as asked for, on the heap, gives the same. */
static void read_again(const struct mapfile *f, const uint8_t *data, size_t size, uint32_t which,
                       const struct efi_memory_descriptor *descs)
{
    struct mapfile again;
    uint32_t n;
    struct efi_memory_descriptor *d;

    n = mapfile_read(&again, data, size, which, NULL, NULL, 0) == MM_ENOSPC ? again.ndescs : 0;
    CHECK(n >= f->ndescs && n <= ROOM);
    d = malloc((size_t)n * sizeof(*d));
    CHECK(d != NULL);
    CHECK(mapfile_read(&again, data, size, which, d, NULL, n) == MM_OK);
    CHECK(memcmp(&again, f, sizeof(again)) == 0);
    CHECK(memcmp(d, descs, (size_t)f->ndescs * sizeof(*d)) == 0);
    free(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct efi_memory_descriptor descs[ROOM];
    static uint32_t lines[ROOM];
    struct mapfile f;
    uint32_t which = 0;
    mm_err_t err = MM_OK;

    do {
        err = mapfile_read(&f, data, size, which, descs, lines, ROOM);
        CHECK(err == MM_OK || err == MM_EINVAL || err == MM_ENOENT || err == MM_ENOSPC);
        CHECK(f.format < MAPFILE_FORMATS && f.arch < MAPFILE_ARCHS);
        CHECK((err == MM_EINVAL || err == MM_ENOENT) == (f.message[0] != '\0'));
        CHECK(strlen(f.message) < sizeof(f.message) - 1);
        if (err == MM_OK && f.format != MAPFILE_REPORT) {
            CHECK(f.ndescs > 0 || f.format == MAPFILE_SYSFS_MAP);
            check_descs(&f, descs);
            read_again(&f, data, size, which, descs);
        }
        which++;
    } while (err == MM_OK && which < f.nmaps);
    return 0;
}
