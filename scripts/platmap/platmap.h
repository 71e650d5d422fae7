/*
 * platmap.h - what the commands of platmap share: options, output, and a map read from a file.
 *
 * Model:    a command reads its inputs, puts its answer together in memory, and returns an exit
 *           status; then the answer is written. Of a file that is trouble there is a complaint on
 *           standard error and nothing in the answer, which other files of the same call may be in.
 */
#ifndef PLATMAP_H
#define PLATMAP_H

#include <stdio.h>

#include "mm/maplint.h"
#include "mm/memmap.h"
#include "mm/report.h"
#include "mm/sink.h"

/* Exit statuses. What FOUND means is the command's own: errors, differences, nothing there. */
enum { STATUS_OK = 0, STATUS_FOUND = 1, STATUS_TROUBLE = 2 };

/* ---- options (main.c) ------------------------------------------------------------------------ */

enum option_id {
    OPT_HELP,
    OPT_MAP,
    OPT_WITH,
    OPT_RAW,
    OPT_NORMALISED,
    OPT_TYPE,
    OPT_EXPLAIN,
    OPT_JSON,
    OPT_TO,
    OPT_OUTPUT,
    OPTIONS
};

struct args {
    const char *option[OPTIONS]; /* NULL: not given; "" for those without a value */
    const char *const *words;    /* what is no option: files, for `at` first an address */
    int nwords;
    const struct mm_sink *to; /* the answer */
    bool colour;              /* it goes to a terminal */
};

/* ---- commands: each returns an exit status --------------------------------------------------- */

int cmd_show(const struct args *a);
int cmd_summary(const struct args *a);
int cmd_at(const struct args *a);
int cmd_lint(const struct args *a);
int cmd_diff(const struct args *a);
int cmd_convert(const struct args *a);
int cmd_replay(const struct args *a);

/* ---- output (output.c) ----------------------------------------------------------------------- */

/* "platmap: " and the message, and a line feed, on standard error. */
void complain(const char *fmt, ...) MM_PRINTF(1, 2);

/* Memory that is there: complains and exits when there is none. 16-byte aligned; free() it. */
void *must_alloc(uint64_t nbytes);

/* printf() into a sink; one call writes less than 1 KiB. */
void say(const struct mm_sink *to, const char *fmt, ...) MM_PRINTF(2, 3);

/* "1.0 MiB", in `buf`. */
struct size_text {
    char text[MM_SIZE_CHARS + 1];
};
const char *size_text(struct size_text *buf, uint64_t nbytes);

/* The answer, growing in memory. */
struct answer {
    struct mm_sink sink;
    char *text;
    size_t len;
    size_t room;
};
void answer_begin(struct answer *o);

/* Write it to the file `name`, or standard output if that is NULL. False after a complaint; a file
 * that could not be written whole is removed. */
MM_MUST_CHECK bool answer_write(const struct answer *o, const char *name);
void answer_drop(struct answer *o);

/* ---- a map out of a file (input.c) ----------------------------------------------------------- */

struct input {
    const char *name;     /* as to be shown */
    struct mapfile found; /* its format; for a report, nothing else */
    uint32_t *lines;      /* the line of each descriptor; NULL in a report or a raw dump */

    /* What was read; of a file in another format, a report with the map as its only capture. */
    struct report report;
    const struct report_capture *capture; /* the map that was asked for */
    struct memmap map;                    /* made of it */

    void *held[5]; /* memory that all this lies in */
};

/*
 * Read the map called `which` (NULL: none in particular) out of the file `name`, "-" for standard
 * input. On success the input points into itself: do not copy it, and input_close() it. False after
 * a complaint.
 */
MM_MUST_CHECK bool input_open(struct input *in, const char *name, const char *which);
void input_close(struct input *in);

/*
 * All findings about the map, sorted: those of a lint here, and those in the report that only who
 * made it could know of. The array of findings is to be freed.
 */
struct maplint_result input_lint(const struct input *in);

/* "EFI shell memmap, 125 descriptors", with what is particular about the map. */
void input_put_title(const struct mm_sink *to, const struct input *in);

#endif
