/*
 * json.h - JSON, written into a sink and read from a buffer.
 *
 * Model:    the writer is told what comes next and puts commas, quotes, escapes and indentation;
 *           the same calls give the same bytes. The reader hands out one token a call, in the
 *           order of the text, and is as strict as RFC 8259 with RFC 3629 (UTF-8) and RFC 7493's
 *           rule that no object has a key twice: what it accepts, every other reader accepts, and
 *           means the same by it. There is no tree, and no floating point.
 *
 * Locking:  none; a writer or reader has one owner at a time. Any context.
 *
 * Memory:   nothing is allocated, nothing recurses. Writer and reader are structs of the caller's;
 *           the text that is read is borrowed for as long as the reader is used.
 *
 * Sources:  RFC 8259 (the grammar, chapters 2 to 8), RFC 3629 chapter 4 (well-formed UTF-8), RFC
 *           7493 2.1 and 2.3 (whole surrogate pairs, unique keys).
 */
#ifndef MM_JSON_H
#define MM_JSON_H

#include "mm/sink.h"

/* Objects and arrays inside each other, in what is written or read. */
#define JSON_MAX_DEPTH 16

/* Keys that the reader can tell apart: those of one object, together with those of the objects that
 * it lies in. */
#define JSON_MAX_KEYS 256

/* ---- writing --------------------------------------------------------------------------------- */

enum json_style {
    JSON_LINE,   /* all in one line, without a blank: a line of a JSON Lines file */
    JSON_PRETTY, /* indented; objects begun with json_begin_row() take a line each */
};

struct json_writer {
    const struct mm_sink *to;
    enum json_style style;
    uint32_t depth;
    uint32_t arrays;   /* bit n: the container at depth n + 1 is an array */
    uint32_t row;      /* depth of the row that is being written, 0 outside of rows */
    bool is_first;     /* nothing is in the current container yet */
    bool is_after_key; /* a value must come next */
};

/* Begin a text in `to`, which must outlive the writer. One value follows. */
void json_write_begin(struct json_writer *w, const struct mm_sink *to, enum json_style style);

/* End the text with a line feed. All that was begun must have been ended. */
void json_write_end(struct json_writer *w);

/*
 * Containers. What is begun is ended in the reverse order; at most JSON_MAX_DEPTH are open at once.
 * A row is an object that stays in one line even where the style is pretty, with all that is in it.
 * Inside an object each value is preceded by json_key(); the caller sees to it that no key comes
 * twice. A value where a key must be, or the reverse, is a bug of the caller's and asserted.
 */
void json_begin_object(struct json_writer *w);
void json_begin_row(struct json_writer *w);
void json_end_object(struct json_writer *w);
void json_begin_array(struct json_writer *w);
void json_end_array(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);

/*
 * Values. A text may hold any bytes: control characters are escaped, and each byte that is not part
 * of well-formed UTF-8 becomes U+FFFD. json_put_text(NULL) writes null.
 */
void json_put_text(struct json_writer *w, const char *s);
void json_put_bytes(struct json_writer *w, const char *s, size_t n); /* text of `n` bytes */
void json_put_u64(struct json_writer *w, uint64_t v);
void json_put_bool(struct json_writer *w, bool v);
void json_put_null(struct json_writer *w);

/* A text of "0x" and exactly `ndigits` lower-case digits, or as many as `v` needs if those are
 * more: addresses, which as numbers would lose their low bits in readers that keep numbers as
 * doubles. */
void json_put_hex(struct json_writer *w, uint64_t v, size_t ndigits);

/* A text of two lower-case digits a byte, without a prefix: contents of memory. */
void json_put_dump(struct json_writer *w, const void *bytes, size_t n);

/* ---- reading --------------------------------------------------------------------------------- */

enum json_token {
    JSON_ERROR, /* r->error says what, and r->at where; every later call gives it again */
    JSON_END,   /* the one value is complete, and only white space is behind it */
    JSON_OBJECT,
    JSON_OBJECT_END,
    JSON_ARRAY,
    JSON_ARRAY_END,
    JSON_KEY, /* then the tokens of its value */
    JSON_TEXT,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
};

/* A key of an object that is still open. */
struct json_seen {
    uint64_t hash; /* of the key with its escapes undone */
    size_t at;     /* of its first character */
    size_t nbytes;
};

struct json_reader {
    const char *text;
    size_t nbytes;
    size_t next; /* where the next token is looked for */

    /* The last token: */
    size_t at;         /* offset of its first byte; of the damage after JSON_ERROR */
    const char *raw;   /* KEY, TEXT: what is between the quotes, escapes and all; NUMBER: itself */
    size_t raw_bytes;  /* of it */
    bool is_plain;     /* KEY, TEXT: there are no escapes in it */
    const char *error; /* after JSON_ERROR: what is wrong, a phrase; NULL before */
    enum json_token now; /* what the last call returned */

    uint32_t depth;
    uint32_t arrays;                      /* bit n: the container at depth n + 1 is an array */
    uint32_t expect;                      /* enum expect of json.c */
    uint32_t nseen;                       /* keys noted */
    uint32_t seen_before[JSON_MAX_DEPTH]; /* of them, those noted before the container at that depth
                                             was opened */
    struct json_seen seen[JSON_MAX_KEYS];
};

/* Begin to read `nbytes` at `text`, any bytes at all. A byte order mark is an error. */
void json_read_begin(struct json_reader *r, const char *text, size_t nbytes);

/* The next token. O(its length), for a key also O(keys of its object). */
enum json_token json_next(struct json_reader *r);

/*
 * Step over the value of which the last token was the beginning; after JSON_KEY, over the key's
 * value. Everything in it is checked as if it were read. False after an error.
 */
bool json_skip(struct json_reader *r);

/* Is the last token, a KEY or TEXT, this text? Compared with escapes undone. */
bool json_is(const struct json_reader *r, const char *text);

/*
 * The last token, a KEY or TEXT, with escapes undone and a NUL at the end. `*len` is the length
 * without the NUL. r->raw_bytes + 1 bytes always do.
 * Errors: MM_EINVAL if there is a U+0000 inside; MM_ENOSPC if `size` is too small.
 */
MM_MUST_CHECK mm_err_t json_text(const struct json_reader *r, char *buf, size_t size, size_t *len);

/*
 * The last token, a NUMBER, as a whole number without sign, exactly.
 * Errors: MM_EINVAL if it has a sign, a fraction or an exponent; MM_ELIMIT if it is too large.
 */
MM_MUST_CHECK mm_err_t json_u64(const struct json_reader *r, uint64_t *v);

/*
 * The last token, a TEXT of "0x" and 1 to 16 digits, as json_put_hex() writes it.
 * Errors: MM_EINVAL if it is anything else.
 */
MM_MUST_CHECK mm_err_t json_hex(const struct json_reader *r, uint64_t *v);

/* Bytes of the UTF-8 character at `s`, of which `n` > 0 may be read; 0 if it is not well formed. */
size_t json_char_bytes(const char *s, size_t n);

/* The value of a hexadecimal digit, or -1. */
int json_digit(char c);

/* Make the last token an error of the caller's: what json_next() returns from now on. */
void json_refuse(struct json_reader *r, const char *error);

/* The line, from 1, of the byte at offset `at`. O(at). */
uint64_t json_line(const struct json_reader *r, size_t at);

#endif
