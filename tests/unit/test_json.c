/* JSON: what the writer writes, byte by byte; what the reader takes and refuses, and where. */
#include "host_port.h"
#include "mm/json.h"

#include <stdlib.h>

static char out[8192];
static struct mm_text text;
static struct mm_sink sink;
static struct json_writer writer;

static struct json_writer *begin(enum json_style style)
{
    sink = mm_text_sink(&text, out, sizeof(out));
    json_write_begin(&writer, &sink, style);
    return &writer;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static void put_all_kinds(struct json_writer *w)
{
    json_begin_object(w);
    json_key(w, "a");
    json_put_u64(w, UINT64_MAX);
    json_key(w, "list");
    json_begin_array(w);
    for (unsigned i = 0; i < 2; i++) {
        json_begin_row(w);
        json_key(w, "x");
        json_put_hex(w, 0x7e6ed000 + i, 16);
        json_key(w, "y");
        json_begin_array(w);
        json_put_bool(w, true);
        json_put_bool(w, false);
        json_end_array(w);
        json_end_object(w);
    }
    json_put_null(w);
    json_end_array(w);
    json_key(w, "none");
    json_begin_array(w);
    json_end_array(w);
    json_key(w, "empty");
    json_begin_object(w);
    json_end_object(w);
    json_key(w, "t");
    json_put_text(w, NULL);
    json_key(w, "d");
    json_put_dump(w, "\x00\x7f\xff", 3);
    json_end_object(w);
    json_write_end(w);
}

static void test_write_line(void **state)
{
    (void)state;
    put_all_kinds(begin(JSON_LINE));
    assert_string_equal(out, "{\"a\":18446744073709551615,\"list\":["
                             "{\"x\":\"0x000000007e6ed000\",\"y\":[true,false]},"
                             "{\"x\":\"0x000000007e6ed001\",\"y\":[true,false]},null],"
                             "\"none\":[],\"empty\":{},\"t\":null,\"d\":\"007fff\"}\n");
}

static void test_write_pretty(void **state)
{
    (void)state;
    put_all_kinds(begin(JSON_PRETTY));
    assert_string_equal(out, "{\n"
                             "  \"a\": 18446744073709551615,\n"
                             "  \"list\": [\n"
                             "    {\"x\": \"0x000000007e6ed000\", \"y\": [true, false]},\n"
                             "    {\"x\": \"0x000000007e6ed001\", \"y\": [true, false]},\n"
                             "    null\n"
                             "  ],\n"
                             "  \"none\": [],\n"
                             "  \"empty\": {},\n"
                             "  \"t\": null,\n"
                             "  \"d\": \"007fff\"\n"
                             "}\n");
}

static void test_write_texts(void **state)
{
    static const struct {
        const char *in;
        const char *out;
    } cases[] = {
        { "", "\"\"\n" },
        { "plain text / ~\x7f", "\"plain text / ~\x7f\"\n" },
        { "\"\\", "\"\\\"\\\\\"\n" },
        { "\b\t\n\f\r", "\"\\b\\t\\n\\f\\r\"\n" },
        { "\x01\x1f", "\"\\u0001\\u001f\"\n" },
        { "\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
          "\"\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80\"\n" },
        /* U+FFFD for each byte that is not UTF-8: alone, cut off, overlong, a surrogate, too large.
         */
        { "a\xff", "\"a\xef\xbf\xbd\"\n" },
        { "\xe2\x82", "\"\xef\xbf\xbd\xef\xbf\xbd\"\n" },
        { "\xc0\x80x", "\"\xef\xbf\xbd\xef\xbf\xbdx\"\n" },
        { "\xed\xa0\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"\n" },
        { "\xf4\x90\x80\x80", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"\n" },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        json_put_text(begin(JSON_LINE), cases[i].in);
        json_write_end(&writer);
        assert_string_equal(out, cases[i].out);
    }
    json_put_bytes(begin(JSON_LINE), "a\0b", 3);
    json_write_end(&writer);
    assert_string_equal(out, "\"a\\u0000b\"\n");
}

static void value_without_key(void)
{
    json_begin_object(begin(JSON_LINE));
    json_put_null(&writer);
}

static void key_in_array(void)
{
    json_begin_array(begin(JSON_LINE));
    json_key(&writer, "k");
}

static void end_without_value(void)
{
    json_begin_object(begin(JSON_LINE));
    json_key(&writer, "k");
    json_end_object(&writer);
}

static void wrong_end(void)
{
    json_begin_array(begin(JSON_LINE));
    json_end_object(&writer);
}

static void second_value(void)
{
    json_put_null(begin(JSON_LINE));
    json_put_null(&writer);
}

static void end_inside(void)
{
    json_begin_array(begin(JSON_LINE));
    json_write_end(&writer);
}

static void too_deep(void)
{
    (void)begin(JSON_LINE);
    for (unsigned i = 0; i <= JSON_MAX_DEPTH; i++) {
        json_begin_array(&writer);
    }
}

static void test_write_deaths(void **state)
{
    static void (*const wrong[])(void) = { value_without_key, key_in_array, end_without_value,
                                           wrong_end,         second_value, end_inside,
                                           too_deep };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(wrong); i++) {
        assert_panics((wrong[i](), 0), "assertion failed");
    }
}

/* ---- the reader: what it takes --------------------------------------------------------------- */

static struct json_reader reader;

/* A copy that ends where the text ends, so that reading on is seen. */
static char *copy_of(const char *s, size_t n)
{
    char *copy = malloc(n == 0 ? 1 : n);

    assert_non_null(copy);
    memcpy(copy, s, n);
    return copy;
}

/* Read all of `s` and write its tokens, one letter each, to `tokens`; the last one is E or !. */
static void tokens_of(const char *s, size_t n, char *tokens, size_t size)
{
    char *copy = copy_of(s, n);
    enum json_token t;
    size_t i = 0;

    json_read_begin(&reader, copy, n);
    do {
        t = json_next(&reader);
        assert_true(i + 1 < size);
        tokens[i++] = "!E{}[]ktn10z"[t];
        assert_true(reader.at <= n && reader.next <= n && reader.depth <= JSON_MAX_DEPTH);
    } while (t != JSON_END && t != JSON_ERROR);
    tokens[i] = '\0';
    assert_int_equal(json_next(&reader), t); /* the last token stays the last */
    assert_true((reader.error != NULL) == (t == JSON_ERROR));
    free(copy);
}

static void test_read_good(void **state)
{
    static const struct {
        const char *text;
        const char *tokens;
    } cases[] = {
        { "null", "zE" },
        { " \t\r\n true \n", "1E" },
        { "false", "0E" },
        { "\"\"", "tE" },
        { "{}", "{}E" },
        { "[]", "[]E" },
        { "[ ]", "[]E" },
        { "[1]", "[n]E" },
        { "{\"a\":1,\"b\":[true , null]}", "{knk[1z]}E" },
        { "{ \"a\" : { } , \"\" : \"\" }", "{k{}kt}E" },
        { "[[[[]]],{},[{}]]", "[[[[]]]{}[{}]]E" },
        /* The same key in different objects. */
        { "{\"a\":{\"a\":{\"a\":0}},\"b\":{\"a\":0}}", "{k{k{kn}}k{kn}}E" },
        { "[{\"a\":0},{\"a\":0}]", "[{kn}{kn}]E" },
        { "{\"a\":[{\"a\":0}],\"A\":1,\"a \":2}", "{k[{kn}]knkn}E" },
        /* Numbers. */
        { "[0,-0,1,-1,10,0.5,1.25e3,1E+2,1e-2,0e0,-0.0]", "[nnnnnnnnnnn]E" },
        { "123456789012345678901234567890", "nE" },
        /* Texts. */
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\\uD83D\\uDE00\\u0000\"", "tE" },
        { "\"\xc2\x80 \xdf\xbf \xe0\xa0\x80 \xef\xbf\xbf \xed\x9f\xbf \xee\x80\x80\"", "tE" },
        { "\"\xf0\x90\x80\x80 \xf4\x8f\xbf\xbf \x7f\"", "tE" },
        { "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]", "[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]E" },
    };
    char tokens[128];

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        tokens_of(cases[i].text, strlen(cases[i].text), tokens, sizeof(tokens));
        assert_string_equal(tokens, cases[i].tokens);
    }
}

/* ---- the reader: what it refuses ------------------------------------------------------------- */

static void test_read_bad(void **state)
{
    static const struct {
        const char *text;
        size_t at;
    } cases[] = {
        { "", 0 },
        { "  ", 2 },
        { "\xef\xbb\xbf{}", 0 }, /* a byte order mark */
        { "{} {}", 3 },
        { "[]x", 2 },
        { "nul", 3 },
        { "nulL", 0 },
        { "True", 0 },
        { "[truex]", 5 },
        { "[1,]", 3 },
        { "[,1]", 1 },
        { "[1 2]", 3 },
        { "[1,,2]", 3 },
        { "[1}", 2 },
        { "{\"a\":1]", 6 },
        { "]", 0 },
        { "{,}", 1 },
        { "{\"a\"}", 4 },
        { "{\"a\":}", 5 },
        { "{\"a\":1,}", 7 },
        { "{\"a\" 1}", 5 },
        { "{\"a\"::1}", 5 },
        { "{a:1}", 1 },
        { "{1:1}", 1 },
        { "{'a':1}", 1 },
        { "{\"a\":1 \"b\":2}", 7 },
        { "/* c */ 1", 0 },
        { "[1] // c", 4 },
        { "\f1", 0 },
        { "\xc2\xa0 1", 0 },
        { "NaN", 0 },
        { "[Infinity]", 1 },
        /* Numbers. */
        { "+1", 0 },
        { "-", 1 },
        { "-a", 1 },
        { "01", 0 },
        { "-01", 1 },
        { "1.", 2 },
        { "1.e1", 2 },
        { ".5", 0 },
        { "1e", 2 },
        { "1e+", 3 },
        { "1e1.5", 3 },
        { "0x10", 1 },
        { "1a", 1 },
        /* Texts. */
        { "\"", 1 },
        { "\"a", 2 },
        { "\"a\nb\"", 2 },
        { "\"\t\"", 1 },
        { "\"\\", 1 },
        { "\"\\\"", 3 },
        { "\"\\x41\"", 1 },
        { "\"\\a\"", 1 },
        { "\"\\u12\"", 1 },
        { "\"\\u123g\"", 1 },
        { "\"\\U0041\"", 1 },
        { "\"\\ud800\"", 1 },
        { "\"\\udc00\"", 1 },
        { "\"\\ud800\\n\"", 1 },
        { "\"\\ud800\\u0041\"", 1 },
        { "\"\\ud800\\ud800\"", 1 },
        { "\"\\ud800\\udc0", 1 },
        { "\"\x80\"", 1 },
        { "\"\xbf\"", 1 },
        { "\"a\xc0\x80\"", 2 },
        { "\"\xc1\xbf\"", 1 },
        { "\"\xc2\"", 1 },
        { "\"\xc2", 1 },
        { "\"\xe0\x9f\xbf\"", 1 },
        { "\"\xe1\x80\"", 1 },
        { "\"\xed\xa0\x80\"", 1 },
        { "\"\xed\xbf\xbf\"", 1 },
        { "\"\xf0\x8f\xbf\xbf\"", 1 },
        { "\"\xf0\x90\x80\"", 1 },
        { "\"\xf4\x90\x80\x80\"", 1 },
        { "\"\xf5\x80\x80\x80\"", 1 },
        { "\"\xff\"", 1 },
        /* Keys twice, however they are written. */
        { "{\"a\":1,\"a\":1}", 7 },
        { "{\"\":1,\"\":1}", 6 },
        { "{\"a\":1,\"\\u0061\":1}", 7 },
        { "{\"\\u00e9\":1,\"\xc3\xa9\":1}", 12 },
        { "{\"\\uD83D\\uDE00\":1,\"\xf0\x9f\x98\x80\":1}", 18 },
        { "{\"a\":1,\"b\":{\"c\":[]},\"a\":1}", 20 },
        { "[{\"x\":[{\"k\":0,\"l\":0,\"k\":0}]}]", 20 },
        /* Depth. */
        { "[[[[[[[[[[[[[[[[[", 16 },
        { "[[[[[[[[[[[[[[[[{", 16 },
    };
    char tokens[128];

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        tokens_of(cases[i].text, strlen(cases[i].text), tokens, sizeof(tokens));
        if (tokens[strlen(tokens) - 1] != '!' || reader.at != cases[i].at) {
            fail_msg("%s: %s at %zu, not at %zu", cases[i].text, tokens, reader.at, cases[i].at);
        }
    }
    tokens_of("[\"\0\"]", 5, tokens, sizeof(tokens));
    assert_string_equal(tokens, "[!");
    assert_int_equal(reader.at, 2);
    tokens_of("1\0", 2, tokens, sizeof(tokens));
    assert_string_equal(tokens, "n!");
}

/* However much of a text is missing at its end, it is an error. */
static void test_read_cut_off(void **state)
{
    static const char whole[] = "{\"a\":[1.5e+3,-2,\"\\u00e9\\ud83d\\ude00\xe2\x82\xac\"],"
                                "\"b\":{\"c\":true,\"d\":null},\"e\":{}}";
    char tokens[64];

    (void)state;
    tokens_of(whole, sizeof(whole) - 1, tokens, sizeof(tokens));
    assert_string_equal(tokens, "{k[nnt]k{k1kz}k{}}E");
    for (size_t n = 0; n < sizeof(whole) - 1; n++) {
        tokens_of(whole, n, tokens, sizeof(tokens));
        assert_int_equal(tokens[strlen(tokens) - 1], '!');
    }
}

static void test_read_many_keys(void **state)
{
    char *s = malloc(JSON_MAX_KEYS * 16 + 64);
    size_t n = 0;

    (void)state;
    assert_non_null(s);
    /* As many as can be told apart, beside those of objects that have ended. */
    n += (size_t)sprintf(s + n, "{\"o\":{\"x\":0,\"y\":0}");
    for (unsigned i = 1; i < JSON_MAX_KEYS; i++) {
        n += (size_t)sprintf(s + n, ",\"k%u\":%u", i, i);
    }
    json_read_begin(&reader, s, n);
    while (json_next(&reader) > JSON_END) {
    }
    assert_int_equal(reader.now, JSON_ERROR);
    assert_int_equal(reader.at, n); /* only its end is missing */
    assert_int_equal(reader.nseen, JSON_MAX_KEYS);

    sprintf(s + n, ",\"one\":0}");
    json_read_begin(&reader, s, strlen(s));
    while (json_next(&reader) > JSON_END) {
    }
    assert_int_equal(reader.now, JSON_ERROR);
    assert_int_equal(reader.at, n + 1);
    assert_string_equal(reader.error, "too many keys in one object");
    free(s);
}

/* ---- the reader: values ---------------------------------------------------------------------- */

static void read_one(const char *s)
{
    json_read_begin(&reader, s, strlen(s));
    (void)json_next(&reader);
}

static void test_read_numbers(void **state)
{
    static const struct {
        const char *text;
        mm_err_t err;
        uint64_t v;
    } cases[] = {
        { "0", MM_OK, 0 },
        { "9007199254740993", MM_OK, UINT64_C(9007199254740993) }, /* 2^53 + 1 */
        { "18446744073709551615", MM_OK, UINT64_MAX },
        { "18446744073709551616", MM_ELIMIT, 0 },
        { "99999999999999999999999", MM_ELIMIT, 0 },
        { "-1", MM_EINVAL, 0 },
        { "-0", MM_EINVAL, 0 },
        { "1.0", MM_EINVAL, 0 },
        { "1e3", MM_EINVAL, 0 },
        { "99999999999999999999999.0", MM_EINVAL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        uint64_t v = 0;

        read_one(cases[i].text);
        assert_int_equal(reader.now, JSON_NUMBER);
        assert_int_equal(json_u64(&reader, &v), cases[i].err);
        assert_int_equal(v, cases[i].v);
    }
}

static void test_read_hex(void **state)
{
    static const struct {
        const char *text;
        mm_err_t err;
        uint64_t v;
    } cases[] = {
        { "\"0x0\"", MM_OK, 0 },
        { "\"0x00000000000000ff\"", MM_OK, 255 },
        { "\"0xfFfFfFfFfFfFfFfF\"", MM_OK, UINT64_MAX },
        { "\"0x123456789abcdef0\"", MM_OK, UINT64_C(0x123456789abcdef0) },
        { "\"0x00000000000000000\"", MM_EINVAL, 0 },
        { "\"0x\"", MM_EINVAL, 0 },
        { "\"\"", MM_EINVAL, 0 },
        { "\"0X1\"", MM_EINVAL, 0 },
        { "\"12\"", MM_EINVAL, 0 },
        { "\"0x1g\"", MM_EINVAL, 0 },
        { "\" 0x1\"", MM_EINVAL, 0 },
        { "\"0x\\u0031\"", MM_EINVAL, 0 },
    };

    (void)state;
    for (size_t i = 0; i < MM_COUNTOF(cases); i++) {
        uint64_t v = 0;

        read_one(cases[i].text);
        assert_int_equal(json_hex(&reader, &v), cases[i].err);
        assert_int_equal(v, cases[i].v);
    }
}

static void test_read_texts(void **state)
{
    char buf[32];
    size_t len = 99;

    (void)state;
    read_one("\"a\\u00e9\\ud83d\\ude00\\n\xe2\x82\xac\\/\"");
    assert_int_equal(json_text(&reader, buf, sizeof(buf), &len), MM_OK);
    assert_string_equal(buf, "a\xc3\xa9\xf0\x9f\x98\x80\n\xe2\x82\xac/");
    assert_int_equal(len, 12);
    assert_true(json_is(&reader, buf));
    assert_false(json_is(&reader, "a"));
    assert_false(json_is(&reader, "a\xc3\xa9\xf0\x9f\x98\x80\n\xe2\x82\xac/ "));
    assert_int_equal(json_text(&reader, buf, 13, &len), MM_OK);
    assert_int_equal(json_text(&reader, buf, 12, &len), MM_ENOSPC);
    assert_int_equal(json_text(&reader, buf, 3, &len), MM_ENOSPC);

    read_one("\"\"");
    assert_int_equal(json_text(&reader, buf, 1, &len), MM_OK);
    assert_int_equal(len, 0);
    assert_int_equal(json_text(&reader, buf, 0, &len), MM_ENOSPC);
    assert_true(json_is(&reader, ""));

    read_one("\"a\\u0000b\"");
    assert_int_equal(json_text(&reader, buf, sizeof(buf), &len), MM_EINVAL);
    assert_false(json_is(&reader, "a"));
}

static void test_skip(void **state)
{
    static const char s[] = "{\"a\":[1,{\"b\":[]},\"]\"],\"c\":2,\"d\":{\"e\":{}}}";

    (void)state;
    json_read_begin(&reader, s, sizeof(s) - 1);
    assert_int_equal(json_next(&reader), JSON_OBJECT);
    assert_int_equal(json_next(&reader), JSON_KEY);
    assert_true(json_is(&reader, "a"));
    assert_true(json_skip(&reader)); /* from a key */
    assert_int_equal(json_next(&reader), JSON_KEY);
    assert_true(json_is(&reader, "c"));
    assert_int_equal(json_next(&reader), JSON_NUMBER);
    assert_true(json_skip(&reader)); /* from a value that is complete */
    assert_int_equal(json_next(&reader), JSON_KEY);
    assert_int_equal(json_next(&reader), JSON_OBJECT);
    assert_true(json_skip(&reader)); /* from the beginning of one */
    assert_int_equal(json_next(&reader), JSON_OBJECT_END);
    assert_int_equal(json_next(&reader), JSON_END);

    /* What is skipped is checked. */
    read_one("[[1,{\"a\":0,\"a\":0}]]");
    assert_false(json_skip(&reader));
    assert_int_equal(reader.at, 11);
    assert_int_equal(json_next(&reader), JSON_ERROR);
}

static void test_refuse_and_line(void **state)
{
    static const char s[] = "[1,\n\n  2,\n3]";

    (void)state;
    json_read_begin(&reader, s, sizeof(s) - 1);
    for (unsigned i = 0; i < 3; i++) {
        (void)json_next(&reader);
    }
    assert_int_equal(reader.at, 7);
    assert_int_equal(json_line(&reader, reader.at), 3);
    assert_int_equal(json_line(&reader, 0), 1);
    assert_int_equal(json_line(&reader, sizeof(s) - 1), 4);
    json_refuse(&reader, "an odd number is wanted");
    json_refuse(&reader, "the first refusal counts");
    assert_int_equal(json_next(&reader), JSON_ERROR);
    assert_string_equal(reader.error, "an odd number is wanted");
    assert_int_equal(reader.at, 7);
}

/* Texts of random bytes come back as they went in, or with U+FFFD where they are not UTF-8. */
static void test_round_trip_of_texts(void **state)
{
    struct host_rng rng = host_rng_make("json texts");
    static const char *const pieces[] = {
        "a",    "\"",       "\\", "\n",  "\x01", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
        "\xff", "\xe2\x82", "/",  "\x7f"
    };

    (void)state;
    for (unsigned round = 0; round < 20000; round++) {
        char in[64] = "";
        char once[256];
        char twice[256];
        size_t len;
        unsigned npieces = (unsigned)host_rng_below(&rng, 12);

        for (unsigned i = 0; i < npieces; i++) {
            strcat(in, pieces[host_rng_below(&rng, MM_COUNTOF(pieces))]);
        }
        json_put_text(begin(JSON_LINE), in);
        json_write_end(&writer);
        json_read_begin(&reader, out, text.len);
        assert_int_equal(json_next(&reader), JSON_TEXT);
        assert_int_equal(json_text(&reader, once, sizeof(once), &len), MM_OK);
        assert_int_equal(json_next(&reader), JSON_END);
        if (strstr(once, "\xef\xbf\xbd") == NULL) {
            assert_string_equal(once, in);
        }
        json_put_text(begin(JSON_LINE), once);
        json_write_end(&writer);
        json_read_begin(&reader, out, text.len);
        assert_int_equal(json_next(&reader), JSON_TEXT);
        assert_int_equal(json_text(&reader, twice, sizeof(twice), &len), MM_OK);
        assert_string_equal(twice, once);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_write_line),      cmocka_unit_test(test_write_pretty),
        cmocka_unit_test(test_write_texts),     cmocka_unit_test(test_write_deaths),
        cmocka_unit_test(test_read_good),       cmocka_unit_test(test_read_bad),
        cmocka_unit_test(test_read_cut_off),    cmocka_unit_test(test_read_many_keys),
        cmocka_unit_test(test_read_numbers),    cmocka_unit_test(test_read_hex),
        cmocka_unit_test(test_read_texts),      cmocka_unit_test(test_skip),
        cmocka_unit_test(test_refuse_and_line), cmocka_unit_test(test_round_trip_of_texts),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
