/*
 * monitor.h - the shell over serial and screen, and how a command joins it.
 *
 * A command is one MONITOR_COMMAND() in any file of kernel/monitor/: the linker gathers them.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#define MONITOR_MAX_ARGS 32

struct monitor_command {
    const char *name;
    const char *args;  /* "[-r | -s]", "ADDR", "" */
    const char *brief; /* one line for `help` */
    const char *help;  /* in full, lines parted by \n */
    /* argv[0] is the name. 0: done; anything else: it failed, after saying why. */
    int (*run)(int argc, char **argv);
};

#define MONITOR_COMMAND(id)                                                                        \
    static const struct monitor_command id __attribute__((used, section("commands")))

/* Read commands and run them, for ever. */
_Noreturn void monitor_run(void);

/* Run the commands in `line`, parted by ';' outside of double quotes, until one fails. Returns what
 * the last one returned. `line` is changed. */
int monitor_execute(char *line);

/* All commands, sorted by name. */
const struct monitor_command *monitor_commands(unsigned *count);

#endif
