/*
 * test_badram.c - kernel/lib/badram: ranges against a plain set, pairs against the pages that they
 * match, and their number against the least that there can be.
 */
#include "host_port.h"

#include <stdlib.h>

#include "lib/badram.h"

#define FRAMES 2048u

static struct badram list;
static bool set[FRAMES];
static struct badram_pair pairs[BADRAM_MAX_PAIRS];

static void clear(void)
{
    list.n = 0;
    memset(set, 0, sizeof(set));
}

static void add(uint64_t base, uint64_t count)
{
    assert_true(badram_add(&list, base, count));
    for (uint64_t i = base; i < base + count && i < FRAMES; i++) {
        set[i] = true;
    }
    assert_sound(badram_check(&list));
}

/* The list says what the set does, with as few ranges as can be. */
static void assert_same(void)
{
    uint64_t frames = 0;
    unsigned runs = 0, i = 0;

    for (unsigned f = 0; f < FRAMES; f++) {
        frames += set[f];
        runs += set[f] && (f == 0 || !set[f - 1]);
    }
    assert_int_equal(badram_frames(&list), frames);
    assert_int_equal(list.n, runs);
    for (unsigned f = 0; f < FRAMES; f++) {
        if (i < list.n && f >= list.range[i].base + list.range[i].count) {
            i++;
        }
        if (set[f] != (i < list.n && f >= list.range[i].base)) {
            fail_msg("frame %u", f);
        }
    }
}

static bool matches(unsigned n, uint64_t frame)
{
    for (unsigned i = 0; i < n; i++) {
        if ((frame << 12 & pairs[i].mask) == (pairs[i].addr & pairs[i].mask)) {
            return true;
        }
    }
    return false;
}

/* The pairs match what is in the set, and `extra` frames besides, all told. Returns their number.
 */
static unsigned assert_covered(void)
{
    uint64_t extra, seen = 0;
    unsigned n = badram_cover(&list, pairs, &extra);

    assert_in_range(n, list.n != 0, BADRAM_MAX_PAIRS);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(pairs[i].addr & 0xfff, 0);
        assert_int_equal(pairs[i].mask & 0xfff, 0);
        assert_int_equal(pairs[i].addr & ~pairs[i].mask, 0);
    }
    for (uint64_t f = 0; f < 4 * FRAMES; f++) {
        bool bad = f < FRAMES && set[f], matched = matches(n, f);

        if (bad && !matched) {
            fail_msg("frame %llu", (unsigned long long)f);
        }
        seen += matched && !bad;
    }
    assert_int_equal(seen, extra);
    return n;
}

static void test_adding(void **state)
{
    (void)state;
    clear();
    assert_int_equal(list.n, 0);
    add(10, 5);
    add(20, 5);
    assert_int_equal(list.n, 2);
    add(12, 1); /* inside */
    assert_int_equal(list.n, 2);
    add(15, 5); /* closes the gap */
    assert_int_equal(list.n, 1);
    assert_int_equal(list.range[0].base, 10);
    assert_int_equal(list.range[0].count, 15);
    add(0, 9);
    add(30, 1);
    add(26, 3);
    assert_int_equal(list.n, 4);
    add(5, 100); /* over all */
    assert_int_equal(list.n, 1);
    assert_int_equal(list.range[0].count, 105);

    assert_false(badram_add(&list, 7, 0));
    assert_false(badram_add(&list, UINT64_MAX, 1));
    assert_false(badram_add(&list, 1, UINT64_MAX));
    assert_false(badram_add(&list, UINT64_C(1) << 52, 1));
    assert_true(badram_add(&list, (UINT64_C(1) << 52) - 1, 1));
    assert_int_equal(list.n, 2);
    assert_sound(badram_check(&list));
}

static void test_full(void **state)
{
    (void)state;
    clear();
    for (unsigned i = 0; i < BADRAM_MAX; i++) {
        add(4 * i, 2);
    }
    assert_false(badram_add(&list, 4 * BADRAM_MAX, 1));
    assert_false(badram_add(&list, 4 * BADRAM_MAX + 100, 1));
    assert_same();
    add(2, 1); /* what touches needs no room */
    assert_same();
    assert_int_equal(list.n, BADRAM_MAX);
    add(6, 2);
    assert_same();
    assert_int_equal(list.n, BADRAM_MAX - 1);

    /* A frame always finds a place: the range below it grows, or the first one downwards. */
    clear();
    for (unsigned i = 0; i < BADRAM_MAX; i++) {
        assert_true(badram_add_frame(&list, 100 + 10 * i));
        set[100 + 10 * i] = true;
    }
    assert_same();
    assert_true(badram_add_frame(&list, 120)); /* is there already */
    assert_true(badram_add_frame(&list, 131)); /* touches */
    assert_false(badram_add_frame(&list, 144));
    assert_false(badram_add_frame(&list, 50));
    assert_false(badram_add_frame(&list, FRAMES - 1));
    memset(&set[131], true, 1);
    memset(&set[140], true, 5);
    memset(&set[50], true, 50);
    memset(&set[100 + 10 * (BADRAM_MAX - 1)], true, FRAMES - 100 - 10 * (BADRAM_MAX - 1));
    assert_sound(badram_check(&list));
    assert_same();
    assert_int_equal(list.n, BADRAM_MAX);
}

static void test_adding_at_random(void **state)
{
    struct host_rng rng = host_rng_make("test_adding_at_random");

    (void)state;
    for (unsigned round = 0; round < 60; round++) {
        uint64_t longest = 1 + host_rng_below(&rng, 40);

        clear();
        for (unsigned i = 0; i < 60; i++) {
            uint64_t count = 1 + host_rng_below(&rng, longest);

            add(host_rng_below(&rng, FRAMES - count), count);
            assert_same();
        }
        assert_covered();
    }
}

static void test_check_sees_damage(void **state)
{
    (void)state;
    clear();
    add(10, 5);
    add(20, 5);
    add(30, 5);
    list.range[1].base = 15;
    assert_string_equal(badram_check(&list), "badram: two ranges touch, or are out of order");
    list.range[1].base = 40;
    assert_string_equal(badram_check(&list), "badram: two ranges touch, or are out of order");
    list.range[1].base = 20;
    list.range[1].count = 0;
    assert_string_equal(badram_check(&list),
                        "badram: a range is empty, or runs past the last frame");
    list.range[1].count = 5;
    assert_sound(badram_check(&list));
    list.n = BADRAM_MAX + 1;
    assert_string_equal(badram_check(&list), "badram: more ranges than there is room for");
}

static void test_words(void **state)
{
    char text[BADRAM_WORD_MAX];
    uint64_t extra;

    (void)state;
    clear();
    add(0x12345, 1);
    assert_int_equal(badram_cover(&list, pairs, &extra), 1);
    assert_int_equal(extra, 0);
    assert_string_equal(badram_memmap_word(text, &list.range[0]), "memmap=0x1000$0x12345000");
    assert_string_equal(badram_pair_text(text, &pairs[0]), "0x12345000,0xfffffffffffff000");

    clear();
    add(0x800, 0x20);
    assert_int_equal(badram_cover(&list, pairs, &extra), 1);
    assert_string_equal(badram_memmap_word(text, &list.range[0]), "memmap=0x20000$0x800000");
    assert_string_equal(badram_pair_text(text, &pairs[0]), "0x800000,0xfffffffffffe0000");

    /* The longest there can be fits. */
    const struct badram_range all = { (UINT64_C(1) << 51), (UINT64_C(1) << 51) };
    const struct badram_pair last = { ~UINT64_C(0xfff), ~UINT64_C(0xfff) };

    assert_string_equal(badram_memmap_word(text, &all),
                        "memmap=0x8000000000000000$0x8000000000000000");
    assert_string_equal(badram_pair_text(text, &last), "0xfffffffffffff000,0xfffffffffffff000");
}

static void test_known_covers(void **state)
{
    (void)state;
    clear();
    assert_covered(); /* nothing */

    /* A column of a chip: every 64th frame of 2048 is one pair. */
    clear();
    for (unsigned f = 5; f < FRAMES; f += 64) {
        add(f, 1);
    }
    assert_int_equal(list.n, 32);
    assert_int_equal(assert_covered(), 1);
    assert_int_equal(pairs[0].addr, 5 << 12);
    assert_int_equal(pairs[0].mask, UINT64_C(0xffffffffff83f000)); /* bits 18 to 22 are free */

    /* A row: 32 frames side by side, twice, one bit of the address apart. */
    clear();
    add(0x100, 32);
    add(0x140, 32);
    assert_int_equal(assert_covered(), 1);

    clear();
    add(0, 1);
    add(1, 1);
    add(3, 1);
    assert_int_equal(assert_covered(), 2);

    /* Cubes overlap where that saves one: of 0-3 and 2,6 two pairs. */
    clear();
    add(0, 4);
    add(6, 1);
    assert_int_equal(assert_covered(), 2);

    clear(); /* ragged ends: the least would be 10 */
    add(1, 1022);
    assert_int_equal(assert_covered(), 18);
}

/*
 * The least number of cubes whose union is a set of 16 frames, for all sets, by breadth first: from
 * the empty set, add any cube. Ours may be above it, but seldom and never by much.
 */
static void test_near_the_minimum(void **state)
{
    static uint8_t least[1 << 16];
    static uint16_t queue[1 << 16];
    uint16_t cubes[81];
    unsigned ncubes = 0, head = 0, tail = 0, above = 0, worst = 0;
    uint64_t sum_least = 0, sum_ours = 0;

    (void)state;
    for (unsigned free = 0; free < 16; free++) {
        for (unsigned fixed = 0; fixed < 16; fixed++) {
            uint16_t members = 0;

            for (unsigned f = 0; f < 16; f++) {
                members |= (uint16_t)(((f & ~free) == fixed) << f);
            }
            if ((fixed & free) == 0) {
                cubes[ncubes++] = members;
            }
        }
    }
    assert_int_equal(ncubes, 81);
    memset(least, 0xff, sizeof(least));
    least[0] = 0;
    queue[tail++] = 0;
    while (head < tail) {
        uint16_t from = queue[head++];

        for (unsigned i = 0; i < ncubes; i++) {
            uint16_t to = from | cubes[i];

            if (least[to] == 0xff) {
                least[to] = least[from] + 1;
                queue[tail++] = to;
            }
        }
    }
    assert_int_equal(tail, 1 << 16);

    for (unsigned members = 1; members < 1 << 16; members++) {
        unsigned ours, matched = 0;
        uint64_t extra;

        list.n = 0;
        for (unsigned f = 0; f < 16; f++) {
            if ((members >> f & 1) != 0) {
                assert_true(badram_add(&list, f, 1));
            }
        }
        ours = badram_cover(&list, pairs, &extra);
        assert_int_equal(extra, 0);
        for (unsigned f = 0; f < 17; f++) {
            matched |= (unsigned)matches(ours, f) << f;
        }
        assert_int_equal(matched, members);
        assert_true(ours >= least[members]);
        above += ours > least[members];
        worst = ours - least[members] > worst ? ours - least[members] : worst;
        sum_least += least[members];
        sum_ours += ours;
    }
    printf("pairs for all sets of 16 frames: %.3f on average, the least is %.3f; more than the "
           "least for %.1f %% of them, by at most %u\n",
           (double)sum_ours / 65535, (double)sum_least / 65535, above * 100.0 / 65535, worst);
    assert_in_range(worst, 0, 2);
    assert_in_range(above, 0, 65535 / 5);
}

static void test_too_many_for_exact_pairs(void **state)
{
    struct host_rng rng = host_rng_make("test_too_many_for_exact_pairs");
    uint64_t extra;

    (void)state;
    /* Numbers with an even number of ones: no two of them have room in a larger cube. */
    clear();
    for (unsigned f = 0; f < 128; f++) {
        if (__builtin_popcount(f) % 2 == 0) {
            add(f, 1);
        }
    }
    assert_int_equal(assert_covered(), BADRAM_MAX_PAIRS);
    assert_int_equal(badram_cover(&list, pairs, &extra), BADRAM_MAX_PAIRS);
    assert_int_equal(extra, 0);
    add(0x81, 1);
    assert_covered();
    assert_true(badram_cover(&list, pairs, &extra) < BADRAM_MAX_PAIRS);
    assert_true(extra > 0);

    for (unsigned round = 0; round < 20; round++) {
        clear();
        for (unsigned i = 0; i < BADRAM_MAX; i++) {
            /* Gaps of odd lengths, which no mask can catch. */
            add(16 * i + 1 + host_rng_below(&rng, 7), 1 + host_rng_below(&rng, 7));
        }
        assert_same();
        assert_covered();
        assert_true(badram_cover(&list, pairs, &extra) > 0);
        assert_true(extra > 0);
    }

    /* The worst: ranges of odd places and lengths from one end of the addresses to the other. */
    clear();
    for (uint64_t i = 0; i < BADRAM_MAX; i++) {
        assert_true(badram_add(&list, (i << 45) + 1, (UINT64_C(1) << 45) - 3 - (i * i << 20)));
    }
    assert_sound(badram_check(&list));
    assert_in_range(badram_cover(&list, pairs, &extra), 1, BADRAM_MAX_PAIRS);
    assert_true(extra > 0);
    clear();
    assert_true(badram_add(&list, 0, UINT64_C(1) << 52));
    assert_int_equal(badram_cover(&list, pairs, &extra), 1);
    assert_int_equal(pairs[0].addr, 0);
    assert_int_equal(pairs[0].mask, 0);
    assert_int_equal(extra, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adding),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_adding_at_random),
        cmocka_unit_test(test_check_sees_damage),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_known_covers),
        cmocka_unit_test(test_near_the_minimum),
        cmocka_unit_test(test_too_many_for_exact_pairs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
