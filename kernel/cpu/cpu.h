/*
 * cpu.h - one processor: what it can do, its descriptor tables and stacks, what it holds.
 *
 * Found through GS from cpu_init() on. Only the boot processor is started so far.
 */
#ifndef CPU_CPU_H
#define CPU_CPU_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CPU_SEL_CODE 0x08
#define CPU_SEL_DATA 0x10
#define CPU_SEL_TSS  0x18

/* Interrupt stack table slots (SDM vol. 3A 6.14.5): faults that must not trust the current stack.
 */
enum cpu_ist { CPU_IST_NONE, CPU_IST_DF, CPU_IST_NMI, CPU_IST_MC, CPU_IST_COUNT };

#define CPU_COUNT 1u /* processors that run */

#define CPU_STACK_BYTES 32768u
#define CPU_IST_BYTES   16384u

/* Task state segment, SDM vol. 3A 7.7: only its stack pointers matter in long mode. */
struct cpu_tss {
    uint32_t zero0;
    uint64_t rsp[3];
    uint64_t zero1;
    uint64_t ist[7]; /* ist[i] is IST slot i + 1 */
    uint64_t zero2;
    uint16_t zero3;
    uint16_t io_map;
} __attribute__((packed));

struct cpu {
    struct cpu *self;    /* first: cpu_this() reads it through GS */
    unsigned number;     /* below CPU_COUNT; the boot processor is 0 */
    uint32_t held_ranks; /* mm/lock.h */
    uint64_t gdt[5];
    struct cpu_tss tss;
};

/* What CPUID says, as far as Plat uses it. Filled by cpu_init(). */
struct cpu_features {
    char vendor[13];
    char brand[49];
    uint32_t family, model, stepping;
    unsigned pa_bits, va_bits;
    bool nx, page1g, pge, pat, smep, smap, umip, la57, x2apic, rdrand, apic, hypervisor,
        invariant_tsc;
};

extern struct cpu_features cpu_features;

/* One guarded stack of the kernel image: the page below `base` is a guard. */
struct cpu_stack {
    const char *name;
    uint64_t base, top;
};

/* The boot processor's stacks: main first, then one per IST slot. */
#define CPU_NSTACKS CPU_IST_COUNT
extern struct cpu_stack cpu_stacks[CPU_NSTACKS];

/* Own GDT, TSS, IDT, GS; read CPUID. First thing in the kernel; interrupts stay off. */
void cpu_init(void);

/*
 * Write protection, no-execute, SMEP, SMAP, UMIP, global pages and the memory types of paging.h
 * (PAT), as far as the processor has them. Call once on own page tables.
 */
void cpu_protect(void);

static inline struct cpu *cpu_this(void)
{
    struct cpu *c;

    __asm__("movq %%gs:0, %0" : "=r"(c));
    return c;
}

/* The stack whose guard page holds `va`, or NULL. */
const struct cpu_stack *cpu_stack_guarded_by(uint64_t va);

#endif
