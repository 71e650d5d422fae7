/*
 * source.c - the bytes of a file, and where reports begin in them.
 */
#include "platmap.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE_BYTES UINT32_MAX /* mapfile_read() takes no more */

/* ---- bytes ----------------------------------------------------------------------------------- */

static bool read_stream(struct source *s, FILE *f)
{
    size_t room = 1u << 16;
    size_t got;

    s->bytes = must_alloc(room);
    while ((got = fread(s->bytes + s->nbytes, 1, room - s->nbytes, f)) != 0 &&
           s->nbytes <= MAX_FILE_BYTES) {
        s->nbytes += got;
        if (s->nbytes == room) {
            char *more = realloc(s->bytes, room *= 2);

            if (more == NULL) {
                complain("%s: out of memory", s->name);
                return false;
            }
            s->bytes = more;
        }
    }
    if (ferror(f) != 0) {
        complain("%s: %s", s->name, strerror(errno));
        return false;
    }
    return true;
}

/* Append the character `c` as UTF-8. */
static char *put_utf8(char *to, uint32_t c)
{
    static const unsigned char lead[] = { 0, 0xc0, 0xe0, 0xf0 };
    unsigned more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;

    *to++ = (char)(lead[more] | c >> 6 * more);
    while (more-- > 0) {
        *to++ = (char)(0x80 | (c >> 6 * more & 0x3f));
    }
    return to;
}

/*
 * A text in UTF-16, as editors and the EFI shell save it with a byte order mark, becomes UTF-8.
 * Half a surrogate pair becomes U+FFFD.
 */
static bool decode_utf16(struct source *s)
{
    const unsigned char *from = (const unsigned char *)s->bytes + 2;
    size_t n = s->nbytes / 2 - 1;
    unsigned low = (unsigned char)s->bytes[0] == 0xff ? 0 : 1;
    char *text;
    char *to;

    if (s->nbytes % 2 != 0) {
        complain("%s: the file ends in the middle of a UTF-16 character", s->name);
        return false;
    }
    text = to = must_alloc(3 * (uint64_t)n + 1); /* of two bytes at most three are made */
    for (size_t i = 0; i < n; i++) {
        uint32_t c = from[2 * i + low] | (uint32_t)from[2 * i + 1 - low] << 8;

        if (c >= 0xd800 && c < 0xe000) {
            uint32_t next =
                i + 1 < n ? from[2 * i + 2 + low] | (uint32_t)from[2 * i + 3 - low] << 8 : 0;
            bool is_pair = c < 0xdc00 && next >= 0xdc00 && next < 0xe000;

            c = is_pair ? 0x10000 + ((c - 0xd800) << 10) + (next - 0xdc00) : 0xfffd;
            i += is_pair;
        }
        to = put_utf8(to, c);
    }
    free(s->bytes);
    s->bytes = text;
    s->nbytes = (size_t)(to - text);
    return true;
}

static bool is_utf16(const struct source *s)
{
    return s->nbytes >= 2 &&
           (memcmp(s->bytes, "\xff\xfe", 2) == 0 || memcmp(s->bytes, "\xfe\xff", 2) == 0);
}

bool source_read(struct source *s, const char *name)
{
    bool is_stdin = strcmp(name, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(name, "rb");
    bool done;

    *s = (struct source){ .name = is_stdin ? "standard input" : name };
    if (f == NULL) {
        complain("%s: %s", name, strerror(errno));
        return false;
    }
    done = read_stream(s, f) && (!is_utf16(s) || decode_utf16(s));
    if (!is_stdin) {
        (void)fclose(f);
    }
    if (!done) {
        source_drop(s);
    }
    return done;
}

void source_drop(struct source *s)
{
    free(s->bytes);
    s->bytes = NULL;
}

/* ---- reports --------------------------------------------------------------------------------- */

static const char *find(const char *at, const char *end, const char *what)
{
    size_t n = strlen(what);

    for (; (size_t)(end - at) >= n; at++) {
        at = memchr(at, what[0], (size_t)(end - at) - n + 1);
        if (at == NULL) {
            return NULL;
        }
        if (memcmp(at, what, n) == 0) {
            return at;
        }
    }
    return NULL;
}

static const char *end_of_line(const char *at, const char *end)
{
    const char *newline = memchr(at, '\n', (size_t)(end - at));

    return newline != NULL ? newline : end;
}

/* Where a report begins in a line; NULL if none does. */
static const char *report_in_line(const char *at, const char *end)
{
    const char *text = at;

    while (text < end && (*text == ' ' || *text == '\t')) {
        text++;
    }
    if (report_recognise(text, (size_t)(end - text))) {
        return text;
    }
    return find(at, end, REPORT_MARK);
}

/* Is the report at `at` a line, and not the whole rest of the file? */
static bool is_line(const char *at, const char *end)
{
    const char *stop = end_of_line(at, end);

    if ((size_t)(end - at) >= strlen(REPORT_MARK) &&
        memcmp(at, REPORT_MARK, strlen(REPORT_MARK)) == 0) {
        return true;
    }
    while (stop > at && (unsigned char)stop[-1] <= ' ') {
        stop--;
    }
    return stop > at && stop[-1] == '}';
}

struct report_text source_first_report(const struct source *s, size_t at)
{
    const char *text = s->bytes + at;
    const char *end = s->bytes + s->nbytes;
    struct report_text r = { text, end, 1 };

    for (const char *c = s->bytes; c < text; c++) {
        r.line += *c == '\n';
    }
    if (is_line(text, end)) {
        r.end = end_of_line(text, end);
    }
    return r;
}

bool source_next_report(const struct source *s, struct report_text *r)
{
    const char *end = s->bytes + s->nbytes;
    const char *stop = r->end;
    const char *found = find(r->text + 1, stop, REPORT_MARK);
    uint64_t line = r->line;

    while (found == NULL && stop != end) {
        const char *at = stop + 1;

        stop = end_of_line(at, end);
        found = report_in_line(at, stop);
        line++;
    }
    if (found != NULL) {
        *r = (struct report_text){ found, stop, line };
    }
    return found != NULL;
}
