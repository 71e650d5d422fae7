/*
 * monitor.h - the shell over serial and screen, and how a command joins it.
 *
 * Model:    a command is one MONITOR_COMMAND() in any file of kernel/monitor/: the linker gathers
 *           them, so no list has to be kept.
 * Context:  the monitor is the kernel's one thread: commands run one at a time, interrupts on.
 */
#ifndef MONITOR_MONITOR_H
#define MONITOR_MONITOR_H

#include <stdbool.h>
#include <stdint.h>

#define MONITOR_MAX_ARGS     32u /* words of a command, its name included */
#define MONITOR_MAX_COMMANDS 64u

struct monitor_command {
    const char *name;
    const char *args;  /* "[-r | -s]", "ADDR", "" */
    const char *brief; /* one line for `help` */
    const char *help;  /* in full, lines parted by \n, each ended by one */
    /* argv[0] is the name. 0: done; anything else: it failed, after saying why. A verdict that is
     * bad (audit, check, selftest) is no failure: the command did what it is for. */
    int (*run)(int argc, char **argv);
};

#define MONITOR_COMMAND(id)                                                                        \
    static const struct monitor_command id __attribute__((used, section("commands")))

/* Greet, read commands and run them, for ever. */
_Noreturn void monitor_run(void);

/* Run the commands in `line`, parted by ';' outside of double quotes, until one fails; each is
 * shown after a prompt, as if it had been typed. Returns what the last one returned. `line` is
 * changed. */
int monitor_execute(char *line);

/* All commands, sorted by name. */
const struct monitor_command *const *monitor_commands(unsigned *count);

/* The command called `name`, or NULL. */
const struct monitor_command *monitor_find(const char *name);

#endif
