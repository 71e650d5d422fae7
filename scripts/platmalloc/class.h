/*
 * class.h - the sizes that small requests are rounded up to.
 *
 * Up to 128 bytes the multiples of 16; above, eight to each doubling. So what is lost is less than
 * a ninth of the object, or 15 bytes. Class 0 is none.
 */
#ifndef PLATMALLOC_CLASS_H
#define PLATMALLOC_CLASS_H

#include <stddef.h>
#include <stdint.h>

#define CLASS_SHIFT  15u
#define CLASS_MAX    ((size_t)1 << CLASS_SHIFT) /* bytes of the largest objects */
#define NCLASSES     (9u + 8u * (CLASS_SHIFT - 7u))
#define CLASS_NONE   NCLASSES /* of nothing */
#define CLASS_TABLED 1024u

/* By (nbytes + 15) / 16. */
extern const uint8_t class_table[CLASS_TABLED / 16 + 1];

/* Of 129 bytes to CLASS_MAX. */
static inline unsigned class_compute(size_t nbytes)
{
    unsigned log = 63u - (unsigned)__builtin_clzll(nbytes - 1);

    return 9 + (log - 7) * 8 + ((unsigned)((nbytes - 1) >> (log - 3)) & 7);
}

/* Of up to CLASS_MAX bytes. */
static inline unsigned class_of(size_t nbytes)
{
    return nbytes <= CLASS_TABLED ? class_table[(nbytes + 15) / 16] : class_compute(nbytes);
}

static inline size_t class_bytes(unsigned class)
{
    return class <= 8 ? class * 16 : (size_t)(9 + (class - 9) % 8) << (4 + (class - 9) / 8);
}

#endif
