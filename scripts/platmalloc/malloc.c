/*
 * malloc.c - malloc and its family.
 *
 * The way of nearly every call: malloc() finds the class of a size in a table, and takes what lies
 * on top of this thread's magazine for it. free() finds the class of an address in a table of a
 * byte for each 64 KiB, and puts it there. No lock, no atomic operation, nothing read or written
 * but the two tables, the top of the magazine, and not the object: what is freed may be cold, and
 * to touch it costs more than everything else. (Marks in free objects, as mm/slab has them, were
 * tried: they make the recorded programs slower by 20 to 80 %.)
 *
 * What is checked on that way: that the pointer is where an object begins, and that it is not the
 * one that was freed last. What else is noticed, span.c and mm/heap tell.
 *
 * As POSIX has it: sizes beyond PTRDIFF_MAX are ENOMEM; free() keeps errno; of 0 bytes there are
 * blocks, each with an address of its own, and realloc(ptr, 0) makes it one.
 */
#include "platmalloc.h"

#include "mm/port.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#define PUBLIC   __attribute__((visibility("default")))
#define COLD     __attribute__((noinline, cold))
#define CALLER() __builtin_return_address(0)
#define PAGE     ((size_t)4096)

/* ---- what an address is ---------------------------------------------------------------------- */

/* From the start of the window; WINDOW_BYTES or more if it lies outside. */
static inline size_t distance(const void *ptr)
{
    return (uintptr_t)ptr - window_base;
}

/* 0: not of a span. */
static inline unsigned class_at(const void *ptr)
{
    size_t unit = distance(ptr) >> UNIT_SHIFT;

    return likely(unit < WINDOW_UNITS) ? window_class[unit] : 0;
}

/*
 * With r = ceil(2^64 / size), an offset in a span is a multiple of the size if and only if its
 * product with r, modulo 2^64, is below r (Lemire, Kaser, Kurz, "Faster remainder by direct
 * computation", 2019): spans and sizes are so short that the error of r does not add up to one.
 */
static inline bool is_object(unsigned class, const void *ptr)
{
    const struct shape *s = &shapes[class];

    return (distance(ptr) & s->span_mask) * s->reciprocal < s->reciprocal;
}

static _Noreturn COLD void die(const char *verb, const void *ptr, const void *from,
                               const char *what)
{
    port_panic("%s(%p), called from %p: %s", verb, ptr, from, what);
}

/* Of the heap's own blocks, the heap knows. */
static void must_be_ours(const char *verb, unsigned class, const void *ptr, const void *from)
{
    if (distance(ptr) >= WINDOW_BYTES) {
        die(verb, ptr, from, "it was never given: outside of the heap");
    }
    if (class == CLASS_NONE) {
        die(verb, ptr, from, "it was freed already, or never given");
    }
    if (class != 0 && !is_object(class, ptr)) {
        die(verb, ptr, from, "it was never given: it lies inside an object");
    }
}

/* ---- to get and to put ----------------------------------------------------------------------- */

static COLD void *get_large(size_t nbytes, size_t align, size_t *dirty)
{
    void *ptr = NULL;

    if (nbytes <= PTRDIFF_MAX && align <= PTRDIFF_MAX - nbytes && cache_open()) {
        ptr = heap_get(nbytes, align, dirty);
    }
    if (ptr == NULL) {
        errno = ENOMEM;
    }
    return ptr;
}

static COLD void *get_block(size_t nbytes, size_t align)
{
    size_t dirty;

    return get_large(nbytes, align, &dirty);
}

static inline void *get(size_t nbytes)
{
    unsigned class;
    struct bin *b;
    void **top;

    if (likely(nbytes <= CLASS_TABLED)) {
        class = class_table[(nbytes + 15) / 16];
    } else if (likely(nbytes <= CLASS_MAX)) {
        class = class_compute(nbytes);
    } else {
        return get_block(nbytes, 16);
    }
    b = &bins[class];
    top = b->top;
    if (unlikely(((uintptr_t)top & MAGAZINE_MASK) == 0)) {
        return cache_get_slow(class);
    }
    b->top = top - 1;
    __builtin_prefetch(top[-1], 1); /* it is the next, and will be written to */
    return *top;
}

/* For full magazines, blocks of the heap, NULL, and what is wrong. put() ends with a jump here, so
 * that the caller is the caller of free(). */
static COLD void put_slow(void *ptr)
{
    unsigned class = class_at(ptr);
    int saved = errno;

    if (ptr == NULL) {
        return;
    }
    must_be_ours("free", class, ptr, CALLER());
    if (class == 0) {
        heap_put(ptr, CALLER());
    } else if (!cache_put_slow(class, ptr)) {
        die("free", ptr, CALLER(), "it was freed already");
    }
    errno = saved;
}

static inline void put(void *ptr)
{
    unsigned class = class_at(ptr);
    struct bin *b = &bins[class];
    void **top = b->top;

    if (unlikely(((uintptr_t)top & MAGAZINE_MASK) == b->full || !is_object(class, ptr) ||
                 *top == ptr)) {
        put_slow(ptr);
        return;
    }
    top[1] = ptr;
    b->top = top + 1;
}

static COLD size_t usable(const char *verb, void *ptr, const void *from)
{
    unsigned class = class_at(ptr);

    must_be_ours(verb, class, ptr, from);
    return class != 0 ? class_bytes(class) : heap_usable(ptr, from);
}

/* An object stays where it is while at least half of it is used. */
static inline void *resize(void *ptr, size_t nbytes, const void *from)
{
    unsigned class = class_at(ptr);
    size_t was;
    void *is;

    if (unlikely(ptr == NULL)) {
        return get(nbytes);
    }
    if (class == 0 && nbytes > CLASS_MAX && distance(ptr) < WINDOW_BYTES &&
        heap_resize(ptr, nbytes, from)) {
        return ptr;
    }
    was = likely(class != 0 && is_object(class, ptr)) ? class_bytes(class)
                                                      : usable("realloc", ptr, from);
    if (nbytes <= was && nbytes >= was / 2) {
        return ptr;
    }
    is = class == 0 && nbytes > was ? get(heap_with_room(nbytes)) : NULL;
    is = is != NULL ? is : get(nbytes);
    if (is != NULL) {
        memcpy(is, ptr, was < nbytes ? was : nbytes);
        put(ptr);
    }
    return is;
}

static bool is_power(size_t align)
{
    return align != 0 && (align & (align - 1)) == 0;
}

/* Objects lie at multiples of their size, so some class has what up to a page is asked for. */
static void *get_aligned(size_t align, size_t nbytes)
{
    unsigned class;

    if (align <= 16) {
        return get(nbytes);
    }
    if (align > PAGE || nbytes > CLASS_MAX) {
        return get_block(nbytes, align);
    }
    nbytes = nbytes != 0 ? nbytes : 1;
    class = class_of((nbytes + align - 1) & ~(align - 1));
    while (class_bytes(class) % align != 0) {
        class ++; /* CLASS_MAX is a multiple of a page */
    }
    return get(class_bytes(class));
}

/* ---- the functions of the C library ---------------------------------------------------------- */

PUBLIC void *malloc(size_t nbytes)
{
    return get(nbytes);
}

PUBLIC void free(void *ptr)
{
    put(ptr);
}

PUBLIC void *calloc(size_t count, size_t nbytes)
{
    size_t total;
    size_t dirty;
    void *ptr;

    if (__builtin_mul_overflow(count, nbytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    if (likely(total <= CLASS_MAX)) {
        ptr = get(total);
        dirty = total;
    } else {
        ptr = get_large(total, 16, &dirty);
    }
    return ptr != NULL ? memset(ptr, 0, dirty) : NULL;
}

PUBLIC void *realloc(void *ptr, size_t nbytes)
{
    return resize(ptr, nbytes, CALLER());
}

PUBLIC void *reallocarray(void *ptr, size_t count, size_t nbytes)
{
    size_t total;

    if (__builtin_mul_overflow(count, nbytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return resize(ptr, total, CALLER());
}

PUBLIC void *memalign(size_t align, size_t nbytes)
{
    if (!is_power(align)) {
        errno = EINVAL;
        return NULL;
    }
    return get_aligned(align, nbytes);
}

PUBLIC void *aligned_alloc(size_t align, size_t nbytes)
{
    return memalign(align, nbytes);
}

PUBLIC int posix_memalign(void **out, size_t align, size_t nbytes)
{
    int saved = errno;
    void *ptr;

    if (!is_power(align) || align % sizeof(void *) != 0) {
        return EINVAL;
    }
    ptr = get_aligned(align, nbytes);
    errno = saved;
    if (ptr == NULL) {
        return ENOMEM;
    }
    *out = ptr;
    return 0;
}

PUBLIC void *valloc(size_t nbytes)
{
    return get_aligned(PAGE, nbytes);
}

PUBLIC void *pvalloc(size_t nbytes)
{
    size_t whole = (nbytes + PAGE - 1) & ~(PAGE - 1);

    if (whole < nbytes) {
        errno = ENOMEM;
        return NULL;
    }
    return get_aligned(PAGE, whole);
}

PUBLIC size_t malloc_usable_size(void *ptr)
{
    return ptr != NULL ? usable("malloc_usable_size", ptr, CALLER()) : 0;
}

/* The tail is kept no longer than all else that is free: `keep` does not matter. */
PUBLIC int malloc_trim(size_t keep)
{
    int saved = errno;
    bool any;

    (void)keep;
    if (!cache_open()) {
        return 0;
    }
    cache_flush();
    span_trim();
    any = heap_trim();
    errno = saved;
    return any;
}
