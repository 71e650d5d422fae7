/*
 * ps2.h - the keyboard behind an 8042 controller.
 *
 * Source: IBM Personal System/2 Hardware Interface Technical Reference, keyboard and auxiliary
 * device controller; ACPI 6.5, table 5.11 (IA-PC boot architecture flags) for machines without one.
 * US layout (lib/keys.h).
 */
#ifndef DEV_PS2_H
#define DEV_PS2_H

#include <stdbool.h>

#define PS2_IRQ 1 /* ISA interrupt */

/* Look for the controller and a keyboard and set them up, the interrupt included. False: none
 * answers. Bounded time, well under a second, whatever is there. Boot, interrupts off. */
bool ps2_init(void);

/* Pass what the keyboard sent to console_input(). */
void ps2_irq(void);

#endif
