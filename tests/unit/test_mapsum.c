/*
 * test_mapsum.c - sums against numbers worked out by hand, and the bar against one made byte range
 * by byte range.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "host_port.h"
#include "mm/mapsum.h"

#define PAGE    UINT64_C(4096)
#define MiB     UINT64_C(0x100000)
#define GiB     UINT64_C(0x40000000)
#define WB      UINT64_C(0xf)
#define RT      UINT64_C(0x8000000000000000)
#define SP      UINT64_C(0x40000)
#define NV      UINT64_C(0x8000)
#define COLUMNS 4096

struct desc {
    uint32_t type;
    uint32_t pad;
    uint64_t start;
    uint64_t virt;
    uint64_t npages;
    uint64_t attr;
};

static void *storage;

/* A map of `n` descriptors; borrows them until the next one is built. */
static struct memmap build(const struct desc *d, size_t n)
{
    struct memmap_raw raw = { .bytes = d, .nbytes = n * sizeof(*d), .stride = 40, .version = 1 };
    uint64_t nbytes = memmap_storage_bytes(n);
    struct memmap m;

    free(storage);
    storage = malloc(nbytes);
    assert_non_null(storage);
    assert_int_equal(memmap_build(&m, &raw, storage, nbytes), MM_OK);
    return m;
}

static int drop(void **state)
{
    (void)state;
    free(storage);
    storage = NULL;
    return 0;
}

/* A machine of 4 GiB, 3 of them below the hole, with a bit of everything; not in order. */
static const struct desc pc[] = {
    { 7, 0, 4 * GiB, 0, GiB / PAGE, WB },           /* Conventional above 4 GiB */
    { 3, 0, 0, 0, 1, WB },                          /* BootServicesCode */
    { 7, 0, PAGE, 0, 0x9f, WB },                    /* Conventional */
    { 7, 0, 1 * MiB, 0, 15 * MiB / PAGE, WB },      /* Conventional */
    { 4, 0, 16 * MiB, 0, 16 * MiB / PAGE, WB },     /* BootServicesData */
    { 2, 0, 32 * MiB, 0, 1 * MiB / PAGE, WB },      /* LoaderData */
    { 9, 0, 33 * MiB, 0, 1 * MiB / PAGE, WB },      /* ACPIReclaim */
    { 7, 0, 34 * MiB, 0, 6 * MiB / PAGE, WB },      /* Conventional */
    { 10, 0, 40 * MiB, 0, 2 * MiB / PAGE, WB },     /* ACPINVS */
    { 5, 0, 42 * MiB, 0, 1 * MiB / PAGE, RT | WB }, /* RuntimeServicesCode */
    { 6, 0, 43 * MiB, 0, 3 * MiB / PAGE, RT | WB }, /* RuntimeServicesData */
    { 0, 0, 46 * MiB, 0, 2 * MiB / PAGE, WB },      /* Reserved */
    { 7, 0, 3 * GiB - 64 * MiB, 0, 64 * MiB / PAGE, WB },
    { 11, 0, 4 * GiB - 4 * MiB, 0, 4 * MiB / PAGE, RT | 1 }, /* MMIO: the flash */
    { 0x70000001, 0, 6 * GiB, 0, 1, WB },
    { 0x80000001, 0, 6 * GiB + PAGE, 0, 2, WB },
    { 77, 0, 6 * GiB + 3 * PAGE, 0, 3, WB },
};

static void test_sums(void **state)
{
    struct memmap m = build(pc, sizeof(pc) / sizeof(pc[0]));
    struct mapsum s;
    uint64_t low_free = 0x9f * PAGE + 15 * MiB + 6 * MiB + 64 * MiB;
    uint64_t low = 0xa0 * PAGE + 45 * MiB + 64 * MiB; /* 1 to 46 MiB, and the last 64 */

    (void)state;
    mapsum_make(&s, &m);
    assert_int_equal(s.ndescs, 17);
    assert_int_equal(s.nregions, 17);
    assert_int_equal(s.ram_low_bytes, low);
    assert_int_equal(s.ram_high_bytes, GiB);
    assert_int_equal(s.ram_bytes, low + GiB);
    assert_int_equal(s.ram_end, 5 * GiB);
    assert_int_equal(s.runtime_bytes, 4 * MiB);
    assert_int_equal(s.runtime_mmio_bytes, 4 * MiB);

    assert_int_equal(s.usable[MAPSUM_NOW].nbytes, low_free + GiB);
    assert_int_equal(s.usable[MAPSUM_NOW].largest_base, 4 * GiB);
    assert_int_equal(s.usable[MAPSUM_NOW].largest_bytes, GiB);
    assert_int_equal(s.usable[MAPSUM_AFTER_EXIT].nbytes, low_free + GiB + PAGE + 17 * MiB);
    assert_int_equal(s.usable[MAPSUM_AFTER_ACPI].nbytes, low_free + GiB + PAGE + 18 * MiB);

    assert_int_equal(s.type_bytes[0], 2 * MiB);
    assert_int_equal(s.type_bytes[1], 0);
    assert_int_equal(s.type_bytes[2], MiB);
    assert_int_equal(s.type_bytes[3], PAGE);
    assert_int_equal(s.type_bytes[4], 16 * MiB);
    assert_int_equal(s.type_bytes[5], MiB);
    assert_int_equal(s.type_bytes[6], 3 * MiB);
    assert_int_equal(s.type_bytes[7], low_free + GiB);
    assert_int_equal(s.type_bytes[9], MiB);
    assert_int_equal(s.type_bytes[10], 2 * MiB);
    assert_int_equal(s.type_bytes[11], 4 * MiB);
    assert_int_equal(s.type_bytes[MAPSUM_OEM], PAGE);
    assert_int_equal(s.type_bytes[MAPSUM_OS], 2 * PAGE);
    assert_int_equal(s.type_bytes[MAPSUM_UNDEFINED], 3 * PAGE);
    assert_int_equal(s.type_bytes[MAPSUM_CLAIMED], 0);
    assert_int_equal(s.kind_bytes[MEMMAP_FREE_AFTER_EXIT], 17 * MiB + PAGE);
    assert_int_equal(s.kind_bytes[MEMMAP_RESERVED], 2 * MiB + 6 * PAGE);
    assert_int_equal(s.kind_bytes[MEMMAP_MMIO], 4 * MiB);
}

/* Free regions that touch are one block; each stage joins what the one before kept apart. */
static void test_largest(void **state)
{
    static const struct desc d[] = {
        { 7, 0, 0x100000, 0, 4, WB }, { 7, 0, 0x104000, 0, 4, 0x1000f }, /* one run of 8 pages */
        { 4, 0, 0x108000, 0, 1, WB }, { 7, 0, 0x109000, 0, 2, WB },      /* after exit 11 */
        { 9, 0, 0x10b000, 0, 1, WB }, { 7, 0, 0x10c000, 0, 8, WB },      /* after ACPI 20 */
    };
    struct memmap m = build(d, 6);
    struct mapsum s;

    (void)state;
    mapsum_make(&s, &m);
    assert_int_equal(s.usable[MAPSUM_NOW].largest_base, 0x100000); /* the lowest of two */
    assert_int_equal(s.usable[MAPSUM_NOW].largest_bytes, 8 * PAGE);
    assert_int_equal(s.usable[MAPSUM_AFTER_EXIT].largest_base, 0x100000);
    assert_int_equal(s.usable[MAPSUM_AFTER_EXIT].largest_bytes, 11 * PAGE);
    assert_int_equal(s.usable[MAPSUM_AFTER_ACPI].largest_base, 0x100000);
    assert_int_equal(s.usable[MAPSUM_AFTER_ACPI].largest_bytes, 20 * PAGE);
}

/* RAM across 4 GiB is counted on both sides; neither persistent memory nor bad RAM is RAM to have.
 */
static void test_what_is_ram(void **state)
{
    static const struct desc d[] = {
        { 7, 0, 4 * GiB - PAGE, 0, 3, WB },
        { 7, 0, 8 * GiB, 0, 1, WB | SP },
        { 7, 0, 9 * GiB, 0, 1, WB | NV },
        { 14, 0, 10 * GiB, 0, 1, WB },
        { 8, 0, 11 * GiB, 0, 1, WB },
        { 15, 0, 12 * GiB, 0, 1, WB },
        { 7, 0, 13 * GiB, 0, 1, 1 /* no WB */ },
        { 0, 0, 14 * GiB, 0, 1, WB },
    };
    struct memmap m = build(d, 8);
    struct mapsum s;

    (void)state;
    mapsum_make(&s, &m);
    assert_int_equal(s.ram_low_bytes, PAGE);
    assert_int_equal(s.ram_high_bytes, 5 * PAGE);
    assert_int_equal(s.ram_end, 13 * GiB + PAGE);
    assert_int_equal(s.usable[MAPSUM_AFTER_ACPI].nbytes, 3 * PAGE);
}

static void test_claims(void **state)
{
    static const struct desc d[] = { { 7, 0, 0x100000, 0, 16, WB } };
    struct memmap m = build(d, 1);
    struct mapsum s;

    (void)state;
    assert_int_equal(memmap_claim(&m, 0x104000, 2 * PAGE, MEMMAP_KERNEL), MM_OK);
    assert_int_equal(memmap_claim(&m, 0x200000, PAGE, MEMMAP_MMIO), MM_OK);
    mapsum_make(&s, &m);
    assert_int_equal(s.type_bytes[MAPSUM_CLAIMED], 3 * PAGE);
    assert_int_equal(s.type_bytes[7], 14 * PAGE);
    assert_int_equal(s.ram_bytes, 16 * PAGE);
    assert_int_equal(s.usable[MAPSUM_NOW].largest_base, 0x106000);
    assert_int_equal(s.usable[MAPSUM_NOW].largest_bytes, 10 * PAGE);
}

static void test_empty(void **state)
{
    struct memmap m = build(NULL, 0);
    struct mapsum_column column = { .base = 42 };
    struct mapsum s;

    (void)state;
    mapsum_make(&s, &m);
    assert_int_equal(s.ram_bytes, 0);
    assert_int_equal(s.ram_end, 0);
    assert_int_equal(mapsum_bar(&m, &column, 1), 0);
    assert_int_equal(column.base, 42);
}

/* ---- the bar --------------------------------------------------------------------------------- */

static struct mapsum_column column[COLUMNS];

static void expect_column(uint32_t i, uint64_t base, uint32_t kind, uint32_t strictest)
{
    assert_int_equal(column[i].base, base);
    assert_int_equal(column[i].kind, kind);
    assert_int_equal(column[i].strictest, strictest);
}

static void test_bar(void **state)
{
    static const struct desc d[] = {
        { 7, 0, 0x0, 0, 8, WB },       { 6, 0, 0x8000, 0, 1, RT | WB }, { 7, 0, 0x9000, 0, 7, WB },
        { 11, 0, 0x10000, 0, 100, 1 }, /* takes no part, nor does the gap behind it */
        { 4, 0, 0x100000, 0, 8, WB },  { 0, 0, 0x200000, 0, 50, WB }, /* above all RAM */
    };
    struct memmap m = build(d, 6);

    (void)state;
    assert_int_equal(mapsum_bar(&m, column, 3), 24 * PAGE);
    expect_column(0, 0x0, MEMMAP_FREE, MEMMAP_FREE);
    expect_column(1, 0x8000, MEMMAP_FREE, MEMMAP_RUNTIME_DATA);
    expect_column(2, 0x100000, MEMMAP_FREE_AFTER_EXIT, MEMMAP_FREE_AFTER_EXIT);

    assert_int_equal(mapsum_bar(&m, column, 24), 24 * PAGE);
    expect_column(7, 0x7000, MEMMAP_FREE, MEMMAP_FREE);
    expect_column(8, 0x8000, MEMMAP_RUNTIME_DATA, MEMMAP_RUNTIME_DATA);
    expect_column(9, 0x9000, MEMMAP_FREE, MEMMAP_FREE);
    expect_column(16, 0x100000, MEMMAP_FREE_AFTER_EXIT, MEMMAP_FREE_AFTER_EXIT);

    /* Half and half: the more restrictive one. */
    assert_int_equal(mapsum_bar(&m, column, 12), 24 * PAGE);
    expect_column(4, 0x8000, MEMMAP_RUNTIME_DATA, MEMMAP_RUNTIME_DATA);
    assert_int_equal(mapsum_bar(&m, column, 0), 24 * PAGE);
}

/* Each column of random maps against a walk over all of the bar in units of a fine common measure.
 */
static void test_bar_model(void **state)
{
    struct host_rng rng = { 2 };

    (void)state;
    for (int round = 0; round < 400; round++) {
        struct desc d[12];
        size_t n = 1 + host_rng_next(&rng) % 12;
        uint64_t at = 0;

        for (size_t i = 0; i < n; i++) {
            at += host_rng_next(&rng) % 3 * PAGE;
            d[i] = (struct desc){ .type = host_rng_next(&rng) % 16, .start = at, .attr = WB };
            d[i].npages = 1 + host_rng_next(&rng) % 5;
            at += d[i].npages * PAGE;
        }

        struct memmap m = build(d, n);
        uint32_t ncolumns = (uint32_t)(1 + host_rng_next(&rng) % 32);
        uint64_t total = mapsum_bar(&m, column, ncolumns);
        uint8_t kind[64];       /* of page i of the bar */
        uint64_t page_base[64]; /* its address */
        uint64_t npages = 0;
        uint64_t ram_npages = 0; /* up to the last page of RAM */

        for (uint32_t r = 0; r < m.nregions; r++) {
            for (uint64_t a = m.regions[r].base; a < m.regions[r].end; a += PAGE) {
                if (m.regions[r].kind != MEMMAP_MMIO) {
                    kind[npages] = (uint8_t)m.regions[r].kind;
                    page_base[npages++] = a;
                }
            }
            if (mapsum_is_ram(&m.regions[r])) {
                ram_npages = npages;
            }
        }
        assert_int_equal(total, ram_npages * PAGE);
        for (uint32_t i = 0; i < ncolumns && total > 0; i++) {
            uint64_t nbytes[MEMMAP_KINDS] = { 0 };
            uint64_t from = total * i / ncolumns;
            uint32_t most = 0;
            uint32_t strictest = 0;

            for (uint64_t b = from; b < total * (i + 1) / ncolumns; b++) {
                nbytes[kind[b / PAGE]]++;
            }
            for (uint32_t k = 0; k < MEMMAP_KINDS; k++) {
                most = nbytes[k] >= nbytes[most] ? k : most;
                strictest = nbytes[k] > 0 ? k : strictest;
            }
            expect_column(i, page_base[from / PAGE] + from % PAGE, most, strictest);
        }
    }
}

/* A bar over nearly 2^64 bytes, and one of more columns than pages. */
static void test_bar_extremes(void **state)
{
    static const struct desc whole[] = { { 7, 0, 0, 0, (UINT64_C(1) << 52) - 1, WB } };
    static const struct desc page[] = { { 7, 0, 0, 0, 1, WB } };
    struct memmap m = build(whole, 1);

    (void)state;
    assert_true(mapsum_bar(&m, column, COLUMNS) == UINT64_MAX - PAGE + 1);
    for (uint32_t i = 1; i < COLUMNS; i++) {
        uint64_t nbytes = column[i].base - column[i - 1].base;

        assert_true(nbytes >= (UINT64_C(1) << 52) - 2 && nbytes <= UINT64_C(1) << 52);
    }
    m = build(page, 1);
    assert_int_equal(mapsum_bar(&m, column, COLUMNS), PAGE);
    for (uint32_t i = 0; i < COLUMNS; i++) {
        expect_column(i, i, MEMMAP_FREE, MEMMAP_FREE);
    }
}

/* ---- text ------------------------------------------------------------------------------------ */

static void test_text(void **state)
{
    struct memmap m = build(pc, sizeof(pc) / sizeof(pc[0]));
    char buf[4096];
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, buf, sizeof(buf));
    struct mapsum s;

    (void)state;
    mapsum_make(&s, &m);
    mapsum_put(&to, &s);
    assert_string_equal(
        buf, "RAM                        1.1 GiB, 109.6 MiB below 4 GiB, ends at 0x140000000\n"
             "usable now                 1.0 GiB, the largest block 1.0 GiB at 0x100000000\n"
             "usable after exit          1.1 GiB, the largest block 1.0 GiB at 0x100000000\n"
             "usable after ACPI          1.1 GiB, the largest block 1.0 GiB at 0x100000000\n"
             "kept for runtime           4.0 MiB\n"
             "MMIO for runtime           4.0 MiB\n"
             "descriptors                     17, in 17 regions\n"
             "\n"
             "by type\n"
             "  Reserved                 2.0 MiB\n"
             "  LoaderData               1.0 MiB\n"
             "  BootServicesCode         4.0 KiB\n"
             "  BootServicesData        16.0 MiB\n"
             "  RuntimeServicesCode      1.0 MiB\n"
             "  RuntimeServicesData      3.0 MiB\n"
             "  Conventional             1.0 GiB\n"
             "  ACPIReclaim              1.0 MiB\n"
             "  ACPINVS                  2.0 MiB\n"
             "  MMIO                     4.0 MiB\n"
             "  undefined types         12.0 KiB\n"
             "  OEM-defined              4.0 KiB\n"
             "  OS-defined               8.0 KiB\n"
             "by use\n"
             "  free                     1.0 GiB\n"
             "  free after exit         17.0 MiB\n"
             "  free after ACPI          1.0 MiB\n"
             "  runtime data             3.0 MiB\n"
             "  runtime code             1.0 MiB\n"
             "  ACPI NVS                 2.0 MiB\n"
             "  reserved                 2.0 MiB\n"
             "  MMIO                     4.0 MiB\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sums),        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_what_is_ram), cmocka_unit_test(test_claims),
        cmocka_unit_test(test_empty),       cmocka_unit_test(test_bar),
        cmocka_unit_test(test_bar_model),   cmocka_unit_test(test_bar_extremes),
        cmocka_unit_test(test_text),
    };
    return cmocka_run_group_tests(tests, NULL, drop);
}
