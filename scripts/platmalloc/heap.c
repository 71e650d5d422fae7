/*
 * heap.c - heap_ff over the window, under one lock: large blocks, and units for spans.
 *
 * Spans want addresses at multiples of their size, and the heap, which has no holes to lose, finds
 * such a place only in a block that is longer by nearly the alignment. So spans are cut from chunks
 * of four units, or are one; a chunk goes back when no span is in it.
 *
 * What is freed stays in memory for the next one: a program that gets and frees much memory again
 * and again does not pay for page faults. But not for ever. All pages of free blocks go back to the
 * kernel at once when there are DIRTY_LEAST bytes of them and DIRTY_SECONDS have gone by since the
 * last time, or when there are more than `dirty_most` and an eighth of the heap. That is
 * DIRTY_MOST, and doubles each time that it happens before those seconds are over.
 *
 * Invariants (heap_check tests each):
 *  H1  heap_ff's own hold
 *  H2  chunks with free units are linked both ways, and no others; none is all free
 *  H3  used_end is behind every block in use
 */
#include "mm/heap_ff.h"

#include <errno.h>
#include <sys/mman.h>
#include <time.h>

#include "platmalloc.h"

#define PAGE          ((uintptr_t)4096)
#define CHUNK_BYTES   (SPAN_UNITS * UNIT_BYTES)
#define CHUNK_FREE    ((1u << SPAN_UNITS) - 1)
#define TRIM_LEAST    (4 * PAGE) /* of a free block, for a call of the kernel to be worth it */
#define HUGE_LEAST    ((size_t)1 << 30) /* beyond which an arena would have no room for more */
#define DIRTY_LEAST   ((size_t)1 << 20)
#define DIRTY_MOST    ((size_t)32 << 20)
#define DIRTY_SECONDS 10

/* Locking: heap_lock. Without a free unit, `next` and `prev` mean nothing; not in use, `next` is
 * the next such record. */
struct chunk {
    struct chunk *next, *prev;
    char *base;
    uint32_t free; /* a bit for each unit that is in no span */
};

struct lock heap_lock;
const void *heap_caller;

/* Under heap_lock. */
static struct heap_ff heap;
static struct chunk *chunks;         /* with free units */
static struct chunk *unused_records; /* for chunks */
static uintptr_t used_end;           /* nothing behind was ever given; it is all zero */
static size_t dirty_bytes;           /* free and in memory, about; more than there are, at times */
static size_t dirty_most = DIRTY_MOST;
static time_t trimmed_at; /* in seconds */

static time_t now(void)
{
    struct timespec t = { 0 };

    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
    return t.tv_sec;
}

bool heap_open(void)
{
    struct mm_backing b;
    const void *pin;

    if (!window_open(&b)) {
        return false;
    }
    heap_ff_init(&heap, &b, DIRTY_MOST);
    /* A block that stays, so that the arena does: it is not made anew when all else is freed. */
    pin = heap_ff_alloc(&heap, 0);
    used_end = (uintptr_t)pin + HEAP_FF_ALIGN;
    trimmed_at = now();
    return pin != NULL;
}

/* ---- giving memory back to the kernel -------------------------------------------------------- */

static bool trim_range(uintptr_t base, uintptr_t end)
{
    base = mm_align_up(base, PAGE);
    end = mm_align_down(end, PAGE);
    return end > base && end - base >= TRIM_LEAST &&
           madvise((void *)base, end - base, MADV_DONTNEED) == 0;
}

static bool trim_block(void *ctx, const struct heap_ff_view *b)
{
    if (!b->used && trim_range((uintptr_t)b->ptr, (uintptr_t)b->ptr + b->nbytes)) {
        *(bool *)ctx = true;
    }
    return true;
}

static bool trim_locked(void)
{
    int saved = errno;
    bool any = false;

    heap_ff_trim(&heap);
    heap_ff_for_each(&heap, trim_block, &any);
    for (struct chunk *c = chunks; c != NULL; c = c->next) {
        for (uint32_t left = c->free; left != 0; left &= left - 1) {
            uintptr_t base = (uintptr_t)c->base + (size_t)__builtin_ctz(left) * UNIT_BYTES;

            any |= trim_range(base, base + UNIT_BYTES);
        }
    }
    dirty_bytes = 0;
    errno = saved;
    return any;
}

static void note_given_locked(const void *ptr, size_t nbytes)
{
    used_end = mm_max(used_end, (uintptr_t)ptr + nbytes);
    dirty_bytes -= mm_min(dirty_bytes, nbytes);
}

static void note_freed_locked(size_t nbytes)
{
    if (nbytes < TRIM_LEAST) {
        return;
    }
    dirty_bytes += nbytes;
    if (dirty_bytes >= DIRTY_LEAST) {
        bool soon = now() <= trimmed_at + DIRTY_SECONDS;

        if (!soon || (dirty_bytes > dirty_most && dirty_bytes > heap.used_bytes / 8)) {
            dirty_most = soon ? 2 * dirty_most : DIRTY_MOST;
            trimmed_at = now();
            (void)trim_locked();
        }
    }
}

bool heap_trim(void)
{
    bool any;

    lock_take(&heap_lock);
    any = trim_locked();
    lock_drop(&heap_lock);
    return any;
}

/* ---- blocks ---------------------------------------------------------------------------------- */

void *heap_get(size_t nbytes, size_t align, size_t *dirty)
{
    char *ptr;

    lock_take(&heap_lock);
    if (nbytes >= HUGE_LEAST) {
        ptr = window_get(nbytes, align);
        *dirty = 0;
    } else {
        ptr = align <= HEAP_FF_ALIGN ? heap_ff_alloc(&heap, nbytes)
                                     : heap_ff_alloc_aligned(&heap, nbytes, align);
    }
    if (ptr != NULL && nbytes < HUGE_LEAST) {
        *dirty = mm_min(nbytes, used_end - mm_min(used_end, (uintptr_t)ptr));
        note_given_locked(ptr, nbytes);
    }
    lock_drop(&heap_lock);
    return ptr;
}

void heap_put(void *ptr, const void *from)
{
    size_t nbytes;

    lock_take(&heap_lock);
    heap_caller = from;
    if (window_bytes(ptr) != 0) {
        window_put(ptr);
    } else {
        nbytes = heap_ff_size(&heap, ptr);
        heap_ff_free(&heap, ptr);
        note_freed_locked(nbytes);
    }
    heap_caller = NULL;
    lock_drop(&heap_lock);
}

size_t heap_usable(void *ptr, const void *from)
{
    size_t nbytes;

    lock_take(&heap_lock);
    heap_caller = from;
    nbytes = window_bytes(ptr);
    nbytes = nbytes != 0 ? nbytes : heap_ff_size(&heap, ptr);
    heap_caller = NULL;
    lock_drop(&heap_lock);
    return nbytes;
}

static bool resize_locked(void *ptr, size_t nbytes)
{
    size_t was = heap_ff_size(&heap, ptr);

    if (nbytes <= was && nbytes >= was - was / 8) {
        return true;
    }
    if (!(nbytes > was && heap_ff_resize(&heap, ptr, heap_with_room(nbytes))) &&
        !heap_ff_resize(&heap, ptr, nbytes)) {
        return false;
    }
    note_given_locked(ptr, heap_ff_size(&heap, ptr));
    note_freed_locked(was - mm_min(was, nbytes));
    return true;
}

bool heap_resize(void *ptr, size_t nbytes, const void *from)
{
    bool done;

    lock_take(&heap_lock);
    heap_caller = from;
    done = window_bytes(ptr) == 0 && nbytes < HUGE_LEAST && resize_locked(ptr, nbytes);
    heap_caller = NULL;
    lock_drop(&heap_lock);
    return done;
}

/* ---- units ----------------------------------------------------------------------------------- */

static void link_locked(struct chunk *c)
{
    c->prev = NULL;
    c->next = chunks;
    if (chunks != NULL) {
        chunks->prev = c;
    }
    chunks = c;
}

static void unlink_locked(struct chunk *c)
{
    if (c->prev != NULL) {
        c->prev->next = c->next;
    } else {
        chunks = c->next;
    }
    if (c->next != NULL) {
        c->next->prev = c->prev;
    }
}

static struct chunk *chunk_make_locked(void)
{
    struct chunk *c = unused_records;
    char *base = heap_ff_alloc_aligned(&heap, CHUNK_BYTES, CHUNK_BYTES);

    if (base != NULL && c == NULL) {
        c = record_get(sizeof(*c), _Alignof(struct chunk));
    }
    if (c == NULL) {
        heap_ff_free(&heap, base);
        return NULL;
    }
    if (base == NULL) {
        return NULL;
    }
    unused_records = c->next;
    window_set_class(base, SPAN_UNITS, CLASS_NONE);
    *c = (struct chunk){ .base = base, .free = CHUNK_FREE };
    used_end = mm_max(used_end, (uintptr_t)base + CHUNK_BYTES);
    link_locked(c);
    return c;
}

void *units_get(unsigned n, struct chunk **chunk)
{
    struct chunk *c;
    char *ptr = NULL;

    lock_take(&heap_lock);
    c = n == 1 && chunks != NULL ? chunks : chunk_make_locked();
    if (c != NULL) {
        unsigned at = (unsigned)__builtin_ctz(c->free);

        ptr = c->base + at * UNIT_BYTES;
        c->free &= ~(((1u << n) - 1) << at);
        if (c->free == 0) {
            unlink_locked(c);
        }
        dirty_bytes -= mm_min(dirty_bytes, n * UNIT_BYTES);
        *chunk = c;
    }
    lock_drop(&heap_lock);
    return ptr;
}

void units_put(struct chunk *c, void *base, unsigned n)
{
    size_t at = (size_t)((char *)base - c->base) / UNIT_BYTES;

    lock_take(&heap_lock);
    if (c->free == 0) {
        link_locked(c);
    }
    c->free |= ((1u << n) - 1) << at;
    if (c->free == CHUNK_FREE) {
        unlink_locked(c);
        window_set_class(c->base, SPAN_UNITS, 0);
        heap_ff_free(&heap, c->base);
        c->next = unused_records;
        unused_records = c;
    }
    note_freed_locked(n * UNIT_BYTES);
    lock_drop(&heap_lock);
}

/* ---- the check ------------------------------------------------------------------------------- */

static bool check_block(void *ctx, const struct heap_ff_view *b)
{
    if (b->used) {
        *(uintptr_t *)ctx = (uintptr_t)b->ptr + b->nbytes;
    }
    return true;
}

static const char *check_locked(void)
{
    const char *broken = heap_ff_check(&heap);
    const struct chunk *prev = NULL;
    uintptr_t last = 0;

    if (broken != NULL) {
        return broken;
    }
    for (const struct chunk *c = chunks; c != NULL; prev = c, c = c->next) {
        if (c->prev != prev || c->free == 0 || c->free >= CHUNK_FREE) {
            return "H2: a chunk is linked wrongly, or wrongly linked";
        }
    }
    heap_ff_for_each(&heap, check_block, &last);
    return last > mm_align_up(used_end, HEAP_FF_ALIGN) ? "H3: a block lies behind used_end" : NULL;
}

const char *heap_check(void)
{
    const char *broken;

    lock_take(&heap_lock);
    broken = check_locked();
    lock_drop(&heap_lock);
    return broken;
}
