/*
 * panic.h - the end: say what broke, where, and how we got there, on every console, and stop.
 */
#ifndef PANIC_H
#define PANIC_H

#include "cpu/trap.h"
#include "mm/types.h"

/* A broken invariant of ours. Any context, any locks held. */
_Noreturn void panic(const char *fmt, ...) MM_PRINTF(1, 2);

/* An exception that nothing was prepared for. */
_Noreturn void panic_trap(const struct trap_frame *f);

#endif
