/*
 * host_port.h - mm/port.h on the host: a sparse array plays physical memory, a panic can be caught.
 */
#ifndef HOST_PORT_H
#define HOST_PORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "mm/port.h"

#define HOST_PHYS_BYTES                                                                            \
    (UINT64_C(1) << 42) /* of address space; only what is touched costs memory */

/* Drop the contents of all of physical memory: it reads as zeros again. */
void host_phys_reset(void);

/* port_tlb_flush() calls since the start, and the last one. */
struct host_flush {
    uint64_t calls;
    uint64_t root, va, nbytes;
};
extern struct host_flush host_flush;

/* Where port_panic() jumps while a test waits for it, and what it said. */
extern jmp_buf *host_panic_jmp;
extern char host_panic_text[512];

/*
 * `expr` must panic with `words` in the message. What it was working on is left as it was in that
 * moment (locks taken): throw it away.
 */
#define assert_panics(expr, words)                                                                 \
    do {                                                                                           \
        jmp_buf panic_jmp_;                                                                        \
        host_panic_text[0] = '\0';                                                                 \
        host_panic_jmp = &panic_jmp_;                                                              \
        if (setjmp(panic_jmp_) == 0) {                                                             \
            (void)(expr);                                                                          \
            host_panic_jmp = NULL;                                                                 \
            fail_msg("no panic: %s", #expr);                                                       \
        }                                                                                          \
        host_panic_jmp = NULL;                                                                     \
        *port_held_ranks() = 0;                                                                    \
        if (strstr(host_panic_text, (words)) == NULL) {                                            \
            fail_msg("panic says \"%s\", not \"%s\"", host_panic_text, (words));                   \
        }                                                                                          \
    } while (0)

/* A checker's answer must be NULL. */
#define assert_sound(check)                                                                        \
    do {                                                                                           \
        const char *broken_ = (check);                                                             \
        if (broken_ != NULL) {                                                                     \
            fail_msg("%s: %s", #check, broken_);                                                   \
        }                                                                                          \
    } while (0)

/* SplitMix64: a seed in, numbers out. Tests print their seed; PLAT_SEED in the environment replaces
 * it. */
struct host_rng {
    uint64_t state;
};
struct host_rng host_rng_make(const char *test);
uint64_t host_rng_next(struct host_rng *r);
uint64_t host_rng_below(struct host_rng *r, uint64_t bound); /* in [0, bound), bound > 0 */

#endif
