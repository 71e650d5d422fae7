/*
 * survey.h - all that is known of the machine's memory map, put together when somebody asks: what
 * the stub found out, the map as it began and the one that ExitBootServices() accepted, what lint
 * says of that, and what the kernel made of it.
 *
 * Locking:  none; the map of the kernel (vm_map) does not change once vm_init() is through.
 * Memory:   vmalloc(), given back by survey_drop(). A survey points to itself and into the
 *           hand-over.
 */
#ifndef SURVEY_H
#define SURVEY_H

#include "mm/maplint.h"
#include "mm/memmap.h"
#include "mm/report.h"

struct survey {
    /* Complete: captures START, FINAL, KERNEL, and the findings on FINAL.
     * Without the stub's part of it, the machine is missing. */
    struct report report;

    /* Normalised, without claims. */
    struct memmap start;
    struct memmap final;
    struct maplint_result lint; /* of `final` */

    void *held[5]; /* memory that all this lies in */
};

/* NULL if memory does not suffice. Not from interrupt handlers. */
MM_MUST_CHECK struct survey *survey_take(void);
void survey_drop(struct survey *s);

#endif
