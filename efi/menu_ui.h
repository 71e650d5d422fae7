/*
 * menu_ui.h - what the files of the menu share: the state, two widgets, and the screens.
 *
 * Model:    a screen is a text that scrolls, or a list of lines with a bar on one. A page is a text
 * on top of a screen: an explanation, an answer, help. Text is written to a sink, of any length,
 * and wrapped by the view; a few control characters in it say how it looks:
 *
 *     MENU_NORMAL, ...   the colour from here to the end of the line, or the next of these
 *     1 to 7             likewise, on a background of this colour
 *     MENU_HANG          the lines into which this one is broken begin below this place
 *
 * Text from firmware or a file may hold them, too; the harm is a wrong colour. All other control
 * characters are shown as '?'.
 */
#ifndef EFI_MENU_UI_H
#define EFI_MENU_UI_H

#include "grid.h"
#include "keyboard.h"
#include "menu.h"
#include "mm/mapshow.h"
#include "mm/mapsum.h"
#include "mm/sink.h"

/* ---- text with colours ----------------------------------------------------------------------- */

/* Foreground colours, UEFI 2.10 12.4.7, each as the character that sets it: 0x10 and up. */
#define MENU_NORMAL  "\x17"
#define MENU_STRONG  "\x1f"
#define MENU_HEADING "\x1b"
#define MENU_GOOD    "\x1a"
#define MENU_WARN    "\x1e"
#define MENU_BAD     "\x1c"
#define MENU_HANG    "\x0e"

/* ---- widgets --------------------------------------------------------------------------------- */

struct menu;

/* Write a text; the same each time until something changes. */
typedef void menu_put(struct menu *m, const struct mm_sink *to, const void *ctx);

/* A line as it is shown: text[at, end), `indent` columns from the left, from an attribute on. */
struct menu_line {
    uint32_t at;
    uint32_t end;
    uint16_t indent;
    uint8_t attribute;
};

struct menu_view {
    menu_put *put;
    const void *ctx;
    uint64_t text_pa; /* in the pool; 0: none */
    uint64_t lines_pa;
    const char *text;
    const struct menu_line *lines;
    uint32_t nlines;
    uint32_t top;     /* the first line that is shown */
    uint32_t columns; /* that it was wrapped for; 0: it must be made anew */
};

struct menu_list {
    uint32_t n;
    uint32_t top;
    uint32_t at; /* the line with the bar */
};

/* ---- screens --------------------------------------------------------------------------------- */

struct menu_screen {
    const char *name;
    const char *keys; /* for the line at the bottom */
    const char *help;
    void (*open)(struct menu *m);  /* may be NULL, as all below */
    void (*close)(struct menu *m); /* gives back what open() and the keys took */
    menu_put *put;                 /* of a text; if there is none, it is a list: */
    void (*head)(struct menu *m, const struct mm_sink *to); /* lines above it, MENU_HEAD_ROWS */
    void (*row)(struct menu *m, const struct mm_sink *to, uint32_t i);
    void (*foot)(struct menu *m, const struct mm_sink *to, uint32_t i); /* a line below it */
    void (*choose)(struct menu *m, uint32_t i);                         /* Enter */
    bool (*key)(struct menu *m, enum key key); /* true: that was one of its own */
};

enum { MENU_OVERVIEW, MENU_MAP, MENU_FINDINGS, MENU_TABLES, MENU_COMPARE, MENU_SAVE, MENU_SCREENS };

extern const struct menu_screen menu_overview, menu_map, menu_findings, menu_tables, menu_compare,
    menu_save;

#define MENU_HEAD_ROWS 2u
#define MENU_ROW_CHARS 1024u /* of a list: text beyond is cut */

struct menu {
    struct inspect *in;
    const struct fw *fw;
    struct pool pool;
    struct grid grid;
    struct keyboard keyboard;

    const struct menu_screen *screen;
    struct menu_view view; /* of the screen, if it is a text */
    struct menu_list *list;
    struct menu_list lists[MENU_SCREENS]; /* so that a list is found as it was left */
    struct menu_view *page;               /* the one on top, or NULL */
    const char *page_keys;
    const char *prompt; /* question in the line at the bottom, or NULL; and the answer so far */
    const char *answer;
    enum key pending;  /* a key that ended a page, and is meant for the screens */
    uint32_t failures; /* flushes in a row that failed */
    bool is_done;
    bool has_failed; /* the console does not work */
    enum menu_choice choice;

    struct menu_map_state {
        bool is_raw;     /* descriptors, not regions */
        uint32_t filter; /* 0: all; else one more than the type's row of mapsum.h, or the kind */
        uint64_t rows_pa;
        uint32_t *rows;              /* the descriptor or region in each line of the list */
        uint32_t count[MAPSUM_ROWS]; /* of each type, or kind */
    } map;
    struct menu_compare_state {
        uint64_t entries_pa;
        const struct save_entry *entries;
        fw_status_t status; /* of listing them */
    } compare;
    bool is_saving;
};

/* ---- menu.c ---------------------------------------------------------------------------------- */

/* Draw everything, and send it. */
void menu_draw(struct menu *m);

/*
 * Show a text on top of the screen until it is left. `keys` names those of its own in the bottom
 * line. *ctx must not change meanwhile.
 */
void menu_page(struct menu *m, const char *keys, menu_put *put, const void *ctx);

/* Ask for a line of text; false if it was not given. The answer is NUL-terminated ASCII. */
bool menu_ask(struct menu *m, const char *question, char *answer, size_t nbytes);

/* Ask for y or n. */
bool menu_confirm(struct menu *m, const char *question);

/* ---- menu_view.c ----------------------------------------------------------------------------- */

/* Columns that a text has: there is a blank one on either side. */
static inline uint32_t menu_view_columns(const struct menu *m)
{
    return m->grid.columns > 2 ? m->grid.columns - 2 : 1;
}

/* Make the view anew if it has to be, for the console as it is, of which it has `nrows`. */
void menu_view_make(struct menu *m, struct menu_view *v, uint32_t nrows);
void menu_view_drop(struct menu *m, struct menu_view *v);
void menu_view_draw(struct menu *m, const struct menu_view *v, uint32_t row, uint32_t nrows);

/* Move by a key; false if it is none of those. `nrows` - lines that can be seen at once. */
bool menu_view_key(struct menu_view *v, enum key key, uint32_t nrows);
bool menu_list_key(struct menu_list *l, enum key key, uint32_t nrows);

/* Keep the bar on a line that there is, and that line among the `nrows` that can be seen. */
void menu_list_fit(struct menu_list *l, uint32_t nrows);

/* One line of text with colours, in a row of the console; blanks behind it. */
void menu_line_draw(struct menu *m, uint32_t column, uint32_t row, uint32_t width,
                    uint8_t attribute, const char *text, size_t n);

/* ---- menu_put.c: what the screens say in the same words --------------------------------------- */

/* How a kind of memory is shown. */
struct menu_kind {
    char colour;         /* of its name, as MENU_NORMAL */
    char background;     /* in the bar, 1 to 7; its letter is mapshow_kind_letter() */
    const char *meaning; /* a sentence */
};
extern const struct menu_kind menu_kinds[MEMMAP_KINDS];

/* "0x0-0xfff", the last byte included; `end` UINT64_MAX: to the end of the address space. */
void menu_put_range(const struct mm_sink *to, uint64_t base, uint64_t end);
void menu_put_heading(const struct mm_sink *to, const char *text); /* a line of its own */
void menu_put_name(const struct mm_sink *to, const char *name);    /* the left column of a list */
void menu_put_kind(const struct mm_sink *to, enum memmap_kind kind, size_t width);
void menu_put_attr(const struct mm_sink *to, uint64_t attr);
void menu_put_count(const struct mm_sink *to, uint64_t n, const char *one, const char *many);
void menu_put_time(const struct mm_sink *to, const struct report_time *t);
void menu_put_severity(const struct mm_sink *to, uint32_t severity, size_t width);

/*
 * A text of firmware's or of a file: what would break a line is '?', blanks at its end are left
 * out, and a very long one is cut. In at least `width` columns. `otherwise` - for NULL or an empty
 * text.
 */
void menu_put_text(const struct mm_sink *to, const char *text, const char *otherwise, size_t width);

/* ---- menu_at.c ------------------------------------------------------------------------------- */

/*
 * An address as people write it: hexadecimal, "0x7e6ed000" or "7e6ed000"; or decimal with a unit,
 * "512k", "1M", "4g", "2t". False if it is none, or has more than 64 bits.
 */
bool menu_address(const char *text, uint64_t *address);

/* "What is at this address?"; ctx: const uint64_t *. */
menu_put menu_put_at;

#endif
