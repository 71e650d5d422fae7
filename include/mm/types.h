/*
 * types.h - the words that every part of mm/ shares: addresses, frames, errors, alignment.
 *
 * A physical address and a frame number are wrapped in a struct, so that the compiler refuses one
 * where the other, or a pointer, is meant. Virtual addresses are plain uint64_t named `va`.
 * Ranges are half open, [base, end), or base + length. Sizes are in bytes (`nbytes`) or frames
 * (`nframes`, `count`); an `order` n means 2^n frames.
 */
#ifndef MM_TYPES_H
#define MM_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MM_PAGE_SHIFT 12
#define MM_PAGE_SIZE  (UINT64_C(1) << MM_PAGE_SHIFT)

typedef struct {
    uint64_t v;
} pa_t; /* physical byte address */
typedef struct {
    uint64_t v;
} pfn_t; /* pa >> MM_PAGE_SHIFT; frame 0 is real, so: */
#define PFN_NONE ((pfn_t){ UINT64_MAX })

static inline pa_t pa_make(uint64_t v)
{
    return (pa_t){ v };
}

static inline pfn_t pfn_make(uint64_t v)
{
    return (pfn_t){ v };
}

static inline pa_t pa_of_pfn(pfn_t pfn)
{
    return (pa_t){ pfn.v << MM_PAGE_SHIFT };
}

/* The frame that holds `pa`. */
static inline pfn_t pfn_of_pa(pa_t pa)
{
    return (pfn_t){ pa.v >> MM_PAGE_SHIFT };
}

static inline bool pfn_is_none(pfn_t pfn)
{
    return pfn.v == UINT64_MAX;
}

/* 0 or negative. Results travel by out pointer and are written only on MM_OK. */
typedef int mm_err_t;
enum {
    MM_OK = 0,
    MM_EINVAL = -1, /* an argument is out of its stated range, misaligned, or wraps */
    MM_ENOMEM = -2, /* no frame, block or range that satisfies the request exists */
    MM_EBUSY = -3,  /* the place asked for is taken, at least in part */
    MM_ENOENT = -4, /* nothing is there: unmapped address, frame that is not ours */
    MM_ENOSPC = -5, /* the storage that the caller gave is too small */
    MM_EFRAG = -6,  /* enough is free, but nowhere in the shape asked for */
    MM_ELIMIT = -7, /* something fits, but lies beyond the limit asked for */
};

/* A word for the error: "out of memory", ... Never NULL. */
const char *mm_strerror(mm_err_t err);

#define MM_MUST_CHECK        __attribute__((warn_unused_result))
#define MM_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MM_COUNTOF(a)        (sizeof(a) / sizeof((a)[0]))

/* `align` is a power of two. mm_align_up wraps to 0 when there is no such value. */
static inline uint64_t mm_align_down(uint64_t v, uint64_t align)
{
    return v & ~(align - 1);
}

static inline uint64_t mm_align_up(uint64_t v, uint64_t align)
{
    return (v + align - 1) & ~(align - 1);
}

static inline bool mm_is_aligned(uint64_t v, uint64_t align)
{
    return (v & (align - 1)) == 0;
}

static inline bool mm_is_pow2(uint64_t v)
{
    return v != 0 && (v & (v - 1)) == 0;
}

static inline uint64_t mm_min(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static inline uint64_t mm_max(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

#endif
