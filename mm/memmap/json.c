/*
 * json.c - the grammar of RFC 8259, once from the inside and once from the outside.
 *
 * The reader is a machine with one state (what may come next) and one bit for each open container
 * (object or array), so depth costs no stack and a hostile text costs no more than its length. Keys
 * of the objects that are open form a stack: an object that ends takes its keys with it. They are
 * compared by hash first, and by their text, escapes undone, only where the hashes agree.
 *
 * Rejected: a tree of values (it needs memory in proportion to the text, and what reads a report
 * knows which value it wants next); leaving doubled keys to whoever reads (one reader takes the
 * first, another the last: a report would mean two things); rescanning the object for each key
 * (quadratic in a text from outside).
 *
 * Invariants of the reader:
 *  J1  next <= nbytes, and everything before `next` is well formed
 *  J2  depth <= JSON_MAX_DEPTH, nseen <= JSON_MAX_KEYS, and the keys of the innermost open
 *      container begin at seen_before[depth - 1] <= nseen
 *  J3  once `error` is set nothing changes any more
 */
#include "mm/json.h"

#include "mm/port.h"

/* What may come next. */
enum expect {
    EXPECT_VALUE,
    EXPECT_VALUE_OR_END, /* behind "[" */
    EXPECT_KEY_OR_END,   /* behind "{" */
    EXPECT_COMMA_OR_END, /* behind a value in a container */
    EXPECT_NOTHING,      /* behind the one value of the text */
};

#define INDENT 2

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* ---- UTF-8 ----------------------------------------------------------------------------------- */

/* RFC 3629 chapter 4: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t json_char_bytes(const char *s, size_t n)
{
    unsigned char c = (unsigned char)s[0];
    unsigned char low = 0x80; /* the range of the second byte */
    unsigned char high = 0xbf;
    size_t len = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;

    if (c < 0x80) {
        return 1;
    }
    if (c < 0xc2 || c > 0xf4 || n < len) {
        return 0;
    }
    switch (c) {
    case 0xe0:
        low = 0xa0;
        break;
    case 0xed:
        high = 0x9f;
        break;
    case 0xf0:
        low = 0x90;
        break;
    case 0xf4:
        high = 0x8f;
        break;
    default:
        break;
    }
    if ((unsigned char)s[1] < low || (unsigned char)s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < len; i++) {
        if (((unsigned char)s[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return len;
}

/* `c`, a Unicode scalar value, as UTF-8; returns how many bytes it has. */
static size_t utf8_put(uint32_t c, char out[4])
{
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        out[0] = (char)(0xc0 | c >> 6);
        out[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        out[0] = (char)(0xe0 | c >> 12);
        out[1] = (char)(0x80 | (c >> 6 & 0x3f));
        out[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | c >> 18);
    out[1] = (char)(0x80 | (c >> 12 & 0x3f));
    out[2] = (char)(0x80 | (c >> 6 & 0x3f));
    out[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* ---- writing --------------------------------------------------------------------------------- */

static bool in_array(const struct json_writer *w)
{
    return w->depth > 0 && (w->arrays >> (w->depth - 1) & 1) != 0;
}

/* Are line feeds and blanks to be put? */
static bool is_spread(const struct json_writer *w)
{
    return w->style == JSON_PRETTY && w->row == 0;
}

static void new_line(struct json_writer *w)
{
    mm_put_char(w->to, '\n');
    mm_put_fill(w->to, ' ', (size_t)w->depth * INDENT);
}

/* The comma before an element or key that is not the first, and its place. */
static void separate(struct json_writer *w)
{
    if (!w->is_first) {
        mm_put_char(w->to, ',');
    }
    if (is_spread(w)) {
        new_line(w);
    } else if (!w->is_first && w->style == JSON_PRETTY) {
        mm_put_char(w->to, ' ');
    }
    w->is_first = false;
}

/* What goes before a value. */
static void begin_value(struct json_writer *w)
{
    MM_ASSERT(w->is_after_key || in_array(w) || (w->depth == 0 && w->is_first));
    if (w->is_after_key) {
        w->is_after_key = false;
    } else if (w->depth > 0) {
        separate(w);
    } else {
        w->is_first = false;
    }
}

static void begin_container(struct json_writer *w, char c, bool is_array)
{
    MM_ASSERT(w->depth < JSON_MAX_DEPTH);
    begin_value(w);
    mm_put_char(w->to, c);
    w->arrays &= ~(UINT32_C(1) << w->depth);
    w->arrays |= (uint32_t)is_array << w->depth;
    w->depth++;
    w->is_first = true;
}

static void end_container(struct json_writer *w, char c, bool is_array)
{
    MM_ASSERT(w->depth > 0 && in_array(w) == is_array && !w->is_after_key);
    bool is_empty = w->is_first;

    w->depth--;
    w->is_first = false;
    if (!is_empty && is_spread(w)) {
        new_line(w);
    }
    if (w->row > w->depth) {
        w->row = 0;
    }
    mm_put_char(w->to, c);
}

static void put_escaped(struct json_writer *w, char c)
{
    static const char shorts[] = {
        ['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r', ['"'] = '"'
    };
    unsigned char u = (unsigned char)c;

    mm_put_char(w->to, '\\');
    if (c == '\\') {
        mm_put_char(w->to, c);
    } else if (shorts[u] != '\0') {
        mm_put_char(w->to, shorts[u]);
    } else {
        char code[5] = { 'u', '0', '0', (char)('0' + (u >> 4)), "0123456789abcdef"[u & 15] };

        mm_put(w->to, code, sizeof(code));
    }
}

/* Runs that need no escape go to the sink as they are. */
static void put_quoted(struct json_writer *w, const char *s, size_t n)
{
    size_t done = 0;
    size_t i = 0;

    mm_put_char(w->to, '"');
    while (i < n) {
        size_t len = json_char_bytes(s + i, n - i);
        bool is_plain =
            len > 1 || (len == 1 && (unsigned char)s[i] >= ' ' && s[i] != '"' && s[i] != '\\');

        if (is_plain) {
            i += len;
            continue;
        }
        mm_put(w->to, s + done, i - done);
        if (len == 0) {
            mm_put_str(w->to, "\xef\xbf\xbd"); /* U+FFFD */
        } else {
            put_escaped(w, s[i]);
        }
        done = ++i;
    }
    mm_put(w->to, s + done, n - done);
    mm_put_char(w->to, '"');
}

void json_write_begin(struct json_writer *w, const struct mm_sink *to, enum json_style style)
{
    *w = (struct json_writer){ .to = to, .style = style, .is_first = true };
}

void json_write_end(struct json_writer *w)
{
    MM_ASSERT(w->depth == 0 && !w->is_first);
    mm_put_char(w->to, '\n');
}

void json_begin_object(struct json_writer *w)
{
    begin_container(w, '{', false);
}

void json_begin_row(struct json_writer *w)
{
    begin_container(w, '{', false);
    if (w->row == 0) {
        w->row = w->depth;
    }
}

void json_end_object(struct json_writer *w)
{
    end_container(w, '}', false);
}

void json_begin_array(struct json_writer *w)
{
    begin_container(w, '[', true);
}

void json_end_array(struct json_writer *w)
{
    end_container(w, ']', true);
}

void json_key(struct json_writer *w, const char *key)
{
    MM_ASSERT(w->depth > 0 && !in_array(w) && !w->is_after_key);
    separate(w);
    put_quoted(w, key, mm_length(key));
    mm_put_char(w->to, ':');
    if (w->style == JSON_PRETTY) {
        mm_put_char(w->to, ' ');
    }
    w->is_after_key = true;
}

void json_put_text(struct json_writer *w, const char *s)
{
    if (s == NULL) {
        json_put_null(w);
    } else {
        json_put_bytes(w, s, mm_length(s));
    }
}

void json_put_bytes(struct json_writer *w, const char *s, size_t n)
{
    begin_value(w);
    put_quoted(w, s, n);
}

void json_put_u64(struct json_writer *w, uint64_t v)
{
    begin_value(w);
    mm_put_u64(w->to, v, 0);
}

void json_put_bool(struct json_writer *w, bool v)
{
    begin_value(w);
    mm_put_str(w->to, v ? "true" : "false");
}

void json_put_null(struct json_writer *w)
{
    begin_value(w);
    mm_put_str(w->to, "null");
}

void json_put_hex(struct json_writer *w, uint64_t v, size_t ndigits)
{
    begin_value(w);
    mm_put_char(w->to, '"');
    mm_put_hex(w->to, v, ndigits);
    mm_put_char(w->to, '"');
}

void json_put_dump(struct json_writer *w, const void *bytes, size_t n)
{
    const unsigned char *b = bytes;
    char digits[64]; /* in pieces, for sinks that are slow per call */
    size_t ndigits = 0;

    begin_value(w);
    mm_put_char(w->to, '"');
    for (size_t i = 0; i < n; i++) {
        digits[ndigits++] = "0123456789abcdef"[b[i] >> 4];
        digits[ndigits++] = "0123456789abcdef"[b[i] & 15];
        if (ndigits == sizeof(digits) || i == n - 1) {
            mm_put(w->to, digits, ndigits);
            ndigits = 0;
        }
    }
    mm_put_char(w->to, '"');
}

/* ---- reading: texts -------------------------------------------------------------------------- */

/* The four digits of a \u escape at `s`, of which `n` bytes may be read; -1 if there are not. */
static int32_t unit_of(const char *s, size_t n)
{
    int32_t unit = 0;

    if (n < 4) {
        return -1;
    }
    for (size_t i = 0; i < 4; i++) {
        int digit = json_digit(s[i]);

        if (digit < 0) {
            return -1;
        }
        unit = unit * 16 + digit;
    }
    return unit;
}

/*
 * The character that the escape at `s` stands for, "\" first; `n` bytes may be read. `*nbytes` is
 * how many of them it takes. -1 if it is none, or half of a surrogate pair.
 */
static int32_t escape_of(const char *s, size_t n, size_t *nbytes)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";

    *nbytes = 2;
    if (n < 2) {
        return -1;
    }
    for (size_t i = 0; i < sizeof(from) - 1; i++) {
        if (s[1] == from[i]) {
            return to[i];
        }
    }
    int32_t unit = s[1] == 'u' ? unit_of(s + 2, n - 2) : -1;

    *nbytes = 6;
    if (unit < 0xd800 || unit > 0xdfff) {
        return unit;
    }
    if (unit > 0xdbff || n < 12 || s[6] != '\\' || s[7] != 'u') {
        return -1;
    }
    int32_t second = unit_of(s + 8, n - 8);

    *nbytes = 12;
    return second < 0xdc00 || second > 0xdfff
               ? -1
               : 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
}

/* A text of the reader's, known to be well formed, character by character with escapes undone. */
struct decode {
    const char *s;
    size_t left;
    char c[4];
    size_t len; /* bytes in `c` */
};

/* False at the end. */
static bool decode_next(struct decode *d)
{
    size_t nbytes = 1;

    if (d->left == 0) {
        return false;
    }
    if (d->s[0] == '\\') {
        d->len = utf8_put((uint32_t)escape_of(d->s, d->left, &nbytes), d->c);
    } else {
        d->c[0] = d->s[0];
        d->len = 1;
    }
    d->s += nbytes;
    d->left -= nbytes;
    return true;
}

/* FNV-1a, of the text with escapes undone. */
static uint64_t hash_of(const char *s, size_t n)
{
    struct decode d = { .s = s, .left = n };
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    while (decode_next(&d)) {
        for (size_t i = 0; i < d.len; i++) {
            hash = (hash ^ (unsigned char)d.c[i]) * UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

/* Do the two mean the same? */
static bool same_text(const char *a, size_t an, const char *b, size_t bn)
{
    struct decode da = { .s = a, .left = an };
    struct decode db = { .s = b, .left = bn };
    size_t ia = 0; /* bytes of the current character that have been compared */
    size_t ib = 0;

    for (;;) {
        if (ia == da.len) {
            da.len = 0;
            ia = 0;
        }
        if (ib == db.len) {
            db.len = 0;
            ib = 0;
        }
        bool more_a = da.len > 0 || decode_next(&da);
        bool more_b = db.len > 0 || decode_next(&db);

        if (!more_a || !more_b) {
            return more_a == more_b;
        }
        if (da.c[ia++] != db.c[ib++]) {
            return false;
        }
    }
}

/* ---- reading: tokens ------------------------------------------------------------------------- */

static enum json_token fail(struct json_reader *r, size_t at, const char *error)
{
    r->at = at;
    r->error = error;
    r->now = JSON_ERROR;
    return JSON_ERROR;
}

static enum json_token fail_at_end(struct json_reader *r)
{
    return fail(r, r->nbytes, "the text ends too early");
}

static void skip_blanks(struct json_reader *r)
{
    while (r->next < r->nbytes) {
        char c = r->text[r->next];

        if (c != ' ' && c != '\n' && c != '\r' && c != '\t') {
            break;
        }
        r->next++;
    }
}

/* What comes behind a complete value. */
static void value_done(struct json_reader *r)
{
    r->expect = r->depth == 0 ? EXPECT_NOTHING : EXPECT_COMMA_OR_END;
}

static bool in_array_now(const struct json_reader *r)
{
    return r->depth > 0 && (r->arrays >> (r->depth - 1) & 1) != 0;
}

static enum json_token open_container(struct json_reader *r, bool is_array)
{
    if (r->depth == JSON_MAX_DEPTH) {
        return fail(r, r->next, "too many objects and arrays inside each other");
    }
    r->arrays &= ~(UINT32_C(1) << r->depth);
    r->arrays |= (uint32_t)is_array << r->depth;
    r->seen_before[r->depth++] = r->nseen;
    r->next++;
    r->expect = is_array ? EXPECT_VALUE_OR_END : EXPECT_KEY_OR_END;
    return is_array ? JSON_ARRAY : JSON_OBJECT;
}

static enum json_token close_container(struct json_reader *r)
{
    bool was_array = in_array_now(r);

    r->nseen = r->seen_before[--r->depth];
    r->next++;
    value_done(r);
    return was_array ? JSON_ARRAY_END : JSON_OBJECT_END;
}

/* The text at r->next, which is a quote. False after an error. */
static bool scan_text(struct json_reader *r)
{
    size_t i = r->next + 1;

    r->raw = r->text + i;
    r->is_plain = true;
    while (i < r->nbytes && r->text[i] != '"') {
        size_t len;

        if ((unsigned char)r->text[i] < ' ') {
            fail(r, i, "a control character in a text");
            return false;
        }
        if (r->text[i] == '\\') {
            r->is_plain = false;
            if (escape_of(r->text + i, r->nbytes - i, &len) < 0) {
                fail(r, i, "an escape that stands for no character");
                return false;
            }
        } else {
            len = json_char_bytes(r->text + i, r->nbytes - i);
            if (len == 0) {
                fail(r, i, "not UTF-8");
                return false;
            }
        }
        i += len;
    }
    if (i >= r->nbytes) {
        fail_at_end(r);
        return false;
    }
    r->raw_bytes = (size_t)(r->text + i - r->raw);
    r->next = i + 1;
    return true;
}

/* Note the key that was just read. False, and an error, if its object has it already. */
static bool note_key(struct json_reader *r)
{
    uint64_t hash = hash_of(r->raw, r->raw_bytes);

    for (uint32_t i = r->seen_before[r->depth - 1]; i < r->nseen; i++) {
        const struct json_seen *s = &r->seen[i];

        if (s->hash == hash && same_text(r->text + s->at, s->nbytes, r->raw, r->raw_bytes)) {
            fail(r, r->at, "a key for the second time in its object");
            return false;
        }
    }
    if (r->nseen == JSON_MAX_KEYS) {
        fail(r, r->at, "too many keys in one object");
        return false;
    }
    r->seen[r->nseen++] = (struct json_seen){ hash, (size_t)(r->raw - r->text), r->raw_bytes };
    return true;
}

static enum json_token read_key(struct json_reader *r)
{
    if (r->text[r->next] != '"') {
        return fail(r, r->next, "a key in quotes is missing");
    }
    if (!scan_text(r) || !note_key(r)) {
        return JSON_ERROR;
    }
    skip_blanks(r);
    if (r->next == r->nbytes) {
        return fail_at_end(r);
    }
    if (r->text[r->next] != ':') {
        return fail(r, r->next, "the colon behind a key is missing");
    }
    r->next++;
    r->expect = EXPECT_VALUE;
    return JSON_KEY;
}

/* Digits from `i`, at least one; returns where they end, or 0 after an error. */
static size_t scan_digits(struct json_reader *r, size_t i)
{
    size_t start = i;

    while (i < r->nbytes && is_digit(r->text[i])) {
        i++;
    }
    if (i > start) {
        return i;
    }
    if (i == r->nbytes) {
        fail_at_end(r);
    } else {
        fail(r, i, "a digit is missing");
    }
    return 0;
}

static enum json_token read_number(struct json_reader *r)
{
    size_t i = r->next;
    size_t first;

    i += r->text[i] == '-';
    first = i;
    i = scan_digits(r, i);
    if (i == 0) {
        return JSON_ERROR;
    }
    if (r->text[first] == '0' && i > first + 1) {
        return fail(r, first, "a number that begins with 0");
    }
    if (i < r->nbytes && r->text[i] == '.') {
        i = scan_digits(r, i + 1);
        if (i == 0) {
            return JSON_ERROR;
        }
    }
    if (i < r->nbytes && (r->text[i] == 'e' || r->text[i] == 'E')) {
        i++;
        i += i < r->nbytes && (r->text[i] == '+' || r->text[i] == '-');
        i = scan_digits(r, i);
        if (i == 0) {
            return JSON_ERROR;
        }
    }
    r->raw = r->text + r->next;
    r->raw_bytes = i - r->next;
    r->next = i;
    value_done(r);
    return JSON_NUMBER;
}

static enum json_token read_word(struct json_reader *r, const char *word, enum json_token token)
{
    for (size_t i = 0; word[i] != '\0'; i++) {
        if (r->next + i == r->nbytes) {
            return fail_at_end(r);
        }
        if (r->text[r->next + i] != word[i]) {
            return fail(r, r->next, "no value; texts go in quotes");
        }
    }
    r->next += mm_length(word);
    value_done(r);
    return token;
}

static enum json_token read_value(struct json_reader *r)
{
    char c = r->text[r->next];

    switch (c) {
    case '{':
        return open_container(r, false);
    case '[':
        return open_container(r, true);
    case '"':
        if (!scan_text(r)) {
            return JSON_ERROR;
        }
        value_done(r);
        return JSON_TEXT;
    case 't':
        return read_word(r, "true", JSON_TRUE);
    case 'f':
        return read_word(r, "false", JSON_FALSE);
    case 'n':
        return read_word(r, "null", JSON_NULL);
    default:
        return c == '-' || is_digit(c) ? read_number(r) : fail(r, r->next, "a value is missing");
    }
}

/* The token at r->next, which is no blank. */
static enum json_token read_token(struct json_reader *r)
{
    bool is_array = in_array_now(r);
    bool closes = r->depth > 0 && r->text[r->next] == (is_array ? ']' : '}');

    r->at = r->next;
    switch ((enum expect)r->expect) {
    case EXPECT_VALUE:
        return read_value(r);
    case EXPECT_VALUE_OR_END:
        return closes ? close_container(r) : read_value(r);
    case EXPECT_KEY_OR_END:
        return closes ? close_container(r) : read_key(r);
    case EXPECT_COMMA_OR_END:
        if (closes) {
            return close_container(r);
        }
        if (r->text[r->next] != ',') {
            return fail(r, r->next,
                        is_array ? "neither a comma nor the end of an array"
                                 : "neither a comma nor the end of an object");
        }
        r->next++;
        skip_blanks(r);
        if (r->next == r->nbytes) {
            return fail_at_end(r);
        }
        r->at = r->next;
        return is_array ? read_value(r) : read_key(r);
    case EXPECT_NOTHING:
        break;
    }
    return fail(r, r->next, "something follows the end");
}

void json_read_begin(struct json_reader *r, const char *text, size_t nbytes)
{
    r->text = text;
    r->nbytes = nbytes;
    r->next = 0;
    r->at = 0;
    r->raw = NULL;
    r->raw_bytes = 0;
    r->is_plain = true;
    r->error = NULL;
    r->now = JSON_NULL;
    r->depth = 0;
    r->arrays = 0;
    r->expect = EXPECT_VALUE;
    r->nseen = 0;
}

enum json_token json_next(struct json_reader *r)
{
    if (r->error != NULL) {
        return JSON_ERROR;
    }
    skip_blanks(r);
    if (r->next < r->nbytes) {
        r->now = read_token(r);
    } else if (r->expect == EXPECT_NOTHING) {
        r->at = r->nbytes;
        r->now = JSON_END;
    } else {
        r->now = fail_at_end(r);
    }
    return r->now;
}

bool json_skip(struct json_reader *r)
{
    enum json_token token = r->now == JSON_KEY ? json_next(r) : r->now;

    if (token == JSON_OBJECT || token == JSON_ARRAY) {
        uint32_t outside = r->depth - 1;

        while (r->depth > outside && json_next(r) != JSON_ERROR) {
        }
    }
    return r->error == NULL;
}

bool json_is(const struct json_reader *r, const char *text)
{
    size_t n = mm_length(text);

    MM_ASSERT(r->now == JSON_KEY || r->now == JSON_TEXT);
    if (r->is_plain) {
        return r->raw_bytes == n && __builtin_memcmp(r->raw, text, n) == 0;
    }

    struct decode d = { .s = r->raw, .left = r->raw_bytes };
    size_t i = 0;

    while (decode_next(&d)) {
        for (size_t j = 0; j < d.len; j++, i++) {
            if (i == n || text[i] != d.c[j]) {
                return false;
            }
        }
    }
    return i == n;
}

mm_err_t json_text(const struct json_reader *r, char *buf, size_t size, size_t *len)
{
    struct decode d = { .s = r->raw, .left = r->raw_bytes };
    size_t n = 0;

    MM_ASSERT(r->now == JSON_KEY || r->now == JSON_TEXT);
    while (decode_next(&d)) {
        if (d.c[0] == '\0') {
            return MM_EINVAL;
        }
        if (n + d.len >= size) {
            return MM_ENOSPC;
        }
        __builtin_memcpy(buf + n, d.c, d.len);
        n += d.len;
    }
    if (n >= size) {
        return MM_ENOSPC;
    }
    buf[n] = '\0';
    *len = n;
    return MM_OK;
}

mm_err_t json_u64(const struct json_reader *r, uint64_t *v)
{
    uint64_t sum = 0;
    bool is_too_large = false;

    MM_ASSERT(r->now == JSON_NUMBER);
    for (size_t i = 0; i < r->raw_bytes; i++) {
        if (!is_digit(r->raw[i])) {
            return MM_EINVAL;
        }
        is_too_large = is_too_large || __builtin_mul_overflow(sum, UINT64_C(10), &sum) ||
                       __builtin_add_overflow(sum, (uint64_t)(r->raw[i] - '0'), &sum);
    }
    if (is_too_large) {
        return MM_ELIMIT;
    }
    *v = sum;
    return MM_OK;
}

mm_err_t json_hex(const struct json_reader *r, uint64_t *v)
{
    uint64_t sum = 0;

    MM_ASSERT(r->now == JSON_TEXT);
    if (r->raw_bytes < 3 || r->raw_bytes > 18 || r->raw[0] != '0' || r->raw[1] != 'x') {
        return MM_EINVAL;
    }
    for (size_t i = 2; i < r->raw_bytes; i++) {
        int digit = json_digit(r->raw[i]);

        if (digit < 0) {
            return MM_EINVAL;
        }
        sum = sum << 4 | (uint64_t)digit;
    }
    *v = sum;
    return MM_OK;
}

int json_digit(char c)
{
    if (is_digit(c)) {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

void json_refuse(struct json_reader *r, const char *error)
{
    if (r->error == NULL) {
        fail(r, r->at, error);
    }
}

uint64_t json_line(const struct json_reader *r, size_t at)
{
    uint64_t line = 1;

    for (size_t i = 0; i < at; i++) {
        line += r->text[i] == '\n';
    }
    return line;
}
