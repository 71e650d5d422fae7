/*
 * output.c - what platmap says: complaints at once, the answer when it is complete.
 */
#include "platmap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

void complain(const char *fmt, ...)
{
    va_list ap;

    fputs("platmap: ", stderr);
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void *must_alloc(uint64_t nbytes)
{
    void *p = nbytes <= SIZE_MAX - 15 ? aligned_alloc(16, (nbytes + 15) & ~UINT64_C(15)) : NULL;

    if (p == NULL && nbytes != 0) {
        complain("out of memory");
        exit(STATUS_TROUBLE);
    }
    return p;
}

void say(const struct mm_sink *to, const char *fmt, ...)
{
    char buf[1024];
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(buf, sizeof(buf), fmt, ap);
    va_end(ap);
    mm_put_str(to, buf);
}

const char *size_text(struct size_text *buf, uint64_t nbytes)
{
    struct mm_text t;
    struct mm_sink to = mm_text_sink(&t, buf->text, sizeof(buf->text));

    mm_put_size(&to, nbytes, 0);
    return buf->text;
}

/* ---- the answer ------------------------------------------------------------------------------ */

static void answer_add(void *ctx, const char *s, size_t n)
{
    struct answer *o = ctx;

    if (n > o->room - o->len) {
        size_t room = 2 * o->room > o->len + n ? 2 * o->room : o->len + n;
        char *text = realloc(o->text, room);

        if (text == NULL) {
            complain("out of memory");
            exit(STATUS_TROUBLE);
        }
        o->text = text;
        o->room = room;
    }
    memcpy(o->text + o->len, s, n);
    o->len += n;
}

void answer_begin(struct answer *o)
{
    *o = (struct answer){ .sink = { .write = answer_add, .ctx = o } };
}

bool answer_write(const struct answer *o, const char *name)
{
    FILE *f = name != NULL ? fopen(name, "w") : stdout;
    bool done = f != NULL && fwrite(o->text, 1, o->len, f) == o->len && fflush(f) == 0;
    int why = errno;
    struct stat st;

    if (name != NULL && f != NULL && fclose(f) != 0 && done) {
        done = false;
        why = errno;
    }
    if (!done) {
        complain("%s: %s", name != NULL ? name : "standard output", strerror(why));
        if (f != NULL && name != NULL && stat(name, &st) == 0 && S_ISREG(st.st_mode)) {
            (void)remove(name);
        }
    }
    return done;
}

void answer_drop(struct answer *o)
{
    free(o->text);
    o->text = NULL;
}
