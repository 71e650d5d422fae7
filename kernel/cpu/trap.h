/*
 * trap.h - exceptions and interrupts.
 */
#ifndef CPU_TRAP_H
#define CPU_TRAP_H

#include <stdbool.h>
#include <stdint.h>

/* As vectors.S pushes it, lowest address first. SDM vol. 3A figure 6-9. */
struct trap_frame {
    uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
    uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
    uint64_t vector;
    uint64_t error; /* 0 where the processor pushes none */
    uint64_t rip, cs, rflags, rsp, ss;
};

enum trap_vector {
    TRAP_DE = 0,
    TRAP_DB = 1,
    TRAP_NMI = 2,
    TRAP_UD = 6,
    TRAP_DF = 8,
    TRAP_GP = 13,
    TRAP_PF = 14,
    TRAP_MC = 18,
    TRAP_EXCEPTIONS = 32,
    TRAP_IRQ = 32,       /* 16 lines of the two 8259s */
    TRAP_SPURIOUS = 255, /* of the local APIC */
    TRAP_COUNT = 256
};

/* Load the IDT: all vectors. */
void trap_init(void);

/* Run `fn` for interrupt line `irq` (0..15) and let the line through. `fn` runs with interrupts
 * off. */
void trap_set_irq(unsigned irq, void (*fn)(void));

/*
 * Read or write 1, 2, 4 or 8 bytes at any address at all; false if the processor refuses (page
 * fault, not canonical).
 */
bool trap_try_read(uint64_t va, unsigned nbytes, uint64_t *v);
bool trap_try_write(uint64_t va, unsigned nbytes, uint64_t v);

/*
 * From here on `fn` runs, with interrupts off, after each instruction of this processor behind which
 * an interrupt could come: as the most ill-timed interrupt of all. NULL ends it. For tests; `fn` has
 * the stack of what it interrupts.
 */
void trap_step(void (*fn)(void));

#endif
