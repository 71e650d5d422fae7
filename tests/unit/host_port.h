/*
 * host_port.h - mm/port.h on the host: a sparse array plays physical memory, threads play
 * processors, a timer's signal plays interrupts, a panic can be caught.
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

#include "host_rng.h"
#include "mm/port.h"

/* Of address space; only what is touched costs memory. ThreadSanitizer leaves less of it. */
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOST_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define HOST_TSAN 1
#endif
#ifdef HOST_TSAN
#define HOST_PHYS_BYTES (UINT64_C(1) << 38)
#else
#define HOST_PHYS_BYTES (UINT64_C(1) << 46) /* there are servers with memory at 44 TiB */
#endif

/* Drop the contents of all of physical memory: it reads as zeros again. */
void host_phys_reset(void);

/* port_tlb_flush() calls since the start, and the last one. */
struct host_flush {
    uint64_t calls;
    uint64_t root, va, nbytes;
};
extern struct host_flush host_flush;

/* The calling thread is processor `cpu` from now on; each begins as number 0. */
void host_set_cpu(unsigned cpu);

/*
 * Interrupt the calling thread every `ns` nanoseconds, which should be several times what `fn`
 * takes: `fn` runs in the midst of whatever the thread does, with interrupts off. While the thread
 * has them off, one stays pending until they are on again. An `fn` that turns them on (by
 * port_irq_restore(0), which no other code may write by hand) can be interrupted in its turn. NULL
 * ends it; a thread must end it before it exits. Under ThreadSanitizer interrupts come at calls
 * into libc only.
 */
void host_interrupts(void (*fn)(void), uint64_t ns);

/*
 * Interrupt the calling thread after each of its instructions, from the one with number `from` on,
 * unless interrupts are off then. Until host_end_steps(), which returns how many there were. Not
 * under ThreadSanitizer, whose own instructions count, and wait for each other.
 */
void host_interrupt_steps(uint64_t from, void (*fn)(void));
uint64_t host_end_steps(void);

/* Of the calling thread: what its port_spin_hint() calls first, or NULL. So a test can play the one
 * that is waited for. */
extern _Thread_local void (*host_on_spin)(void);

/* Of the calling thread: where port_panic() jumps while a test waits for it, and what it said. */
extern _Thread_local jmp_buf *host_panic_jmp;
extern _Thread_local char host_panic_text[512];

/* What a panic that was caught may have left behind: locks noted as held, interrupts off. */
void host_after_panic(void);

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
        host_after_panic();                                                                        \
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

/* Tests print their seed; PLAT_SEED in the environment replaces it. */
struct host_rng host_rng_make(const char *test);
uint64_t host_rng_below(struct host_rng *r, uint64_t bound); /* in [0, bound), bound > 0 */

#endif
