/*
 * args.h - the words behind a command's name: options, operands, numbers, addresses.
 *
 * Options are single letters, "-r"; one that takes a value has it in the next word, "-o 9". They
 * may stand anywhere. Numbers are decimal or 0x hexadecimal, with k, m, g or t (2^10 ... 2^40)
 * behind them. Whatever is wrong is told to the user here, together with how the command is used:
 * callers only pass the failure on.
 */
#ifndef MONITOR_ARGS_H
#define MONITOR_ARGS_H

#include "mm/types.h"
#include "monitor/monitor.h"

struct args {
    const char *name;
    const char *value[26]; /* by letter: NULL if not given, "" for an option without value */
    const char *operand[MONITOR_MAX_ARGS];
    unsigned n; /* operands */
};

/*
 * Sort out argv. `options` are the letters the command knows, a ':' behind one that takes a value:
 * "bo:". Between `min` and `max` operands are fine.
 */
MM_MUST_CHECK bool args_parse(struct args *a, int argc, char **argv, const char *options,
                              unsigned min, unsigned max);

static inline const char *args_value(const struct args *a, char letter)
{
    return a->value[letter - 'a'];
}

static inline bool args_has(const struct args *a, char letter)
{
    return args_value(a, letter) != NULL;
}

/* At most one of the options in `letters` was given. */
MM_MUST_CHECK bool args_at_most_one(const struct args *a, const char *letters);

/* `word` as a number in [min, max]; `what` is its name in the usage line. */
MM_MUST_CHECK bool args_number(const struct args *a, const char *what, const char *word,
                               uint64_t min, uint64_t max, uint64_t *v);

/* `word` as an address: a number, the name of a kernel function, or NAME+NUMBER. */
MM_MUST_CHECK bool args_address(const struct args *a, const char *word, uint64_t *va);

/* "NAME: text", and how the command is used. Always 1, for the command to return. */
int args_fail(const struct args *a, const char *fmt, ...) MM_PRINTF(2, 3);

/* As args_fail(), for what is no mistake of the user's: without the usage line. */
int args_error(const struct args *a, const char *fmt, ...) MM_PRINTF(2, 3);

/* The number that all of `word` spells; false if it is none, or is beyond 64 bits. */
MM_MUST_CHECK bool args_read_number(const char *word, uint64_t *v);

#endif
