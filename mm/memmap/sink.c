/*
 * sink.c - numbers as text, and the sink into a buffer.
 *
 * Each number is made in a small array from its last digit on and handed over in one piece, so that
 * a sink that is slow per call (a console of firmware) is called once a word.
 */
#include "mm/sink.h"

/* Digits of 2^64 - 1, the longest in base 10. */
#define DIGITS_MAX 20

size_t mm_length(const char *s)
{
    size_t n = 0;

    while (s[n] != '\0') {
        n++;
    }
    return n;
}

/* The digits of `v` to the end of `digits`, one at least. Returns where they begin. */
static size_t make_digits(char digits[DIGITS_MAX], uint64_t v, unsigned base)
{
    size_t at = DIGITS_MAX;

    do {
        digits[--at] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    return at;
}

void mm_put(const struct mm_sink *to, const char *s, size_t n)
{
    if (n > 0) {
        to->write(to->ctx, s, n);
    }
}

void mm_put_str(const struct mm_sink *to, const char *s)
{
    mm_put(to, s, mm_length(s));
}

void mm_put_char(const struct mm_sink *to, char c)
{
    mm_put(to, &c, 1);
}

void mm_put_fill(const struct mm_sink *to, char c, size_t n)
{
    char run[32];

    for (size_t i = 0; i < sizeof(run) && i < n; i++) {
        run[i] = c;
    }
    for (; n > sizeof(run); n -= sizeof(run)) {
        mm_put(to, run, sizeof(run));
    }
    mm_put(to, run, n);
}

void mm_put_left(const struct mm_sink *to, const char *s, size_t width)
{
    size_t n = mm_length(s);

    mm_put(to, s, n);
    mm_put_fill(to, ' ', width > n ? width - n : 0);
}

/* `n` characters to the right of a column. */
static void put_right(const struct mm_sink *to, const char *s, size_t n, size_t width)
{
    mm_put_fill(to, ' ', width > n ? width - n : 0);
    mm_put(to, s, n);
}

void mm_put_u64(const struct mm_sink *to, uint64_t v, size_t width)
{
    char digits[DIGITS_MAX];
    size_t at = make_digits(digits, v, 10);

    put_right(to, digits + at, DIGITS_MAX - at, width);
}

void mm_put_hex(const struct mm_sink *to, uint64_t v, size_t ndigits)
{
    char digits[DIGITS_MAX];
    size_t at = make_digits(digits, v, 16);

    mm_put(to, "0x", 2);
    mm_put_fill(to, '0', ndigits > DIGITS_MAX - at ? ndigits - (DIGITS_MAX - at) : 0);
    mm_put(to, digits + at, DIGITS_MAX - at);
}

void mm_put_size(const struct mm_sink *to, uint64_t nbytes, size_t width)
{
    char text[MM_SIZE_CHARS];
    char digits[DIGITS_MAX];
    size_t n = 0;
    unsigned unit = 0;
    unsigned shift = 0;

    while (nbytes >> shift >= 1024) {
        shift += 10;
        unit++;
    }
    for (size_t at = make_digits(digits, nbytes >> shift, 10); at < DIGITS_MAX; at++) {
        text[n++] = digits[at];
    }
    if (unit > 0) {
        uint64_t rest = nbytes & ((UINT64_C(1) << shift) - 1); /* < 2^60: ten times it fits */

        text[n++] = '.';
        text[n++] = (char)('0' + (rest * 10 >> shift));
    }
    text[n++] = ' ';
    if (unit > 0) {
        text[n++] = "KMGTPE"[unit - 1];
        text[n++] = 'i';
    }
    text[n++] = 'B';
    put_right(to, text, n, width);
}

static void text_write(void *ctx, const char *s, size_t n)
{
    struct mm_text *t = ctx;

    for (size_t i = 0; i < n; i++, t->len++) {
        if (t->len + 1 < t->size) {
            t->buf[t->len] = s[i];
            t->buf[t->len + 1] = '\0';
        }
    }
}

struct mm_sink mm_text_sink(struct mm_text *t, char *buf, size_t size)
{
    *t = (struct mm_text){ .buf = buf, .size = size, .len = 0 };
    buf[0] = '\0';
    return (struct mm_sink){ .write = text_write, .ctx = t };
}
