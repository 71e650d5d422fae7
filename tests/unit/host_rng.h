/*
 * host_rng.h - random numbers, for the unit tests and the benchmark: SplitMix64 (Steele, Lea, Flood
 * 2014). Any seed is as good as any other.
 */
#ifndef HOST_RNG_H
#define HOST_RNG_H

#include <stdint.h>

struct host_rng {
    uint64_t state;
};

static inline uint64_t host_rng_next(struct host_rng *r)
{
    uint64_t z = r->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

#endif
