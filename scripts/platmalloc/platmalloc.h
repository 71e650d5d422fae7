/*
 * platmalloc.h - what the files of libplatmalloc share.
 *
 * Layers, each of which knows those below it:
 *
 *     malloc.c   the functions of the C library, and their fast paths
 *     cache.c    a thread's magazines; threads that exit; fork
 *     span.c     classes of objects: spans with a bitmap, and the depot of magazines
 *     heap.c     heap_ff (mm/heap) over the window: large blocks, and units for spans
 *     window.c   one reserved range of addresses, which grows and gives back its tail
 *
 * Locking: lock_take() of a class, then of the heap, then of the memory for records (window.c); of
 *          two classes, the lower one first, which only fork does. A thread's cache is its own.
 *
 * Nothing here calls what allocates.
 */
#ifndef PLATMALLOC_H
#define PLATMALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "class.h"
#include "lock.h"
#include "mm/types.h"

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

#define UNIT_SHIFT   16u
#define UNIT_BYTES   ((size_t)1 << UNIT_SHIFT)
#define SPAN_UNITS   4u /* of the longer spans */
#define WINDOW_BYTES ((size_t)1 << 40)
#define WINDOW_UNITS (WINDOW_BYTES / UNIT_BYTES)

/* ---- window.c -------------------------------------------------------------------------------- */

/*
 * Where the window begins, a multiple of 2 MiB; before window_open() an address that makes every
 * pointer lie outside. An address is looked up by its distance from there, modulo 2^64.
 */
extern uintptr_t window_base;

/*
 * What a unit of the window is: 0 if the heap deals it out as blocks, the class of the objects in
 * it, or CLASS_NONE if it is kept for spans but in none. Changes only where nothing is in use.
 */
extern uint8_t window_class[WINDOW_UNITS];

static inline void window_set_class(const void *base, size_t nunits, unsigned class)
{
    __builtin_memset(&window_class[((uintptr_t)base - window_base) >> UNIT_SHIFT], (int)class,
                     nunits);
}

struct mm_backing;

/* Reserve it, and say how the heap gets memory there. False: there are no addresses. */
bool window_open(struct mm_backing *b);

/* Blocks that are too large for the heap, zeroed, under the heap's lock. window_bytes() is 0 for
 * whatever is not the start of one. */
void *window_get(size_t nbytes, size_t align);
size_t window_bytes(const void *ptr);
void window_put(void *ptr);

/* Memory for our own records, zeroed, never given back. NULL: there is none. */
void *record_get(size_t nbytes, size_t align);
extern struct lock record_lock; /* for fork */

/* ---- heap.c ---------------------------------------------------------------------------------- */

extern struct lock heap_lock; /* for fork */

/* Who called the library, while the heap may stop; for the message. */
extern const void *heap_caller;

bool heap_open(void);

/* *dirty: so many bytes at the start of the block may be other than 0. NULL: out of memory. */
void *heap_get(size_t nbytes, size_t align, size_t *dirty);
void heap_put(void *ptr, const void *from);
size_t heap_usable(void *ptr, const void *from);

/* Where the block is, to more than CLASS_MAX bytes; what grows gets heap_with_room() of it if that
 * can be. False: it is as it was. */
bool heap_resize(void *ptr, size_t nbytes, const void *from);

/* What to ask for when a block grows to `nbytes`: so a string that grows byte by byte is not moved
 * each time. */
static inline size_t heap_with_room(size_t nbytes)
{
    return nbytes < SIZE_MAX / 2 ? nbytes + nbytes / 8 : nbytes;
}

/* `n` units, 1 or SPAN_UNITS, at a multiple of that, and their chunk. NULL: out of memory. */
struct chunk;
void *units_get(unsigned n, struct chunk **chunk);
void units_put(struct chunk *c, void *base, unsigned n);

/* Give the kernel all pages of free blocks. True: there were any. */
bool heap_trim(void);

/* NULL if the invariants of heap.c hold, else the first broken one as text. Reads only. */
const char *heap_check(void);

/* ---- span.c ---------------------------------------------------------------------------------- */

#define ROUNDS 63 /* of a magazine */

/*
 * Free objects of one class: slots 1 to `n` are in use. It is aligned to its size, so that a
 * pointer to the slot used last tells how many there are, and which magazine it is.
 */
struct magazine {
    union {
        struct magazine *next; /* in the depot */
        void *first;
    };
    void *round[ROUNDS];
};
_Static_assert(sizeof(struct magazine) == 512, "a power of two");

#define MAGAZINE_MASK (sizeof(struct magazine) - 1)

/* What is known of a class before there is any object of it. */
struct shape {
    uint64_t reciprocal; /* 2^64 / bytes of an object, rounded up */
    uint64_t span_mask;  /* bytes of a span - 1 */
};
extern struct shape shapes[NCLASSES + 1]; /* CLASS_NONE has no objects */

void span_open(void);

/* How many objects of a class a magazine is filled with, 1 to ROUNDS. */
unsigned span_rounds(unsigned class);

/* Up to `n` objects, to take in order from the end of `out`. Fewer: out of memory. */
unsigned span_get(unsigned class, void **out, unsigned n);
void span_put(unsigned class, void **in, unsigned n);

/*
 * Change an empty magazine, or NULL, for one with objects; how many is in *n. The result is NULL if
 * there is no memory, and then the magazine is still the caller's.
 */
struct magazine *depot_get(unsigned class, struct magazine *m, unsigned *n);

/* Change a full magazine for an empty one; NULL is full enough. NULL: there is no memory. */
struct magazine *depot_put(unsigned class, struct magazine *m);

/* Take a magazine, and the `n` objects in it. NULL is fine. */
void depot_take_back(unsigned class, struct magazine *m, unsigned n);

/* Give what is in the depot to its spans, and empty spans to the heap. */
void span_trim(void);

/* NULL if the invariants of span.c hold, else the first broken one as text. Reads only. */
const char *span_check(void);

/* For fork. */
void span_lock_all(void);
void span_unlock_all(void);

/* ---- cache.c --------------------------------------------------------------------------------- */

/* Of one thread, for one class. All zeros is full and empty: so class 0 and CLASS_NONE stay. */
struct bin {
    void **top;     /* the slot used last of the loaded magazine; slot 0 if it is empty */
    uintptr_t full; /* offset of the last slot that may be used */
};

extern _Thread_local struct bin bins[NCLASSES + 1] __attribute__((tls_model("initial-exec")));

/* NULL: out of memory. */
void *cache_get_slow(unsigned class);
/* False: it is the one that was put last. */
bool cache_put_slow(unsigned class, void *ptr);

/* Give back what this thread keeps. */
void cache_flush(void);

/* Open everything; true if that was done already, or now. */
bool cache_open(void);

#endif
