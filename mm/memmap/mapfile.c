/*
 * mapfile.c - from the bytes of a file to lines, and from lines to the reader of their format.
 *
 * One pass. Every line is looked at for the marks of all formats: "efi: mem", "BIOS-e820:", the
 * heading of a table, a path of sysfs. The first mark chooses the format; a mark of a format of
 * higher rank, further down, starts over with that one. What a format's reader does with its lines,
 * and with those between them that have no mark (the rows of a table), is its own affair.
 *
 * A table is known by its heading alone, not by rows that look right: a table without heading is
 * one whose beginning is missing.
 *
 * Rejected: asking for the format (people do not know it), choosing it by the name of the file (it
 * is "log.txt"), trying each reader on the whole input and taking the one that finds most (what is
 * damaged then ends up with the reader that notices least).
 */
#include "mapfile_import.h"
#include "mm/report.h"
#include "mm/sink.h"

void *memset(void *dst, int c, size_t n);

/* Longer lines are no memory map's; only text that has to be converted is held to it. */
#define LINE_MAX 1024

/* A log names its processor near the beginning; later lines are not searched for it. */
#define ARCH_LINES 4096

#define ESCAPE '\x1b'

enum encoding { BYTES, UTF16_LE, UTF16_BE };

struct source {
    const unsigned char *at;
    const unsigned char *end;
    enum encoding encoding;
    bool escapes;        /* there are terminal sequences in it */
    char line[LINE_MAX]; /* the line at hand, where that is not simply part of the input */
};

static const struct map_reader *const readers[MAPFILE_FORMATS] = {
    [MAPFILE_SHELL] = &mapfile_shell,
    [MAPFILE_SFO] = &mapfile_sfo,
    [MAPFILE_FREEBSD] = &mapfile_freebsd,
    [MAPFILE_LINUX_EFI] = &mapfile_linux_efi,
    [MAPFILE_SYSFS_MAP] = &mapfile_sysfs_map,
    [MAPFILE_E820] = &mapfile_e820,
    [MAPFILE_RUNTIME_MAP] = &mapfile_runtime_map,
};

static const char *const format_names[MAPFILE_FORMATS] = {
    [MAPFILE_NONE] = "unknown",
    [MAPFILE_REPORT] = "Plat report",
    [MAPFILE_SHELL] = "EFI shell memmap",
    [MAPFILE_SFO] = "EFI shell memmap -sfo",
    [MAPFILE_FREEBSD] = "FreeBSD EFI map",
    [MAPFILE_LINUX_EFI] = "Linux log, efi",
    [MAPFILE_SYSFS_MAP] = "Linux /sys/firmware/memmap",
    [MAPFILE_E820] = "Linux log, BIOS-e820",
    [MAPFILE_RUNTIME_MAP] = "Linux /sys/firmware/efi/runtime-map",
    [MAPFILE_RAW] = "raw descriptors",
};

static const char *const arch_names[MAPFILE_ARCHS] = {
    [MAPFILE_ARCH_UNKNOWN] = "unknown",
    [MAPFILE_ARCH_X86] = "x86",
    [MAPFILE_ARCH_ARM64] = "arm64",
    [MAPFILE_ARCH_RISCV64] = "riscv64",
    [MAPFILE_ARCH_LOONGARCH64] = "loongarch64",
};

const char *mapfile_format_name(enum mapfile_format format)
{
    return format_names[(unsigned)format < MAPFILE_FORMATS ? format : MAPFILE_NONE];
}

const char *mapfile_arch_name(enum mapfile_arch arch)
{
    return arch_names[(unsigned)arch < MAPFILE_ARCHS ? arch : MAPFILE_ARCH_UNKNOWN];
}

/* ---- what readers call ----------------------------------------------------------------------- */

mm_err_t mapfile_fail_at(struct import *im, uint32_t line, const char *what)
{
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, im->f->message, sizeof(im->f->message));

    mm_put_str(&to, what);
    im->f->line = line;
    return MM_EINVAL;
}

mm_err_t mapfile_fail(struct import *im, const char *what)
{
    return mapfile_fail_at(im, im->line, what);
}

mm_err_t mapfile_fail_number(struct import *im, const char *before, uint64_t v, const char *after)
{
    struct mm_text text;
    struct mm_sink to = mm_text_sink(&text, im->f->message, sizeof(im->f->message));

    mm_put_str(&to, before);
    mm_put_u64(&to, v, 0);
    mm_put_str(&to, after);
    im->f->line = im->line;
    return MM_EINVAL;
}

bool mapfile_wants(const struct import *im, uint64_t i)
{
    return im->nfinished == im->which && i < im->max;
}

void mapfile_add(struct import *im, const struct efi_memory_descriptor *d)
{
    if (mapfile_wants(im, im->map.n)) {
        im->descs[im->map.n] = *d;
        if (im->lines != NULL) {
            im->lines[im->map.n] = im->line;
        }
    }
    im->map.interrupted |= im->map.n > 0 && im->map.other_line != 0;
    im->map.n++;
    im->map.other_line = 0;
}

static mm_err_t finish_map(struct import *im, const struct map_reader *reader)
{
    mm_err_t err = MM_OK;

    if (!im->map.open) {
        return MM_OK;
    }
    err = reader->finish(im);
    if (err != MM_OK) {
        return err;
    }
    if (im->map.n == 0) {
        return mapfile_fail(im, "a memory map is announced, but none of it is there");
    }
    if (im->nfinished == im->which) {
        im->f->ndescs = im->map.n;
        im->f->attr_known = im->map.attr_known;
        im->f->virt_known = im->map.virt_known;
        im->f->whole = im->map.whole;
        im->f->nrounded = im->map.nrounded;
    }
    im->nfinished++;
    return MM_OK;
}

static void open_map(struct import *im, bool open)
{
    memset(&im->map, 0, sizeof(im->map));
    im->map.open = open;
}

mm_err_t mapfile_begin(struct import *im, const struct map_reader *reader)
{
    mm_err_t err = finish_map(im, reader);

    open_map(im, true);
    return err;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static bool source_begins(struct source *src, const char *mark, size_t n)
{
    if ((size_t)(src->end - src->at) < n) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (src->at[i] != (unsigned char)mark[i]) {
            return false;
        }
    }
    src->at += n;
    return true;
}

static void source_open(struct source *src, const unsigned char *bytes, uint64_t nbytes)
{
    src->at = bytes;
    src->end = bytes + nbytes;
    src->encoding = BYTES;
    if (source_begins(src, "\xff\xfe", 2)) {
        src->encoding = UTF16_LE;
    } else if (source_begins(src, "\xfe\xff", 2)) {
        src->encoding = UTF16_BE;
    } else {
        (void)source_begins(src, "\xef\xbb\xbf", 3);
    }
    src->escapes =
        text_find((const char *)src->at, (const char *)src->end, ESCAPE) != (const char *)src->end;
}

/* Text that does not fit cannot be part of a map; elsewhere such a line does not matter. */
static mm_err_t too_long(struct import *im, struct text *t)
{
    *t = (struct text){ t->at, t->at };
    return !im->map.open
               ? MM_OK
               : mapfile_fail_number(im, "the line is longer than ", LINE_MAX, " characters");
}

/* A line of UTF-16 as bytes; what is not ASCII becomes '?'. */
static mm_err_t take_utf16(struct import *im, struct source *src, struct text *t)
{
    unsigned low = src->encoding == UTF16_LE ? 0 : 1;
    size_t n = 0;

    im->cut = true;
    while (im->cut && src->at != src->end) {
        unsigned unit;

        if (src->end - src->at == 1) {
            return mapfile_fail(im, "the file ends in the middle of a UTF-16 character");
        }
        unit = src->at[low] | (unsigned)src->at[1 - low] << 8;
        src->at += 2;
        if (unit == '\n') {
            im->cut = false;
        } else if (n++ < LINE_MAX) {
            src->line[n - 1] = unit < 0x80 ? (char)unit : '?';
        }
    }
    *t = (struct text){ src->line, src->line + mm_min(n, LINE_MAX) };
    return n <= LINE_MAX ? MM_OK : too_long(im, t);
}

static void take_bytes(struct import *im, struct source *src, struct text *t)
{
    const char *end = (const char *)src->end;

    t->at = (const char *)src->at;
    t->end = text_find(t->at, end, '\n');
    im->cut = t->end == end;
    src->at += t->end - t->at + (im->cut ? 0 : 1);
}

/* Leave out what moves the cursor and colours the text: ESC [ ... letter, or ESC and one more. */
static mm_err_t drop_escapes(struct import *im, struct source *src, struct text *t)
{
    size_t n = 0;

    for (const char *at = t->at; at != t->end; at++) {
        if (*at != ESCAPE) {
            if (n == LINE_MAX) {
                return too_long(im, t);
            }
            src->line[n++] = *at;
            continue;
        }
        if (at + 1 != t->end && *++at == '[') {
            while (at + 1 != t->end && (unsigned char)*++at < '@') {
            }
        }
    }
    *t = (struct text){ src->line, src->line + n };
    return MM_OK;
}

/* The next line, without blanks around it. */
static mm_err_t take_line(struct import *im, struct source *src, struct text *t)
{
    mm_err_t err = MM_OK;

    im->line++;
    if (src->encoding == BYTES) {
        take_bytes(im, src, t);
    } else {
        err = take_utf16(im, src, t);
    }
    if (err == MM_OK && src->escapes && text_find(t->at, t->end, ESCAPE) != t->end) {
        err = drop_escapes(im, src, t);
    }
    if (err == MM_OK) {
        *t = text_trim(*t);
    }
    return err;
}

/* ---- recognising ----------------------------------------------------------------------------- */

static bool ends_with(const char *begin, const char *end, const char *literal, size_t n)
{
    struct text t = { end, end };

    if ((size_t)(end - begin) < n) {
        return false;
    }
    t.at -= n;
    return text_take(&t, literal);
}

/* What stands before and behind the colon at `colon`. Moves `t` to what the reader is to see. */
static enum mapfile_format recognise_colon(struct text *t, const char *colon,
                                           enum mapfile_format current)
{
    struct text before = { t->at, colon };
    struct text after = { colon + 1, t->end };
    struct text rest;

    if (ends_with(t->at, colon, "efi", 3) || ends_with(t->at, colon, "EFI", 3)) {
        (void)text_take_blanks(&after);
        rest = after;
        if (text_take(&rest, "0x") || text_take(&rest, "Processing EFI memory map") ||
            (text_take(&rest, "mem") && !text_is_empty(&rest) && *rest.at >= '0' &&
             *rest.at <= '9')) {
            *t = after;
            return MAPFILE_LINUX_EFI;
        }
        return MAPFILE_NONE;
    }
    if (ends_with(t->at, colon, "BIOS-e820", 9) || ends_with(t->at, colon, "BIOS-e801", 9) ||
        ends_with(t->at, colon, "BIOS-88", 7)) {
        (void)text_take_blanks(&after);
        *t = after;
        return MAPFILE_E820;
    }
    if (ends_with(t->at, colon, "BIOS-provided physical RAM map", 30)) {
        t->at = colon - 30;
        return MAPFILE_E820;
    }
    return mapfile_sysfs_format(before, after, current);
}

static enum mapfile_format recognise(struct text *t, enum mapfile_format current)
{
    struct text rest = *t;
    const char *at;

    if (text_take(&rest, "MemoryMap,") || text_take(&rest, "MemoryMapSummary,") ||
        text_take(&rest, "ShellCommand,\"memmap\"")) {
        return MAPFILE_SFO;
    }
    if (text_take(&rest, "==> ")) {
        return mapfile_sysfs_format(text_take_word(&rest), (struct text){ t->end, t->end },
                                    current);
    }
    for (at = t->at; (at = text_find(at, t->end, ':')) != t->end; at++) {
        enum mapfile_format found = recognise_colon(t, at, current);

        if (found != MAPFILE_NONE) {
            return found;
        }
    }
    rest.at = text_find(t->at, t->end, '#');
    if (text_take(&rest, "# Pages")) {
        return text_seek(&rest, "Attributes") ? MAPFILE_SHELL : MAPFILE_NONE;
    }
    return text_take(&rest, "#Pages Attr") ? MAPFILE_FREEBSD : MAPFILE_NONE;
}

static const struct {
    const char *word;
    enum mapfile_arch arch;
} arch_words[] = {
    { "x86_64", MAPFILE_ARCH_X86 },      { "amd64", MAPFILE_ARCH_X86 },
    { "aarch64", MAPFILE_ARCH_ARM64 },   { "arm64", MAPFILE_ARCH_ARM64 },
    { "riscv64", MAPFILE_ARCH_RISCV64 }, { "loongarch64", MAPFILE_ARCH_LOONGARCH64 },
};

static uint32_t archs_named(struct text t)
{
    uint32_t archs = 0;

    for (size_t i = 0; i < MM_COUNTOF(arch_words); i++) {
        struct text rest = t;

        if (text_seek(&rest, arch_words[i].word)) {
            archs |= 1u << arch_words[i].arch;
        }
    }
    return archs;
}

/* What only one kind of kernel prints counts before words, which may name a compiler's host. */
static enum mapfile_arch decide_arch(const struct import *im)
{
    if (im->is_x86) {
        return MAPFILE_ARCH_X86;
    }
    for (unsigned arch = 0; arch < MAPFILE_ARCHS; arch++) {
        if (im->archs == 1u << arch) {
            return (enum mapfile_arch)arch;
        }
    }
    return MAPFILE_ARCH_UNKNOWN;
}

/* ---- reading --------------------------------------------------------------------------------- */

static mm_err_t read_line(struct import *im, struct text t)
{
    struct mapfile *f = im->f;
    struct text whole = t;
    enum mapfile_format found = recognise(&t, f->format);
    const struct map_reader *reader;
    uint32_t n;
    mm_err_t err;

    if (found != MAPFILE_NONE) {
        f->also |= 1u << found;
        if (f->format == MAPFILE_NONE || found < f->format) {
            f->format = found;
            im->nfinished = 0;
            open_map(im, false);
        }
        if (found == f->format) {
            return readers[found]->line(im, t);
        }
    } else if (im->arch_lines < ARCH_LINES) {
        im->arch_lines++;
        im->archs |= archs_named(whole);
    }
    if (!im->map.open) {
        return MM_OK;
    }
    reader = readers[f->format];
    n = im->map.n;
    err = reader->other != NULL ? reader->other(im, whole) : MM_OK;
    if (err == MM_OK && im->map.n == n && !im->cut) {
        im->map.other_line = im->line;
    }
    return err;
}

static mm_err_t read_text(struct import *im, struct source *src)
{
    mm_err_t err = MM_OK;

    while (err == MM_OK && src->at != src->end) {
        struct text t;

        err = take_line(im, src, &t);
        if (err == MM_OK && !text_is_empty(&t)) {
            err = read_line(im, t);
        }
    }
    if (err == MM_OK && im->f->format != MAPFILE_NONE) {
        err = finish_map(im, readers[im->f->format]);
    }
    return err;
}

/* A report, at the beginning or, on one line, anywhere in a log. */
static bool find_report(const struct source *src, struct text *t)
{
    if (src->encoding != BYTES) {
        return false;
    }
    *t = text_trim((struct text){ (const char *)src->at, (const char *)src->end });
    return report_recognise(t->at, (size_t)(t->end - t->at)) || text_seek(t, REPORT_MARK);
}

static mm_err_t read_any(struct import *im, const unsigned char *bytes, uint64_t nbytes)
{
    struct mapfile *f = im->f;
    struct source src;
    struct text report;
    mm_err_t err;

    if (nbytes > UINT32_MAX) {
        return mapfile_fail(im, "files of 4 GiB and more are not read");
    }
    source_open(&src, bytes, nbytes);
    if (find_report(&src, &report)) {
        f->format = MAPFILE_REPORT;
        f->report_at = (uint64_t)(report.at - (const char *)bytes);
        return MM_OK;
    }
    err = read_text(im, &src);
    f->nmaps = im->nfinished;
    f->arch = decide_arch(im);
    if (err == MM_OK && f->format == MAPFILE_NONE && src.encoding == BYTES) {
        im->line = 0;
        err = mapfile_read_raw(im, bytes, nbytes);
    }
    return err;
}

mm_err_t mapfile_read(struct mapfile *f, const void *bytes, uint64_t nbytes, uint32_t which,
                      struct efi_memory_descriptor *descs, uint32_t *lines, uint32_t max)
{
    struct import im = { .f = f, .which = which, .descs = descs, .lines = lines, .max = max };
    mm_err_t err;

    memset(f, 0, sizeof(*f));
    err = read_any(&im, bytes, nbytes);
    f->also &= ~(1u << f->format);
    if (err != MM_OK || f->format == MAPFILE_REPORT) {
        return err;
    }
    im.line = 0;
    if (f->format == MAPFILE_NONE) {
        (void)mapfile_fail(&im, "there is no memory map of a known format in it");
        return MM_ENOENT;
    }
    if (which >= f->nmaps) {
        (void)mapfile_fail_number(&im, "there are only ", f->nmaps, " memory maps in it");
        return MM_ENOENT;
    }
    return f->ndescs > max ? MM_ENOSPC : MM_OK;
}
