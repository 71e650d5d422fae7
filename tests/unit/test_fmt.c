/*
 * test_fmt.c - kernel/lib/fmt against the host's vsnprintf, and fmt_bytes against the rule written
 * out.
 */
#include "host_port.h"

#include "lib/fmt.h"

#define ROUNDS 200000

static void both(size_t n, const char *fmt, ...)
{
    char ours[600], theirs[600];
    va_list ap, again;

    assert_true(n <= 500);
    memset(ours, '#', sizeof(ours));
    memset(theirs, '#', sizeof(theirs));
    va_start(ap, fmt);
    va_copy(again, ap);
    size_t a = fmt_v(n > 0 ? ours : NULL, n, fmt, ap);
    int b = vsnprintf(n > 0 ? theirs : NULL, n, fmt, again);
    va_end(again);
    va_end(ap);
    if (b < 0 || a != (size_t)b || memcmp(ours, theirs, sizeof(ours)) != 0) {
        ours[sizeof(ours) - 1] = theirs[sizeof(theirs) - 1] = '\0';
        fail_msg("format \"%s\", %zu bytes: %zu \"%s\", not %d \"%s\"", fmt, n, a, ours, b, theirs);
    }
}

static const uint64_t edges[] = {
    0,
    1,
    7,
    8,
    9,
    10,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0x8000,
    0xffff,
    0x10000,
    0x7fffffff,
    0x80000000,
    0xffffffff,
    1u << 31,
    UINT64_C(1) << 32,
    UINT64_C(1) << 63,
    INT64_MAX,
    UINT64_MAX,
    UINT64_MAX - 1,
    1000000,
    UINT64_C(10000000000000000000),
};

static uint64_t any_value(struct host_rng *r)
{
    uint64_t v = host_rng_next(r);

    return (v & 1) != 0 ? edges[(v >> 8) % MM_COUNTOF(edges)] : host_rng_next(r) >> (v >> 8) % 64;
}

/* A conversion in which every flag means something: the rest is undefined in C, and differs. */
static void random_conversion(struct host_rng *r, char fmt[64])
{
    static const char *const lengths[] = { "hh", "h", "", "l", "ll", "z", "j", "t" };
    static const char conversions[] = "diouxXcsp%";
    char c = conversions[host_rng_below(r, 10)];
    char *at = fmt + sprintf(fmt, "<%%");
    bool integer = strchr("diouxX", c) != NULL;

    for (unsigned i = 0; i < 3 && c != '%'; i++) {
        char flag = "-0+ #"[host_rng_below(r, 5)];
        bool fits = flag == '-' || (flag == '0' && integer) ||
                    ((flag == '+' || flag == ' ') && (c == 'd' || c == 'i')) ||
                    (flag == '#' && (c == 'o' || c == 'x' || c == 'X'));

        if (host_rng_below(r, 2) != 0 && fits) {
            *at++ = flag;
        }
    }
    if (host_rng_below(r, 2) != 0 && c != '%') {
        at += sprintf(at, "%u", (unsigned)host_rng_below(r, 40) + 1);
    }
    if (host_rng_below(r, 2) != 0 && (integer || c == 's')) {
        at += host_rng_below(r, 4) == 0 ? sprintf(at, ".")
                                        : sprintf(at, ".%u", (unsigned)host_rng_below(r, 40));
    }
    sprintf(at, "%s%c>", integer ? lengths[host_rng_below(r, 8)] : "", c);
}

static void test_random(void **state)
{
    static const char *const texts[] = { "", "a", "hello", "a rather long text, of 37 characters" };
    struct host_rng r = host_rng_make("fmt");
    char fmt[64];

    (void)state;
    for (unsigned i = 0; i < ROUNDS; i++) {
        size_t n = host_rng_below(&r, 4) != 0 ? 100 : host_rng_below(&r, 20);

        random_conversion(&r, fmt);

        char c = fmt[strlen(fmt) - 2];

        if (c == 's') {
            uint64_t which = host_rng_below(&r, 5);

            both(n, fmt, which < 4 ? texts[which] : NULL);
        } else if (c == 'p') {
            both(n, fmt, (void *)(uintptr_t)any_value(&r));
        } else if (c == 'c') {
            both(n, fmt, (int)(1 + host_rng_below(&r, 255)));
        } else if (strpbrk(fmt, "lzjt") != NULL) {
            both(n, fmt, any_value(&r));
        } else {
            both(n, fmt, (unsigned)any_value(&r));
        }
    }
}

static void test_star(void **state)
{
    static const int sizes[] = { 0, 1, 5, 20, -1, -5, -20 };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(sizes); i++) {
        both(100, "[%*d|%-*x]", sizes[i], -42, sizes[i], 0xbeefu);
        both(100, "[%.*d|%.*s]", sizes[i], -42, sizes[i], "words");
        for (size_t j = 0; j < MM_COUNTOF(sizes); j++) {
            both(100, "[%*.*llu|%0*llX]", sizes[i], sizes[j], 1234567890123ull, sizes[i], 0xabcull);
            both(100, "[%*.*s]", sizes[i], sizes[j], "words");
        }
    }
}

static void test_by_hand(void **state)
{
    char buf[64];

    (void)state;
    assert_int_equal(fmt_s(buf, sizeof(buf), "%s %d%% of %#llx", "is", -5, 255ull), 14);
    assert_string_equal(buf, "is -5% of 0xff");
    /* cut */
    assert_int_equal(fmt_s(buf, 5, "%u", 1234567u), 7);
    assert_string_equal(buf, "1234");
    assert_int_equal(fmt_s(buf, 1, "%u", 1234567u), 7);
    assert_string_equal(buf, "");
    assert_int_equal(fmt_s(NULL, 0, "%u", 1234567u), 7);
    /* a huge field costs nothing */
    assert_int_equal(fmt_s(buf, 8, "%2000000000d", 1), 2000000000);
    assert_string_equal(buf, "       ");
    assert_int_equal(fmt_s(buf, 8, "%.*d", INT32_MAX, 1), (size_t)INT32_MAX);
    assert_string_equal(buf, "0000000");
    /* not ours: shown, and no argument taken */
    const char *odd = "%y %d";
    int seven = 7;

    both(0, "%s", "");
    assert_int_equal(fmt_s(buf, sizeof(buf), odd, seven), 4);
    assert_string_equal(buf, "%y 7");
    odd = "50%";
    assert_int_equal(fmt_s(buf, sizeof(buf), odd, seven), 3);
    assert_string_equal(buf, "50%");
    odd = "%-5l";
    fmt_s(buf, sizeof(buf), odd, seven);
    assert_string_equal(buf, "%-5l");
}

static void assert_bytes(uint64_t n, const char *expected)
{
    char buf[FMT_BYTES_MAX];

    assert_string_equal(fmt_bytes(buf, n), expected);
}

static void test_bytes(void **state)
{
    (void)state;
    assert_bytes(0, "0 B");
    assert_bytes(512, "512 B");
    assert_bytes(1023, "1023 B");
    assert_bytes(1024, "1.0 KiB");
    assert_bytes(1126, "1.0 KiB"); /* 1.0996 */
    assert_bytes(1127, "1.1 KiB"); /* 1.1006 */
    assert_bytes(4096, "4.0 KiB");
    assert_bytes(1048575, "1023.9 KiB");
    assert_bytes(1048576, "1.0 MiB");
    assert_bytes(UINT64_C(256) << 20, "256.0 MiB");
    assert_bytes((UINT64_C(256) << 20) - 1, "255.9 MiB");
    assert_bytes(UINT64_C(3) << 29, "1.5 GiB");
    assert_bytes(UINT64_C(1) << 40, "1.0 TiB");
    assert_bytes(UINT64_C(1) << 50, "1.0 PiB");
    assert_bytes((UINT64_C(1) << 60) - 1, "1023.9 PiB");
    assert_bytes(UINT64_C(1) << 60, "1.0 EiB");
    assert_bytes(UINT64_MAX, "15.9 EiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_star),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
