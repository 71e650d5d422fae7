/*
 * slab_fixture.h - a backing for tests of slabs, which counts, and refuses when it is told to.
 */
#ifndef SLAB_FIXTURE_H
#define SLAB_FIXTURE_H

#include "host_port.h"

#include <pthread.h>
#include <stdlib.h>

#include "mm/slab.h"

#define SOURCE_MOST 8192

/* All of it under its own lock: caches call it at the same time. */
static struct {
    pthread_mutex_t lock;
    size_t calls;     /* of get() */
    size_t refuse_at; /* the call, from 0, that is refused; SIZE_MAX: none */
    size_t limit;     /* bytes that may be out at a time */
    size_t bytes;     /* that are out, in `ranges` */
    size_t ranges;
    void *range[SOURCE_MOST];
} source = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* What a cache that was stopped has left is dropped. */
static void source_reset(void)
{
    while (source.ranges > 0) {
        free(source.range[--source.ranges]);
    }
    source.calls = 0;
    source.refuse_at = SIZE_MAX;
    source.limit = SIZE_MAX;
    source.bytes = 0;
}

static void *source_get(void *ctx, size_t nbytes, size_t align, size_t *got)
{
    void *p = NULL;

    (void)ctx;
    pthread_mutex_lock(&source.lock);
    nbytes = mm_align_up(nbytes, 4096);
    if (source.calls++ != source.refuse_at && source.bytes + nbytes <= source.limit &&
        source.ranges < SOURCE_MOST) {
        p = aligned_alloc(mm_max(align, 4096), nbytes);
    }
    if (p != NULL) {
        memset(p, 0xee, nbytes);
        *got = nbytes;
        source.bytes += nbytes;
        source.range[source.ranges++] = p;
    }
    pthread_mutex_unlock(&source.lock);
    return p;
}

static void source_put(void *ctx, void *base, size_t nbytes)
{
    size_t i = 0;

    (void)ctx;
    pthread_mutex_lock(&source.lock);
    while (i < source.ranges && source.range[i] != base) {
        i++;
    }
    if (i == source.ranges) {
        port_panic("put of what was not got");
    }
    source.range[i] = source.range[--source.ranges];
    source.bytes -= nbytes;
    free(base);
    pthread_mutex_unlock(&source.lock);
}

static const struct mm_backing source_backing = {
    .name = "test", .grain = 4096, .get = source_get, .put = source_put
};

#endif
