/*
 * demo.h - where a demo draws.
 */
#ifndef LIB_DEMO_H
#define LIB_DEMO_H

#include <stdbool.h>

/* `line` takes a line, without its end. `pause` comes after each step; false ends the play. */
struct demo_screen {
    void (*line)(void *ctx, const char *text);
    bool (*pause)(void *ctx);
    void *ctx;
};

#endif
