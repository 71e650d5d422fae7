/*
 * frames.h - what the files behind the `frames` command share.
 */
#ifndef MONITOR_FRAMES_H
#define MONITOR_FRAMES_H

#include "mm/types.h"
#include "monitor/args.h"

/* `frames map [ADDR [SIZE]]`: draw memory. */
int frames_map(const struct args *a);

/* What the frame table costs, and what it says of one frame; nothing if the frame is in no pool. */
void frames_show_table(void);
void frames_show_entry(pfn_t pfn);

/* `frames test [ADDR [SIZE]] [seed=N] [passes=N] [faulty=ADDR:MASK]...`: test what is free. */
int frames_test(const struct args *a);

#endif
