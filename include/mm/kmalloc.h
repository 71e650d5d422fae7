/*
 * kmalloc.h - the kernel's malloc.
 *
 * Model:    three layers, and what each has its memory from:
 *
 *               up to KMALLOC_SLAB_MAX bytes      slab caches, 32 sizes    <- frames
 *               below KMALLOC_FRAMES_MIN bytes    one first-fit heap       <- runs of frames
 *               from there on                     whole frames             <- frames
 *
 *           A size that its own layer can't serve, as memory is fragmented, is served by the next
 *           one. Sizes are spaced so that a block is at most an eighth larger than what it was
 *           asked for, rounded up to 16 bytes. All of it is seen through the direct map, so it is
 *           physically contiguous.
 *
 *           Which layer a pointer is from is looked up by its frame (mm/heap/kmalloc_map.h), O(1).
 *
 * Alignment: 16 bytes, KMALLOC_FRAMES_MIN and more a page; of small sizes that are a power of two
 *           the size itself.
 *
 * Locking:  locks of the slab caches, of rank MM_RANK_SLABS and MM_RANK_SLAB, and one of rank
 *           MM_RANK_HEAP, all taken inside, and the pmm's under them. Nothing sleeps; interrupt
 *           handlers may call.
 *
 * Errors:   out of memory is NULL, after all that is kept for later was given back. Freeing,
 *           resizing or measuring what was not given or was freed already stops the machine, saying
 *           which and who asked; so does damage that a call meets on its way.
 */
#ifndef MM_KMALLOC_H
#define MM_KMALLOC_H

#include "mm/pmm.h"
#include "mm/slab.h"

#define KMALLOC_ALIGN      16u /* what every pointer is a multiple of, at least */
#define KMALLOC_SLAB_MAX   1024u
#define KMALLOC_FRAMES_MIN 262144u

/* Frames come from `p` from now on, whose processors are those that call. Stops the machine if it
 * has not one frame for each two of them. Context: boot, one CPU. */
void kmalloc_init(struct pmm *p);

/* A size of 0 is as 1. Contents are undefined. */
MM_MUST_CHECK void *kmalloc(size_t nbytes);

/* At a multiple of `align`, a power of two (else NULL); beyond a page, of whole frames. */
MM_MUST_CHECK void *kmalloc_aligned(size_t nbytes, size_t align);

/* count * nbytes zero bytes; NULL if the product overflows. */
MM_MUST_CHECK void *kzalloc(size_t count, size_t nbytes);

/*
 * Change the size of a block, in place if it is of the size that would be given, or the heap has
 * room behind it; else it moves. What shrinks stays where it is if there is no other place. NULL
 * `ptr` allocates. On NULL the old block is as it was. Alignment beyond that of kmalloc() is kept
 * only if the block does not move.
 */
MM_MUST_CHECK void *krealloc(void *ptr, size_t nbytes);

/* NULL is fine. */
void kfree(void *ptr);

/* Usable bytes at `ptr`: as many as were asked for, or a few more. */
size_t kmalloc_size(const void *ptr);

/* Give back to the pool all that is kept for later. Returns how many bytes. O(what is kept). */
size_t kmalloc_reclaim(void);

struct kmalloc_stats {
    /* Slab caches; kmalloc_slabs() shows them one by one. */
    size_t slab_bytes;                /* of slabs, those of magazines included */
    size_t slab_used_bytes, nobjects; /* that users have */
    /* The first-fit heap. */
    size_t arena_bytes;
    size_t used_bytes, free_bytes; /* in arenas; the rest is what the heap needs for itself */
    size_t largest_free;           /* largest request that would succeed without growing */
    size_t nused, nfree, narenas;
    size_t peak_arena_bytes, peak_used_bytes;
    size_t spare_bytes; /* of a run that is kept for the next arena */
    /* Whole frames. */
    size_t block_bytes, nblocks;
    size_t map_bytes; /* of what tells the layers apart */
};

void kmalloc_get_stats(struct kmalloc_stats *s);

/*
 * Have `fn` hear of each block from now on, NULL: nobody. A block came (`was` is NULL, `align` is 0
 * where none was asked for), goes (`now` is NULL) or was resized. A block that goes or moves is
 * heard of before others can get its memory. `fn` is called in any context, with kmalloc's locks
 * held or not; it may not allocate or free. Whoever replaces it sees to it that no other processor
 * is in it.
 */
typedef void kmalloc_trace_fn(const void *was, const void *now, size_t nbytes, size_t align);
void kmalloc_set_trace(kmalloc_trace_fn *fn);

/* The caches of the slab layer, for display. */
struct slab_set *kmalloc_slabs(void);

/* The name of what the heap has its memory from. */
const char *kmalloc_heap_backing(void);

enum kmalloc_layer { KMALLOC_SLAB, KMALLOC_HEAP, KMALLOC_FRAMES };

/* One block, as kmalloc_for_each() shows it. */
struct kmalloc_view {
    const void *ptr; /* what the caller of kmalloc() has, or would get */
    size_t nbytes;   /* usable */
    bool used;
    bool first_in_arena;
    enum kmalloc_layer layer;
};

/*
 * Call `fn` for each block of a layer: of a heap, and of whole frames, by address; of slabs those
 * that were ever used, cache by cache. Stops when it returns false. Locks are held: `fn` may not
 * allocate or free. Exact while nobody else does.
 */
void kmalloc_for_each(enum kmalloc_layer layer, bool (*fn)(void *ctx, const struct kmalloc_view *b),
                      void *ctx);

/* NULL if the invariants of kmalloc.c hold and those of the layers, else the first broken one as
 * text. Exact while nobody else allocates or frees. O(blocks). */
const char *kmalloc_check(void);

#endif
