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

static inline int worse_of(int a, int b)
{
    return a > b ? a : b;
}

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
    OPT_AGAINST,
    OPT_ARCH,
    OPTIONS
};

struct args {
    const char *option[OPTIONS]; /* NULL: not given; "" for those without a value */
    enum mapfile_arch arch;      /* by --arch */
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
int cmd_draw(const struct args *a);
int cmd_convert(const struct args *a);
int cmd_replay(const struct args *a);

/* ---- output (output.c) ----------------------------------------------------------------------- */

/* "platmap: " and the message, and a line feed, on standard error. */
void complain(const char *fmt, ...) MM_PRINTF(1, 2);

/* Memory that is there: complains and exits when there is none. 16-byte aligned; free() it. */
void *must_alloc(uint64_t nbytes);

/* printf() into a sink; one call writes less than 1 KiB. */
void say(const struct mm_sink *to, const char *fmt, ...) MM_PRINTF(2, 3);

/* May it go to a terminal: is it a text, without control characters? */
bool is_plain(const char *s);

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

/*
 * Write it to the file `name`, or standard output if that is NULL, as the last thing that is said.
 * A file is there whole or not at all; one that was there stays until the new one is complete.
 * False after a complaint.
 */
MM_MUST_CHECK bool answer_write(const struct answer *o, const char *name);
void answer_drop(struct answer *o);

/* ---- the bytes of a file (source.c) ---------------------------------------------------------- */

struct source {
    const char *name; /* as to be shown */
    char *bytes;      /* what was UTF-16 is UTF-8 */
    size_t nbytes;
};

/* Read the file `name`, "-" for standard input. False after a complaint. */
MM_MUST_CHECK bool source_read(struct source *s, const char *name);
void source_drop(struct source *s);

/*
 * One of the reports in a source. In a log, and in a file of several, each ends with its line; a
 * report whose first line does not end it has the file to itself.
 */
struct report_text {
    const char *text;
    const char *end;
    uint64_t line; /* that it begins in, from 1 */
};

/* The one at offset `at`, where mapfile_read() found it, and the one behind `r`, if there is one. */
struct report_text source_first_report(const struct source *s, size_t at);
bool source_next_report(const struct source *s, struct report_text *r);

/* ---- a map out of a file (input.c) ----------------------------------------------------------- */

struct input {
    struct source source;
    const char *name;     /* as to be shown: of one of several reports, with its line */
    uint64_t line;        /* that a report begins in, from 1; 0: it is none */
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
 * The same for commands that take what comes: `use` the map, or that of each report if there are
 * several in the file and `which` is not the number of one. The input is closed afterwards. Returns
 * the worst status; a report that cannot be read is STATUS_TROUBLE, and the next one follows.
 */
typedef int input_use(void *ctx, struct input *in);
MM_MUST_CHECK int input_each(const char *name, const char *which, input_use *use, void *ctx);

/* Where the input does not tell its architecture, it is `arch`. */
void input_assume_arch(struct input *in, enum mapfile_arch arch);

/* What there is to say of a map that may not be whole: a phrase. */
#define NOT_WHOLE "nothing shows whether the map is whole"

/* "EFI shell memmap, 125 descriptors", with what is particular about the map. */
void input_put_title(const struct mm_sink *to, const struct input *in);

/* ---- findings (findings.c) ------------------------------------------------------------------- */

/*
 * All findings about the map, sorted: those of a lint here, and those in the report that only who
 * made it could know of. The array of findings is to be freed.
 */
struct maplint_result input_lint(const struct input *in);

/* Can its map be compared with that of another boot? False after a complaint. */
MM_MUST_CHECK bool input_has_runtime(const struct input *in);

/* Add to the findings about `in` what it has otherwise than `first`, an earlier boot: M38. */
void input_compare(struct maplint_result *lint, const struct input *first, const struct input *in);

#endif
