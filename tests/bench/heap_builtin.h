/*
 * heap_builtin.h - the allocators that are linked into bench_heap.
 */
#ifndef BENCH_HEAP_BUILTIN_H
#define BENCH_HEAP_BUILTIN_H

#include "heap.h"

extern const struct heap_allocator heap_loop;
extern const struct heap_allocator heap_libc;
extern const struct heap_allocator heap_list;
extern const struct heap_allocator heap_ff;
extern const struct heap_allocator heap_buddy;

#endif
