/*
 * heaptrace.c - what is asked of a heap, recorded, and as text that a serial line carries.
 *
 * The text, all numbers but those of the first line hexadecimal:
 *
 *     heap trace 1: 5 events, 0 lost
 *     0 +0:40 +4:200@c +24:9 4>30:400
 *     4 -0
 *     heap trace ends: 1c291ca3
 *
 * A line begins with the number of its first event. Addresses are in units of 16 bytes from the
 * lowest there is: "+ADDR:BYTES" came, "-ADDR" went, "ADDR>ADDR:BYTES" was resized and may have
 * moved; "@" and the log2 of an alignment follow where one was asked for. At the end stands the
 * CRC-32 of the lines between, each with a line feed. So text that lost a line or a letter on its
 * way is found out, and lines of others that came between do no harm.
 */
#include "lib/heaptrace.h"

#include "lib/fmt.h"

#define WIDTH       79u
#define SIZE_BITS   56
#define UNIT_SHIFT  4
#define EVENT_BYTES 64u /* "fffffffffffffff>fffffffffffffff:ffffffffffffff@ff" is 49 */

void heaptrace_init(struct heaptrace *t, struct heaptrace_event *events, size_t room)
{
    t->events = events;
    t->room = room;
    atomic_init(&t->n, 0);
}

void heaptrace_add(struct heaptrace *t, const void *was, const void *now, size_t nbytes,
                   size_t align)
{
    size_t i = atomic_fetch_add_explicit(&t->n, 1, memory_order_relaxed);

    if (i < t->room) {
        t->events[i] = (struct heaptrace_event){
            .was = (uintptr_t)was,
            .now = (uintptr_t)now,
            .size = nbytes | (uint64_t)(align != 0 ? __builtin_ctzll(align) : 0) << SIZE_BITS,
        };
    }
}

size_t heaptrace_count(const struct heaptrace *t)
{
    return mm_min(atomic_load_explicit(&t->n, memory_order_relaxed), t->room);
}

size_t heaptrace_lost(const struct heaptrace *t)
{
    return atomic_load_explicit(&t->n, memory_order_relaxed) - heaptrace_count(t);
}

/* As zlib has it, a bit at a time: a serial line is slower. */
static uint32_t crc_add(uint32_t crc, const char *text)
{
    for (; *text != '\0'; text++) {
        crc ^= (unsigned char)*text;
        for (unsigned bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xedb88320 : 0);
        }
    }
    return crc;
}

static uint64_t lowest_address(const struct heaptrace *t, size_t n)
{
    uint64_t lowest = UINT64_MAX;

    for (size_t i = 0; i < n; i++) {
        const struct heaptrace_event *e = &t->events[i];

        lowest = e->was != 0 ? mm_min(lowest, e->was) : lowest;
        lowest = e->now != 0 ? mm_min(lowest, e->now) : lowest;
    }
    return lowest;
}

static size_t event_text(char text[EVENT_BYTES], const struct heaptrace_event *e, uint64_t lowest)
{
    unsigned long long was = (e->was - lowest) >> UNIT_SHIFT, now = (e->now - lowest) >> UNIT_SHIFT;
    unsigned long long nbytes = e->size & ((UINT64_C(1) << SIZE_BITS) - 1);
    unsigned align = (unsigned)(e->size >> SIZE_BITS);
    size_t n;

    if (e->now == 0) {
        return fmt_s(text, EVENT_BYTES, "-%llx", was);
    }
    n = e->was == 0 ? fmt_s(text, EVENT_BYTES, "+%llx:%llx", now, nbytes)
                    : fmt_s(text, EVENT_BYTES, "%llx>%llx:%llx", was, now, nbytes);
    if (align != 0) {
        n += fmt_s(text + n, EVENT_BYTES - n, "@%x", align);
    }
    return n;
}

bool heaptrace_text(const struct heaptrace *t, bool (*line)(void *ctx, const char *text), void *ctx)
{
    char text[WIDTH + 1], event[EVENT_BYTES];
    size_t n = heaptrace_count(t), used = 0;
    uint64_t lowest = lowest_address(t, n);
    uint32_t crc = UINT32_MAX;

    fmt_s(text, sizeof(text), "heap trace 1: %zu events, %zu lost", n, heaptrace_lost(t));
    if (!line(ctx, text)) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        size_t length = event_text(event, &t->events[i], lowest);

        if (used != 0 && used + 1 + length > WIDTH) {
            crc = crc_add(crc_add(crc, text), "\n");
            if (!line(ctx, text)) {
                return false;
            }
            used = 0;
        }
        if (used == 0) {
            used = fmt_s(text, sizeof(text), "%zx", i);
        }
        used += fmt_s(text + used, sizeof(text) - used, " %s", event);
    }
    if (used != 0) {
        crc = crc_add(crc_add(crc, text), "\n");
        if (!line(ctx, text)) {
            return false;
        }
    }
    fmt_s(text, sizeof(text), "heap trace ends: %08x", (unsigned)~crc);
    return line(ctx, text);
}
