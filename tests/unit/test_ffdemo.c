/*
 * test_ffdemo.c - kernel/lib/ffdemo: the performance line by line, as a terminal shows it.
 */
#include "kept_lines.h"

#include "lib/ffdemo.h"

static _Alignas(16) char arena[FFDEMO_BYTES];
static unsigned pauses, pauses_allowed;

static bool pause(void *ctx)
{
    assert_ptr_equal(ctx, lines);
    return pauses++ < pauses_allowed;
}

static const struct demo_screen screen = { keep_line, pause, lines };

static void test_all_steps(void **state)
{
    static const char *const expected[] = {
        "  0       512     1024    1536    2048    2560    3072    3584",
        "  ................................................................",
        "A asks for 512: 1 of 1 free block is large enough; the lowest is at 0.",
        "  AAAAAAAA........................................................",
        "B asks for 1024: 1 of 1 free block is large enough; the lowest is at 512.",
        "  AAAAAAAABBBBBBBBBBBBBBBB........................................",
        "C asks for 256: 1 of 1 free block is large enough; the lowest is at 1536.",
        "  AAAAAAAABBBBBBBBBBBBBBBBCCCC....................................",
        "D asks for 768: 1 of 1 free block is large enough; the lowest is at 1792.",
        "  AAAAAAAABBBBBBBBBBBBBBBBCCCCDDDDDDDDDDDD........................",
        "E asks for 256: 1 of 1 free block is large enough; the lowest is at 2560.",
        "  AAAAAAAABBBBBBBBBBBBBBBBCCCCDDDDDDDDDDDDEEEE....................",
        "B gives back 1024: it has no free neighbour; 1024 are free there.",
        "  AAAAAAAA................CCCCDDDDDDDDDDDDEEEE....................",
        "D gives back 768: it has no free neighbour; 768 are free there.",
        "  AAAAAAAA................CCCC............EEEE....................",
        "F asks for 640: 3 of 3 free blocks are large enough; the lowest is at 512.",
        "  AAAAAAAAFFFFFFFFFF......CCCC............EEEE....................",
        "G asks for 512: 2 of 3 free blocks are large enough; the lowest is at 1792.",
        "  AAAAAAAAFFFFFFFFFF......CCCCGGGGGGGG....EEEE....................",
        "H asks for 256: 3 of 3 free blocks are large enough; the lowest is at 1152.",
        "  AAAAAAAAFFFFFFFFFFHHHH..CCCCGGGGGGGG....EEEE....................",
        "C gives back 256: it joins the free block in front; 384 are free there.",
        "  AAAAAAAAFFFFFFFFFFHHHH......GGGGGGGG....EEEE....................",
        "G gives back 512: it joins the free blocks on both sides; 1152 are free there.",
        "  AAAAAAAAFFFFFFFFFFHHHH..................EEEE....................",
    };

    (void)state;
    nlines = pauses = 0;
    pauses_allowed = 100;
    assert_int_equal(ffdemo_play(arena, &screen), FFDEMO_DONE);
    assert_int_equal(nlines, MM_COUNTOF(expected));
    for (unsigned i = 0; i < nlines; i++) {
        assert_string_equal(lines[i], expected[i]);
    }
    assert_int_equal(pauses, 12);
}

/* A play that is ended has done as much as it has drawn. */
static void test_ends_when_told(void **state)
{
    (void)state;
    for (pauses_allowed = 0; pauses_allowed < 12; pauses_allowed++) {
        nlines = pauses = 0;
        assert_int_equal(ffdemo_play(arena, &screen), FFDEMO_STOPPED);
        assert_int_equal(nlines, 2 + 2 * pauses_allowed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_steps),
        cmocka_unit_test(test_ends_when_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
