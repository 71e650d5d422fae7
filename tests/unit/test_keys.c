/*
 * test_keys.c - kernel/lib/keys: what a person types, in both scan code sets.
 */
#include "host_port.h"

#include "lib/keys.h"

static struct keys keys;

/* Feed `n` codes; the characters they make are `expected`. */
static void assert_keys(const char *codes, size_t n, const char *expected)
{
    char seen[128], out[KEYS_MAX];
    size_t nseen = 0;

    for (size_t i = 0; i < n; i++) {
        size_t made = keys_feed(&keys, (uint8_t)codes[i], out);

        assert_true(made <= KEYS_MAX && nseen + made < sizeof(seen));
        memcpy(seen + nseen, out, made);
        nseen += made;
    }
    seen[nseen] = '\0';
    assert_string_equal(seen, expected);
}

#define KEYS(codes, expected) assert_keys(codes, sizeof(codes) - 1, expected)

static void test_set1(void **state)
{
    (void)state;
    keys_init(&keys, false);
    KEYS("\x23\xa3\x12\x92\x26\xa6\x26\xa6\x18\x98", "hello");
    KEYS("\x02\x03\x0b\x0c\x0d\x1a\x1b\x27\x28\x29\x2b\x33\x34\x35\x56", "120-=[];'`\\,./\\");
    KEYS("\x39\x0f\x1c\x0e\x01", " \t\r\x7f\x1b");
    KEYS("\x2a\x23\xa3\xaa\x23\xa3", "Hh"); /* left shift */
    KEYS("\x36\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\xb6", "!@#$%^&*()_+");
    KEYS("\x2a\x1a\x1b\x27\x28\x29\x2b\x33\x34\x35\x39\xaa", "{}:\"~|<>? ");
    KEYS("\x2a\x36\xaa\x23\xb6\x23", "Hh"); /* both shifts, one let go */
    KEYS("\x1d\x2e\x1e\x18\x9d\x2e", "\x03\x01\x0f"
                                     "c");     /* ctrl */
    KEYS("\xe0\x1d\x16\xe0\x9d\x16", "\x15u"); /* right ctrl */
    KEYS("\x1d\x1a\x2b\x1b\x02\x9d", "\x1b\x1c\x1d"
                                     "1");
}

static void test_ctrl_at(void **state)
{
    char out[KEYS_MAX];

    (void)state;
    keys_init(&keys, false);
    keys_feed(&keys, 0x1d, out);
    keys_feed(&keys, 0x2a, out);
    assert_int_equal(keys_feed(&keys, 0x03, out), 1);
    assert_int_equal(out[0], 0);
}

static void test_caps(void **state)
{
    (void)state;
    keys_init(&keys, false);
    KEYS("\x3a\xba\x1e\x02\x2a\x1e\x02\xaa", "A1a!");
    KEYS("\x3a\x3a\xba\x1e", "a"); /* held: repeats do not count */
    KEYS("\x3a\xba\x1d\x1e\x9d", "\x01");
}

static void test_navigation(void **state)
{
    (void)state;
    keys_init(&keys, false);
    KEYS("\xe0\x48\xe0\xc8\xe0\x50\xe0\xd0\xe0\x4d\xe0\x4b", "\033[A\033[B\033[C\033[D");
    KEYS("\xe0\x47\xe0\x4f\xe0\x53\xe0\x52\xe0\x49\xe0\x51",
         "\033[H\033[F\033[3~\033[2~\033[5~\033[6~");
    KEYS("\xe0\x2a\xe0\x48\xe0\xc8\xe0\xaa\x1e", "\033[Aa"); /* fake shifts */
    KEYS("\xe0\x2a\x1e\x2a\xe0\xaa\x1e\xaa", "aA");
}

static void test_keypad(void **state)
{
    (void)state;
    keys_init(&keys, false);
    KEYS("\x47\x48\x49\x4b\x4c\x4d\x4f\x50\x51\x52\x53\x4a\x4e\x37\xe0\x35\xe0\x1c",
         "7894561230.-+*/\r");
    KEYS("\x45\xc5\x47\x48\x4b\x4c\x4d\x53\x4a\x4e", "\033[H\033[A\033[D\033[C\033[3~-+");
    KEYS("\x45\x45\xc5\x48", "8");
}

static void test_nothing(void **state)
{
    (void)state;
    keys_init(&keys, false);
    KEYS("\x3b\x3c\x44\x57\x58\x46\x38\xb8\xe0\x38\xe0\x5b\xe0\x5d\x7f\xfa\xfe\xee", "");
    KEYS("\xe1\x1d\x45\xe1\x9d\xc5\x1e", "a"); /* Pause */
    KEYS("\x2a\xff\x1e", "a");                 /* codes were lost: nothing is held any more */
    KEYS("\xe0\x1e\xe0\x0b\x1e", "a");         /* extended keys that there are not */
}

static void test_set2(void **state)
{
    (void)state;
    keys_init(&keys, true);
    KEYS("\x33\xf0\x33\x24\xf0\x24\x4b\xf0\x4b\x4b\xf0\x4b\x44\xf0\x44", "hello");
    KEYS("\x12\x33\xf0\x33\xf0\x12\x33", "Hh");
    KEYS("\x59\x16\x1e\x26\x25\x2e\x36\x3d\x3e\x46\x45\x4e\x55\xf0\x59", "!@#$%^&*()_+");
    KEYS("\x54\x5b\x4c\x52\x0e\x5d\x41\x49\x4a\x61\x29\x0d\x5a\x66\x76",
         "[];'`\\,./\\ \t\r\x7f\x1b");
    KEYS("\x15\x1d\x24\x2d\x2c\x35\x3c\x43\x44\x4d", "qwertyuiop");
    KEYS("\x1c\x1b\x23\x2b\x34\x33\x3b\x42\x4b", "asdfghjkl");
    KEYS("\x1a\x22\x21\x2a\x32\x31\x3a", "zxcvbnm");
    KEYS("\x14\x21\xf0\x14\x21", "\x03"
                                 "c");
    KEYS("\x58\xf0\x58\x1c\x58\xf0\x58", "A");
    KEYS("\xe0\x75\xe0\xf0\x75\xe0\x72\xe0\x74\xe0\x6b\xe0\x71", "\033[A\033[B\033[C\033[D\033[3~");
    KEYS("\x6c\x75\x7d\x6b\x73\x74\x69\x72\x7a\x70\x71\x7b\x79\x7c\xe0\x4a\xe0\x5a",
         "7894561230.-+*/\r");
    KEYS("\xe1\x14\x77\xe1\xf0\x14\xf0\x77\x1c", "a"); /* Pause */
    KEYS("\x05\x06\x83\x78\x07\xaa\xfa\x12\x00\x1c", "a");
}

static void test_any_codes(void **state)
{
    struct host_rng r = host_rng_make("keys");
    char out[KEYS_MAX];

    (void)state;
    for (unsigned set2 = 0; set2 < 2; set2++) {
        keys_init(&keys, set2 != 0);
        for (unsigned i = 0; i < 200000; i++) {
            assert_true(keys_feed(&keys, (uint8_t)host_rng_next(&r), out) <= KEYS_MAX);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_set1),   cmocka_unit_test(test_ctrl_at),
        cmocka_unit_test(test_caps),   cmocka_unit_test(test_navigation),
        cmocka_unit_test(test_keypad), cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_set2),   cmocka_unit_test(test_any_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
