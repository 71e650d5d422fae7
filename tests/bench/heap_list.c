/*
 * heap_list.c - Plat's first fit over a linked list, in an arena, with the port of the unit tests
 * beneath it.
 */
#include "mm/heap_list.h"
#include "heap_builtin.h"

/* The heap's own structure comes first in the arena. */
static void *open_list(void *arena, size_t nbytes)
{
    struct heap_list *h = arena;

    if (nbytes < sizeof(*h)) {
        return NULL;
    }
    heap_list_init(h, NULL);
    return heap_list_add_arena(h, h + 1, nbytes - sizeof(*h)) == MM_OK ? h : NULL;
}

static void *alloc(void *self, size_t nbytes)
{
    return heap_list_alloc(self, nbytes);
}

static void free_block(void *self, void *ptr)
{
    heap_list_free(self, ptr);
}

static void *resize(void *self, void *ptr, size_t nbytes)
{
    return heap_list_realloc(self, ptr, nbytes);
}

static void *alloc_aligned(void *self, size_t align, size_t nbytes)
{
    return heap_list_alloc_aligned(self, nbytes, align);
}

static size_t usable(void *self, void *ptr)
{
    return heap_list_size(self, ptr);
}

const struct heap_allocator heap_list = {
    .version = HEAP_VERSION,
    .align = HEAP_ALIGN,
    .arena = true,
    .name = "list",
    .open = open_list,
    .alloc = alloc,
    .free = free_block,
    .realloc = resize,
    .alloc_aligned = alloc_aligned,
    .usable = usable,
};
