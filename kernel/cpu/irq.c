/*
 * The 8259 pair, remapped to vectors 32..47, delivered as ExtINT on LINT0 of the boot processor's
 * local APIC.
 *
 * The I/O APIC is left alone: firmware hands it over with every line masked, and one processor
 * needs no more than this. Sources: Intel 8259A data sheet; Intel SDM vol. 3A ch. 10 (local
 * APIC), 10.12 (x2APIC).
 */
#include "cpu/irq.h"

#include "cpu/asm.h"
#include "cpu/cpu.h"
#include "cpu/trap.h"
#include "lib/log.h"
#include "mm/vmalloc.h"
#include "x86/regs.h"

#define PIC1         0x20u
#define PIC2         0xa0u
#define PIC_DATA     1u
#define PIC_EOI      0x20u
#define PIC_READ_ISR 0x0bu
#define PIC_CASCADE  2u

#define APIC_SVR         0x0f0u
#define APIC_SVR_ENABLE  0x100u
#define APIC_EOI         0x0b0u
#define APIC_TPR         0x080u
#define APIC_LVT_CMCI    0x2f0u
#define APIC_LVT_TIMER   0x320u
#define APIC_LVT_THERMAL 0x330u
#define APIC_LVT_PERF    0x340u
#define APIC_LVT_LINT0   0x350u
#define APIC_LVT_LINT1   0x360u
#define APIC_LVT_ERROR   0x370u
#define APIC_VERSION     0x030u
#define APIC_LVT_MASKED  0x10000u
#define APIC_LVT_NMI     0x400u
#define APIC_LVT_EXTINT  0x700u

static volatile uint32_t *apic; /* NULL in x2APIC mode, or without a local APIC */
static bool x2apic;

static void apic_write(unsigned reg, uint32_t v)
{
    if (x2apic) {
        wrmsr(MSR_X2APIC + reg / 16, v);
    } else if (apic != NULL) {
        apic[reg / 4] = v;
    }
}

static uint32_t apic_read(unsigned reg)
{
    return x2apic ? (uint32_t)rdmsr(MSR_X2APIC + reg / 16) : apic[reg / 4];
}

static void apic_init(void)
{
    uint64_t base;
    unsigned max_lvt;

    if (!cpu_features.apic) {
        return;
    }
    base = rdmsr(MSR_APIC_BASE);
    if ((base & APIC_BASE_EN) == 0) {
        return; /* the 8259s reach the processor directly */
    }
    x2apic = (base & APIC_BASE_EXTD) != 0;
    if (!x2apic) {
        apic =
            vmap_phys(pa_make(base & APIC_BASE_ADDR), MM_PAGE_SIZE, PT_WRITE | PT_UC, "local APIC");
        if (apic == NULL) {
            log_error("no memory to map the local APIC: no interrupts, so no keyboard");
            return;
        }
    }
    max_lvt = apic_read(APIC_VERSION) >> 16 & 0xff;
    apic_write(APIC_SVR, APIC_SVR_ENABLE | TRAP_SPURIOUS);
    apic_write(APIC_TPR, 0);
    apic_write(APIC_LVT_TIMER, APIC_LVT_MASKED);
    apic_write(APIC_LVT_ERROR, APIC_LVT_MASKED);
    if (max_lvt >= 4) {
        apic_write(APIC_LVT_PERF, APIC_LVT_MASKED);
    }
    if (max_lvt >= 5) {
        apic_write(APIC_LVT_THERMAL, APIC_LVT_MASKED);
    }
    if (max_lvt >= 6) {
        apic_write(APIC_LVT_CMCI, APIC_LVT_MASKED);
    }
    apic_write(APIC_LVT_LINT0, APIC_LVT_EXTINT);
    apic_write(APIC_LVT_LINT1, APIC_LVT_NMI);
    apic_write(APIC_EOI, 0); /* one that firmware may have left in service */
}

void irq_init(void)
{
    /* ICW1: edge triggered, cascade, ICW4 follows; ICW2: vectors; ICW3: the cascade line; ICW4:
     * 8086 mode. */
    outb(PIC1, 0x11);
    outb(PIC2, 0x11);
    outb(PIC1 + PIC_DATA, TRAP_IRQ);
    outb(PIC2 + PIC_DATA, TRAP_IRQ + 8);
    outb(PIC1 + PIC_DATA, 1u << PIC_CASCADE);
    outb(PIC2 + PIC_DATA, PIC_CASCADE);
    outb(PIC1 + PIC_DATA, 0x01);
    outb(PIC2 + PIC_DATA, 0x01);
    outb(PIC1 + PIC_DATA, (uint8_t) ~(1u << PIC_CASCADE));
    outb(PIC2 + PIC_DATA, 0xff);
    apic_init();
}

static uint16_t mask_port(unsigned irq)
{
    return (irq < 8 ? PIC1 : PIC2) + PIC_DATA;
}

void irq_unmask(unsigned irq)
{
    outb(mask_port(irq), inb(mask_port(irq)) & (uint8_t) ~(1u << irq % 8));
}

void irq_mask(unsigned irq)
{
    outb(mask_port(irq), inb(mask_port(irq)) | (uint8_t)(1u << irq % 8));
}

bool irq_begin(unsigned irq)
{
    uint16_t pic = irq < 8 ? PIC1 : PIC2;

    if (irq % 8 != 7) {
        return true;
    }
    outb(pic, PIC_READ_ISR);
    if ((inb(pic) & 0x80) != 0) {
        return true;
    }
    if (irq == 15) {
        outb(PIC1, PIC_EOI); /* the master did see its cascade line */
    }
    return false;
}

void irq_end(unsigned irq)
{
    if (irq >= 8) {
        outb(PIC2, PIC_EOI);
    }
    outb(PIC1, PIC_EOI);
}

void irq_end_apic(void)
{
    apic_write(APIC_EOI, 0);
}
