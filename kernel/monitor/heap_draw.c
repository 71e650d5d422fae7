/*
 * heap, the drawing: kmalloc's first-fit heap as a strip.
 */
#include "lib/console.h"
#include "lib/heapmap.h"
#include "mm/kmalloc.h"
#include "monitor/heap.h"

struct viewer {
    bool (*fn)(void *to, const struct heapmap_block *b);
    void *to;
};

static bool show(void *ctx, const struct kmalloc_view *b)
{
    const struct viewer *v = ctx;

    return v->fn(
        v->to, &(struct heapmap_block){ (uint64_t)b->ptr, b->nbytes, b->used, b->first_in_arena });
}

static void for_each(const struct heapmap_source *src,
                     bool (*fn)(void *to, const struct heapmap_block *b), void *to)
{
    struct viewer v = { fn, to };

    (void)src;
    kmalloc_for_each(KMALLOC_HEAP, show, &v);
}

static void put_line(void *ctx, const char *text)
{
    (void)ctx;
    kprintf("%s\n", text);
}

void heap_draw(void)
{
    const struct heapmap_source src = { for_each };

    heapmap_draw(&src, put_line, NULL);
}
