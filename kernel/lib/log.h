/*
 * log.h - what the kernel has to say, kept in a ring and shown on the consoles.
 *
 * Model:    a record is one line of text with a level and a time stamp. The ring keeps the latest
 * 64 KiB of them. A record whose level is at or below the console level is printed as well.
 * Time:     records carry the raw time-stamp counter; it becomes seconds as they are shown, once
 * log_set_clock() has said how. Until then the stamp shows counter ticks, without a point in it.
 * Locking:  the console lock (lib/console.h), taken inside. Any context, interrupt handlers
 * included; not from a console sink.
 * Memory:   static; works from the first instruction of the kernel.
 */
#ifndef LIB_LOG_H
#define LIB_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mm/types.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

#define LOG_TEXT_MAX  240 /* bytes of text in a record; what is longer ends in "..." */
#define LOG_STAMP_MAX 24
#define LOG_LINE_MAX  300 /* bytes of a record as a console shows it, NUL included */

/* One line each; no \n at the end. Control characters inside are shown as '?'. */
void log_error(const char *fmt, ...) MM_PRINTF(1, 2);
void log_warn(const char *fmt, ...) MM_PRINTF(1, 2);
void log_info(const char *fmt, ...) MM_PRINTF(1, 2);
void log_debug(const char *fmt, ...) MM_PRINTF(1, 2);

/* Tick `tsc_base` is second 0, and `tsc_per_us` ticks (> 0) make a microsecond. */
void log_set_clock(uint64_t tsc_base, uint64_t tsc_per_us);

/* Records above `level` go to the ring only. LOG_INFO at start. */
void log_set_console_level(enum log_level level);

/* "error", "warn", "info" or "debug" into *level; false for any other word. */
MM_MUST_CHECK bool log_parse_level(const char *word, enum log_level *level);

struct log_view {
    const char *text; /* NUL-terminated, valid during the call */
    size_t nbytes;
    enum log_level level;
    uint64_t tsc; /* raw */
    /* "    1.234567", or ticks without a point while there is no clock */
    char stamp[LOG_STAMP_MAX];
};

/*
 * Call `fn` for each record that is there as the call begins, the oldest first, until it returns
 * false. `fn` runs without the lock: it may print and log. Records that the ring drops meanwhile
 * are left out.
 */
void log_for_each(bool (*fn)(void *ctx, const struct log_view *v), void *ctx);

/* As log_for_each(), for the newest `count` records only. */
void log_for_last(size_t count, bool (*fn)(void *ctx, const struct log_view *v), void *ctx);

/* The record as one line of console text, "[stamp] text\n"; errors and warnings say so and have
 * colours. Its length. */
size_t log_format_line(char line[LOG_LINE_MAX], const struct log_view *v);

/* Are records of `level` printed? */
bool log_on_console(enum log_level level);

/* NULL if the invariants of log.c hold, else the first broken one as text. O(records). */
const char *log_check(void);

/* The machine is going down: from now on take no locks, and print every record. */
void log_panic_mode(void);

#endif
