/*
 * cache.c - what each thread keeps for itself: two magazines for each class that it uses.
 *
 * Bonwick and Adams (2001): a loaded magazine, from which malloc() takes and to which free() adds,
 * and the one before, which is full or empty. When the loaded one does not do, they change places;
 * when that does not do, one is exchanged at the depot. So a thread comes there once in a
 * magazine's worth of calls at most, however it mixes them.
 *
 * The bins are in thread-local memory of the kind that a loader hands out with the program
 * (initial-exec): an address is one addition, and nothing need be allocated to have them. A thread
 * that ends gives back what they hold by the destructor of a key. Destructors of others that run
 * after it may still allocate and free; they are served one object at a time, without magazines.
 *
 * fork() copies one thread only, so all locks are taken before and dropped after it, in both
 * processes. What the other threads had in their magazines, the child does not get back.
 */
#include "platmalloc.h"

#include <errno.h>
#include <pthread.h>

enum state { FRESH, LIVE, GONE }; /* of a thread; the last: its destructor has run */

_Thread_local struct bin bins[NCLASSES + 1] __attribute__((tls_model("initial-exec")));

/* As a bin's top: of the magazine before the loaded one, which is full or empty; NULL: none yet. */
static _Thread_local void **previous[NCLASSES] __attribute__((tls_model("initial-exec")));
static _Thread_local enum state state __attribute__((tls_model("initial-exec")));

static atomic_bool opened;
static bool has_key; /* else threads that exit leave what they keep */
static struct lock open_lock;
static pthread_key_t exit_key;

static struct magazine *magazine_of(void **top)
{
    return (struct magazine *)((uintptr_t)top & ~(uintptr_t)MAGAZINE_MASK);
}

static unsigned rounds_of(void **top)
{
    return (unsigned)(((uintptr_t)top & MAGAZINE_MASK) / sizeof(void *));
}

static void **top_of(struct magazine *m, unsigned n)
{
    return m != NULL ? &m->first + n : NULL;
}

void cache_flush(void)
{
    for (unsigned i = 1; i < NCLASSES; i++) {
        depot_take_back(i, magazine_of(bins[i].top), rounds_of(bins[i].top));
        depot_take_back(i, magazine_of(previous[i]), rounds_of(previous[i]));
        bins[i] = (struct bin){ 0 };
        previous[i] = NULL;
    }
}

static void thread_exits(void *arg)
{
    (void)arg;
    state = GONE;
    cache_flush();
}

bool cache_open(void)
{
    if (!atomic_load_explicit(&opened, memory_order_acquire)) {
        lock_take(&open_lock);
        if (!atomic_load_explicit(&opened, memory_order_relaxed) && heap_open()) {
            span_open();
            has_key = pthread_key_create(&exit_key, thread_exits) == 0;
            atomic_store_explicit(&opened, true, memory_order_release);
        }
        lock_drop(&open_lock);
    }
    return atomic_load_explicit(&opened, memory_order_relaxed);
}

/* Before this thread's first magazine. False: it gets none, since there is no memory or it ends. */
static bool begin(void)
{
    if (state == GONE || !cache_open()) {
        return false;
    }
    if (state == FRESH) {
        state = LIVE;
        if (has_key) {
            (void)pthread_setspecific(exit_key, &state); /* may allocate, and finds us LIVE */
        }
    }
    return true;
}

/* Make `top` the loaded one of a bin: NULL is none, for which any other value of `full` than 0
 * would let the fast path through. */
static void load(unsigned class, void **top)
{
    bins[class].top = top;
    bins[class].full = top != NULL ? span_rounds(class) * sizeof(void *) : 0;
}

void *cache_get_slow(unsigned class)
{
    bool usable = bins[class].top != NULL || begin();
    void **top = bins[class].top;
    void *ptr = NULL;
    unsigned n;

    if (unlikely(!usable)) {
        n = cache_open() ? span_get(class, &ptr, 1) : 0;
    } else if (unlikely(rounds_of(top) != 0)) {
        n = rounds_of(top); /* begin() has allocated */
    } else if (rounds_of(previous[class]) != 0) {
        n = rounds_of(previous[class]);
        load(class, previous[class]);
        previous[class] = top;
    } else {
        struct magazine *m = depot_get(class, magazine_of(top), &n);

        if (m != NULL) {
            load(class, top_of(m, n));
        }
    }
    if (n == 0) {
        errno = ENOMEM;
        return NULL;
    }
    return unlikely(ptr != NULL) ? ptr : *bins[class].top--;
}

bool cache_put_slow(unsigned class, void *ptr)
{
    bool usable = bins[class].top != NULL || begin();
    void **top = bins[class].top;

    if (unlikely(top == NULL)) {
        load(class, usable ? top_of(depot_put(class, NULL), 0) : NULL);
    } else if (*top == ptr && rounds_of(top) != 0) {
        return false;
    } else {
        void **was = previous[class];

        if (was == NULL || rounds_of(was) != 0) {
            was = top_of(depot_put(class, magazine_of(was)), 0);
        }
        if (was != NULL) {
            previous[class] = top;
            load(class, was);
        }
    }
    top = bins[class].top;
    if (top == NULL || ((uintptr_t)top & MAGAZINE_MASK) == bins[class].full) {
        span_put(class, &ptr, 1);
    } else {
        top[1] = ptr;
        bins[class].top = top + 1;
    }
    return true;
}

/* ---- fork ------------------------------------------------------------------------------------ */

static void take_all(void)
{
    lock_take(&open_lock);
    span_lock_all();
    lock_take(&heap_lock);
    lock_take(&record_lock);
}

static void drop_all(void)
{
    lock_drop(&record_lock);
    lock_drop(&heap_lock);
    span_unlock_all();
    lock_drop(&open_lock);
}

__attribute__((constructor)) static void survive_forks(void)
{
    (void)cache_open();
    (void)pthread_atfork(take_all, drop_all, drop_all);
}
