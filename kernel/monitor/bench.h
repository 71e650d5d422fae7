/*
 * bench.h - what the files of the `bench` command share.
 */
#ifndef MONITOR_BENCH_H
#define MONITOR_BENCH_H

#include <stdbool.h>

/* The frame allocator beside a plain bitmap, as a table. False if there is no memory for it. */
bool bench_pmm(void);

/* First fit in bounded time beside first fit over a list, likewise. */
bool bench_heap(void);

#endif
