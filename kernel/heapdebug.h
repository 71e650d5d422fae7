/*
 * heapdebug.h - what the debug build knows of kmalloc's blocks, in words.
 *
 * In other builds nobody knows anything.
 */
#ifndef HEAPDEBUG_H
#define HEAPDEBUG_H

#include "mm/kmalloc_debug.h"
#include "mm/types.h"

#ifdef PMM_DEBUG

#define SITE_TEXT 96u

/* "0x..., name+0x...": the function that a return address is in. */
char *heapdebug_site(char text[SITE_TEXT], uint64_t site);

/* Print what `addr` has to do with the block `b`, and who had it. Takes no lock. */
void heapdebug_tell(uint64_t addr, const struct kmalloc_block *b);

/* As heapdebug_tell(), if `addr` is near a guarded block. For panics. */
void heapdebug_tell_fault(uint64_t addr);

/* `broken` of kmalloc_check(), and which block it is about. Until the next call. */
const char *heapdebug_broken(const char *broken);

/* Guard sizes lo to hi; hi of 0: none. */
void heapdebug_guard(size_t lo, size_t hi);

#else

static inline void heapdebug_tell_fault(uint64_t addr)
{
    (void)addr;
}

static inline const char *heapdebug_broken(const char *broken)
{
    return broken;
}

#endif

#endif
