/*
 * kept_lines.h - for tests of what draws by lines: keeps them as a terminal would show them,
 * without colours and without the blanks at their ends.
 */
#ifndef KEPT_LINES_H
#define KEPT_LINES_H

#include "host_port.h"

#define MAX_LINES 40u

static char lines[MAX_LINES][128];
static unsigned nlines;

static void keep_line(void *ctx, const char *text)
{
    size_t n = 0;

    assert_ptr_equal(ctx, lines);
    assert_in_range(nlines, 0, MAX_LINES - 1);
    while (*text != '\0') {
        if (*text == '\033') {
            text = strchr(text, 'm') + 1;
        } else {
            lines[nlines][n++] = *text++;
        }
    }
    assert_in_range(n, 1, 80);
    while (lines[nlines][n - 1] == ' ') {
        n--;
    }
    lines[nlines++][n] = '\0';
}

#endif
