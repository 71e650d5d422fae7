/*
 * conf.h - the options for the kernel: \plat\plat.conf, then the LoadOptions of the stub's image,
 * as one text of words (plat/options.h).
 *
 * Model:    nothing that can be in either source stops the boot: what cannot be used is left out,
 * with a line on the console. Words come out one to a line, comments removed, so that they never
 * cost room; every character is printable ASCII. LoadOptions come last, so they win, and never lose
 * their room to a long file.
 */
#ifndef EFI_CONF_H
#define EFI_CONF_H

#include "firmware.h"
#include "plat/options.h"
#include "pool.h"

/* Of plat.conf, more is not read. */
#define CONF_FILE_MAX UINT64_C(0x10000)
/* Of the option text, what LoadOptions may take. */
#define CONF_LOAD_OPTIONS_MAX (PLAT_OPTIONS_MAX / 2)

struct conf {
    char text[PLAT_OPTIONS_MAX]; /* NUL-terminated */
    size_t len;                  /* without the NUL */
};

/* Fill *c. `load_options` - any bytes, or NULL. Allocates and frees a buffer of CONF_FILE_MAX. */
void conf_gather(const struct fw *fw, struct pool *pool, const void *load_options,
                 uint64_t load_options_bytes, struct conf *c);

/* Is option `key` there as a bare word, or as 1, on or yes; the last one counts. */
bool conf_is_on(const struct conf *c, const char *key);

#endif
