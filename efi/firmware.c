/*
 * firmware.c - words for what firmware answers.
 *
 * A formatter of its own, because the one of the kernel belongs to the kernel and the stub needs
 * three conversions. It writes into a buffer on the stack and cuts what is too long: a message can
 * never become a memory error.
 */
#include "firmware.h"

#include <stdarg.h>

#define SAY_MAX 300u

const char *fw_status_name(fw_status_t s)
{
    static const char *const names[] = {
        "Success",          "Load Error",           "Invalid Parameter",
        "Unsupported",      "Bad Buffer Size",      "Buffer Too Small",
        "Not Ready",        "Device Error",         "Write Protected",
        "Out of Resources", "Volume Corrupted",     "Volume Full",
        "No Media",         "Media Changed",        "Not Found",
        "Access Denied",    "No Response",          "No Mapping",
        "Timeout",          "Not Started",          "Already Started",
        "Aborted",          "ICMP Error",           "TFTP Error",
        "Protocol Error",   "Incompatible Version", "Security Violation",
        "CRC Error",        "End of Media",         "Reserved (29)",
        "Reserved (30)",    "End of File",          "Invalid Language",
        "Compromised Data", "IP Address Conflict",  "HTTP Error",
    };
    uint64_t n = s & ~(UINT64_C(1) << 63);

    if (s != FW_SUCCESS && !fw_failed(s)) {
        return "a warning";
    }
    return n < sizeof(names) / sizeof(names[0]) ? names[n] : "an unknown error";
}

struct line {
    char text[SAY_MAX + 1];
    size_t len;
};

static void line_add(struct line *l, char c)
{
    if (l->len < SAY_MAX) {
        l->text[l->len++] = c;
    }
}

static void line_add_text(struct line *l, const char *s)
{
    while (*s != '\0') {
        line_add(l, *s++);
    }
}

static void line_add_number(struct line *l, uint64_t v, unsigned base)
{
    char digits[20]; /* 2^64 has 20 decimal digits */
    size_t n = 0;

    do {
        digits[n++] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v != 0);
    while (n > 0) {
        line_add(l, digits[--n]);
    }
}

void fw_vsay(const struct fw *fw, const char *format, va_list args)
{
    struct line l = { .len = 0 };

    for (const char *f = format; *f != '\0'; f++) {
        if (f[0] == '%' && f[1] == 's') {
            line_add_text(&l, va_arg(args, const char *));
            f += 1;
        } else if (f[0] == '%' && f[1] == 'l' && f[2] == 'l' && (f[3] == 'u' || f[3] == 'x')) {
            line_add_number(&l, va_arg(args, unsigned long long), f[3] == 'u' ? 10 : 16);
            f += 3;
        } else if (f[0] == '%' && f[1] == 'u') {
            line_add_number(&l, va_arg(args, unsigned), 10);
            f += 1;
        } else if (f[0] == '%' && f[1] == '%') {
            line_add(&l, '%');
            f += 1;
        } else {
            line_add(&l, *f);
        }
    }
    l.text[l.len] = '\0';
    fw->print(l.text);
}

void fw_say(const struct fw *fw, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    fw_vsay(fw, format, args);
    va_end(args);
}
