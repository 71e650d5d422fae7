/*
 * pit.h - counter 0 of the 8254: a periodic interrupt.
 *
 * Source: Intel 8254 data sheet. A machine without one takes the orders and never interrupts.
 */
#ifndef DEV_PIT_H
#define DEV_PIT_H

#define PIT_MIN_HZ 19u

/*
 * Call `fn` about `hz` times a second, PIT_MIN_HZ at least, until pit_stop(). It runs with
 * interrupts off. After irq_init(); one user at a time.
 */
void pit_start(unsigned hz, void (*fn)(void));

/* On return `fn` is not called any more. May be called from `fn`, and when nothing was started. */
void pit_stop(void);

#endif
