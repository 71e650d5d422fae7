/*
 * bytes.c - the four functions that the compiler calls on its own (GCC manual, "Standards": a
 * freestanding program brings them along). For the PE file only; a host test has the C library's.
 * String instructions, so that the compiler does not turn the loops into calls of themselves; the
 * direction flag is clear by the calling convention.
 */
#include "bytes.h"

void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    void *d = to;

    __asm__ volatile("rep movsb" : "+D"(d), "+S"(from), "+c"(n) : : "memory");
    return to;
}

void *memmove(void *to, const void *from, size_t n)
{
    unsigned char *d = to;
    const unsigned char *s = from;

    if (d <= s || d >= s + n) {
        return memcpy(to, from, n);
    }
    d += n - 1;
    s += n - 1;
    __asm__ volatile("std; rep movsb; cld" : "+D"(d), "+S"(s), "+c"(n) : : "memory");
    return to;
}

void *memset(void *to, int c, size_t n)
{
    void *d = to;

    __asm__ volatile("rep stosb" : "+D"(d), "+c"(n) : "a"(c) : "memory");
    return to;
}

int memcmp(const void *a, const void *b, size_t n)
{
    const unsigned char *x = a, *y = b;

    for (size_t i = 0; i < n; i++) {
        if (x[i] != y[i]) {
            return x[i] - y[i];
        }
    }
    return 0;
}
