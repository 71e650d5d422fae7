/*
 * Options (efi/conf.c): plat.conf and LoadOptions in every shape that they come in.
 */
#include "host_port.h"

#include <stdlib.h>

#include "conf.h"
#include "stub_fw.h"

static struct conf conf;

static int setup(void **state)
{
    (void)state;
    stub_fw_reset();
    return 0;
}

static void gather(const void *options, uint64_t nbytes)
{
    struct pool pool = pool_make(&stub_fw_table);
    void *exact = malloc(nbytes + 1); /* ASan sees a read past the end */

    if (options != NULL) {
        memcpy(exact, options, nbytes);
    }
    memset(&conf, 0xcc, sizeof(conf));
    conf_gather(&stub_fw_table, &pool, options != NULL ? exact : NULL, nbytes, &conf);
    free(exact);
    assert_null(stub_fw.violation);
    assert_false(stub_fw.conf_is_open);
    assert_int_equal(stub_fw.live_pages, 0);
    assert_int_equal(pool.count, 0);
    assert_true(conf.len < PLAT_OPTIONS_MAX);
    assert_int_equal(conf.text[conf.len], '\0');
    assert_int_equal(strlen(conf.text), conf.len);
    for (size_t i = 0; i < conf.len; i++) {
        assert_true(conf.text[i] == '\n' || conf.text[i] == '\t' ||
                    (conf.text[i] >= ' ' && conf.text[i] <= '~'));
    }
}

static void set_file(const void *bytes, size_t nbytes)
{
    stub_fw.conf = bytes;
    stub_fw.conf_bytes = nbytes;
}

static void file(const void *bytes, size_t nbytes)
{
    stub_fw_reset();
    set_file(bytes, nbytes);
    gather(NULL, 0);
}

/* A string literal as the bytes of a file. */
#define FILE_OF(text) file((text), sizeof(text) - 1)

static void options(const char *text)
{
    unsigned char wide[2 * PLAT_OPTIONS_MAX];
    size_t n = strlen(text);

    for (size_t i = 0; i < n; i++) {
        wide[2 * i] = (unsigned char)text[i];
        wide[2 * i + 1] = 0;
    }
    gather(wide, 2 * n);
}

#define assert_said(words)    assert_non_null(strstr(stub_fw.said, (words)))
#define assert_said_nothing() assert_string_equal(stub_fw.said, "")

static void test_plain(void **state)
{
    (void)state;
    FILE_OF("# a comment\nnokaslr   log=debug\r\n\trun=\"memmap; audit\"#no comment\n  # last");
    assert_string_equal(conf.text, "nokaslr\nlog=debug\nrun=\"memmap; audit\"\n");
    assert_said_nothing();
    FILE_OF("");
    assert_string_equal(conf.text, "");
    assert_said_nothing();
    FILE_OF("a");
    assert_string_equal(conf.text, "a\n");
    FILE_OF("run=\"never closed\nnext");
    assert_string_equal(conf.text, "run=\"never closed\nnext\n");
    FILE_OF("run=\"never closed\r\nnext\rlast");
    assert_string_equal(conf.text, "run=\"never closed\nnext\nlast\n");
    FILE_OF("\xef\xbb\xbf"
            "a=1\r\nb=2\r\n");
    assert_string_equal(conf.text, "a=1\nb=2\n");
    assert_said_nothing();
}

static void test_no_file(void **state)
{
    (void)state;
    gather(NULL, 0);
    assert_string_equal(conf.text, "");
    assert_string_equal(stub_fw.said,
                        "plat: \\plat\\plat.conf: cannot be opened, Not Found; using defaults\n");
    stub_fw_reset();
    stub_fw.conf_open_error = FW_UNSUPPORTED; /* a directory; no file system */
    gather(NULL, 0);
    assert_said("Unsupported");
}

static void test_utf16(void **state)
{
    (void)state;
    FILE_OF("\xff\xfe"
            "a\0=\0"
            "1\0\r\0\n\0"
            "b\0\n\0");
    assert_string_equal(conf.text, "a=1\nb\n");
    FILE_OF("\xfe\xff"
            "\0a\0=\0"
            "1\0\r\0\n\0"
            "b\0\n");
    assert_string_equal(conf.text, "a=1\nb\n");
    FILE_OF("a\0=\0"
            "2\0");
    assert_string_equal(conf.text, "a=2\n");
    FILE_OF("\0a\0=\0"
            "3");
    assert_string_equal(conf.text, "a=3\n");
    assert_said_nothing();
    FILE_OF("\xff\xfe"
            "a\0b"); /* half a character at the end */
    assert_string_equal(conf.text, "a\n");
    FILE_OF("\xff\xfe");
    assert_string_equal(conf.text, "");
    FILE_OF("\xff\xfe"
            "a\0=\0"
            "\xe4\0"
            "\x3d\xd8"
            "x\0"); /* an umlaut, half a surrogate pair */
    assert_string_equal(conf.text, "a=?"
                                   "?x\n");
    assert_said("plain ASCII");
}

static void test_odd_bytes(void **state)
{
    (void)state;
    FILE_OF("a=1\0b=2\n");
    assert_string_equal(conf.text, "a=1\nb=2\n");
    assert_said("NUL bytes");
    FILE_OF("# gr\xc3\xbc\xc3\x9f dich\na=1\n"); /* foreign in a comment only: fine */
    assert_string_equal(conf.text, "a=1\n");
    assert_said_nothing();
    FILE_OF("name=\xc3\xbc\x01z\n");
    assert_string_equal(conf.text, "name=?"
                                   "?z\n");
    assert_said("plain ASCII");
}

static void test_read_fails(void **state)
{
    static char big[20000];

    (void)state;
    memset(big, ' ', sizeof(big));
    memcpy(big, "first=1", 7);
    memcpy(big + sizeof(big) - 6, "last=1", 6);

    set_file(big, sizeof(big)); /* firmware that reads a little at a time */
    stub_fw.conf_chunk = 333;
    gather(NULL, 0);
    assert_string_equal(conf.text, "first=1\nlast=1\n");
    assert_true(stub_fw.largest_read <= 0x100000);

    for (uint32_t at = 0; at < 3; at++) {
        stub_fw_reset();
        set_file(big, sizeof(big));
        stub_fw.conf_chunk = 9000;
        stub_fw.conf_error_at = at;
        gather(NULL, 0);
        assert_string_equal(conf.text, ""); /* no half of it */
        assert_string_equal(stub_fw.said, "plat: \\plat\\plat.conf: cannot be read, Device Error; "
                                          "using defaults\n");
    }
    stub_fw_reset();
    set_file(big, sizeof(big));
    stub_fw.conf_lies = true;
    gather(NULL, 0);
    assert_string_equal(conf.text, "");
    assert_said("Device Error");

    stub_fw_reset();
    set_file(big, sizeof(big));
    stub_fw.fail_alloc = 0;
    gather("o\0n\0", 4);
    assert_string_equal(conf.text, "on\n");
    assert_said("Out of Resources");
}

static void test_too_long(void **state)
{
    static char text[0x20000];
    size_t n = 0;
    unsigned last;

    (void)state;
    while (n < 9000) { /* words of 8, together more than fits */
        n += (size_t)sprintf(text + n, "k%04zu=1 ", n / 8 % 10000);
    }
    set_file(text, n);
    gather(NULL, 0);
    assert_said("too long");
    assert_true(conf.len > PLAT_OPTIONS_MAX - 10);
    assert_int_equal(sscanf(conf.text + conf.len - 8, "k%4u=1\n", &last), 1);
    assert_int_equal(last, conf.len / 8 - 1);

    /* LoadOptions keep their room, and come last. */
    stub_fw_reset();
    set_file(text, n);
    options("win=yes");
    assert_true(conf.len > PLAT_OPTIONS_MAX - 20);
    assert_string_equal(conf.text + conf.len - 8, "win=yes\n");

    /* Comments cost nothing. */
    memset(text, '#', 60000);
    memcpy(text + 60000, "\nend=1\n", 7);
    file(text, 60007);
    assert_string_equal(conf.text, "end=1\n");
    assert_said_nothing();

    /* The limit of a file, to the byte. */
    memset(text, ' ', sizeof(text));
    memcpy(text, "a=1", 3);
    memcpy(text + 0x10000 - 5, "b=234", 5);
    file(text, 0x10000);
    assert_string_equal(conf.text, "a=1\nb=234\n");
    assert_said_nothing();
    memcpy(text + 0x10000, "5678", 4); /* the word goes on behind it: b=234 was never meant */
    file(text, sizeof(text));
    assert_string_equal(conf.text, "a=1\n");
    assert_said("too long");
}

static void test_load_options(void **state)
{
    static const struct {
        const char *given, *text;
    } good[] = {
        { "nokaslr log=debug", "nokaslr\nlog=debug\n" },
        { "FS0:\\EFI\\BOOT\\BOOTX64.EFI nokaslr", "nokaslr\n" },
        { "plat.efi", "" },
        { "  plat.Efi   a=1  ", "a=1\n" },
        { "\"FS0:\\my programs\\plat.efi\" run=\"memmap; audit\"", "run=\"memmap; audit\"\n" },
        { "run=plat.efi a", "run=plat.efi\na\n" }, /* a value that looks like a program */
        { ".efi x", "x\n" },
        { "efi x", "efi\nx\n" },
        { "xefi x", "xefi\nx\n" },
        { "", "" },
        { " ", "" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        stub_fw_reset();
        set_file("", 0);
        options(good[i].given);
        assert_string_equal(conf.text, good[i].text);
        assert_said_nothing();
    }
    stub_fw_reset();
    set_file("", 0);
    gather("a\0b\0\0\0\xff\xff\x01", 9); /* what is behind the NUL does not count */
    assert_string_equal(conf.text, "ab\n");
    assert_said_nothing();
    gather("a\0b\0c", 5); /* odd */
    assert_string_equal(conf.text, "ab\n");
    gather("x", 1);
    assert_string_equal(conf.text, "");
    gather(NULL, 77);
    assert_string_equal(conf.text, "");
    assert_said_nothing();
}

static void test_load_options_garbage(void **state)
{
    struct host_rng r = host_rng_make("stub_conf");

    (void)state;
    set_file("a=1", 3);
    gather("a\0b\0\x07\0", 6);
    assert_string_equal(conf.text, "a=1\n");
    assert_said("load options: not plain text, ignored");
    stub_fw_reset();
    set_file("a=1", 3);
    gather("a\0\x7f\0", 4); /* DEL is the first that is too high */
    assert_string_equal(conf.text, "a=1\n");
    assert_said("ignored");
    stub_fw_reset();
    set_file("a=1", 3);
    gather("~\0", 2); /* and this the last that is not */
    assert_string_equal(conf.text, "a=1\n~\n");
    gather("nokaslr!", 8); /* ASCII where UTF-16 belongs */
    assert_string_equal(conf.text, "a=1\n");
    assert_said("ignored");
    for (unsigned i = 0; i < 2000; i++) {
        unsigned char junk[300];
        uint64_t n = host_rng_below(&r, sizeof(junk));

        for (size_t k = 0; k < sizeof(junk); k++) {
            junk[k] = (unsigned char)host_rng_next(&r);
        }
        stub_fw_reset();
        set_file(junk, host_rng_below(&r, sizeof(junk))); /* and the same as a file */
        gather(junk, n);
    }
}

static void test_load_options_too_long(void **state)
{
    unsigned char *wide = calloc(2, 10000);

    (void)state;
    set_file("file=1", 6);
    for (size_t i = 0; i < 10000; i++) {
        wide[2 * i] = i % 10 == 9 ? ' ' : 'x';
    }
    gather(wide, 20000);
    assert_said("load options: longer than 2048");
    assert_memory_equal(conf.text, "file=1\nxxxxxxxxx\nxxx", 20);
    assert_int_equal((conf.len - 7) % 10, 0);
    assert_true(conf.len <= 7 + 2048);

    for (size_t i = 0; i < 10000; i++) { /* one word that never ends */
        wide[2 * i] = 'x';
    }
    stub_fw_reset();
    set_file("file=1", 6);
    gather(wide, 20000);
    assert_string_equal(conf.text, "file=1\n");
    free(wide);
}

static void test_is_on(void **state)
{
    static const struct {
        const char *text;
        bool on;
    } t[] = { { "nokaslr", true },
              { "nokaslr=1", true },
              { "nokaslr=on", true },
              { "nokaslr=yes", true },
              { "nokaslr=0", false },
              { "nokaslr=off", false },
              { "nokaslr=", false },
              { "nokaslr=10", false },
              { "", false },
              { "nokaslrx", false },
              { "xnokaslr", false },
              { "nokasl", false },
              { "nokaslr nokaslr=off", false },
              { "nokaslr=off nokaslr", true } };

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        set_file(t[i].text, strlen(t[i].text));
        gather(NULL, 0);
        assert_int_equal(conf_is_on(&conf, "nokaslr"), t[i].on);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_plain, setup),
        cmocka_unit_test_setup(test_no_file, setup),
        cmocka_unit_test_setup(test_utf16, setup),
        cmocka_unit_test_setup(test_odd_bytes, setup),
        cmocka_unit_test_setup(test_read_fails, setup),
        cmocka_unit_test_setup(test_too_long, setup),
        cmocka_unit_test_setup(test_load_options, setup),
        cmocka_unit_test_setup(test_load_options_garbage, setup),
        cmocka_unit_test_setup(test_load_options_too_long, setup),
        cmocka_unit_test_setup(test_is_on, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
