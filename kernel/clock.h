/*
 * clock.h - how fast the time-stamp counter runs.
 */
#ifndef CLOCK_H
#define CLOCK_H

#include <stdint.h>

/* Ticks of the time-stamp counter in a microsecond (>= 1), and where the figure is from. */
extern uint64_t clock_tsc_per_us;
extern const char *clock_source;

/* Find out, within a few milliseconds, and tell the log. After acpi_init(). */
void clock_init(uint64_t tsc_zero);

/* Microseconds in `ticks`. */
static inline uint64_t clock_us(uint64_t ticks)
{
    return ticks / clock_tsc_per_us;
}

#endif
