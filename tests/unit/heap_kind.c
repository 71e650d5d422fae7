#include "heap_kind.h"

#include "mm/heap_ff.h"
#include "mm/heap_list.h"

struct show {
    bool (*fn)(void *ctx, const struct heap_kind_view *v);
    void *ctx;
};

/* Of each heap the same functions by the same names. */
#define HEAP_FUNCTIONS(heap)                                                                       \
    static mm_err_t heap##_do_add_arena(void *h, void *base, size_t nbytes)                        \
    {                                                                                              \
        return heap##_add_arena(h, base, nbytes);                                                  \
    }                                                                                              \
    static void *heap##_do_alloc(void *h, size_t nbytes)                                           \
    {                                                                                              \
        return heap##_alloc(h, nbytes);                                                            \
    }                                                                                              \
    static void *heap##_do_alloc_aligned(void *h, size_t nbytes, size_t align)                     \
    {                                                                                              \
        return heap##_alloc_aligned(h, nbytes, align);                                             \
    }                                                                                              \
    static void *heap##_do_alloc_zeroed(void *h, size_t count, size_t nbytes)                      \
    {                                                                                              \
        return heap##_alloc_zeroed(h, count, nbytes);                                              \
    }                                                                                              \
    static void *heap##_do_realloc(void *h, void *ptr, size_t nbytes)                              \
    {                                                                                              \
        return heap##_realloc(h, ptr, nbytes);                                                     \
    }                                                                                              \
    static void heap##_do_free(void *h, void *ptr)                                                 \
    {                                                                                              \
        heap##_free(h, ptr);                                                                       \
    }                                                                                              \
    static size_t heap##_do_size(void *h, const void *ptr)                                         \
    {                                                                                              \
        return heap##_size(h, ptr);                                                                \
    }                                                                                              \
    static void heap##_do_get_stats(void *h, struct heap_kind_stats *s)                            \
    {                                                                                              \
        struct heap##_stats of;                                                                    \
                                                                                                   \
        heap##_get_stats(h, &of);                                                                  \
        *s = (struct heap_kind_stats){ of.arena_bytes,  of.used_bytes,      of.free_bytes,         \
                                       of.largest_free, of.nused,           of.nfree,              \
                                       of.narenas,      PEAKS_OF_##heap(of) };                     \
    }                                                                                              \
    static bool heap##_show(void *ctx, const struct heap##_view *v)                                \
    {                                                                                              \
        const struct show *s = ctx;                                                                \
                                                                                                   \
        return s->fn(s->ctx, &(struct heap_kind_view){ (uintptr_t)v->ptr, v->nbytes, v->used,      \
                                                       v->first_in_arena });                       \
    }                                                                                              \
    static void heap##_do_for_each(void *h, bool (*fn)(void *ctx, const struct heap_kind_view *v), \
                                   void *ctx)                                                      \
    {                                                                                              \
        heap##_for_each(h, heap##_show, &(struct show){ fn, ctx });                                \
    }                                                                                              \
    static const char *heap##_do_check(void *h)                                                    \
    {                                                                                              \
        return heap##_check(h);                                                                    \
    }

#define HEAP_MEMBERS(heap)                                                                         \
    .heap_bytes = sizeof(struct heap), .add_arena = heap##_do_add_arena, .alloc = heap##_do_alloc, \
    .alloc_aligned = heap##_do_alloc_aligned, .alloc_zeroed = heap##_do_alloc_zeroed,              \
    .realloc = heap##_do_realloc, .free = heap##_do_free, .size = heap##_do_size,                  \
    .get_stats = heap##_do_get_stats, .for_each = heap##_do_for_each, .check = heap##_do_check

#define PEAKS_OF_heap_list(s) 0, 0
#define PEAKS_OF_heap_ff(s)   (s).peak_arena_bytes, (s).peak_used_bytes

/* ---- heap_list -------------------------------------------------------------------------------- */

HEAP_FUNCTIONS(heap_list)

/* Ranges with a `reach` are as good as others to it: it never asks them to grow. */
static void list_init(void *h, const struct mm_backing *backing, size_t keep)
{
    (void)keep;
    heap_list_init(h, backing);
}

const struct heap_kind heap_kind_list = {
    .name = "heap_list",
    .head_bytes = 16,
    .least = 32,
    .init = list_init,
    HEAP_MEMBERS(heap_list),
};

/* ---- heap_ff ---------------------------------------------------------------------------------- */

HEAP_FUNCTIONS(heap_ff)

static void ff_init(void *h, const struct mm_backing *backing, size_t keep)
{
    heap_ff_init(h, backing, keep);
}

static void ff_trim(void *h)
{
    heap_ff_trim(h);
}

const struct heap_kind heap_kind_ff = {
    .name = "heap_ff",
    .least = 16,
    .aligned_by_size = true,
    .bounded = true,
    .counts_peaks = true,
    .aligns_arenas = true,
    .init = ff_init,
    .trim = ff_trim,
    HEAP_MEMBERS(heap_ff),
};
