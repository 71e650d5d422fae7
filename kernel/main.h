/*
 * main.h - the way from entry to prompt, and what it left for others to look at.
 */
#ifndef MAIN_H
#define MAIN_H

#include <stdbool.h>
#include <stdint.h>

#include "plat/boot.h"

/* The hand-over; in the direct map, kept for ever. */
extern const struct plat_boot *boot_info;

/* Time-stamp counter at the first instruction of the kernel, and as the monitor took over. */
extern uint64_t boot_tsc_entry, boot_tsc_ready;

/* One stage of the way, in order: what it was, and when it was done. */
struct boot_stage {
    const char *name;
    uint64_t tsc;
};
#define BOOT_MAX_STAGES 12
extern struct boot_stage boot_stages[BOOT_MAX_STAGES];
extern unsigned boot_nstages;

/* Set while the kernel spins at its start for a debugger (gdb=wait); the debugger clears it. */
extern volatile int gdb_wait;

/* Reset or switch off: runtime services, then ACPI, then (reset) the keyboard controller and a
 * triple fault. */
_Noreturn void machine_reboot(void);
_Noreturn void machine_poweroff(void);

#endif
