/*
 * Exceptions panic, with words for what happened; interrupt lines run their handler.
 *
 * Interrupts come through the two 8259s, wired to the boot processor's LINT0 (irq.c). Nearly every
 * PC has them; on one that does not, keys are not heard and run= is the way to give commands. All
 * gates are interrupt gates: a handler runs with interrupts off.
 */
#include "cpu/trap.h"

#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "cpu/irq.h"
#include "lib/log.h"
#include "mm/port.h"
#include "panic.h"
#include "runtime.h"
#include "x86/regs.h"

/* Gate descriptor, SDM vol. 3A 6.14.1. */
struct gate {
    uint16_t offset_low;
    uint16_t selector;
    uint8_t ist;
    uint8_t type; /* 0x8e: present, ring 0, 64-bit interrupt gate */
    uint16_t offset_mid;
    uint32_t offset_high;
    uint32_t zero;
};
_Static_assert(sizeof(struct gate) == 16, "the processor fixes the size of a gate");

extern const char trap_entries[];
extern const char trap_try_begin[], trap_try_end[], trap_try_failed[];
bool trap_try_load1(uint64_t va, uint64_t *v);
bool trap_try_load2(uint64_t va, uint64_t *v);
bool trap_try_load4(uint64_t va, uint64_t *v);
bool trap_try_load8(uint64_t va, uint64_t *v);
bool trap_try_store1(uint64_t va, uint64_t v);
bool trap_try_store2(uint64_t va, uint64_t v);
bool trap_try_store4(uint64_t va, uint64_t v);
bool trap_try_store8(uint64_t va, uint64_t v);
void trap_handle(struct trap_frame *f);

static struct gate idt[TRAP_COUNT];
static void (*irq_handlers[IRQ_LINES])(void);
static void (*step_handler)(void);

static void gate_set(unsigned vector, unsigned ist)
{
    uint64_t at = (uint64_t)trap_entries + 16u * vector;

    idt[vector] = (struct gate){
        .offset_low = (uint16_t)at,
        .selector = CPU_SEL_CODE,
        .ist = (uint8_t)ist,
        .type = 0x8e,
        .offset_mid = (uint16_t)(at >> 16),
        .offset_high = (uint32_t)(at >> 32),
    };
}

void trap_init(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idtr = { sizeof(idt) - 1, (uint64_t)idt };

    for (unsigned v = 0; v < TRAP_COUNT; v++) {
        gate_set(v, CPU_IST_NONE);
    }
    gate_set(TRAP_DF, CPU_IST_DF);
    gate_set(TRAP_NMI, CPU_IST_NMI);
    gate_set(TRAP_MC, CPU_IST_MC);
    __asm__ volatile("lidt %0" : : "m"(idtr) : "memory"); /* it points to idt: that is read too */
}

void trap_set_irq(unsigned irq, void (*fn)(void))
{
    MM_ASSERT(irq < IRQ_LINES);
    irq_handlers[irq] = fn;
    irq_unmask(irq);
}

bool trap_try_read(uint64_t va, unsigned nbytes, uint64_t *v)
{
    switch (nbytes) {
    case 1:
        return trap_try_load1(va, v);
    case 2:
        return trap_try_load2(va, v);
    case 4:
        return trap_try_load4(va, v);
    default:
        MM_ASSERT(nbytes == 8);
        return trap_try_load8(va, v);
    }
}

bool trap_try_write(uint64_t va, unsigned nbytes, uint64_t v)
{
    switch (nbytes) {
    case 1:
        return trap_try_store1(va, v);
    case 2:
        return trap_try_store2(va, v);
    case 4:
        return trap_try_store4(va, v);
    default:
        MM_ASSERT(nbytes == 8);
        return trap_try_store8(va, v);
    }
}

void trap_step(void (*fn)(void))
{
    /* SDM vol. 3B 17.3.1.4: with TF set, a debug exception follows every instruction. Delivering it,
     * like any interrupt, clears TF for the handler. */
    if (fn != NULL) {
        step_handler = fn;
        write_rflags(read_rflags() | RFLAGS_TF);
    } else {
        write_rflags(read_rflags() & ~RFLAGS_TF);
        step_handler = NULL;
    }
}

void trap_handle(struct trap_frame *f)
{
    if (f->vector >= TRAP_IRQ && f->vector < TRAP_IRQ + IRQ_LINES) {
        unsigned irq = (unsigned)f->vector - TRAP_IRQ;

        if (irq_begin(irq)) {
            if (irq_handlers[irq] != NULL) {
                irq_handlers[irq]();
            }
            irq_end(irq);
        }
        return;
    }
    if (f->vector == TRAP_DB && step_handler != NULL) {
        if ((f->rflags & RFLAGS_IF) != 0) {
            step_handler();
        }
        return;
    }
    if (f->vector == TRAP_SPURIOUS) {
        return; /* no end-of-interrupt for it, SDM vol. 3A 10.9 */
    }
    if ((f->vector == TRAP_PF || f->vector == TRAP_GP) && f->rip >= (uint64_t)trap_try_begin &&
        f->rip < (uint64_t)trap_try_end) {
        f->rip = (uint64_t)trap_try_failed;
        return;
    }
    /* An NMI or machine check tells of the machine, wherever it comes: no fault of that code. */
    if (f->vector < TRAP_EXCEPTIONS && f->vector != TRAP_NMI && f->vector != TRAP_MC &&
        runtime_recover(&f->rip, &f->rsp)) {
        return;
    }
    if (f->vector >= TRAP_EXCEPTIONS) {
        log_warn("interrupt %u that nobody asked for", (unsigned)f->vector);
        irq_end_apic();
        return;
    }
    panic_trap(f);
}
