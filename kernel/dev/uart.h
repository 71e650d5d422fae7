/*
 * uart.h - the first serial port: a 16550 or its like at 0x3f8, 115200 8N1.
 *
 * Source: National Semiconductor PC16550D data sheet, 8.0. Output is polled, input comes by
 * interrupt 4 (or whenever somebody calls uart_irq()).
 */
#ifndef DEV_UART_H
#define DEV_UART_H

#include <stdbool.h>

#include "lib/console.h"

#define UART_IRQ 4 /* ISA interrupt */

/* Look for the port and set it up, its receive interrupt included. False: nothing is there, and
 * uart_sink must not be added. Bounded time. */
bool uart_init(void);

/* Pass all received bytes to console_input(). Any context. */
void uart_irq(void);

extern const struct console_sink uart_sink;

#endif
