/*
 * test_mapdiff.c - differences of maps: sentences written by hand for small maps, and properties
 * that hold for all maps, random ones and those of real machines.
 *
 * Every difference is made twice, of (a, b) and of (b, a), and the one must be the other reversed.
 * Storage is malloc'd at its exact size, for AddressSanitizer to see a change too many.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdlib.h>

#include "host_port.h"
#include "mm/mapdiff.h"
#include "mm/mapfile.h"

#define PAGE  UINT64_C(4096)
#define WB    UINT64_C(0xf)
#define WP    UINT64_C(0x1000)
#define XP    UINT64_C(0x4000)
#define RO    UINT64_C(0x20000)
#define SP    UINT64_C(0x40000)
#define RT    UINT64_C(0x8000000000000000)
#define ALL   UINT64_MAX
#define DESCS 4096

struct desc {
    uint32_t type;
    uint64_t start;
    uint64_t npages;
    uint64_t attr;
};

/*
 * 16 MiB of free memory. The others lie on it: where descriptors overlap, the more restrictive one
 * wins, and all are more restrictive than free memory.
 */
#define FREE                                                                                       \
    {                                                                                              \
        7, 0, 0x1000, WB                                                                           \
    }

/* ---- maps and differences, and where they lie ------------------------------------------------ */

struct fixture {
    struct memmap m;
    struct efi_memory_descriptor *descs;
    void *storage;
};

/* `descs` is malloc'd, and the fixture's from now on. */
static void build_efi(struct fixture *f, struct efi_memory_descriptor *descs, size_t n)
{
    struct memmap_raw raw = { .bytes = descs, .nbytes = n * 40, .stride = 40, .version = 1 };
    uint64_t nbytes = memmap_storage_bytes(n);

    f->descs = descs;
    f->storage = malloc(nbytes);
    assert_non_null(f->storage);
    assert_int_equal(memmap_build(&f->m, &raw, f->storage, nbytes), MM_OK);
}

static void build(struct fixture *f, const struct desc *d, size_t n)
{
    struct efi_memory_descriptor *descs = malloc(n * 40 + 1);

    assert_non_null(descs);
    for (size_t i = 0; i < n; i++) {
        descs[i] = (struct efi_memory_descriptor){ .type = d[i].type,
                                                   .physical_start = d[i].start,
                                                   .number_of_pages = d[i].npages,
                                                   .attribute = d[i].attr };
    }
    build_efi(f, descs, n);
}

static void drop(struct fixture *f)
{
    free(f->descs);
    free(f->storage);
}

static void *make(struct mapdiff *d, const struct memmap *a, const struct memmap *b, uint64_t mask)
{
    uint64_t nbytes = mapdiff_storage_bytes(a->nregions, b->nregions);
    void *storage = malloc(nbytes);

    assert_non_null(storage);
    memset(storage, 0xa5, nbytes);
    assert_int_equal(mapdiff_make(d, a, b, mask, storage, nbytes), MM_OK);
    return storage;
}

/* ---- what every difference must be ----------------------------------------------------------- */

static bool same_place(const struct mapdiff_place *a, const struct mapdiff_place *b)
{
    return a->base == b->base && a->end == b->end && a->attr == b->attr && a->type == b->type &&
           a->kind == b->kind && a->is_claim == b->is_claim;
}

/* Is `c` of (a, b) what `r` is of (b, a)? */
static bool mirrors(const struct mapdiff_change *c, const struct mapdiff_change *r)
{
    uint32_t kind = c->kind == MAPDIFF_APPEARED   ? MAPDIFF_VANISHED
                    : c->kind == MAPDIFF_VANISHED ? MAPDIFF_APPEARED
                                                  : c->kind;
    bool bytes = c->kind == MAPDIFF_SHUFFLED
                     ? c->from_bytes == r->from_bytes
                     : c->from_bytes == r->to_bytes && c->to_bytes == r->from_bytes;

    return r->kind == kind && r->subject == c->subject && r->importance == c->importance &&
           r->breaks == c->breaks && r->instead == c->instead && r->count == c->count && bytes &&
           same_place(&c->from, &r->to) && same_place(&c->to, &r->from) && c->lost == r->gained &&
           c->gained == r->lost;
}

static void assert_mirror(const struct mapdiff *d, const struct mapdiff *r)
{
    assert_int_equal(d->nchanges, r->nchanges);
    assert_int_equal(d->nruntime, r->nruntime);
    assert_int_equal(d->nacpi, r->nacpi);
    assert_int_equal(d->breaks, r->breaks);
    for (uint32_t i = 0; i < d->nchanges; i++) {
        uint32_t j = 0;

        while (j < r->nchanges && !mirrors(&d->changes[i], &r->changes[j])) {
            j++;
        }
        if (j == r->nchanges) {
            char line[512];
            struct mm_text text;
            struct mm_sink to = mm_text_sink(&text, line, sizeof(line));

            mapdiff_put_change(&to, &d->changes[i]);
            fail_msg("not reversed: %s", line);
        }
    }
}

static void assert_change(const struct mapdiff_change *c)
{
    const struct mapdiff_place *places[] = { &c->from, &c->to };

    assert_true(c->kind < MAPDIFF_KINDS && c->subject <= MAPDIFF_PASSING && c->count > 0);
    assert_int_equal((c->breaks & MAPDIFF_BREAKS_KEXEC) != 0, c->importance == MAPDIFF_BREAKING);
    for (int i = 0; i < 2; i++) {
        assert_true(places[i]->base <= places[i]->end);
        assert_true(places[i]->base < places[i]->end || places[i]->end == 0);
    }
    if (c->kind == MAPDIFF_ATTRIBUTES) {
        assert_true(c->lost != 0 || c->gained != 0);
    }
}

/* All that can be said of any difference, in words and as JSON too. Frees the storage. */
static void check_and_drop(struct mapdiff *d, void *storage)
{
    static char buf[1 << 20];
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, buf, sizeof(buf));
    struct json_writer w;

    for (uint32_t i = 0; i < d->nchanges; i++) {
        assert_change(&d->changes[i]);
        if (i > 0) {
            const struct mapdiff_change *c = &d->changes[i];

            assert_true(c[-1].subject == MAPDIFF_RAM || c->subject != MAPDIFF_RAM);
            assert_true(c[-1].subject == MAPDIFF_RAM || c[-1].importance >= c->importance);
        }
    }
    mapdiff_put(&to, d);
    assert_true(text.len > 0 && text.len < sizeof(buf));
    to = mm_text_sink(&text, buf, sizeof(buf));
    json_write_begin(&w, &to, JSON_LINE);
    mapdiff_put_json(&w, d);
    json_write_end(&w);
    free(storage);
}

/* ---- sentences ------------------------------------------------------------------------------- */

#define SAME "The maps are the same.\n"
#define SAFE                                                                                       \
    "Runtime services regions: the same. ACPI regions: the same.\n"                                \
    "Hibernation and kexec are not affected.\n"
#define REFUSED                                                                                    \
    "Runtime services regions: the same. ACPI regions: the same.\n"                                \
    "Breaks hibernation: memory is laid out differently, and an image saved under one map\n"       \
    "is refused under the other. Kexec is not affected.\n"
#define BROKEN(runtime, acpi)                                                                      \
    "Runtime services regions: " runtime ". ACPI regions: " acpi ".\n"                             \
    "Breaks hibernation: an image saved under one map does not resume under the other.\n"          \
    "Breaks kexec: the next kernel would look for these regions where they are not.\n"

static void expect_masked(const struct memmap *a, const struct memmap *b, uint64_t mask,
                          const char *want)
{
    char buf[4096];
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, buf, sizeof(buf));
    struct mapdiff d;
    struct mapdiff r;
    void *storage = make(&d, a, b, mask);
    void *reverse = make(&r, b, a, mask);

    mapdiff_put(&to, &d);
    assert_string_equal(buf, want);
    assert_mirror(&d, &r);
    check_and_drop(&d, storage);
    check_and_drop(&r, reverse);
}

static void expect_n(const struct desc *a, size_t na, const struct desc *b, size_t nb,
                     const char *want)
{
    struct fixture from;
    struct fixture to;

    build(&from, a, na);
    build(&to, b, nb);
    expect_masked(&from.m, &to.m, ALL, want);
    drop(&from);
    drop(&to);
}

#define expect(a, b, want) expect_n(a, MM_COUNTOF(a), b, MM_COUNTOF(b), want)

static void test_same(void **state)
{
    /* In another order, and cut in pieces: no difference. */
    static const struct desc a[] = {
        { 7, 0x100000, 0x100, WB },
        { 6, 0x200000, 0x30, RT | WB },
    };
    static const struct desc b[] = {
        { 6, 0x220000, 0x10, RT | WB }, { 7, 0x140000, 0xc0, WB },
        { 6, 0x200000, 0x18, RT | WB }, { 7, 0x100000, 0x40, WB },
        { 6, 0x218000, 0x08, RT | WB },
    };

    (void)state;
    expect(a, b, SAME);
    expect_n(NULL, 0, NULL, 0, SAME);
}

static void test_moved(void **state)
{
    static const struct desc a[] = {
        { 7, 0x100000, 0x100, WB },
        { 6, 0x200000, 0x100, RT | WB },
        { 4, 0x300000, 3, WB },
    };
    static const struct desc b[] = {
        { 7, 0x100000, 0xfd, WB },
        { 6, 0x1fd000, 0x100, RT | WB },
        { 4, 0x2fd000, 6, WB },
    };

    (void)state;
    expect(a, b,
           "! RuntimeServicesData 0x200000 (1.0 MiB) moved down by 3 pages to 0x1fd000\n"
           "  boot services took 12.0 KiB of free memory: 12.0 KiB -> 24.0 KiB\n" BROKEN(
               "1 change", "the same"));
    expect(b, a,
           "! RuntimeServicesData 0x1fd000 (1.0 MiB) moved up by 3 pages to 0x200000\n"
           "  boot services gave back 12.0 KiB to free memory: 24.0 KiB -> 12.0 KiB\n" BROKEN(
               "1 change", "the same"));
}

/* Two of one size and type, next to each other, shifted by more than their size. */
static void test_moved_together(void **state)
{
    static const struct desc a[] = { FREE,
                                     { 6, 0x200000, 0x100, RT | WB },
                                     { 5, 0x300000, 0x100, RT | WB },
                                     { 10, 0x400000, 0x10, WB },
                                     { 6, 0x500000, 0x100, RT | WB } };
    static const struct desc b[] = { FREE,
                                     { 6, 0x300000, 0x100, RT | WB },
                                     { 5, 0x400000, 0x100, RT | WB },
                                     { 10, 0x500000, 0x10, WB },
                                     { 6, 0x600000, 0x100, RT | WB } };

    (void)state;
    expect(a, b,
           "! RuntimeServicesData 0x200000 (1.0 MiB) moved up by 1 MiB to 0x300000\n"
           "! RuntimeServicesCode 0x300000 (1.0 MiB) moved up by 1 MiB to 0x400000\n"
           "! ACPINVS 0x400000 (64.0 KiB) moved up by 1 MiB to 0x500000\n"
           "! RuntimeServicesData 0x500000 (1.0 MiB) moved up by 1 MiB to 0x600000\n" BROKEN(
               "3 changes", "1 change"));
}

/* Of several of one size, each finds the nearest that leaves the others one; the odd one is new. */
static void test_nearest(void **state)
{
    static const struct desc a[] = { FREE, { 13, 0x100000, 2, WB }, { 13, 0x110000, 2, WB } };
    static const struct desc b[] = { FREE,
                                     { 13, 0x010000, 2, WB },
                                     { 13, 0x104000, 2, WB },
                                     { 13, 0x114000, 2, WB },
                                     { 13, 0x180000, 2, WB } };
    static const struct desc c[] = { FREE, { 13, 0x0fe000, 2, WB }, { 13, 0x10d000, 2, WB } };

    (void)state;
    expect(
        a, b,
        "* RAM shrank by 4 pages: 15.9 MiB -> 15.9 MiB\n"
        "! PalCode 0x10000 (8.0 KiB) appeared, was Conventional\n"
        "! PalCode 0x100000 (8.0 KiB) moved up by 4 pages to 0x104000\n"
        "! PalCode 0x110000 (8.0 KiB) moved up by 4 pages to 0x114000\n"
        "! PalCode 0x180000 (8.0 KiB) appeared, was Conventional\n"
        "  free memory shrank by 4 pages: 15.9 MiB -> 15.9 MiB\n" BROKEN("4 changes", "the same"));
    expect(a, c,
           "! PalCode 0x100000 (8.0 KiB) moved down by 2 pages to 0xfe000\n"
           "! PalCode 0x110000 (8.0 KiB) moved down by 3 pages to 0x10d000\n" BROKEN("2 changes",
                                                                                     "the same"));
}

static void test_resized(void **state)
{
    static const struct desc a[] = { FREE,
                                     { 9, 0x400000, 0x10, WB },
                                     { 10, 0x500000, 0x10, WB },
                                     { 11, 0x600000, 0x200, 1 },
                                     { 0, 0x900000, 0x10, WB } };
    static const struct desc b[] = { FREE,
                                     { 9, 0x400000, 0x12, WB },
                                     { 10, 0x4ff000, 0x11, WB },
                                     { 11, 0x601000, 0x1f0, 1 },
                                     { 0, 0x902000, 0x18, WB } };

    (void)state;
    expect(
        a, b,
        "* RAM grew by 8 pages: 13.9 MiB -> 13.9 MiB\n"
        "! ACPIReclaim 0x400000 (64.0 KiB) grew by 2 pages at its end, now 0x400000 (72.0 KiB)\n"
        "! ACPINVS 0x500000 (64.0 KiB) grew by 1 page at its beginning, now 0x4ff000 (68.0 KiB)\n"
        "* MMIO 0x600000 (2.0 MiB) shrank by 16 pages: 1 page at its beginning, 15 pages at its"
        " end, now 0x601000 (1.9 MiB)\n"
        "* Reserved 0x900000 (64.0 KiB) moved up by 2 pages to 0x902000 and grew by 8 pages\n"
        "  free memory grew by 5 pages: 13.8 MiB -> 13.8 MiB\n" BROKEN("the same", "2 changes"));
}

/* Nearly the same size, elsewhere: it moved and grew. Three times the size: it is another one. */
static void test_moved_and_resized(void **state)
{
    static const struct desc a[] = { FREE, { 9, 0x400000, 18, WB }, { 10, 0x500000, 4, WB } };
    static const struct desc b[] = { FREE, { 9, 0x700000, 11, WB }, { 10, 0x800000, 12, WB } };

    (void)state;
    expect(
        a, b,
        "! ACPIReclaim 0x400000 (72.0 KiB) moved up by 3 MiB to 0x700000 and shrank by 7 pages\n"
        "! ACPINVS 0x500000 (16.0 KiB) vanished, is now Conventional\n"
        "! ACPINVS 0x800000 (48.0 KiB) appeared, was Conventional\n"
        "  free memory shrank by 1 page: 15.9 MiB -> 15.9 MiB\n" BROKEN("the same", "3 changes"));
}

static void test_retyped(void **state)
{
    static const struct desc a[] = {
        FREE, { 0, 0x300000, 0x10, WB }, { 9, 0x400000, 0x10, WB }, { 7, 0x1000000, 0x100, WB | SP }
    };
    static const struct desc b[] = {
        FREE, { 10, 0x300000, 0x10, WB }, { 10, 0x400000, 0x10, WB }, { 7, 0x1000000, 0x100, WP }
    };

    (void)state;
    expect(a, b,
           "* RAM grew by 16 pages: 16.9 MiB -> 17.0 MiB\n"
           "! Reserved 0x300000 (64.0 KiB) became ACPINVS\n"
           "! ACPIReclaim 0x400000 (64.0 KiB) became ACPINVS\n"
           "* Conventional 0x1000000 (1.0 MiB) is reserved, was special purpose\n" BROKEN(
               "the same", "2 changes"));
}

static void test_come_and_gone(void **state)
{
    static const struct desc a[] = { FREE, { 10, 0x200000, 2, WB }, { 4, 0x400000, 2, WB } };
    static const struct desc b[] = {
        FREE, { 0, 0x3ff000, 2, WB }, { 0, 0x500000, 1, WB }, { 11, 0x5000000, 1, 1 }
    };
    static const struct desc c[] = { FREE, { 0, 0x200000, 1, WB }, { 10, 0x5000000, 2, WB } };

    (void)state;
    expect(a, b,
           "* RAM shrank by 3 pages: 16.0 MiB -> 15.9 MiB\n"
           "! ACPINVS 0x200000 (8.0 KiB) vanished, is now Conventional\n"
           "* Reserved 0x3ff000 (8.0 KiB) appeared, was free or boot services memory\n"
           "* Reserved 0x500000 (4.0 KiB) appeared, was Conventional\n"
           "* MMIO 0x5000000 (4.0 KiB) appeared, nothing was there\n"
           "  free memory grew by 1 page: 15.9 MiB -> 15.9 MiB\n"
           "  boot services shrank by 2 pages: 8.0 KiB -> 0 B\n" BROKEN("the same", "1 change"));
    expect(a, c,
           "* RAM grew by 1 page: 16.0 MiB -> 16.0 MiB\n"
           "* RAM 0x5000000-0x5001fff (8.0 KiB) appeared, nothing was there\n"
           "! ACPINVS 0x200000 (8.0 KiB) moved up by 78 MiB to 0x5000000\n"
           "* Reserved 0x200000 (4.0 KiB) appeared, was ACPINVS\n"
           "  free memory grew by 3 pages: 15.9 MiB -> 15.9 MiB\n"
           "  boot services shrank by 2 pages: 8.0 KiB -> 0 B\n" BROKEN("the same", "1 change"));
}

static void test_ram(void **state)
{
    /* The hole moves up by 16 MiB: what was above it comes below. */
    static const struct desc a[] = { FREE, { 7, 0x100000000, 0x2000, WB } };
    static const struct desc b[] = { FREE,
                                     { 7, 0x1000000, 0x1000, WB },
                                     { 0, 0x1800000, 0x10, WB }, /* in new memory: one stretch */
                                     { 7, 0x100000000, 0x1000, WB } };

    (void)state;
    expect(a, b,
           "* RAM shrank by 16 pages: 48.0 MiB -> 47.9 MiB\n"
           "* RAM 0x1000000-0x1ffffff (15.9 MiB) appeared, nothing was there\n"
           "* RAM 0x101000000-0x101ffffff (16.0 MiB) vanished, nothing is there now\n"
           "* Reserved 0x1800000 (64.0 KiB) appeared, nothing was there\n"
           "  free memory shrank by 16 pages: 48.0 MiB -> 47.9 MiB\n" REFUSED);
}

static void test_attributes(void **state)
{
    static const struct desc a[] = { { 7, 0, 0x100, WB | WP },
                                     { 5, 0x100000, 0x40, RT | WB | WP },
                                     { 6, 0x140000, 0x40, RT | WB },
                                     { 4, 0x180000, 0x80, WB | WP } };
    static const struct desc b[] = { { 7, 0, 0x100, WB },
                                     { 5, 0x100000, 0x40, RT | WB },
                                     { 6, 0x140000, 0x10, RT | WB | RO },
                                     { 6, 0x150000, 0x10, RT | WB | RO },
                                     { 6, 0x160000, 0x10, RT | WB },
                                     { 6, 0x170000, 0x10, RT | WB | XP },
                                     { 4, 0x180000, 0x80, WB } };

    (void)state;
    expect(a, b,
           "* 1.5 MiB of free, boot services and loader memory, 2 stretches from 0x0: attributes "
           "lost WP\n"
           "* RuntimeServicesCode 0x100000 (256.0 KiB): attributes lost WP\n"
           "* RuntimeServicesData 0x140000 (128.0 KiB): attributes gained RO\n"
           "* RuntimeServicesData 0x170000 (64.0 KiB): attributes gained XP\n" SAFE);
}

/* Attributes are compared inside a region that moved, too; and RUNTIME is more than a capability.
 */
static void test_attributes_moved(void **state)
{
    static const struct desc a[] = { FREE,
                                     { 6, 0x200000, 0x10, RT | WB | WP },
                                     { 6, 0x210000, 0x10, RT | WB },
                                     { 11, 0xff000000, 0x100, RT | 1 } };
    static const struct desc b[] = { FREE,
                                     { 6, 0x1fc000, 0x10, RT | WB | XP },
                                     { 6, 0x20c000, 0x10, RT | WB },
                                     { 11, 0xff000000, 0x100, 1 } };

    (void)state;
    expect(a, b,
           "! RuntimeServicesData 0x200000 (128.0 KiB) moved down by 4 pages to 0x1fc000\n"
           "! MMIO 0xff000000 (1.0 MiB): attributes lost RUNTIME\n"
           "* RuntimeServicesData 0x1fc000 (64.0 KiB): attributes lost WP, gained XP\n" BROKEN(
               "2 changes", "the same"));
}

/* Bits that one of the formats does not show are no difference. */
/* From the top of the address space to its bottom: seen from where it was, it ends beyond 2^64. */
static void test_attributes_moved_far(void **state)
{
    static const struct desc a[] = { { 0, UINT64_C(0xffffffffffffd000), 2, WB } };
    static const struct desc b[] = { { 0, 0, 3, WB | RO } };

    (void)state;
    expect(a, b,
           "* Reserved 0xffffffffffffd000 (8.0 KiB) moved down by 15.9 EiB (0xffffffffffffd000) to "
           "0x0 and grew by 1 page\n"
           "* Reserved 0x0 (8.0 KiB): attributes gained RO\n" REFUSED);
}

static void test_attribute_mask(void **state)
{
    static const struct desc a[] = { FREE, { 0, 0x200000, 0x10, WB | XP } };
    static const struct desc b[] = { FREE, { 0, 0x200000, 0x10, WB } };
    struct fixture from;
    struct fixture to;

    (void)state;
    build(&from, a, 2);
    build(&to, b, 2);
    expect_masked(&from.m, &to.m, WB, SAME);
    expect_masked(&from.m, &to.m, WB | XP,
                  "* Reserved 0x200000 (64.0 KiB): attributes lost XP\n" SAFE);
    drop(&from);
    drop(&to);
}

static void test_passing(void **state)
{
    static const struct desc a[] = { FREE, { 4, 0x100000, 0x200, WB }, { 1, 0x400000, 0x10, WB } };
    static const struct desc took[] = { FREE,
                                        { 4, 0x100000, 0x300, WB },
                                        { 2, 0x400000, 0x40, WB } };
    static const struct desc swapped[] = { FREE,
                                           { 4, 0x100000, 0x1f0, WB },
                                           { 1, 0x400000, 0x20, WB } };
    static const struct desc elsewhere[] = { FREE,
                                             { 3, 0x800000, 0x200, WB },
                                             { 1, 0x410000, 0x10, WB } };

    (void)state;
    expect(a, took,
           "  boot services took 1.0 MiB of free memory: 2.0 MiB -> 3.0 MiB\n"
           "  loader memory took 192.0 KiB of free memory: 64.0 KiB -> 256.0 KiB\n"
           "  64.0 KiB changed hands among free, boot services and loader memory\n" SAFE);
    expect(a, swapped,
           "  boot services shrank by 16 pages: 2.0 MiB -> 1.9 MiB\n"
           "  loader memory grew by 16 pages: 64.0 KiB -> 128.0 KiB\n"
           "  64.0 KiB changed hands among free, boot services and loader memory\n" SAFE);
    expect(a, elsewhere,
           "  4.1 MiB changed hands among free, boot services and loader memory\n" SAFE);
}

/* What the kernel made of the final map: our own claims break nothing. */
static void test_claims(void **state)
{
    static const struct desc a[] = { FREE, { 6, 0x200000, 0x10, RT | WB } };
    struct fixture from;
    struct fixture to;

    (void)state;
    build(&from, a, 2);
    build(&to, a, 2);
    assert_int_equal(memmap_claim(&to.m, 0x100000, 0x80000, MEMMAP_KERNEL), MM_OK);
    expect_masked(&from.m, &to.m, ALL,
                  "  free memory shrank by 128 pages: 15.9 MiB -> 15.4 MiB\n"
                  "  kernel 0x100000 (512.0 KiB) appeared, was Conventional\n" SAFE);
    drop(&from);
    drop(&to);
}

static void test_json(void **state)
{
    static const struct desc a[] = { FREE, { 10, 0x200000, 1, WB } };
    static const struct desc b[] = { FREE, { 10, 0x201000, 1, WB | XP } };
    struct fixture from;
    struct fixture to;
    struct mapdiff d;
    char buf[4096];
    struct mm_text text;
    struct mm_sink sink = mm_text_sink(&text, buf, sizeof(buf));
    struct json_writer w;

    (void)state;
    build(&from, a, 2);
    build(&to, b, 2);
    void *storage = make(&d, &from.m, &to.m, ALL);
    json_write_begin(&w, &sink, JSON_LINE);
    mapdiff_put_json(&w, &d);
    json_write_end(&w);
    assert_string_equal(
        buf,
        "{\"same\":false,\"runtime_changes\":0,\"acpi_changes\":1,"
        "\"breaks\":[\"hibernation\",\"kexec\"],\"changes\":["
        "{\"text\":\"ACPINVS 0x200000 (4.0 KiB) moved up by 1 page to 0x201000\","
        "\"subject\":\"region\",\"kind\":\"moved\",\"importance\":\"breaking\","
        "\"breaks\":[\"hibernation\",\"kexec\"],"
        "\"from\":{\"base\":\"0x0000000000200000\",\"end\":\"0x0000000000201000\",\"type\":10,"
        "\"type_name\":\"ACPINVS\",\"use\":\"ACPI NVS\",\"attribute\":\"0x000000000000000f\","
        "\"attribute_names\":\"UC|WC|WT|WB\"},"
        "\"to\":{\"base\":\"0x0000000000201000\",\"end\":\"0x0000000000202000\",\"type\":10,"
        "\"type_name\":\"ACPINVS\",\"use\":\"ACPI NVS\",\"attribute\":\"0x000000000000400f\","
        "\"attribute_names\":\"UC|WC|WT|WB|XP\"},"
        "\"instead\":null,\"from_bytes\":4096,\"to_bytes\":4096,\"stretches\":1,\"lost\":\"\","
        "\"gained\":\"\"},"
        "{\"text\":\"ACPINVS 0x201000 (4.0 KiB): attributes gained XP\","
        "\"subject\":\"region\",\"kind\":\"attributes\",\"importance\":\"notable\",\"breaks\":[],"
        "\"from\":{\"base\":\"0x0000000000200000\",\"end\":\"0x0000000000201000\",\"type\":10,"
        "\"type_name\":\"ACPINVS\",\"use\":\"ACPI NVS\",\"attribute\":\"0x000000000000000f\","
        "\"attribute_names\":\"UC|WC|WT|WB\"},"
        "\"to\":{\"base\":\"0x0000000000201000\",\"end\":\"0x0000000000202000\",\"type\":10,"
        "\"type_name\":\"ACPINVS\",\"use\":\"ACPI NVS\",\"attribute\":\"0x000000000000400f\","
        "\"attribute_names\":\"UC|WC|WT|WB|XP\"},"
        "\"instead\":null,\"from_bytes\":4096,\"to_bytes\":4096,\"stretches\":1,\"lost\":\"\","
        "\"gained\":\"XP\"}]}\n");
    free(storage);
    drop(&from);
    drop(&to);
}

static void test_storage(void **state)
{
    static const struct desc a[] = { FREE };
    struct mapdiff d = { .nchanges = 42 };
    uint64_t nbytes = mapdiff_storage_bytes(1, 1);
    char *storage = malloc(nbytes + 1);
    struct fixture f;

    (void)state;
    build(&f, a, 1);
    assert_int_equal(mapdiff_make(&d, &f.m, &f.m, ALL, storage, nbytes - 1), MM_ENOSPC);
    assert_int_equal(mapdiff_make(&d, &f.m, &f.m, ALL, storage + 1, nbytes), MM_EINVAL);
    assert_int_equal(d.nchanges, 42);
    assert_int_equal(mapdiff_make(&d, &f.m, &f.m, ALL, storage, nbytes), MM_OK);
    assert_int_equal(d.nchanges, 0);
    assert_int_equal(mapdiff_storage_bytes(UINT32_MAX, UINT32_MAX), 0);
    assert_int_equal(mapdiff_storage_bytes(UINT64_MAX, 2), 0);
    drop(&f);
    free(storage);
}

/* ---- properties, of random maps -------------------------------------------------------------- */

#define MODEL_PAGES 96

/* Types that make runs, and passing memory twice as often. */
static uint32_t random_type(struct host_rng *r)
{
    static const uint32_t types[] = { 7, 4, 3, 2, 7, 4, 0, 5, 6, 9, 10, 11, 14, 0x70000000, 99 };

    return types[host_rng_below(r, MM_COUNTOF(types))];
}

static uint64_t random_attr(struct host_rng *r)
{
    static const uint64_t attrs[] = { WB, WB, WB, WB | WP, WB | XP, 1, WB | SP, RT | WB };

    return attrs[host_rng_below(r, MM_COUNTOF(attrs))];
}

static size_t random_map(struct host_rng *r, struct desc *d, size_t max)
{
    size_t n = host_rng_below(r, max + 1);

    for (size_t i = 0; i < n; i++) {
        d[i].type = random_type(r);
        d[i].attr = random_attr(r);
        d[i].npages = 1 + host_rng_below(r, 12);
        d[i].start = host_rng_below(r, MODEL_PAGES - 12) * PAGE;
    }
    return n;
}

/* Change a few things: what two boots of a machine look like. */
static size_t vary_map(struct host_rng *r, const struct desc *d, size_t n, struct desc *v)
{
    size_t nv = 0;

    for (size_t i = 0; i < n; i++) {
        v[nv] = d[i];
        switch (host_rng_below(r, 12)) {
        case 0:
            v[nv].start = host_rng_below(r, MODEL_PAGES - 12) * PAGE;
            break;
        case 1:
            v[nv].npages = 1 + host_rng_below(r, 12);
            break;
        case 2:
            v[nv].attr = random_attr(r);
            break;
        case 3:
            v[nv].type = random_type(r);
            break;
        case 4:
            continue; /* vanishes */
        default:
            break;
        }
        nv++;
    }
    return nv;
}

/* Is every page the same in both? */
static bool model_same(const struct memmap *a, const struct memmap *b, uint64_t mask)
{
    for (uint64_t page = 0; page < MODEL_PAGES; page++) {
        const struct memmap_region *r = memmap_find(a, page * PAGE);
        const struct memmap_region *q = memmap_find(b, page * PAGE);

        if ((r == NULL) != (q == NULL) || (r != NULL && (r->type != q->type || r->kind != q->kind ||
                                                         (r->attr & mask) != (q->attr & mask)))) {
            return false;
        }
    }
    return true;
}

static void check_pair(const struct memmap *a, const struct memmap *b, uint64_t mask)
{
    struct mapdiff d;
    struct mapdiff r;
    void *storage = make(&d, a, b, mask);
    void *reverse = make(&r, b, a, mask);

    assert_mirror(&d, &r);
    check_and_drop(&d, storage);
    check_and_drop(&r, reverse);
}

static void test_random(void **state)
{
    struct host_rng r = host_rng_make("random maps");
    unsigned nsame = 0;

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct desc da[24];
        struct desc db[24];
        size_t na = random_map(&r, da, 24);
        size_t nb = round % 4 == 0 ? random_map(&r, db, 24) : vary_map(&r, da, na, db);
        uint64_t mask = round % 8 == 0 ? ~(WP | XP) : ALL;
        struct fixture a;
        struct fixture b;
        struct mapdiff d;

        build(&a, da, na);
        build(&b, db, nb);
        void *storage = make(&d, &a.m, &b.m, mask);
        assert_int_equal(d.nchanges == 0, model_same(&a.m, &b.m, mask));
        nsame += d.nchanges == 0;
        free(storage);
        check_pair(&a.m, &b.m, mask);
        drop(&a);
        drop(&b);
    }
    assert_true(nsame > 100 && nsame < 10000); /* both sides of the property were tried */
}

/* Any kind of claim on either side. */
static void test_random_claims(void **state)
{
    struct host_rng r = host_rng_make("random claims");

    (void)state;
    for (int round = 0; round < 4000; round++) {
        struct desc da[16];
        size_t n = random_map(&r, da, 16);
        struct fixture f[2];

        for (int side = 0; side < 2; side++) {
            build(&f[side], da, n);
            for (uint64_t i = host_rng_below(&r, 4); i > 0; i--) {
                uint64_t base = host_rng_below(&r, MODEL_PAGES) * PAGE;

                assert_int_equal(memmap_claim(&f[side].m, base, (1 + host_rng_below(&r, 9)) * PAGE,
                                              (enum memmap_kind)host_rng_below(&r, MEMMAP_KINDS)),
                                 MM_OK);
            }
        }
        check_pair(&f[0].m, &f[1].m, ALL);
        drop(&f[0]);
        drop(&f[1]);
    }
}

/* The most changes that there can be room for: nothing of one map is in the other. */
static void test_many(void **state)
{
    enum { N = 3000 };
    struct efi_memory_descriptor *a = calloc(N, 40);
    struct efi_memory_descriptor *b = calloc(N, 40);
    struct fixture from;
    struct fixture to;

    (void)state;
    assert_non_null(a);
    assert_non_null(b);
    for (uint64_t i = 0; i < N; i++) {
        /* Pieces of all kinds and attributes, interleaved with gaps where the other has some. */
        a[i] = (struct efi_memory_descriptor){ (uint32_t)(i % 16), 0, 2 * i * PAGE, 0, 1,
                                               WB | (i % 3) << 12 };
        b[i] = (struct efi_memory_descriptor){ (uint32_t)(i % 15), 0, (2 * i + i % 2) * PAGE, 0, 1,
                                               WB | (i % 5) << 12 };
    }
    build_efi(&from, a, N);
    build_efi(&to, b, N);
    struct mapdiff d;
    void *storage = make(&d, &from.m, &to.m, ALL);
    assert_true(d.nchanges > N);
    free(storage);
    drop(&from);
    drop(&to);
}

/* ---- properties, of real maps ---------------------------------------------------------------- */

#define MAX_FILES 64

struct file {
    uint64_t attr_known;
    struct fixture f;
};

static struct file files[MAX_FILES];
static size_t nfiles;

static void read_file(const char *folder, const char *name)
{
    static char bytes[1 << 20];
    struct efi_memory_descriptor *descs = malloc(DESCS * 40);
    struct file *file = &files[nfiles];
    struct mapfile info;
    char path[512];
    FILE *stream;
    size_t n;

    assert_non_null(descs);
    assert_true(nfiles < MAX_FILES);
    snprintf(path, sizeof(path), "%s/%s", folder, name);
    stream = fopen(path, "rb");
    assert_non_null(stream);
    n = fread(bytes, 1, sizeof(bytes), stream);
    fclose(stream);
    if (mapfile_read(&info, bytes, n, 0, descs, NULL, DESCS) != MM_OK) {
        free(descs); /* not a map: notes beside them */
        return;
    }
    file->attr_known = info.attr_known;
    build_efi(&file->f, descs, info.ndescs);
    nfiles++;
}

/* The same map with its descriptors shuffled, and cut where that can be done. */
static void scramble(struct host_rng *r, const struct fixture *f, struct fixture *scrambled)
{
    uint32_t n = f->m.ndescs;
    struct efi_memory_descriptor *d = malloc((2 * n + 1) * sizeof(*d));
    size_t nd = 0;

    assert_non_null(d);
    for (uint32_t i = 0; i < n; i++) {
        uint64_t head =
            f->descs[i].number_of_pages > 1 ? host_rng_below(r, f->descs[i].number_of_pages) : 0;

        d[nd++] = f->descs[i];
        if (head > 0) {
            d[nd] = f->descs[i];
            d[nd].physical_start += head * PAGE;
            d[nd++].number_of_pages -= head;
            d[nd - 2].number_of_pages = head;
        }
    }
    for (size_t i = nd; i > 1; i--) {
        size_t j = host_rng_below(r, i);
        struct efi_memory_descriptor moved = d[i - 1];

        d[i - 1] = d[j];
        d[j] = moved;
    }
    build_efi(scrambled, d, nd);
}

static void test_real_maps(void **state)
{
    const char *folder =
        getenv("PLAT_MAPS") != NULL ? getenv("PLAT_MAPS") : "../shared/firmware/maps";
    struct host_rng r = host_rng_make("real maps");
    DIR *dir = opendir(folder);

    (void)state;
    if (dir == NULL) {
        printf("no folder %s (PLAT_MAPS): collected maps not tested\n", folder);
        skip();
    }
    for (const struct dirent *e = readdir(dir); e != NULL; e = readdir(dir)) {
        if (e->d_name[0] != '.') {
            read_file(folder, e->d_name);
        }
    }
    closedir(dir);
    printf("%zu maps, each with each\n", nfiles);
    for (size_t i = 0; i < nfiles; i++) {
        struct fixture scrambled;

        expect_masked(&files[i].f.m, &files[i].f.m, ALL, SAME);
        scramble(&r, &files[i].f, &scrambled);
        expect_masked(&files[i].f.m, &scrambled.m, ALL, SAME);
        drop(&scrambled);
        for (size_t j = 0; j < i; j++) {
            check_pair(&files[i].f.m, &files[j].f.m, files[i].attr_known & files[j].attr_known);
        }
    }
    for (size_t i = 0; i < nfiles; i++) {
        drop(&files[i].f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same),
        cmocka_unit_test(test_moved),
        cmocka_unit_test(test_moved_together),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_resized),
        cmocka_unit_test(test_moved_and_resized),
        cmocka_unit_test(test_retyped),
        cmocka_unit_test(test_come_and_gone),
        cmocka_unit_test(test_ram),
        cmocka_unit_test(test_attributes),
        cmocka_unit_test(test_attributes_moved),
        cmocka_unit_test(test_attributes_moved_far),
        cmocka_unit_test(test_attribute_mask),
        cmocka_unit_test(test_passing),
        cmocka_unit_test(test_claims),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_storage),
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_random_claims),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_real_maps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
