/*
 * menu_view.c - the two widgets: a text that scrolls, a list with a bar.
 *
 * A text is written twice: once to learn how long it is, once into a block of that size; then it is
 * broken into lines, also twice. So there is no limit to guess, and scrolling costs what is seen,
 * however long the text.
 */
#include "menu_ui.h"

#define HANG     0x0e
#define TEXT_MAX (UINT64_C(16) << 20)

/* The attribute that a character sets; 0 if it sets none, as black on black is of no use. */
static uint8_t attribute_of(char c)
{
    if (c >= 0x10 && c < 0x20) {
        return (uint8_t)(c - 0x10);
    }
    if (c == 1) {
        return 0x1f; /* on blue, black is hard to read */
    }
    return c > 1 && c <= 7 ? (uint8_t)(c << 4) : 0;
}

static bool is_mark(char c)
{
    return attribute_of(c) != 0 || c == HANG;
}

/* ---- a line ---------------------------------------------------------------------------------- */

void menu_line_draw(struct menu *m, uint32_t column, uint32_t row, uint32_t width,
                    uint8_t attribute, const char *text, size_t n)
{
    uint8_t now = attribute;
    uint32_t done = 0;

    for (size_t at = 0, end; at < n; at = end) {
        end = at + 1;
        if (is_mark(text[at])) {
            /* In a bar everything has the colours of the bar. */
            if (text[at] != HANG && (attribute & 0x70) == 0) {
                now = attribute_of(text[at]);
            }
            continue;
        }
        while (end < n && !is_mark(text[end])) {
            end++;
        }
        done += grid_text(&m->grid, column + done, row, width - done, now, text + at, end - at);
    }
    grid_fill(&m->grid, column + done, row, width - done, attribute);
}

/* ---- breaking a text into lines -------------------------------------------------------------- */

/*
 * The end of the line that begins at `at`, when `width` columns are there: behind the last blank
 * that fits, or where the columns end if there is none. *hang is set where MENU_HANG stands, in
 * columns from the first of this line.
 */
static uint32_t line_end(const char *text, uint32_t at, uint32_t n, uint32_t width, uint32_t *hang)
{
    uint32_t columns = 0, blank = 0;
    size_t next = at;

    while (next < n && text[next] != '\n') {
        size_t here = next;

        if (text[here] == HANG) {
            *hang = columns;
        }
        if (is_mark(text[here])) {
            next++;
            continue;
        }
        if (columns == width) {
            return text[here] == ' ' || blank == 0 ? (uint32_t)here : blank;
        }
        (void)grid_next(text, n, &next);
        columns++;
        if (text[here] == ' ') {
            blank = (uint32_t)next;
        }
    }
    return (uint32_t)next;
}

/* Break the text; into `lines` if that is not NULL. Returns how many there are. */
static uint32_t break_lines(const char *text, uint32_t n, uint32_t columns, struct menu_line *lines)
{
    uint32_t nlines = 0, indent = 0;
    uint8_t attribute = GRID_PLAIN;

    for (uint32_t at = 0; at < n;) {
        uint32_t hang = 0;
        uint32_t end = line_end(text, at, n, columns - indent, &hang);

        if (lines != NULL) {
            lines[nlines] = (struct menu_line){ at, end, (uint16_t)indent, attribute };
        }
        nlines++;
        if (end < n && text[end] == '\n') {
            indent = 0;
            attribute = GRID_PLAIN;
            at = end + 1;
            continue;
        }
        for (; at < end; at++) {
            attribute = attribute_of(text[at]) != 0 ? attribute_of(text[at]) : attribute;
        }
        while (at < n && text[at] == ' ') {
            at++;
        }
        indent = hang != 0 && indent == 0 ? hang : indent;
        indent = indent < columns / 2 ? indent : 0;
    }
    return nlines;
}

/* ---- a text ---------------------------------------------------------------------------------- */

void menu_view_drop(struct menu *m, struct menu_view *v)
{
    if (v->text_pa != 0) {
        pool_free(&m->pool, v->text_pa);
    }
    if (v->lines_pa != 0) {
        pool_free(&m->pool, v->lines_pa);
    }
    v->text_pa = v->lines_pa = 0;
    v->nlines = 0;
    v->columns = 0;
}

/* Text and lines of a view that has neither; false if there is no memory for them. */
static bool view_fill(struct menu *m, struct menu_view *v)
{
    struct mm_text t;
    char none;
    struct mm_sink sink = mm_text_sink(&t, &none, sizeof(none));
    uint64_t room;
    uint32_t n;

    v->put(m, &sink, v->ctx);
    room = mm_min(t.len, TEXT_MAX) + 1;
    if (fw_failed(pool_alloc(&m->pool, room, STUB_PAGE, POOL_ANY, &v->text_pa))) {
        return false;
    }
    v->text = fw_pointer(v->text_pa);
    sink = mm_text_sink(&t, fw_pointer(v->text_pa), room);
    v->put(m, &sink, v->ctx);
    n = (uint32_t)mm_min(t.len, room - 1);
    v->nlines = break_lines(v->text, n, menu_view_columns(m), NULL);
    if (v->nlines == 0) {
        return true;
    }
    if (fw_failed(pool_alloc(&m->pool, v->nlines * sizeof(struct menu_line), STUB_PAGE, POOL_ANY,
                             &v->lines_pa))) {
        return false;
    }
    v->lines = fw_pointer(v->lines_pa);
    (void)break_lines(v->text, n, menu_view_columns(m), fw_pointer(v->lines_pa));
    return true;
}

static uint32_t view_last_top(const struct menu_view *v, uint32_t nrows)
{
    return v->nlines > nrows ? v->nlines - nrows : 0;
}

void menu_view_make(struct menu *m, struct menu_view *v, uint32_t nrows)
{
    static const char failed[] = "There is not enough free memory to show this.";
    static const struct menu_line failed_line = { 0, sizeof(failed) - 1, 0, GRID_PLAIN };

    if (v->columns != m->grid.columns) {
        menu_view_drop(m, v);
        v->columns = m->grid.columns;
        if (!view_fill(m, v)) {
            menu_view_drop(m, v);
            v->columns = m->grid.columns;
            v->text = failed;
            v->lines = &failed_line;
            v->nlines = 1;
        }
    }
    v->top = (uint32_t)mm_min(v->top, view_last_top(v, nrows));
}

void menu_view_draw(struct menu *m, const struct menu_view *v, uint32_t row, uint32_t nrows)
{
    uint32_t columns = menu_view_columns(m);

    for (uint32_t i = 0; i < nrows && i < v->nlines - v->top; i++) {
        const struct menu_line *l = &v->lines[v->top + i];

        menu_line_draw(m, 1 + l->indent, row + i, columns - l->indent, l->attribute,
                       v->text + l->at, l->end - l->at);
    }
}

bool menu_view_key(struct menu_view *v, enum key key, uint32_t nrows)
{
    uint32_t last = view_last_top(v, nrows);
    uint32_t page = nrows > 2 ? nrows - 1 : 1;

    switch ((int)key) {
    case KEY_UP:
    case 'k':
        v->top -= v->top > 0;
        break;
    case KEY_DOWN:
    case 'j':
        v->top += 1;
        break;
    case KEY_PAGE_UP:
    case 'b':
        v->top -= v->top < page ? v->top : page;
        break;
    case KEY_PAGE_DOWN:
    case ' ':
        v->top += page;
        break;
    case KEY_HOME:
    case 'g':
        v->top = 0;
        break;
    case KEY_END:
    case 'G':
        v->top = last;
        break;
    default:
        return false;
    }
    v->top = v->top < last ? v->top : last;
    return true;
}

/* ---- a list ---------------------------------------------------------------------------------- */

void menu_list_fit(struct menu_list *l, uint32_t nrows)
{
    if (l->at >= l->n) {
        l->at = l->n > 0 ? l->n - 1 : 0;
    }
    if (l->top > l->at) {
        l->top = l->at;
    }
    if (l->at - l->top >= nrows) {
        l->top = l->at - nrows + 1;
    }
    if (l->n - l->top < nrows) {
        l->top = l->n > nrows ? l->n - nrows : 0;
    }
}

bool menu_list_key(struct menu_list *l, enum key key, uint32_t nrows)
{
    uint32_t page = nrows > 2 ? nrows - 1 : 1;
    uint32_t last = l->n > 0 ? l->n - 1 : 0;

    switch ((int)key) {
    case KEY_UP:
    case 'k':
        l->at -= l->at > 0;
        break;
    case KEY_DOWN:
    case 'j':
        l->at += l->at < last;
        break;
    case KEY_PAGE_UP:
    case 'b':
        l->at -= l->at < page ? l->at : page;
        break;
    case KEY_PAGE_DOWN:
    case ' ':
        l->at += last - l->at < page ? last - l->at : page;
        break;
    case KEY_HOME:
    case 'g':
        l->at = 0;
        break;
    case KEY_END:
    case 'G':
        l->at = last;
        break;
    default:
        return false;
    }
    return true;
}
