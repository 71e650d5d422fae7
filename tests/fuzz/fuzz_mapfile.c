/*
 * fuzz_mapfile.c - any bytes at all as a memory map's file.
 *
 * Checked besides what the sanitizers see: that a result holds what mapfile.h says of it, and that
 * it is the same with less room and without the lines. Good seeds: files of collected maps, and
 * dumps of raw descriptors.
 *
 * Most bytes that change in a line make it a damaged one, and there the reading ends. So one
 * mutation of four is of whole lines, which are left out, doubled, moved, or go on as those of
 * another input: what is in the later lines is reached, too.
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
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed);
size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t na, const uint8_t *b, size_t nb,
                                 uint8_t *out, size_t max, unsigned seed);

/* ---- lines ----------------------------------------------------------------------------------- */

/* Where some line begins. */
static size_t line_begin(const uint8_t *data, size_t size, unsigned *seed)
{
    size_t at;

    *seed = *seed * 1664525u + 1013904223u;
    at = size > 0 ? (*seed >> 8) % size : 0;
    while (at > 0 && data[at - 1] != '\n') {
        at--;
    }
    return at;
}

/* One past the end of the line that begins at `at`. */
static size_t line_end(const uint8_t *data, size_t size, size_t at)
{
    const uint8_t *end = at < size ? memchr(data + at, '\n', size - at) : NULL;

    return end != NULL ? (size_t)(end - data) + 1 : size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max, unsigned seed)
{
    uint8_t line[256];
    size_t begin;
    size_t n;
    size_t to;

    if (seed % 4 != 0 || size == 0) {
        return LLVMFuzzerMutate(data, size, max);
    }
    begin = line_begin(data, size, &seed);
    n = line_end(data, size, begin) - begin;
    if (n > sizeof(line)) {
        return LLVMFuzzerMutate(data, size, max);
    }
    memcpy(line, data + begin, n);
    if (seed >> 30 != 0 || size + n > max) { /* unless it is to be doubled */
        memmove(data + begin, data + begin + n, size - begin - n);
        size -= n;
    }
    if (seed >> 30 != 1 && size + n <= max) { /* unless it is to be left out */
        to = line_begin(data, size, &seed);
        memmove(data + to + n, data + to, size - to);
        memcpy(data + to, line, n);
        size += n;
    }
    return size;
}

size_t LLVMFuzzerCustomCrossOver(const uint8_t *a, size_t na, const uint8_t *b, size_t nb,
                                 uint8_t *out, size_t max, unsigned seed)
{
    size_t end = line_begin(a, na, &seed);
    size_t begin = line_begin(b, nb, &seed);

    end = end < max ? end : max;
    nb = nb - begin < max - end ? nb - begin : max - end;
    memcpy(out, a, end);
    memcpy(out + end, b + begin, nb);
    return end + nb;
}

/* ---- reading --------------------------------------------------------------------------------- */

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
    if (err == MM_OK && f.format != MAPFILE_REPORT) {
        CHECK(mapfile_read(&f, data, size, which, descs, lines, ROOM) == MM_ENOENT);
        CHECK(f.message[0] != '\0');
    }
    return 0;
}
