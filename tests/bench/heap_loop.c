/*
 * heap_loop.c - no allocator: what reading a trace, the calls and the first touch cost.
 *
 * alloc() returns the next place in a small ring; free() does nothing. The ring stays in the
 * nearest cache, so that a miss upon touching a block counts as the allocator's, which chose the
 * place.
 */
#include "heap_builtin.h"

#define RING_BYTES (UINT64_C(16) << 10)
#define STEP       UINT64_C(64)

static _Thread_local _Alignas(64) char ring[RING_BYTES];
static _Thread_local uint64_t at;

static void *open_loop(void *arena, size_t nbytes)
{
    (void)arena;
    (void)nbytes;
    return ring;
}

static void *alloc(void *self, size_t nbytes)
{
    (void)self;
    (void)nbytes;
    at = (at + STEP) % RING_BYTES;
    return ring + at;
}

static void free_block(void *self, void *ptr)
{
    (void)self;
    (void)ptr;
}

static void *resize(void *self, void *ptr, size_t nbytes)
{
    (void)self;
    (void)nbytes;
    return ptr;
}

static void *alloc_aligned(void *self, size_t align, size_t nbytes)
{
    (void)align;
    return alloc(self, nbytes);
}

const struct heap_allocator heap_loop = {
    .version = HEAP_VERSION,
    .align = HEAP_ALIGN,
    .threads = true,
    .name = "loop",
    .open = open_loop,
    .alloc = alloc,
    .free = free_block,
    .realloc = resize,
    .alloc_aligned = alloc_aligned,
};
