/*
 * grid.c - see grid.h.
 *
 * A run is what one call of put() sends: cells of one attribute in one row. On a serial line a new
 * run costs up to 30 bytes of escape sequences, so cells that have not changed are sent again where
 * that joins two runs. The foreground of a blank does not show, and so does not end a run.
 *
 * Not every console can begin to write anywhere. EDK II's splitter of consoles asks the wrong mode
 * for its width and refuses columns from 80 on; its serial terminal has two digits for a column.
 * But a run may begin where the last one ended, which needs no cursor to be set: whatever lies
 * beyond the reach of the cursor is sent from a place within it.
 */
#include "grid.h"

#define JOIN       8u     /* unchanged cells between two changed ones that are sent with them */
#define REACH      99u    /* columns that two digits can name */
#define REACH_LESS 80u    /* of every console */
#define NOT_SHOWN  0u     /* a character that no picture holds */
#define REPLACED   0xfffd /* what is no character */
#define BACKGROUND 0x70u

static fw_status_t grid_resize(struct grid *g, struct pool *pool, uint32_t columns, uint32_t rows)
{
    uint64_t n = (uint64_t)columns * rows;

    if (n > g->room) {
        uint64_t cells = 0;
        fw_status_t s =
            pool_alloc(pool, 2 * n * sizeof(struct grid_cell), STUB_PAGE, POOL_ANY, &cells);

        if (fw_failed(s)) { /* what there is will do for some of the rows */
            rows = (uint32_t)(g->room / columns);
            if (rows == 0) {
                return s;
            }
        } else {
            if (g->cells != 0) {
                pool_free(pool, g->cells);
            }
            g->cells = cells;
            g->room = n;
        }
    }
    g->columns = columns;
    g->rows = rows;
    g->wanted = fw_pointer(g->cells);
    g->shown = g->wanted + (size_t)columns * rows;
    g->reach = g->columns < REACH ? g->columns : REACH;
    g->unknown = true;
    return FW_SUCCESS;
}

static void grid_blank(const struct grid *g, struct grid_cell *cells)
{
    for (size_t i = 0; i < (size_t)g->columns * g->rows; i++) {
        cells[i] = (struct grid_cell){ ' ', GRID_PLAIN };
    }
}

fw_status_t grid_begin(struct grid *g, struct pool *pool)
{
    uint32_t columns = 0, rows = 0;
    fw_status_t s = g->console->size(&columns, &rows);

    if (!fw_failed(s) && columns > 0 && rows > 0) {
        columns = columns < GRID_MAX_COLUMNS ? columns : GRID_MAX_COLUMNS;
        rows = rows < GRID_MAX_ROWS ? rows : GRID_MAX_ROWS;
        if (columns != g->columns || rows != g->rows) {
            s = grid_resize(g, pool, columns, rows);
        }
    } else if (!fw_failed(s)) {
        s = FW_DEVICE_ERROR;
    }
    if (g->cells == 0) {
        return s;
    }
    grid_blank(g, g->wanted);
    return FW_SUCCESS;
}

uint16_t grid_next(const char *text, size_t n, size_t *at)
{
    unsigned char first = (unsigned char)text[(*at)++];
    unsigned more = first < 0x80                    ? 0
                    : first >= 0xc2 && first < 0xe0 ? 1
                    : (first & 0xf0) == 0xe0        ? 2
                                                    : 3;
    uint32_t c = more == 0 ? first : first & (0x3fu >> more);

    if (more == 3 || n - *at < more) {
        return REPLACED;
    }
    for (unsigned i = 0; i < more; i++) {
        unsigned char next = (unsigned char)text[*at + i];

        if ((next & 0xc0) != 0x80) {
            return REPLACED;
        }
        c = c << 6 | (next & 0x3f);
    }
    if (more == 2 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) {
        return REPLACED;
    }
    *at += more;
    return (uint16_t)c;
}

/*
 * Latin letters and what screens are drawn with are a column wide on every console that has them;
 * of other characters nobody knows.
 */
static uint16_t grid_character(const struct grid *g, uint16_t c)
{
    bool narrow = (c >= 0xa1 && c < 0x250 && c != 0xad) || (c >= 0x2500 && c < 0x25a0);

    if (c >= 0x20 && c < 0x7f) {
        return c;
    }
    return narrow && g->console->has(c) ? c : '?';
}

uint32_t grid_text(struct grid *g, uint32_t column, uint32_t row, uint32_t width, uint8_t attribute,
                   const char *text, size_t n)
{
    uint32_t done = 0;
    uint16_t last = 0, shown = 0; /* asking a console about a character is slow */

    if (row >= g->rows || column >= g->columns) {
        return 0;
    }
    width = width < g->columns - column ? width : g->columns - column;
    for (size_t at = 0; at < n && done < width; done++) {
        uint16_t c = grid_next(text, n, &at);

        shown = c == last ? shown : grid_character(g, c);
        last = c;
        g->wanted[(size_t)row * g->columns + column + done] =
            (struct grid_cell){ shown, attribute };
    }
    return done;
}

void grid_fill(struct grid *g, uint32_t column, uint32_t row, uint32_t width, uint8_t attribute)
{
    for (uint32_t i = 0; i < width && column + i < g->columns && row < g->rows; i++) {
        g->wanted[(size_t)row * g->columns + column + i] = (struct grid_cell){ ' ', attribute };
    }
}

/* Would cell `c` look the same in attribute `attribute`? */
static bool grid_fits(struct grid_cell c, uint8_t attribute)
{
    return c.attribute == attribute ||
           (c.character == ' ' && ((c.attribute ^ attribute) & BACKGROUND) == 0);
}

static bool grid_same(struct grid_cell a, struct grid_cell b)
{
    return a.character == b.character && grid_fits(a, b.attribute);
}

/* One run from `at` on. Returns where it ends. */
static uint32_t grid_send(struct grid *g, uint32_t row, uint32_t at, uint32_t columns,
                          fw_status_t *status)
{
    struct grid_cell *wanted = g->wanted + (size_t)row * g->columns;
    struct grid_cell *shown = g->shown + (size_t)row * g->columns;
    uint16_t text[GRID_MAX_COLUMNS + 1];
    uint32_t end = at + 1;

    for (uint32_t i = end; i < columns && i <= end + JOIN; i++) {
        if (!grid_fits(wanted[i], wanted[at].attribute)) {
            break;
        }
        if (!grid_same(wanted[i], shown[i])) {
            end = i + 1;
        }
    }
    for (uint32_t i = at; i < end; i++) {
        text[i - at] = wanted[i].character;
        shown[i] = wanted[i];
    }
    text[end - at] = 0;
    *status = g->console->put(at, row, wanted[at].attribute, text);
    for (uint32_t i = at; i < end && fw_failed(*status); i++) {
        shown[i].character = NOT_SHOWN;
    }
    return end;
}

/* What has changed in a row. Returns false, with nothing lost, if it has to be done again. */
static bool grid_flush_row(struct grid *g, uint32_t row, uint32_t *sent, fw_status_t *status)
{
    struct grid_cell *wanted = g->wanted + (size_t)row * g->columns;
    struct grid_cell *shown = g->shown + (size_t)row * g->columns;
    uint32_t columns = row + 1 == g->rows ? g->columns - 1 : g->columns;

    while (columns > 0 && grid_same(wanted[columns - 1], shown[columns - 1])) {
        columns--;
    }
    for (uint32_t i = g->reach - 1; i < columns && columns > g->reach; i++) {
        shown[i].character = NOT_SHOWN;
    }
    for (uint32_t at = 0; at < columns;) {
        fw_status_t s = FW_SUCCESS;
        uint32_t from = at;

        if (grid_same(wanted[at], shown[at])) {
            at++;
            continue;
        }
        at = grid_send(g, row, from, columns, &s);
        *sent += !fw_failed(s);
        if (fw_failed(s)) {
            *status = s;
            if (from >= REACH_LESS && g->reach > REACH_LESS) {
                g->reach = REACH_LESS;
                return false;
            }
        }
    }
    return true;
}

fw_status_t grid_flush(struct grid *g)
{
    fw_status_t status = FW_SUCCESS;
    uint32_t sent = 0;

    if (g->unknown) {
        status = g->console->clear(GRID_PLAIN);
        if (fw_failed(status)) {
            return status;
        }
        grid_blank(g, g->shown);
        g->unknown = false;
    }
    for (uint32_t row = 0; row < g->rows;) {
        row += grid_flush_row(g, row, &sent, &status);
    }
    return sent > 0 ? FW_SUCCESS : status;
}
