/*
 * builtin.h - the allocators that are linked into bench_frames.
 */
#ifndef BENCH_BUILTIN_H
#define BENCH_BUILTIN_H

#include "frames.h"

extern const struct frames_allocator frames_bitmap;
extern const struct frames_allocator frames_buddy;
extern const struct frames_allocator frames_plat;

#endif
