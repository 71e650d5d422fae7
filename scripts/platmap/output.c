/*
 * output.c - what platmap says: complaints at once, the answer when it is complete.
 */
#include "platmap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

bool is_plain(const char *s)
{
    for (; s != NULL && *s != '\0'; s++) {
        unsigned char c = (unsigned char)s[0];
        unsigned char next = (unsigned char)s[1];

        if (c < ' ' || c == 0x7f || (c == 0xc2 && next < 0xa0)) {
            return false;
        }
    }
    return s != NULL;
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

/* All of it to `f`, and to the disk if it `is_kept`; `f` is closed. False, with errno, if not. */
static bool write_whole(const struct answer *o, FILE *f, bool is_kept)
{
    bool done = fwrite(o->text, 1, o->len, f) == o->len && fflush(f) == 0 &&
                (!is_kept || fsync(fileno(f)) == 0);
    int why = errno;

    if (fclose(f) != 0 && done) {
        return false;
    }
    errno = why;
    return done;
}

/* Who may read a file with that name: as with the one that is there, or any new one. */
static mode_t mode_of(const char *name)
{
    struct stat st;
    mode_t mask;

    if (stat(name, &st) == 0) {
        return st.st_mode & 07777;
    }
    mask = umask(0);
    (void)umask(mask);
    return 0666 & ~mask;
}

/* Beside the file, under a name of its own, which becomes the file's when all is written. */
static bool replace_file(const struct answer *o, const char *name)
{
    size_t room = strlen(name) + sizeof(".XXXXXX");
    char *temporary = must_alloc(room);
    bool done = false;
    FILE *f = NULL;
    int fd;
    int why;

    snprintf(temporary, room, "%s.XXXXXX", name);
    fd = mkstemp(temporary);
    if (fd < 0) {
        free(temporary);
        return false;
    }
    f = fchmod(fd, mode_of(name)) == 0 ? fdopen(fd, "w") : NULL;
    if (f != NULL) {
        done = write_whole(o, f, true) && rename(temporary, name) == 0;
    } else {
        (void)close(fd);
    }
    why = errno;
    if (!done) {
        (void)remove(temporary);
    }
    free(temporary);
    errno = why;
    return done;
}

/* What is no file, such as a device or a pipe, is written to; a link stays one. */
static bool write_file(const struct answer *o, const char *name)
{
    char *target = realpath(name, NULL);
    struct stat st;
    bool done;
    int why;

    if (stat(name, &st) == 0 && !S_ISREG(st.st_mode)) {
        FILE *f = fopen(name, "w");

        done = f != NULL && write_whole(o, f, false);
    } else {
        done = replace_file(o, target != NULL ? target : name);
    }
    why = errno;
    free(target);
    errno = why;
    return done;
}

bool answer_write(const struct answer *o, const char *name)
{
    bool done = name != NULL ? write_file(o, name) : write_whole(o, stdout, false);

    if (!done) {
        complain("%s: %s", name != NULL ? name : "standard output", strerror(errno));
    }
    return done;
}

void answer_drop(struct answer *o)
{
    free(o->text);
    o->text = NULL;
}
