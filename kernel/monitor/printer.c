/*
 * printer.c - lines out of pieces.
 */
#include "monitor/printer.h"

#include "lib/console.h"

static void put_out(const struct printer *p, const char *s, size_t n)
{
    if (p->where == PRINTER_NO_SCREEN) {
        (void)console_send(s, n);
    } else {
        console_write(s, n);
    }
}

static void flush(struct printer *p)
{
    if (!p->stopped && p->n > 0) {
        put_out(p, p->text, p->n);
        p->in_line = p->text[p->n - 1] != '\n';
        p->stopped = console_cancelled();
    }
    p->n = 0;
}

static void take(void *ctx, const char *s, size_t n)
{
    struct printer *p = ctx;

    p->nbytes += n;
    for (size_t i = 0; i < n; i++) {
        p->text[p->n++] = s[i];
        if (s[i] == '\n' || p->n == sizeof(p->text)) {
            flush(p);
        }
    }
}

void printer_begin(struct printer *p, enum printer_where where)
{
    p->sink = (struct mm_sink){ take, p };
    p->where = where;
    p->nbytes = 0;
    p->stopped = false;
    p->in_line = false;
    p->n = 0;
}

bool printer_end(struct printer *p)
{
    bool stopped;

    flush(p);
    stopped = p->stopped;
    if (stopped && p->in_line) {
        put_out(p, "\n", 1);
    }
    return !stopped;
}
