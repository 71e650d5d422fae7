/*
 * debugcon.h - the debug console of QEMU and Bochs: a port that swallows text.
 */
#ifndef DEV_DEBUGCON_H
#define DEV_DEBUGCON_H

#include <stdbool.h>

#include "lib/console.h"

/* Is it there? If not, debugcon_sink must not be added. */
bool debugcon_init(void);

extern const struct console_sink debugcon_sink;

#endif
