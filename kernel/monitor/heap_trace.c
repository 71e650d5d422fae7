/*
 * heap trace: what the kernel asks of kmalloc, recorded, and shown as text.
 *
 * Capture the text with the serial line, and scripts/heap-traces --text makes of it what
 * bench_heap replays.
 */
#include "lib/console.h"
#include "lib/fmt.h"
#include "lib/heaptrace.h"
#include "lib/string.h"
#include "mm/kmalloc.h"
#include "mm/vmalloc.h"
#include "monitor/heap.h"

#define EVENTS     16384u
#define EVENTS_MAX (UINT64_C(1) << 24)

static struct heaptrace trace; /* trace.events is NULL: there is no recording */
static bool recording;

static void record(const void *was, const void *now, size_t nbytes, size_t align)
{
    heaptrace_add(&trace, was, now, nbytes, align);
}

static int tell(void)
{
    char size[FMT_BYTES_MAX];

    if (trace.events == NULL) {
        kputs("heap trace: nothing is recorded; \"heap trace on\" begins\n");
        return 0;
    }
    kprintf("heap trace is %s: %zu events of at most %zu (%s), %zu lost\n",
            recording ? "on" : "off", heaptrace_count(&trace), trace.room,
            fmt_bytes(size, trace.room * sizeof(trace.events[0])), heaptrace_lost(&trace));
    return 0;
}

static void stop(void)
{
    kmalloc_set_trace(NULL);
    recording = false;
}

static void drop(void)
{
    stop();
    vfree(trace.events);
    trace.events = NULL;
}

static int start(const struct args *a)
{
    uint64_t room = EVENTS;
    struct heaptrace_event *events;

    if (a->n == 3 && !args_number(a, "N", a->operand[2], 1, EVENTS_MAX, &room)) {
        return 1;
    }
    drop();
    events = vmalloc(room * sizeof(*events), "heap trace");
    if (events == NULL) {
        return args_error(a, "no memory for %llu events", (unsigned long long)room);
    }
    heaptrace_init(&trace, events, room);
    recording = true;
    kmalloc_set_trace(record);
    return tell();
}

static bool put_line(void *ctx, const char *text)
{
    (void)ctx;
    kprintf("%s\n", text);
    return !console_cancelled();
}

static int show(const struct args *a)
{
    if (trace.events == NULL) {
        return args_error(a, "nothing is recorded; \"heap trace on\" begins");
    }
    stop(); /* what is recorded while it is shown would not be shown */
    return heaptrace_text(&trace, put_line, NULL) ? 0 : 1;
}

int heap_trace(const struct args *a)
{
    const char *word = a->n > 1 ? a->operand[1] : "";

    if (a->n == 1) {
        return tell();
    }
    if (strcmp(word, "on") == 0) {
        return start(a);
    }
    if (a->n > 2) {
        return args_fail(a, "trace: too many words");
    }
    if (strcmp(word, "show") == 0) {
        return show(a);
    }
    if (strcmp(word, "off") == 0) {
        stop();
        return tell();
    }
    if (strcmp(word, "drop") == 0) {
        drop();
        return tell();
    }
    return args_fail(a, "there is no \"heap trace %s\"", word);
}
