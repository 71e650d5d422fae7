/*
 * mix.h - the output function of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom
 * number generators, 2014): words that differ little become words that have nothing in common.
 */
#ifndef LIB_MIX_H
#define LIB_MIX_H

#include <stdint.h>

static inline uint64_t mix64(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
