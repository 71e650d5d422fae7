/*
 * heap.h - what an allocator of blocks offers so that bench_heap can measure it.
 *
 * Model:    an allocator over one arena that it is given, or one that finds memory by itself. A
 *           shared object given to `bench_heap --so FILE` exports one symbol, HEAP_SYMBOL, a
 *           constant struct heap_allocator. This header needs nothing else of Plat. docs/bench.md
 *           has an example. Whatever replaces the C library's malloc needs no adapter: give it to
 *           `bench_heap --preload FILE`.
 *
 * Threads:  calls come from one thread unless `threads` is true. Every measurement is a process of
 *           its own.
 *
 * How much memory an allocator takes is not asked of it: the harness finds out, by ever smaller
 * arenas or by the pages that the process has.
 */
#ifndef BENCH_HEAP_H
#define BENCH_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HEAP_VERSION 1
#define HEAP_SYMBOL  "heap_allocator"
#define HEAP_ALIGN   16 /* as C has it on x86-64 */

struct heap_allocator {
    uint32_t version; /* HEAP_VERSION */
    uint32_t align;   /* of blocks of 16 bytes and more: 16, or 8 if it has no more to give */
    bool arena;       /* lives in what open() is given, wholly; else open() is given nothing */
    bool threads;     /* any thread may make any call but open() at any time */
    const char *name; /* a word, heads a column */

    /*
     * An allocator with nothing allocated, over [arena, arena + nbytes). The arena begins at a
     * multiple of 2 MiB, its contents are anything; all records of the allocator lie in it as well.
     * Called again, over the same memory, when the one before is of no more use. NULL: the arena is
     * too small.
     */
    void *(*open)(void *arena, size_t nbytes);

    /* The calling thread is number `thread`, from 0; before its first call but open(). NULL: need
     * not be told. */
    void (*enter)(void *self, unsigned thread);

    /* At least `nbytes` > 0 bytes, at a multiple of `align` if there are 16 of them, else of 8.
     * NULL: refused. */
    void *(*alloc)(void *self, size_t nbytes);

    void (*free)(void *self, void *ptr); /* never NULL */

    /* realloc() as C has it, `nbytes` > 0 and `ptr` not NULL. */
    void *(*realloc)(void *self, void *ptr, size_t nbytes);

    /* At a multiple of `align`, a power of two. NULL: the harness asks alloc() for a block that is
     * larger by `align`. */
    void *(*alloc_aligned)(void *self, size_t align, size_t nbytes);

    /* How many bytes of the block may be used. NULL: not known. */
    size_t (*usable)(void *self, void *ptr);
};

#endif
