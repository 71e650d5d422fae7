/*
 * common.h - what both benchmarks stand on: clocks, processors, memory, figures.
 */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <stdatomic.h>
#include <stddef.h>

#include "host_rng.h"

#define MAX_ROUNDS 15

/* Something is wrong that is not an allocator's fault: status 2. */
_Noreturn __attribute__((format(printf, 1, 2))) void fail(const char *fmt, ...);

double now_ns(void);
double thread_ns(void); /* that this thread has run, which is what sections count */
uint64_t rng_below(struct host_rng *r, uint64_t bound); /* in [0, bound), bound > 0 */

/* Wait a little for another thread; `spins` counts how often that has been. */
void relax(unsigned spins);

uint64_t whole_pages(uint64_t nbytes);

/* `nbytes`, a multiple of the page size, that end where a huge page does; a page that must not be
 * touched follows. `advice` is madvise()'s, about huge pages. */
unsigned char *map_end(uint64_t nbytes, int advice);

/* Memory in huge pages, if the host has them, all touched. Never given back. */
void *map_touched(uint64_t nbytes, int fill);

/* Note which processors there are, before the first thread is tied to one. */
void note_processors(void);

/* This thread stays on the processor that belongs to `cpu`. */
void pin(unsigned cpu);

/* Where threads wait for each other; zeroed to begin with. */
struct meeting {
    atomic_uint arrived;
    atomic_uint generation;
};

/* All `nthreads` wait here for the last. Spinning, so that they leave together. */
void meet_others(struct meeting *m, unsigned nthreads);

/* Of `n` figures, 1 to MAX_ROUNDS. */
double median(const double *v, unsigned n);
double least(const double *v, unsigned n);

/* A figure to four digits or so. */
void text_of(char *buf, size_t nbytes, double v);

/* Two digits or more, however small. */
void ratio_text(char *buf, size_t nbytes, double ratio);

/* Of the command line; fails unless `text` is a number in [min, max]. */
uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max);

#endif
