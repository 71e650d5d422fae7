/*
 * log.c - the log ring.
 *
 * Records of varying length lie one behind the other in a ring of bytes, each 16-byte aligned and
 * in one piece: where the end of the ring is too near, a record without text fills it up. A new
 * record pushes out as many of the oldest as it needs room for. Positions count bytes since the
 * start and never wrap (at 1 GB/s of log they would in 584 years), so a reader that was overtaken
 * sees it by comparing its position with the tail. Rejected: fixed slots, which waste most of their
 * space on short lines; a reader that holds the lock, which could then not print.
 *
 * Invariants (log_check tests them):
 *  L1  tail <= head <= tail + LOG_RING, both multiples of 16
 *  L2  walking from tail by record lengths ends exactly at head
 *  L3  no record straddles the end of the ring
 *  L4  the walk meets `count` records with text or level, fillers not counted
 */
#include "lib/log.h"

#include "cpu/asm.h"
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/string.h"
#include "mm/port.h"

#define LOG_RING  65536u
#define LOG_ALIGN 16u

struct record {
    uint64_t tsc;
    uint16_t nbytes; /* of this record, header and padding included; a multiple of LOG_ALIGN */
    uint16_t ntext;
    uint8_t level;
    uint8_t filler; /* 1: only there to fill up the end of the ring */
    uint16_t zero;
};
_Static_assert(sizeof(struct record) == LOG_ALIGN, "a header fits wherever a record can begin");
_Static_assert(sizeof(struct record) + LOG_TEXT_MAX + LOG_ALIGN <= UINT16_MAX, "nbytes");

/* All guarded by the console lock. */
static struct {
    _Alignas(LOG_ALIGN) unsigned char ring[LOG_RING];
    uint64_t tail, head;
    uint64_t count;
    uint64_t tsc_base, tsc_per_us; /* the latter 0: no clock yet */
} store;
static enum log_level console_level = LOG_INFO;

static struct record *record_at(uint64_t position)
{
    return (struct record *)(void *)(store.ring + position % LOG_RING);
}

static void drop_oldest_locked(void)
{
    struct record *r = record_at(store.tail);

    store.count -= !r->filler;
    store.tail += r->nbytes;
}

/* Room for `nbytes` in one piece at store.head. */
static struct record *make_room_locked(size_t nbytes)
{
    size_t to_end = LOG_RING - store.head % LOG_RING;
    size_t need = to_end < nbytes ? to_end + nbytes : nbytes;

    while (store.head + need - store.tail > LOG_RING) {
        drop_oldest_locked();
    }
    if (to_end < nbytes) {
        *record_at(store.head) = (struct record){ .nbytes = (uint16_t)to_end, .filler = 1 };
        store.head += to_end;
    }
    return record_at(store.head);
}

static void append_locked(enum log_level level, uint64_t tsc, const char *text, size_t ntext)
{
    size_t nbytes = mm_align_up(sizeof(struct record) + ntext, LOG_ALIGN);
    struct record *r = make_room_locked(nbytes);

    *r = (struct record){
        .tsc = tsc, .nbytes = (uint16_t)nbytes, .ntext = (uint16_t)ntext, .level = (uint8_t)level
    };
    memcpy(r + 1, text, ntext);
    store.head += nbytes;
    store.count++;
}

static void make_stamp_locked(char stamp[LOG_STAMP_MAX], uint64_t tsc)
{
    if (store.tsc_per_us == 0) {
        fmt_s(stamp, LOG_STAMP_MAX, "%12llu", (unsigned long long)tsc);
        return;
    }

    uint64_t us = tsc > store.tsc_base ? (tsc - store.tsc_base) / store.tsc_per_us : 0;

    fmt_s(stamp, LOG_STAMP_MAX, "%5llu.%06llu", (unsigned long long)(us / 1000000),
          (unsigned long long)(us % 1000000));
}

/* Text that keeps to its line, whoever supplied its parts. The length that remains. */
static size_t clean_text(char *text, size_t n)
{
    if (n > LOG_TEXT_MAX) {
        n = LOG_TEXT_MAX;
        memcpy(text + n - 3, "...", 3);
    }
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];

        if (c < ' ' || c == 0x7f) {
            text[i] = '?';
        }
    }
    return n;
}

static void log_v(enum log_level level, const char *fmt, va_list ap)
{
    char line[LOG_LINE_MAX], text[LOG_TEXT_MAX + 1];
    size_t n = clean_text(text, fmt_v(text, sizeof(text), fmt, ap));
    uint64_t irq = console_lock();
    struct log_view v = { .text = text, .nbytes = n, .level = level, .tsc = rdtsc() };

    append_locked(level, v.tsc, text, n);
    if (level <= console_level) {
        make_stamp_locked(v.stamp, v.tsc);
        console_write_locked(line, log_format_line(line, &v));
    }
    console_unlock(irq);
}

#define LOG_FUNCTION(name, level)                                                                  \
    void name(const char *fmt, ...)                                                                \
    {                                                                                              \
        va_list ap;                                                                                \
                                                                                                   \
        va_start(ap, fmt);                                                                         \
        log_v(level, fmt, ap);                                                                     \
        va_end(ap);                                                                                \
    }
LOG_FUNCTION(log_error, LOG_ERROR)
LOG_FUNCTION(log_warn, LOG_WARN)
LOG_FUNCTION(log_info, LOG_INFO)
LOG_FUNCTION(log_debug, LOG_DEBUG)
#undef LOG_FUNCTION

size_t log_format_line(char line[LOG_LINE_MAX], const struct log_view *v)
{
    static const struct {
        const char *before, *after;
    } dress[] = {
        [LOG_ERROR] = { "\033[91merror: ", "\033[0m" },
        [LOG_WARN] = { "\033[93mwarning: ", "\033[0m" },
        [LOG_INFO] = { "", "" },
        [LOG_DEBUG] = { "", "" },
    };

    return fmt_s(line, LOG_LINE_MAX, "[%s] %s%.*s%s\n", v->stamp, dress[v->level].before,
                 (int)v->nbytes, v->text, dress[v->level].after);
}

void log_set_clock(uint64_t tsc_base, uint64_t tsc_per_us)
{
    MM_ASSERT(tsc_per_us > 0);

    uint64_t irq = console_lock();

    store.tsc_base = tsc_base;
    store.tsc_per_us = tsc_per_us;
    console_unlock(irq);
}

void log_set_console_level(enum log_level level)
{
    uint64_t irq = console_lock();

    console_level = level;
    console_unlock(irq);
}

bool log_on_console(enum log_level level)
{
    return level <= console_level;
}

bool log_parse_level(const char *word, enum log_level *level)
{
    static const char *const names[] = {
        [LOG_ERROR] = "error", [LOG_WARN] = "warn", [LOG_INFO] = "info", [LOG_DEBUG] = "debug"
    };

    for (size_t i = 0; i < MM_COUNTOF(names); i++) {
        if (strcmp(word, names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* The first record with text at or behind *position and before `end` into *v and `text`, and
 * *position behind it. */
static bool next_record(uint64_t *position, uint64_t end, struct log_view *v,
                        char text[LOG_TEXT_MAX + 1])
{
    uint64_t irq = console_lock();
    bool found = false;

    if (*position < store.tail) { /* overtaken: those are gone */
        *position = store.tail;
    }
    while (!found && *position < end) {
        const struct record *r = record_at(*position);

        *position += r->nbytes;
        if (!r->filler) {
            memcpy(text, r + 1, r->ntext);
            text[r->ntext] = '\0';
            *v = (struct log_view){
                .text = text, .nbytes = r->ntext, .level = (enum log_level)r->level, .tsc = r->tsc
            };
            make_stamp_locked(v->stamp, v->tsc);
            found = true;
        }
    }
    console_unlock(irq);
    return found;
}

void log_for_last(size_t count, bool (*fn)(void *ctx, const struct log_view *v), void *ctx)
{
    char text[LOG_TEXT_MAX + 1];
    struct log_view v;
    uint64_t irq = console_lock();
    uint64_t position = store.tail, end = store.head;

    for (uint64_t skip = store.count > count ? store.count - count : 0; skip > 0;) {
        const struct record *r = record_at(position);

        position += r->nbytes;
        skip -= !r->filler;
    }
    console_unlock(irq);
    while (next_record(&position, end, &v, text) && fn(ctx, &v)) {
    }
}

void log_for_each(bool (*fn)(void *ctx, const struct log_view *v), void *ctx)
{
    log_for_last(SIZE_MAX, fn, ctx);
}

void log_panic_mode(void)
{
    console_panic_mode();
    console_level = LOG_DEBUG;
}

static const char *check_locked(void)
{
    uint64_t at = store.tail, count = 0;

    if (store.head - store.tail > LOG_RING || store.head % LOG_ALIGN != 0 ||
        store.tail % LOG_ALIGN != 0) {
        return "L1: head and tail";
    }
    while (at < store.head) {
        const struct record *r = record_at(at);

        if (r->nbytes == 0 || r->nbytes % LOG_ALIGN != 0) {
            return "L2: a record's length";
        }
        if (at % LOG_RING + r->nbytes > LOG_RING || r->ntext + sizeof(*r) > r->nbytes) {
            return "L3: a record straddles its end";
        }
        count += !r->filler;
        at += r->nbytes;
    }
    return at != store.head       ? "L2: the walk misses head"
           : count != store.count ? "L4: count"
                                  : NULL;
}

const char *log_check(void)
{
    uint64_t irq = console_lock();
    const char *broken = check_locked();

    console_unlock(irq);
    return broken;
}
