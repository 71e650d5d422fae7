/*
 * term.c - the model of a text terminal.
 *
 * The rows are a ring: a scroll moves `top` by one and blanks one row, and no cell moves. On the
 * screen all rows change by it, so all are marked dirty; the renderer, which knows what it drew,
 * finds that most cells of a text screen are what they were. Marks are one span a row: text is
 * written from left to right, so a span is exact nearly always.
 *
 * Input is one byte at a time through a small state machine, with a short cut for runs of printable
 * ASCII, which is what text consists of.
 *
 * Invariants (term_check tests them):
 *  T1  col < cols, row < rows, top < rows; the saved cursor too; wrap_pending only in the last
 *      column
 *  T2  colours of every cell are below 16
 *  T3  the pad cell of rows with an odd number of columns is as term_init() left it
 */
#include "lib/term.h"

#include "mm/port.h"

#define REPLACEMENT UINT32_C(0xfffd)
#define DEFAULT_FG  7
#define DEFAULT_BG  0
#define TAB_STOP    8u
#define PARAM_MAX   9999u

enum state {
    STATE_TEXT,
    STATE_ESC,    /* after ESC */
    STATE_SKIP,   /* ESC ( and the like: one more byte */
    STATE_CSI,    /* after ESC [ */
    STATE_STRING, /* after ESC ] P X ^ _: up to BEL or ESC \ */
};

/* ---- cells --------------------------------------------------------------------------------- */

static struct term_cell *row_cells(const struct term *t, unsigned row)
{
    unsigned at = t->top + row;

    at = at >= t->rows ? at - t->rows : at;
    return t->cells + (size_t)at * t->stride;
}

static void mark(struct term *t, unsigned row, unsigned from, unsigned to)
{
    if (t->dirty[row].from >= t->dirty[row].to) {
        t->dirty[row].from = (uint16_t)from;
        t->dirty[row].to = (uint16_t)to;
        return;
    }
    t->dirty[row].from = from < t->dirty[row].from ? (uint16_t)from : t->dirty[row].from;
    t->dirty[row].to = to > t->dirty[row].to ? (uint16_t)to : t->dirty[row].to;
}

static void mark_all(struct term *t)
{
    for (unsigned row = 0; row < t->rows; row++) {
        t->dirty[row].from = 0;
        t->dirty[row].to = t->cols;
    }
}

/* Erased cells take the background, as on a VT220 and in the Linux console. */
static void blank(struct term *t, unsigned row, unsigned from, unsigned to)
{
    const struct term_cell empty = { t->ascii[' '], DEFAULT_FG, t->bg };
    struct term_cell *c = row_cells(t, row);

    for (unsigned i = from; i < to; i++) {
        c[i] = empty;
    }
    mark(t, row, from, to);
}

static void update_pen(struct term *t)
{
    uint8_t fg = t->bold ? t->fg | 8 : t->fg;

    t->pen_fg = t->reverse ? t->bg : fg;
    t->pen_bg = t->reverse ? fg : t->bg;
}

/* ---- cursor -------------------------------------------------------------------------------- */

static void move_to(struct term *t, unsigned row, unsigned col)
{
    t->row = (uint16_t)(row < t->rows ? row : t->rows - 1u);
    t->col = (uint16_t)(col < t->cols ? col : t->cols - 1u);
    t->wrap_pending = false;
}

static void line_feed(struct term *t)
{
    t->col = 0;
    t->wrap_pending = false;
    if (t->row + 1u < t->rows) {
        t->row++;
        return;
    }
    t->top = t->top + 1u < t->rows ? (uint16_t)(t->top + 1u) : 0;
    blank(t, t->row, 0, t->cols);
    mark_all(t);
}

static void put_glyph(struct term *t, uint16_t glyph)
{
    if (t->wrap_pending) {
        line_feed(t);
    }
    row_cells(t, t->row)[t->col] = (struct term_cell){ glyph, t->pen_fg, t->pen_bg };
    mark(t, t->row, t->col, t->col + 1u);
    if (t->col + 1u < t->cols) {
        t->col++;
    } else {
        t->wrap_pending = true;
    }
}

/* A run of printable ASCII at `s`, as much of it as the row takes; how many bytes that was. */
static size_t put_run(struct term *t, const char *s, size_t n)
{
    if (t->wrap_pending) {
        line_feed(t);
    }

    struct term_cell *c = row_cells(t, t->row) + t->col;
    size_t room = t->cols - t->col, i = 0;

    room = n < room ? n : room;
    while (i < room && s[i] >= ' ' && s[i] <= '~') {
        c[i] = (struct term_cell){ t->ascii[(unsigned char)s[i]], t->pen_fg, t->pen_bg };
        i++;
    }
    mark(t, t->row, t->col, t->col + (unsigned)i);
    t->col = (uint16_t)(t->col + i);
    if (t->col == t->cols) {
        t->col--;
        t->wrap_pending = true;
    }
    return i;
}

/* ---- escape sequences (ECMA-48, 8.3) --------------------------------------------------------- */

/* Parameter `i`, or `otherwise` if it is absent or 0. */
static unsigned param(const struct term *t, unsigned i, unsigned otherwise)
{
    return i < t->nparams && t->params[i] != 0 ? t->params[i] : otherwise;
}

static void select_colours(struct term *t)
{
    unsigned n = t->nparams > 0 ? t->nparams : 1;

    for (unsigned i = 0; i < n; i++) {
        unsigned p = param(t, i, 0);

        if (p == 0) {
            t->fg = DEFAULT_FG;
            t->bg = DEFAULT_BG;
            t->bold = t->reverse = false;
        } else if (p == 1 || p == 22) {
            t->bold = p == 1;
        } else if (p == 7 || p == 27) {
            t->reverse = p == 7;
        } else if (p >= 30 && p <= 37) {
            t->fg = (uint8_t)(p - 30);
        } else if (p == 39) {
            t->fg = DEFAULT_FG;
        } else if (p >= 40 && p <= 47) {
            t->bg = (uint8_t)(p - 40);
        } else if (p == 49) {
            t->bg = DEFAULT_BG;
        } else if (p >= 90 && p <= 97) {
            t->fg = (uint8_t)(p - 90 + 8);
        } else if (p >= 100 && p <= 107) {
            t->bg = (uint8_t)(p - 100 + 8);
        }
    }
    update_pen(t);
}

/* ESC [ K: 0 to the end, 1 up to the cursor, 2 all. */
static void erase_line(struct term *t, unsigned how)
{
    if (how <= 2) {
        blank(t, t->row, how == 0 ? t->col : 0, how == 1 ? t->col + 1u : t->cols);
    }
}

static void erase_display(struct term *t, unsigned how)
{
    unsigned first = how == 0 ? t->row + 1u : 0, end = how == 1 ? t->row : t->rows;

    if (how > 2) {
        return;
    }
    for (unsigned row = first; row < end; row++) {
        blank(t, row, 0, t->cols);
    }
    erase_line(t, how);
}

static void control_sequence(struct term *t, char final)
{
    unsigned n = param(t, 0, 1);

    if (t->private_mark) {
        if ((final == 'h' || final == 'l') && param(t, 0, 0) == 25) {
            t->cursor_shown = final == 'h';
        }
        return;
    }
    switch (final) {
    case 'A':
        move_to(t, n < t->row ? t->row - n : 0, t->col);
        break;
    case 'B':
        move_to(t, t->row + n, t->col);
        break;
    case 'C':
        move_to(t, t->row, t->col + n);
        break;
    case 'D':
        move_to(t, t->row, n < t->col ? t->col - n : 0);
        break;
    case 'G':
        move_to(t, t->row, n - 1);
        break;
    case 'H':
    case 'f':
        move_to(t, n - 1, param(t, 1, 1) - 1);
        break;
    case 'J':
        erase_display(t, param(t, 0, 0));
        break;
    case 'K':
        erase_line(t, param(t, 0, 0));
        break;
    case 'm':
        select_colours(t);
        break;
    case 's':
        t->saved_row = t->row;
        t->saved_col = t->col;
        break;
    case 'u':
        move_to(t, t->saved_row, t->saved_col);
        break;
    default:
        break;
    }
}

static void control_character(struct term *t, unsigned char c)
{
    switch (c) {
    case '\b':
        t->col -= t->col > 0 && !t->wrap_pending;
        t->wrap_pending = false;
        break;
    case '\t':
        move_to(t, t->row, (t->col / TAB_STOP + 1) * TAB_STOP);
        break;
    case '\n':
        line_feed(t);
        break;
    case '\r':
        move_to(t, t->row, 0);
        break;
    case 0x1b:
        t->state = STATE_ESC;
        break;
    default:
        break;
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

static void put_codepoint(struct term *t, uint32_t c)
{
    put_glyph(t, t->glyph(t->ctx, c));
}

/* A byte of text that is no printable ASCII, and no control character in a broken sequence either.
 * UTF-8 as RFC 3629 has it: no overlong forms, no surrogates, nothing above U+10FFFF. */
static void text_byte(struct term *t, unsigned char c)
{
    if (t->utf8_left > 0 && (c & 0xc0) == 0x80) {
        t->codepoint = t->codepoint << 6 | (c & 0x3f);
        if (--t->utf8_left == 0) {
            bool bad = t->codepoint < t->utf8_min || t->codepoint > 0x10ffff ||
                       (t->codepoint >= 0xd800 && t->codepoint <= 0xdfff) || t->codepoint < 0xa0;

            put_codepoint(t, bad ? REPLACEMENT : t->codepoint);
        }
        return;
    }
    if (t->utf8_left > 0) { /* cut short */
        t->utf8_left = 0;
        put_codepoint(t, REPLACEMENT);
    }
    if (c < ' ') {
        control_character(t, c);
    } else if (c < 0x7f) {
        put_glyph(t, t->ascii[c]);
    } else if (c >= 0xc2 && c < 0xf5) {
        t->utf8_left = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
        t->utf8_min = c < 0xe0 ? 0x80 : c < 0xf0 ? 0x800 : 0x10000;
        t->codepoint = c & (0x3fu >> t->utf8_left);
    } else if (c != 0x7f) {
        put_codepoint(t, REPLACEMENT);
    }
}

static void csi_byte(struct term *t, unsigned char c)
{
    if (c >= '0' && c <= '9') {
        if (t->nparams == 0) {
            t->nparams = 1;
        }

        uint16_t *p = &t->params[t->nparams - 1];

        *p = *p < PARAM_MAX / 10 ? (uint16_t)(*p * 10 + (c - '0')) : PARAM_MAX;
    } else if (c == ';') {
        t->nparams = t->nparams == 0 ? 1 : t->nparams; /* the one before it, absent */
        if (t->nparams < TERM_PARAMS) {
            t->params[t->nparams++] = 0;
        } else {
            t->state = STATE_TEXT; /* nobody sends so many: give up on it */
        }
    } else if (c == '?') {
        t->private_mark = true;
    } else if (c >= '@' && c <= '~') {
        t->state = STATE_TEXT;
        control_sequence(t, (char)c);
    } else if (c < ' ') {
        t->state = STATE_TEXT;
        control_character(t, c);
    } else if (c >= 0x7f) {
        t->state = STATE_TEXT;
    }
}

static void esc_byte(struct term *t, unsigned char c)
{
    t->state = STATE_TEXT;
    if (c == '[') {
        t->state = STATE_CSI;
        t->nparams = 0;
        t->params[0] = 0;
        t->private_mark = false;
    } else if (c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_') {
        t->state = STATE_STRING;
    } else if (c >= ' ' && c <= '/') {
        t->state = STATE_SKIP;
    } else if (c < ' ') {
        control_character(t, c);
    }
}

static void feed(struct term *t, unsigned char c)
{
    switch ((enum state)t->state) {
    case STATE_TEXT:
        text_byte(t, c);
        break;
    case STATE_ESC:
        esc_byte(t, c);
        break;
    case STATE_SKIP:
        t->state = STATE_TEXT;
        break;
    case STATE_CSI:
        csi_byte(t, c);
        break;
    case STATE_STRING: /* a line end ends it too: a broken one must not swallow the screen */
        if (c == '\a' || c == '\n') {
            t->state = STATE_TEXT;
        } else if (c == 0x1b) {
            t->state = STATE_SKIP;
        }
        break;
    }
}

/* ---- the interface ----------------------------------------------------------------------------
 */

void term_init(struct term *t, struct term_cell *cells, unsigned cols, unsigned rows,
               term_glyph_fn *glyph, void *ctx)
{
    MM_ASSERT(cols >= 1 && cols <= TERM_MAX_COLS && rows >= 1 && rows <= TERM_MAX_ROWS);
    *t = (struct term){
        .cells = cells,
        .glyph = glyph,
        .ctx = ctx,
        .cols = (uint16_t)cols,
        .rows = (uint16_t)rows,
        .stride = (uint16_t)(cols + (cols & 1)),
        .cursor_shown = true,
        .fg = DEFAULT_FG,
        .bg = DEFAULT_BG,
    };
    for (unsigned c = ' '; c <= '~'; c++) {
        t->ascii[c] = glyph(ctx, c);
    }
    update_pen(t);
    for (unsigned row = 0; row < rows; row++) {
        blank(t, row, 0, t->stride);
    }
    mark_all(t);
}

void term_write(struct term *t, const char *s, size_t n)
{
    for (size_t i = 0; i < n;) {
        if (t->state == STATE_TEXT && t->utf8_left == 0 && s[i] >= ' ' && s[i] <= '~') {
            i += put_run(t, s + i, n - i);
        } else {
            feed(t, (unsigned char)s[i++]);
        }
    }
}

const struct term_cell *term_row(const struct term *t, unsigned row)
{
    MM_ASSERT(row < t->rows);
    return row_cells(t, row);
}

bool term_dirty(struct term *t, unsigned row, unsigned *from, unsigned *to)
{
    MM_ASSERT(row < t->rows);
    if (t->dirty[row].from >= t->dirty[row].to) {
        return false;
    }
    *from = t->dirty[row].from;
    *to = t->dirty[row].to;
    t->dirty[row].to = t->dirty[row].from = 0;
    return true;
}

const char *term_check(const struct term *t)
{
    if (t->col >= t->cols || t->row >= t->rows || t->top >= t->rows || t->saved_col >= t->cols ||
        t->saved_row >= t->rows || (t->wrap_pending && t->col != t->cols - 1)) {
        return "T1: the cursor is outside";
    }
    for (unsigned row = 0; row < t->rows; row++) {
        const struct term_cell *c = row_cells(t, row);

        for (unsigned col = 0; col < t->cols; col++) {
            if (c[col].fg > 15 || c[col].bg > 15) {
                return "T2: a colour that there is not";
            }
        }
        if (t->stride != t->cols && (c[t->cols].glyph != t->ascii[' '] ||
                                     c[t->cols].fg != DEFAULT_FG || c[t->cols].bg != DEFAULT_BG)) {
            return "T3: the pad cell was written";
        }
    }
    return NULL;
}
