/*
 * irq.h - the interrupt lines of the two 8259s, through the local APIC's LINT0 ("virtual wire").
 */
#ifndef CPU_IRQ_H
#define CPU_IRQ_H

#include <stdbool.h>
#include <stdint.h>

#define IRQ_LINES 16u

/*
 * Silence everything firmware left running (local APIC timer, 8259 lines) and route the 8259s to
 * this processor. After vmalloc is up (the local APIC is MMIO, unless in x2APIC mode). Interrupts
 * are off.
 */
void irq_init(void);

void irq_unmask(unsigned irq);
void irq_mask(unsigned irq);

/* Is this interrupt real? The 8259 raises 7 and 15 for lines that went away (Intel 8259A data
 * sheet, "spurious"). */
bool irq_begin(unsigned irq);
void irq_end(unsigned irq);
void irq_end_apic(void);

#endif
