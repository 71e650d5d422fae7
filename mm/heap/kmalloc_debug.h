/*
 * kmalloc_debug.h - between kmalloc.c and what the debug build puts before it.
 */
#ifndef MM_HEAP_KMALLOC_DEBUG_H
#define MM_HEAP_KMALLOC_DEBUG_H

#ifdef PMM_DEBUG

#include "mm/kmalloc.h"

/* kmalloc.c: blocks without anything around them. `from` is who asked, for messages. */
MM_MUST_CHECK void *kraw_alloc(size_t nbytes, size_t align);
void kraw_free(void *ptr, const void *from);
size_t kraw_size(const void *ptr, const char *verb, const void *from);
void kraw_note(const void *was, const void *now, size_t nbytes, size_t align);

/* kmalloc_debug.c: NULL if each block is as it must be, else which one is not. */
const char *kdebug_check(void);

/* Freed blocks wait no longer. Returns how many bytes did. */
size_t kdebug_flush(const void *from);

/* Forget all blocks: kmalloc begins anew. */
void kdebug_init(void);

#endif

#endif
