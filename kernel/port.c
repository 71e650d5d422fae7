/*
 * The kernel's side of mm/port.h. One processor runs so far, so a TLB flush is a local one.
 */
#include "mm/port.h"

#include <stdarg.h>

#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "lib/fmt.h"
#include "panic.h"
#include "vm.h"
#include "x86/regs.h"

/* Beyond this many pages, dropping everything costs less than dropping them one by one. */
#define FLUSH_ALL_PAGES 64u

void *port_ptr(pa_t pa)
{
    return (void *)(vm_layout.direct_va + pa.v);
}

void port_panic(const char *fmt, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, fmt);
    fmt_v(text, sizeof(text), fmt, ap);
    va_end(ap);
    panic("%s", text);
}

uint64_t port_irq_save(void)
{
    uint64_t flags = read_rflags();

    cli();
    return flags;
}

void port_irq_restore(uint64_t state)
{
    if ((state & RFLAGS_IF) != 0) {
        sti();
    }
}

void port_fence_cpus(void)
{
    _Static_assert(CPU_COUNT == 1, "there is no other processor to fence");
}

uint32_t *port_held_ranks(void)
{
    return &cpu_this()->held_ranks;
}

void port_spin_hint(void)
{
    pause_hint();
}

void port_tlb_flush(pa_t root, uint64_t va, uint64_t nbytes)
{
    uint64_t cr4 = read_cr4();

    (void)root; /* kernel half: shared by every root; user half: there are no processes yet */
    if (nbytes <= FLUSH_ALL_PAGES * MM_PAGE_SIZE) {
        for (uint64_t at = va; at - va < nbytes; at += MM_PAGE_SIZE) {
            invlpg(at);
        }
    } else if ((cr4 & CR4_PGE) != 0) {
        write_cr4(cr4 & ~CR4_PGE); /* SDM vol. 3A 4.10.4.1: drops global translations too */
        write_cr4(cr4);
    } else {
        write_cr3(read_cr3());
    }
}
