/*
 * stub_console.h - plays firmware's console for the tests of the stub (efi/console.h): a terminal
 * of any size, and a keyboard that types a script.
 *
 * It also judges: a call that no console must see is noted in `violation`.
 *
 * A script is text; each character is a key. In angle brackets are "<up>", "<down>", "<left>",
 * "<right>", "<home>", "<end>", "<pgup>", "<pgdn>", "<f1>", "<f2>", "<esc>", "<cr>", "<tab>",
 * "<bs>", "<nul>", "<lf>", "<ctrl-l>"; "<wait>": nothing is typed until a wait with a time limit is
 * over; "<miss>": a wait ends, but there is no key; "<100x31>": the console has another size from
 * here on. All else in brackets goes to `mark`, at a time when everything drawn has been sent.
 */
#ifndef STUB_CONSOLE_H
#define STUB_CONSOLE_H

#include "console.h"

#define STUB_CONSOLE_COLUMNS 600u
#define STUB_CONSOLE_ROWS    300u

struct stub_console {
    /* How it is; stub_console_reset() makes a good one. */
    uint32_t columns;
    uint32_t rows;
    bool is_ascii;  /* has no other characters */
    uint32_t reach; /* the cursor cannot be set to this column or beyond; 0: to any */
    const char *script;
    void (*mark)(const char *word, size_t n);

    /* What goes wrong. */
    fw_status_t size_error;
    fw_status_t put_error;
    uint32_t put_errors; /* so many calls of put() fail; UINT32_MAX: all */
    fw_status_t clear_error;
    fw_status_t key_error;  /* instead of NOT_READY */
    fw_status_t wait_error; /* at the end of the script; SUCCESS: it lies that there is a key */

    /* What happened. */
    uint32_t nputs;
    uint32_t ncells; /* that were put */
    uint32_t nclears;
    uint32_t nkeys;
    uint64_t waited_us;
    bool cursor_shown;
    const char *violation;
    uint16_t text[STUB_CONSOLE_ROWS][STUB_CONSOLE_COLUMNS];
    uint8_t attribute[STUB_CONSOLE_ROWS][STUB_CONSOLE_COLUMNS];
};

extern struct stub_console stub_console;
extern const struct fw_console stub_console_table;

void stub_console_reset(const char *script);

/* Row `row` as UTF-8, without the blanks at its end; until the next call. */
const char *stub_console_row(uint32_t row);

/* Is the text anywhere on the screen, in one row? */
bool stub_console_shows(const char *text);

#endif
