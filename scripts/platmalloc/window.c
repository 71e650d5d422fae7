/*
 * window.c - the addresses that everything lives at.
 *
 * One range is reserved at once, as much as there may ever be, and made usable bit by bit. So a
 * pointer that is not ours is known by one comparison, and a table of a byte for each 64 KiB says
 * what the others are. Addresses that are only reserved cost nothing. Where a limit (ulimit -v)
 * forbids so many, the window is smaller.
 *
 * The window is dealt out in slices. A slice becomes an arena of heap_ff, which grows in it and
 * gives back its tail; the next arena begins when it is full, which programs of less than a slice
 * never see. What asks for HUGE_LEAST or more has slices to itself, and they go back at once.
 */
#include <string.h>
#include <sys/mman.h>

#include "mm/backing.h"
#include "platmalloc.h"

#define SLICE_BYTES  ((size_t)1 << 31)
#define SLICE_REACH  (SLICE_BYTES / 16 * 15) /* an arena begins with less than the rest */
#define NSLICES      (WINDOW_BYTES / SLICE_BYTES)
#define WINDOW_LEAST ((size_t)1 << 26)
#define BASE_ALIGN   ((size_t)1 << 21) /* so that huge pages fit */
#define USABLE_STEP  ((size_t)1 << 24)
#define RECORD_CHUNK ((size_t)1 << 18)

/* Under the heap's lock. All zeros: free. */
struct slice {
    uintptr_t given_end;  /* up to here it is somebody's */
    uintptr_t usable_end; /* up to here pages may be touched */
    size_t huge_bytes;    /* of the huge block that begins here */
};

uintptr_t window_base = (uintptr_t)1 << 63;
uint8_t window_class[WINDOW_UNITS];
struct lock record_lock;

static struct slice slices[NSLICES];
static uintptr_t window_end;

static uintptr_t slice_base(size_t i)
{
    return window_base + i * SLICE_BYTES;
}

static size_t slice_of(const void *ptr)
{
    return ((uintptr_t)ptr - window_base) / SLICE_BYTES;
}

/* Give [from, end), in slice `s` and behind it. */
static bool give(struct slice *s, uintptr_t from, uintptr_t end, uintptr_t limit)
{
    uintptr_t usable = mm_min(mm_align_up(end, USABLE_STEP), limit);

    s->usable_end = s->usable_end < from ? from : s->usable_end;
    if (end > limit || end < from) {
        return false;
    }
    if (end > s->usable_end) {
        if (mprotect((void *)s->usable_end, usable - s->usable_end, PROT_READ | PROT_WRITE) != 0) {
            return false;
        }
        s->usable_end = usable;
    }
    s->given_end = end;
    return true;
}

/* The first of `n` free slices in a row; NSLICES: there are none. */
static size_t find_slices(size_t n)
{
    size_t run = 0;

    for (size_t i = 0; i < NSLICES && slice_base(i) < window_end; i++) {
        run = slices[i].given_end == 0 ? run + 1 : 0;
        if (run == n) {
            return i + 1 - n;
        }
    }
    return NSLICES;
}

/* Give pages back; what was locked in memory stays, and is cleared. */
static void empty(void *base, size_t nbytes)
{
    if (madvise(base, nbytes, MADV_DONTNEED) != 0) {
        memset(base, 0, nbytes);
    }
}

/* ---- arenas ---------------------------------------------------------------------------------- */

static uintptr_t slice_limit(size_t i)
{
    return mm_min(slice_base(i + 1), window_end);
}

static void *get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    size_t i = find_slices(1);

    (void)ctx;
    if (i == NSLICES || nbytes > SLICE_BYTES || align > BASE_ALIGN ||
        !give(&slices[i], slice_base(i), slice_base(i) + nbytes, slice_limit(i))) {
        return NULL;
    }
    *got = nbytes;
    return (void *)slice_base(i);
}

static size_t grow(void *ctx, void *end, size_t nbytes)
{
    size_t i = slice_of((char *)end - 1);

    (void)ctx;
    return give(&slices[i], slice_base(i), (uintptr_t)end + nbytes, slice_limit(i)) ? nbytes : 0;
}

static void put(void *ctx, void *base, size_t nbytes)
{
    size_t i = slice_of(base);

    (void)ctx;
    empty(base, nbytes);
    slices[i].given_end = (uintptr_t)base == slice_base(i) ? 0 : (uintptr_t)base;
}

/* ---- huge blocks ----------------------------------------------------------------------------- */

void *window_get(size_t nbytes, size_t align)
{
    size_t n = (nbytes + SLICE_BYTES - 1) / SLICE_BYTES;
    size_t i = find_slices(n);

    if (i == NSLICES || align > BASE_ALIGN ||
        !give(&slices[i], slice_base(i), slice_base(i) + nbytes,
              mm_min(slice_base(i + n), window_end))) {
        return NULL;
    }
    slices[i].huge_bytes = nbytes;
    for (size_t k = 1; k < n; k++) {
        slices[i + k].given_end = slice_base(i + k);
    }
    return (void *)slice_base(i);
}

size_t window_bytes(const void *ptr)
{
    size_t i = slice_of(ptr);

    return (uintptr_t)ptr == slice_base(i) ? slices[i].huge_bytes : 0;
}

void window_put(void *ptr)
{
    size_t i = slice_of(ptr);
    size_t n = (slices[i].huge_bytes + SLICE_BYTES - 1) / SLICE_BYTES;
    size_t usable = slices[i].usable_end - slice_base(i);

    /* Reserved as at first, where that is allowed. */
    if (mmap(ptr, usable, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1,
             0) == MAP_FAILED) {
        empty(ptr, usable);
    }
    for (size_t k = 0; k < n; k++) {
        slices[i + k] = (struct slice){ 0 };
    }
}

/* ---- everything ------------------------------------------------------------------------------ */

bool window_open(struct mm_backing *b)
{
    void *at = MAP_FAILED;
    size_t nbytes = 2 * WINDOW_BYTES;

    while (at == MAP_FAILED && nbytes > WINDOW_LEAST) {
        nbytes /= 2;
        at = mmap(NULL, nbytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    }
    if (at == MAP_FAILED) {
        return false;
    }
    window_end = (uintptr_t)at + nbytes;
    window_base = mm_align_up((uintptr_t)at, BASE_ALIGN);
    *b = (struct mm_backing){
        .name = "window",
        .grain = UNIT_BYTES,
        .reach = mm_min(SLICE_REACH, nbytes / 16 * 15),
        .get = get,
        .put = put,
        .grow = grow,
    };
    return true;
}

void *record_get(size_t nbytes, size_t align)
{
    static uintptr_t at, end; /* under record_lock */
    void *record = NULL;

    lock_take(&record_lock);
    if (mm_align_up(at, align) + nbytes > end) {
        void *chunk =
            mmap(NULL, RECORD_CHUNK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

        if (chunk != MAP_FAILED) {
            at = (uintptr_t)chunk;
            end = at + RECORD_CHUNK;
        }
    }
    if (mm_align_up(at, align) + nbytes <= end) {
        at = mm_align_up(at, align);
        record = (void *)at;
        at += nbytes;
    }
    lock_drop(&record_lock);
    return record;
}
