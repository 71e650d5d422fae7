/*
 * harness.c - the ground that rows stand on: memory, stamps, threads. Runs in a child.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

void wrong(struct bench *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(b->out->why, sizeof(b->out->why), fmt, ap);
    va_end(ap);
    b->out->outcome = WRONG;
    _exit(0);
}

/* ---- memory ---------------------------------------------------------------------------------- */

void map_storage(struct bench *b, bool touched)
{
    b->storage_bytes =
        b->a->storage_bytes != NULL ? b->a->storage_bytes(b->ranges, b->nranges, b->nthreads) : 0;
    if (b->storage_bytes != 0 && touched) {
        b->storage = map_touched(b->storage_bytes, 0xa5);
    } else if (b->storage_bytes != 0) {
        b->storage = map_end(whole_pages(b->storage_bytes), MADV_NOHUGEPAGE);
    }
}

/* ---- making and dropping an allocator -------------------------------------------------------- */

void set_ranges(struct bench *b, unsigned n, const struct frames_range *ranges)
{
    b->nranges = n;
    b->total = 0;
    for (unsigned i = 0; i < n; i++) {
        b->ranges[i] = ranges[i];
        b->total += ranges[i].count;
    }
}

static uint64_t span_base(const struct bench *b)
{
    return b->ranges[0].base;
}

static uint64_t span_frames(const struct bench *b)
{
    const struct frames_range *last = &b->ranges[b->nranges - 1];

    return last->base + last->count - span_base(b);
}

static void enter(struct bench *b, unsigned cpu)
{
    if (b->a->enter != NULL) {
        b->a->enter(b->self, cpu);
    }
}

void make(struct bench *b)
{
    b->self = b->a->create(b->ranges, b->nranges, b->nthreads, b->storage, b->storage_bytes);
    if (b->self == NULL) {
        b->out->outcome = CANNOT;
        _exit(0);
    }
    enter(b, 0);
}

void drop(struct bench *b)
{
    if (b->a->destroy != NULL) {
        b->a->destroy(b->self);
    }
}

void open_bench(struct bench *b)
{
    map_storage(b, true);
    b->held = map_touched(b->total * sizeof(b->held[0]), 0xff);
    b->stamps = b->unverified ? NULL : map_touched(span_frames(b), 0);
    make(b);
}

void must_be_free(struct bench *b, uint64_t frames)
{
    uint64_t said = b->a->free_frames != NULL ? b->a->free_frames(b->self) : frames;

    if (said != frames) {
        wrong(b, "counts %" PRIu64 " frames free, but %" PRIu64 " are", said, frames);
    }
}

void close_bench(struct bench *b, uint64_t kept)
{
    must_be_free(b, b->total - kept);
    drop(b);
}

/* ---- stamps ---------------------------------------------------------------------------------- */

static bool in_ranges(const struct bench *b, uint64_t pfn, uint64_t count)
{
    for (unsigned i = 0; i < b->nranges; i++) {
        const struct frames_range *r = &b->ranges[i];

        if (pfn >= r->base && pfn - r->base < r->count && count <= r->count - (pfn - r->base)) {
            return true;
        }
    }
    return false;
}

void stamp(struct bench *b, uint64_t pfn, unsigned order)
{
    uint64_t count = UINT64_C(1) << order;

    if (b->unverified) {
        return;
    }
    if (!in_ranges(b, pfn, count)) {
        wrong(b, "hands out 0x%" PRIx64 ", order %u, which is not its", pfn, order);
    }
    if ((pfn & (count - 1)) != 0) {
        wrong(b, "hands out 0x%" PRIx64 ", misaligned for order %u", pfn, order);
    }
    for (uint64_t i = 0; i < count; i++) {
        if (atomic_exchange_explicit(&b->stamps[pfn - span_base(b) + i], 1, memory_order_relaxed) !=
            0) {
            wrong(b, "hands out frame 0x%" PRIx64 " twice", pfn + i);
        }
    }
}

void unstamp(struct bench *b, uint64_t pfn, unsigned order)
{
    if (!b->unverified) {
        memset((void *)&b->stamps[pfn - span_base(b)], 0, UINT64_C(1) << order);
    }
}

void stamp_held(struct worker *w, unsigned order)
{
    for (uint64_t i = 0; i < w->nheld; i++) {
        stamp(w->b, w->held[i], order);
    }
}

void unstamp_held(struct worker *w, unsigned order)
{
    for (uint64_t i = 0; i < w->nheld; i++) {
        unstamp(w->b, w->held[i], order);
    }
}

void verify_held(struct worker *w, unsigned order)
{
    meet(w->b);
    stamp_held(w, order);
    meet(w->b);
    unstamp_held(w, order);
    meet(w->b);
}

/* ---- threads --------------------------------------------------------------------------------- */

void meet(struct bench *b)
{
    meet_others(&b->meeting, b->nthreads);
}

struct start {
    struct worker *w;
    void (*run)(struct worker *w);
};

static void *thread_main(void *arg)
{
    struct start *s = arg;

    pin(s->w->cpu);
    enter(s->w->b, s->w->cpu);
    s->run(s->w);
    return NULL;
}

void run_workers(struct bench *b, void (*run)(struct worker *w))
{
    struct worker workers[MAX_THREADS];
    struct start starts[MAX_THREADS];
    pthread_t threads[MAX_THREADS];
    uint64_t share = b->total / b->nthreads;

    for (unsigned i = 0; i < b->nthreads; i++) {
        workers[i] = (struct worker){
            .b = b,
            .cpu = i,
            .rng = { b->seed + i },
            .held = b->held + i * share,
            .share = share,
        };
        starts[i] = (struct start){ &workers[i], run };
    }
    for (unsigned i = 1; i < b->nthreads; i++) {
        if (pthread_create(&threads[i], NULL, thread_main, &starts[i]) != 0) {
            fail("pthread_create: %s", strerror(errno));
        }
    }
    thread_main(&starts[0]); /* what create() wrote is in this processor's caches already */
    for (unsigned i = 1; i < b->nthreads; i++) {
        pthread_join(threads[i], NULL);
    }
    for (unsigned i = 0; i < b->nthreads; i++) {
        b->out->refused += workers[i].refused;
        for (unsigned v = 0; v < MAX_VALUES; v++) {
            b->out->v[v] += workers[i].v[v] / b->nthreads;
            b->out->cut[v] |= workers[i].cut[v];
        }
    }
}
