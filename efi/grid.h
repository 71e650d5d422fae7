/*
 * grid.h - a picture of the console in memory: one draws all of it, and what differs from what the
 * console shows is sent.
 *
 * Model:    cells with a character and an attribute (UEFI 2.10 12.4.7), as many as the console has.
 * A firmware console takes a millisecond for a line, a serial one several: nothing flickers, and
 * moving a bar by a row costs two rows. Text is UTF-8 of any origin; what a console cannot show, or
 * might take for a command, is '?'. The last cell of the last row is never sent: some consoles
 * scroll then.
 * Memory:   the cells come from the pool given to grid_begin().
 */
#ifndef EFI_GRID_H
#define EFI_GRID_H

#include "console.h"
#include "pool.h"

/* What is larger is used in its upper left corner. */
#define GRID_MAX_COLUMNS 512u
#define GRID_MAX_ROWS    256u

/* Light grey on black, as firmware has it. */
#define GRID_PLAIN 0x07u

struct grid_cell {
    uint16_t character;
    uint8_t attribute;
};

/* Zeroed, but for `console`, before the first grid_begin(). */
struct grid {
    const struct fw_console *console;
    uint32_t columns;
    uint32_t rows;
    uint64_t cells; /* of both pictures, in the pool; 0: none yet */
    uint64_t room;  /* for so many cells a picture */
    struct grid_cell *wanted;
    struct grid_cell *shown;
    uint32_t reach; /* nothing is begun in this column or to the right of it */
    bool unknown;   /* nothing is known of what the console shows: set it to send everything */
};

/*
 * Begin an empty picture, of the size that the console has now. Errors: what the console or the
 * pool answered, if there was no picture before; there is still none then.
 */
fw_status_t grid_begin(struct grid *g, struct pool *pool);

/*
 * Draw `n` bytes of UTF-8 from a place on, `width` columns at most; what lies outside is left out.
 * Returns the columns that the text takes up. The cells of one call have one attribute.
 */
uint32_t grid_text(struct grid *g, uint32_t column, uint32_t row, uint32_t width, uint8_t attribute,
                   const char *text, size_t n);

/* Blanks. */
void grid_fill(struct grid *g, uint32_t column, uint32_t row, uint32_t width, uint8_t attribute);

/* Send what has changed. What could not be sent is sent next time; an error if that is all of it.
 */
fw_status_t grid_flush(struct grid *g);

/*
 * The character at text[*at], *at < n, and move on behind it; 0xfffd for bytes that are no UTF-8,
 * one at a time, and for characters above 0xffff, which consoles do not have.
 */
uint16_t grid_next(const char *text, size_t n, size_t *at);

#endif
