/*
 * uart.c - the first serial port.
 *
 * Output is polled: the kernel's last words must come out with interrupts off, and a line is short.
 * While the transmitter is busy the receiver is emptied, because with interrupts off for a line of
 * text (7 ms) its 16 bytes would overflow. A transmitter that stops (a terminal that holds CTS
 * never does that, a device that was pulled may) costs one long wait; after it, bytes are only
 * written when it is ready at once.
 */
#include "dev/uart.h"

#include "cpu/asm.h"

#define UART_BASE 0x3f8

/* Registers, from UART_BASE. */
#define UART_DATA    (UART_BASE + 0) /* divisor low while LCR_DLAB */
#define UART_IER     (UART_BASE + 1) /* divisor high while LCR_DLAB */
#define UART_IIR     (UART_BASE + 2) /* read */
#define UART_FCR     (UART_BASE + 2) /* write */
#define UART_LCR     (UART_BASE + 3)
#define UART_MCR     (UART_BASE + 4)
#define UART_LSR     (UART_BASE + 5)
#define UART_MSR     (UART_BASE + 6)
#define UART_SCRATCH (UART_BASE + 7)

#define IER_RX   0x01
#define IIR_FIFO 0xc0 /* both set: the FIFO is on and works (16550A) */
#define FCR_ON   0x87 /* enable and clear both FIFOs, interrupt at 8 received bytes or a pause */
#define LCR_8N1  0x03
#define LCR_DLAB 0x80
#define MCR_RUN  0x0b /* DTR, RTS, and OUT2, which lets the interrupt through on a PC */
#define MCR_LOOP 0x1e /* loopback; outputs as in the data sheet's self-test */
#define LSR_DR   0x01
#define LSR_THRE 0x20

#define DIVISOR    1 /* 115200 baud from 1.8432 MHz */
#define FIFO_BYTES 16

/*
 * A read of the port takes about a microsecond, and sixteen bytes leave in 1.4 ms. But an
 * emulator's port is busy for as long as the program that reads its other end does not get the
 * processor: that was seen to take 20 ms and more on a busy host. So a port has stopped when it was
 * busy for seconds.
 */
#define LOOP_READS 20000u
#define WAIT_READS 3000000u

static unsigned burst = 1;             /* bytes that may be written when THRE says so */
static unsigned patience = WAIT_READS; /* reads of LSR before a byte is given up */

/* Does the transmitter answer to the receiver? Clears what was received. */
static bool loopback_works(void)
{
    uint8_t back = 0;

    outb(UART_MCR, MCR_LOOP);
    for (unsigned i = 0; i < FIFO_BYTES && (inb(UART_LSR) & LSR_DR) != 0; i++) {
        (void)inb(UART_DATA);
    }
    outb(UART_DATA, 0xae);
    for (unsigned i = 0; i < LOOP_READS; i++) {
        if ((inb(UART_LSR) & LSR_DR) != 0) {
            back = inb(UART_DATA);
            break;
        }
    }
    outb(UART_MCR, MCR_RUN);
    return back == 0xae;
}

bool uart_init(void)
{
    /* With interrupts disabled first: firmware may have left them on. */
    outb(UART_IER, 0);
    outb(UART_SCRATCH, 0x5a);
    if (inb(UART_SCRATCH) != 0x5a) {
        return false;
    }
    outb(UART_SCRATCH, 0xa5);
    if (inb(UART_SCRATCH) != 0xa5) {
        return false;
    }

    outb(UART_LCR, LCR_DLAB);
    outb(UART_DATA, DIVISOR & 0xff);
    outb(UART_IER, DIVISOR >> 8);
    outb(UART_LCR, LCR_8N1);
    outb(UART_FCR, FCR_ON);
    if (!loopback_works()) {
        return false;
    }
    burst = (inb(UART_IIR) & IIR_FIFO) == IIR_FIFO ? FIFO_BYTES : 1;
    (void)inb(UART_MSR); /* reading clears what is pending */
    outb(UART_IER, IER_RX);
    return true;
}

void uart_irq(void)
{
    /* Bounded: a port that was pulled reads as all ones, for ever ready. */
    for (unsigned i = 0; i < 4 * FIFO_BYTES && (inb(UART_LSR) & LSR_DR) != 0; i++) {
        console_input((char)inb(UART_DATA));
    }
}

/* Wait until `burst` bytes may be written; false if the port has stopped. */
static bool wait_ready(void)
{
    for (unsigned i = 0; i < patience; i++) {
        uint8_t lsr = inb(UART_LSR);

        if ((lsr & LSR_THRE) != 0) {
            patience = WAIT_READS;
            return true;
        }
        if ((lsr & LSR_DR) != 0) {
            console_input((char)inb(UART_DATA));
        }
    }
    patience = 1;
    return false;
}

static void uart_write(const char *s, size_t n)
{
    unsigned room = 0;

    for (size_t i = 0; i < n; i++) {
        /* \n needs \r before it: two bytes, and so twice through here. */
        for (unsigned part = s[i] == '\n' ? 0 : 1; part < 2; part++) {
            if (room == 0) {
                if (!wait_ready()) {
                    return;
                }
                room = burst;
            }
            outb(UART_DATA, part == 0 ? '\r' : (uint8_t)s[i]);
            room--;
        }
    }
}

const struct console_sink uart_sink = { .name = "serial", .write = uart_write };
