/*
 * line.c - editing of one line of input.
 *
 * An edit changes the text first and the terminal after it, by one of two ways: the frequent one,
 * a character typed at the end of a line that fits, is sent as it is; everything else draws the
 * line anew (return, prompt, visible part, erase, position), at most some 90 bytes. Rejected:
 * sending the smallest change, with insert and delete sequences, which terminals agree on less.
 *
 * A line that is wider than the terminal is seen through a window of `room` bytes, from `left` on.
 * When the cursor leaves the window, the window jumps so that the cursor is in its middle. The
 * terminal's last column stays empty: what happens behind it differs from terminal to terminal.
 *
 * Invariants (line_check tests them):
 *  L1  cursor <= len < LINE_MAX, text[len] is NUL, and all before it is printable ASCII
 *  L2  left <= cursor <= left + room
 *  L3  nhistory <= LINE_HISTORY, newest < LINE_HISTORY, back <= nhistory; no entry is empty or
 *      equals the one before it
 */
#include "lib/line.h"

#include "lib/fmt.h"
#include "lib/string.h"
#include "mm/port.h"

#define CANDIDATES_MAX 256u /* that completion looks at: bounds a callback that never ends */

enum escape {
    ESCAPE_NONE,
    ESCAPE_BEGUN, /* after ESC */
    ESCAPE_CSI,   /* after ESC [ : number, further parameters, a letter or ~ */
    ESCAPE_CSI2,  /* in the further parameters */
    ESCAPE_SS3,   /* after ESC O : a letter */
};

#define CTRL(c) ((c)&0x1f)

/* ---- the terminal ---------------------------------------------------------------------------- */

static void out(const struct line *l, const char *s, size_t n)
{
    if (n > 0) {
        l->out(l->ctx, s, n);
    }
}

static void out_text(const struct line *l, const char *s)
{
    out(l, s, strlen(s));
}

/* Bytes of the line that are seen at a time. */
static size_t room(const struct line *l)
{
    return LINE_WIDTH - 1 - l->prompt_columns;
}

static void follow_cursor(struct line *l)
{
    if (l->cursor < l->left || l->cursor > l->left + room(l)) {
        l->left = l->cursor > room(l) / 2 ? l->cursor - room(l) / 2 : 0;
    }
}

static void draw(struct line *l)
{
    char go[16];
    size_t seen;

    follow_cursor(l);
    seen = mm_min(l->len - l->left, room(l));
    out_text(l, "\r");
    out_text(l, l->prompt);
    out(l, l->text + l->left, seen);
    out_text(l, "\033[K");
    if (l->cursor < l->left + seen) {
        size_t column = l->prompt_columns + l->cursor - l->left;

        /* A count of 0 would move by 1. */
        out(l, go, fmt_s(go, sizeof(go), column > 0 ? "\r\033[%zuC" : "\r", column));
    }
}

static void bell(const struct line *l)
{
    out_text(l, "\a");
}

/* ---- editing --------------------------------------------------------------------------------- */

static void insert(struct line *l, const char *s, size_t n)
{
    if (n >= LINE_MAX - l->len) {
        bell(l);
        return;
    }
    memmove(l->text + l->cursor + n, l->text + l->cursor, l->len + 1 - l->cursor);
    memcpy(l->text + l->cursor, s, n);
    l->len += n;
    l->cursor += n;
    if (l->cursor == l->len && l->len - l->left <= room(l)) {
        out(l, s, n);
    } else {
        draw(l);
    }
}

/* Delete text[from, to) and leave the cursor there. */
static void cut(struct line *l, size_t from, size_t to)
{
    if (from == to) {
        return;
    }
    memmove(l->text + from, l->text + to, l->len + 1 - to);
    l->len -= to - from;
    l->cursor = from;
    draw(l);
}

static void move_cursor(struct line *l, size_t to)
{
    if (to != l->cursor) {
        l->cursor = to;
        draw(l);
    }
}

/* The start of the word before `at`: over spaces, then over the word. */
static size_t word_before(const struct line *l, size_t at)
{
    while (at > 0 && l->text[at - 1] == ' ') {
        at--;
    }
    while (at > 0 && l->text[at - 1] != ' ') {
        at--;
    }
    return at;
}

static void set_text(struct line *l, const char *s)
{
    l->len = strlen(s);
    memcpy(l->text, s, l->len + 1);
    l->cursor = l->len;
    draw(l);
}

/* ---- history --------------------------------------------------------------------------------- */

/* The line entered `back` lines ago, from 1. */
static const char *history_at(const struct line *l, size_t back)
{
    return l->history[(l->newest + LINE_HISTORY - back) % LINE_HISTORY];
}

static void history_add(struct line *l)
{
    if (l->len == 0 || (l->nhistory > 0 && strcmp(history_at(l, 1), l->text) == 0)) {
        return;
    }
    memcpy(l->history[l->newest], l->text, l->len + 1);
    l->newest = (l->newest + 1) % LINE_HISTORY;
    l->nhistory += l->nhistory < LINE_HISTORY;
}

static void history_back(struct line *l)
{
    if (l->back == l->nhistory) {
        bell(l);
        return;
    }
    if (l->back == 0) {
        memcpy(l->typed, l->text, l->len + 1);
    }
    l->back++;
    set_text(l, history_at(l, l->back));
}

static void history_forward(struct line *l)
{
    if (l->back == 0) {
        bell(l);
        return;
    }
    l->back--;
    set_text(l, l->back == 0 ? l->typed : history_at(l, l->back));
}

/* ---- completion ------------------------------------------------------------------------------ */

/* One Tab press: the word, and what its candidates have in common. */
struct completion {
    char text[LINE_MAX]; /* the line up to the cursor */
    size_t start, n;     /* the word is text[start, n) */
    char common[LINE_MAX];
    size_t ncommon; /* bytes that all candidates begin with */
    size_t count, longest;
};

/* Candidate `index`, if it is one. */
static const char *candidate(const struct line *l, const struct completion *c, size_t index)
{
    const char *s =
        index < CANDIDATES_MAX ? l->complete(l->ctx, c->text, c->start, c->n, index) : NULL;

    MM_ASSERT(s == NULL || strncmp(s, c->text + c->start, c->n - c->start) == 0);
    return s;
}

static void collect(const struct line *l, struct completion *c)
{
    const char *s;

    c->n = l->cursor;
    memcpy(c->text, l->text, l->cursor);
    c->text[c->n] = '\0';
    c->start = c->n;
    while (c->start > 0 && c->text[c->start - 1] != ' ') {
        c->start--;
    }
    c->count = c->longest = c->ncommon = 0;
    while ((s = candidate(l, c, c->count)) != NULL) {
        size_t len = mm_min(strlen(s), LINE_MAX - 1), same = 0;

        if (c->count == 0) {
            memcpy(c->common, s, len);
            same = len;
        } else {
            while (same < c->ncommon && same < len && s[same] == c->common[same]) {
                same++;
            }
        }
        c->ncommon = same;
        c->longest = mm_max(c->longest, len);
        c->count++;
    }
}

/* All candidates in columns below the line, and the line again below them. */
static void list_candidates(struct line *l, const struct completion *c)
{
    size_t width = c->longest + 2;
    size_t columns = mm_max((LINE_WIDTH - 1) / width, 1);
    const char *s;

    for (size_t i = 0; (s = candidate(l, c, i)) != NULL; i++) {
        if (i % columns == 0) {
            out_text(l, "\n");
        }
        out_text(l, s);
        for (size_t pad = strlen(s); i % columns + 1 < columns && pad < width; pad++) {
            out_text(l, " ");
        }
    }
    out_text(l, "\n");
    draw(l);
}

static void complete(struct line *l)
{
    struct completion c;
    size_t have;

    if (l->complete == NULL) {
        bell(l);
        return;
    }
    collect(l, &c);
    have = c.n - c.start;
    if (c.count == 0) {
        bell(l);
    } else if (c.count == 1) {
        c.common[c.ncommon++] = ' ';
        insert(l, c.common + have, c.ncommon - have);
    } else if (c.ncommon > have) {
        insert(l, c.common + have, c.ncommon - have);
    } else {
        list_candidates(l, &c);
    }
}

/* ---- keys ------------------------------------------------------------------------------------ */

static void control_key(struct line *l, char c)
{
    switch (c) {
    case CTRL('A'):
        move_cursor(l, 0);
        break;
    case CTRL('B'):
        move_cursor(l, l->cursor - (l->cursor > 0));
        break;
    case CTRL('D'):
        cut(l, l->cursor, l->cursor + (l->cursor < l->len));
        break;
    case CTRL('E'):
        move_cursor(l, l->len);
        break;
    case CTRL('F'):
        move_cursor(l, l->cursor + (l->cursor < l->len));
        break;
    case CTRL('H'):
    case 0x7f:
        cut(l, l->cursor - (l->cursor > 0), l->cursor);
        break;
    case CTRL('I'):
        complete(l);
        break;
    case CTRL('K'):
        cut(l, l->cursor, l->len);
        break;
    case CTRL('L'):
        out_text(l, "\033[H\033[2J");
        draw(l);
        break;
    case CTRL('N'):
        history_forward(l);
        break;
    case CTRL('P'):
        history_back(l);
        break;
    case CTRL('U'):
        cut(l, 0, l->cursor);
        break;
    case CTRL('W'):
        cut(l, word_before(l, l->cursor), l->cursor);
        break;
    default:
        break;
    }
}

/* The end of ESC [ number final, or of ESC O final: as the control key that does the same. */
static void escape_key(struct line *l, char final)
{
    static const char letters[] = "ABCDHF",
                      same[] = { CTRL('P'), CTRL('N'), CTRL('F'), CTRL('B'), CTRL('A'), CTRL('E') };
    const char *at = strchr(letters, final);

    if (final == '~') {
        control_key(l, l->number == 1 || l->number == 7   ? CTRL('A')
                       : l->number == 4 || l->number == 8 ? CTRL('E')
                       : l->number == 3                   ? CTRL('D')
                                                          : '\0');
    } else if (at != NULL && *at != '\0') {
        control_key(l, same[at - letters]);
    }
}

/* A byte inside an escape sequence. False: it is not part of one, which thereby ends. */
static bool escape_byte(struct line *l, char c)
{
    switch ((enum escape)l->escape) {
    case ESCAPE_BEGUN:
        l->number = 0;
        l->escape = c == '[' ? ESCAPE_CSI : c == 'O' ? ESCAPE_SS3 : ESCAPE_NONE;
        return c >= ' ' && c <= '~';
    case ESCAPE_CSI:
        if (c >= '0' && c <= '9') {
            l->number = l->number < 100 ? l->number * 10 + (unsigned)(c - '0') : 100;
            return true;
        }
        /* fall through */
    case ESCAPE_CSI2:
        if (c >= ' ' && c < '@') {
            l->escape = ESCAPE_CSI2;
            return true;
        }
        /* fall through */
    case ESCAPE_SS3:
        l->escape = ESCAPE_NONE;
        if (c < ' ' || c > '~') {
            return false;
        }
        escape_key(l, c);
        return true;
    case ESCAPE_NONE:
        break;
    }
    return false;
}

/* ---- the interface --------------------------------------------------------------------------- */

/* Columns of `s`, in which ESC [ ... letter takes none. */
static size_t count_columns(const char *s)
{
    size_t columns = 0;

    while (*s != '\0') {
        if (s[0] == '\033' && s[1] == '[') {
            for (s += 2; *s != '\0' && (*s < '@' || *s > '~'); s++) {
            }
            s += *s != '\0';
        } else {
            columns++;
            s++;
        }
    }
    return columns;
}

void line_init(struct line *l, const char *prompt, line_out_fn *out_fn,
               line_complete_fn *complete_fn, void *ctx)
{
    memset(l, 0, sizeof(*l));
    l->out = out_fn;
    l->complete = complete_fn;
    l->ctx = ctx;
    l->prompt = prompt;
    l->prompt_columns = count_columns(prompt);
    MM_ASSERT(l->prompt_columns <= LINE_WIDTH / 2);
}

void line_start(struct line *l)
{
    l->len = l->cursor = l->left = l->back = 0;
    l->text[0] = '\0';
    l->escape = ESCAPE_NONE;
    out_text(l, l->prompt);
}

enum line_event line_feed(struct line *l, char c)
{
    bool after_cr = l->last_was_cr;

    l->last_was_cr = c == '\r';
    if (l->escape != ESCAPE_NONE && escape_byte(l, c)) {
        return LINE_MORE;
    }
    switch (c) {
    case '\033':
        l->escape = ESCAPE_BEGUN;
        return LINE_MORE;
    case '\n':
        if (after_cr) { /* the second half of a \r\n */
            return LINE_MORE;
        }
        /* fall through */
    case '\r':
        out_text(l, "\n");
        history_add(l);
        return LINE_DONE;
    case CTRL('C'):
        out_text(l, "^C\n");
        return LINE_CANCEL;
    default:
        if (c >= ' ' && c <= '~') {
            insert(l, &c, 1);
        } else {
            control_key(l, c);
        }
        return LINE_MORE;
    }
}

const char *line_text(const struct line *l)
{
    return l->text;
}

static bool all_printable(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (s[i] < ' ' || s[i] > '~') {
            return false;
        }
    }
    return true;
}

const char *line_check(const struct line *l)
{
    if (l->len >= LINE_MAX || l->cursor > l->len || l->text[l->len] != '\0' ||
        !all_printable(l->text, l->len)) {
        return "L1: the text";
    }
    if (l->left > l->cursor || l->cursor > l->left + room(l)) {
        return "L2: the cursor is out of sight";
    }
    if (l->nhistory > LINE_HISTORY || l->newest >= LINE_HISTORY || l->back > l->nhistory) {
        return "L3: history counts";
    }
    for (size_t back = 1; back <= l->nhistory; back++) {
        if (history_at(l, back)[0] == '\0' ||
            (back > 1 && strcmp(history_at(l, back), history_at(l, back - 1)) == 0)) {
            return "L3: a history entry is empty or comes twice";
        }
    }
    return NULL;
}
