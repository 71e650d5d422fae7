/*
 * test_string.c - kernel/lib/string.c under other names, against the host's functions: all small
 * lengths, all alignments, all overlaps, and nothing written outside.
 */
#include "host_port.h"

/* clang-format off */
void *plat_memcpy(void *restrict dst, const void *restrict src, size_t n);
void *plat_memmove(void *dst, const void *src, size_t n);
void *plat_memset(void *dst, int byte, size_t n);
int plat_memcmp(const void *a, const void *b, size_t n);
size_t plat_strlen(const char *s);
int plat_strcmp(const char *a, const char *b);
int plat_strncmp(const char *a, const char *b, size_t n);
char *plat_strchr(const char *s, int c);
#define memcpy  plat_memcpy
#define memmove plat_memmove
#define memset  plat_memset
#define memcmp  plat_memcmp
#define strlen  plat_strlen
#define strcmp  plat_strcmp
#define strncmp plat_strncmp
#define strchr  plat_strchr
#include "lib/string.c"
#undef memcpy
#undef memmove
#undef memset
#undef memcmp
#undef strlen
#undef strcmp
#undef strncmp
#undef strchr
/* clang-format on */

#define SPAN 400u

static unsigned char ours[SPAN], theirs[SPAN];

static void fill(void)
{
    for (unsigned i = 0; i < SPAN; i++) {
        ours[i] = theirs[i] = (unsigned char)(i * 31 + (i >> 3));
    }
}

static void test_copy(void **state)
{
    (void)state;
    for (unsigned n = 0; n <= 150; n++) {
        for (unsigned to = 0; to < 9; to++) {
            for (unsigned from = 200; from < 209; from++) {
                fill();
                assert_ptr_equal(plat_memcpy(ours + to, ours + from, n), ours + to);
                memcpy(theirs + to, theirs + from, n);
                assert_memory_equal(ours, theirs, SPAN);
            }
        }
    }
}

static void test_move(void **state)
{
    (void)state;
    for (unsigned n = 0; n <= 150; n++) {
        for (unsigned to = 0; to <= 200; to++) {
            fill();
            assert_ptr_equal(plat_memmove(ours + to, ours + 100, n), ours + to);
            memmove(theirs + to, theirs + 100, n);
            assert_memory_equal(ours, theirs, SPAN);
        }
    }
}

static void test_set(void **state)
{
    (void)state;
    for (unsigned n = 0; n <= 150; n++) {
        for (unsigned to = 0; to < 9; to++) {
            fill();
            assert_ptr_equal(plat_memset(ours + to, (int)(n + 0x1f0), n), ours + to);
            memset(theirs + to, (int)(n + 0x1f0), n);
            assert_memory_equal(ours, theirs, SPAN);
        }
    }
}

static int sign(int v)
{
    return (v > 0) - (v < 0);
}

static void test_compare(void **state)
{
    (void)state;
    for (unsigned n = 0; n <= 40; n++) {
        for (unsigned at = 0; at <= n; at++) {
            fill();
            memcpy(theirs + 3, ours, n + 1);
            assert_int_equal(plat_memcmp(ours, theirs + 3, n), 0);
            theirs[3 + at] ^= 0x80;
            assert_int_equal(sign(plat_memcmp(ours, theirs + 3, n)),
                             sign(memcmp(ours, theirs + 3, n)));
            theirs[3] ^= 1; /* the first difference counts */
            assert_int_equal(sign(plat_memcmp(ours, theirs + 3, n)),
                             sign(memcmp(ours, theirs + 3, n)));
        }
    }
}

static void test_strings(void **state)
{
    static const char *const texts[] = { "", "a", "ab", "abc", "abd", "b", "\xff", "ab\x80" };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(texts); i++) {
        const char *a = texts[i];

        assert_int_equal(plat_strlen(a), strlen(a));
        assert_ptr_equal(plat_strchr(a, 'b'), strchr(a, 'b'));
        assert_ptr_equal(plat_strchr(a, '\0'), a + strlen(a));
        for (size_t j = 0; j < MM_COUNTOF(texts); j++) {
            const char *b = texts[j];

            assert_int_equal(sign(plat_strcmp(a, b)), sign(strcmp(a, b)));
            for (size_t n = 0; n < 5; n++) {
                assert_int_equal(sign(plat_strncmp(a, b, n)), sign(strncmp(a, b, n)));
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copy),    cmocka_unit_test(test_move),    cmocka_unit_test(test_set),
        cmocka_unit_test(test_compare), cmocka_unit_test(test_strings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
