/*
 * line.h - editing of one line of input: keys in, a line and terminal output out.
 *
 * Model:    a state machine with no device in it. Bytes from a keyboard are fed one at a time; what
 * the terminal has to show comes out through a callback. The terminal understands \r, \n, \b, \a,
 * ESC[K, ESC[nC, ESC[H and ESC[2J, and is at least LINE_WIDTH columns wide; a line that does not
 * fit scrolls sideways.
 * Keys:     ^A/Home ^E/End ^B/Left ^F/Right move; Backspace/^H, ^D/Delete, ^W (word), ^U (to the
 * start), ^K (to the end) delete; ^P/Up ^N/Down walk the history; Tab completes; ^L clears the
 * screen; ^C drops the line; Enter ends it. Any other byte below 0x20 or above 0x7e is ignored, and
 * so is a broken or unknown escape sequence.
 * Locking:  none; one user at a time. Memory: all inside struct line, about 9 KiB.
 */
#ifndef LIB_LINE_H
#define LIB_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LINE_MAX     256u /* bytes of a line, NUL included */
#define LINE_HISTORY 32u
#define LINE_WIDTH   80u

enum line_event {
    LINE_MORE,   /* keep feeding */
    LINE_DONE,   /* Enter: line_text() has the line */
    LINE_CANCEL, /* ^C: the line was dropped */
};

/* Text for the terminal. Called several times per key at most; the pieces of one key belong
 * together. */
typedef void line_out_fn(void *ctx, const char *s, size_t n);

/*
 * The candidate number `index`, counted from 0, for the word text[start, n) that the cursor is
 * behind; `text` is the line up to the cursor, NUL-terminated. A candidate is a whole word that
 * begins with what is there. NULL behind the last. Valid until the next call.
 */
typedef const char *line_complete_fn(void *ctx, const char *text, size_t start, size_t n,
                                     size_t index);

struct line {
    line_out_fn *out;
    line_complete_fn *complete; /* or NULL */
    void *ctx;
    const char *prompt;
    size_t prompt_columns;

    char text[LINE_MAX];
    size_t len, cursor;
    size_t left; /* first byte that is shown */

    unsigned escape; /* enum in line.c */
    unsigned number; /* of ESC [ number ~ */
    bool last_was_cr;

    char history[LINE_HISTORY][LINE_MAX]; /* a ring */
    size_t nhistory, newest;              /* `newest`: where the next line goes */
    size_t back;                          /* how far back Up has gone; 0 is the line being typed */
    char typed[LINE_MAX];                 /* that line, while `back` > 0 */
};

/*
 * `prompt` takes at most half of LINE_WIDTH; it may hold ESC[...m sequences, which take no column,
 * and stays valid. So does everything else.
 */
void line_init(struct line *l, const char *prompt, line_out_fn *out, line_complete_fn *complete,
               void *ctx);

/* Begin a line: it is empty, and the prompt appears. */
void line_start(struct line *l);

/* One byte from the keyboard. After LINE_DONE and LINE_CANCEL, line_start() is next. */
enum line_event line_feed(struct line *l, char c);

/* The line so far, NUL-terminated. */
const char *line_text(const struct line *l);

/* NULL if the invariants of line.c hold, else the first broken one as text. */
const char *line_check(const struct line *l);

#endif
