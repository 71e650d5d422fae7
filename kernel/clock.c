/*
 * The rate comes from CPUID leaf 15h where the processor tells it, else from the ACPI timer, which
 * every PC has (some lack a working 8254). It is measured five times, a fifth of a millisecond
 * each, and the median taken: a system-management interrupt, or a hypervisor that runs something
 * else, spoils one or two of them but not three. If the timer stands still, 1 GHz is assumed and
 * said so: times are then wrong, nothing else is.
 */
#include "clock.h"

#include "acpi.h"
#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "lib/log.h"

#define PM_TIMER_HZ   3579545u /* ACPI 6.5 4.8.3.3 */
#define MEASURE_TICKS (PM_TIMER_HZ / 5000)
#define MEASUREMENTS  5u
#define MAX_READS     1000000u

uint64_t clock_tsc_per_us = 1000;
const char *clock_source = "assumed";

/* TSC rate from crystal clock times ratio, SDM vol. 3B 19.7.3; 0 if not told. */
static uint64_t rate_from_cpuid(void)
{
    uint32_t r[4];

    cpuid(0, 0, r);
    if (r[0] < 0x15) {
        return 0;
    }
    cpuid(0x15, 0, r);
    return r[0] != 0 && r[1] != 0 && r[2] != 0 ? (uint64_t)r[2] * r[1] / r[0] / 1000000 : 0;
}

/* One measurement; 0 if the timer stands still. */
static uint64_t measure(void)
{
    uint32_t mask = acpi_facts.pm_timer_32 ? UINT32_MAX : 0xffffff;
    uint32_t first = inl(acpi_facts.pm_timer), elapsed = 0;
    uint64_t tsc = rdtsc();

    for (uint32_t i = 0; elapsed < MEASURE_TICKS; i++) {
        if (i == MAX_READS) {
            return 0;
        }
        elapsed = (inl(acpi_facts.pm_timer) - first) & mask;
    }
    return (rdtsc() - tsc) * PM_TIMER_HZ / elapsed / 1000000;
}

static uint64_t rate_from_pm_timer(void)
{
    uint64_t sorted[MEASUREMENTS];

    if (acpi_facts.pm_timer == 0) {
        return 0;
    }
    for (unsigned n = 0; n < MEASUREMENTS; n++) {
        uint64_t rate = measure();
        unsigned at = n;

        if (rate == 0) {
            return 0;
        }
        for (; at > 0 && sorted[at - 1] > rate; at--) {
            sorted[at] = sorted[at - 1];
        }
        sorted[at] = rate;
    }
    return sorted[MEASUREMENTS / 2];
}

void clock_init(uint64_t tsc_zero)
{
    uint64_t rate = rate_from_cpuid();

    clock_source = "CPUID";
    if (rate == 0) {
        rate = rate_from_pm_timer();
        clock_source = "ACPI timer";
    }
    if (rate == 0) {
        rate = 1000;
        clock_source = "assumed";
        log_warn("no way to measure the time-stamp counter: times assume 1 GHz");
    }
    clock_tsc_per_us = rate;
    log_set_clock(tsc_zero, rate);
    log_info("time-stamp counter: %llu MHz (%s%s)", (unsigned long long)rate, clock_source,
             cpu_features.invariant_tsc ? ", invariant" : "");
}
