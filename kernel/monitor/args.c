#include "monitor/args.h"

#include <stdarg.h>

#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/ksyms.h"
#include "lib/string.h"
#include "monitor/style.h"

#define SYMBOL_MAX 64u /* bytes of a symbol's name, NUL included */

static void complain(const char *name, const char *fmt, va_list ap)
{
    char text[256];

    fmt_v(text, sizeof(text), fmt, ap);
    kprintf(STYLE_BAD "%s:" STYLE_OFF " %s\n", name, text);
}

int args_error(const struct args *a, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    complain(a->name, fmt, ap);
    va_end(ap);
    return 1;
}

int args_fail(const struct args *a, const char *fmt, ...)
{
    const struct monitor_command *c = monitor_find(a->name);
    va_list ap;

    va_start(ap, fmt);
    complain(a->name, fmt, ap);
    va_end(ap);
    if (c != NULL) {
        kprintf("usage: %s%s%s\n", c->name, c->args[0] != '\0' ? " " : "", c->args);
    }
    return 1;
}

/* Note option `letter`, which stands in argv[*i]; its value, if it takes one, follows. */
static bool take_option(struct args *a, char letter, int argc, char **argv, const char *options,
                        int *i)
{
    const char *known = letter >= 'a' && letter <= 'z' ? strchr(options, letter) : NULL;

    if (known == NULL) {
        args_fail(a, "there is no option %s", argv[*i]);
        return false;
    }
    a->value[letter - 'a'] = "";
    if (known[1] == ':') {
        if (*i + 1 >= argc) {
            args_fail(a, "option -%c wants a value", letter);
            return false;
        }
        a->value[letter - 'a'] = argv[++*i];
    }
    return true;
}

bool args_parse(struct args *a, int argc, char **argv, const char *options, unsigned min,
                unsigned max)
{
    *a = (struct args){ .name = argv[0] };
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];

        if (word[0] == '-' && word[1] != '\0') {
            /* One letter a word: a second one makes it unknown as a whole. */
            if (!take_option(a, word[2] == '\0' ? word[1] : '-', argc, argv, options, &i)) {
                return false;
            }
        } else {
            a->operand[a->n++] = word;
        }
    }
    if (a->n < min) {
        args_fail(a, "an argument is missing");
        return false;
    }
    if (a->n > max) {
        args_fail(a, "\"%s\" is one argument too many", a->operand[max]);
        return false;
    }
    return true;
}

bool args_at_most_one(const struct args *a, const char *letters)
{
    char first = '\0';

    for (; *letters != '\0'; letters++) {
        if (!args_has(a, *letters)) {
            continue;
        }
        if (first != '\0') {
            args_fail(a, "-%c and -%c exclude each other", first, *letters);
            return false;
        }
        first = *letters;
    }
    return true;
}

/* The value of a digit, or 36. */
static unsigned digit(char c)
{
    if (c >= '0' && c <= '9') {
        return (unsigned)(c - '0');
    }
    c |= 0x20;
    return c >= 'a' && c <= 'z' ? (unsigned)(c - 'a') + 10 : 36;
}

/* The shift that a suffix stands for; 64 for anything else. */
static unsigned suffix(const char *s)
{
    static const char letters[] = "kmgt";

    if (*s == '\0') {
        return 0;
    }
    for (unsigned i = 0; letters[i] != '\0' && s[1] == '\0'; i++) {
        if ((*s | 0x20) == letters[i]) {
            return 10 * (i + 1);
        }
    }
    return 64;
}

bool args_read_number(const char *word, uint64_t *v)
{
    unsigned base = 10, shift;
    const char *first;
    uint64_t n = 0;

    if (word[0] == '0' && (word[1] | 0x20) == 'x') {
        base = 16;
        word += 2;
    }
    first = word;
    for (; digit(*word) < base; word++) {
        if (__builtin_mul_overflow(n, base, &n) || __builtin_add_overflow(n, digit(*word), &n)) {
            return false;
        }
    }
    shift = suffix(word);
    if (word == first || shift == 64 || (n << shift) >> shift != n) {
        return false;
    }
    *v = n << shift;
    return true;
}

bool args_number(const struct args *a, const char *what, const char *word, uint64_t min,
                 uint64_t max, uint64_t *v)
{
    uint64_t n;

    if (!args_read_number(word, &n)) {
        args_fail(a,
                  "%s: \"%s\" is not a number of 64 bits (decimal, or hexadecimal with 0x; "
                  "k, m, g, t may follow)",
                  what, word);
        return false;
    }
    if (n < min || n > max) {
        args_fail(a, "%s: %s is not between %llu and %llu", what, word, (unsigned long long)min,
                  (unsigned long long)max);
        return false;
    }
    *v = n;
    return true;
}

bool args_address(const struct args *a, const char *word, uint64_t *va)
{
    char symbol[SYMBOL_MAX];
    uint64_t offset = 0;
    size_t len = 0;

    if (args_read_number(word, va)) {
        return true;
    }
    while (word[len] != '\0' && word[len] != '+' && len < sizeof(symbol) - 1) {
        symbol[len] = word[len];
        len++;
    }
    symbol[len] = '\0';
    if ((word[len] != '\0' && (word[len] != '+' || !args_read_number(word + len + 1, &offset))) ||
        !ksym_addr(symbol, va)) {
        args_fail(a,
                  "\"%s\" is no address: neither a number nor the name of a function of the kernel",
                  word);
        return false;
    }
    *va += offset;
    return true;
}
