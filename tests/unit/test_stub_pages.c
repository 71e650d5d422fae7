/*
 * The stub's page tables (efi/pages.c), walked by hand. Bits are written out again here, from the
 * SDM, vol. 3A ch. 4: P 0, W 1, U 2, PS 7, G 8, NX 63, address 51:12.
 */
#include "host_port.h"

#include <stdlib.h>
#include <sys/mman.h>

#include "pages.h"

#define P       UINT64_C(1)
#define W       UINT64_C(2)
#define PS      UINT64_C(0x80)
#define NX      UINT64_C(0x8000000000000000)
#define NTABLES 4096u

static unsigned char *tables;

static struct pages make(unsigned levels, bool nx, uint64_t npages)
{
    if (tables == NULL) {
        tables =
            mmap(NULL, NTABLES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    }
    memset(tables, 0xcc, NTABLES * 4096); /* tables must be cleared by the code under test */
    return pages_make((uintptr_t)tables, npages, levels, nx);
}

static uint64_t entry_of(uint64_t table, unsigned i)
{
    uint64_t e;

    memcpy(&e, (const void *)(uintptr_t)(table + 8 * (uint64_t)i), 8);
    return e;
}

/* Physical address for va, with the rights of the leaf in *flags; UINT64_MAX if not mapped. */
static uint64_t walk(const struct pages *p, uint64_t va, uint64_t *flags, uint64_t *size)
{
    uint64_t table = p->root;

    for (unsigned level = p->levels; level >= 1; level--) {
        unsigned shift = 12 + 9 * (level - 1);
        uint64_t e = entry_of(table, (unsigned)(va >> shift) & 511);

        if ((e & P) == 0) {
            assert_true(e == 0);
            return UINT64_MAX;
        }
        assert_true((e & 0x7ff0000000000f00) == 0); /* no G, no software or reserved bits */
        assert_true((e & 4) == 0);                  /* never for the user */
        if (level == 1 || (e & PS) != 0) {
            assert_true(level <= 2); /* no 1 GiB pages */
            *size = UINT64_C(1) << shift;
            *flags = e & (P | W | NX);
            return (e & UINT64_C(0x000ffffffffff000)) + (va & (*size - 1));
        }
        assert_true((e & (W | NX)) == W); /* the leaf decides */
        table = e & UINT64_C(0x000ffffffffff000);
        assert_true(table >= (uintptr_t)tables && table < p->next);
    }
    return UINT64_MAX;
}

/* All present leaves, counted by going through every entry of every table. */
static uint64_t leaf_bytes(uint64_t table, unsigned level)
{
    uint64_t n = 0;

    for (unsigned i = 0; i < 512; i++) {
        uint64_t e = entry_of(table, i);

        if ((e & P) == 0) {
            continue;
        }
        if (level == 1 || (e & PS) != 0) {
            n += UINT64_C(1) << (12 + 9 * (level - 1));
        } else {
            n += leaf_bytes(e & UINT64_C(0x000ffffffffff000), level - 1);
        }
    }
    return n;
}

static void test_handover(void **state)
{
    static const struct {
        unsigned levels;
        uint64_t image_va, direct_va;
    } shapes[] = { { 4, 0xffffffff80000000, 0xffff800000000000 },
                   { 4, 0xffffffffbfe00000, 0xffffbfc000000000 },
                   { 5, 0xffffffff80200000, 0xff00000000000000 },
                   { 5, 0xffffffffbfe00000, 0xff7f000040000000 } };

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (unsigned nx = 0; nx < 2; nx++) {
            uint64_t no_exec = nx ? NX : 0;
            uint64_t arena = 0x7a00000, flags = 0, size = 0; /* 2 MiB aligned; 5 MiB + 12 KiB */
            uint64_t dva = shapes[i].direct_va, iva = shapes[i].image_va;
            struct pages p = make(shapes[i].levels, nx, 64);

            assert_null(pages_map(&p, 0x6789000, 0x6789000, 0x2000, PAGES_EXECUTE));
            assert_null(pages_map(&p, dva + arena, arena, 0x503000, PAGES_WRITE));
            assert_null(pages_map(&p, iva, arena, 0x1000, PAGES_READ));
            assert_null(pages_map(&p, iva + 0x1000, arena + 0x1000, 0x1000, PAGES_EXECUTE));
            assert_null(pages_map(&p, iva + 0x3000, arena + 0x3000, 0x4000, PAGES_WRITE));

            assert_true(walk(&p, 0x678a123, &flags, &size) == 0x678a123);
            assert_true(flags == P && size == 4096);
            assert_true(walk(&p, 0x678b000, &flags, &size) == UINT64_MAX);
            assert_true(walk(&p, 0, &flags, &size) == UINT64_MAX);
            assert_true(walk(&p, dva + arena + 0x234567, &flags, &size) == arena + 0x234567);
            assert_true(flags == (P | W | no_exec) && size == 0x200000);
            assert_true(walk(&p, dva + arena + 0x400000, &flags, &size) == arena + 0x400000);
            assert_true(flags == (P | W | no_exec) && size == 4096);
            assert_true(walk(&p, dva + arena + 0x502fff, &flags, &size) == arena + 0x502fff);
            assert_true(walk(&p, dva + arena + 0x503000, &flags, &size) == UINT64_MAX);
            assert_true(walk(&p, iva, &flags, &size) == arena);
            assert_true(flags == (P | no_exec) && size == 4096);
            assert_true(walk(&p, iva + 0x1fff, &flags, &size) == arena + 0x1fff);
            assert_true(flags == P);
            assert_true(walk(&p, iva + 0x2000, &flags, &size) == UINT64_MAX);
            assert_true(walk(&p, iva + 0x6000, &flags, &size) == arena + 0x6000);
            assert_true(flags == (P | W | no_exec));
            assert_int_equal(leaf_bytes(p.root, p.levels), 0x2000 + 0x503000 + 0x6000);
        }
    }
}

static void test_low_pml4(void **state)
{
    struct pages five = make(5, true, 64);
    struct pages as_four;
    uint64_t flags, size;

    (void)state;
    assert_int_equal(pages_low_pml4(&five), 0);
    assert_null(pages_map(&five, 0x1234000, 0x1234000, 0x1000, PAGES_EXECUTE));
    assert_null(pages_map(&five, 0xff00000000000000, 0x2000000, 0x1000, PAGES_WRITE));
    as_four = five;
    as_four.levels = 4;
    as_four.root = pages_low_pml4(&five);
    assert_true(as_four.root != 0 && as_four.root != five.root);
    assert_true(walk(&as_four, 0x1234000, &flags, &size) == 0x1234000);
    assert_int_equal(leaf_bytes(as_four.root, 4), 0x1000);

    five = make(4, true, 64);
    assert_null(pages_map(&five, 0x1234000, 0x1234000, 0x1000, PAGES_EXECUTE));
    assert_int_equal(pages_low_pml4(&five), 0);
}

static void test_refuses(void **state)
{
    static const char odd[] = "an address that cannot be mapped";
    struct pages p = make(4, true, 64);

    (void)state;
    assert_string_equal(pages_map(&p, 0x1000, 0x1000, 0x1000, PAGES_WRITE | PAGES_EXECUTE),
                        "writable and executable");
    assert_string_equal(pages_map(&p, 0x1001, 0x1000, 0x1000, PAGES_READ), odd);
    assert_string_equal(pages_map(&p, 0x1000, 0x1800, 0x1000, PAGES_READ), odd);
    assert_string_equal(pages_map(&p, 0x1000, 0x1000, 0x1001, PAGES_READ), odd);
    assert_string_equal(pages_map(&p, 0x1000, 0x1000, 0, PAGES_READ), odd);
    assert_string_equal(pages_map(&p, 0x800000000000, 0, 0x1000, PAGES_READ), odd);
    assert_string_equal(pages_map(&p, 0x7ffffffff000, 0, 0x2000, PAGES_READ), odd);
    assert_string_equal(pages_map(&p, 0xff00000000000000, 0, 0x1000, PAGES_READ), odd);
    assert_string_equal(pages_map(&p, 0xfffffffffffff000, 0, 0x2000, PAGES_READ), odd);
    assert_string_equal(pages_map(&p, 0, 0, 0xffff800000002000, PAGES_READ),
                        odd); /* over the hole */
    assert_string_equal(pages_map(&p, 0x1000, 0x10000000000000, 0x1000, PAGES_READ), odd);
    assert_int_equal(leaf_bytes(p.root, 4), 0);

    assert_null(pages_map(&p, 0x200000, 0x400000, 0x200000, PAGES_READ)); /* a large page */
    assert_string_equal(pages_map(&p, 0x200000, 0x400000, 0x200000, PAGES_READ), "mapped twice");
    assert_string_equal(pages_map(&p, 0x3ff000, 0, 0x1000, PAGES_READ), "mapped twice");
    assert_null(pages_map(&p, 0x600000, 0, 0x1000, PAGES_READ)); /* a small one */
    assert_string_equal(pages_map(&p, 0x600000, 0, 0x1000, PAGES_READ), "mapped twice");
    assert_string_equal(pages_map(&p, 0x600000, 0, 0x200000, PAGES_READ), "mapped twice");

    assert_null(pages_map(&p, 0xfffffffffffff000, 0, 0x1000, PAGES_READ)); /* the last page */
    p = make(5, true, 64);
    assert_null(pages_map(&p, 0xff00000000000000, 0, 0x1000, PAGES_READ));
    assert_string_equal(pages_map(&p, 0xfe00000000000000, 0, 0x1000, PAGES_READ), odd);
}

static void test_runs_out(void **state)
{
    static const unsigned need[] = { 0, 0, 0, 0, 4, 5 }; /* tables for one small page */

    (void)state;
    for (unsigned levels = 4; levels <= 5; levels++) {
        for (unsigned n = 1; n <= need[levels]; n++) {
            struct pages p = make(levels, true, n);
            const char *wrong = pages_map(&p, 0x1000, 0x1000, 0x1000, PAGES_READ);

            if (n < need[levels]) {
                assert_string_equal(wrong, "no room for page tables");
            } else {
                assert_null(wrong);
            }
            assert_true(p.next <= p.end);
            assert_int_equal(tables[n * 4096], 0xcc);
        }
    }
}

/* The bound holds wherever the range is put. */
static void test_bound(void **state)
{
    struct host_rng r = host_rng_make("stub_pages");

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        unsigned levels = 4 + (i & 1);
        uint64_t npages = 1 + host_rng_below(&r, 20000);
        uint64_t bound = pages_bound(levels, npages * 4096);
        uint64_t va = host_rng_below(&r, UINT64_C(1) << 34) * 4096;
        uint64_t pa = host_rng_below(&r, UINT64_C(1) << 34) * 4096;
        struct pages p;

        if (i % 3 == 0) { /* across as many borders as there can be */
            va = (UINT64_C(1) << 39) - 4096 * (1 + host_rng_below(&r, npages));
        }
        assert_true(bound < NTABLES);
        p = make(levels, true, 1 + bound);
        assert_null(pages_map(&p, va, pa, npages * 4096, PAGES_WRITE));
        assert_int_equal(leaf_bytes(p.root, levels), npages * 4096);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_handover), cmocka_unit_test(test_low_pml4),
        cmocka_unit_test(test_refuses),  cmocka_unit_test(test_runs_out),
        cmocka_unit_test(test_bound),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
