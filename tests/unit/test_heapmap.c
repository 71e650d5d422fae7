/*
 * test_heapmap.c - kernel/lib/heapmap: heaps as a terminal shows them.
 */
#include "kept_lines.h"

#include "lib/heapmap.h"

/* Blocks in an array, the last of 0 bytes. */
struct blocks {
    struct heapmap_source src;
    const struct heapmap_block *b;
};

static void for_each(const struct heapmap_source *src,
                     bool (*fn)(void *to, const struct heapmap_block *b), void *to)
{
    const struct heapmap_block *b = ((const struct blocks *)(const void *)src)->b;

    while (b->nbytes != 0 && fn(to, b)) {
        b++;
    }
}

static void draw(const struct heapmap_block *b)
{
    const struct blocks blocks = { { for_each }, b };

    nlines = 0;
    heapmap_draw(&blocks.src, keep_line, lines);
}

static void assert_lines(const char *const *expected, unsigned n)
{
    for (unsigned i = 0; i < nlines && i < n; i++) {
        assert_string_equal(lines[i], expected[i]);
    }
    assert_int_equal(nlines, n);
}

static void test_nothing(void **state)
{
    (void)state;
    draw(&(const struct heapmap_block){ .nbytes = 0 });
    assert_int_equal(nlines, 0);
}

/* Two lines of 1 KiB, the first block not at a line's start. */
static void test_every_character(void **state)
{
    static const struct heapmap_block blocks[] = {
        { 0xffff800000001050, 0x100, true, true },
        { 0xffff800000001150, 0x40, false, false },
        { 0xffff800000001190, 0x300, true, false },
        { 0xffff800000001490, 0x100, false, false },
        { 0 },
    };
    static const char *const expected[] = {
        "a character is 16 B, a line 1.0 KiB",
        "800000001050 ################....############################################",
        "800000001450 ####________________",
        ". free  _ free to the end  # in use",
    };

    (void)state;
    draw(blocks);
    assert_lines(expected, MM_COUNTOF(expected));
}

/* What is free at the end of the first arena is its top too; what lies between is no heap's. */
static void test_arenas_apart(void **state)
{
    static const struct heapmap_block blocks[] = {
        { 0x10000, 0x20, true, true },  { 0x10020, 0x20, false, false },
        { 0x10060, 0x10, false, true }, { 0x10070, 0x10, true, false },
        { 0x20000, 0x10, true, true },  { 0x20010, 0x10, false, false },
        { 0x20020, 0x10, true, false }, { 0 },
    };
    static const char *const expected[] = {
        "a character is 16 B, a line 1.0 KiB",  "000000010000 ##__  .#",
        "           : 63.0 KiB without blocks", "000000020000 #.#",
        ". free  _ free to the end  # in use",
    };

    (void)state;
    draw(blocks);
    assert_lines(expected, MM_COUNTOF(expected));
}

/* Eight lines and no more: tenths of a piece, of which one used granule is the least there is. */
static void test_tenths(void **state)
{
    enum { CELL = 32, BYTES = CELL * 64 * 8 };
    static const struct heapmap_block blocks[] = {
        { 0x100000, 0x10, true, true }, /* half of a piece */
        { 0x100010, BYTES - 0x50, false, false },
        { 0x100000 + BYTES - 0x40, 0x20, true, false },
        { 0x100000 + BYTES - 0x20, 0x20, false, false },
        { 0 },
    };
    static const struct heapmap_block larger[] = {
        { 0x100000, 0x10, true, true },
        { 0x100010, 0x3fff0, false, false },
        { 0x140000, 0x3fff0, true, false },
        { 0x17fff0, 0x10, false, false },
        { 0 },
    };

    (void)state;
    draw(blocks);
    assert_int_equal(nlines, 10);
    assert_string_equal(lines[0], "a character is 32 B, a line 2.0 KiB");
    assert_string_equal(
        lines[1], "000000100000 5...............................................................");
    assert_string_equal(
        lines[8], "000000103800 ..............................................................#_");
    assert_string_equal(lines[9], ". free  _ free to the end  # in use  5-9 half or more");
    draw(larger);
    assert_int_equal(nlines, 10);
    assert_string_equal(lines[0], "a character is 1.0 KiB, a line 64.0 KiB");
    assert_string_equal(
        lines[1], "000000100000 1...............................................................");
    assert_string_equal(
        lines[8], "000000170000 ###############################################################9");
    assert_string_equal(lines[9], ". free  # in use  1-4 tenths in use  5-9 half or more");
}

/* However far apart, there are eight lines at most. */
static void test_many_arenas(void **state)
{
    static struct heapmap_block blocks[101];

    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        blocks[i] =
            (struct heapmap_block){ 0x100000 + i * UINT64_C(0x1000000), 0x1000, true, true };
    }
    draw(blocks);
    assert_in_range(nlines, 3, 18);
    assert_string_equal(lines[nlines - 1], "# in use");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),      cmocka_unit_test(test_every_character),
        cmocka_unit_test(test_arenas_apart), cmocka_unit_test(test_tenths),
        cmocka_unit_test(test_many_arenas),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
