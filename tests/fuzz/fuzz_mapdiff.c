/*
 * fuzz_mapdiff.c - two maps out of any bytes: their summaries, bars, and differences both ways.
 *
 * The first byte says how the others are read: as firmware's bytes, which reach the odd corners of
 * addresses, or as descriptors of 8 bytes in a small address space, which overlap, touch and match
 * as those of two boots do. The second byte says where the second map begins.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/mapdiff.h"
#include "mm/mapsum.h"

#define STRIDE     48
#define MAX_DESCS  512
#define IS_COMPACT 1
#define IS_MASKED  2
#define IS_CLAIMED 4
#define TOLD       1 /* the rest of the byte: compared with itself, too, and told: it takes long */
#define COLUMNS    9

#define REQUIRE(cond)                                                                              \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            __builtin_trap();                                                                      \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct map {
    struct memmap m;
    void *bytes;
    void *storage;
};

/* ---- making maps ----------------------------------------------------------------------------- */

/* 8 bytes: type, attributes, pages, one unused, and the number of the first page. */
static struct efi_memory_descriptor expand(const uint8_t *at)
{
    static const uint64_t attrs[] = { EFI_MA_WB, EFI_MA_UC, EFI_MA_WP, EFI_MA_XP,
                                      EFI_MA_RO, EFI_MA_SP, EFI_MA_NV, EFI_MA_RUNTIME };
    struct efi_memory_descriptor d = {
        .type = at[0] % 20 == 19 ? 0x80000000u : at[0] % 20,
        .number_of_pages = at[2],
        .physical_start = (uint64_t)(at[4] | (at[5] & 3) << 8) << MM_PAGE_SHIFT,
    };

    for (unsigned i = 0; i < 8; i++) {
        d.attribute |= (at[1] >> i & 1) != 0 ? attrs[i] : 0;
    }
    return d;
}

static void make_map(struct map *map, unsigned how, const uint8_t *data, size_t size)
{
    uint64_t stride = STRIDE;
    uint64_t nbytes = size;

    if ((how & IS_COMPACT) != 0) {
        size_t n = size / 8;
        struct efi_memory_descriptor *d = malloc(n * sizeof(*d) + 1);

        REQUIRE(d != NULL);
        for (size_t i = 0; i < n; i++) {
            d[i] = expand(data + 8 * i);
        }
        map->bytes = d;
        stride = sizeof(*d);
        nbytes = n * sizeof(*d);
    } else {
        map->bytes = malloc(size + 1);
        REQUIRE(map->bytes != NULL);
        memcpy(map->bytes, data, size);
    }

    struct memmap_raw raw = {
        .bytes = map->bytes, .nbytes = nbytes, .stride = stride, .version = 1
    };
    uint64_t storage_bytes = memmap_storage_bytes(nbytes / stride);

    map->storage = malloc(storage_bytes);
    REQUIRE(map->storage != NULL);
    REQUIRE(memmap_build(&map->m, &raw, map->storage, storage_bytes) == MM_OK);
}

static void drop_map(struct map *map)
{
    free(map->bytes);
    free(map->storage);
}

/* ---- what must hold -------------------------------------------------------------------------- */

static void count_bytes(void *ctx, const char *s, size_t n)
{
    size_t *total = ctx;

    REQUIRE(n > 0 && memchr(s, '\0', n) == NULL);
    *total += n;
}

static void check_summary(const struct memmap *m, bool is_told)
{
    static struct mapsum_column columns[COLUMNS];
    size_t total = 0;
    struct mm_sink to = { count_bytes, &total };
    struct mapsum s;
    uint64_t by_type = 0;
    uint64_t by_kind = 0;

    mapsum_make(&s, m);
    if (is_told) {
        mapsum_put(&to, &s);
    }
    for (unsigned i = 0; i < MAPSUM_ROWS; i++) {
        by_type += s.type_bytes[i];
    }
    for (unsigned i = 0; i < MEMMAP_KINDS; i++) {
        by_kind += s.kind_bytes[i];
    }
    REQUIRE(by_type == by_kind && s.ram_bytes == s.ram_low_bytes + s.ram_high_bytes);
    REQUIRE((s.ram_bytes == 0) == (s.ram_end == 0));
    for (unsigned i = 0; i < MAPSUM_WHENS; i++) {
        REQUIRE(s.usable[i].largest_bytes <= s.usable[i].nbytes);
        REQUIRE(i == 0 || s.usable[i].nbytes >= s.usable[i - 1].nbytes);
    }
    if (mapsum_bar(m, columns, COLUMNS) > 0) {
        for (unsigned i = 0; i < COLUMNS; i++) {
            REQUIRE(columns[i].kind <= columns[i].strictest && columns[i].strictest < MEMMAP_KINDS);
            REQUIRE(i == 0 || columns[i].base > columns[i - 1].base);
        }
    }
}

/* The end of the run of regions from *i on that touch and are alike; *i goes behind it. */
static uint64_t run_end(const struct memmap *m, uint32_t *i, uint64_t mask)
{
    const struct memmap_region *first = &m->regions[*i];
    uint64_t end = first->base;

    for (; *i < m->nregions; (*i)++) {
        const struct memmap_region *r = &m->regions[*i];

        if (r->base != end || r->type != first->type || r->kind != first->kind ||
            ((r->attr ^ first->attr) & mask) != 0 ||
            (r->desc == MEMMAP_NODESC) != (first->desc == MEMMAP_NODESC)) {
            break;
        }
        end = r->end;
    }
    return end;
}

static bool same_maps(const struct memmap *a, const struct memmap *b, uint64_t mask)
{
    uint32_t i = 0;
    uint32_t j = 0;

    while (i < a->nregions && j < b->nregions) {
        const struct memmap_region *r = &a->regions[i];
        const struct memmap_region *q = &b->regions[j];

        if (r->base != q->base || r->type != q->type || r->kind != q->kind ||
            ((r->attr ^ q->attr) & mask) != 0 ||
            (r->desc == MEMMAP_NODESC) != (q->desc == MEMMAP_NODESC) ||
            run_end(a, &i, mask) != run_end(b, &j, mask)) {
            return false;
        }
    }
    return i == a->nregions && j == b->nregions;
}

static void tell(const struct mapdiff *d)
{
    size_t total = 0;
    struct mm_sink to = { count_bytes, &total };
    struct json_writer w;

    mapdiff_put(&to, d);
    json_write_begin(&w, &to, JSON_LINE);
    mapdiff_put_json(&w, d);
    json_write_end(&w);
}

static struct mapdiff check_diff(const struct memmap *a, const struct memmap *b, uint64_t mask,
                                 bool is_told)
{
    uint64_t nbytes = mapdiff_storage_bytes(a->nregions, b->nregions);
    void *storage = malloc(nbytes);
    struct mapdiff d;

    REQUIRE(storage != NULL && mapdiff_make(&d, a, b, mask, storage, nbytes) == MM_OK);
    REQUIRE((d.nchanges == 0) == same_maps(a, b, mask));
    if (is_told) {
        tell(&d);
    }
    free(storage);
    return d;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct map a;
    struct map b;

    if (size < 2 || size > 2 + MAX_DESCS * STRIDE) {
        return 0;
    }
    unsigned how = data[0];
    size_t split = (size - 2) * data[1] / 255;
    bool is_told = how >> 3 == TOLD;
    uint64_t mask = (how & IS_MASKED) != 0 ? EFI_MA_WP | EFI_MA_RUNTIME : UINT64_MAX;

    make_map(&a, how, data + 2, split);
    make_map(&b, how, data + 2 + split, size - 2 - split);
    if ((how & IS_CLAIMED) != 0) {
        (void)memmap_claim(&b.m, (uint64_t)data[1] << MM_PAGE_SHIFT, 16 * MM_PAGE_SIZE,
                           MEMMAP_KERNEL);
    }
    check_summary(&a.m, is_told);
    check_summary(&b.m, is_told);

    struct mapdiff forth = check_diff(&a.m, &b.m, mask, is_told);
    struct mapdiff back = check_diff(&b.m, &a.m, mask, false);
    REQUIRE(forth.nchanges == back.nchanges && forth.breaks == back.breaks);
    REQUIRE(forth.nruntime == back.nruntime && forth.nacpi == back.nacpi);
    if (is_told) {
        REQUIRE(check_diff(&a.m, &a.m, mask, false).nchanges == 0);
    }
    drop_map(&a);
    drop_map(&b);
    return 0;
}
