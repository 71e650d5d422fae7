/*
 * term.h - the model of a text terminal: bytes in, a grid of cells out.
 *
 * Model:    a subset of the VT100 and of ECMA-48: printable UTF-8, BEL BS TAB LF CR, and ESC [ with
 * A B C D (move), G (column), H f (position), J K (erase), m (colours: 0 1 22 7 27 30-37 39 40-47
 * 49 90-97 100-107), s u (save and restore the cursor), ?25 h l (cursor). LF also returns to column
 * 0: kernel text has no CR. A character behind the last column waits there and wraps when the next
 * one comes. Bad UTF-8 gives U+FFFD; unknown sequences are swallowed; nothing in the input can do
 * harm.
 * Drawing:  none here. The terminal notes which cells may have changed; the renderer asks for them
 * with term_dirty(), row by row.
 * Locking:  none; one user at a time. Memory: the caller's cells.
 */
#ifndef LIB_TERM_H
#define LIB_TERM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TERM_MAX_COLS 320u
#define TERM_MAX_ROWS 128u
#define TERM_PARAMS   8u /* of an escape sequence */

/* Colours are ANSI's: 0 black, 1 red, 2 green, 3 yellow, 4 blue, 5 magenta, 6 cyan, 7 grey, + 8
 * bright. */
struct term_cell {
    uint16_t glyph; /* what the callback said */
    uint8_t fg, bg; /* 0 to 15 */
};
_Static_assert(sizeof(struct term_cell) == 4, "cells are compared and filled two at a time");

/* The glyph that shows `codepoint`; for one that the font lacks, whatever it shows instead. */
typedef uint16_t term_glyph_fn(void *ctx, uint32_t codepoint);

struct term {
    struct term_cell *cells; /* `rows` rows of `stride` cells; a ring, see `top` */
    term_glyph_fn *glyph;
    void *ctx;
    uint16_t cols, rows;
    uint16_t stride;   /* cols, made even */
    uint16_t top;      /* the ring row that is the first on the screen */
    uint16_t col, row; /* cursor; col < cols */
    uint16_t saved_col, saved_row;
    bool wrap_pending; /* the last column was written, and the cursor is still on it */
    bool cursor_shown;

    uint8_t fg, bg; /* of SGR, before bold and reverse */
    bool bold, reverse;
    uint8_t pen_fg, pen_bg; /* what these make of a character */
    uint16_t ascii[0x80];   /* glyphs of the printable ones */

    uint8_t state; /* enum in term.c */
    uint8_t nparams;
    bool private_mark; /* ESC [ ? */
    uint16_t params[TERM_PARAMS];
    uint32_t codepoint; /* UTF-8 so far */
    uint8_t utf8_left;
    uint32_t utf8_min; /* smallest code point that needs this many bytes */

    struct {
        uint16_t from, to;  /* [from, to) may have changed; from >= to: clean */
    } dirty[TERM_MAX_ROWS]; /* by row of the screen */
};

/* Cells of storage that a grid of this size needs. */
#define TERM_CELLS(cols, rows) ((((size_t)(cols) + 1) & ~(size_t)1) * (rows))

/*
 * A blank terminal with the cursor at the top left; everything is dirty. `cols` and `rows` from 1
 * to the maximum; `cells` holds TERM_CELLS() entries, 8-byte aligned, any contents.
 */
void term_init(struct term *t, struct term_cell *cells, unsigned cols, unsigned rows,
               term_glyph_fn *glyph, void *ctx);

/* Feed it. Cost: some 30 instructions for a printable ASCII byte, a row's fill for a scroll. */
void term_write(struct term *t, const char *s, size_t n);

/* The cells of row `row` of the screen, `cols` of them. */
const struct term_cell *term_row(const struct term *t, unsigned row);

/* The cells [*from, *to) of `row` that may have changed since the last call for it; false: none. */
bool term_dirty(struct term *t, unsigned row, unsigned *from, unsigned *to);

/* NULL if the invariants of term.c hold, else the first broken one as text. */
const char *term_check(const struct term *t);

#endif
