/*
 * heap_kind.h - the first-fit heaps of mm/heap behind one set of functions, with what a model must
 * know of each to say where a block will be.
 */
#ifndef HEAP_KIND_H
#define HEAP_KIND_H

#include "mm/backing.h"

struct heap_kind_stats {
    size_t arena_bytes, used_bytes, free_bytes, largest_free;
    size_t nused, nfree, narenas;
    size_t peak_arena_bytes, peak_used_bytes; /* 0 where nobody counts them */
};

struct heap_kind_view {
    uintptr_t ptr;
    size_t nbytes;
    bool used, first_in_arena;
};

struct heap_kind {
    const char *name;
    size_t heap_bytes; /* of its structure */
    size_t head_bytes; /* in front of each block's payload */
    size_t least;      /* a block has as much, head included; a rest that is smaller stays with its
                        * block */
    bool aligned_by_size; /* an aligned request takes the lowest free block that is large enough
                           * wherever it lies, not the lowest in which it just fits */
    bool bounded;         /* free memory at the end of a range that may grow goes back, but for what
                           * is to be kept */
    bool counts_peaks;
    bool aligns_arenas; /* what of an arena is below its first multiple of 16 does not count */

    void (*init)(void *h, const struct mm_backing *backing, size_t keep);
    mm_err_t (*add_arena)(void *h, void *base, size_t nbytes);
    void *(*alloc)(void *h, size_t nbytes);
    void *(*alloc_aligned)(void *h, size_t nbytes, size_t align);
    void *(*alloc_zeroed)(void *h, size_t count, size_t nbytes);
    void *(*realloc)(void *h, void *ptr, size_t nbytes);
    void (*free)(void *h, void *ptr);
    size_t (*size)(void *h, const void *ptr);
    void (*trim)(void *h); /* NULL: nothing ever waits to be given back */
    void (*get_stats)(void *h, struct heap_kind_stats *s);
    void (*for_each)(void *h, bool (*fn)(void *ctx, const struct heap_kind_view *v), void *ctx);
    const char *(*check)(void *h);
};

extern const struct heap_kind heap_kind_list;
extern const struct heap_kind heap_kind_ff;

#endif
