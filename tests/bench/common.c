/*
 * common.c - what both benchmarks stand on: clocks, processors, memory, figures.
 */
#include "common.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define HUGE_PAGE UINT64_C(0x200000)

static cpu_set_t processors; /* that we may use */

void fail(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    fprintf(stderr, "%s: ", program_invocation_short_name);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    exit(2);
}

static double read_clock(clockid_t clock)
{
    struct timespec t;

    clock_gettime(clock, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double now_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

double thread_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

/* Not host_rng_below(): a division takes as long as some of what is measured. */
uint64_t rng_below(struct host_rng *r, uint64_t bound)
{
    return (uint64_t)((unsigned __int128)host_rng_next(r) * bound >> 64);
}

void relax(unsigned spins)
{
    __builtin_ia32_pause();
    if (spins > 10000) { /* fewer processors than threads */
        sched_yield();
    }
}

/* ---- memory ---------------------------------------------------------------------------------- */

unsigned char *map_end(uint64_t nbytes, int advice)
{
    uint64_t whole = (nbytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    unsigned char *p = mmap(NULL, whole + 2 * HUGE_PAGE, PROT_NONE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    unsigned char *begin = p + (HUGE_PAGE - (uintptr_t)p % HUGE_PAGE) % HUGE_PAGE;

    if (p == MAP_FAILED || mprotect(begin, whole, PROT_READ | PROT_WRITE) != 0) {
        fail("no memory for %" PRIu64 " MiB", nbytes >> 20);
    }
    madvise(begin, whole, advice); /* a host without huge pages does without */
    return begin + whole - nbytes;
}

uint64_t whole_pages(uint64_t nbytes)
{
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

    return (nbytes + page - 1) / page * page;
}

void *map_touched(uint64_t nbytes, int fill)
{
    unsigned char *p = map_end(whole_pages(nbytes), MADV_HUGEPAGE);

    return memset(p, fill, nbytes);
}

/* ---- threads --------------------------------------------------------------------------------- */

void note_processors(void)
{
    if (sched_getaffinity(0, sizeof(processors), &processors) != 0) {
        fail("sched_getaffinity: %s", strerror(errno));
    }
}

/* One of its own, if there are as many processors as threads. */
void pin(unsigned cpu)
{
    unsigned others = cpu % (unsigned)CPU_COUNT(&processors); /* that are passed over */
    cpu_set_t one;
    int at = 0;

    while (!CPU_ISSET(at, &processors) || others-- != 0) {
        at++;
    }
    CPU_ZERO(&one);
    CPU_SET(at, &one);
    pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

void meet_others(struct meeting *m, unsigned nthreads)
{
    unsigned generation = atomic_load(&m->generation);

    if (atomic_fetch_add(&m->arrived, 1) + 1 == nthreads) {
        atomic_store(&m->arrived, 0);
        atomic_store(&m->generation, generation + 1);
        return;
    }
    for (unsigned spins = 0; atomic_load(&m->generation) == generation; spins++) {
        relax(spins);
    }
}

/* ---- figures --------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;

    return (x > y) - (x < y);
}

double median(const double *v, unsigned n)
{
    double sorted[MAX_ROUNDS];

    memcpy(sorted, v, n * sizeof(sorted[0]));
    qsort(sorted, n, sizeof(sorted[0]), compare_doubles);
    return n % 2 != 0 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

double least(const double *v, unsigned n)
{
    double min = v[0];

    for (unsigned i = 1; i < n; i++) {
        min = min < v[i] ? min : v[i];
    }
    return min;
}

void text_of(char *buf, size_t nbytes, double v)
{
    snprintf(buf, nbytes, v >= 1000 || v == (double)(long)v ? "%.0f" : "%.1f", v);
}

void ratio_text(char *buf, size_t nbytes, double ratio)
{
    snprintf(buf, nbytes,
             ratio < 0.0095  ? "%.1g"
             : ratio < 0.995 ? "%.2f"
             : ratio < 99.95 ? "%.1f"
                             : "%.0f",
             ratio);
}

uint64_t parse_number(const char *option, const char *text, uint64_t min, uint64_t max)
{
    char *end;
    uint64_t v = strtoull(text, &end, 0);

    if (end == text || *end != '\0' || v < min || v > max) {
        fail("%s %s: want a number from %" PRIu64 " to %" PRIu64, option, text, min, max);
    }
    return v;
}
