/*
 * bytes.h - the part of <string.h> that the stub uses: this target brings no C library's headers.
 */
#ifndef EFI_BYTES_H
#define EFI_BYTES_H

#include <stddef.h>

void *memcpy(void *restrict to, const void *restrict from, size_t n);
void *memmove(void *to, const void *from, size_t n);
void *memset(void *to, int c, size_t n);
int memcmp(const void *a, const void *b, size_t n);

#endif
