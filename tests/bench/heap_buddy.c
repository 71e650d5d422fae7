/*
 * heap_buddy.c - Plat's buddy, in an arena, with the port of the unit tests beneath it. Programs
 * ask for bytes, and free without saying how many: so each free looks the order up, and a request
 * takes the next power of two.
 */
#include <string.h>

#include "heap_builtin.h"
#include "mm/buddy.h"

#define SHIFT 4 /* HEAP_ALIGN */

/* The buddy comes first, then the metadata of its arenas. */
static void *open_buddy(void *arena, size_t nbytes)
{
    struct buddy *b = arena;
    uint8_t *at = (uint8_t *)arena + mm_align_up(sizeof(*b), BUDDY_META_ALIGN);
    uint8_t *end = (uint8_t *)arena + nbytes;

    if (nbytes < sizeof(*b)) {
        return NULL;
    }
    buddy_init(b, SHIFT, NULL, NULL, 0);
    while (end - at > 4096) {
        size_t most = mm_min((uint64_t)(end - at), BUDDY_MAX_UNITS << SHIFT);
        size_t meta = buddy_meta_bytes(at, most, SHIFT);

        if (meta >= most || buddy_add_arena(b, at + meta, most - meta, at, meta) != MM_OK) {
            break;
        }
        at += most;
    }
    return b->narenas != 0 ? b : NULL;
}

static void *alloc(void *self, size_t nbytes)
{
    return buddy_alloc(self, buddy_order_for(self, nbytes));
}

static void free_block(void *self, void *ptr)
{
    buddy_free(self, ptr, buddy_order(self, ptr));
}

static size_t usable(void *self, void *ptr)
{
    return (size_t)1 << (SHIFT + buddy_order(self, ptr));
}

static void *resize(void *self, void *ptr, size_t nbytes)
{
    unsigned before = buddy_order(self, ptr);
    unsigned now = buddy_order_for(self, nbytes);
    void *moved;

    if (now == before) {
        return ptr;
    }
    moved = buddy_alloc(self, now);
    if (moved != NULL) {
        memcpy(moved, ptr, (size_t)1 << (SHIFT + (now < before ? now : before)));
        buddy_free(self, ptr, before);
    }
    return moved;
}

static void *alloc_aligned(void *self, size_t align, size_t nbytes)
{
    return alloc(self, mm_max(align, nbytes));
}

const struct heap_allocator heap_buddy = {
    .version = HEAP_VERSION,
    .align = HEAP_ALIGN,
    .arena = true,
    .name = "buddy",
    .open = open_buddy,
    .alloc = alloc,
    .free = free_block,
    .realloc = resize,
    .alloc_aligned = alloc_aligned,
    .usable = usable,
};
