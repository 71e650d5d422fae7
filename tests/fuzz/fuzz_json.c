/*
 * fuzz_json.c - any bytes at all as JSON.
 *
 * Checked besides what the sanitizers see: what is refused is refused inside the text and for good;
 * what is taken goes through the writer and the reader again, in both styles, and stays what it is.
 * Good seeds: the reports that `test_report --write DIR` writes.
 */
#include <stdlib.h>
#include <string.h>

#include "mm/json.h"

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_INPUT 16384

/* A text of JSON, made by the writer: indented, a value takes a line; numbers and escapes grow by
 * less. */
struct text {
    char buf[MAX_INPUT * 64 + 64];
    struct mm_text text;
};

static void put_value(struct json_writer *w, const struct json_reader *r)
{
    static char buf[MAX_INPUT * 64 + 64];
    size_t len = 0;
    uint64_t v = 0;
    mm_err_t err;

    switch (r->now) {
    case JSON_KEY:
        /* A key with U+0000 in it cannot be written: its place is taken by one that is as rare. */
        err = json_text(r, buf, r->raw_bytes + 1, &len);
        CHECK(err == MM_OK || err == MM_EINVAL);
        CHECK(err != MM_OK || (json_is(r, buf) && strlen(buf) == len));
        if (err == MM_OK) {
            json_key(w, buf);
        } else {
            char instead[32];
            struct mm_text t;
            struct mm_sink to = mm_text_sink(&t, instead, sizeof(instead));

            mm_put_str(&to, "\x7f\x7f");
            mm_put_u64(&to, r->at, 0);
            json_key(w, instead);
        }
        break;
    case JSON_TEXT:
        err = json_text(r, buf, r->raw_bytes + 1, &len);
        CHECK(err == MM_OK || err == MM_EINVAL);
        if (json_hex(r, &v) == MM_OK) {
            json_put_hex(w, v, 16);
        } else {
            json_put_text(w, err == MM_OK ? buf : "");
        }
        break;
    case JSON_NUMBER:
        err = json_u64(r, &v);
        CHECK(err == MM_OK || err == MM_EINVAL || err == MM_ELIMIT);
        json_put_u64(w, v);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        json_put_bool(w, r->now == JSON_TRUE);
        break;
    default:
        json_put_null(w);
        break;
    }
}

/* Read `s` and write what is in it; false, and nothing is said of `out`, if it is refused. */
static bool rewrite(const char *s, size_t n, enum json_style style, struct text *out)
{
    struct json_reader r;
    struct json_writer w;
    struct mm_sink to = mm_text_sink(&out->text, out->buf, sizeof(out->buf));
    enum json_token t;
    size_t last = 0;

    json_read_begin(&r, s, n);
    json_write_begin(&w, &to, style);
    while ((t = json_next(&r)) > JSON_END) {
        CHECK(r.at >= last && r.at < n && r.next <= n &&
              r.depth == w.depth + (t == JSON_OBJECT) + (t == JSON_ARRAY) - (t == JSON_OBJECT_END) -
                             (t == JSON_ARRAY_END));
        last = r.at;
        switch (t) {
        case JSON_OBJECT:
            json_begin_object(&w);
            break;
        case JSON_ARRAY:
            json_begin_array(&w);
            break;
        case JSON_OBJECT_END:
            json_end_object(&w);
            break;
        case JSON_ARRAY_END:
            json_end_array(&w);
            break;
        default:
            put_value(&w, &r);
            break;
        }
    }
    CHECK(json_next(&r) == t);
    CHECK((t == JSON_ERROR) == (r.error != NULL) && r.at <= n);
    CHECK(json_line(&r, r.at) >= 1);
    if (t == JSON_END) {
        json_write_end(&w);
        CHECK(out->text.len < sizeof(out->buf));
    }
    return t == JSON_END;
}

static bool skips(const char *s, size_t n)
{
    struct json_reader r;

    json_read_begin(&r, s, n);
    return json_next(&r) != JSON_ERROR && json_skip(&r) && json_next(&r) == JSON_END;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct text line;
    static struct text pretty;
    static struct text again;
    char *copy;
    bool is_good;

    if (size > MAX_INPUT) {
        return -1;
    }
    copy = malloc(size + 1); /* a byte too far is seen */
    CHECK(copy != NULL);
    memcpy(copy + 1, data, size);
    is_good = rewrite(copy + 1, size, JSON_LINE, &line);
    CHECK(is_good == skips(copy + 1, size));
    if (is_good) {
        CHECK(memchr(line.buf, '\n', line.text.len) == line.buf + line.text.len - 1);
        CHECK(rewrite(line.buf, line.text.len, JSON_PRETTY, &pretty));
        CHECK(rewrite(pretty.buf, pretty.text.len, JSON_LINE, &again));
        CHECK(again.text.len == line.text.len && memcmp(again.buf, line.buf, line.text.len) == 0);
    }
    free(copy);
    return 0;
}
