/*
 * selftest.h - what the files of the `selftest` command share.
 */
#ifndef MONITOR_SELFTEST_H
#define MONITOR_SELFTEST_H

#include "mm/port.h"
#include "mm/types.h"
#include "monitor/testing.h"

/* Each test begins with it at the seed. */
extern struct rng rng;

/* Text for a test to return; the next call overwrites it. */
const char *why(const char *fmt, ...) MM_PRINTF(1, 2);

static inline void *frame_ptr(pfn_t pfn)
{
    return port_ptr(pa_of_pfn(pfn));
}

/* Tests of selftest_pmm.c: NULL, or why it failed. */
const char *selftest_pmm_orders(void);
const char *selftest_pmm_wants(void);
const char *selftest_pmm_place(void);
const char *selftest_pmm_low(void);
const char *selftest_pmm_reclaimed(void);
const char *selftest_pmm_batches(void);
const char *selftest_pmm_tally(void);
const char *selftest_pmm_zeroed(void);
const char *selftest_pmm_model(void);
const char *selftest_pmm_exhaust(void);
const char *selftest_pmm_retire(void);
const char *selftest_pmm_hook(void);
const char *selftest_pmm_steps(void);
const char *selftest_pmm_interrupts(void);

/* Of selftest_frames.c. */
const char *selftest_frames_entry(void);
const char *selftest_frames_window(void);
const char *selftest_frames_memory(void);

#endif
