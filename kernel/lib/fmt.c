/*
 * fmt.c - formatted text.
 *
 * One pass over the format; each conversion is read into a struct spec and then printed. What does
 * not fit the buffer is counted but not written, and padding is counted in one step, so that a huge
 * width costs nothing beyond the buffer.
 */
#include "lib/fmt.h"

#include <stdbool.h>

#include "lib/string.h"

struct out {
    char *buf;
    size_t n;   /* of `buf` */
    size_t len; /* of the text so far, also of what did not fit */
};

struct spec {
    bool left, zero, plus, space, alt;
    size_t width;
    size_t precision;
    bool has_precision;
    char conversion;
};

/* Room for every digit of a 64-bit number in octal. */
#define DIGITS_MAX 22

/* How many of `n` more characters fit; the last byte of the buffer is the NUL's. */
static size_t out_room(const struct out *o, size_t n)
{
    size_t room = o->len + 1 < o->n ? o->n - 1 - o->len : 0;

    return n < room ? n : room;
}

static void out_text(struct out *o, const char *s, size_t n)
{
    size_t fits = out_room(o, n);

    if (fits > 0) {
        memcpy(o->buf + o->len, s, fits);
    }
    o->len += n;
}

static void out_pad(struct out *o, char c, size_t n)
{
    size_t fits = out_room(o, n);

    if (fits > 0) {
        memset(o->buf + o->len, c, fits);
    }
    o->len += n;
}

/* `text` in its field: to the right of spaces, or to the left of them. */
static void out_field(struct out *o, const struct spec *s, const char *text, size_t n)
{
    size_t pad = s->width > n ? s->width - n : 0;

    if (!s->left) {
        out_pad(o, ' ', pad);
    }
    out_text(o, text, n);
    if (s->left) {
        out_pad(o, ' ', pad);
    }
}

/* The digits of `v` to the end of `digits`; their number. None for 0. */
static size_t make_digits(char digits[DIGITS_MAX], uint64_t v, char conversion)
{
    const char *set = conversion == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
    size_t at = DIGITS_MAX;

    if (conversion == 'x' || conversion == 'X') {
        for (; v != 0; v >>= 4) {
            digits[--at] = set[v & 15];
        }
    } else if (conversion == 'o') {
        for (; v != 0; v >>= 3) {
            digits[--at] = set[v & 7];
        }
    } else {
        for (; v != 0; v /= 10) {
            digits[--at] = set[v % 10];
        }
    }
    return DIGITS_MAX - at;
}

/* Sign or 0x, zeros, digits. C17 7.21.6.1, the paragraphs on flags and precision. */
static void out_number(struct out *o, const struct spec *s, uint64_t v, const char *prefix)
{
    char digits[DIGITS_MAX];
    size_t ndigits = make_digits(digits, v, s->conversion);
    size_t nprefix = strlen(prefix);
    size_t least = s->has_precision ? s->precision : 1;
    size_t zeros = least > ndigits ? least - ndigits : 0;

    if (s->conversion == 'o' && s->alt && zeros == 0) {
        zeros = 1; /* "increases the precision" so that the first digit is a zero */
    }
    size_t n = nprefix + zeros + ndigits;
    size_t pad = s->width > n ? s->width - n : 0;

    if (s->zero && !s->left && !s->has_precision) {
        zeros += pad;
        pad = 0;
    }
    if (!s->left) {
        out_pad(o, ' ', pad);
    }
    out_text(o, prefix, nprefix);
    out_pad(o, '0', zeros);
    out_text(o, digits + DIGITS_MAX - ndigits, ndigits);
    if (s->left) {
        out_pad(o, ' ', pad);
    }
}

static void out_signed(struct out *o, const struct spec *s, int64_t v)
{
    const char *prefix = v < 0 ? "-" : s->plus ? "+" : s->space ? " " : "";

    out_number(o, s, v < 0 ? -(uint64_t)v : (uint64_t)v, prefix);
}

static void out_unsigned(struct out *o, const struct spec *s, uint64_t v)
{
    const char *prefix = "";

    if (s->alt && v != 0 && s->conversion != 'u' && s->conversion != 'o') {
        prefix = s->conversion == 'X' ? "0X" : "0x";
    }
    out_number(o, s, v, prefix);
}

static void out_string(struct out *o, const struct spec *s, const char *text)
{
    size_t n = 0;

    if (text == NULL) {
        text = s->has_precision && s->precision < 6 ? "" : "(null)";
    }
    while ((!s->has_precision || n < s->precision) && text[n] != '\0') {
        n++;
    }
    out_field(o, s, text, n);
}

static void out_pointer(struct out *o, struct spec *s, const void *p)
{
    if (p == NULL) {
        out_field(o, s, "(nil)", 5);
        return;
    }
    s->conversion = 'x';
    s->alt = true;
    out_unsigned(o, s, (uintptr_t)p);
}

/* A decimal number at *f, which moves behind it; stays below INT_MAX as C demands of widths. */
static size_t read_number(const char **f)
{
    size_t v = 0;

    for (; **f >= '0' && **f <= '9'; (*f)++) {
        if (v < INT32_MAX / 10) {
            v = v * 10 + (size_t)(**f - '0');
        }
    }
    return v;
}

static const char *read_flags(const char *f, struct spec *s)
{
    for (;; f++) {
        switch (*f) {
        case '-':
            s->left = true;
            break;
        case '0':
            s->zero = true;
            break;
        case '+':
            s->plus = true;
            break;
        case ' ':
            s->space = true;
            break;
        case '#':
            s->alt = true;
            break;
        default:
            return f;
        }
    }
}

/* Bytes of the integer that the length modifier at *f announces. */
static unsigned read_length(const char **f)
{
    switch (**f) {
    case 'h':
        (*f)++;
        if (**f == 'h') {
            (*f)++;
            return 1;
        }
        return 2;
    case 'l':
        (*f)++;
        if (**f == 'l') {
            (*f)++;
        }
        return 8;
    case 'z':
    case 'j':
    case 't':
        (*f)++;
        return 8;
    default:
        return 4;
    }
}

_Static_assert(sizeof(long) == 8 && sizeof(size_t) == 8 && sizeof(int) == 4, "LP64");

size_t fmt_v(char *buf, size_t n, const char *fmt, va_list args)
{
    struct out o = { .buf = buf, .n = n, .len = 0 };
    va_list ap;

    va_copy(ap, args);
    for (const char *f = fmt; *f != '\0';) {
        const char *start = f;

        while (*f != '\0' && *f != '%') {
            f++;
        }
        out_text(&o, start, (size_t)(f - start));
        if (*f == '\0') {
            break;
        }

        struct spec s = { 0 };

        start = f;
        f = read_flags(f + 1, &s);
        if (*f == '*') {
            int64_t width = va_arg(ap, int);

            f++;
            s.left = s.left || width < 0;
            s.width = (size_t)(width < 0 ? -width : width);
        } else {
            s.width = read_number(&f);
        }
        if (*f == '.') {
            f++;
            s.has_precision = true;
            if (*f == '*') {
                int precision = va_arg(ap, int);

                f++;
                s.has_precision = precision >= 0;
                s.precision = precision >= 0 ? (size_t)precision : 0;
            } else {
                s.precision = read_number(&f);
            }
        }

        unsigned nbytes = read_length(&f);

        s.conversion = *f;
        switch (*f) {
        case '%':
            out_text(&o, "%", 1);
            break;
        case 'c': {
            char c = (char)va_arg(ap, int);

            out_field(&o, &s, &c, 1);
            break;
        }
        case 's':
            out_string(&o, &s, va_arg(ap, const char *));
            break;
        case 'p':
            out_pointer(&o, &s, va_arg(ap, void *));
            break;
        case 'd':
        case 'i': {
            int64_t v = nbytes == 8 ? va_arg(ap, long) : va_arg(ap, int);

            out_signed(&o, &s, nbytes == 1 ? (signed char)v : nbytes == 2 ? (short)v : v);
            break;
        }
        case 'o':
        case 'u':
        case 'x':
        case 'X': {
            uint64_t v = nbytes == 8 ? va_arg(ap, unsigned long) : va_arg(ap, unsigned);

            out_unsigned(&o, &s, nbytes == 1 ? (uint8_t)v : nbytes == 2 ? (uint16_t)v : v);
            break;
        }
        default: /* not ours: show it */
            f += *f != '\0';
            out_text(&o, start, (size_t)(f - start));
            continue;
        }
        f++;
    }
    va_end(ap);
    if (n > 0) {
        buf[o.len < n ? o.len : n - 1] = '\0';
    }
    return o.len;
}

size_t fmt_s(char *buf, size_t n, const char *fmt, ...)
{
    va_list ap;
    size_t len;

    va_start(ap, fmt);
    len = fmt_v(buf, n, fmt, ap);
    va_end(ap);
    return len;
}

char *fmt_bytes(char buf[FMT_BYTES_MAX], uint64_t nbytes)
{
    static const char unit[] = "KMGTPE";
    unsigned u = 0, shift = 10;

    if (nbytes < 1024) {
        fmt_s(buf, FMT_BYTES_MAX, "%u B", (unsigned)nbytes);
        return buf;
    }
    while (nbytes >> shift >= 1024) {
        shift += 10;
        u++;
    }

    uint64_t rest = nbytes & ((UINT64_C(1) << shift) - 1); /* < 2^60: ten times it fits */

    fmt_s(buf, FMT_BYTES_MAX, "%u.%u %ciB", (unsigned)(nbytes >> shift),
          (unsigned)(rest * 10 >> shift), unit[u]);
    return buf;
}
