/*
 * test_fragdemo.c - kernel/lib/fragdemo: both performances line by line, as a terminal shows them.
 */
#include "kept_lines.h"

#include <stdlib.h>

#include "lib/fragdemo.h"

static unsigned pauses, pauses_allowed;

static bool pause(void *ctx)
{
    assert_ptr_equal(ctx, lines);
    return pauses++ < pauses_allowed;
}

static const struct demo_screen screen = { keep_line, pause, lines };

static bool play(const struct fragdemo_allocator *a, unsigned allowed, struct fragdemo_end *end)
{
    nlines = pauses = 0;
    pauses_allowed = allowed;
    return fragdemo_play(a, &screen, end);
}

static void assert_lines(const char *const *expected, unsigned n)
{
    assert_int_equal(nlines, n);
    for (unsigned i = 0; i < n; i++) {
        assert_string_equal(lines[i], expected[i]);
    }
}

static void test_textbook(void **state)
{
    static const char *const expected[] = {
        "                          0  1  2  3   4  5  6  7   8  9 10 11  12 13 14 15",
        "all are free              .  .  .  .   .  .  .  .   .  .  .  .   .  .  .  .",
        "A takes 2                 A  A  .  .   .  .  .  .   .  .  .  .   .  .  .  .",
        "B takes 4                 A  A  B  B   B  B  .  .   .  .  .  .   .  .  .  .",
        "C takes 4                 A  A  B  B   B  B  C  C   C  C  .  .   .  .  .  .",
        "D takes 4                 A  A  B  B   B  B  C  C   C  C  D  D   D  D  .  .",
        "A gives back its 2        .  .  B  B   B  B  C  C   C  C  D  D   D  D  .  .",
        "E wants 4: refused        .  .  B  B   B  B  C  C   C  C  D  D   D  D  .  .",
    };
    struct fragdemo_textbook t = { .used = { false } };
    const struct fragdemo_allocator a = fragdemo_textbook(&t);
    struct fragdemo_end end;

    (void)state;
    assert_true(play(&a, 100, &end));
    assert_lines(expected, MM_COUNTOF(expected));
    assert_int_equal(pauses, 6);
    assert_true(end.refused);
    assert_int_equal(end.free, 4);
    assert_int_equal(end.longest_run, 2);
}

static void assert_pool_plays(uint64_t base, unsigned ncpus)
{
    static const char *const expected[] = {
        "                          0  1  2  3   4  5  6  7   8  9 10 11  12 13 14 15",
        "all are free              .  .  .  .   .  .  .  .   .  .  .  .   .  .  .  .",
        "A takes 2                 A  A  .  .   .  .  .  .   .  .  .  .   .  .  .  .",
        "B takes 4                 A  A  .  .   B  B  B  B   .  .  .  .   .  .  .  .",
        "C takes 4                 A  A  .  .   B  B  B  B   C  C  C  C   .  .  .  .",
        "D takes 4                 A  A  .  .   B  B  B  B   C  C  C  C   D  D  D  D",
        "A gives back its 2        .  .  .  .   B  B  B  B   C  C  C  C   D  D  D  D",
        "E takes 4                 E  E  E  E   B  B  B  B   C  C  C  C   D  D  D  D",
    };
    uint64_t nbytes = fragdemo_pool_bytes(base, ncpus);
    void *storage = aligned_alloc(4096, mm_align_up(nbytes, 4096));
    struct fragdemo_pool pool;
    struct fragdemo_end end;

    assert_non_null(storage);
    assert_int_equal(fragdemo_pool_init(&pool, base, ncpus, storage, nbytes), MM_OK);
    assert_int_equal(pmm_free_frames(pool.pmm), 16);

    const struct fragdemo_allocator a = fragdemo_pool(&pool);

    assert_true(play(&a, 100, &end));
    assert_lines(expected, MM_COUNTOF(expected));
    assert_false(end.refused);
    assert_int_equal(end.free, 4);
    assert_int_equal(end.longest_run, 4);
    assert_int_equal(pmm_free_frames(pool.pmm), 0);
    assert_sound(pmm_check(pool.pmm));
    free(storage);
}

static void test_pool(void **state)
{
    (void)state;
    assert_pool_plays(0x100, 1);
    assert_pool_plays(0x12340, 1);
    assert_pool_plays(0x12340, 8);
    assert_pool_plays(0x1234f0, 1); /* above 4 GiB */
    assert_pool_plays(0x3fff0, 1);  /* the last of a GiB */
    assert_pool_plays(0x40000, 1);
}

/* A play that is ended has taken as much as it has drawn. */
static void test_ends_when_told(void **state)
{
    struct fragdemo_end end;

    (void)state;
    for (unsigned allowed = 0; allowed < 6; allowed++) {
        struct fragdemo_textbook t = { .used = { false } };
        const struct fragdemo_allocator a = fragdemo_textbook(&t);

        assert_false(play(&a, allowed, &end));
        assert_int_equal(nlines, 2 + allowed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_textbook),
        cmocka_unit_test(test_pool),
        cmocka_unit_test(test_ends_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
