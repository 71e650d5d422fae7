/*
 * menu.c - the frame around the screens, the keys that mean the same on each, and the ways out.
 *
 *     row 0            title: the machine, the time
 *     row 1            the screens, the one that is shown in brackets
 *     from row 2 or 3  the screen: a text; or two lines of heading, a list, and a line about the
 *                      entry with the bar
 *     last but one     keys of the screen, and where in it one is; or a question and its answer
 *     last             the ways out
 *
 * There is one loop for each thing that takes keys: menu_run() for the screens, menu_page(),
 * menu_ask(), menu_confirm(). A key that means nothing to a page but something to the screens ends
 * the page and goes on to them.
 */
#include "menu.h"

#include "menu_ui.h"

#define MIN_COLUMNS   40u
#define MIN_ROWS      12u
#define ROOMY_ROWS    30u /* from here on there is a blank row below the names of the screens */
#define FAILURES_MAX  8u
#define SLICE_US      UINT64_C(100000)
#define SLICES        10u  /* a second */
#define STRAY_MAX     100u /* things that are no key, before the wait for one is over */
#define PROMPT_CHARS  160u
#define ATTR_BAR      0x1fu /* white on blue */
#define ATTR_SELECTED 0x70u /* black on grey */
#define ATTR_TAB      0x0fu

static const struct menu_screen *const screens[MENU_SCREENS] = {
    [MENU_OVERVIEW] = &menu_overview, [MENU_MAP] = &menu_map,
    [MENU_FINDINGS] = &menu_findings, [MENU_TABLES] = &menu_tables,
    [MENU_COMPARE] = &menu_compare,   [MENU_SAVE] = &menu_save,
};

/* ---- drawing --------------------------------------------------------------------------------- */

/* A line that is made as text first. */
struct line {
    char buf[MENU_ROW_CHARS];
    struct mm_text text;
    struct mm_sink sink;
};

static struct mm_sink *line_begin(struct line *l)
{
    l->sink = mm_text_sink(&l->text, l->buf, sizeof(l->buf));
    return &l->sink;
}

static size_t line_length(const struct line *l)
{
    return mm_min(l->text.len, sizeof(l->buf) - 1);
}

static void line_draw(struct menu *m, const struct line *l, uint32_t column, uint32_t row,
                      uint8_t attribute)
{
    if (column < m->grid.columns) {
        menu_line_draw(m, column, row, m->grid.columns - column, attribute, l->buf, line_length(l));
    }
}

/* At the right end of a row that has been drawn, if that is not where its text is. */
static void line_draw_right(struct menu *m, const struct line *l, uint32_t row, uint32_t from,
                            uint8_t attribute)
{
    uint32_t n = (uint32_t)line_length(l);

    if (from + n + 1 < m->grid.columns) {
        line_draw(m, l, m->grid.columns - n - 1, row, attribute);
    }
}

static uint32_t content_row(const struct menu *m)
{
    return m->grid.rows >= ROOMY_ROWS ? 3 : 2;
}

static bool is_too_small(const struct menu *m)
{
    return m->grid.columns < MIN_COLUMNS || m->grid.rows < MIN_ROWS;
}

/* Rows of a text; as if there were one when there is no room for any. */
static uint32_t content_rows(const struct menu *m)
{
    return is_too_small(m) ? 1 : m->grid.rows - content_row(m) - 2;
}

static uint32_t list_rows(const struct menu *m)
{
    return is_too_small(m) ? 1
                           : content_rows(m) - MENU_HEAD_ROWS - (m->screen->foot != NULL ? 1 : 0);
}

static void draw_title(struct menu *m)
{
    const struct report *r = &m->in->report;
    struct line l;

    mm_put_str(line_begin(&l), " Plat inspector   ");
    menu_put_text(&l.sink, r->smbios.product, "", 0);
    line_draw(m, &l, 0, 0, ATTR_BAR);
    if ((r->known & REPORT_HAS_TIME) != 0) {
        mm_put_str(line_begin(&l), "  ");
        menu_put_time(&l.sink, &r->time);
        mm_put_char(&l.sink, ' ');
        line_draw_right(m, &l, 0, 20, ATTR_BAR);
    }
}

static void draw_tabs(struct menu *m)
{
    uint32_t column = 0;

    for (uint32_t i = 0; i < MENU_SCREENS; i++) {
        bool is_here = screens[i] == m->screen;
        struct line l;

        mm_put_char(line_begin(&l), is_here ? '[' : ' ');
        mm_put_u64(&l.sink, i + 1, 0);
        mm_put_char(&l.sink, ' ');
        mm_put_str(&l.sink, screens[i]->name);
        mm_put_char(&l.sink, is_here ? ']' : ' ');
        column += grid_text(&m->grid, column, 1, m->grid.columns,
                            is_here ? ATTR_SELECTED : GRID_PLAIN, l.buf, line_length(&l));
    }
}

static void draw_list(struct menu *m)
{
    uint32_t row = content_row(m), nrows = list_rows(m);
    struct menu_list *list = m->list;
    struct line l;
    size_t at = 0;

    menu_list_fit(list, nrows);
    m->screen->head(m, line_begin(&l));
    for (uint32_t i = 0; i < MENU_HEAD_ROWS; i++) {
        size_t end = at;

        while (end < line_length(&l) && l.buf[end] != '\n') {
            end++;
        }
        menu_line_draw(m, 1, row + i, m->grid.columns - 1, GRID_PLAIN, l.buf + at, end - at);
        at = end < line_length(&l) ? end + 1 : end;
    }
    row += MENU_HEAD_ROWS;
    for (uint32_t i = 0; i < nrows && i < list->n - list->top; i++) {
        bool is_here = list->top + i == list->at;

        mm_put_str(line_begin(&l), is_here ? ">" : " ");
        m->screen->row(m, &l.sink, list->top + i);
        line_draw(m, &l, 0, row + i, is_here ? ATTR_SELECTED : GRID_PLAIN);
    }
    if (m->screen->foot != NULL && list->n > 0) {
        mm_put_char(line_begin(&l), ' ');
        m->screen->foot(m, &l.sink, list->at);
        line_draw(m, &l, 0, row + nrows, GRID_PLAIN);
    }
}

/* "12/108", or of a text, unless all of it is to be seen, "lines 1-20/35". */
static void put_position(const struct menu *m, const struct mm_sink *to, const struct menu_view *v)
{
    if (v == NULL) {
        mm_put_u64(to, m->list->n > 0 ? m->list->at + 1 : 0, 0);
        mm_put_char(to, '/');
        mm_put_u64(to, m->list->n, 0);
    } else if (v->nlines > content_rows(m)) {
        mm_put_str(to, "lines ");
        mm_put_u64(to, v->top + 1, 0);
        mm_put_char(to, '-');
        mm_put_u64(to, mm_min(v->top + (uint64_t)content_rows(m), v->nlines), 0);
        mm_put_char(to, '/');
        mm_put_u64(to, v->nlines, 0);
    }
}

static void draw_keys(struct menu *m, const struct menu_view *v)
{
    uint32_t row = m->grid.rows - 2;
    const char *keys = m->page != NULL ? m->page_keys : m->screen->keys;
    struct line l;
    uint32_t n;

    mm_put_char(line_begin(&l), ' ');
    if (m->prompt != NULL) {
        mm_put_str(&l.sink, m->prompt);
        mm_put_str(&l.sink, m->answer);
        mm_put_char(&l.sink, '_');
        line_draw(m, &l, 0, row, ATTR_SELECTED);
        return;
    }
    if (m->page != NULL) {
        mm_put_str(&l.sink, "q back  ");
    }
    mm_put_str(&l.sink, keys);
    mm_put_str(&l.sink, keys[0] != '\0' ? "  " : "");
    if (v == NULL || v->nlines > content_rows(m)) {
        mm_put_str(&l.sink, "j k move  ");
    }
    mm_put_str(&l.sink, "Tab next  ? help");
    n = (uint32_t)line_length(&l);
    line_draw(m, &l, 0, row, ATTR_TAB);
    put_position(m, line_begin(&l), v);
    line_draw_right(m, &l, row, n, ATTR_TAB);
}

static void draw_ways_out(struct menu *m)
{
    struct line l;

    mm_put_str(line_begin(&l), " 7 Boot the kernel   8 Exit to firmware   9 Restart");
    mm_put_str(&l.sink, m->fw->setup_is_there() ? "   0 Firmware set-up" : "");
    line_draw(m, &l, 0, m->grid.rows - 1, ATTR_BAR);
}

static void draw_too_small(struct menu *m)
{
    struct line l;

    mm_put_str(line_begin(&l), "The console is too small. 7: boot");
    line_draw(m, &l, 0, 0, GRID_PLAIN);
}

void menu_draw(struct menu *m)
{
    struct menu_view *v = m->page != NULL ? m->page : m->screen->put != NULL ? &m->view : NULL;
    fw_status_t s = grid_begin(&m->grid, &m->pool);

    if (!fw_failed(s) && is_too_small(m)) {
        draw_too_small(m);
        s = grid_flush(&m->grid);
    } else if (!fw_failed(s)) {
        draw_title(m);
        draw_tabs(m);
        if (v != NULL) {
            menu_view_make(m, v, content_rows(m));
            menu_view_draw(m, v, content_row(m), content_rows(m));
        } else {
            draw_list(m);
        }
        draw_keys(m, v);
        draw_ways_out(m);
        s = grid_flush(&m->grid);
    }
    m->failures = fw_failed(s) ? m->failures + 1 : 0;
}

/* ---- keys ------------------------------------------------------------------------------------ */

/* Draw, and wait for a key. KEY_FAILED: there will be none, and the menu is done. */
static enum key menu_key(struct menu *m)
{
    enum key key = m->pending;

    m->pending = KEY_NONE;
    while (key == KEY_NONE || key == KEY_OTHER || key == KEY_REDRAW) {
        if (key == KEY_REDRAW) {
            m->grid.unknown = true;
        }
        if (key != KEY_OTHER) {
            menu_draw(m);
        }
        key =
            m->failures < FAILURES_MAX ? keyboard_next(&m->keyboard, CONSOLE_FOREVER) : KEY_FAILED;
    }
    if (key == KEY_FAILED) {
        m->is_done = true;
        m->has_failed = true;
    }
    return key;
}

bool menu_ask(struct menu *m, const char *question, char *answer, size_t nbytes)
{
    size_t n = 0;
    enum key key;

    answer[0] = '\0';
    m->prompt = question;
    m->answer = answer;
    while ((key = menu_key(m)) != KEY_ENTER && key != KEY_ESC && key != KEY_FAILED) {
        if (key == KEY_BACKSPACE && n > 0) {
            answer[--n] = '\0';
        } else if (key >= ' ' && key <= '~' && n + 1 < nbytes) {
            answer[n++] = (char)key;
            answer[n] = '\0';
        }
    }
    m->prompt = NULL;
    return key == KEY_ENTER && n > 0;
}

bool menu_confirm(struct menu *m, const char *question)
{
    int key;

    m->prompt = question;
    m->answer = "";
    key = (int)menu_key(m);
    m->prompt = NULL;
    return key == 'y' || key == 'Y';
}

/* A key that goes to the screens from wherever one is. */
static bool is_for_all(enum key key)
{
    return (key >= '0' && key <= '9') || key == KEY_TAB || (int)key == 'n' || (int)key == 'p' ||
           key == KEY_LEFT || key == KEY_RIGHT;
}

static void help_put(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    const struct menu_screen *s = ctx;

    (void)m;
    mm_put_str(to, MENU_HEADING);
    mm_put_str(to, s->name);
    mm_put_char(to, '\n');
    mm_put_str(to, s->help);
    mm_put_str(to, "\n" MENU_HEADING "Keys\n"
                   "1 to 6     " MENU_HANG "the screens; also Tab, n, arrow right: the next; p, "
                   "arrow left: the one before\n"
                   "j, k       " MENU_HANG "a line down, up; also the arrows\n"
                   "Space, b   " MENU_HANG "a page down, up; also PgDn, PgUp\n"
                   "g, G       " MENU_HANG "to the beginning, the end; also Home, End\n"
                   "Enter      " MENU_HANG "more about the line with the bar\n"
                   "q, Esc     " MENU_HANG "back\n"
                   "Ctrl-L     " MENU_HANG "draw the screen anew\n"
                   "?, F1      " MENU_HANG "this help\n"
                   "7          " MENU_HANG "go on, and boot Plat's kernel\n"
                   "8          " MENU_HANG "leave Plat; firmware goes on with its next boot entry\n"
                   "9          " MENU_HANG "restart the machine\n"
                   "0          " MENU_HANG "restart into firmware's own set-up screens\n");
}

void menu_page(struct menu *m, const char *keys, menu_put *put, const void *ctx)
{
    struct menu_view view = { .put = put, .ctx = ctx };
    struct menu_view *before = m->page;
    const char *keys_before = m->page_keys;

    for (;;) {
        enum key key;

        m->page = &view;
        m->page_keys = keys;
        key = menu_key(m);
        if ((key == (enum key)'?' || key == KEY_F1) && put != help_put) {
            menu_page(m, "", help_put, m->screen);
        } else if (is_for_all(key)) {
            m->pending = key;
        } else if (menu_view_key(&view, key, content_rows(m))) {
            continue;
        }
        if (m->is_done || m->pending != KEY_NONE || key == KEY_ESC || key == KEY_ENTER ||
            key == KEY_BACKSPACE || key == (enum key)'q') {
            break;
        }
    }
    menu_view_drop(m, &view);
    m->page = before;
    m->page_keys = keys_before;
}

/* ---- the ways out ---------------------------------------------------------------------------- */

static void leave(struct menu *m, enum menu_choice choice)
{
    m->is_done = true;
    m->choice = choice;
}

static void text_put(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    (void)m;
    mm_put_str(to, ctx);
}

static void restart(struct menu *m)
{
    if (menu_confirm(m, "Restart the machine? y or n: ")) {
        m->fw->reset();
        menu_page(m, "", text_put, "Firmware did not restart the machine. Switch it off.\n");
    }
}

static void setup_put(struct menu *m, const struct mm_sink *to, const void *ctx)
{
    const fw_status_t *s = ctx;

    (void)m;
    mm_put_str(to, "The machine cannot be restarted into the set-up screens: ");
    mm_put_str(to, fw_status_name(*s));
    mm_put_str(to, ".\nRestart it, and press firmware's own key for them: often F2, Del or Esc.\n");
}

static void setup(struct menu *m)
{
    fw_status_t s = FW_UNSUPPORTED;

    if (m->fw->setup_is_there()) {
        if (!menu_confirm(m, "Restart into firmware's set-up screens? y or n: ")) {
            return;
        }
        s = m->fw->setup();
    }
    menu_page(m, "", setup_put, &s);
}

/* ---- the screens ----------------------------------------------------------------------------- */

static void show(struct menu *m, uint32_t i)
{
    if (m->screen != NULL && m->screen->close != NULL) {
        m->screen->close(m);
    }
    menu_view_drop(m, &m->view);
    m->screen = screens[i];
    m->list = &m->lists[i];
    m->view = (struct menu_view){ .put = m->screen->put };
    if (m->screen->open != NULL) {
        m->screen->open(m);
    }
}

static uint32_t shown(const struct menu *m)
{
    uint32_t i = 0;

    while (screens[i] != m->screen) {
        i++;
    }
    return i;
}

static void key_for_all(struct menu *m, enum key key)
{
    switch ((int)key) {
    case '7':
        leave(m, MENU_BOOT);
        break;
    case '8':
        leave(m, MENU_EXIT);
        break;
    case '9':
        restart(m);
        break;
    case '0':
        setup(m);
        break;
    case KEY_TAB:
    case KEY_RIGHT:
    case 'n':
        show(m, (shown(m) + 1) % MENU_SCREENS);
        break;
    case KEY_LEFT:
    case 'p':
        show(m, (shown(m) + MENU_SCREENS - 1) % MENU_SCREENS);
        break;
    default:
        if (key >= '1' && key < '1' + MENU_SCREENS) {
            show(m, (uint32_t)key - '1');
        }
        break;
    }
}

static void menu_handle(struct menu *m, enum key key)
{
    menu_list_fit(m->list, list_rows(m)); /* perhaps nothing was drawn since it changed */
    if (is_for_all(key)) {
        key_for_all(m, key);
    } else if (key == (enum key)'?' || key == KEY_F1) {
        menu_page(m, "", help_put, m->screen);
    } else if (key == KEY_ESC || key == (enum key)'q') {
        show(m, MENU_OVERVIEW);
    } else if (m->screen->key != NULL && m->screen->key(m, key)) {
        return;
    } else if (m->screen->put != NULL) {
        (void)menu_view_key(&m->view, key, content_rows(m));
    } else if (key == KEY_ENTER && m->screen->choose != NULL && m->list->n > 0) {
        m->screen->choose(m, m->list->at);
    } else {
        (void)menu_list_key(m->list, key, list_rows(m));
    }
}

enum menu_choice menu_run(struct inspect *in)
{
    static struct menu m; /* static: large for the stack */
    const struct fw_console *console = in->fw->console;

    if (console == NULL) {
        fw_say(in->fw, "plat: inspector: this machine has no console to show it on\n");
        return MENU_BOOT;
    }
    m = (struct menu){
        .in = in,
        .fw = in->fw,
        .pool = pool_make(in->fw),
        .grid = { .console = console },
        .keyboard = { .console = console },
        .choice = MENU_BOOT,
    };
    console->show_cursor(false);
    show(&m, MENU_OVERVIEW);
    while (!m.is_done) {
        enum key key = menu_key(&m);

        if (!m.is_done) {
            menu_handle(&m, key);
        }
    }
    pool_free_all(&m.pool);
    (void)console->clear(GRID_PLAIN);
    console->show_cursor(true);
    if (m.has_failed) {
        fw_say(in->fw, "plat: inspector: the console does not work, going on without\n");
    }
    return m.choice;
}

/* ---- the offer ------------------------------------------------------------------------------- */

bool menu_wait_key(const struct fw *fw, uint32_t seconds)
{
    struct keyboard k = { .console = fw->console };
    uint32_t stray = 0;
    enum key key = KEY_NONE;

    if (fw->console == NULL || seconds == 0) {
        return false;
    }
    keyboard_drain(&k);
    for (uint32_t left = seconds; left > 0 && (key == KEY_NONE || key == KEY_OTHER); left--) {
        fw_say(fw, "\rPress a key for the inspector (%u) ", left);
        for (uint32_t slice = 0; slice < SLICES; slice += key == KEY_NONE) {
            key = keyboard_next(&k, SLICE_US);
            stray += key == KEY_OTHER;
            if ((key != KEY_NONE && key != KEY_OTHER) || stray > STRAY_MAX) {
                break;
            }
        }
        if (stray > STRAY_MAX) {
            break;
        }
    }
    fw_say(fw, "\n");
    return key != KEY_NONE && key != KEY_OTHER && key != KEY_FAILED && key != KEY_ESC;
}
