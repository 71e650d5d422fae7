/*
 * check.h - the *_check() functions of every structure, in one list.
 */
#ifndef MONITOR_CHECK_H
#define MONITOR_CHECK_H

struct check {
    const char *name;
    const char *(*run)(void); /* NULL, or the broken invariant as text */
};

#define CHECK_COUNT 8
extern const struct check checks[CHECK_COUNT];

/* The first thing that any of them finds broken, or NULL. */
const char *check_everything(void);

#endif
