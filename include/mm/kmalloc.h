/*
 * kmalloc.h - the kernel's malloc.
 *
 * Model:    one first-fit heap whose arenas are runs of frames seen through the direct map, so
 *           memory is physically contiguous. It fetches 64 frames at least, more when it is large,
 *           fewer when memory is fragmented. Runs that become empty go back, but for one that is
 *           kept for the next time.
 *
 * Locking:  the heap's lock, taken inside, and the pmm's under it. Nothing sleeps; interrupt
 *           handlers may call.
 *
 * Errors:   as heap_ff.h.
 */
#ifndef MM_KMALLOC_H
#define MM_KMALLOC_H

#include "mm/heap_ff.h"
#include "mm/pmm.h"

/* Frames come from `p` from now on. Context: boot, one CPU. */
void kmalloc_init(struct pmm *p);

/* Each is the function of heap_ff.h of that name, on one heap; kzalloc() is _alloc_zeroed(). */
MM_MUST_CHECK void *kmalloc(size_t nbytes);
MM_MUST_CHECK void *kmalloc_aligned(size_t nbytes, size_t align);
MM_MUST_CHECK void *kzalloc(size_t count, size_t nbytes);
MM_MUST_CHECK void *krealloc(void *ptr, size_t nbytes);
void kfree(void *ptr);

/* The heap behind it, for display and checks. */
struct heap_ff *kmalloc_heap(void);

#endif
