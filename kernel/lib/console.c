/*
 * console.c - sinks for text, and the ring of keys.
 *
 * A write goes to all sinks under one lock. The lock is also the log's: a record must reach the
 * ring and the consoles in the same order, and two locks would only ever be taken as a pair.
 *
 * Keys come from interrupt handlers, and from the serial sink, which empties the receiver while it
 * waits for the transmitter; that happens with the console lock held, so the ring has a lock of its
 * own. It is a leaf under which nothing is called, and therefore needs no rank.
 */
#include "lib/console.h"

#include <stdatomic.h>

#include "cpu/asm.h"
#include "lib/fmt.h"
#include "lib/log.h"
#include "lib/string.h"
#include "mm/lock.h"

static struct mm_lock lock = MM_LOCK_INIT(MM_RANK_LOG);
static atomic_bool lockless; /* console_panic_mode() */

/* Guarded by `lock`. */
static const struct console_sink *sinks[CONSOLE_MAX_SINKS];
static size_t nsinks;
static char printed[CONSOLE_PRINT_MAX + 1]; /* what kprintf() makes: too large for small stacks */

#define KEYS   256u
#define CTRL_C '\003'

static struct {
    atomic_uint taken;
    char c[KEYS];
    uint8_t put, get; /* they wrap with the ring; equal: empty */
} keys;
_Static_assert(KEYS == UINT8_MAX + 1, "the ring's indices wrap by themselves");

uint64_t console_lock(void)
{
    return atomic_load(&lockless) ? 0 : mm_lock(&lock);
}

void console_unlock(uint64_t irq)
{
    if (!atomic_load(&lockless)) {
        mm_unlock(&lock, irq);
    }
}

void console_panic_mode(void)
{
    atomic_store(&lockless, true);
}

void console_write_locked(const char *s, size_t n)
{
    for (size_t i = 0; i < nsinks; i++) {
        sinks[i]->write(s, n);
    }
}

void console_add(const struct console_sink *s)
{
    uint64_t irq = console_lock();

    MM_ASSERT(nsinks < CONSOLE_MAX_SINKS);
    sinks[nsinks++] = s;
    console_unlock(irq);
}

/* Lines of the log on their way to one sink: many per write, so that a screen scrolls but once. */
struct replay {
    const struct console_sink *sink;
    size_t n;
    char text[4096];
};

static void replay_flush(struct replay *r)
{
    uint64_t irq = console_lock();

    r->sink->write(r->text, r->n);
    r->n = 0;
    console_unlock(irq);
}

static bool replay_record(void *ctx, const struct log_view *v)
{
    struct replay *r = ctx;

    if (log_on_console(v->level)) {
        if (sizeof(r->text) - r->n < LOG_LINE_MAX) {
            replay_flush(r);
        }
        r->n += log_format_line(r->text + r->n, v);
    }
    return true;
}

void console_replay_log(const struct console_sink *s)
{
    static struct replay r; /* too large for a stack; the boot has one processor */

    r.sink = s;
    r.n = 0;
    log_for_each(replay_record, &r);
    replay_flush(&r);
}

void console_write(const char *s, size_t n)
{
    uint64_t irq = console_lock();

    console_write_locked(s, n);
    console_unlock(irq);
}

bool console_send(const char *s, size_t n)
{
    uint64_t irq = console_lock();
    bool sent = false;

    for (size_t i = 0; i < nsinks; i++) {
        if (!sinks[i]->is_screen) {
            sinks[i]->write(s, n);
            sent = true;
        }
    }
    console_unlock(irq);
    return sent;
}

void kputs(const char *s)
{
    console_write(s, strlen(s));
}

void kprintf(const char *fmt, ...)
{
    uint64_t irq = console_lock();
    va_list ap;

    va_start(ap, fmt);
    size_t n = fmt_v(printed, sizeof(printed), fmt, ap);
    va_end(ap);
    console_write_locked(printed, mm_min(n, CONSOLE_PRINT_MAX));
    console_unlock(irq);
}

static uint64_t keys_lock(void)
{
    uint64_t irq = port_irq_save();

    while (atomic_exchange_explicit(&keys.taken, 1, memory_order_acquire) != 0) {
        port_spin_hint();
    }
    return irq;
}

static void keys_unlock(uint64_t irq)
{
    atomic_store_explicit(&keys.taken, 0, memory_order_release);
    port_irq_restore(irq);
}

void console_input(char c)
{
    uint64_t irq = keys_lock();

    if ((uint8_t)(keys.put + 1) != keys.get) {
        keys.c[keys.put++] = c;
    }
    keys_unlock(irq);
}

int console_getc(void)
{
    uint64_t irq = keys_lock();
    int c = keys.get != keys.put ? (unsigned char)keys.c[keys.get++] : -1;

    keys_unlock(irq);
    return c;
}

bool console_cancelled(void)
{
    uint64_t irq = keys_lock();
    uint8_t at = keys.get;

    while (at != keys.put && keys.c[at] != CTRL_C) {
        at++;
    }
    bool found = at != keys.put;
    if (found) {
        keys.get = at + 1;
    }
    keys_unlock(irq);
    return found;
}

static bool keys_empty(void)
{
    uint64_t irq = keys_lock();
    bool empty = keys.get == keys.put;

    keys_unlock(irq);
    return empty;
}

void console_wait(void)
{
    uint64_t irq = port_irq_save();

    /* With interrupts off between the look and the sleep, no key can slip through between them. */
    while (keys_empty()) {
        sti_hlt();
        cli();
    }
    port_irq_restore(irq);
}
