/*
 * opts.c - the options of this boot.
 */
#include "lib/opts.h"

#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"
#include "plat/options.h"

static char options[PLAT_OPTIONS_MAX]; /* NUL-terminated */
static size_t noptions;                /* bytes without the NUL */

void opts_init(const char *text, size_t n)
{
    noptions = 0;
    while (noptions < mm_min(n, PLAT_OPTIONS_MAX - 1) && text[noptions] != '\0') {
        options[noptions] = text[noptions];
        noptions++;
    }
    options[noptions] = '\0';
}

const char *opts_text(void)
{
    return options;
}

bool opts_get(const char *key, char *buf, size_t n)
{
    struct plat_option o;

    if (!plat_option_find(options, noptions, key, &o)) {
        return false;
    }

    size_t fits = mm_min(o.value_len, n - 1);

    memcpy(buf, o.value, fits);
    buf[fits] = '\0';
    return true;
}

static bool is_known(const struct plat_option *o, const char *const known[])
{
    for (size_t i = 0; known[i] != NULL; i++) {
        if (plat_option_is(o, known[i])) {
            return true;
        }
    }
    return false;
}

void opts_check_known(const char *const known[])
{
    struct plat_option o;
    char names[160];
    size_t pos = 0, n = 0;

    names[0] = '\0';
    for (size_t i = 0; known[i] != NULL && n < sizeof(names); i++) {
        n += fmt_s(names + n, sizeof(names) - n, "%s%s", i > 0 ? " " : "", known[i]);
    }
    while (plat_option_next(options, noptions, &pos, &o)) {
        if (!is_known(&o, known)) {
            log_warn("option %.*s is unknown and ignored; known are %s", (int)mm_min(o.key_len, 40),
                     o.key, names);
        }
    }
}
