/*
 * The counter runs on for ever; what starts and stops is whether its line is let through.
 */
#include "dev/pit.h"

#include "cpu/asm.h"
#include "cpu/irq.h"
#include "cpu/trap.h"
#include "mm/port.h"

#define PIT_HZ       1193182u
#define PIT_IRQ      0u
#define PIT_COUNTER0 0x40u
#define PIT_CONTROL  0x43u
#define PIT_RATE     0x34u /* counter 0, low byte then high byte, mode 2 (rate generator) */

void pit_start(unsigned hz, void (*fn)(void))
{
    unsigned count = PIT_HZ / hz;
    uint64_t irq;

    MM_ASSERT(hz >= PIT_MIN_HZ && count >= 2); /* the data sheet's least for mode 2 */
    irq = port_irq_save();
    outb(PIT_CONTROL, PIT_RATE);
    outb(PIT_COUNTER0, count & 0xff);
    outb(PIT_COUNTER0, (uint8_t)(count >> 8));
    trap_set_irq(PIT_IRQ, fn);
    port_irq_restore(irq);
}

void pit_stop(void)
{
    irq_mask(PIT_IRQ);
}
