/*
 * entropy.h - random numbers for the slides and for the kernel: from EFI_RNG_PROTOCOL and RDRAND
 * if they are there, from the clock in any case.
 */
#ifndef EFI_ENTROPY_H
#define EFI_ENTROPY_H

#include "firmware.h"

struct entropy {
    uint64_t v[4];
    bool good; /* a source that is meant for it took part, not the clock alone */
};

/* Gather. A source that fails or gives the same number each time does not count. */
struct entropy entropy_gather(const struct fw *fw, const struct machine *machine);

/* The next number; numbers seen do not tell those to come or those before. */
uint64_t entropy_next(struct entropy *e);

#endif
