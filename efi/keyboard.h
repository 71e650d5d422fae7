/*
 * keyboard.h - keys, from whatever firmware takes for a keyboard.
 *
 * Model:    firmware translates some of what a serial terminal sends for a key (UEFI 2.10, appendix
 * B) and passes the rest on as an Esc and characters. Such a sequence becomes one key here, or, if
 * it is none that is known, nothing: else the "5" in what PgUp sends would be taken for a key. A
 * lone Esc is told from the beginning of a sequence by what follows within KEYBOARD_SEQUENCE_US.
 */
#ifndef EFI_KEYBOARD_H
#define EFI_KEYBOARD_H

#include "console.h"

#define KEYBOARD_SEQUENCE_US UINT64_C(60000)

/* Printable ASCII stands for itself. */
enum key {
    KEY_NONE = 0, /* no key within the time */
    KEY_BACKSPACE = 8,
    KEY_TAB = 9,
    KEY_REDRAW = 12, /* Ctrl-L */
    KEY_ENTER = 13,
    KEY_ESC = 27,
    KEY_UP = 0x100,
    KEY_DOWN,
    KEY_RIGHT,
    KEY_LEFT,
    KEY_HOME,
    KEY_END,
    KEY_PAGE_UP,
    KEY_PAGE_DOWN,
    KEY_F1,
    KEY_OTHER,  /* something was pressed, or sent, that is no key for us */
    KEY_FAILED, /* the console does not work: there will be no key any more */
};

struct keyboard {
    const struct fw_console *console;
    struct console_key held; /* read too early, if is_held */
    bool is_held;
    uint32_t misses; /* calls without a key since the last one that were not asked for */
};

/* The next key; waits for it at most `us` microseconds, or CONSOLE_FOREVER. */
enum key keyboard_next(struct keyboard *k, uint64_t us);

/* Drop what was typed up to now. */
void keyboard_drain(struct keyboard *k);

#endif
