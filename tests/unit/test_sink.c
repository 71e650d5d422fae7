/*
 * test_sink.c - numbers as text against the host's printf, and the sink into a buffer at every
 * size.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "host_port.h"
#include "host_rng.h"
#include "mm/sink.h"

static char buf[256];
static struct mm_text text;

static struct mm_sink fresh(void)
{
    return mm_text_sink(&text, buf, sizeof(buf));
}

static void expect(const char *want)
{
    assert_string_equal(buf, want);
    assert_int_equal(text.len, strlen(want));
}

static void test_words(void **state)
{
    struct mm_sink to = fresh();

    (void)state;
    mm_put_str(&to, "");
    mm_put(&to, "ab\0cd", 0);
    expect("");
    mm_put_str(&to, "one ");
    mm_put(&to, "two...", 3);
    mm_put_char(&to, '|');
    mm_put_fill(&to, '-', 3);
    mm_put_fill(&to, '+', 0);
    mm_put_left(&to, "ab", 4);
    mm_put_left(&to, "abcde", 4);
    expect("one two|---ab  abcde");

    to = fresh();
    mm_put_fill(&to, '.', 100);
    assert_int_equal(text.len, 100);
    assert_int_equal(strspn(buf, "."), 100);
}

static void expect_numbers(uint64_t v)
{
    char want[256];

    for (int width = 0; width < 40; width += 13) {
        struct mm_sink to = fresh();

        mm_put_u64(&to, v, (size_t)width);
        snprintf(want, sizeof(want), "%*" PRIu64, width, v);
        expect(want);

        to = fresh();
        mm_put_hex(&to, v, (size_t)width);
        snprintf(want, sizeof(want), "0x%0*" PRIx64, width > 0 ? width : 1, v);
        expect(want);
    }
}

static void test_numbers(void **state)
{
    struct host_rng rng = { 1 };

    (void)state;
    expect_numbers(0);
    expect_numbers(UINT64_MAX);
    for (unsigned bit = 0; bit < 64; bit++) {
        expect_numbers(UINT64_C(1) << bit);
        expect_numbers((UINT64_C(1) << bit) - 1);
    }

    for (int i = 0; i < 10000; i++) {
        uint64_t v = host_rng_next(&rng);

        expect_numbers(v >> (v & 63));
    }
}

static void expect_size(uint64_t nbytes, const char *want)
{
    struct mm_sink to = fresh();

    mm_put_size(&to, nbytes, 0);
    expect(want);
    assert_true(text.len <= MM_SIZE_CHARS);
}

static void test_sizes(void **state)
{
    (void)state;
    expect_size(0, "0 B");
    expect_size(1023, "1023 B");
    expect_size(1024, "1.0 KiB");
    expect_size(4096, "4.0 KiB");
    expect_size(UINT64_C(0x100000) - 1, "1023.9 KiB");
    expect_size(UINT64_C(0x100000), "1.0 MiB");
    expect_size(UINT64_C(0x10000000) - 1, "255.9 MiB");
    expect_size(UINT64_C(1) << 40, "1.0 TiB");
    expect_size(UINT64_C(3) << 49, "1.5 PiB");
    expect_size(UINT64_MAX, "15.9 EiB");

    struct mm_sink to = fresh();
    mm_put_size(&to, 4096, 10);
    expect("   4.0 KiB");
}

/* Whatever the size of the buffer, it holds as much of the beginning as fits, and a NUL. */
static void test_cut(void **state)
{
    static const char whole[] = "RuntimeServicesData 0x7e6ed000";

    (void)state;
    for (size_t size = 1; size <= sizeof(whole) + 1; size++) {
        char *small = malloc(size);
        struct mm_text t;
        size_t fits = size - 1 < sizeof(whole) - 1 ? size - 1 : sizeof(whole) - 1;

        assert_non_null(small);
        struct mm_sink to = mm_text_sink(&t, small, size);
        mm_put_left(&to, "RuntimeServicesData", 20);
        mm_put_hex(&to, 0x7e6ed000, 8);
        assert_int_equal(t.len, sizeof(whole) - 1);
        assert_int_equal(strlen(small), fits);
        assert_memory_equal(small, whole, fits);
        free(small);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
