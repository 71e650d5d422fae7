/*
 * test_mapshow.c - what a person is told about a map, against sentences written by hand.
 */
#include <stdlib.h>

#include "host_port.h"
#include "mm/mapshow.h"

#define MiB UINT64_C(0x100000)
#define WB  UINT64_C(0xf)
#define RT  UINT64_C(0x8000000000000000)
#define ALL UINT64_MAX

static const struct efi_memory_descriptor descs[] = {
    { EFI_MT_BOOT_CODE, 0, 0, 0, 1, WB },
    { EFI_MT_CONVENTIONAL, 0, 0x1000, 0, 0x9f, WB },
    { EFI_MT_CONVENTIONAL, 0, 1 * MiB, 0, 15 * MiB >> 12, WB },
    { EFI_MT_RUNTIME_DATA, 0, 15 * MiB, 0, 1 * MiB >> 12, WB | RT }, /* over the one before */
    { EFI_MT_CONVENTIONAL, 0, 0x1000, 0, 0, WB },                    /* no pages: left out */
    { EFI_MT_RESERVED, 0, UINT64_C(0xfffffffffff00000), 0, 0x10, 0 },
};

static const struct memmap_finding findings[] = {
    { "M13", "two descriptors overlap", NULL, MEMMAP_ERROR, 3, 2, 15 * MiB, 16 * MiB },
    { "M24", "page 0 is usable memory", NULL, MEMMAP_INFO, 0, MEMMAP_NODESC, 0, 0x1000 },
    { "M33", "about all of it", NULL, MEMMAP_WARN, MEMMAP_NODESC, MEMMAP_NODESC, 0, 0 },
};

static void *storage;
static struct memmap map;
static char text[8192];

static int make(void **state)
{
    struct memmap_raw raw = { .bytes = descs, .nbytes = sizeof(descs), .stride = 40, .version = 1 };
    uint64_t nbytes = memmap_storage_bytes(MM_COUNTOF(descs));

    (void)state;
    storage = malloc(nbytes);
    assert_non_null(storage);
    assert_int_equal(memmap_build(&map, &raw, storage, nbytes), MM_OK);
    return 0;
}

static int drop(void **state)
{
    (void)state;
    free(storage);
    storage = NULL;
    return 0;
}

/* The answer about `addr` is `expected`, and whether there is a region. */
static void assert_at(const struct mapshow *show, uint64_t addr, bool found, const char *expected)
{
    const struct maplint_result lint = { .findings = (struct memmap_finding *)findings,
                                         .n = 3,
                                         .max = 3 };
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, text, sizeof(text));

    assert_int_equal(mapshow_put_at(&to, show, &lint, addr), found);
    assert_string_equal(text, expected);
}

static void test_at(void **state)
{
    struct mapshow show = { .map = &map, .attr_known = ALL };

    (void)state;
    /* The descriptor without pages is at 0x1000, but nothing is in it. */
    assert_at(&show, 0x1234, true,
              "0x1234: free, 0x234 into 0x1000-0x9ffff (636.0 KiB), Conventional, attributes "
              "UC|WC|WT|WB\n"
              "descriptor 1: Conventional at 0x1000, 159 pages, attributes UC|WC|WT|WB\n");
    /* Two descriptors, the stricter of which has it; a finding of the place. */
    assert_at(&show, 16 * MiB - 1, true,
              "0xffffff: runtime data, 0xfffff into 0xf00000-0xffffff (1.0 MiB), "
              "RuntimeServicesData, attributes UC|WC|WT|WB|RUNTIME\n"
              "descriptor 2: Conventional at 0x100000, 3840 pages, attributes UC|WC|WT|WB\n"
              "descriptor 3: RuntimeServicesData at 0xf00000, 256 pages, attributes "
              "UC|WC|WT|WB|RUNTIME\n"
              "error M13 at 0xf00000-0xffffff, descriptor 3 and 2: two descriptors overlap\n");
    assert_at(&show, 16 * MiB, false,
              "0x1000000: in no region; the map says nothing about "
              "0x1000000-0xffffffffffefffff\n");
    assert_at(&show, UINT64_MAX, false,
              "0xffffffffffffffff: in no region; the map says nothing about "
              "0xfffffffffff10000-0xffffffffffffffff\n");
    assert_at(&show, UINT64_C(0xfffffffffff00000), true,
              "0xfffffffffff00000: reserved, 0x0 into 0xfffffffffff00000-0xfffffffffff0ffff "
              "(64.0 KiB), Reserved, attributes -\n"
              "descriptor 5: Reserved at 0xfffffffffff00000, 16 pages, attributes -\n");
}

static void test_at_in_colour(void **state)
{
    struct mapshow show = { .map = &map, .attr_known = ALL, .colour = true };

    (void)state;
    assert_at(&show, 15 * MiB, true,
              "0xf00000: \033[33mruntime data\033[0m, 0x0 into 0xf00000-0xffffff (1.0 MiB), "
              "RuntimeServicesData, attributes UC|WC|WT|WB|RUNTIME\n"
              "descriptor 2: Conventional at 0x100000, 3840 pages, attributes UC|WC|WT|WB\n"
              "descriptor 3: RuntimeServicesData at 0xf00000, 256 pages, attributes "
              "UC|WC|WT|WB|RUNTIME\n"
              "\033[91merror M13 at 0xf00000-0xffffff, descriptor 3 and 2: two descriptors "
              "overlap\033[0m\n");
}

static void test_at_of_a_text(void **state)
{
    static const uint32_t lines[] = { 11, 12, 13, 14, 15, 16 };
    struct mapshow show = { .map = &map, .lines = lines };

    (void)state;
    assert_at(&show, UINT64_C(0xfffffffffff00fff), true,
              "0xfffffffffff00fff: reserved, 0xfff into 0xfffffffffff00000-0xfffffffffff0ffff "
              "(64.0 KiB), Reserved, attributes ?\n"
              "descriptor 5: Reserved at 0xfffffffffff00000, 16 pages, attributes ? (line 16)\n");
}

static void test_at_a_claim(void **state)
{
    struct mapshow show = { .map = &map, .attr_known = ALL };

    (void)state;
    assert_int_equal(memmap_claim(&map, 2 * MiB, 4096, MEMMAP_KERNEL), MM_OK);
    assert_at(&show, 2 * MiB, true,
              "0x200000: kernel, 0x0 into 0x200000-0x200fff (4.0 KiB), claimed by the kernel\n"
              "descriptor 2: Conventional at 0x100000, 3840 pages, attributes UC|WC|WT|WB\n");
}

static void assert_bar(const struct mapshow *show, uint32_t ncolumns, const char *expected)
{
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, text, sizeof(text));

    mapshow_put_bar(&to, show, ncolumns);
    assert_string_equal(text, expected);
}

static void test_bar(void **state)
{
    struct mapshow show = { .map = &map, .attr_known = ALL };
    struct memmap nothing = map;

    (void)state;
    /* 640 KiB and 15 MiB of RAM: the reserved memory at the top is above it. */
    assert_bar(&show, 16, "...............r\na column: 1000.0 KiB  . free  r runtime data\n");
    show.colour = true;
    assert_bar(&show, 4, "\033[30;42m....\033[0m\na column: 3.9 MiB  \033[30;42m.\033[0m free\n");
    nothing.nregions = 0;
    show.map = &nothing;
    assert_bar(&show, 4, "");
}

/* All kinds at once: the letters differ, and the legend is broken into lines. */
static void test_legend(void **state)
{
    struct memmap_region regions[MEMMAP_KINDS];
    struct memmap all = { .regions = regions, .ndescs = MEMMAP_KINDS };
    struct mapshow show = { .map = &all };
    bool seen[128] = { false };
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, text, sizeof(text));
    size_t width = 0;

    (void)state;
    for (uint32_t kind = 0; kind < MEMMAP_KINDS; kind++) {
        if (kind != MEMMAP_MMIO) { /* takes no part */
            regions[all.nregions] = (struct memmap_region){ .base = all.nregions * MiB,
                                                            .end = (all.nregions + 1) * MiB,
                                                            .attr = WB,
                                                            .kind = kind,
                                                            .type = EFI_MT_CONVENTIONAL };
            all.nregions++;
        }
    }
    mapshow_put_bar(&to, &show, all.nregions);
    for (uint32_t i = 0; i < all.nregions; i++) {
        assert_false(seen[(unsigned char)text[i]]);
        seen[(unsigned char)text[i]] = true;
    }
    assert_int_equal(text[all.nregions], '\n');
    for (const char *s = text; *s != '\0'; s++) {
        width = *s != '\n' ? width + 1 : 0;
        assert_true(width <= 79);
    }
    for (uint32_t i = 0; i < all.nregions; i++) {
        assert_non_null(strstr(text, memmap_kind_name(regions[i].kind)));
    }
    assert_int_equal(t.buf[t.len - 1], '\n');
}

static void test_count(void **state)
{
    struct maplint_result lint = { .count = { [MEMMAP_INFO] = 1, [MEMMAP_ERROR] = 12 } };
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, text, sizeof(text));

    (void)state;
    mapshow_put_count(&to, &lint);
    assert_string_equal(text, "12 errors, 0 warnings, 1 info");
    lint.lost = 1;
    to = mm_text_sink(&t, text, sizeof(text));
    mapshow_put_count(&to, &lint);
    assert_string_equal(text, "12 errors, 0 warnings, 1 info; and there was no room for 1 finding");
}

static void test_styles(void **state)
{
    (void)state;
    for (uint32_t kind = 0; kind < MEMMAP_KINDS; kind++) {
        assert_memory_equal(mapshow_kind_style(kind), "\033[", 2);
    }
    assert_string_equal(mapshow_kind_style(MEMMAP_KINDS), "");
    assert_string_not_equal(mapshow_severity_style(MEMMAP_ERROR),
                            mapshow_severity_style(MEMMAP_WARN));
    assert_string_equal(mapshow_severity_style(MEMMAP_INFO), "");
    assert_string_equal(mapshow_severity_style(UINT32_MAX), "");
}

/* Whoever cannot see colours tells kinds apart by these. */
static void test_letters(void **state)
{
    (void)state;
    for (unsigned a = 0; a < MEMMAP_KINDS; a++) {
        assert_true(mapshow_kind_letter(a) > ' ');
        for (unsigned b = 0; b < a; b++) {
            assert_true(mapshow_kind_letter(a) != mapshow_kind_letter(b));
        }
    }
    assert_int_equal(mapshow_kind_letter(MEMMAP_KINDS), '?');
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_at, make, drop),
        cmocka_unit_test_setup_teardown(test_at_in_colour, make, drop),
        cmocka_unit_test_setup_teardown(test_at_of_a_text, make, drop),
        cmocka_unit_test_setup_teardown(test_at_a_claim, make, drop),
        cmocka_unit_test_setup_teardown(test_bar, make, drop),
        cmocka_unit_test(test_legend),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_styles),
        cmocka_unit_test(test_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
