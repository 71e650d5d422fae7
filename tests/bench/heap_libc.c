/*
 * heap_libc.c - malloc and its family, whosever they are in this process: glibc's, or those of a
 * library that was preloaded.
 */
#include <malloc.h>
#include <stdlib.h>

#include "heap_builtin.h"

static void *open_libc(void *arena, size_t nbytes)
{
    static char some;

    (void)arena;
    (void)nbytes;
    return &some;
}

static void *alloc(void *self, size_t nbytes)
{
    (void)self;
    return malloc(nbytes);
}

static void free_block(void *self, void *ptr)
{
    (void)self;
    free(ptr);
}

static void *resize(void *self, void *ptr, size_t nbytes)
{
    (void)self;
    return realloc(ptr, nbytes);
}

static void *alloc_aligned(void *self, size_t align, size_t nbytes)
{
    void *ptr;

    (void)self;
    return posix_memalign(&ptr, align, nbytes) == 0 ? ptr : NULL;
}

static size_t usable(void *self, void *ptr)
{
    (void)self;
    return malloc_usable_size(ptr);
}

const struct heap_allocator heap_libc = {
    .version = HEAP_VERSION,
    .align = HEAP_ALIGN,
    .threads = true,
    .name = "libc",
    .open = open_libc,
    .alloc = alloc,
    .free = free_block,
    .realloc = resize,
    .alloc_aligned = alloc_aligned,
    .usable = usable,
};
