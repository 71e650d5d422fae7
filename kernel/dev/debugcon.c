/*
 * debugcon.c - the debug console of QEMU (docs: -device isa-debugcon) and Bochs (port_e9_hack).
 */
#include "dev/debugcon.h"

#include "cpu/asm.h"

#define DEBUGCON_PORT  0xe9
#define DEBUGCON_MAGIC 0xe9 /* what reading gives; a bus with nothing there gives 0xff */

bool debugcon_init(void)
{
    return inb(DEBUGCON_PORT) == DEBUGCON_MAGIC;
}

static void debugcon_write(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        outb(DEBUGCON_PORT, (uint8_t)s[i]);
    }
}

const struct console_sink debugcon_sink = { .name = "debugcon", .write = debugcon_write };
