/*
 * string.c - memory and string functions.
 *
 * Sizes up to 32 bytes, by far the most frequent, are done with a few overlapping moves; larger
 * ones with `rep movsq` and `rep stosq`, whose last, odd bytes are one more overlapping move.
 * Rejected: `rep movsb`, which is as fast on processors of the last ten years, but moves one byte
 * per step on those before and under QEMU, where the instruction count of each step is what our
 * benchmarks see; loops in C, which cost four instructions a word and which compilers like to turn
 * back into a call of the very function they are in.
 *
 * The direction flag is never set: a move downwards, which only overlapping buffers need, is a loop
 * in C. So interrupt entry need not clear the flag on our account.
 */
#include "lib/string.h"

#include <stdint.h>

/* Words at any address, of memory of any type. */
typedef uint64_t __attribute__((may_alias, aligned(1))) word64_t;
typedef uint32_t __attribute__((may_alias, aligned(1))) word32_t;
typedef uint16_t __attribute__((may_alias, aligned(1))) word16_t;

static inline uint64_t load64(const unsigned char *p)
{
    return *(const word64_t *)p;
}

static inline void store64(unsigned char *p, uint64_t v)
{
    *(word64_t *)p = v;
}

/* n <= 32. Reads everything before it writes anything, so the buffers may overlap. */
static inline void move_small(unsigned char *d, const unsigned char *s, size_t n)
{
    if (n > 16) {
        uint64_t a = load64(s), b = load64(s + 8);
        uint64_t y = load64(s + n - 16), z = load64(s + n - 8);

        store64(d, a);
        store64(d + 8, b);
        store64(d + n - 16, y);
        store64(d + n - 8, z);
    } else if (n >= 8) {
        uint64_t a = load64(s), z = load64(s + n - 8);

        store64(d, a);
        store64(d + n - 8, z);
    } else if (n >= 4) {
        uint32_t a = *(const word32_t *)s, z = *(const word32_t *)(s + n - 4);

        *(word32_t *)d = a;
        *(word32_t *)(d + n - 4) = z;
    } else if (n >= 2) {
        uint16_t a = *(const word16_t *)s, z = *(const word16_t *)(s + n - 2);

        *(word16_t *)d = a;
        *(word16_t *)(d + n - 2) = z;
    } else if (n == 1) {
        *d = *s;
    }
}

/* n > 32; `d` outside of [s, s + n), or below `s`. The last word is read first: when `d` lies below
 * `s`, the moves may overwrite it. */
static inline void move_up(unsigned char *d, const unsigned char *s, size_t n)
{
    uint64_t last = load64(s + n - 8);
    unsigned char *end = d + n;
    size_t words = n / 8;

    __asm__ volatile("rep movsq" : "+D"(d), "+S"(s), "+c"(words) : : "memory");
    store64(end - 8, last);
}

/* n > 32, `d` inside of [s, s + n). The mirror image. */
static inline void move_down(unsigned char *d, const unsigned char *s, size_t n)
{
    uint64_t first = load64(s);

    for (size_t i = n; i >= 8; i -= 8) {
        store64(d + i - 8, load64(s + i - 8));
    }
    store64(d, first);
}

void *memcpy(void *restrict dst, const void *restrict src, size_t n)
{
    if (n <= 32) {
        move_small(dst, src, n);
    } else {
        move_up(dst, src, n);
    }
    return dst;
}

void *memmove(void *dst, const void *src, size_t n)
{
    if (n <= 32) {
        move_small(dst, src, n);
    } else if ((uintptr_t)dst - (uintptr_t)src >= n) {
        move_up(dst, src, n);
    } else {
        move_down(dst, src, n);
    }
    return dst;
}

void *memset(void *dst, int byte, size_t n)
{
    uint64_t v = (unsigned char)byte * UINT64_C(0x0101010101010101);
    unsigned char *d = dst;

    if (n >= 8) {
        unsigned char *at = d;
        size_t words = n / 8;

        __asm__ volatile("rep stosq" : "+D"(at), "+c"(words) : "a"(v) : "memory");
        store64(d + n - 8, v);
    } else if (n >= 4) {
        *(word32_t *)d = (uint32_t)v;
        *(word32_t *)(d + n - 4) = (uint32_t)v;
    } else if (n >= 2) {
        *(word16_t *)d = (uint16_t)v;
        *(word16_t *)(d + n - 2) = (uint16_t)v;
    } else if (n == 1) {
        *d = (unsigned char)v;
    }
    return dst;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *p = a, *q = b;

    for (; n >= 8; n -= 8, p += 8, q += 8) {
        uint64_t v = load64(p), w = load64(q);

        if (v != w) { /* the first byte in memory is the least significant one */
            return __builtin_bswap64(v) < __builtin_bswap64(w) ? -1 : 1;
        }
    }
    for (; n > 0; n--, p++, q++) {
        if (*p != *q) {
            return *p < *q ? -1 : 1;
        }
    }
    return 0;
}

size_t strlen(const char *s)
{
    const char *end = s;

    while (*end != '\0') {
        end++;
    }
    return (size_t)(end - s);
}

int strcmp(const char *a, const char *b)
{
    return strncmp(a, b, SIZE_MAX);
}

int strncmp(const char *a, const char *b, size_t n)
{
    for (; n > 0; n--, a++, b++) {
        if (*a != *b) {
            return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
        }
        if (*a == '\0') {
            break;
        }
    }
    return 0;
}

char *strchr(const char *s, int c)
{
    for (; *s != (char)c; s++) {
        if (*s == '\0') {
            return NULL;
        }
    }
    return (char *)(uintptr_t)s;
}
