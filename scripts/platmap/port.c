/*
 * port.c - see port.h.
 */
#define _DEFAULT_SOURCE /* MAP_ANONYMOUS and MAP_NORESERVE are younger than POSIX 2008 */

#include "port.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

static unsigned char *phys;
static uint64_t phys_bytes;
static uint32_t held_ranks;

bool port_begin(uint64_t nbytes)
{
    void *at = mmap(NULL, nbytes, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (at == MAP_FAILED) {
        return false;
    }
    phys = at;
    phys_bytes = nbytes;
    return true;
}

void port_end(void)
{
    (void)munmap(phys, phys_bytes);
    phys = NULL;
    phys_bytes = 0;
}

void *port_ptr(pa_t pa)
{
    if (pa.v >= phys_bytes) {
        port_panic("0x%llx is no physical memory", (unsigned long long)pa.v);
    }
    return phys + pa.v;
}

void port_panic(const char *fmt, ...)
{
    va_list ap;

    fputs("platmap: a fault of platmap itself: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
    abort();
}

/* ---- one processor, without interrupts -------------------------------------------------------- */

uint64_t port_irq_save(void)
{
    return 0;
}

void port_irq_restore(uint64_t state)
{
    (void)state;
}

unsigned port_cpu(void)
{
    return 0;
}

void port_fence_cpus(void)
{
}

uint32_t *port_held_ranks(void)
{
    return &held_ranks;
}

void port_spin_hint(void)
{
}
