/*
 * opts.h - the options of this boot: words `key` or `key=value` (include/plat/options.h).
 *
 * The text is copied at the start of the boot and never changes: no locking. Where a key appears
 * twice the last one counts.
 */
#ifndef LIB_OPTS_H
#define LIB_OPTS_H

#include <stdbool.h>
#include <stddef.h>

#include "mm/types.h"

/* Keep a copy of text[0, n), at most PLAT_OPTIONS_MAX bytes of it; a NUL ends it too. */
void opts_init(const char *text, size_t n);

/* The whole text, NUL-terminated. */
const char *opts_text(void);

/*
 * The value of `key` into `buf`, NUL-terminated and cut to `n` bytes (> 0), "" for a bare key.
 * False when the key is not there; `buf` is then untouched.
 */
MM_MUST_CHECK bool opts_get(const char *key, char *buf, size_t n);

/* Log a warning for each key that is not in `known`, an array that ends with NULL. */
void opts_check_known(const char *const known[]);

#endif
