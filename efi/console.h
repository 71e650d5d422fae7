/*
 * console.h - what the stub's screens ask of firmware's console, as a table of functions beside
 * that of firmware.h, for the same reason: a host test can play it.
 *
 * Model:    a grid of characters with a colour each, and a keyboard, which are perhaps those of a
 * terminal at the other end of a serial line, perhaps of several consoles at once. Nothing is
 * known of what is on it before clear().
 * Source:   UEFI 2.10, 12.3 (input, scan codes of table 12.4) and 12.4 (output, attributes).
 */
#ifndef EFI_CONSOLE_H
#define EFI_CONSOLE_H

#include "firmware.h"

/* EFI_INPUT_KEY: a character, or 0 and a scan code. */
struct console_key {
    uint16_t scan;
    uint16_t character;
};

#define CONSOLE_FOREVER UINT64_MAX

struct fw_console {
    /* The grid that there is now. */
    fw_status_t (*size)(uint32_t *columns, uint32_t *rows);

    /*
     * `text`, NUL-terminated UCS-2 without control characters, from column and row (from 0) on, in
     * `attribute` (UEFI 2.10 12.4.7: foreground, background << 4). It ends inside the row, and not
     * in the last column of the last row: some consoles scroll then. Some refuse to begin in any
     * column but those of the narrowest mode; where the last text ended, all of them go on.
     */
    fw_status_t (*put)(uint32_t column, uint32_t row, uint8_t attribute, const uint16_t *text);
    fw_status_t (*clear)(uint8_t attribute);
    void (*show_cursor)(bool shown);

    /* Can the console show this character? (TestString) */
    bool (*has)(uint16_t character);

    /* The next key that was pressed; FW_NOT_READY if there is none. Never waits. */
    fw_status_t (*key)(struct console_key *key);

    /* Wait for a key, at most `us` microseconds; FW_SUCCESS: there is one; FW_TIMEOUT. */
    fw_status_t (*wait)(uint64_t us);
};

/*
 * The real one, for fw.console: uefi_console.c. `system_table` is the EFI_SYSTEM_TABLE; borrowed.
 * NULL if it lacks ConIn or ConOut.
 */
const struct fw_console *console_uefi(void *system_table);

#endif
