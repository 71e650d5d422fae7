/*
 * mapfile_import.h - what the parts of the map importer share; private to mm/memmap.
 *
 * mapfile.c cuts the input into lines, recognises to which format each belongs, and gives it to
 * that format's reader (mapfile_shell.c, mapfile_freebsd.c, mapfile_linux.c, mapfile_sysfs.c); the
 * readers hand descriptors back with mapfile_add(). mapfile_text.c has what they all read with.
 */
#ifndef MAPFILE_IMPORT_H
#define MAPFILE_IMPORT_H

#include "mm/mapfile.h"

/* ---- text: the rest of a line; what is read is taken off its front ---------------------------- */

struct text {
    const char *at;
    const char *end;
};

static inline bool text_is_empty(const struct text *t)
{
    return t->at == t->end;
}

/* Each takes what it names, or takes nothing and returns false. */
static inline bool text_take(struct text *t, const char *literal)
{
    const char *at = t->at;

    for (; *literal != '\0'; literal++, at++) {
        if (at == t->end || *at != *literal) {
            return false;
        }
    }
    t->at = at;
    return true;
}

/* One at least. */
static inline bool text_take_blanks(struct text *t)
{
    const char *from = t->at;

    while (t->at != t->end && (*t->at == ' ' || *t->at == '\t')) {
        t->at++;
    }
    return t->at != from;
}

/* All hexadecimal digits that there are: `ndigits` at least, 16 at most; the other after "0x". */
bool text_take_hex(struct text *t, unsigned ndigits, uint64_t *v);
bool text_take_0x(struct text *t, unsigned ndigits, uint64_t *v);

/* Decimal; with commas between the digits. */
bool text_take_dec(struct text *t, uint64_t *v);
bool text_take_grouped(struct text *t, uint64_t *v);

/* All up to a blank; or up to character `a` or `b`, without blanks at its ends. */
struct text text_take_word(struct text *t);
struct text text_take_until(struct text *t, char a, char b);

struct text text_trim(struct text t);

/* Moves to where the literal begins first; false, and anywhere, if it is not there. */
bool text_seek(struct text *t, const char *literal);

/* The first `c` in [at, end), or `end`. */
const char *text_find(const char *at, const char *end, char c);

/*
 * Names, whatever their case and whether blanks, '_' or '-' part their words: a UEFI memory type as
 * any of the formats calls it; an attribute word, as its bit; a type of e820 as UEFI type and
 * attributes. text_begins_type(): it may be the beginning of a UEFI type's name, or all of one.
 */
bool text_is_type(struct text name, uint32_t *type);
bool text_begins_type(struct text name);
bool text_is_attr(struct text word, uint64_t *bit);
bool text_is_e820_type(struct text name, uint32_t *type, uint64_t *attr);

/* ---- import ---------------------------------------------------------------------------------- */

/* Of the map at hand; zeroed when one begins. */
struct map_state {
    uint32_t n; /* descriptors so far; of sysfs: highest number + 1 */
    uint32_t nrounded;
    uint32_t other_line; /* of the last whole line behind it that is not the map's; 0 if none */
    uint64_t attr_known;
    bool open;        /* its heading, or a line of it, has been seen */
    bool headed;      /* its beginning has been seen */
    bool interrupted; /* other lines stood between descriptors: one behind them ends nothing */
    bool virt_known;
    bool whole;

    /* EFI shell. */
    bool in_summary;
    bool closed;                           /* the summary's last line has been read */
    uint32_t stray_line;                   /* between rows, and no row; 0 if none */
    uint64_t pages[EFI_MT_UNACCEPTED + 1]; /* by type */
    uint64_t other_pages;                  /* of types above */

    /* e820. */
    uint64_t next; /* where the last range ended */

    /* sysfs. */
    uint64_t nfields;
    uint32_t pending_key;    /* named by "==> ... <==", the value is on the next line */
    uint64_t pending_number; /* of its descriptor */
};

struct import {
    struct mapfile *f;
    uint32_t which;
    struct efi_memory_descriptor *descs;
    uint32_t *lines;
    uint32_t max;

    uint32_t line;       /* the number of the line at hand, from 1 */
    bool cut;            /* it is the last and nothing ends it: some of it may be missing */
    uint32_t nfinished;  /* maps before the one at hand */
    uint32_t arch_lines; /* that were searched for names of processors */
    uint32_t archs;      /* named: bit 1 << enum mapfile_arch */
    bool is_x86;         /* by a line that no other kernel prints */
    struct map_state map;
};

/*
 * A format's reader. Each returns MM_OK or what mapfile_fail() returned.
 *
 * line:   a line recognised as the format's; `t` stands behind what it was recognised by.
 * other:  any other line that is not empty, while a map is open. May be NULL.
 * finish: the map is complete: check it, set attr_known, virt_known, whole.
 */
struct map_reader {
    mm_err_t (*line)(struct import *im, struct text t);
    mm_err_t (*other)(struct import *im, struct text t);
    mm_err_t (*finish)(struct import *im);
};

extern const struct map_reader mapfile_shell;
extern const struct map_reader mapfile_sfo;
extern const struct map_reader mapfile_freebsd;
extern const struct map_reader mapfile_linux_efi;
extern const struct map_reader mapfile_e820;
extern const struct map_reader mapfile_sysfs_map;
extern const struct map_reader mapfile_runtime_map;

/* Is descriptor `i` of the map at hand to be stored: is the map asked for, and is there room? */
bool mapfile_wants(const struct import *im, uint64_t i);

/* The next descriptor of the map at hand, from the line at hand. */
void mapfile_add(struct import *im, const struct efi_memory_descriptor *d);

/* A map begins here; the one at hand, if one is open, is finished. */
mm_err_t mapfile_begin(struct import *im, const struct map_reader *reader);

/* Bounds of e820, both inclusive, as whole pages. False if none is left. */
bool mapfile_e820_desc(struct efi_memory_descriptor *d, uint64_t start, uint64_t last,
                       uint32_t *nrounded);

/* What is wrong: at the line at hand, or at another one (0: the whole). Returns MM_EINVAL. */
mm_err_t mapfile_fail(struct import *im, const char *what);
mm_err_t mapfile_fail_at(struct import *im, uint32_t line, const char *what);

/* With a number in the middle; in front of it stands what was expected of `v`. */
mm_err_t mapfile_fail_number(struct import *im, const char *before, uint64_t v, const char *after);

/*
 * To which format of sysfs a line belongs that has `path` in front of `value`; the value is empty
 * if it is on the next line. `current` decides where a relative path does not.
 */
enum mapfile_format mapfile_sysfs_format(struct text path, struct text value,
                                         enum mapfile_format current);

/* Raw descriptors; leaves the format as it is if the bytes cannot be that. */
mm_err_t mapfile_read_raw(struct import *im, const unsigned char *bytes, uint64_t nbytes);

#endif
