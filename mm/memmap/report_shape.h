/*
 * report_shape.h - the members of a report: which there are, in which order, where they stand in
 * struct report, and what they look like in the document. The writer and the reader of reports both
 * work from this, so that they cannot disagree.
 */
#ifndef REPORT_SHAPE_H
#define REPORT_SHAPE_H

#include "mm/report.h"

/* How a member stands in the struct, and in the document. */
enum report_form {
    /* Values. */
    FORM_TEXT,  /* const char *: a text, or null for NULL */
    FORM_ASCII, /* char[count], NUL-terminated: a text of printable ASCII */
    FORM_BOOL,  /* bool */
    FORM_STATE, /* enum report_state in a uint32_t: true, false, null */
    FORM_U32,   /* numbers */
    FORM_U64,
    FORM_HEX32, /* texts of 8 or 16 hexadecimal digits */
    FORM_HEX64,
    FORM_NAME,  /* uint32_t: the text name(v), for `first` <= v < `count` */
    FORM_NAMES, /* uint32_t: an array of the texts name(bit), for each bit < `count` that is set */
    FORM_TALLY, /* uint64_t[count]: an object with the keys name(0), name(1), ... */
    FORM_GUID,  /* unsigned char[16]: a text of five groups of digits; `none` is all zeros */
    FORM_TIME,  /* struct report_time: a text of RFC 3339, with or without the offset */

    /* Explanations: written by say(), and not read. */
    FORM_SAID,

    /* What is inside of which. */
    FORM_OBJECT, /* a struct of `shape` */
    FORM_ARRAY,  /* struct[count] of `shape`, of which the uint32_t at `count_at` says how many */
    FORM_LIST,   /* const struct * of `shape`, of which the uint32_t at `count_at` says how many */

    /* A struct memmap_raw, in two members: */
    FORM_DESCS, /* its whole descriptors, of `shape`, each as bytes of which offsets are offsets */
    FORM_REST,  /* the bytes behind them: a text of two digits a byte */

    /* In an element of FORM_DESCS: */
    FORM_INDEX, /* its number, from 0 */
    FORM_DUMP,  /* all its bytes: a text of two digits a byte */
};

/* Flags of report_field.flags */
#define FIELD_OR_NULL (UINT32_C(1) << 0) /* `none` is written as null, and null read as `none` */
#define FIELD_PRIVATE (UINT32_C(1) << 1) /* left out of a report without identifiers */

struct report_shape;

struct report_field {
    const char *key;
    enum report_form form;
    uint32_t flags;
    uint32_t at; /* offset in the struct */
    uint32_t count;
    uint32_t count_at;
    uint32_t first;
    uint32_t known; /* flag in the uint32_t at offset 0 of the struct: not set is null; 0: none */
    uint64_t none;
    const char *(*name)(uint32_t v);
    void (*say)(struct json_writer *w, const void *at);
    const struct report_shape *shape;
};

struct report_shape {
    const struct report_field *fields;
    uint32_t nfields; /* at most 64 */
    uint32_t nbytes;  /* of the struct */
    bool is_row;      /* written in one line */
};

extern const struct report_shape report_shape_root;
extern const struct report_shape report_shape_desc;

/* Containers inside each other: report, captures, capture, totals, usable. */
#define REPORT_SHAPE_DEPTH 6

/* Members, by their offsets: copied, since nothing says that firmware's bytes are aligned. */
static inline uint32_t report_load32(const void *at)
{
    uint32_t v;

    __builtin_memcpy(&v, at, sizeof(v));
    return v;
}

static inline uint64_t report_load64(const void *at)
{
    uint64_t v;

    __builtin_memcpy(&v, at, sizeof(v));
    return v;
}

/* Of any type: they all look the same. */
static inline const void *report_load_pointer(const void *at)
{
    const void *v;

    __builtin_memcpy(&v, at, sizeof(v));
    return v;
}

/* Descriptors in `raw`: as memmap_build() counts them, none if the stride cannot be right. */
uint64_t report_ndescs(const struct memmap_raw *raw);

/* One past the last byte of the efi_memory_descriptor at `desc`; false if 64 bits cannot say it. */
bool report_desc_end(const void *desc, uint64_t *end);

/* Could this be the stride of descriptors? */
bool report_is_stride(uint64_t stride);

/* Offsets of the digits of byte i of a GUID in its text of 36 characters: the first three groups
 * have their bytes in reverse. */
extern const unsigned char report_guid_places[16];

/* Is it a time that a calendar may have? */
bool report_time_is_valid(const struct report_time *t);

/*
 * As texts, with a NUL: the digits of a GUID in five groups; a time as RFC 3339 has it, without an
 * offset if there is none: its length, or 0 if it is not valid.
 */
#define REPORT_GUID_CHARS 36
#define REPORT_TIME_CHARS 25
void report_guid_text(const unsigned char guid[16], char text[REPORT_GUID_CHARS + 1]);
size_t report_time_text(const struct report_time *t, char text[REPORT_TIME_CHARS + 1]);

/* A revision of UEFI: "2.7", "2.3.1". */
void report_put_uefi(const struct mm_sink *to, uint32_t revision);

#endif
