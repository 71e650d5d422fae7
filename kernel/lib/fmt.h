/*
 * fmt.h - formatted text into a buffer.
 *
 * A subset of C's vsnprintf(), which it equals in every byte where it applies: conversions
 * c d i o u x X s p %, flags - 0 + space #, width and precision (numbers or *), lengths hh h l ll z
 * j t. Floating point, %n and wide characters are not there; an unknown conversion is copied as it
 * stands and takes no argument. %s of NULL prints "(null)", %p prints as %#lx does, NULL "(nil)".
 * Any context; no state, no allocation. Runs on a host as well.
 */
#ifndef LIB_FMT_H
#define LIB_FMT_H

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include "mm/types.h"

/*
 * Write at most `n` bytes to `buf`, the last of them a NUL if n > 0; `buf` may be NULL if n is 0.
 * Returns the length of the whole text without the NUL: it was cut if that is >= n.
 */
size_t fmt_v(char *buf, size_t n, const char *fmt, va_list ap) MM_PRINTF(3, 0);
size_t fmt_s(char *buf, size_t n, const char *fmt, ...) MM_PRINTF(3, 4);

#define FMT_BYTES_MAX 12

/*
 * `nbytes` for a person: "0 B", "1023 B", "4.0 KiB", "255.9 MiB", "1.0 TiB". Below 1 KiB exact;
 * else in the largest unit of which there is at least one, with one digit after the point, cut off
 * and never rounded up: what is shown is never more than what is there.
 * Returns `buf`.
 */
char *fmt_bytes(char buf[FMT_BYTES_MAX], uint64_t nbytes);

#endif
