/*
 * console.h - where the kernel's text goes, and where keys come from.
 *
 * Model:    output goes to every sink that was added, in order; input from all sources meets in one
 * ring of characters, from which the monitor reads. Text is UTF-8 with \n line ends and the escape
 * sequences of lib/term.h; what a device needs instead (\r\n) its sink makes.
 * Locking:  one lock for consoles and log together (rank MM_RANK_LOG, interrupts off), taken
 * inside: a line from an interrupt handler never lands in the middle of another write. Sinks are
 * called with it held and must not log or print. After log_panic_mode() it is not taken any more.
 * Memory:   static; everything works from the first instruction of the kernel.
 */
#ifndef LIB_CONSOLE_H
#define LIB_CONSOLE_H

#include <stddef.h>
#include <stdint.h>

#include "mm/types.h"

#define CONSOLE_MAX_SINKS 4
#define CONSOLE_PRINT_MAX 1024 /* bytes that one kprintf() prints at most; the rest is cut */

struct console_sink {
    const char *name;
    void (*write)(const char *s, size_t n); /* bounded time, also when the device is gone */
    bool is_screen; /* a person looks at it, and what has scrolled away is gone */
};

/*
 * Send all further output to `s` too, which stays valid for ever. What was written before is not
 * repeated: console_replay_log() does that. More than CONSOLE_MAX_SINKS stop the machine.
 */
void console_add(const struct console_sink *s);

/* Print the log, as far as its ring and the console level reach, to `s` alone. */
void console_replay_log(const struct console_sink *s);

/* Any context. One call is never torn apart, and screens draw once per call. */
void console_write(const char *s, size_t n);
/*
 * As console_write(), but not to screens: for text that programs read. False, and nothing was
 * written, if there are only screens. `n` may be 0, to ask.
 */
bool console_send(const char *s, size_t n);

void kputs(const char *s); /* without a line end of its own */
void kprintf(const char *fmt, ...) MM_PRINTF(1, 2);

/* A key, from an interrupt handler or whoever polls a device. Dropped when nobody has read the last
 * 255. Any context. */
void console_input(char c);

/* The oldest key, or -1. One reader at a time. */
int console_getc(void);

/* Has Ctrl-C been typed? It is gone then, with the keys before it; others stay. For work that takes
 * long, now and then. */
bool console_cancelled(void);

/* Sleep until console_getc() has a key. Interrupts are on meanwhile, and as before afterwards; no
 * lock is held. */
void console_wait(void);

/* For lib/log.c: the lock, and output under it. */
MM_MUST_CHECK uint64_t console_lock(void);
void console_unlock(uint64_t irq);
void console_write_locked(const char *s, size_t n);

/* From now on the lock is not taken: the processor that had it may never come back. */
void console_panic_mode(void);

#endif
