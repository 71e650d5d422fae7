/*
 * heap_ff.c - Plat's exact first fit in bounded time, in an arena, with the port of the unit tests
 * beneath it.
 */
#include "mm/heap_ff.h"
#include "heap_builtin.h"

/* The heap's own structure comes first in the arena. */
static void *open_ff(void *arena, size_t nbytes)
{
    struct heap_ff *h = arena;

    if (nbytes < sizeof(*h)) {
        return NULL;
    }
    heap_ff_init(h, NULL, 0);
    return heap_ff_add_arena(h, h + 1, nbytes - sizeof(*h)) == MM_OK ? h : NULL;
}

static void *alloc(void *self, size_t nbytes)
{
    return heap_ff_alloc(self, nbytes);
}

static void free_block(void *self, void *ptr)
{
    heap_ff_free(self, ptr);
}

static void *resize(void *self, void *ptr, size_t nbytes)
{
    return heap_ff_realloc(self, ptr, nbytes);
}

static void *alloc_aligned(void *self, size_t align, size_t nbytes)
{
    return heap_ff_alloc_aligned(self, nbytes, align);
}

static size_t usable(void *self, void *ptr)
{
    return heap_ff_size(self, ptr);
}

const struct heap_allocator heap_ff = {
    .version = HEAP_VERSION,
    .align = HEAP_ALIGN,
    .arena = true,
    .name = "ff",
    .open = open_ff,
    .alloc = alloc,
    .free = free_block,
    .realloc = resize,
    .alloc_aligned = alloc_aligned,
    .usable = usable,
};
