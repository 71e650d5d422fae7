/*
 * acpi.h - the few facts that Plat takes from ACPI's tables: the timer, and how to switch off.
 *
 * The tables are firmware's and are not trusted: signature, length and checksum are checked, and
 * what does not hold is left out with a line in the log. Sources: ACPI 6.5 5.2 (tables), 4.8 (fixed
 * hardware), 16.1 (\_S5).
 */
#ifndef ACPI_H
#define ACPI_H

#include <stdbool.h>
#include <stdint.h>

struct acpi_facts {
    uint16_t pm_timer;           /* I/O port of the 3.579545 MHz timer, 0 if there is none */
    bool pm_timer_32;            /* it counts 32 bits, not 24 */
    uint16_t pm1a_cnt, pm1b_cnt; /* I/O ports, 0 if there is none */
    uint16_t smi_cmd; /* port through which ACPI mode is switched on, and the value to write */
    uint8_t acpi_enable;
    bool s5_known; /* \_S5 was found: its SLP_TYP values */
    uint8_t s5_a, s5_b;
    uint8_t reset_space; /* 0 memory, 1 I/O, 2 PCI; with reset_addr 0: no reset register */
    uint64_t reset_addr;
    uint8_t reset_value;
};

extern struct acpi_facts acpi_facts;

/* Read the tables, from `rsdp` (physical) on. After vmalloc is up. */
void acpi_init(uint64_t rsdp);

/* Enter the soft-off state; returns if the machine does not. */
void acpi_poweroff(void);

/* Use the reset register; returns if there is none or it does nothing. */
void acpi_reset(void);

#endif
