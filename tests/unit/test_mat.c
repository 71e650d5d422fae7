/* The memory attributes table: good ones are taken, each kind of damage is named. */
#include "host_port.h"
#include "mm/mat.h"

#include <stdlib.h>

#define STRIDE 48u

struct table {
    unsigned char bytes[16 + 8 * STRIDE];
};

static struct memmap map;
static void *storage;

static void put32(unsigned char *at, uint32_t v)
{
    memcpy(at, &v, sizeof(v));
}

static void put64(unsigned char *at, uint64_t v)
{
    memcpy(at, &v, sizeof(v));
}

static void put_desc(unsigned char *at, uint32_t type, uint64_t start, uint64_t pages,
                     uint64_t attr)
{
    put32(at, type);
    put64(at + 8, start);
    put64(at + 16, 0);
    put64(at + 24, pages);
    put64(at + 32, attr);
}

/* Firmware map: free, 16 pages of runtime code at 16 MiB, 16 of runtime data behind it. */
static int setup(void **state)
{
    static unsigned char raw[3 * STRIDE];
    struct memmap_raw r = { raw, sizeof(raw), STRIDE, 1 };
    uint64_t nbytes = memmap_storage_bytes(3);

    (void)state;
    put_desc(raw, 7, 0x100000, 0x100, 0xf);
    put_desc(raw + STRIDE, 5, 0x1000000, 16, UINT64_C(0x800000000000000f));
    put_desc(raw + 2 * STRIDE, 6, 0x1010000, 16, UINT64_C(0x800000000000000f));
    storage = aligned_alloc(16, (nbytes + 15) & ~UINT64_C(15));
    assert_int_equal(memmap_build(&map, &r, storage, nbytes), MM_OK);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(storage);
    return 0;
}

/* Code: 4 pages RO, 2 of data (XP) inside the code region; then the data region. */
static struct table good(void)
{
    struct table t = { { 0 } };

    put32(t.bytes, 1);
    put32(t.bytes + 4, 3);
    put32(t.bytes + 8, STRIDE);
    put_desc(t.bytes + 16, 5, 0x1000000, 4, UINT64_C(0x8000000000020000));
    put_desc(t.bytes + 16 + STRIDE, 5, 0x1004000, 2, UINT64_C(0x8000000000004000));
    put_desc(t.bytes + 16 + 2 * STRIDE, 6, 0x1010000, 16, UINT64_C(0x8000000000004000));
    return t;
}

static const char *check(const struct table *t)
{
    uint64_t nbytes = mat_bytes(t->bytes);

    return nbytes <= sizeof(t->bytes) ? mat_check(t->bytes, nbytes, &map)
                                      : "too long for this test";
}

static void test_good(void **state)
{
    struct table t = good();
    struct efi_memory_descriptor d;

    (void)state;
    assert_int_equal(mat_bytes(t.bytes), 16 + 3 * STRIDE);
    assert_null(check(&t));
    assert_int_equal(mat_count(t.bytes), 3);
    d = mat_entry(t.bytes, 1);
    assert_int_equal(d.physical_start, 0x1004000);
    assert_int_equal(d.attribute, UINT64_C(0x8000000000004000));
    put32(t.bytes, 2); /* version 2 is the same, with flags */
    assert_null(check(&t));
}

static void test_entry_across_a_claim(void **state)
{
    struct table t = good();

    (void)state;
    /* A region that a claim of another kind has cut still belongs to its descriptor's type. */
    assert_int_equal(memmap_claim(&map, 0x1012000, 0x1000, MEMMAP_RUNTIME_DATA), MM_OK);
    assert_null(check(&t));
}

static void test_bad_headers(void **state)
{
    static const struct {
        unsigned at;
        uint32_t v;
    } bad[] = { { 0, 0 },  { 0, 3 },  { 4, 0 }, { 4, 4097 },
                { 8, 39 }, { 8, 44 }, { 8, 0 }, { 8, UINT32_MAX } };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct table t = good();

        put32(t.bytes + bad[i].at, bad[i].v);
        assert_int_equal(mat_bytes(t.bytes), 0);
        assert_string_equal(mat_check(t.bytes, sizeof(t.bytes), &map), "its header makes no sense");
    }
}

static void test_bad_entries(void **state)
{
    const uint64_t ro = UINT64_C(0x8000000000020000);
    const struct {
        uint32_t type;
        uint64_t start, pages;
        const char *says;
    } bad[] = {
        { 5, 0x1000000, 0, "empty" },
        { 5, 0x1000800, 4, "misaligned" },
        { 5, 0x1000000, UINT64_C(1) << 52, "wraps" },
        { 5, UINT64_C(0xfffffffffffff000), 1, "wraps" },
        { 5, 0x1000000, 5, "overlap" },
        { 5, 0x1008000, 1, "rising order" },
        { 5, 0xfff000, 2, "does not match" },
        { 6, 0x1000000, 4, "does not match" },
        { 5, 0x9000000, 4, "rising order" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct table t = good();
        const char *says;

        put_desc(t.bytes + 16, bad[i].type, bad[i].start, bad[i].pages, ro);
        says = check(&t);
        if (says == NULL ||
            (strstr(says, bad[i].says) == NULL && strstr(says, "does not match") == NULL)) {
            fail_msg("bad entry %zu: %s", i, says != NULL ? says : "was taken");
        }
    }
}

/* UEFI 2.10 4.6.4: entries of other types are to be ignored, whatever is in them. */
static void test_entries_of_other_types(void **state)
{
    static const struct {
        uint32_t type;
        uint64_t start, pages;
    } others[] = {
        { 7, 0x1000000, 4 },
        { 0, 0x1008000, 0 },
        { 15, 0x1008800, 1 },
        { 0x80000000, UINT64_C(0xfffffffffffff000), 1 },
        { 9, 0x9000000, UINT64_C(1) << 52 },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        for (unsigned at = 0; at < 3; at++) {
            struct table t = good();

            put_desc(t.bytes + 16 + at * STRIDE, others[i].type, others[i].start, others[i].pages,
                     UINT64_C(0x8000000000020000));
            assert_null(check(&t));
        }
    }
    assert_true(mat_is_type(5) && mat_is_type(6));
    assert_false(mat_is_type(4) || mat_is_type(7) || mat_is_type(0x80000005));
}

static void test_any_bytes(void **state)
{
    struct host_rng rng = host_rng_make("test_any_bytes");

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        struct table t = good();

        for (unsigned flips = 0; flips < 4; flips++) {
            t.bytes[host_rng_below(&rng, 16 + 3 * STRIDE)] ^=
                (unsigned char)(1u << host_rng_below(&rng, 8));
        }
        (void)check(&t); /* the sanitizers judge */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_good, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entry_across_a_claim, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_headers, setup, teardown),
        cmocka_unit_test_setup_teardown(test_bad_entries, setup, teardown),
        cmocka_unit_test_setup_teardown(test_entries_of_other_types, setup, teardown),
        cmocka_unit_test_setup_teardown(test_any_bytes, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
